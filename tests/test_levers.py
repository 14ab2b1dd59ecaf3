"Tries: a stopped run goes on, one that fails takes no other along, and the page says what was measured."
import sys
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from conftest import ROOT
from sklearn.metrics import roc_auc_score


@pytest.fixture
def levers(monkeypatch, tmp_path):
    "The harness with a folder of its own."
    monkeypatch.syspath_prepend(ROOT/"bench")
    import try_levers
    monkeypatch.setattr(try_levers, "FOLDER", tmp_path)
    yield try_levers
    for name in ("try_levers", "feature_tries", "measure_catalogues", "measure_flags"): sys.modules.pop(name, None)


@dataclass
class Side:
    "All that a change of images needs of a set."
    images: np.ndarray


def declare(name, way="keep"):
    return dict(name=name, why="Because.", way=way, settings={},
                tasks={"catalogues-fr": dict(folds=[1, 2], seeds=[2])})


def answer(right):
    "A table of 20 sources of which so many are right."
    p = np.where(np.arange(20) < right, 0.9, 0.4)
    label = np.array(["FRI", "FRII"])[np.arange(20) % 2]
    return pd.DataFrame(dict(name=[f"s{k}" for k in range(20)], label=label, sky_group=np.arange(20),
                             p_FRI=np.where(label == "FRI", p, 1 - p), p_FRII=np.where(label == "FRII", p, 1 - p)))


def test_what_is_there_is_left_alone_and_a_failure_takes_no_other_along(levers, monkeypatch):
    tries, asked = [declare("bad"), declare("good")], []

    def start(command, **_):
        cell = command[3], command[4], int(command[5]), int(command[6])
        asked.append(cell)
        if cell[0] == "bad": return levers.subprocess.CompletedProcess(command, 1, "", "no memory")
        levers.keep_answers(cell, answer(15), "sha")
        return levers.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(levers.subprocess, "run", start)
    there = levers.list_cells(tries[1])[0]
    levers.keep_answers(there, answer(20), "sha")
    before = levers.find_file(there).read_bytes()
    failed = levers.run_all(tries, 1)
    assert set(failed) == set(levers.list_cells(tries[0])) and "no memory" in failed["bad", "catalogues-fr", 1, 2]
    assert there not in asked and levers.find_file(there).read_bytes() == before
    assert levers.find_file(levers.list_cells(tries[1])[1]).is_file()


def test_nothing_starts_when_the_time_is_over(levers):
    cell = levers.list_cells(declare("good"))[0]
    assert levers.run_cell(cell, time.monotonic() - 1) == "" and not levers.find_file(cell).is_file()


def test_the_page_says_what_was_measured(levers):
    tries = [declare("baseline"), declare("better")]
    assert levers.NOT_YET.format("try_levers") in levers.write_page(tries)
    for fold in (1, 2):
        shown = lambda table, fold=fold: table.assign(name=[f"{fold} {name}" for name in table["name"]],
                                                      sky_group=table["sky_group"] + 20*fold)
        levers.keep_answers(("baseline", "catalogues-fr", fold, 2), shown(answer(12)), "sha")
        levers.keep_answers(("better", "catalogues-fr", fold, 2), shown(answer(18)), "sha")
    page = levers.write_page(tries)
    line = next(line for line in page.splitlines() if line.startswith("| `better` | `catalogues-fr`"))
    assert "0.900 ± 0.000" in line and "+0.300 [" in line and levers.NOT_YET.format("try_levers") not in page


