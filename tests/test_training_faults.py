"A training that is killed and whose checkpoints are lost: its results are, byte for byte, an uninterrupted one's."
import io
import logging
import os
import random
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import children
import numpy as np
import pytest
from test_faults_kills import fork

from radiogal.config import read_config
from radiogal.datasets import sample_set
from radiogal.models import build_network
from radiogal.training import _list_checkpoints, fit_network, hash_bytes, predict_sources, start_keras, write_training
from radiogal.workflow import _clear_leftovers

SMOKE = read_config(Path(__file__).parent.parent/"config"/"smoke.toml")
N_EPOCHS, N_BATCHES = 20, 2  # of the training, of an epoch
SETTINGS = SMOKE.training.model_copy(update=dict(epochs=N_EPOCHS))
ONE_THREAD = dict(TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1", OMP_NUM_THREADS="1", TF_CPP_MIN_LOG_LEVEL="3",
                  CUDA_VISIBLE_DEVICES="-1")


REPLACE = os.replace


class DieAt:
    "An `os.replace` that kills its process before, or after, a checkpoint gets its name."
    def __init__(self, moment, epochs): self.moment, self.pattern = moment, f"checkpoint-{epochs:04}-*.npz"
    def __call__(self, part, path):
        dies = Path(path).match(self.pattern)
        if dies and self.moment == "before": os.kill(os.getpid(), signal.SIGKILL)
        REPLACE(part, path)
        if dies: os.kill(os.getpid(), signal.SIGKILL)


def train(folder, replace):
    "What the notebook's run does, up to its results; `os.replace` may be another."
    os.replace = replace
    logging.basicConfig(filename=folder/"log", level=logging.INFO)
    _clear_leftovers([folder])
    start_keras(1)
    sources = sample_set(SMOKE, "FIRST")
    training, validation = sources.training(0), sources.validation(0)
    model = build_network("alhassan", 32, 2, 1)
    history = fit_network(model, training, validation, SETTINGS, 1, folder/"checkpoints")
    write_training(folder/"results", model, history, predict_sources(model, validation), {})


def drive(number, connection):
    "In a process with TensorFlow imported, not started: each order forks a child; its pid and status are sent."
    os.environ.update(ONE_THREAD)
    import keras  # noqa: F401
    while True:
        pid = fork(train, *connection.recv())
        connection.send(pid)
        connection.send(os.waitpid(pid, 0)[1])


class Training:
    "A training in a folder, in one process after the other."
    def __init__(self, connection, folder):
        self.connection, self.folder, self.pid = connection, folder, None
        folder.mkdir()

    def start(self, replace=REPLACE):
        self.connection.send((self.folder, replace))
        self.pid = self.connection.recv()

    def finish(self):
        "Wait for the process; None if it was killed, else its exit status."
        assert self.connection.poll(1800), "not within half an hour"
        status = self.connection.recv()
        return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)

    def run(self, replace=REPLACE):
        self.start(replace)
        return self.finish()

    def kill(self):
        with suppress(ProcessLookupError): os.kill(self.pid, signal.SIGKILL)
        return self.finish()

    def wait_for_epochs(self, n):
        "Until a checkpoint has so many epochs behind it, or the training has ended."
        while max(self.list_epochs(), default=0) < n and not self.connection.poll(0.005): pass

    def list_checkpoints(self): return _list_checkpoints(self.folder/"checkpoints")

    def list_epochs(self): return [int(path.name.split("-")[1]) for path in self.list_checkpoints()]

    def read_log(self):
        "What was said of checkpoints since the last time."
        log = self.folder/"log"
        said = re.findall(r"(?:WARNING|INFO):radiogal.training:(.*)", log.read_text()) if log.exists() else []
        log.unlink(missing_ok=True)
        return said

    def read_results(self): return {path.name: path.read_bytes() for path in sorted((self.folder/"results").iterdir())}


@pytest.fixture(scope="module")
def connection():
    "To the process that trains."
    here, there = children.CONTEXT.Pipe()
    with children.run(1, drive, there): yield here


@pytest.fixture(scope="module")
def uninterrupted(connection, tmp_path_factory):
    "The results of a training that nobody killed."
    training = Training(connection, tmp_path_factory.mktemp("whole")/"run")
    assert training.run() == 0
    assert sorted(training.read_results()) == ["history.csv", "metrics.json", "network.weights.h5",
                                               "predictions.parquet"]
    return training.read_results()


MANY = [pytest.mark.full, pytest.mark.fault(40, "killed mid-training", "same final weights as uninterrupted")]


