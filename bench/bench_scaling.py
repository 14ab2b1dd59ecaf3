"Processor time against the number of things, for each stage, over three decades, and the exponent that fits."
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _made import draw_field, open_network, write_network, write_shard
from _pairs import ROOT, call, run_script, time_work
from bench_cutouts import cut_ours, get_ready, make_image

OFTEN, LONG_S = 3, 5.  # Times that a measurement is taken, and seconds after which it is not taken again
SHARD, SIDE = 100, 64


@dataclass(frozen=True)
class Stage:
    "A stage of the work."
    name: str
    least: int           # How many; then ten times, a hundred and a thousand times as many
    measure: object      # (folder, n) → as `time_work`
    why: str             # Why it is not linear, or what it consists of
    prepare: object = None # (folder, n): once


def time_often(work):
    "Of a few measurements the one with the least processor time."
    taken = []
    while len(taken) < OFTEN and sum(each["cpu"] for each in taken) < LONG_S: taken.append(time_work(work))
    return min(taken, key=lambda each: each["cpu"])


def group(folder, n):
    from astropy import units as u

    from radiogal.candidates import find_nearest, find_pairs, group_pairs
    coords = draw_field(n)

    def work():
        pairs = find_pairs(coords, 60*u.arcsec)
        return find_nearest(pairs), group_pairs(pairs)
    return time_often(work)


def search(folder, n):
    from radiogal.candidates import draw_components, find_candidates, tabulate_first
    from radiogal.config import Candidates
    from radiogal.surveys import get_survey
    rows = draw_components(draw_field(n), np.random.default_rng(1))
    area = n/get_survey("FIRST").density.value
    table = tabulate_first({name: np.asarray(rows[name]) for name in rows.colnames}, SIMULATE=True, area_deg2=area)
    return time_often(lambda: find_candidates(table, Candidates()))


def merge(folder, n):
    "Two catalogues of labels, of which the second has half of the first's sources again, an arcsecond away."
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    from radiogal.catalogues import Labels, build_targets, tabulate_labels
    half = n//2
    number = np.arange(half)
    ra, dec = (number*137.5) % 360, np.degrees(np.arcsin(np.linspace(-0.9, 0.9, half)))  # evenly over the sky
    again = np.where(number % 2, 1/3600, 1/60)  # deg
    tables = [tabulate_labels(Labels([f"{name} {i}" for i in number], SkyCoord(ra, dec + away, unit="deg"),
                                     ["FRI" if i % 2 else "FRII" for i in number], [np.nan]*half), "artificial",
                              simulated=True) for name, away in (("a", 0), ("b", again))]
    return time_often(lambda: build_targets(tables, ("FRI", "FRII"), 5*u.arcsec, 300*u.arcsec))


def cut(folder, n): return time_often(get_ready(cut_ours, folder, n))


def write_cutouts(folder, n):
    "Some simulated cutouts on disk."
    from radiogal.config import read_config
    from radiogal.datasets import make_sample
    _, cutouts, _, read = make_sample(read_config(ROOT/"config"/"smoke.toml"), "FIRST")
    for i, name in enumerate(cutouts["path"]): read(name).writeto(folder/f"{i}.fits")
    return {}


def prepare(folder, n):
    from astropy.table import Table

    from radiogal.config import read_config
    from radiogal.engines import prepare_cutouts
    config, there = read_config(ROOT/"config"/"smoke.toml"), len(list(folder.glob("*.fits")))
    table = Table(dict(name=[f"J{i}" for i in range(n)], state=["ok"]*n, reason=[""]*n, sha256=[""]*n,
                       path=[f"{i % there}.fits" for i in range(n)]))
    return time_often(lambda: prepare_cutouts(table, folder, "FIRST", config))


def make_network(folder, n):
    write_network(folder, SIDE)
    return {}


