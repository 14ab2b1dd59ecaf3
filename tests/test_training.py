"Our recipe (Muon, cosine, averaging, turned images): a seed gives equal bytes, killed or not; another, other weights."
import os
import signal
import subprocess
import sys
from pathlib import Path

import children
import h5py
import numpy as np
import pytest
from test_training_faults import ONE_THREAD

from radiogal import training
from radiogal.config import Training, read_config
from radiogal.datasets import sample_set
from radiogal.models import build_network
from radiogal.training import fit_network, predict_sources, start_keras, write_training

pytestmark = pytest.mark.full
ROOT = Path(__file__).parent.parent
SETTINGS = Training(epochs=6, batch_size=8, schedule="cosine", ema_decay=0.9, augmentation="turns", max_shift=1,
                    label_smoothing=0.1, class_weights=0.5, bn_recalibration_sources=12)


def fit(number, folder, seed, last, others):
    "What the notebook's run does, after trainings of other seeds; it kills its process after `last` epochs."
    write = training._write_checkpoint

    def write_and_die(place, arrays):
        path = write(place, arrays)
        if len(arrays["history"]) == last: os.kill(os.getpid(), signal.SIGKILL)
        return path

    training._write_checkpoint = write_and_die
    os.environ.update(ONE_THREAD)
    sources = sample_set(read_config(ROOT/"config"/"smoke.toml"), "FIRST")
    for each, place in [*((other, folder/str(other)) for other in others), (seed, folder)]:
        start_keras(each)
        model = build_network("fields", 32, 2, each)
        history = fit_network(model, sources.training(0), sources.validation(0), SETTINGS, each, place/"checkpoints")
        write_training(place, model, history, predict_sources(model, sources.validation(0)), dict(seed=each))


def train(folder, seed, last=0, others=()):
    "Exit status of a training in a process of its own, after those of other seeds."
    with children.run(1, fit, folder, seed, last, others) as (child,):
        child.join()
        return child.exitcode


def read_results(folder):
    "The bytes that a training leaves, without its weights, whose file holds times."
    return {name: (folder/name).read_bytes() for name in ("metrics.json", "predictions.parquet", "history.csv")}


def read_weights(folder):
    "All arrays of the weights, in order."
    found = {}
    with h5py.File(folder/"network.weights.h5") as f:
        f["layers"].visititems(lambda name,
                               item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    "Of a training of seed 1 that nothing came before and nobody killed."
    folder = tmp_path_factory.mktemp("whole")
    assert train(folder, 1) == 0
    return folder


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    "Of a training of seed 1 after one of seed 2 in the same process, which is in a folder of that name."
    folder = tmp_path_factory.mktemp("later")
    assert train(folder, 1, others=[2]) == 0
    return folder


def assert_same(folder, whole):
    "Two trainings left the same, weights included."
    assert read_results(folder) == read_results(whole)
    for (name, a), (other, b) in zip(read_weights(whole).items(), read_weights(folder).items(), strict=True):
        assert name == other
        np.testing.assert_array_equal(a, b)


def test_the_same_seed_gives_the_same_bytes_though_killed(whole, tmp_path):
    assert train(tmp_path, 1, last=4) == -signal.SIGKILL
    assert train(tmp_path, 1) == 0
    assert_same(tmp_path, whole)


def test_an_earlier_training_of_a_process_leaves_no_trace(whole, later):
    assert_same(later, whole)


def test_another_seed_gives_other_weights(whole, later):
    ours, theirs = (list(read_weights(folder).values()) for folder in (whole, later/"2"))
    assert any(not np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_what_keras_brings_is_left_out_of_searches_for_garbage():
    code = ("import gc; from radiogal.training import start_keras; start_keras(1); "
            "print(gc.isenabled(), gc.get_freeze_count() > 10**5)")
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["True", "True"]
