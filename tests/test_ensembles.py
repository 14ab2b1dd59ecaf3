"What several networks promise together: one temperature for what is given out, fitted on what no member has seen."
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy import special

from radiogal import benchmark
from radiogal.config import ConfigError, read_config
from radiogal.datasets import sample_set
from radiogal.diagnosis import assign_groups, read_facts
from radiogal.engines import ask_ensemble, describe_columns, open_ensemble, write_untrained
from radiogal.ensembles import average_seeds, bound_ece, calibrate_folds, compare_calibration, find_temperature
from radiogal.evaluation import (
    CalibrationError,
    apply_temperature,
    average_predictions,
    check_predictions,
    pool_tables,
    score_ece,
)
from radiogal.pretrained import load_model

CLASSES, NOISE, SHARED = ("FRI", "FRII", "Bent"), 0.8, 0.6
measure_ece = lambda table: score_ece(*check_predictions(table))


def draw_members(fold, n_members=5, n=240, confidence=1.):
    "Networks that know how much noise is in their evidence, times a factor; much of it is their own."
    rng = np.random.default_rng(fold)
    y = rng.integers(len(CLASSES), size=n)
    common = np.eye(len(CLASSES))[y] + SHARED*rng.normal(size=(n, len(CLASSES)))
    table = pd.DataFrame(dict(name=[f"{fold}-{i}" for i in range(n)], label=np.array(CLASSES)[y],
                              sky_group=n*fold + np.arange(n)))
    for seed in range(1, n_members + 1):
        evidence = common + NOISE*rng.normal(size=common.shape)
        p = special.softmax(confidence*evidence/(SHARED**2 + NOISE**2), axis=1)
        yield table.assign(fold=fold, seed=seed, **{f"p_{c}": p[:, k] for k, c in enumerate(CLASSES)})


@pytest.fixture(scope="module")
def folds(): return [list(draw_members(fold)) for fold in range(5)]


@pytest.fixture(scope="module")
def averages(folds): return [average_predictions(members) for members in folds]


def test_a_mean_of_calibrated_networks_is_calibrated_by_a_temperature_of_its_own(folds, averages):
    single, whole = pool_tables([members[0] for members in folds]), pool_tables(averages)
    assert bound_ece(single).low < 0.02 and bound_ece(whole).low > 0.1  # each is calibrated, and the mean is not
    temperature, scaled = calibrate_folds(averages)
    ideal = (SHARED**2 + NOISE**2/5)/(SHARED**2 + NOISE**2)  # of the mean evidence, which the mean of answers is near
    assert temperature < 1 and temperature == pytest.approx(ideal, rel=0.25)
    assert measure_ece(scaled) < 0.03 < bound_ece(whole).low
    assert list(scaled["name"]) == list(whole["name"])
    assert (check_predictions(scaled)[1].argmax(axis=1) == check_predictions(whole)[1].argmax(axis=1)).all()


def test_each_fold_is_scaled_by_what_the_others_say(averages):
    before = calibrate_folds(averages)[1].set_index("name")
    lied = averages[0].assign(label=list(np.roll(averages[0]["label"], 1)))
    after = calibrate_folds([lied, *averages[1:]])[1].set_index("name")
    of_first = list(lied["name"])
    columns = [f"p_{c}" for c in CLASSES]
    np.testing.assert_array_equal(before.loc[of_first, columns], after.loc[of_first, columns])
    assert (before.drop(of_first)[columns] != after.drop(of_first)[columns]).any(axis=None)


def test_one_fold_is_not_judged_by_itself(averages):
    with pytest.raises(CalibrationError, match="not measured: averages of 1 fold"): calibrate_folds(averages[:1])
    with pytest.raises(CalibrationError, match="not measured"): calibrate_folds([])


def test_a_temperature_serves_means_of_as_many_networks_or_of_fewer_that_are_three_or_more(folds):
    tables = [table for members in folds for table in members]
    of = {n: average_seeds(tables, n) for n in (1, 2, 3, 5)}
    for n, averages in of.items(): assert {average["members"].iloc[0] for average in averages} == {n}
    assert find_temperature(5, of[5]) < find_temperature(5, of[3]) == find_temperature(3, of[3])
    for n, fewer in ((2, 1), (3, 1), (3, 2), (5, 2), (2, 3)):
        with pytest.raises(CalibrationError, match=f"not measured: a mean of {n} networks.*means of {fewer}"):
            find_temperature(n, of[fewer])
    assert [len(average) for average in average_seeds(tables, 6)] == [len(average) for average in of[5]]
    with pytest.raises(CalibrationError, match="there are none"): find_temperature(6, [])


