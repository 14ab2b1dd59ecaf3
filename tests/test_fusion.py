"Two surveys or one: which trainings are compared where not every network has every fold, or two tasks could be meant."
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from radiogal import fusion
from radiogal.config import list_asked, parse_config, read_config
from radiogal.diagnosis import TrainedRun, _read_all_facts
from radiogal.fusion import _name_gains, _tabulate_both, _tell_both, collect_answers, compare_answers, score_answers

CLASSES = dict(classes=dict(FRI=["FRI"], FRII=["FRII"]))


def say(fold, **facts):
    "A table of predictions, nearly all right."
    names = [f"S{fold}{i:02}" for i in range(30)]
    p = np.where(np.arange(30) % 2, 0.1, 0.9)
    p[:3] = 0.5, 0.2, 0.7
    return pd.DataFrame(dict(name=names, label=["FRI", "FRII"]*15, sky_group=100*fold + np.arange(30), p_FRI=p,
                             p_FRII=1 - p, fold=fold, seed=1, split="validation", **facts))


def imagine(folder, asked):
    "Trainings by task, network, fold, seed; asked: rows of task, network, survey and folds."
    runs = {}
    for task, network, survey, folds in asked:
        for fold in folds:
            facts = dict(survey=survey, network=network)
            place = folder/f"{task}-{network}-{fold}"
            place.mkdir()
            for alone in survey.split("+"): say(fold, **facts).to_parquet(place/f"predictions_{alone}.parquet")
            runs[task, network, fold, 1] = TrainedRun(place, facts, say(fold, **facts), None, {})
    return runs


def configure(**more):
    "Settings with a task for each survey and one for both."
    smoke = read_config(ROOT/"config"/"smoke.toml").model_dump()
    tasks = dict(first=CLASSES | dict(images="FIRST", networks=dict(fields=[0, 1, 2])),
                 vlass=CLASSES | dict(images="VLASS", networks=dict(fields=[0, 1, 2])),
                 both=CLASSES | dict(images="FIRST+VLASS", networks=dict(branches=[0, 1, 2])))
    return parse_config(smoke | dict(tasks=tasks | more, transfer=dict(pairs={})), "imagined")


SINGLE = [("first", "fields", "FIRST", (0, 1, 2)), ("vlass", "fields", "VLASS", (0, 1, 2))]


def test_folds_that_only_the_network_of_one_survey_has_are_not_compared(tmp_path):
    runs = imagine(tmp_path, [*SINGLE, ("both", "branches", "FIRST+VLASS", (0, 1))])
    answers = collect_answers(configure(), runs, "both")
    assert {len(tables) for tables in answers.values()} == {2} and len(answers) == 6
    assert set(score_answers(answers, "both")["n"]) == {60} == set(compare_answers(answers, "both")["n"])


def test_two_networks_for_two_surveys_keep_their_names(tmp_path):
    runs = imagine(tmp_path, [*SINGLE, ("both", "branches", "FIRST+VLASS", (0, 1, 2)),
                              ("both", "extended", "FIRST+VLASS", (0, 1))])
    answers = collect_answers(configure(), runs, "both")
    assert {kind: len(tables) for kind, tables in answers.items() if not kind.startswith("fields")} == {
        "branches, both": 3, "branches, FIRST only": 3, "branches, VLASS only": 3,
        "extended, both": 2, "extended, FIRST only": 2, "extended, VLASS only": 2}
    tests = compare_answers(answers, "both")
    assert tests["kind"].value_counts().to_dict() == {
        f"{network}, {what}": n for network in ("branches", "extended")
        for what, n in (("both", 3), ("FIRST only", 1), ("VLASS only", 1))}
    assert set(tests["n"][tests["kind"].str.startswith("extended")]) == {60}


