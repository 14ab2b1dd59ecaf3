"Two surveys as one input: what is paired, what a missing image does, and the same result every time. Simulated."
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from conftest import ROOT
from test_training_faults import ONE_THREAD

from radiogal.config import ConfigError, Paths, Training, find_images, find_place, find_root, parse_config, read_config
from radiogal.datasets import read_task, sample_set, write_prepared
from radiogal.models import build_network, load_network_weights
from radiogal.pairs import join_pair, show_alone
from radiogal.shards import Request, _find_task
from radiogal.training import CHECKPOINTS_APART, fit_network, predict_sources, start_keras, train_cell
from radiogal.workflow import plan_run

CLASSES = dict(FRI=["FRI"], FRII=["FRII"])
SMOKE = ROOT/"config"/"smoke.toml"


def set_tasks(images="FIRST+VLASS", networks=("branches",), **more):
    "The smoke run's settings with a task on two surveys."
    tasks = dict(first=dict(images="FIRST", classes=CLASSES),
                 both=dict(images=images, classes=CLASSES, networks={network: [0] for network in networks}))
    return read_config(SMOKE).model_dump() | dict(tasks=tasks, networks=["fields"], transfer=dict(pairs={})) | more


@pytest.fixture(scope="module")
def sets():
    config = read_config(SMOKE)
    return [sample_set(config, survey) for survey in ("FIRST", "VLASS")]


@pytest.fixture(scope="module")
def pairs(sets): return join_pair(*sets, 30*u.arcsec)[0]


@pytest.fixture(scope="module")
def network(): return build_network("branches", 32, 2, 1)


@pytest.mark.parametrize(("settings", "message"), [
    (set_tasks("FIRST+NVSS"), "tasks.both.images = 'FIRST+NVSS': allowed are ['FIRST', 'VLASS'"),
    (set_tasks("FIRST+VLASS+FIRST"), "or two joined by +"),
    (set_tasks("FIRST+VLASS+artificial-FIRST"), "or two joined by +"),
    (set_tasks("FIRST+FIRST"), "or two joined by +"),
    (set_tasks("FIRST+"), "tasks.both.images = 'FIRST+': allowed are"),
    (set_tasks(networks=["fields"]), "tasks.both: fields with images = 'FIRST+VLASS'"),
    (set_tasks("VLASS"), "tasks.both: branches with images = 'VLASS'"),
    (set_tasks(networks=[]), "tasks.both: fields with images = 'FIRST+VLASS'"),
    (read_config(SMOKE).model_dump() | dict(networks=["branches"]), "branches with images = 'FIRST'"),
    (set_tasks(transfer=dict(pairs=dict(x=dict(source="first", target="both")))), "names 'both': allowed are ['fir"),
], ids=range(10))
def test_tasks_that_cannot_be_are_refused_by_name(settings, message):
    with pytest.raises(ConfigError) as error: parse_config(settings, "pairs.toml")
    assert message in str(error.value)


def test_a_pair_is_a_step_between_two_sets_and_the_training():
    config = parse_config(set_tasks(), "pairs.toml")
    plan = plan_run(config, Paths(ROOT), "smoke", per_step=9)
    place = "preparation/pairs/FIRST+VLASS"
    assert place in plan.steps and f"results/smoke/{place}/prepared.h5" in plan.prepared
    assert any(f"results/smoke/{place}/prepared.h5" in needed for needed in plan.trained_on.values())
    assert "steps/preparation/1of1" in plan.steps and config.list_labels("VLASS") == ("FRI", "FRII")
    alone = parse_config(set_tasks() | dict(tasks=dict(both=set_tasks()["tasks"]["both"])), "pairs.toml")
    assert "steps/preparation/1of1" in plan_run(alone, Paths(ROOT), "smoke").steps


def test_what_only_one_survey_has_is_left_out_and_listed(sets):
    first, vlass = sets[0].select(np.arange(len(sets[0])) != 2), sets[1].select(np.arange(len(sets[1]))[::-1][1:])
    pairs, quarantine = join_pair(first, vlass, 30*u.arcsec)
    lost = {sets[0].names[2], sets[1].names[-1]}
    assert list(pairs.names) == [name for name in sets[0].names if name not in lost]
    assert [(r["name"], r["survey"]) for r in quarantine] == [(sets[0].names[-1], "VLASS"), (sets[0].names[2], "FIRST")]
    for k, one in enumerate(sets):
        places = [list(one.names).index(name) for name in pairs.names]
        for column in ("labels", "groups", "folds"):
            np.testing.assert_array_equal(getattr(pairs, column), getattr(one, column)[places])
        np.testing.assert_array_equal(pairs.images[..., k], one.images[places, ..., 0])


