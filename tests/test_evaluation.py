"Scores, calibration and comparisons at their edges: broken tables, classes without sources, flawless networks."
import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import special

from radiogal.evaluation import (
    CalibrationError,
    _find_spread,
    _measure_macro_f1,
    _scale_probabilities,
    _score_classes,
    align_predictions,
    apply_temperature,
    average_predictions,
    bin_confidence,
    calibrate_across,
    check_predictions,
    compare_kinds,
    fit_temperature,
    match_tables,
    pool_tables,
    score_ece,
    score_gain,
    score_pooled,
    score_predictions,
    summarise_classes,
    summarise_runs,
    summarise_tables,
    wilson_interval,
)


def imagine_predictions(counts, classes=("FRI", "FRII")):
    "One row per count: rows of `counts` are true classes, columns predicted ones, each with a probability of 0.8."
    pairs = [(t, q) for t, row in enumerate(counts) for q, number in enumerate(row) for _ in range(number)]
    p = np.full((len(pairs), len(classes)), 0.2/(len(classes) - 1))
    p[np.arange(len(pairs)), [q for _, q in pairs]] = 0.8
    table = pd.DataFrame(dict(name=[f"S{i:03d}" for i in range(len(pairs))], label=[classes[t] for t, _ in pairs],
                              sky_group=range(len(pairs))))
    return table.assign(**{f"p_{c}": p[:, k] for k, c in enumerate(classes)})