def test_the_same_network_in_two_surveys_is_compared_on_the_sources_that_both_have(tmp_path):
    runs = imagine(tmp_path, SINGLE)
    del runs["vlass", "fields", 2, 1]
    for key, run in runs.items():  # an answer is right where p_FRI agrees with the label
        right, right_here = run.predictions["label"] == "FRI", 0.9 if key[0] == "vlass" else 0.2
        run.predictions["p_FRI"] = np.where(right, right_here, 1 - right_here)
        run.predictions["p_FRII"] = 1 - run.predictions["p_FRI"]
        run.metrics["simulated"] = False
    (row,) = fusion._compare_surveys(runs, configure()).to_dict("records")
    assert (row["first"], row["second"], row["n"], row["folds"], row["sky"]) == ("vlass", "first", 60, 2, "real")
    assert (row["first_accuracy"], row["second_accuracy"], row["gain"]) == (1, 0, 1) and row["p_holm"] < 0.05
    (told,) = fusion._tell_surveys_apart(pd.DataFrame([row]))
    assert told.startswith("fields is more accurate in vlass than in first: 1.000 and 0.000 of the same sources, +10")
    (told,) = fusion._tell_surveys_apart(pd.DataFrame([row | dict(p_holm=0.2)]))
    assert told.startswith("fields is not shown to be more accurate in vlass than in first: ")
    alone = {key: run for key, run in runs.items() if key[0] == "first"}
    assert fusion._compare_surveys(alone, configure()).empty and fusion._tell_surveys_apart(pd.DataFrame()) == []


def test_two_tasks_that_could_be_meant_are_named(tmp_path):
    config = configure(slow=CLASSES | dict(images="FIRST", networks=dict(fields=[0]), training=dict(epochs=9)))
    asked = [*SINGLE, ("both", "branches", "FIRST+VLASS", (0, 1, 2))]
    assert collect_answers(config, runs := imagine(tmp_path, asked), "both")  # not trained: no doubt
    runs |= imagine(tmp_path, [("slow", "fields", "FIRST", (0,))])
    with pytest.raises(ValueError, match="FIRST: tasks first and slow have the same images and classes"):
        collect_answers(config, runs, "both")


def test_a_report_tells_of_two_surveys_with_both_images_and_with_either_missing(tmp_path):
    runs = imagine(tmp_path, [*SINGLE, ("both", "branches", "FIRST+VLASS", (0, 1, 2))])
    assert [len(table) for table in _tabulate_both({key: runs[key] for key in runs if key[0] != "both"},
                                                   configure())] == [0, 0]
    scores, tests = _tabulate_both(runs, configure())
    assert scores["kind"].tolist() == list(collect_answers(configure(), runs, "both"))
    assert tests["against"].tolist() == ["fields, FIRST", "fields, VLASS", "fields, mean of both", "fields, FIRST",
                                         "fields, VLASS"]
    told, = _tell_both(scores, tests.assign(p_holm=[0.01, 0.9, 0.9, 0.03, 0.9], accuracy_low=[.1, 0, 0, -.3, 0],
                                            accuracy_high=[.3, 0, 0, -.1, 0]))
    assert told.startswith("Two surveys as one input (task both): branches, both, has 1.000 (")
    assert "against fields, FIRST (1.000), p = 0.01, better; " in told
    assert "branches, FIRST only, has" in told and "p = 0.03, worse. branches, VLASS only, has" in told
    assert told.count("not shown to be better or worse") == 3
    assert told.endswith("Each p is corrected for 5 comparisons; 90 simulated sources, folds × seeds 3 × 1.")
    assert {"first", "second", "gain", "gain_low", "gain_high"} <= set(_name_gains(tests))


WRONG = {"scratch": 2, "zero-shot": 9, "retrain": 2, "freeze-1": 4, "freeze-2": 6, "freeze-all": 10}  # Of 20 in a fold


