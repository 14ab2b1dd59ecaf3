"Published scores beside ours, like beside like, in kept tables and on the first page; what is not measured."
import re
import subprocess
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from radiogal import benchmark
from radiogal.curation import _DECISION_COLUMNS, _read_decisions

TABLES = ROOT/"docs"/"results"/"benchmark"/"benchmark"
read_table = lambda name: pd.read_csv(TABLES/f"{name}_real.csv")


def test_published_scores_of_our_images_stand_beside_ours_of_the_same_split():
    rows, comparison = read_table("published"), read_table("comparison").set_index(["task", "network", "split"])
    same = rows[rows["same_images"]]
    assert set(same["split"]) == {"validation", "held-out"} and (same["split"] == same["our_split"]).all()
    for row in same[~same["score"].str.startswith("f1 of")].itertuples():
        ours = comparison.loc[(row.task, "fields", row.split)]
        assert row.ours == ours[row.score]
        if row.score == "accuracy": assert (row.ours_low, row.ours_high) == (ours.accuracy_low, ours.accuracy_high)


def test_published_validation_scores_are_those_of_the_authors_repository():
    rows = read_table("published")
    said = rows[rows["same_images"] & (rows["split"] == "validation")].set_index(["who", "score"])["value"].to_dict()
    assert said == {("Rustige 2023, CNN", "accuracy"): 0.818,
                    ("Rustige 2023, CNN, GAN images (λ = 2)", "accuracy"): 0.841,
                    ("Rustige 2023, CNN, GAN images (λ = 3)", "accuracy"): 0.836,
                    ("Rustige 2023, CNN, GAN images (λ = 2)", "balanced_accuracy"): 0.828,
                    ("Rustige 2023, CNN, GAN images (λ = 2)", "brier"): 0.249}


def test_a_published_split_that_we_did_not_measure_is_beside_nothing():
    comparison, classes = read_table("comparison"), read_table("classes")
    unmeasured = comparison[comparison["split"] == "validation"]
    rows = benchmark._tabulate_published(unmeasured, classes)
    heldout = rows[rows["same_images"] & (rows["split"] == "held-out")]
    assert len(heldout) and set(heldout["our_split"]) == {"not measured"} and heldout["ours"].isna().all()


def read_front():
    "The first page's table: what stands in each column, by row; numbers only."
    rows = [line.split("|")[1:-1] for line in (ROOT/"README.md").read_text().splitlines() if line.startswith("|")]
    start = next(i for i, row in enumerate(rows) if "validation" in row[1] and "held-out" in row[2])
    return rows[start], {row[0].strip(): [[float(n) for n in re.findall(r"\d\.\d+", cell)] for cell in row[1:]]
                         for row in rows[start + 2:start + 5]}


def test_the_first_page_has_like_beside_like_as_the_kept_tables_do():
    head, rows = read_front()
    comparison = read_table("comparison").query("task == 'griese' and network == 'fields'").round(3)
    single = comparison.set_index("split")
    for k, split in enumerate(("validation", "held-out")):
        assert f"{single.loc[split, 'n']:,.0f}" in head[k + 1]
        found = next(cells for name, cells in rows.items() if "one network" in name)[k]
        assert found == single.loc[split, ["accuracy", "accuracy_low", "accuracy_high"]].to_list()
        best = read_table("published").query("same_images and score == 'accuracy' and split == @split").round(3)
        said = next(cells for name, cells in rows.items() if "best published" in name)[k]
        assert said[0] == best["value"].max()
    ensembles = read_table("ensembles").query("split == 'held-out' and ensemble == 'fields'").round(3)
    assert next(cells for name, cells in rows.items() if "together" in name)[1] == \
        ensembles[["accuracy", "accuracy_low", "accuracy_high"]].iloc[0].to_list()


@pytest.mark.parametrize("split", ["held-out", "validation"])
def test_a_goal_of_a_split_that_is_absent_is_not_measured(split):
    comparison, ensembles, pairs = (read_table(name) for name in ("comparison", "ensembles", "paired"))
    whole = benchmark._tabulate_goals(comparison, ensembles, pairs).set_index("goal")
    others = comparison[comparison["split"] != split], ensembles[ensembles["split"] != split]
    lacking = benchmark._tabulate_goals(*others, pairs if split == "held-out" else pairs[:0]).set_index("goal")
    gone = (whole["split"] == split).to_numpy()
    assert gone.any() and (~gone).any()
    assert set(lacking["reached"][gone]) == {"not measured"} and lacking["value"][gone].isna().all()
    pd.testing.assert_frame_equal(lacking.loc[~gone, whole.columns], whole[~gone], check_dtype=False)
    assert not {"held-out"} & set(whole["split"][~whole.index.str.contains("held-out")])


def decide(path, name, decision, who, when):
    "A line at the end of a decision file, as a curator's desk writes it."
    begin = "" if path.is_file() else ",".join(_DECISION_COLUMNS) + "\n"
    reason = "stripes" if decision == "bad" else ""
    with open(path, "a") as f: f.write(f"{begin}{name},FIRST,{decision},{reason},{who},{when}\n")


@pytest.mark.parametrize("late", ["ann", "bob"])
def test_decisions_that_git_has_merged_count_by_time(tmp_path, late):
    def git(*words):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", *words],
                       cwd=tmp_path, check=True, capture_output=True)
    path, begun = tmp_path/"data"/"decisions"/"run.csv", datetime(2025, 11, 1, tzinfo=UTC)
    path.parent.mkdir(parents=True)
    (tmp_path/".gitattributes").write_text((ROOT/".gitattributes").read_text())
    decide(path, "S2", "good", "ann", begun.isoformat())
    git("init", "-q", "-b", "main"); git("add", "-A", "-f"); git("commit", "-qm", "begun")
    for who, decision in (("ann", "bad"), ("bob", "good")):
        git("checkout", "-q", "-b", who, "main")
        decide(path, "S1", decision, who, (begun + timedelta(days=2 if who == late else 1)).isoformat())
        git("commit", "-qam", who)
    git("merge", "-q", "-m", "both", "ann")  # into bob's
    assert len(path.read_text().splitlines()) == 4
    assert _read_decisions(path, {("S1", "FIRST"), ("S2", "FIRST")})["S1", "FIRST"]["who"] == late


def test_intervals_of_our_scores_are_of_the_sources_that_they_are_of():
    rows = read_table("published")
    known = rows[rows["ours_low"].notna()]
    assert ((known["ours_low"] < known["ours"]) & (known["ours"] < known["ours_high"])).all()
    keys = [known[key] for key in ("task", "score", "our_split")]
    width = (known["ours_high"] - known["ours_low"]).groupby(keys).first()
    accuracy = width["griese", "accuracy"]
    assert accuracy["held-out"] > accuracy["validation"] and np.isfinite(width).all()  # 399 sources, and 1,758


def test_every_kept_fold_validates_every_class():
    lacking = {}
    for path in (ROOT/"docs"/"results").glob("*/t*/**/predictions.parquet"):
        table = pd.read_parquet(path)
        if lost := {c.removeprefix("p_") for c in table if c.startswith("p_")} - set(table["label"]):
            lacking[str(path)] = lost
    assert lacking == {}
