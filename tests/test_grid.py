"The grid of trainings and transfers: the same bytes however many cells a step takes; what the demo's networks find."
import shutil

import nbformat
import pandas as pd
import pytest
from conftest import copy_project, copy_state, finish, forget_later, radiogal, read_numbers

from radiogal.config import read_config
from radiogal.diagnosis import read_trainings

pytestmark = pytest.mark.full

BREAK = """
train = train_cell
def train_cell(results, config, run, cell, code):
    if cell[0] == "VLASS": raise ValueError("no such images")
    return train(results, config, run, cell, code)
"""


@pytest.fixture
def several(smoke_run, tmp_path):
    "A project with four trainings and two transfers to do."
    folder = forget_later(shutil.copytree(smoke_run, tmp_path/"several", symlinks=True))
    toml = folder/"config"/"smoke.toml"
    toml.write_text(toml.read_text().replace("folds = [0]", "folds = [0, 1]"))
    return folder


@pytest.mark.long
def test_one_cell_a_step_and_many_give_the_same_bytes(several, tmp_path):
    alone = shutil.copytree(several, tmp_path/"alone", symlinks=True)
    profile = alone/"workflow"/"profiles"/"local"/"config.yaml"
    profile.write_text(profile.read_text().replace("cells=8", "cells=1"))
    said = []
    for folder, cores in ((several, "1"), (alone, "2")):
        status, words = finish(radiogal(folder, "run", "smoke", "--cores", cores))
        assert status == 0, words
        said.append(sum(line.startswith(("  22_modelling", "  23_transfer")) for line in words.splitlines()))
    assert said == [2, 6]
    together = read_numbers(several)
    assert len([path for path in together if path.endswith("metrics.json")]) >= 6
    assert read_numbers(alone) == together


def test_a_cell_that_fails_leaves_its_neighbours_and_is_named(several):
    path = several/"nbs"/"22_modelling.ipynb"
    cells = (notebook := nbformat.read(path, 4)).cells
    place = next(i for i, cell in enumerate(cells) if "def train_cell(" in cell.source)
    cells.insert(place + 1, nbformat.v4.new_code_cell(BREAK))
    nbformat.write(notebook, path)
    status, said = finish(radiogal(several, "run", "smoke", "--cores", "1"))
    assert status != 0 and "VLASS/alhassan/fold0/seed1" in said
    trained = sorted((several/"results"/"smoke"/"training").glob("*/*/fold*/seed1/metrics.json"))
    assert {path.parents[3].name for path in trained} == {"FIRST"} and len(trained) == 2
    assert len(list((several/"results"/"smoke"/"training"/"VLASS").rglob("error.txt"))) == 2


def score_fr(folder):
    "Share of the demo's FR I and FR II in FIRST and VLASS that its networks call so; of TGSS's beam many look alike."
    trainings = read_trainings(folder/"results"/"demo", read_config(folder/"config"/"demo.toml"))
    told = pd.concat([trained.predictions for key, trained in trainings.items() if key[0] in ("FIRST", "VLASS")])
    fr = told[told["label"].isin(["FRI", "FRII"])]
    return (fr.filter(like="p_").idxmax(axis=1) == "p_" + fr["label"]).mean()


@pytest.mark.long
def test_the_demo_s_fr_classes_are_neither_trivial_nor_out_of_reach(tmp_path):
    copy_state("demo", folder := copy_project(tmp_path))
    status, said = finish(radiogal(folder, "run", "demo", "--cores", "2"))
    assert status == 0, said
    assert 0.8 <= score_fr(folder) <= 0.95
