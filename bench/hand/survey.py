"""Classify at survey scale: images per second and peak memory from prepared shards, by engine, and what a unit costs.

hand/survey.py [COUNT …]: how many cutouts, 1000, 10000 and 100000 if none is named, and positions to plan. Engines
take turns on the first of them. hand/survey.py units: what cutting and preparing one costs, alone. hand/survey.py
command: seconds of `radiogal classify ONE.fits` alone. Positions are all over the sky, so merging has to bring rows
from the order of VLASS's images into that of the table. What is said to be of processor time is told per second of it,
on one core, as others on the machine do not change it much.
"""
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from _made import FIELD, draw_images, open_network, write_network, write_shard
from _pairs import ROOT, call, print_answer, time_work
from bench_cutouts import SIDE, cut_ours, get_ready, make_image
from bench_limits import ONE_THREAD

COUNTS, SHARD, TURNS = (1000, 10_000, 100_000), 1000, 3
PLANS = (100_000, 3_400_000)  # The second: VLASS
CUTOUTS = 300  # Of one image
LEAST_RATE, MOST_MB = 300, 2000  # What was asked for: images per second, and memory
MOST_SECONDS = 5  # And for one image, after the first start


def make_networks(folder, n):
    "An untrained network, exported; and one prepared shard of n."
    from radiogal.engines import list_engines
    write_network(folder)
    write_shard(folder/"shard.npz", n)
    return dict(engines=list_engines())


def draw_sky(n):
    "Positions in no order, as VLASS has them: right ascension and declination in degrees."
    rng = np.random.default_rng(1)
    return dict(ra=rng.uniform(0, 360, n), dec=rng.uniform(-40, 90, n))