def carry(survey, method, fold, seed, **more):
    "What a network says of twenty sources of a fold, of which VLASS has not seen the last."
    wrong, labels = WRONG[method] + 4*(survey == "VLASS"), np.arange(20) % 2
    right = np.arange(20) < 20 - wrong if method == "scratch" else np.arange(20) >= wrong
    p = np.where(right == labels, 0.9, 0.1)
    facts = dict(network="alhassan", fold=fold, seed=seed, simulated=False, split="validation")
    table = pd.DataFrame(dict(name=[f"S{fold}{i:02}" for i in range(20)], label=np.array(["FRI", "FRII"])[labels],
                              sky_group=100*fold + np.arange(20), p_FRI=1 - p, p_FRII=p, **facts))
    return TrainedRun(None, dict(seen=0, simulated=False) | more, table[:19] if survey == "VLASS" else table, None, {})


def carry_all(config):
    "Trainings and transfers of Alhassan's network that never were."
    trainings = {key: carry(key[0], "scratch", *key[2:]) for key in list_asked(config) if key[1] == "alhassan"}
    pairs = config.transfer.pairs
    return trainings, {cell: carry(pairs[cell.pair].target, cell.method, cell.fold, cell.seed)
                       for cell in config.list_transfers() if cell.network == "alhassan"}


@pytest.fixture(scope="module")
def vlass():
    "Settings, trainings and transfers of the study's own question."
    config = read_config(ROOT/"config"/"vlass.toml")
    return config, *carry_all(config)


@pytest.fixture(scope="module")
def claims(vlass): return fusion._judge_claims(*vlass[1:], vlass[0])


def test_each_claim_of_the_study_is_one_test_and_one_sentence(claims):
    assert claims["claim"].is_unique and set(claims["network"]) == {"alhassan"}
    assert claims["holds"].tolist() == ["yes", "yes", "not shown", "yes"]
    assert claims["first"].tolist() == ["VLASS → FIRST, freeze-all", "FIRST → VLASS, freeze-all",
                                        "VLASS → FIRST, retrain", "VLASS → FIRST, retrain"]
    assert (claims["folds"].tolist(), claims["seeds"].tolist()) == ([5]*4, [3]*4)
    told = fusion._tell_each_claim(claims)
    assert len(told) == 4 and not any("“" in said for said in told)
    assert ("none (0.769 and 0.930) (read from the numbers of the study of 2020): it holds. alhassan, VLASS → FIRST, "
            "freeze-all, has ") in told[0]
    assert "0.500, and VLASS → FIRST, retrain 0.900: −40.0 points (" in told[0]
    assert all(said.count("corrected for 4 claims") == said.count("real sources, folds × seeds 5 × 3, 15 of "
                                                                  "15 and 15 of 15 networks") == 1 for said in told)
    assert "is more accurate than" in told[3]


def test_surveys_are_compared_on_the_sources_that_both_have(claims):
    assert claims["n"].tolist() == [100, 95, 100, 95]
    assert claims["gain"].iloc[3] == pytest.approx(claims["first_accuracy"].iloc[3] - claims["second_accuracy"].iloc[3])


def test_that_a_network_reaches_another_is_not_shown_by_a_missing_difference(claims):
    row = claims.iloc[2]
    assert row["gain"] == 0 and row["gain_low"] < 0 < row["gain_high"] and row["p_holm"] == 1
    said = fusion._tell_each_claim(claims)[2]
    assert "not shown" in said and said.endswith(
        "; no margin was declared, so it could be shown only by a higher accuracy, and a loss of up to "
        f"{-100*row['gain_low']:.1f} points, the end of the 95 % interval, is not excluded.")
    assert sum("not excluded" in each for each in fusion._tell_each_claim(claims)) == 1
    worse = dict(gain=-0.05, gain_low=-0.08, gain_high=-0.02, p_holm=0.001, holds="no")
    (said,) = fusion._tell_each_claim(pd.DataFrame([row.to_dict() | worse]))
    assert "it does not hold" in said and "only by a higher accuracy." in said and "excluded" not in said
    judge = lambda low, high: fusion._judge_claim(dict(p_holm=0.01, gain_low=low, gain_high=high), "reaches")
    assert (judge(0.1, 0.2), judge(-0.2, -0.1), judge(-0.1, 0.1)) == ("yes", "no", "not shown")