def test_folds_with_fewer_seeds_do_not_hide_the_others(folds):
    averages = average_seeds([*folds[0], *folds[1], folds[2][0]], 5)
    assert [average["fold"].iloc[0] for average in averages] == [0, 1]
    assert {average["members"].iloc[0] for average in averages} == {5}


def test_without_a_temperature_there_is_a_reason_and_no_number(averages):
    whole = pool_tables(averages)
    there = compare_calibration(whole, lambda: calibrate_folds(averages))
    none = compare_calibration(whole, lambda: calibrate_folds(averages[:1]))
    assert there.keys() == none.keys() and there["reason"] == ""
    assert there["ece_low"] <= there["ece"] <= there["ece_high"]
    assert there["nll_after"] < there["nll"] and there["brier_after"] < there["brier"]
    assert none["reason"].startswith("not measured")
    assert all(np.isnan(none[key]) for key in none if key.endswith("_after") or key == "temperature")


def test_the_interval_of_an_error_holds_the_truth_of_made_networks():
    truth = measure_ece(pool_tables([next(draw_members(99, 1, 100_000, 0.6))]))
    held = [low <= truth <= high for low, high in
            (bound_ece(next(draw_members(seed, 1, 800, 0.6))) for seed in range(20))]
    assert sum(held) >= 16


KEPT = ROOT/"docs"/"results"/"benchmark"


@pytest.fixture(scope="module")
def judged():
    "The kept networks of ours, on validation and on held-out sources."
    config = read_config(ROOT/"config"/"benchmark.toml")
    griese = config.tasks["griese"].model_copy(update=dict(networks=dict(fields=(0, 1, 2, 3, 4), twin=(0, 1, 2))))
    config = config.model_copy(update=dict(tasks=dict(griese=griese), seeds=(1,), handcrafted=()))
    found = benchmark._read_validation(KEPT, config)
    heldout = [benchmark._judge_heldout(j, (KEPT,), config) for j in found]
    return found + [h for h in heldout if h]


def test_the_kept_mean_of_two_kinds_is_less_wrong_after_scaling(judged):
    table = benchmark._tabulate_ensembles(judged).set_index(["split", "ensemble"])
    row = table.loc["validation", "fields + twin"]
    assert row["reason"] == "" and row["temperature"] < 1
    assert row["ece_after"] < row["ece_low"] and row["ece_high_after"] < row["ece"]
    assert row["brier_after"] < row["brier"] and row["nll_after"] < row["nll"]


def test_the_kept_mean_of_five_folds_is_less_wrong_after_scaling_by_means_of_three_seeds(judged):
    row = benchmark._tabulate_ensembles(judged).set_index(["split", "ensemble"]).loc["held-out", "fields"]
    assert row["members"] == 5 and row["ece"] == pytest.approx(0.082, abs=5e-4) and row["ece_after"] < 0.04
    assert row["reason"] == ""


def test_the_error_of_the_packages_mean_in_nested_folds_is_the_kept_one_and_small():
    rows = pd.read_csv(KEPT/"benchmark"/"ensembles_real.csv").set_index(["task", "split", "ensemble"])
    kept, facts = rows.loc["griese", "validation", "fields"], read_facts(KEPT/"preparation"/"griese")
    tables = [assign_groups(pd.read_parquet(path), facts)
              for path in sorted((KEPT/"training"/"griese"/"fields").glob("fold*/seed*/predictions.parquet"))]
    means = average_seeds(tables, 5)
    temperature, scaled = calibrate_folds(means)
    assert [mean["members"].iloc[0] for mean in means] == [kept["members"]]*5 and len(scaled) == kept["n"] == 1758
    assert measure_ece(scaled) == pytest.approx(kept["ece_after"], abs=1e-6) and measure_ece(scaled) <= 0.03
    assert measure_ece(pool_tables(means)) == pytest.approx(kept["ece"], abs=1e-6)
    assert temperature == pytest.approx(load_model("first-4class").ensemble.temperature, rel=1e-6)