@pytest.mark.parametrize("n_kills", [5, pytest.param(20, marks=MANY)])
def test_fault_40_kills_end_in_the_same_weights(connection, uninterrupted, tmp_path, saw, n_kills):
    rng, trainings, kills, killed_at = random.Random(1), [], 0, set()  # noqa: S311
    while kills < n_kills:
        if not trainings or (trainings[-1].folder/"results").exists():
            trainings.append(Training(connection, tmp_path/str(len(trainings))))
        training, last = trainings[-1], max(trainings[-1].list_epochs(), default=0)
        training.start()
        if kills % 5 < 2: training.wait_for_epochs(last + 1)                     # then in one of the next epochs,
        time.sleep(rng.uniform(0, 0.2) if kills % 5 < 2 else rng.uniform(0, 1))  # or while it starts and resumes
        if training.kill() is None: kills += 1
        killed_at.add((len(trainings), *training.list_epochs()))
    assert trainings[-1].run() == 0
    for training in trainings: assert training.read_results() == uninterrupted
    assert len(killed_at) >= 2*n_kills//5
    assert not [said for training in trainings for said in training.read_log() if "set aside" in said]
    saw(f"{n_kills} kills, after {2*n_kills//5} different epochs or more: "
        "weights, history, predictions and metrics byte for byte the same")


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content)//2] ^= 1
    path.write_bytes(content)


def cut(path): os.truncate(path, path.stat().st_size//2)
def rename(path): path.rename(path.with_name(path.name.replace("-0", "-1", 1)))


def rewrite(path, **changed):
    "Other arrays, under a name that fits their bytes."
    with np.load(path) as stored: arrays = dict(stored) | changed
    path.unlink()
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    name = "-".join([*path.stem.split("-")[:2], hash_bytes(buffer.getvalue())])
    path.with_name(f"{name}.npz").write_bytes(buffer.getvalue())


def change_training(path): rewrite(path, fingerprint=np.array("0"*64))
def change_network(path): rewrite(path, state0=np.zeros((5, 5, 1, 32), np.float32))


HARMS = [(flip, "its bytes are not those that were written"), (cut, "its bytes are not those that were written"),
         (rename, "its arrays are not those of alhassan after 1004 epochs"),
         (change_training, "it is of another training"),
         (change_network, "its arrays are not those of alhassan after 6 epochs")]


@pytest.mark.fault(41, "corrupt checkpoint or its metadata", "previous checkpoint")
def test_fault_41_corrupt_checkpoint_gives_way_to_the_one_before(connection, uninterrupted, tmp_path, saw):
    training = Training(connection, tmp_path/"run")
    assert training.run(DieAt("after", 2)) is None
    for path in training.list_checkpoints(): flip(path)
    assert training.run(DieAt("after", 2)) is None
    assert [said.split(": ")[0][-9:] for said in training.read_log()] == ["set aside"]*2  # none is left: from the start
    for epochs, (harm, reason) in enumerate(HARMS, 2):
        newest, before = training.list_checkpoints()[:2]
        harm(newest)
        assert training.run(DieAt("after", epochs + 1)) is None
        aside, resumed = training.read_log()
        assert f" is set aside: {reason}" in aside and resumed == f"training goes on from {before.name}"
    assert training.run() == 0
    assert training.read_results() == uninterrupted
    saw(f"{len(HARMS)} kinds of damage, each set aside with its reason and the previous one used; "
        "both lost: from the start; in the end the same weights")


@pytest.mark.fault(42, "killed between weights and epoch counter", "one consistent generation")
def test_fault_42_crash_around_the_rename_leaves_whole_generations(connection, uninterrupted, tmp_path, saw):
    training = Training(connection, tmp_path/"run")
    for moment, epochs, left, n_parts in [("before", 3, [2, 1], 1), ("after", 5, [5, 4, 3], 0)]:
        assert training.run(DieAt(moment, epochs)) is None
        assert training.list_epochs() == left
        assert len(list((training.folder/"checkpoints").glob(".checkpoint-*.part"))) == n_parts
        for path, done in zip(training.list_checkpoints(), left, strict=True): check_generation(path, done)
    assert [said[:33] for said in training.read_log()] == ["training goes on from checkpoint-"]
    assert training.run() == 0
    assert training.read_results() == uninterrupted
    assert training.list_epochs() == [N_EPOCHS, N_EPOCHS - 1]
    saw("killed before and after a checkpoint's rename: "
        "weights, optimiser's steps and history of one epoch in each file; in the end the same weights")


def check_generation(path, epochs):
    "The weights' file, its optimiser and its history tell of the same epoch."
    with np.load(path) as stored: arrays = dict(stored)
    steps = [int(a) for name, a in arrays.items() if name.startswith("state") and a.ndim == 0 and a.dtype == np.int64]
    assert steps == [epochs*N_BATCHES] and len(arrays["history"]) == epochs
