"""Try changes to the recipe of `fields`, each alone, on declared folds and seeds, and write docs/levers.md.

    python bench/try_levers.py --minutes 150     # after `radiogal prepare benchmark`; goes on where it was stopped
    python bench/try_levers.py --minutes 0       # tries of kept answers, and the page, alone

Tries are those of bench/levers.toml. What a training says of its validation sources is a file in docs/levers; one that
is there is left alone. A training that fails is told and leaves no file, so that the next call tries it again.
"""
import argparse
import json
import os
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
from _pairs import ROOT, count_processor_s, write_result
from page import write_table
from sklearn.metrics import roc_auc_score

from radiogal.config import find_images, find_place, hash_file, parse_config
from radiogal.datasets import read_task
from radiogal.diagnosis import assign_groups, read_facts
from radiogal.ensembles import bound_ece, calibrate_folds
from radiogal.evaluation import (
    apply_temperature,
    average_predictions,
    check_predictions,
    compare_kinds,
    fit_temperature,
    match_tables,
    pool_tables,
    score_calibration,
    score_predictions,
)
from radiogal.preparation import crop_or_pad

FOLDER, PAGE, TEXT = ROOT/"docs"/"levers", ROOT/"docs"/"levers.md", ROOT/"bench"/"levers.md"
RESULTS, KEPT = ROOT/"results"/"benchmark", ROOT/"docs"/"results"/"benchmark"
NOT_YET = "*Not measured yet: `.venv/bin/python bench/{}.py` does.*"
APART_ARCMIN = 13.  # Diagonal of a published image: nearer sources may be in one another's image
CUT, LEVELS = 0.05, (0.0, 0.1)  # Shares of the peak
ANGLES, SCALES = (0., 15., 30., 45.), (0.9, 1., 1.12)  # Degrees; the network itself turns by 90 and mirrors
OTHERS = "other folds"  # What a temperature is fitted to, if not to the answers of a task
SPAN = 30  # Pixels: 54″, about the median of the extended sources


def read_tries(path=ROOT/"bench"/"levers.toml"): return tomllib.loads(path.read_text())["tries"]
def read_settings(): return parse_config(tomllib.loads((ROOT/"config"/"benchmark.toml").read_text()), "benchmark.toml")


def list_cells(a_try):
    "Name of the try, task, fold, seed."
    return [(a_try["name"], task, fold, seed) for task, those in a_try["tasks"].items()
            for seed in those["seeds"] for fold in those["folds"]]


def find_file(cell): return FOLDER/"{}.{}.fold{}.seed{}.json".format(*cell)


# Changes: training and validation sources, their facts and a seed; the same changed

def keep(training, validation, facts, seed): return training, validation


def change_images(change, *sides):
    "Both sides with other images."
    return tuple(replace(side, images=change(side.images).astype(np.float32)) for side in sides)


def cut_at(images, level): return np.where(images < level, 0, images)
def take_root(training, validation, facts, seed): return change_images(np.sqrt, training, validation)


def raise_threshold(training, validation, facts, seed):
    return change_images(lambda images: cut_at(images, CUT), training, validation)


def draw_threshold(training, validation, facts, seed):
    levels = np.random.default_rng(seed).uniform(*LEVELS, (len(training), 1, 1, 1))
    return *change_images(lambda images: cut_at(images, levels), training), validation


def repeat_sources(sources, rows):
    "Sources by number, those that come again under other names."
    again = pd.Series(rows).groupby(rows).cumcount()
    chosen = [sources.names[row] + f"#{n}"*(n > 0) for row, n in zip(rows, again, strict=True)]
    fields = {key: getattr(sources, key)[rows] for key in
              ("images", "labels", "groups", "folds", "positions", "covered", "rms", "beams")}
    return replace(sources, names=np.array(chosen), **fields)


def take_half(training, validation, facts, seed):
    "The middle 150 px, 4.5 arcmin, as wide as FRDEEP's images; not scaled anew."
    return change_images(lambda images: crop_or_pad(images, 150), training, validation)