def write_seeds(folders, n_seeds):
    "More seeds of each network: the same weights, which have said other things of their validation sources."
    for folder in folders:
        for seed in range(1, n_seeds + 1):
            other = folder.with_name(f"seed{seed}")
            if seed > 1: shutil.copytree(folder, other)
            metrics = json.loads((other/"metrics.json").read_text())
            (other/"metrics.json").write_text(json.dumps(metrics | dict(seed=seed)))
            said = pd.read_parquet(other/"predictions.parquet")
            p = np.random.default_rng([seed, metrics["fold"]]).dirichlet(np.ones(2), len(said))
            p = 0.9*p + 0.1*(said["label"].to_numpy()[:, None] == np.array(["FRI", "FRII"]))
            said.assign(seed=seed, p_FRI=p[:, 0], p_FRII=p[:, 1]).to_parquet(other/"predictions.parquet")
    return sorted(path.parent for path in folders[0].parents[1].glob("fold*/seed*/metrics.json"))


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    "Two folds of three networks that are alike, and their sources."
    folder, config = tmp_path_factory.mktemp("ensembles"), read_config(ROOT/"config"/"smoke.toml")
    sources = sample_set(config, "FIRST")
    folders = write_untrained(folder/"training"/"FIRST"/"mcrgnet", sources, "FIRST", "mcrgnet")
    return folder/"engines", sources, write_seeds(folders, 3)


def open_some(seeds, chosen): return open_ensemble("smoke", chosen, seeds[1], seeds[0], "keras")


@pytest.mark.parametrize("places, n", [
    (["fold0/seed1"], 1), (["fold1/seed2"], 1), (["fold0/seed1", "fold0/seed2", "fold0/seed3"], 3),
    (["fold0/seed1", "fold1/seed1"], 2)])
def test_what_is_given_out_has_the_temperature_of_means_of_as_many(seeds, places, n):
    folders = [folder for folder in seeds[2] if "/".join(folder.parts[-2:]) in places]
    ensemble, tables = open_some(seeds, folders), [pd.read_parquet(each/"predictions.parquet") for each in seeds[2]]
    assert ensemble.calibrated and ensemble.temperature == find_temperature(n, average_seeds(tables, n))
    plain = special.softmax(ensemble.members[0].ask(seeds[1].images[:4])[1].astype(float), axis=1)  # all are alike
    given = ask_ensemble(ensemble, seeds[1].images[:4]).probabilities
    scaled = special.softmax(np.log(plain)/ensemble.temperature, axis=1)
    if len({place.split("/")[0] for place in places}) == 1: np.testing.assert_allclose(given, scaled, atol=1e-6)
    assert "not" not in describe_columns(ensemble.classes, ensemble.calibrated)["p_FRI"].description


def test_networks_of_folds_with_two_seeds_are_not_calibrated_and_say_so(seeds, tmp_path):
    network = shutil.copytree(seeds[2][0].parents[1], tmp_path/"FIRST"/"mcrgnet")
    for path in network.glob("fold*/seed3"): shutil.rmtree(path)
    chosen = sorted(network.glob("fold*/seed*"))
    whole, two = open_some(seeds, chosen), open_some(seeds, chosen[:2])
    assert len(whole.members) == 4 and not whole.calibrated and whole.temperature is None
    assert "not calibrated" in describe_columns(whole.classes, whole.calibrated)["p_FRI"].description
    answers = ask_ensemble(whole, seeds[1].images[:4]).probabilities
    each = [special.softmax(m.ask(seeds[1].images[:4])[1].astype(float)/(m.temperature or 1), axis=1)
            for m in whole.members]
    np.testing.assert_allclose(answers, np.mean(each, axis=0), atol=1e-6)
    assert whole.identity != two.identity


def test_networks_of_folds_with_three_seeds_have_the_temperature_of_their_means(seeds):
    whole, three = open_some(seeds, seeds[2]), open_some(seeds, seeds[2][:3])
    assert len(whole.members) == 6 and whole.temperature == three.temperature


def test_another_temperature_is_another_ensemble(seeds, tmp_path):
    network = shutil.copytree(seeds[2][0].parents[1], tmp_path/"FIRST"/"mcrgnet")
    same = [network/"fold0"/"seed1"]
    before = open_some(seeds, same)
    path = network/"fold1"/"seed1"/"predictions.parquet"
    apply_temperature(pd.read_parquet(path), 2.).to_parquet(path)
    after = open_some(seeds, same)
    assert before.temperature != after.temperature and before.identity != after.identity


def test_seeds_of_other_sources_are_named(seeds, tmp_path):
    network = shutil.copytree(seeds[2][0].parents[1], tmp_path/"FIRST"/"mcrgnet")
    path = network/"fold0"/"seed2"/"predictions.parquet"
    said = pd.read_parquet(path)
    said.assign(name=["other", *said["name"][1:]]).to_parquet(path)
    chosen = sorted((network/"fold0").glob("seed*"))
    with pytest.raises(ConfigError, match="do not belong together: .*not in every table"): open_some(seeds, chosen)