def test_two_sources_under_one_name_are_no_pair(sets):
    labels = sets[1].labels.copy()
    labels[3] = 1 - labels[3]
    positions = sets[1].positions + np.where(np.arange(len(sets[1]))[:, None] == 5, [0, 1/60], 0)
    pairs, quarantine = join_pair(sets[0], replace(sets[1], labels=labels, positions=positions), 30*u.arcsec)
    assert list(quarantine["name"]) == [sets[0].names[3], sets[0].names[5]] and len(pairs) == len(sets[0]) - 2
    assert re.fullmatch(r"labelled (FRI|FRII) in FIRST and (FRI|FRII) in VLASS", quarantine["reason"][0])
    assert quarantine["reason"][1] == "60 arcsec from where FIRST has it"
    moved = replace(sets[1], labels=labels, positions=sets[1].positions + [0, 1/60])
    reasons = join_pair(sets[0], moved, 90*u.arcsec)[1]["reason"], join_pair(
        sets[0], replace(moved, positions=np.where(np.arange(len(labels))[:, None] == 3, moved.positions,
                                                   sets[1].positions)), 30*u.arcsec)[1]["reason"]
    assert [len(each) for each in reasons] == [1, 1]
    assert reasons[1][0] == f"{reasons[0][0]}; 60 arcsec from where FIRST has it"


@pytest.mark.parametrize(("change", "message"), [
    (lambda s: replace(s, images=s.images[:, :30, :30]), "images of 32 and 30 px"),
    (lambda s: replace(s, names=np.char.add(s.names, "b")), "no source is in both"),
    (lambda s: replace(s, survey="FIRST"), "both sets are of FIRST"),
    (lambda s: replace(s, simulated=False), "one set is simulated"),
    (lambda s: replace(s, folds=(s.folds + 1) % 3), "prepare both in one run"),
    (lambda s: replace(s, groups=s.groups + 1), "sky group")])
def test_sets_that_do_not_fit_are_refused(sets, change, message):
    with pytest.raises(ValueError, match=message): join_pair(sets[0], change(sets[1]), 30*u.arcsec)


def test_the_branch_of_a_missing_image_is_not_heard(pairs, network):
    weights, images = network.get_weights(), pairs.images[:4]*np.float32([1, 0])
    before = network(images).numpy()
    for variable in network.variables:
        if "survey2" in variable.path: variable.assign(variable + 1)
    np.testing.assert_array_equal(network(images).numpy(), before)
    assert not np.allclose(network(images*0).numpy(), before)
    network.set_weights(weights)


def test_in_training_one_survey_is_taken_away_and_never_both(network):
    layer = network.get_layer("fused")
    features, shown = [np.ones((4000, 1), np.float32)]*2, [np.ones((4000, 2, 2, 1), np.float32)]*2
    kept = np.asarray(layer(features, shown, training=True))
    np.testing.assert_allclose(1 - kept.mean(axis=0), layer.rate, atol=0.03)
    assert (kept.max(axis=1) == 1).all() and (np.asarray(layer(features, shown)) == 1).all()
    lonely = np.asarray(layer(features, [shown[0], 0*shown[1]], training=True))
    np.testing.assert_array_equal(lonely, [[1, 0]]*4000)


def test_classify_says_that_it_asks_one_survey(tmp_path):
    text = SMOKE.read_text()
    (tmp_path/"two.toml").write_text(text[:text.index("[transfer.pairs]")] + """
[tasks.both]
images = "FIRST+VLASS"
classes = { FRI = ["FRI"], FRII = ["FRII"] }
networks = { branches = [0] }
""")
    names = dict.fromkeys(Request.__dataclass_fields__)
    request = Request(**names | dict(toml_path=tmp_path/"two.toml", task="both", run="two"))
    with pytest.raises(ConfigError, match="task 'both' is on two surveys, FIRST\\+VLASS"): _find_task(request)


RECIPE = dict(epochs=2, batch_size=8, schedule="cosine", ema_decay=0.9, augmentation="turns", max_shift=1,
              bn_recalibration_sources=12)


@pytest.mark.full
def test_a_training_is_the_same_again_and_says_what_each_survey_says(pairs, tmp_path, monkeypatch):
    for key, value in ONE_THREAD.items(): monkeypatch.setenv(key, value)
    config = parse_config(set_tasks(training=RECIPE), "pairs.toml")
    write_prepared(pairs, find_images(tmp_path, "FIRST+VLASS")/"prepared.h5")
    cell = ("both", "branches", 0, 1)
    metrics = train_cell(tmp_path, config, "pairs", cell, "this code")
    folder = tmp_path/"training"/find_place(*cell)
    assert metrics["survey"] == "FIRST+VLASS" and metrics["parameters"] <= 1_000_000
    told = json.loads((folder/"provenance.json").read_text())
    assert [Path(place).parent.name for place in told["inputs"]] == ["FIRST+VLASS"]

    valid = read_task(tmp_path, config, "both").validation(0)
    model = build_network("branches", 32, 2, 9)
    load_network_weights(model, folder/"network.weights.h5")
    for survey, alone in show_alone(valid).items():
        table = pd.read_parquet(folder/f"predictions_{survey}.parquet")
        assert set(table["seen"]) == {survey} and list(table["name"]) == list(valid.names)
        pd.testing.assert_frame_equal(table[["p_FRI", "p_FRII"]], predict_sources(model, alone)[["p_FRI", "p_FRII"]])

    start_keras(1)
    again, both = build_network("branches", 32, 2, 1), read_task(tmp_path, config, "both")
    history = fit_network(again, both.training(0), both.validation(0), Training(**RECIPE), 1, tmp_path/"kept",
                          CHECKPOINTS_APART)
    for a, b in zip(again.get_weights(), model.get_weights(), strict=True): np.testing.assert_array_equal(a, b)
    assert len(history) == 2 and find_root() == ROOT
