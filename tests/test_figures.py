"Pieces of report and benchmark on kept results of real runs: what is missing, what is compared with what, verdicts."
from dataclasses import replace
from operator import ge, le

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from radiogal import benchmark, figures
from radiogal.config import read_config
from radiogal.diagnosis import _count_confusion, read_trainings, read_transfers, save_figure
from radiogal.evaluation import score_predictions, summarise_tables

KEPT = ROOT/"docs"/"results"
ROW = ["pair", "method", "sources", "network"]


@pytest.fixture(scope="module")
def story():
    "Settings, trainings, and some transfers, as kept."
    config = read_config(ROOT/"config"/"transfer.toml")
    transfers = {cell: run for cell, run in read_transfers(KEPT/"transfer", config).items() if cell.network == "fields"
                 and cell.pair in ("FIRST-NVSS", "NVSS-FIRST") and cell.method in ("retrain", "scratch")}
    return config, read_trainings(KEPT/"transfer", config), transfers


@pytest.fixture(scope="module")
def table(story):
    config, trainings, transfers = story
    return figures._tabulate_transfers(trainings, transfers, config)


@pytest.fixture(scope="module")
def judged():
    found = benchmark._read_validation(KEPT/"benchmark", read_config(ROOT/"config"/"benchmark.toml"))
    return [j for j in found if j.task == "griese-fr"]


def test_a_figure_is_drawn_once_for_each_format(tmp_path, monkeypatch):
    drawn, draw = [], plt.Axes.draw
    monkeypatch.setattr(plt.Axes, "draw", lambda ax, *given: drawn.append(ax) or draw(ax, *given))
    with plt.style.context("radiogal.radiogal"):
        figure, ax = plt.subplots()
        ax.set_ylabel("Accuracy")
        save_figure(figure, tmp_path, "plot", dict(kind="real"), ("png", "pdf"))
    plt.close(figure)
    assert len(drawn) == 2 and {path.name for path in tmp_path.iterdir()} == {"plot.png", "plot.pdf"}


def test_confusion_of_a_panel_is_the_score_s(judged):
    table = judged[0].predictions
    counts, classes = _count_confusion(table)
    scored = score_predictions(table)
    assert (counts.tolist(), classes) == (scored["confusion"], scored["classes"])


def test_missing_runs_have_a_reason_and_are_gathered(story, tmp_path):
    config, trainings, _ = story
    never = figures._find_missing_runs(tmp_path, config, trainings, {})
    assert set(never["reason"]) == {"not run"} and len(never) == len(config.list_transfers())
    assert figures._gather_missing_runs(never)["runs"].sum() == len(never)
    assert len(figures._gather_missing_runs(never[:0])) == 0
    folder = tmp_path/"transfer"/config.list_transfers()[0].place
    folder.mkdir(parents=True)
    assert "killed, or still running" in figures._tell_reason(folder)
    (folder/"error.txt").write_text("the loss is not a number\n\nTraceback\n")
    assert figures._tell_reason(folder) == "the loss is not a number"


def test_both_accuracies_of_a_row_are_of_the_same_sources(story, table):
    config, trainings, transfers = story
    assert (table["p_holm"].dropna() >= table["p_value"].dropna()).all()
    assert len(figures._tabulate_transfers(trainings, {}, config)) == 0
    fresh = table[table["way"] == figures._FROM_SCRATCH]
    assert len(fresh) and fresh[["gain", "p_holm"]].isna().all(axis=None)
    lacking = {key: trained for key, trained in trainings.items() if key[:2] != ("NVSS", "fields") or key[2] == 0}
    row = figures._tabulate_transfers(lacking, transfers, config).set_index(ROW)
    row = row.loc[("FIRST-NVSS", "retrain", "all", "fields")]
    assert row["runs"] == 1 and row["gain"] == pytest.approx(row["accuracy"] - row["scratch"])


def test_few_sources_are_compared_with_as_few(story, table):
    config, trainings, transfers = story
    few = next(cell for cell in transfers if cell.count and cell.method != "scratch" and "seen" not in cell.pair)
    fresh = [figures._find_control(replace(few, fold=fold), trainings | transfers, config) for fold in config.folds]
    assert all(fresh)
    row = table.set_index(ROW).loc[(few.pair, few.method, str(few.count), few.network)]
    assert row["scratch"] == pytest.approx(summarise_tables([run.predictions for run in fresh])["accuracy"])


@pytest.mark.parametrize("low, high, p, verdict", [
    (.1, .2, .01, "helps"), (-.2, -.1, .01, "hurts"), (-.1, .1, .01, "not shown"), (0, .1, .01, "not shown"),
    (.1, .2, .12, "not shown"), (.1, .2, np.nan, "not shown")])
def test_a_gain_is_shown_by_interval_and_test_together(low, high, p, verdict):
    assert figures._judge_gain(dict(gain_low=low, gain_high=high, p_holm=p)) == verdict