def test_claims_are_judged_by_the_headline_and_without_one_by_the_first_of_the_settings(vlass):
    config, trainings, transfers = vlass
    assert fusion._choose_way(config) == ("alhassan", "retrain")
    settings = config.model_dump() | dict(networks=["fields", "alhassan"], headline={})
    assert fusion._choose_way(parse_config(settings, "none declared")) == ("fields", "retrain")
    assert fusion._choose_way(read_config(ROOT/"config"/"transfer.toml")) == ("fields", "retrain")
    some = lambda methods: parse_config(config.model_dump() | dict(headline=config.headline.model_dump() | dict(
        methods=methods)), "frozen first")
    assert fusion._choose_way(some(["freeze-1", "retrain"])) == ("alhassan", "retrain")
    assert fusion._choose_way(some(["freeze-1"])) == ("alhassan", "")  # and never freeze-1 under the name of retraining
    smoke = read_config(ROOT/"config"/"smoke.toml")
    assert len(fusion._judge_claims(trainings, transfers, smoke)) == 0


def test_what_had_seen_the_sources_or_is_simulated_judges_no_claim(vlass):
    config, trainings, transfers = vlass
    for facts, said in ((dict(seen=3), "15 have seen the sources"), (dict(simulated=True), "15 simulated"),
                        (dict(source_simulated=True), "15 simulated")):
        other = {cell: TrainedRun(None, run.metrics | facts, run.predictions, None, {})
                 for cell, run in transfers.items()}
        claims = fusion._judge_claims(trainings, other, config)
        assert set(claims["holds"]) == {"not tested"} and claims["why"].str.contains(said).all()


def test_a_claim_that_lacks_networks_is_not_tested_and_is_still_counted(vlass, claims):
    config, trainings, transfers = vlass
    gone = lambda cell: (cell.pair, cell.method) == ("VLASS-FIRST", "freeze-all") and cell.seed == 3 and cell.fold < 3
    found = fusion._judge_claims(trainings, {cell: run for cell, run in transfers.items() if not gone(cell)}, config)
    assert found["holds"].tolist() == ["not tested", "yes", "not shown", "yes"] and np.isnan(found["gain"].iloc[0])
    assert found["networks"].iloc[0] == "12 of 15 and 15 of 15" and not found["why"].iloc[1:].any()
    first, *others = fusion._tell_each_claim(found)
    assert first.endswith(": not tested: 12 of 15 networks of VLASS → FIRST, freeze-all (3 not there).")
    assert all("corrected for 4 claims" in said for said in others) and "nan" not in " ".join([first, *others])
    lost = fusion._judge_claims(trainings, {cell: run for cell, run in transfers.items()
                                            if cell.pair != "VLASS-FIRST"}, config)
    assert lost["holds"].tolist() == ["not tested", "yes", "not tested", "not tested"]
    assert lost["p_holm"].iloc[1] > 0 and lost["p_holm"].iloc[1] >= claims["p_holm"].iloc[1]  # of one that is left
    nothing = fusion._judge_claims({}, {}, config)
    assert len(nothing) == 4 and set(nothing["holds"]) == {"not tested"}


def test_transfers_of_another_schedule_test_no_claim(vlass):
    config, trainings, transfers = vlass
    short = parse_config(config.model_dump() | dict(transfer=config.transfer.model_dump() | dict(epochs_part=0.5)), "s")
    claims = fusion._judge_claims(trainings, transfers, short)
    assert set(claims["holds"]) == {"not tested"} and claims["why"].str.contains("15 trained for other epochs").all()


def test_a_run_of_other_classes_asks_no_claim(vlass):
    config = vlass[0].model_dump()
    tasks = {name: task | dict(classes=dict(FRI=["FRII"], FRII=["FRI"])) for name, task in config["tasks"].items()}
    assert fusion._list_claims(vlass[0]) and not fusion._list_claims(parse_config(config | dict(tasks=tasks), "other"))