def imagine_run(seed, n=240, skill=1.6, classes=("FRI", "FRII", "Bent")):
    "The same sources whatever the seed, which draws the noise of the evidence."
    y = np.random.default_rng(0).integers(len(classes), size=n)
    evidence = skill*np.eye(len(classes))[y] + np.random.default_rng([seed, 1]).normal(size=(n, len(classes)))
    p = special.softmax(3*evidence, axis=1)
    table = pd.DataFrame(dict(name=[f"S{i:03d}" for i in range(n)], label=np.array(classes)[y],
                              sky_group=np.arange(n)//2))
    return table.assign(seed=seed, fold=0, **{f"p_{c}": p[:, k] for k, c in enumerate(classes)})


def in_folds(table, seed):
    "Two folds of a table, by sky group."
    return [table[table["sky_group"] % 2 == k].assign(fold=k, seed=seed) for k in (0, 1)]


SIMPLE, RUN = imagine_predictions([[6, 4], [1, 4]]), imagine_run(1)
POOR = imagine_predictions([[8, 6], [0, 0]])
BETTER = POOR.assign(p_FRI=0.8, p_FRII=0.2)


@pytest.mark.parametrize(("table", "told"), [
    (SIMPLE.assign(label=["FRI", "Bent", *SIMPLE["label"][2:]]), r"labels outside \['FRI', 'FRII'\]: S001$"),
    (SIMPLE.assign(p_FRI=np.nan), "NaN: S000, S001"),
    (SIMPLE.assign(p_FRI=1.2, p_FRII=-0.2), "outside 0 to 1 .*: S000"),
    (SIMPLE.assign(sky_group=np.nan), "no sky group: S000"),
    (SIMPLE.drop(columns="sky_group"), r"lack the columns \['sky_group'\]"),
    (SIMPLE.drop(columns="p_FRII"), r"two classes or more, not \['FRI'\]"),
    (SIMPLE[:0], "no rows")])
def test_broken_tables_are_refused(table, told):
    for judge in (check_predictions, score_predictions):
        with pytest.raises(ValueError, match=told): judge(table)


def test_rounding_is_taken_off_the_sum():
    rounded = check_predictions(SIMPLE.assign(p_FRI=SIMPLE["p_FRI"] + 1e-6))[1]
    np.testing.assert_allclose(rounded.sum(axis=1), 1, atol=1e-15)


def test_bins_that_err_in_opposite_directions_do_not_cancel():
    two_bins = np.array([[0.9, 0.1]]*2 + [[0.6, 0.4]]*2)
    assert score_ece(np.array([0, 1, 0, 0]), two_bins) == pytest.approx((abs(0.5 - 0.9) + abs(1 - 0.6))/2)
    assert bin_confidence(np.array([0]), np.array([[0.6, 0.4]])).index[0] == 8  # (8/15, 9/15]


def test_undefined_precision_is_nan():
    never = _score_classes(np.array([0, 1]), np.array([[0.9, 0.1]]*2), ["FRI", "FRII"])
    assert math.isnan(never["FRII"]["precision"]) and never["FRII"]["recall"] == never["FRII"]["f1"] == 0


def test_wilson_at_its_ends():
    assert wilson_interval(0, 5).low == pytest.approx(0, abs=1e-12)
    for k, n in [(6, 5), (0, 0)]:
        with pytest.raises(ValueError, match=f"{k} of {n}"): wilson_interval(k, n)


def test_scores_keep_what_their_rows_have_in_common_and_become_json():
    scores = score_predictions(SIMPLE.assign(survey="FIRST", fold=0, seed=[1, 2]*7 + [1]))
    assert (scores["survey"], scores["fold"], "seed" in scores) == ("FIRST", 0, False)
    assert scores["accuracy_interval"].low < scores["accuracy"] < scores["accuracy_interval"].high
    assert json.loads(json.dumps(scores))["n"] == 15


@pytest.mark.parametrize("temperature", [0, -1, np.nan, np.inf])
def test_wrong_temperature(temperature):
    with pytest.raises(ValueError, match="not a positive number"): apply_temperature(SIMPLE, temperature)


def test_temperature_of_one_changes_nothing_and_certainty_stays():
    _, p = check_predictions(SIMPLE)
    np.testing.assert_allclose(_scale_probabilities(p, 1), p, atol=1e-12)
    np.testing.assert_allclose(_scale_probabilities(np.array([[1., 0.]]), 5), [[1, 0]], atol=1e-6)


def test_temperature_is_found():
    for skill in (1.6, 4.):
        assert fit_temperature(imagine_run(1, n=20_000, skill=skill)) == pytest.approx(3/skill, abs=0.07)
    many = imagine_run(1, n=2000)
    assert fit_temperature(apply_temperature(many, fit_temperature(many))) == pytest.approx(1, abs=1e-4)


def test_network_that_knows_everything_or_nothing_has_no_temperature():
    perfect, ignorant = (imagine_predictions(counts) for counts in ([[2, 0], [0, 2]], [[1, 1], [1, 1]]))
    certain = perfect.assign(p_FRI=[1., 1, 0, 0], p_FRII=[0., 0, 1, 1])
    for table, wrong in [(perfect, 0), (certain, 0), (ignorant, 2)]:
        with pytest.raises(CalibrationError, match=f"{wrong} mistakes in 4 sources"): fit_temperature(table)


def test_calibration_across_groups_keeps_all_but_the_probabilities():
    given = [c for c in RUN if not c.startswith("p_")]
    pd.testing.assert_frame_equal(calibrate_across(RUN)[given], RUN[given])
    with pytest.raises(ValueError, match="sky groups are too few for 30 folds"):
        calibrate_across(imagine_run(1, n=60), n_parts=30)


@pytest.mark.parametrize(("other", "told"), [
    (SIMPLE.assign(label="FRII"), "label differs between the tables: S000"),
    (SIMPLE.assign(sky_group=7), "sky group differs between the tables: S000"),
    (SIMPLE[["name", "label", "sky_group", "p_FRII", "p_FRI"]], r"classes \['FRII', 'FRI'\], not \['FRI', 'FRII'\]"),
    (SIMPLE[:13], "not in every table: S013, S014")])
def test_tables_of_other_sources_are_not_aligned(other, told):
    with pytest.raises(ValueError, match=told): align_predictions([SIMPLE, other])


def test_tables_are_aligned_both_ways_and_some_are_needed():
    with pytest.raises(ValueError, match="not in every table: S013, S014"): align_predictions([SIMPLE[:13], SIMPLE])
    for use in (align_predictions, average_predictions):
        with pytest.raises(ValueError, match="no tables"): use([])


def test_runs_are_summarised():
    scores = dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1", "brier", "ece"))
    made = [dict.fromkeys(scores, v) | dict(seed=s, fold=f) for v, s, f in [(.7, 1, 0), (.8, 1, 1), (.9, 2, 0)]]
    first = summarise_runs(made).iloc[0]
    assert list(first[["runs", "seeds", "folds"]]) == [3, 2, 2]
    assert first["high"] - first["mean"] == pytest.approx(4.302653*0.1/math.sqrt(3))  # Student's t of 2
    assert summarise_runs(made[:1])[["std", "low", "high"]].isna().all(axis=None)
    for runs, by, told in [(made + made[:1], (), r"more than once: \[\[1, 0\]\]"), (made, ("survey",), "no 'survey'"),
                           ([], (), "no 'seed'")]:
        with pytest.raises(ValueError, match=told): summarise_runs(runs, by)


@pytest.mark.parametrize("score", ["accuracy", "macro_f1"])
def test_pooled_score_is_about_sources(score):
    value, ends = score_pooled([RUN], score)
    assert value == pytest.approx(score_predictions(RUN)[score])
    assert score_pooled([RUN]*2, score) == (value, ends)
    assert score_gain([RUN], [RUN[::-1]], score) == (0, (0, 0))


def test_macro_f1_leaves_out_a_class_that_is_nowhere():
    counts = np.array([[6, 4, 0], [1, 4, 0], [0, 0, 0]])
    assert _measure_macro_f1(counts) == pytest.approx((12/17 + 8/13)/2)


def test_interval_of_a_gain_is_that_of_discordant_pairs():
    a, b = (imagine_run(1, skill=skill).assign(sky_group=np.arange(240)) for skill in (2.4, 1.2))
    gain, ends = score_gain([a], [b], "accuracy")
    right = [p.argmax(axis=1) == y for y, p in map(check_predictions, (a, b))]
    one, other = (right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum()
    half = 1.96*math.sqrt(one + other - (one - other)**2/240)/240  # Agresti 2013, section 11.1
    assert (gain, *ends) == pytest.approx(((one - other)/240, gain - half, gain + half), abs=0.02)


def test_flawless_network_has_wilsons_interval():
    y, p = check_predictions(RUN)
    flawless = RUN[p.argmax(axis=1) == y]
    n = flawless["sky_group"].nunique()
    assert score_pooled([flawless], "accuracy")[1] == wilson_interval(n, n)


def test_bootstrap_is_refused():
    with pytest.raises(ValueError, match="two sky groups"): score_pooled([RUN.assign(sky_group=1)], "accuracy")
    with pytest.raises(ValueError, match="only one kind judged"): score_gain([RUN], [RUN[:9]], "accuracy")


def test_folds_and_seeds_are_counted():
    tables = in_folds(RUN, seed=1)
    row = summarise_tables(tables)
    assert (row["runs"], row["folds"], row["seeds"], row["n"]) == (2, 2, 1, 240)
    assert row["majority"] == pytest.approx(RUN["label"].value_counts().max()/240)
    assert summarise_classes(tables)["recall"].mean() == pytest.approx(row["balanced_accuracy"])
    never = [t.assign(p_FRI=1., p_FRII=0., p_Bent=0.) for t in tables]
    assert np.isnan(summarise_classes(never)["precision"][1])
    with pytest.raises(ValueError, match="more than once"): pool_tables([tables[0], tables[0]])


@pytest.mark.parametrize("score", ["accuracy", "macro_f1"])
def test_a_score_is_of_what_its_interval_is_of(score):
    "Folds by catalogue: each holds nearly one class, so means of them are far from the score of all."
    parts = [RUN[RUN["label"] == name].assign(fold=k, seed=1) for k, name in enumerate(["FRI", "FRII", "Bent"])]
    row = summarise_tables(parts)
    assert row[f"{score}_low"] <= row[score] <= row[f"{score}_high"]
    assert row[score] == score_pooled([RUN], score)[0]


def test_kinds_are_compared_on_what_both_have():
    ours, theirs, second = in_folds(RUN, 1), in_folds(imagine_run(2, skill=0.6), 1), in_folds(RUN, 2)
    verdict = compare_kinds(*match_tables(ours, theirs))
    assert verdict["accuracy_difference"] == pytest.approx((verdict["only_first"] - verdict["only_second"])/240)
    alone = [[run.assign(fold=0, seed=1)] for run in (RUN, imagine_run(2, skill=0.6))]
    assert compare_kinds(*alone)["p_value"] < 0.01
    assert [len(side) for side in match_tables(ours, theirs[:1])] == [1, 1]
    unclear = compare_kinds(*match_tables(ours + second, theirs + second))  # the second seed's networks are the same
    assert unclear["seeds"] == 2 and unclear["p_value"] > 0.05


def answer(right, fold=0, seed=1, first=0):
    "A training that is right where it is said, about sources that lie apart."
    rows = first + np.arange(len(right))
    return pd.DataFrame(dict(name=[f"S{k:04d}" for k in rows], label="FRI", sky_group=rows, fold=fold, seed=seed,
                             p_FRI=np.where(right, 0.9, 0.2), p_FRII=np.where(right, 0.1, 0.8)))


def test_a_single_training_is_tested_by_its_sources_alone():
    "As by hand: 6 and 2 of 100 sources that only one gets right, and one more (Agresti & Min 2005)."
    a, b = answer(np.arange(100) >= 2), answer((np.arange(100) < 2) | (np.arange(100) >= 8))
    verdict = compare_kinds([a], [b])
    spread = math.sqrt(8 - 16/100 + 1)/100
    assert verdict["accuracy_difference"] == pytest.approx(0.04)
    assert verdict["accuracy_high"] - 0.04 == pytest.approx(1.984*spread, rel=0.05)
    assert verdict["p_value"] == pytest.approx(2*special.stdtr(99, -0.04/spread), rel=0.2)
    assert (same := compare_kinds([a], [a]))["p_value"] == 1 and same["accuracy_low"] == -same["accuracy_high"] < 0


@pytest.mark.parametrize(("seeds", "starts"), [(1, 5), (3, 5), (3, 1)])
def test_a_lucky_training_is_no_better_recipe(seeds, starts):
    "Two recipes that are alike differ once in twenty times, though the luck of a training counts as much as sources."
    rng, rejected = np.random.default_rng(1), 0
    runs = pd.MultiIndex.from_product([range(5), range(seeds)], names=["start", "seed"])
    for _ in range(400):
        luck = np.repeat(rng.normal(scale=0.02*math.sqrt(starts), size=(starts, seeds)), 5//starts, axis=0)
        by_sources = rng.normal(scale=0.02*math.sqrt(5), size=(5, 1))
        gains = pd.Series((luck + by_sources).ravel(), runs.set_levels(np.arange(5)*(starts > 1), level=0,
                                                                       verify_integrity=False))
        variance, freedom = _find_spread(gains, 0.02**2, 250)
        rejected += abs(gains.mean())/math.sqrt(variance) > special.stdtrit(freedom, 0.975)
    assert 0.01 <= rejected/400 <= 0.08


def test_trainings_from_one_start_are_as_many_as_seeds():
    "A start that all folds share makes of fifteen trainings three."
    rng = np.random.default_rng(1)
    a, b = ([answer(rng.random(50) < 0.8 + 0.03*seed*side, fold, seed, 50*fold)
             for fold in range(5) for seed in range(3)] for side in (1, 0))
    width = lambda tables: (verdict := compare_kinds(tables, b))["accuracy_high"] - verdict["accuracy_low"]
    assert width([table.assign(source_fold=0) for table in a]) > width(a)


def test_ensemble_of_copies_is_its_member():
    shuffled = RUN.sample(frac=1, random_state=1)
    ensemble = average_predictions([shuffled]*5)
    assert list(ensemble) == ["name", "label", "sky_group", "fold", "seed", "members", "p_FRI", "p_FRII", "p_Bent"]
    np.testing.assert_allclose(ensemble.filter(like="p_"), shuffled.filter(like="p_"), atol=1e-12)
    with pytest.raises(ValueError, match="not in every table"): average_predictions([RUN, RUN[:200]])
