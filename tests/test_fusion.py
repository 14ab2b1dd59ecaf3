"Two surveys or one: which trainings are compared where not every network has every fold, or two tasks could be meant."
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from radiogal.config import parse_config, read_config
from radiogal.diagnosis import TrainedRun
from radiogal.fusion import collect_answers, compare_answers, score_answers

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


def test_two_tasks_that_could_be_meant_are_named(tmp_path):
    config = configure(slow=CLASSES | dict(images="FIRST", networks=dict(fields=[0]), training=dict(epochs=9)))
    asked = [*SINGLE, ("both", "branches", "FIRST+VLASS", (0, 1, 2))]
    assert collect_answers(config, runs := imagine(tmp_path, asked), "both")  # not trained: no doubt
    runs |= imagine(tmp_path, [("slow", "fields", "FIRST", (0,))])
    with pytest.raises(ValueError, match="FIRST: tasks first and slow have the same images and classes"):
        collect_answers(config, runs, "both")