def test_the_page_shows_what_other_scripts_measured(levers):
    known, few = dict(n=4, low=1.234, median=2., high=3.), dict(n=1)
    row = dict(label="FRI", catalogue="Gendre", n=4) | dict.fromkeys(levers.MEASURED, known) | dict(
        peak=dict(known, n=3), redshift=few)
    told = dict(label="FRI", n=4, catalogues=2, commonest=0.5, accuracy=0.75, low=0.6, high=0.9)
    levers.write_result(dict(rows=[row], told=[told]), levers.FOLDER/"catalogues.json")
    flags = [dict(task=task, flag=flag, n=9, wrong=2, area=0.7, low=0.6, high=0.8)
             for task, flag in (("a", "entropy"), ("a", "`ood_score`"), ("b", "entropy"))]
    levers.write_result(dict(rows=flags), levers.FOLDER/"flags.json")
    page = levers.write_page([declare("baseline")])
    assert "| FRI | Gendre | 4 | 2 [1.23, 3] |" in page and "2 [1.23, 3] of 3 |" in page and "| – |" in page
    assert "| FRI | 4 | 2 | 0.500 | 0.750 [0.600, 0.900] |" in page
    assert "| flag | `a`, 2 of 9 wrong | `b`, 2 of 9 wrong |" in page
    assert "| `ood_score` | 0.70 [0.60, 0.80] | – |" in page and "{" not in page.split("## Over folds")[1]


def test_a_temperature_knows_nothing_of_the_fold_that_it_scales(levers):
    other = dict(FRI="FRII", FRII="FRI")
    sure = answer(20)  # of which six are wrong now
    sure["label"] = sure["label"].where(sure.index >= 6, sure["label"].map(other))
    tables = [sure.assign(fold=fold, seed=1, name=[f"{fold} s{k}" for k in range(20)],
                          sky_group=np.arange(20) + 20*fold) for fold in (1, 2, 3)]
    scaled = levers.scale_by_others(tables)
    assert [table["fold"].iloc[0] for table in scaled] == [1, 2, 3]
    assert all(table["p_FRI"].max() < 0.8 for table in scaled)
    swapped = tables[0].assign(label=tables[0]["label"].where(sure.index >= 3, tables[0]["label"].map(other)))
    np.testing.assert_array_equal(levers.scale_by_others([swapped, *tables[1:]])[0]["p_FRI"], scaled[0]["p_FRI"])


@pytest.fixture
def two_catalogues(levers):
    "Sources of which the first feature tells the class faintly, and the second the catalogue, and so mostly the class."
    from feature_tries import Known
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 0, 1], [150, 15, 15, 150])
    catalogues = np.repeat(["a", "b"], 165)
    features = np.transpose([labels + rng.normal(0, 0.8, 330), (catalogues == "b") + rng.normal(0, 0.2, 330)])
    return Known(features, labels, catalogues, np.arange(330))


def score_rare(way, known):
    "Accuracy on the classes that are rare in their catalogue."
    rare = (known.catalogues == "b") == (known.labels == 0)
    return (way(known, known.features[rare]).argmax(axis=1) == known.labels[rare]).mean()


def test_a_narrower_image_is_the_middle_of_the_wide_one(levers):
    whole = Side(np.random.default_rng(0).random((2, 300, 300, 1), np.float32))
    for way, edge in ((levers.take_half, 75), (levers.take_third, 100)):
        for side in way(whole, whole, None, 0):
            np.testing.assert_array_equal(side.images, whole.images[:, edge:-edge, edge:-edge])


def test_a_mean_of_a_try_and_a_kept_classifier_costs_nothing_more(levers):
    kept = levers.read_kept("catalogues-fr", "handcrafted", 1, 1)
    levers.keep_answers(("half-field", "catalogues-fr", 1, 1), kept.iloc[::-1].reset_index(drop=True), "sha")
    told, _, seconds = levers.find_pairs(declare("both", "fuse_half_field") | dict(
        tasks={"catalogues-fr": dict(folds=[1], seeds=[1])}), "catalogues-fr")
    assert seconds == 0 and told[0].set_index("name").loc[kept["name"], "p_FRI"].to_list() == pytest.approx(
        kept["p_FRI"].to_list(), abs=1e-4)


@pytest.mark.full
def test_the_page_is_what_the_kept_answers_say(levers, monkeypatch):
    monkeypatch.setattr(levers, "FOLDER", ROOT/"docs"/"levers")
    page = levers.write_page(levers.read_tries())
    assert page == levers.PAGE.read_text() and "{" not in page


