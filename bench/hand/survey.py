"""Classify at survey scale: images per second and peak memory from prepared shards, by engine, and what a unit costs.

hand/survey.py [COUNT …]: how many cutouts, 1000, 10000 and 100000 if none is named, and positions to plan. Engines
take turns on the first of them. hand/survey.py command: seconds of `radiogal classify ONE.fits` alone.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.table import Table

ROOT = Path(__file__).parents[2]
COUNTS, SHARD, PIXELS, SAMPLE, TURNS = (1000, 10_000, 100_000), 1000, 150, 200, 3
PLANS = (100_000, 3_400_000)  # The second: VLASS
LEAST_RATE, MOST_MB = 300, 2000  # What was asked for: images per second, and memory
MOST_SECONDS = 5  # And for one image, after the first start


def read_peak():
    "Largest resident memory of this process so far, MB; getrusage would count the parent's."
    return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])/1024


def draw_images(n, size=PIXELS, seed=1):
    "Images like clipped cutouts: mostly zero, with a few bright blobs."
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    images = np.zeros((n, size, size), np.float32)
    for image in images:
        for _ in range(3):
            cx, cy = rng.normal(size/2, size/10, 2)
            image += rng.random()*np.exp(-((x - cx)**2 + (y - cy)**2)/(2*rng.uniform(2, 5)**2))
    images[images < 0.02] = 0
    return (images/images.max(axis=(1, 2), keepdims=True))[..., None].astype(np.float32)


def make_sources(n=SAMPLE):
    "A prepared set to train on, which nobody does."
    from radiogal.datasets import PreparedSet
    number = np.arange(n)
    return PreparedSet(draw_images(n), np.array([f"S{i}" for i in number]), number % 2, ("FRI", "FRII"), number,
                       number//2 % 2, "FIRST", True, np.transpose([number/10, number/10]), np.ones(n), np.ones(n),
                       np.ones((n, 3)), 1.8, ())


def open_networks(folder, engine):
    "One network of ours behind an engine, exported before by another process."
    from radiogal.engines import open_ensemble
    trained = folder/"training"/"FIRST"/"fields"/"fold0"/"seed1"
    return open_ensemble("bench", [trained], make_sources(), folder/"engines", engine)


def make_networks(folder):
    "In a process of its own: an untrained network, exported; and one prepared shard."
    from radiogal.engines import NUMBERS, TEXTS, PreparedShard, list_engines, write_prepared_shard, write_untrained
    write_untrained(folder/"training"/"FIRST"/"fields", make_sources(), "FIRST", "fields", folds=(0,))
    for engine in list_engines(): open_networks(folder, engine)
    texts = {key: ["ok" if key == "state" else ""]*SHARD for key in TEXTS}
    facts = pd.DataFrame(texts | {key: np.ones(SHARD) for key in NUMBERS})
    images = np.concatenate([draw_images(SAMPLE)]*(SHARD//SAMPLE))
    shard = PreparedShard(np.array([f"S{i}" for i in range(SHARD)]), np.arange(SHARD), images, facts, "FIRST", 1.8)
    write_prepared_shard(shard, folder/"shard.npz")
    return dict(engines=list_engines())


def start_job(folder, engine, n):
    "A list of which every shard is prepared: all of them are one file."
    from radiogal.config import read_config
    from radiogal.shards import Worker, begin_job, name_shard
    config, ensemble = read_config(ROOT/"config"/"smoke.toml"), open_networks(folder, engine)
    out, number = Path(tempfile.mkdtemp(dir=folder)), np.arange(n)
    job = dict(model=ensemble.identity, survey="FIRST", shard_size=SHARD, classes=["FRI", "FRII"], calibrated=True)
    rows = dict(name=[f"J{i:09}" for i in number], ra=number*360/n, dec=np.zeros(n), crowding=0*number)
    job = begin_job(out, job, lambda: Table(rows))
    (out/"prepared").mkdir()
    for i in range(n//SHARD): os.link(folder/"shard.npz", name_shard(out, "prepared", i, ".npz"))
    return Worker(out, job, config, ensemble, None, ())


def measure(folder, engine, n):
    "In a process of its own: from prepared shards to a catalogue."
    from radiogal.shards import merge_shards, work_through
    worker, began = start_job(folder, engine, n), time.perf_counter()
    done, worked = work_through(worker), time.perf_counter()
    path = merge_shards(worker.folder, worker.job)
    merged = time.perf_counter()
    assert len(done) == n//SHARD
    return dict(engine=engine, cutouts=n, rate=n/(worked - began), merged=n/(merged - worked), MB=read_peak(),
                row=path.stat().st_size/n)


def compare(folder, engine):
    "In a process of its own: the largest difference of an engine's probabilities from those of Keras."
    from radiogal.engines import ask_ensemble
    each = [ask_ensemble(open_networks(folder, e), draw_images(100, seed=2)).probabilities for e in (engine, "keras")]
    return dict(engine=engine, differs=float(np.abs(each[0] - each[1]).max()))


def measure_preparation(folder):
    "In a process of its own: what it costs to prepare a cutout on disk as a run does."
    from radiogal.config import read_config
    from radiogal.datasets import make_sample
    from radiogal.engines import prepare_cutouts, write_prepared_shard
    config = read_config(ROOT/"config"/"smoke.toml")
    prep = config.preparation.model_copy(update=dict(field_arcmin=PIXELS*0.03, image_size=PIXELS))
    cut = config.scraping.model_copy(update=dict(cutout_arcmin=PIXELS*0.03))
    config = config.model_copy(update=dict(preparation=prep, scraping=cut))
    _, cutouts, _, read = make_sample(config, "FIRST")
    for i, name in enumerate(cutouts["path"]): read(name).writeto(folder/f"{i}.fits")
    table = Table(dict(name=cutouts["name"], state=cutouts["state"], reason=cutouts["reason"],
                       path=[f"{i}.fits" for i in range(len(cutouts))], sha256=[""]*len(cutouts)))
    began = time.perf_counter()
    shard = prepare_cutouts(table, folder, "FIRST", config)
    prepared = (time.perf_counter() - began)/len(table)
    size = write_prepared_shard(shard, folder/"sample.npz").stat().st_size
    return dict(prepare_ms=1e3*prepared, prepared_kB=size/1e3/len(table))


def measure_plan(folder, n):
    "In a process of its own: to read positions from a table, name them, and count their neighbours."
    from astropy import units as u

    from radiogal.engines import count_neighbours
    from radiogal.inputs import read_positions
    rng = np.random.default_rng(1)
    path = folder/f"positions{n}.fits"
    Table(dict(ra=rng.uniform(0, 360, n), dec=rng.uniform(-40, 90, n))).write(path)
    began = time.perf_counter()
    count_neighbours(read_positions(path), 1*u.arcmin)
    return dict(positions=n, seconds=time.perf_counter() - began, MB=read_peak())


def measure_command(folder, model):
    "In a process of its own: seconds of `radiogal classify ONE.fits`, from start to end, the first time and later."
    image = ROOT/"radiogal"/"samples"/"FIRST"/"J135214.56+123401.7.fits"
    code, took, used = "import sys; from radiogal.cli import main; sys.exit(main(sys.argv[1:]))", [], []
    for _ in range(1 + TURNS):
        began, before = time.perf_counter(), sum(os.times()[2:4])
        subprocess.run([sys.executable, "-c", code, "classify", image, "--model", model], check=True, cwd=folder,
                       capture_output=True)
        took.append(time.perf_counter() - began)
        used.append(sum(os.times()[2:4]) - before)
    return dict(model=model, first=took[0], later=sorted(took[1:])[TURNS//2], cpu=sorted(used[1:])[TURNS//2])


def measure_commands():
    "Each model of the package asked about one image, as from a shell."
    from radiogal.pretrained import list_models
    print(f"Seconds of `radiogal classify ONE.fits`: the first time, and the median of {TURNS} more, and "
          f"of their processor time; asked for were {MOST_SECONDS}")
    with tempfile.TemporaryDirectory() as folder:
        show([call("measure_command", folder, model) for model in list_models()["name"]], first=".1f", later=".1f",
             cpu=".1f")


def call(function, folder, *arguments):
    "One measurement in a fresh process."
    done = subprocess.run([sys.executable, __file__, "--call", function, str(folder), *map(str, arguments)],
                          capture_output=True, text=True, env=os.environ | dict(TF_CPP_MIN_LOG_LEVEL="3"))
    if done.returncode: raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def show(rows, **forms):
    "A table on the terminal."
    table = Table(rows=rows)
    for column, form in forms.items(): table[column].format = form
    print("\n".join(table.pformat(max_width=-1)))


def take_turns(folder, engines, n):
    "Each engine's run of the median rate, the fastest first; they take turns, so that a busy moment hits all."
    runs = [[call("measure", folder, engine, n) for engine in engines] for _ in range(TURNS)]
    middle = [sorted(each, key=lambda run: run["rate"])[TURNS//2] for each in zip(*runs, strict=True)]
    return sorted(middle, key=lambda run: -run["rate"])


def main(counts, plans):
    with tempfile.TemporaryDirectory() as folder:
        made = call("make_networks", folder)
        rates = take_turns(folder, made["engines"], counts[0])
        first = made["engines"][0]
        larger = [call("measure", folder, first, n) for n in counts[1:]]
        print(f"From prepared shards of {SHARD}, {PIXELS} px, one network `fields`, {os.cpu_count()} cores: "
              "images per second,\nrows merged per second, memory at the peak, bytes of a row in FITS.\n"
              f"At {counts[0]} cutouts the run of the median rate of {TURNS} turns")
        show(rates + larger, rate=".0f", merged=".0f", MB=".0f", row=".0f")
        ours = [run for run in rates + larger if run["engine"] == first]
        least, most = min(run["rate"] for run in ours), max(run["MB"] for run in ours)
        print(f"{first}, which is chosen: at least {least:.0f} images/s, at most {most:.0f} MB; "
              f"asked for were {LEAST_RATE} and {MOST_MB}")
        print("Largest difference of a probability from Keras's")
        show([call("compare", folder, engine) for engine in made["engines"]], differs=".1e")
        units = call("measure_preparation", folder)
        print(f"A unit: {units['prepare_ms']:.1f} ms to prepare a simulated cutout, "
              f"{units['prepared_kB']:.1f} kB to keep it\n"
              "To read positions and plan")
        show([call("measure_plan", folder, n) for n in plans], seconds=".0f", MB=".0f")
    measure_commands()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--call"]:
        function, folder, *rest = sys.argv[2:]
        print(json.dumps(globals()[function](Path(folder), *(int(a) if a.isdigit() else a for a in rest))))
    elif sys.argv[1:2] == ["command"]: measure_commands()
    else:
        asked = [int(a) for a in sys.argv[1:]]
        main(asked or COUNTS, asked or PLANS)