def test_published_claims_are_judged_by_real_honest_rows_alone(table):
    claims, nothing = figures._judge_claims(table), pd.DataFrame()
    assert set(claims["holds"]) <= {"yes", "no", "not shown"} and len(claims)
    assert len(figures._judge_claims(table.assign(sky="simulated"))) == 0
    assert (len(figures._judge_claims(nothing)), len(figures._compare_study(nothing))) == (0, 0)


def test_surveys_of_other_classes_share_no_judgement(story):
    one = story[1]["FIRST", "fields", 0, 1].predictions
    with pytest.raises(ValueError, match="classes differ"):
        figures._match_sources(one, one.rename(columns=dict(p_FRI="p_Bent")))
    disputed = figures._find_disputes(figures._match_sources(one, one.assign(p_FRII=0., p_FRI=1.)))
    assert disputed["apart"].is_monotonic_decreasing and disputed["apart"][0] == one["p_FRII"].max()


def test_what_was_not_seen_is_not_compared_with_what_was(story):
    config, _, transfers = story
    assert len(figures._compare_seen(transfers, config)) == 0


def test_a_network_without_mistakes_has_no_temperature(judged):
    one = [j for j in judged if j.network == "fields"]
    know = lambda t: t.assign(**{f"p_{c}": 1.*(t["label"] == c) for c in ("FRI", "FRII")})
    table = benchmark._tabulate_calibration([replace(j, predictions=know(j.predictions)) for j in one])
    assert "0 mistakes" in table["reason"][0] and np.isnan(table["temperature"][0]) and table["ece_before"][0] == 0
    assert table.columns.to_list() == benchmark._tabulate_calibration(one).columns.to_list()


def test_times_on_a_gpu_do_not_count(judged):
    one = [j for j in judged if j.network == "fields"]
    fast = replace(one[0], timing=one[0].timing | dict(gpus=["gpu:0"], seconds=1))
    assert benchmark._measure_cost([fast, *one[1:]]) == benchmark._measure_cost(one[1:])
    for unknown in ([fast], [replace(j, timing={}) for j in one]):
        cost = benchmark._measure_cost(unknown)
        assert np.isnan(cost["minutes"]) and cost["threads"] == 0


def test_a_network_that_was_never_trained_has_an_empty_row(judged):
    config = read_config(ROOT/"config"/"benchmark.toml")
    some = [j for j in judged if j.network != "fields"]
    table = benchmark._tabulate_comparison(some, benchmark._tabulate_calibration(some),
                                           benchmark._list_missing_runs(config, some)).set_index(["task", "network"])
    row = table.loc[[("griese-fr", "fields")]].iloc[0]
    assert row["runs"] == 0 and np.isnan(row["accuracy"]) and row["missing"].startswith("fold 0 seed 1 not trained; ")


def test_recall_averages_to_balanced_accuracy_and_precision_may_be_undefined(judged):
    one = [j for j in judged if j.network == "fields"]
    recall = benchmark._tabulate_class_scores(one)["recall"].mean()
    assert recall == pytest.approx(np.mean([j.scores["balanced_accuracy"] for j in one]))
    never = replace(one[0], predictions=one[0].predictions.assign(p_FRI=1., p_FRII=0.))
    scores = benchmark._tabulate_class_scores([never, *one[1:]]).set_index("class")
    assert np.isnan(scores.loc["FRII", "precision"])


def test_a_value_on_the_mark_reaches_it_but_not_with_its_interval(judged):
    line = pd.DataFrame([dict(split="validation", accuracy=.9, low=.8, high=.95)])
    goal = lambda wanted, test: benchmark._judge_goal("made", "", wanted, test, line, "accuracy", ("low", "high"))
    found = [goal(*mark) for mark in ((0, ge), (.9, ge), (1.1, ge), (.9, le), (1.1, le))]
    assert [(g["reached"], g["ci_beyond_target"]) for g in found] == [
        ("yes", "yes"), ("yes", "no"), ("no", "no"), ("yes", "no"), ("yes", "yes")]


def test_a_transfer_that_is_trained_for_other_epochs_than_its_control_is_not_judged(story, table):
    config, trainings, transfers = story
    shorter = config.model_copy(update=dict(transfer=config.transfer.model_copy(update=dict(epochs_part=0.5))))
    rows = figures._tabulate_transfers(trainings, transfers, shorter)
    whole = (rows["method"] == "retrain") & (rows["sources"] == "all")
    assert whole.any() and rows.loc[whole, "gain"].notna().all() and rows.loc[whole, "p_holm"].isna().all()
    for row in rows[whole].to_dict("records"):
        assert "not judged" in figures._answer_question(row) and figures._judge_gain(row) == "not shown"
    few = (rows["method"] == "retrain") & (rows["sources"] == "30")
    assert rows.loc[few, "p_value"].to_list() == table.loc[few, "p_value"].to_list()