def test_who_always_names_the_commonest_class_of_a_catalogue_is_seen_to_know_nothing(levers):
    always = answer(20).assign(p_FRI=0.1, p_FRII=0.9)
    levers.keep_answers(("lazy", "catalogues-fr", 2, 2), always, "sha")
    ((_, first, second, third),) = levers.judge_left_out(declare("lazy"))
    assert (first, third) == ("–", "–") and second.startswith("0.500 [") and "], 0.500, " in second
    rare = always.assign(label=["FRI"] + ["FRII"]*19)
    levers.keep_answers(("lazier", "catalogues-fr", 2, 2), rare, "sha")
    assert "], 0.500, " in levers.judge_left_out(declare("lazier"))[0][2]
    assert levers.judge_left_out(declare("lazier"))[0][2].startswith("0.950 [")
    assert levers.name_left_out()[1] == "CoNFIG, 0.915 FRII"


def test_weights_of_catalogues_keep_a_classifier_from_reading_the_catalogue(two_catalogues):
    import feature_tries as ways
    plain = score_rare(lambda known, asked: ways.fit(known, np.ones(len(known.labels)), ways.draw_inner(known))
                       .predict_proba(asked), two_catalogues)
    assert plain < 0.4
    assert score_rare(ways.balance_pairs, two_catalogues) > plain + 0.2
    assert score_rare(ways.optimise_worst, two_catalogues) > plain + 0.2


def test_catalogues_are_brought_to_the_same_scale_and_covariance(two_catalogues):
    import feature_tries as ways
    scaled = ways.scale_each(two_catalogues)
    for name in "ab":
        inside = scaled[two_catalogues.catalogues == name]
        np.testing.assert_allclose([inside.mean(axis=0), inside.std(axis=0)], [[0, 0], [1, 1]], atol=1e-12)
    square = np.cov(two_catalogues.features.T)
    np.testing.assert_allclose(ways.raise_matrix(square, 0.5) @ ways.raise_matrix(square, -0.5), np.eye(2), atol=1e-9)
    p = ways.align_correlations(two_catalogues, two_catalogues.features[:50])
    assert p.shape == (50, 2) and np.allclose(p.sum(axis=1), 1)


def test_a_shape_is_that_of_the_source_in_the_middle(levers):
    from measure_catalogues import describe, match, measure_shape
    image = np.zeros((144, 144))
    image[70:74, 60:64] = image[70:74, 80:84] = 1
    image[5:9, 5:9] = 1  # A neighbour
    shape = measure_shape(image, 1.8, 10.)
    assert shape["islands"] == 2 and shape["total"] == pytest.approx(3.2)
    assert shape["size"] == pytest.approx(1.8*np.hypot(23, 3), rel=0.01)
    places = SkyCoord([10., 20.], [0., 0.], unit="deg")
    near = match(places, SkyCoord([10.001, 20.1], [0., 0.], unit="deg"), [5., 6.])
    assert near[0] == 5 and np.isnan(near[1])
    assert describe(pd.Series([1., np.nan, 2.])) == dict(n=2)
    assert describe(pd.Series([1., 2., 3.]))["median"] == 2


def test_a_flag_is_scored_by_the_area_under_its_curve(levers):
    from measure_flags import score_flag
    rng = np.random.default_rng(1)
    wrong = rng.random(300) < 0.3
    flag = np.round(wrong + rng.normal(0, 1, 300), 1)  # With ties
    area, ends = score_flag(wrong, flag, np.arange(300)//2)
    assert area == pytest.approx(roc_auc_score(wrong, flag)) and ends.low < area < ends.high


def test_tries_are_declared_once_and_can_be_made(levers):
    tries, tasks = levers.read_tries(), levers.read_settings().list_tasks()
    assert len({t["name"] for t in tries}) == len(tries) >= 14
    from feature_tries import FITS
    assert {t["way"] for t in tries} - levers.MADE == {*levers.MEANS, *FITS}
    assert {k for t in tries for k in t["tasks"]} <= {*tasks}
