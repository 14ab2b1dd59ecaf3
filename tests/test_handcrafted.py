"Handcrafted features: of each image alone, the same for one that is turned; what the classifier learns from."
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from radiogal import handcrafted
from radiogal.config import HANDCRAFTED, ConfigError, list_asked, parse_config, read_config
from radiogal.datasets import sample_set, write_prepared
from radiogal.handcrafted import fit_handcrafted, measure_features

KEPT = ROOT/"docs"/"results"/"benchmark"


@pytest.fixture(scope="module")
def sample():
    "Simulated sources, sorted by class, as real sets are."
    made = sample_set(read_config(ROOT/"config"/"smoke.toml"), "FIRST")
    return made.select(np.argsort(made.labels, kind="stable"))


@pytest.fixture(scope="module")
def features(sample): return measure_features(sample.images, sample.pixel_arcsec)


def test_features_of_an_image_do_not_depend_on_its_neighbours_in_the_stack(sample, features):
    "A filter over a stack that is sorted by class would smooth across it, and tell the labels."
    others = np.random.default_rng(1).permutation(len(sample))
    assert np.array_equal(measure_features(sample.images[others], sample.pixel_arcsec), features[others])
    for i in (0, len(sample)//2, len(sample) - 1):
        alone = measure_features(sample.images[i:i + 1], sample.pixel_arcsec)
        among = np.zeros((5, *sample.images.shape[1:]), np.float32)
        among[[1, 3]], among[2] = 1, sample.images[i]
        assert np.array_equal(alone[0], features[i])
        assert np.array_equal(measure_features(among, sample.pixel_arcsec)[2], features[i])


TURNS = {"90°": lambda x: np.rot90(x, 1, (1, 2)), "180°": lambda x: np.rot90(x, 2, (1, 2)),
         "mirrored": lambda x: x[:, ::-1], "transposed": lambda x: np.swapaxes(x, 1, 2)}


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_a_turned_or_mirrored_image_has_the_same_features(sample, features, turn):
    turned = measure_features(np.ascontiguousarray(turn(sample.images)), sample.pixel_arcsec)
    assert np.abs(turned - features).max() < 1e-9


@pytest.mark.parametrize("side", [32, 83, 150, 300])
def test_images_without_a_source_or_of_a_single_pixel_have_features(side):
    images = np.zeros((3, side, side, 1), np.float32)
    images[1, side//2, side//2], images[2] = 1, 1
    found = measure_features(images, 1.8)
    assert np.isfinite(found).all()


def test_a_neighbour_far_from_the_middle_changes_nothing():
    image = np.zeros((1, 150, 150, 1), np.float32)
    image[0, 70:80, 60:90] = 1
    with_neighbour = image.copy()
    with_neighbour[0, 10:14, 10:14] = 0.8
    assert np.array_equal(measure_features(image, 1.8), measure_features(with_neighbour, 1.8))


def fit(sample, folder, monkeypatch, task="FIRST", fold=0):
    "A cell of the smoke run, on these sources."
    config = read_config(ROOT/"config"/"smoke.toml")
    write_prepared(sample, folder/"preparation"/"FIRST"/"prepared.h5")
    monkeypatch.setattr(handcrafted, "find_root", lambda: folder)
    monkeypatch.setattr(handcrafted, "write_provenance", lambda *_: None)
    metrics = fit_handcrafted(folder, config, "smoke", (task, HANDCRAFTED, fold, 1), "this code")
    return metrics, pd.read_parquet(folder/"training"/task/HANDCRAFTED/f"fold{fold}"/"seed1"/"predictions.parquet")


def test_labels_of_validation_sources_change_no_answer(sample, tmp_path, monkeypatch):
    _, before = fit(sample, tmp_path/"a", monkeypatch)
    held = sample.folds == 0
    other = replace(sample, labels=np.where(held, 1 - sample.labels, sample.labels))
    metrics, after = fit(other, tmp_path/"b", monkeypatch)
    assert set(before["label"]) == set(sample.classes) and (before["label"] != after["label"]).all()
    pd.testing.assert_frame_equal(before.drop(columns="label"), after.drop(columns="label"))
    assert metrics["n_validation"] == held.sum() and metrics["epochs"] == 1


def test_a_class_without_sources_is_named_before_anything_is_fitted(sample, tmp_path, monkeypatch):
    lone = sample.select((sample.labels == 0) | (sample.folds == 0))
    with pytest.raises(ValueError, match="no training source of class FRII"): fit(lone, tmp_path, monkeypatch)


def test_settings_ask_for_it_in_the_folds_of_the_networks_and_name_a_task_that_is_none():
    settings = read_config(ROOT/"config"/"benchmark.toml").model_dump()
    asked = [key for key in list_asked(parse_config(settings, "b")) if key[1] == HANDCRAFTED]
    assert asked == [(task, HANDCRAFTED, fold, 1) for task in settings["handcrafted"]
                     for fold in ((1, 2, 3) if task == "catalogues-fr" else range(5))]
    for odd in ("griese-xx", "frdeep-both"):
        with pytest.raises(ConfigError, match=f"handcrafted: .*{odd}.*allowed are the tasks on one survey"):
            parse_config(settings | dict(handcrafted=(odd,)), "b")


def test_kept_answers_are_of_the_sources_that_the_networks_were_asked_about():
    for task, network, fold, seed in list_asked(read_config(ROOT/"config"/"benchmark.toml")):
        if network != HANDCRAFTED: continue
        places = [KEPT/"training"/task/name/f"fold{fold}"/f"seed{seed}" for name in (HANDCRAFTED, "fields")]
        ours, theirs = (pd.read_parquet(place/"predictions.parquet") for place in places)
        assert ours["name"].to_list() == theirs["name"].to_list() and (ours["label"] == theirs["label"]).all()
        assert json.loads((places[0]/"provenance.json").read_text())["notebook"] == "39a_handcrafted"
