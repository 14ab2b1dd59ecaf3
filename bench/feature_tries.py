"""Classifiers of handcrafted features that are fitted in other ways than the kept one: tries of try_levers.py.

A way is a function of what is known and of the features of those that are asked about; it returns probabilities.
"""
from functools import cache
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from try_levers import RESULTS, read_settings

from radiogal.config import find_images, hash_file
from radiogal.datasets import _name_family, read_task
from radiogal.diagnosis import assign_groups, read_facts
from radiogal.handcrafted import _INNER_FOLDS, _STRENGTHS, _measure_set
from radiogal.training import _tabulate_said, _weigh_classes

ROUNDS, STEP = 30, 0.5  # Of group DRO: how often groups are weighed anew, and how fast
KEPT_POWER = 0.5  # Of the class weights of the kept classifier


class Known(NamedTuple):
    "Training sources."
    features: np.ndarray   # (n, d)
    labels: np.ndarray     # (n,), int
    catalogues: np.ndarray # (n,), families: Capetti's two hold a class each, so that a name would tell the label
    groups: np.ndarray     # (n,), of the sky


def count_pairs(known):
    "The number of each source's class and catalogue, and how many sources share it."
    named = [f"{catalogue} {label}" for catalogue, label in zip(known.catalogues, known.labels, strict=True)]
    return np.unique(named, return_inverse=True, return_counts=True)[1:]


def weigh_classes(labels): return _weigh_classes(labels, tuple(np.unique(labels)), KEPT_POWER)[labels]
def draw_inner(known): return list(StratifiedGroupKFold(_INNER_FOLDS).split(known.labels, known.labels, known.groups))


def fit(known, weights, inner):
    "As the kept classifier, with other weights, or other folds in which the penalty is chosen."
    search = GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression(tol=1e-3, max_iter=1000)),
                          dict(logisticregression__C=_STRENGTHS), scoring="neg_log_loss", cv=inner)
    return search.fit(known.features, known.labels, logisticregression__sample_weight=weights)


def balance_pairs(known, asked):
    "Each class of each catalogue counts alike."
    pairs, counts = count_pairs(known)
    return fit(known, (len(pairs)/len(counts)/counts)[pairs], draw_inner(known)).predict_proba(asked)


def optimise_worst(known, asked):
    "Group DRO: classes of catalogues count more the worse they are known, under the strongest penalty."
    (pairs, counts), scaler = count_pairs(known), StandardScaler().fit(known.features)
    scaled, shares = scaler.transform(known.features), np.full(len(counts), 1/len(counts))
    model = LogisticRegression(C=_STRENGTHS[0], tol=1e-3, max_iter=1000)
    for _ in range(ROUNDS):
        model.fit(scaled, known.labels, sample_weight=len(pairs)*(shares/counts)[pairs])
        losses = -np.log(model.predict_proba(scaled)[np.arange(len(pairs)), known.labels])
        shares *= np.exp(STEP*np.bincount(pairs, losses)/counts)
        shares /= shares.sum()
    return model.predict_proba(scaler.transform(asked))


def leave_out_within(known, asked):
    "The penalty is the best for catalogues that are left out among those trained on."
    inner = list(LeaveOneGroupOut().split(known.features, known.labels, known.catalogues))
    return fit(known, weigh_classes(known.labels), inner).predict_proba(asked)


def scale_each(known):
    "Features of each catalogue with mean 0 and standard deviation 1."
    scaled = np.empty_like(known.features)
    for name in np.unique(known.catalogues):
        inside = known.catalogues == name
        scaled[inside] = scale(known.features[inside])
    return scaled


def scale_by_catalogue(known, asked):
    "Each catalogue is scaled by itself, also the one that is asked about."
    scaled = known._replace(features=scale_each(known))
    return fit(scaled, weigh_classes(known.labels), draw_inner(known)).predict_proba(scale(asked))


def raise_matrix(matrix, power):
    "A power of a symmetric positive matrix."
    values, vectors = np.linalg.eigh(matrix)
    return (vectors*values**power) @ vectors.T


def align_correlations(known, asked):
    "CORAL: training features take on the covariance of those that are asked about."
    ours, theirs = scale(known.features), scale(asked)
    own, other = (np.cov(each.T) + np.eye(each.shape[1]) for each in (ours, theirs))
    moved = known._replace(features=ours @ raise_matrix(own, -0.5) @ raise_matrix(other, 0.5))
    return fit(moved, weigh_classes(known.labels), draw_inner(known)).predict_proba(theirs)


FITS = {way.__name__: way for way in (balance_pairs, optimise_worst, leave_out_within, scale_by_catalogue,
                                      align_correlations)}


@cache
def read_all(task):
    "Sources of a task, their facts and features, and the SHA-256 of the images."
    config = read_settings()
    folder = find_images(RESULTS, config.list_tasks()[task].images)
    sources, facts, digest = read_task(RESULTS, config, task), read_facts(folder), hash_file(folder/"prepared.h5")
    measured, _ = _measure_set(folder/"prepared.h5", digest)
    return sources, facts, np.array([measured[name] for name in sources.names]), digest


def ask_features(way, task, fold):
    "What a classifier says of the validation sources of a fold, and the SHA-256 of the images."
    sources, facts, features, digest = read_all(task)
    inside = sources.folds == fold
    catalogues = np.array([_name_family(name) for name in facts.loc[sources.names, "catalogue"]])
    known = Known(features[~inside], sources.labels[~inside], catalogues[~inside], sources.groups[~inside])
    said = _tabulate_said(sources.select(inside), FITS[way](known, features[inside]))
    return assign_groups(said, facts), digest
