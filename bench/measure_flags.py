"""Which number tells right answers of `fields` from wrong ones: docs/levers/flags.json, shown in docs/levers.md.

    python bench/measure_flags.py     # after `radiogal prepare benchmark`; a few minutes of a core

Answers are the kept ones of validation sources, those of handcrafted features come from the fold that left the source
out, too. The out-of-distribution score needs kept weights.
"""
import sys

import numpy as np
import pandas as pd
from _pairs import round_numbers, write_result
from scipy.special import xlogy
from sklearn.preprocessing import StandardScaler
from try_levers import FOLDER, KEPT, RESULTS, SEEDS, fuse, read_kept, read_settings

from radiogal.config import find_images, find_place, hash_file
from radiogal.datasets import read_task
from radiogal.engines import _ask_engine, _learn_known, _score_ood, export_graph, open_onnxruntime
from radiogal.evaluation import _draw_weights, _take_interval, align_predictions, check_predictions
from radiogal.handcrafted import _measure_set
from radiogal.models import choose_size

FOLDS = {"catalogues-fr": (1, 2, 3), "griese": range(5), "frdeep-FIRST": range(5)}


def score_flag(wrong, flag, groups):
    "Area under the curve of a flag against being wrong, and its 95 % interval: bootstrap over sky groups."
    bad, good = flag[wrong], flag[~wrong]
    above = np.greater.outer(bad, good) + np.equal.outer(bad, good)/2
    group = np.unique(groups, return_inverse=True)[1]
    drawn = _draw_weights(group.max() + 1)[:, group]
    left, right = drawn[:, wrong], drawn[:, ~wrong]
    draws = ((left @ above)*right).sum(axis=1)/(left.sum(axis=1)*right.sum(axis=1))
    return float(above.mean()), _take_interval(draws)


def measure_entropy(p): return -xlogy(p, p).sum(axis=1)
def measure_distance(p, q): return abs(p - q).sum(axis=1)/2  # Total variation


def score_unlike(training, asked):
    "The out-of-distribution score of features, (n, d), as of a network's."
    return _score_ood(asked, _learn_known(training, asked))


def ask_unlike(folder, sources, fold):
    "The out-of-distribution score that is given out, of validation sources."
    size = choose_size("fields", sources.images.shape[1])
    features, _ = _ask_engine(open_onnxruntime(export_graph(folder, size)), sources.images, size)
    return score_unlike(features[sources.folds != fold], features[sources.folds == fold])


def list_flags(task, fold, sources, features):
    "A row per validation source: its sky group, whether `fields` is wrong, and each flag."
    own, other, *seeds = (read_kept(task, network, fold, seed)
                          for network, seed in (("fields", 1), ("handcrafted", 1), *SEEDS))
    if any(each is None for each in seeds): seeds = []
    tables = align_predictions([own, other, fuse([own, other]), *seeds])
    (y, p), (_, q), (_, mean), *several = map(check_predictions, tables)
    called, inside = p.argmax(axis=1), sources.folds == fold
    scaled = StandardScaler().fit(features[~inside]).transform(features)
    flags = {"entropy": measure_entropy(p), "entropy of `handcrafted`": measure_entropy(q),
             "entropy of the mean of both": measure_entropy(mean),
             "disagreement with `handcrafted`": measure_distance(p, q)}
    if several:
        flags["spread of three seeds"] = np.std([each[np.arange(len(y)), called] for _, each in several], axis=0)
    table = pd.DataFrame(flags | dict(wrong=called != y, group=tables[0]["sky_group"].to_numpy()),
                         index=tables[0]["name"].to_numpy())
    unlike = pd.DataFrame({"distance in handcrafted features": score_unlike(scaled[~inside], scaled[inside])},
                          index=sources.names[inside])
    folder = KEPT/"training"/find_place(task, "fields", fold, 1)
    if (folder/"network.weights.h5").is_file(): unlike["`ood_score`"] = ask_unlike(folder, sources, fold)
    return table.join(unlike)


def judge_flags(task, config):
    "Rows of a task: how well each flag tells wrong from right, all folds together."
    images = config.list_tasks()[task].images.removesuffix("-catalogues")  # The same images in other folds
    path = find_images(RESULTS, images)/"prepared.h5"
    sources, (measured, _) = read_task(RESULTS, config, task), _measure_set(path, hash_file(path))
    features = np.array([measured[name] for name in sources.names])
    table = pd.concat([list_flags(task, fold, sources, features) for fold in FOLDS[task]])
    wrong, rows = table.pop("wrong").to_numpy(), []
    groups = table.pop("group").to_numpy()
    for name, flag in table.items():
        area, ends = score_flag(wrong, flag.to_numpy(), groups)
        rows.append(dict(task=task, flag=name, n=len(wrong), wrong=int(wrong.sum()), area=area, low=ends.low,
                         high=ends.high))
    return rows


def main():
    config = read_settings()
    rows = [row for task in FOLDS for row in judge_flags(task, config)]
    write_result(dict(rows=round_numbers(rows)), FOLDER/"flags.json")


if __name__ == "__main__": sys.exit(main())