def test_what_one_frozen_layer_costs_is_no_part_of_a_claim(vlass, claims):
    config, trainings, transfers = vlass
    worse = lambda cell: carry(config.transfer.pairs[cell.pair].target, "zero-shot", cell.fold, cell.seed)
    other = {cell: worse(cell) if cell.method == "freeze-1" else run
             for cell, run in transfers.items()}
    pd.testing.assert_frame_equal(fusion._judge_claims(trainings, other, config), claims)
    assert not claims["claim"].str.contains("the more layers").any()


def test_the_headline_is_a_sentence_of_its_pairs_alone(vlass):
    row = dict(pair="FIRST-VLASS", source="FIRST", target="VLASS", network="alhassan", method="retrain", sources="all",
               n=257, folds=5, seeds=3, sky="real", accuracy=0.84, accuracy_low=0.8, accuracy_high=0.88, scratch=0.83,
               gain=0.01, gain_low=-0.01, gain_high=0.03, p_holm=0.4, runs=15)
    back = dict(pair="VLASS-FIRST", source="VLASS", target="FIRST", gain=0.05, gain_low=0.02, p_holm=0.001, runs=12)
    others = [dict(method="freeze-1"), dict(method="freeze-2", p_holm=np.nan), dict(network="fields"),
              dict(pair="others-VLASS")]
    rows = [row, row | back, *(row | other for other in others)]
    (said,) = fusion._tell_headline(pd.DataFrame(rows), vlass[0])
    assert said.startswith("What alhassan has learned in FIRST is not shown to help or to hurt in VLASS: retrain has "
                           "0.840 (0.800 to 0.880), training from scratch 0.830, +1.0 points (−1.0 to +3.0), p = 0.4 "
                           "(corrected for the 2 ways of this pair and network), 257 real sources, folds × seeds ")
    claimed = said.split("; ")[1]  # One comparison has one verdict and one p
    assert claimed.startswith("what alhassan has learned in VLASS, carried to FIRST, is judged by a claim below: ")
    assert "p = " not in claimed and "helps" not in claimed and claimed.endswith("5 × 3, 12 of 15 networks.")
    (said,) = fusion._tell_headline(pd.DataFrame([row | dict(p_holm=np.nan)]), vlass[0])
    assert "is not judged in VLASS" in said and "trained for other epochs" in said and "nan" not in said
    assert fusion._tell_headline(pd.DataFrame(), vlass[0]) == []
    assert fusion._tell_headline(pd.DataFrame(rows), read_config(ROOT/"config"/"smoke.toml")) == []


def test_a_network_of_other_sources_has_a_sentence(vlass):
    row = dict(source="others", target="VLASS", network="fields", method="retrain", accuracy=0.84, accuracy_low=0.8,
               accuracy_high=0.88, gain=0.05, gain_low=0.02, gain_high=0.08, p_holm=0.01, n=257, folds=5, seeds=1,
               sky="real")
    (said,) = fusion._tell_others(pd.DataFrame([row]), vlass[0])
    assert said == ("A network that was trained on other sources (panels-griese): retrain of fields from others "
                    "to VLASS has 0.840 (0.800 to 0.880), +5.0 points (+2.0 to +8.0) against training from scratch, "
                    "helps (p = 0.01, corrected), 257 real sources, folds × seeds 5 × 1.")
    (said,) = fusion._tell_others(pd.DataFrame([row | dict(p_holm=np.nan)]), vlass[0])
    assert "not judged: other epochs, 257 real sources" in said
    assert fusion._tell_others(pd.DataFrame(columns=["source"]), vlass[0]) == []


def test_panels_need_no_table_of_facts(vlass, tmp_path):
    assert set(_read_all_facts(tmp_path, vlass[0]).values()) == {None}
    transfer = read_config(ROOT/"config"/"transfer.toml")
    with pytest.raises(ValueError, match="griese-apart"): _read_all_facts(tmp_path, transfer)