def take_third(training, validation, facts, seed):
    "The middle 100 px, 3 arcmin."
    return change_images(lambda images: crop_or_pad(images, 100), training, validation)


def balance_catalogues(training, validation, facts, seed):
    "As many sources as there are, shared out evenly among catalogues and drawn anew in each."
    catalogues, rng = facts.loc[training.names, "catalogue"].to_numpy(), np.random.default_rng(seed)
    kinds = np.unique(catalogues)
    rows = np.concatenate([rng.choice(np.flatnonzero(catalogues == kind), len(training)//len(kinds))
                           for kind in kinds])
    return repeat_sources(training, rows), validation


def measure_spans(images):
    "Twice the root of the mean squared distance from the middle, pixels, weighted by brightness, of the centre."
    centre = crop_or_pad(images, min(100, images.shape[1]))[..., 0]
    rows, columns = np.indices(centre.shape[1:]) - (centre.shape[1] - 1)/2
    return 2*np.sqrt((centre*(rows**2 + columns**2)).sum(axis=(1, 2))/np.maximum(centre.sum(axis=(1, 2)), 1e-9))


def scale_to_common_size(training, validation, facts, seed):
    from radiogal.training import _turn_and_scale, batch_rows

    def scale(images):
        scales = np.clip(SPAN/np.maximum(measure_spans(images), 1), 0.5, 2)
        return np.concatenate([_turn_and_scale(images[some], np.zeros(len(some)), scales[some])
                               for some in batch_rows(np.arange(len(images)), 16)])
    return change_images(scale, training, validation)


def join_griese(training, validation, facts, seed):
    "FR I and FR II of the published set that are far from every validated source, and are not trained on already."
    from astropy import units as u
    from astropy.coordinates import SkyCoord
    other = read_task(RESULTS, read_settings(), "griese-fr")
    places, known = (SkyCoord(*positions.T, unit="deg") for positions in
                     (other.positions, np.concatenate([training.positions, validation.positions])))
    far = other.select(places.match_to_catalog_sky(known)[1] > APART_ARCMIN*u.arcmin)
    columns = {key: np.concatenate([getattr(training, key), getattr(far, key)])
               for key in ("labels", "folds", "positions", "covered", "rms", "beams")}
    columns["groups"] = np.concatenate([training.groups, far.groups + training.groups.max() + 1])  # numbered by set
    images = np.concatenate([training.images, crop_or_pad(far.images, training.images.shape[1])])
    names = np.concatenate([training.names, [f"griese {name}" for name in far.names]])
    return replace(training, images=images, names=names, **columns), validation


WAYS = {way.__name__: way for way in (keep, take_root, take_half, take_third, raise_threshold, draw_threshold,
                                      balance_catalogues, scale_to_common_size, join_griese)}
MADE = {*WAYS, "ask_views"}  # Each in a process of its own


def train(a_try, task, fold, seed):
    "What a changed training says of its validation sources, and the SHA-256 of the images."
    from radiogal.models import build_network, choose_size
    from radiogal.training import fit_network, predict_sources, start_keras_once
    config = read_settings()
    folder = find_images(RESULTS, config.list_tasks()[task].images)
    sources, facts = read_task(RESULTS, config, task), read_facts(folder)
    training, validation = WAYS[a_try["way"]](sources.training(fold), sources.validation(fold), facts, seed)
    recipe = type(config.training).model_validate(config.choose_recipe("fields", task).model_dump() | a_try["settings"])
    start_keras_once(seed)
    model = build_network("fields", choose_size("fields", training.images.shape[1]), len(training.classes), seed)
    fit_network(model, training, validation, recipe, seed)
    return assign_groups(predict_sources(model, validation), facts), hash_file(folder/"prepared.h5")


def ask_views(a_try, task, fold, seed):
    "What a kept network says of its validation sources, in the mean of views, and the SHA-256 of the images."
    from radiogal.engines import _open_model
    from radiogal.models import choose_size
    from radiogal.training import _turn_and_scale, batch_rows, predict_sources, start_keras_once
    config = read_settings()
    folder = find_images(RESULTS, config.list_tasks()[task].images)
    sources, tables = read_task(RESULTS, config, task).validation(fold), []
    start_keras_once(seed)
    model = _open_model(KEPT/"training"/find_place(task, "fields", fold, seed),
                        choose_size("fields", sources.images.shape[1]))
    for angle, scale in product(ANGLES, SCALES):
        turned = [_turn_and_scale(sources.images[rows], np.full(len(rows), angle), np.full(len(rows), scale))
                  for rows in batch_rows(np.arange(len(sources)), 64)]
        tables.append(predict_sources(model, replace(sources, images=np.concatenate(turned))))
    p = [key for key in tables[0] if key.startswith("p_")]
    mean = tables[0].assign(**sum(table[p] for table in tables).div(len(tables)))
    return assign_groups(mean, read_facts(folder)), hash_file(folder/"prepared.h5")


def keep_answers(cell, table, images, began=0.):
    "Write a cell's file; began: processor time of this process before it."
    answers = {key: table[key].round(5).tolist() for key in table if key.startswith("p_")}
    write_result(dict(zip(("try", "task", "fold", "seed"), cell, strict=True)) | dict(
        images=images, core_seconds=round(count_processor_s() - began, 1), name=table["name"].tolist(),
        label=table["label"].tolist(), sky_group=table["sky_group"].tolist(), **answers), find_file(cell))


def run_cell(cell, deadline):
    "Train one cell in a process of its own: why it failed, or nothing; it is stopped at the deadline."
    left = deadline - time.monotonic()
    if find_file(cell).is_file() or left <= 0: return ""
    env = os.environ | dict(TF_CPP_MIN_LOG_LEVEL="3", TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1",
                            OMP_NUM_THREADS="1")
    try:
        done = subprocess.run([sys.executable, __file__, "--cell", *map(str, cell)], capture_output=True, text=True,
                              env=env, timeout=left)
    except subprocess.TimeoutExpired: return "stopped: the time is over"
    return f"failed: {done.stderr.strip()[-300:]}" if done.returncode else ""


def run_all(tries, minutes, run=run_cell):
    "All trainings that are not there, two at a time, in the order of the tries; those that failed, and why."
    deadline, cells = time.monotonic() + 60*minutes, [c for t in tries if t["way"] in MADE for c in list_cells(t)]
    with ThreadPoolExecutor(2) as pool:
        told = pool.map(lambda cell: run(cell, deadline), cells)
        return {cell: why for cell, why in zip(cells, told, strict=True) if why}


def fit_all(tries):
    "All classifiers of handcrafted features that are not there: they share a process, as they share the features."
    for a_try in (t for t in tries if t["way"] not in {*MADE, *MEANS}):
        for cell in list_cells(a_try):
            if find_file(cell).is_file(): continue
            from feature_tries import ask_features
            began = count_processor_s()
            keep_answers(cell, *ask_features(a_try["way"], *cell[1:3]), began)


def read_kept(task, network, fold, seed, images=None):
    "Kept answers; None where there are none, or they are of other images."
    folder = KEPT/"training"/find_place(task, network, fold, seed)
    if not (folder/"predictions.parquet").is_file(): return None
    inputs = json.loads((folder/"provenance.json").read_text())["inputs"]
    if images and images not in inputs.values(): return None
    kept = read_settings().list_tasks()[task].images
    return assign_groups(pd.read_parquet(folder/"predictions.parquet"), read_facts(find_images(KEPT, kept)))


def read_cell(cell):
    "A training's answers; None where it has not been made."
    if not find_file(cell).is_file(): return None
    told = json.loads(find_file(cell).read_text())
    table = pd.DataFrame({key: value for key, value in told.items() if isinstance(value, list)})
    table.attrs = dict(images=told["images"], core_seconds=told["core_seconds"])
    p = [key for key in table if key.startswith("p_")]
    table[p] = table[p].div(table[p].sum(axis=1), axis=0)  # they were rounded
    return table.assign(task=cell[1], fold=cell[2], seed=cell[3])


def fuse(tables):
    "The equal mean, as of the first's fold and seed; None where one is not there."
    if any(table is None for table in tables): return None
    mean = average_predictions(tables).assign(fold=tables[0]["fold"].iloc[0], seed=tables[0]["seed"].iloc[0])
    mean.attrs = {}  # no seconds of its own
    return mean


SEEDS = [("fields", seed) for seed in (1, 2, 3)]
FEATURES = ("handcrafted", 1)
MEANS = dict(ask_fields=[("fields", None)], ask_handcrafted=[FEATURES], fuse_handcrafted=[("fields", None), FEATURES],
             fuse_alhassan=[("fields", None), ("alhassan", 1)], fuse_both=[("fields", None), ("alhassan", 1), FEATURES],
             average_kept_seeds=SEEDS, average_seeds_handcrafted=[*SEEDS, FEATURES],
             fuse_views=[("views", None)], fuse_half_field=[("half-field", None), FEATURES])  # Seed None: the try's own


def read_asked(name, task, fold, seed):
    "Answers of a kept network, or of a try; None where there are none."
    kept = read_kept(task, name, fold, seed)
    return read_cell((name, task, fold, seed)) if kept is None else kept


def ask_kept(way, task, fold, seed):
    "The answers of a try that needs no training of its own."
    return fuse([read_asked(name, task, fold, each or seed) for name, each in MEANS[way]])


def scale_by_others(tables):
    "Answers of each fold at the temperature of the other folds, seed by seed."
    scaled = []
    for seed in sorted({table["seed"].iloc[0] for table in tables}):
        _, pooled = calibrate_folds([table for table in tables if table["seed"].iloc[0] == seed])
        scaled += [part for _, part in pooled.groupby("fold")]
    return scaled


def scale_by_task(tables, task):
    "Answers at the temperature of the kept answers of another task, whose folds mix the catalogues."
    kept = [read_kept(task, "fields", fold, 1) for fold in read_settings().list_tasks()[task].networks["fields"]]
    temperature = fit_temperature(pool_tables(kept))
    return [apply_temperature(table, temperature) for table in tables]


def scale_as_declared(tables, by):
    "Answers as they are, or at a temperature of the other folds, or of another task."
    if not by or not tables: return tables
    return scale_by_others(tables) if by == OTHERS else scale_by_task(tables, by)


def find_pairs(a_try, task):
    "Answers of a try and of the baseline, of the folds and seeds that both have."
    mine, base = [], []
    for _, of, fold, seed in list_cells(a_try):
        if of != task: continue
        kept = a_try["way"] in MEANS
        table = ask_kept(a_try["way"], of, fold, seed) if kept else read_cell((a_try["name"], of, fold, seed))
        if table is None: continue
        mine.append(table)
        beside = read_kept(of, a_try.get("beside", "fields"), fold, seed, table.attrs.get("images"))
        beside = read_cell(("baseline", of, fold, seed)) if beside is None else beside
        if beside is not None: base.append(beside)
    seconds = sum(table.attrs.get("core_seconds", 0) for table in mine)
    return scale_as_declared(mine, a_try.get("scaled")), base, seconds


def score_doubt(tables):
    "Area under the curve of entropy against being wrong, all answers together; NaN where none or all are wrong."
    asked = [check_predictions(table) for table in tables]
    wrong = np.concatenate([p.argmax(axis=1) != y for y, p in asked])
    entropy = np.concatenate([-(p*np.log(np.maximum(p, 1e-12))).sum(axis=1) for _, p in asked])
    return roc_auc_score(wrong, entropy) if 0 < wrong.sum() < len(wrong) else np.nan


def tell_pooled_ece(tables):
    "The calibration error of all folds together, with a 95 % interval, in the mean of the seeds."
    seeds = sorted({table["seed"].iloc[0] for table in tables})
    pooled = [pool_tables([table for table in tables if table["seed"].iloc[0] == seed]) for seed in seeds]
    found = [(score_calibration(table)["ece"], *bound_ece(table)) for table in pooled]
    return "{:.3f} [{:.3f}, {:.3f}]".format(*np.mean(found, axis=0))


def tell_ece(tables):
    "The mean calibration error of folds, and what 97.5 % of calibrated answers would stay below by chance."
    found = pd.DataFrame([score_calibration(table) for table in tables]).mean()
    return f"{found['ece']:.3f} ({found['ece_chance_high']:.3f})"


def judge(a_try, task):
    "A line of the table; None where nothing is measured."
    mine, base, seconds = find_pairs(a_try, task)
    if not mine: return None
    accuracy = [score_predictions(table)["accuracy"] for table in mine]
    mean, std = np.mean(accuracy), np.std(accuracy, ddof=1) if len(accuracy) > 1 else np.nan
    ours, theirs = match_tables(mine, base)
    told, p = "–", "–"
    if ours and a_try["name"] not in ("baseline", "as-kept"):
        row = compare_kinds(ours, theirs)
        told = f"{row['accuracy_difference']:+.3f} [{row['accuracy_low']:+.3f}, {row['accuracy_high']:+.3f}]"
        p = f"{row['p_value']:.2g}"
    folds, seeds = ({table[key].iloc[0] for table in mine} for key in ("fold", "seed"))
    return (f"`{a_try['name']}`", f"`{task}`", f"{len(folds)} × {len(seeds)}, {len(mine)}", f"{mean:.3f} ± {std:.3f}",
            told, p, tell_ece(mine), tell_pooled_ece(mine), f"{score_doubt(mine):.2f}", f"{seconds:,.0f}")


def tell_middle(known, n):
    "Median, the 16th and 84th percentile, and of how many, if not of all."
    if "median" not in known: return "–"
    few = f" of {known['n']}" if known["n"] < n else ""
    return f"{known['median']:.3g} [{known['low']:.3g}, {known['high']:.3g}]{few}"


MEASURED = dict(size="size, arcsec", total="brightness, peaks", islands="islands", peak="peak, mJy/beam",
                noise="noise, mJy/beam", threshold="3σ, % of peak", redshift="redshift")


def write_catalogues():
    "What measure_catalogues.py found, in two tables."
    path = FOLDER/"catalogues.json"
    if not path.is_file(): return (NOT_YET.format("measure_catalogues"),)*2
    found = json.loads(path.read_text())
    rows = [(each["label"], each["catalogue"], each["n"], *(tell_middle(each[key], each["n"]) for key in MEASURED))
            for each in found["rows"]]
    told = [(each["label"], each["n"], each["catalogues"], f"{each['commonest']:.3f}",
             f"{each['accuracy']:.3f} [{each['low']:.3f}, {each['high']:.3f}]") for each in found["told"]]
    return (write_table(("class", "catalogue", "sources", *MEASURED.values()), rows),
            write_table(("class", "sources", "catalogues", "commonest catalogue", "named rightly"), told))


def write_flags():
    "What measure_flags.py found: a line for each flag, a column for each task."
    path = FOLDER/"flags.json"
    if not path.is_file(): return NOT_YET.format("measure_flags")
    found = pd.DataFrame(json.loads(path.read_text())["rows"])
    heads = [f"`{task}`, {some['wrong'].iloc[0]} of {some['n'].iloc[0]} wrong"
             for task, some in found.groupby("task", sort=False)]
    found["told"] = [f"{row.area:.2f} [{row.low:.2f}, {row.high:.2f}]" for row in found.itertuples()]
    table = found.pivot(index="flag", columns="task", values="told").fillna("–")
    return write_table(("flag", *heads), table.loc[found["flag"].unique(), found["task"].unique()].itertuples())


LEFT_OUT = {1: "Capetti", 2: "CoNFIG", 3: "MiraBest"}  # By fold of the task


def name_left_out():
    "Heads of the table of catalogues that are left out, with the share of the commonest class."
    shares = [read_kept("catalogues-fr", "fields", fold, 1)["label"].value_counts(normalize=True) for fold in LEFT_OUT]
    return [f"{name}, {share.iloc[0]:.3f} {share.index[0]}"
            for name, share in zip(LEFT_OUT.values(), shares, strict=True)]


def judge_left_out(a_try):
    "A line of the table of catalogues that are left out; none where nothing is measured."
    mine, _, _ = find_pairs(a_try, "catalogues-fr")
    cells = dict.fromkeys(LEFT_OUT, "–")
    for table in mine:
        scores = score_predictions(table)
        confusion = np.array(scores["confusion"])
        cells[table["fold"].iloc[0]] = "{:.3f} [{:.3f}, {:.3f}], {:.3f}, {}".format(
            scores["accuracy"], *scores["accuracy_interval"],
            np.mean(np.diag(confusion)/confusion.sum(axis=1)), tell_ece([table]))
    return [(f"`{a_try['name']}`", *cells.values())]*bool(mine)


PACKED = ROOT/"radiogal"/"networks"/"models.json"


def tell_area(area): return "–" if area is None else f"{area:.2f}"


def write_unseen():
    "What a network of the package says of catalogues that it was not trained on, in a table."
    rows = json.loads(PACKED.read_text())["models"]["first-fr"]["unseen"]
    told = [(f"`{row['catalogue']}`", row["n"], f"{row['guess']:.3f}", f"{row['accuracy']:.3f} "
             f"[{row['accuracy_low']:.3f}, {row['accuracy_high']:.3f}]", f"{row['ece']:.3f} "
             f"({row['ece_chance_high']:.3f})", tell_area(row["entropy_area"])) for row in rows]
    return write_table(("catalogue", "sources", "commonest class", "accuracy", "calibration error", "entropy"), told)


def write_page(tries):
    "The page as text."
    rows = [row for t in tries for task in t["tasks"] if (row := judge(t, task))]
    heads = ("try", "task", "folds × seeds, trainings", "accuracy, mean ± std", "difference", "p",
             "calibration error, mean of folds", "of all folds together", "entropy", "core-seconds")
    changes = [(f"`{t['name']}`", t["why"], ", ".join(f"{k} = {v}" for k, v in t["settings"].items()) or t["way"])
               for t in tries]
    declared = write_table(("try", "why", "change"), changes)
    differ, told_apart = write_catalogues()
    left_out = [row for t in tries if "catalogues-fr" in t["tasks"] for row in judge_left_out(t)]
    parts = dict(measured=write_table(heads, rows) if rows else NOT_YET.format("try_levers"), declared=declared,
                 differ=differ, told_apart=told_apart, flags=write_flags(), unseen=write_unseen(),
                 left_out=write_table(("try", *name_left_out()), left_out))
    page = TEXT.read_text()
    for name, part in parts.items(): page = page.replace(f"{{{name}}}", part)
    return page


def main(words=None):
    asked = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    asked.add_argument("--minutes", type=float, default=150, help="no training starts or goes on after so many")
    asked.add_argument("--cell", nargs=4, help="one training: try, task, fold, seed")
    told, tries = asked.parse_args(words), read_tries()
    FOLDER.mkdir(exist_ok=True)
    if told.cell:
        name, task, fold, seed = told.cell
        cell = name, task, int(fold), int(seed)
        a_try = next(t for t in tries if t["name"] == name)
        keep_answers(cell, *(ask_views if a_try["way"] == "ask_views" else train)(a_try, *cell[1:]))
        return 0
    fit_all(tries)
    failed = run_all(tries, told.minutes)
    for cell, why in failed.items(): print(*cell, why, flush=True)
    PAGE.write_text(write_page(tries))
    return int(bool(failed))


if __name__ == "__main__": sys.exit(main())