def classify(folder, n):
    "From prepared shards to a catalogue."
    from astropy.table import Table

    from radiogal.config import read_config
    from radiogal.shards import Worker, begin_job, merge_shards, name_shard, work_through
    config, ensemble, size, number = (read_config(ROOT/"config"/"smoke.toml"), open_network(folder, size=SIDE),
                                      min(n, SHARD), np.arange(n))
    write_shard(folder/f"{n}.npz", size, SIDE)
    rows = dict(name=[f"J{i:09}" for i in number], ra=number*360/n, dec=np.zeros(n), crowding=0*number)
    wanted = dict(model=ensemble.identity, survey="FIRST", shard_size=size, classes=["FRI", "FRII"], calibrated=True)

    def work():
        out = Path(tempfile.mkdtemp(dir=folder))
        job = begin_job(out, wanted, lambda: Table(rows))
        (out/"prepared").mkdir()
        for i in range(n//size): name_shard(out, "prepared", i, ".npz").hardlink_to(folder/f"{n}.npz")
        work_through(Worker(out, job, config, ensemble, None, ()))
        return merge_shards(out, job)
    return time_often(work)


def tabulate(folder, n):
    "Scores of a network's answers with their intervals, as a report has them."
    import pandas as pd

    from radiogal.evaluation import _draw_weights, summarise_classes, summarise_tables
    right, number = np.random.default_rng(1).random(n) < 0.85, np.arange(n)
    p = np.where(right == (number % 2 == 0), 0.8, 0.2)
    table = pd.DataFrame(dict(name=[f"S{i}" for i in number], label=np.where(number % 2, "FRII", "FRI"), fold=0, seed=1,
                              sky_group=number, p_FRI=p, p_FRII=1 - p))

    def work():
        _draw_weights.cache_clear()  # The first table of a report; the others share its draws
        return summarise_tables([table]), summarise_classes([table])
    return time_often(work)


STAGES = [
    Stage("neighbours and groups, positions", 1000, group, "a tree: n log n; and of a million positions the tree and "
          "the pairs no longer fit into the processor's cache"),
    Stage("search for candidates, rows of a catalogue", 1000, search, "groups as above, and sorting; below some "
          "thousand rows the fixed cost of its many calls is most of it"),
    Stage("merging label catalogues, rows", 100, merge, "below a thousand rows fixed costs of tables; above, names and "
          "labels are gone through one by one"),
    Stage("cutouts of one image", 3, cut, "opening the image is shared by all", make_image),
    Stage("preparing cutouts", 1, prepare, "each image by itself", write_cutouts),
    Stage(f"classifying prepared images of {SIDE} px", 10, classify, f"shards of {SHARD}, one after another; starting "
          "and merging the list are shared by all", make_network),
    Stage("scores with intervals, answers", 30, tabulate, "a thousand bootstrap draws of all answers, held at once; "
          "where answers are few, fixed costs of tables outweigh them"),
]


def fit_exponent(counts, costs):
    "The power of n that fits best, by least squares of logarithms."
    return float(np.polyfit(np.log(counts), np.log(costs), 1)[0])


def measure_stage(stage, quick):
    "A stage's costs, with the exponent over all, and over the last decade, by which to extrapolate."
    counts = [stage.least*10**k for k in range(4)]
    if quick: counts = [stage.least, 2*stage.least]
    with tempfile.TemporaryDirectory() as folder:
        if stage.prepare: call(stage.prepare, folder, counts[-1], quick=quick)
        taken = [call(stage.measure, folder, n, quick=quick) for n in counts]
    costs = [each["cpu"] for each in taken]
    return dict(stage=stage.name, n=counts, cpu=costs, MB=[each["MB"] for each in taken],
                exponent=fit_exponent(counts, costs), last=fit_exponent(counts[-2:], costs[-2:]), why=stage.why)


if __name__ == "__main__": run_script(lambda quick: dict(scaling=[measure_stage(stage, quick) for stage in STAGES]))