def start_job(folder, n, engine):
    "A list of which every shard is prepared: all of them are one file."
    from radiogal.config import read_config
    from radiogal.shards import Worker, begin_job, name_shard
    config, ensemble = read_config(ROOT/"config"/"smoke.toml"), open_network(folder, engine)
    out, size = Path(tempfile.mkdtemp(dir=folder)), min(n, SHARD)
    job = dict(model=ensemble.identity, survey="VLASS", shard_size=size, classes=["FRI", "FRII"], calibrated=True)
    rows = dict(name=[f"J{i:09}" for i in range(n)]) | draw_sky(n) | dict(crowding=np.zeros(n, int))
    job = begin_job(out, job, lambda: Table(rows))
    (out/"prepared").mkdir()
    for i in range(n//size): os.link(folder/"shard.npz", name_shard(out, "prepared", i, ".npz"))
    return Worker(out, job, config, ensemble, None, ())


def measure_placed(worker):
    "Bytes of a row in the file in which merging puts rows in the order of the table."
    from radiogal.engines import _scatter_rows
    from radiogal.shards import _iterate_shards, describe_columns
    said = describe_columns(tuple(worker.job["classes"]), worker.job["calibrated"])
    first = next(_iterate_shards(worker.folder, worker.job))
    texts = [key for key in said if said[key].kind == "str"]
    with tempfile.TemporaryFile(dir=worker.folder) as file:
        return _scatter_rows(lambda: [(np.arange(len(first)), first)], texts, file).itemsize


def measure(folder, n, engine):
    "From prepared shards to a catalogue."
    from radiogal.shards import list_waiting, merge_shards, work_through
    worker = start_job(folder, n, engine)
    worked = time_work(lambda: work_through(worker))
    merged = time_work(lambda: merge_shards(worker.folder, worker.job))
    assert not list_waiting(worker.folder, worker.job)
    return dict(engine=engine, cutouts=n, rate=n/worked["seconds"], merged=n/merged["cpu"], MB=merged["MB"],
                row=(worker.folder/"catalogue.fits").stat().st_size/n, placed=measure_placed(worker))


def compare(folder, n, engine):
    "The largest difference of an engine's probabilities from those of Keras."
    from radiogal.engines import ask_ensemble
    each = [ask_ensemble(open_network(folder, e), draw_images(n, seed=2)).probabilities for e in (engine, "keras")]
    return dict(engine=engine, differs=float(np.abs(each[0] - each[1]).max()))


def cut(folder, n):
    "Cutouts of one image of VLASS, as a run writes them."
    make_image(folder, n)
    return get_ready(cut_ours, folder, n)


def prepare(folder, n):
    "What it costs to prepare a cutout on disk as a run does; n for each that is simulated."
    from radiogal.config import read_config
    from radiogal.datasets import make_sample
    from radiogal.engines import prepare_cutouts, write_prepared_shard
    config = read_config(ROOT/"config"/"smoke.toml")
    prep = config.preparation.model_copy(update=dict(field_arcmin=FIELD*0.03, image_size=FIELD))
    cut = config.scraping.model_copy(update=dict(cutout_arcmin=FIELD*0.03))
    config = config.model_copy(update=dict(preparation=prep, scraping=cut))
    _, cutouts, _, read = make_sample(config, "FIRST")
    for i, name in enumerate(cutouts["path"]): read(name).writeto(folder/f"{i}.fits")
    table = Table(dict(name=cutouts["name"], state=cutouts["state"], reason=cutouts["reason"],
                       path=[f"{i}.fits" for i in range(len(cutouts))], sha256=[""]*len(cutouts)))
    shards = []
    cpu = time_work(lambda: shards.extend(prepare_cutouts(table, folder, "FIRST", config) for _ in range(n)))["cpu"]
    size = write_prepared_shard(shards[0], folder/"sample.npz").stat().st_size
    return dict(ms=1e3*cpu/n/len(table), kB=size/1e3/len(table))


def plan(folder, n):
    "To read positions from a table, name them, and count their neighbours."
    from astropy import units as u

    from radiogal.engines import count_neighbours
    from radiogal.inputs import read_positions
    path = folder/f"positions{n}.fits"
    Table(draw_sky(n)).write(path)
    took = time_work(lambda: count_neighbours(read_positions(path), 1*u.arcmin))
    return dict(positions=n, seconds=took["seconds"], MB=took["MB"])


def time_command(folder, n, model):
    "Seconds of `radiogal classify ONE.fits`, from start to end, the first time and the median of n later."
    image = ROOT/"radiogal"/"samples"/"FIRST"/"J135214.56+123401.7.fits"
    code, took, used = "import sys; from radiogal.cli import main; sys.exit(main(sys.argv[1:]))", [], []
    for _ in range(1 + n):
        began, before = time.perf_counter(), sum(os.times()[2:4])
        subprocess.run([sys.executable, "-c", code, "classify", image, "--model", model], check=True, cwd=folder,
                       capture_output=True)
        took.append(time.perf_counter() - began)
        used.append(sum(os.times()[2:4]) - before)
    return dict(model=model, first=took[0], later=sorted(took[1:])[n//2], cpu=sorted(used[1:])[n//2])


def measure_commands():
    "Each model of the package asked about one image, as from a shell."
    from radiogal.pretrained import list_models
    print(f"Seconds of `radiogal classify ONE.fits`: the first time, and the median of {TURNS} more, and "
          f"of their processor time; asked for were {MOST_SECONDS}")
    with tempfile.TemporaryDirectory() as folder:
        show([call(time_command, folder, TURNS, model) for model in list_models()["name"]], first=".1f", later=".1f",
             cpu=".1f")


def show(rows, **forms):
    "A table on the terminal."
    table = Table(rows=rows)
    for column, form in forms.items(): table[column].format = form
    print("\n".join(table.pformat(max_width=-1)))


def take_turns(folder, engines, n):
    "Each engine's run of the median rate, the fastest first; they take turns, so that a busy moment hits all."
    runs = [[call(measure, folder, n, engine) for engine in engines] for _ in range(TURNS)]
    middle = [sorted(each, key=lambda run: run["rate"])[TURNS//2] for each in zip(*runs, strict=True)]
    return sorted(middle, key=lambda run: -run["rate"])


def measure_units():
    "What one cutout costs before its image is classified; on one thread, as others only wait for it."
    with tempfile.TemporaryDirectory() as folder:
        each, unit = call(cut, folder, CUTOUTS, **ONE_THREAD), call(prepare, folder, 5, **ONE_THREAD)
    print(f"A unit: {CUTOUTS/each['cpu']:.0f} cutouts of {SIDE} px per second of processor time; "
          f"{unit['ms']:.1f} ms of it to prepare one that is simulated, {unit['kB']:.1f} kB to keep it")


def main(counts, plans):
    with tempfile.TemporaryDirectory() as folder:
        made = call(make_networks, folder, SHARD)
        rates = take_turns(folder, made["engines"], counts[0])
        first = made["engines"][0]
        larger = [call(measure, folder, n, first) for n in counts[1:]]
        print(f"From prepared shards of {SHARD}, {FIELD} px, one network `fields`, {os.cpu_count()} cores: images per "
              "second,\nrows merged per second of processor time, memory at the peak, bytes of a row in FITS, and in "
              f"the file\nthat merging needs. At {counts[0]} cutouts the run of the median rate of {TURNS} turns")
        show(rates + larger, rate=".0f", merged=".0f", MB=".0f", row=".0f")
        ours = [run for run in rates + larger if run["engine"] == first]
        least, most = min(run["rate"] for run in ours), max(run["MB"] for run in ours)
        print(f"{first}, which is chosen: at least {least:.0f} images/s, at most {most:.0f} MB; "
              f"asked for were {LEAST_RATE} and {MOST_MB}")
        print("Largest difference of a probability from Keras's")
        show([call(compare, folder, 100, engine) for engine in made["engines"]], differs=".1e")
        print("To read positions and plan")
        show([call(plan, folder, n) for n in plans], seconds=".0f", MB=".0f")
    measure_units()
    measure_commands()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--call"]: print_answer(*sys.argv[2:])
    elif sys.argv[1:2] == ["units"]: measure_units()
    elif sys.argv[1:2] == ["command"]: measure_commands()
    else:
        asked = [int(a) for a in sys.argv[1:]]
        main(asked or COUNTS, asked or PLANS)
