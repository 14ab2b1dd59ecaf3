"Numbers that were wrong without an error: each case gives the wrong one where the mistake is made again."
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from radiogal.curation import COLUMNS, Desk, drop_undone, group_curators, merge_decisions, read_decisions, read_lines

IMAGES = {("S1", "FIRST"), ("S2", "FIRST")}

def write_decisions(path, *lines): # (name, decision, who, when)
    "A decision file as git or an editor may leave it."
    reasons = {"bad": "stripes"}
    rows = [",".join((name, "FIRST", decision, reasons.get(decision, ""), who, when)) for name, decision, who, when in lines]
    path.write_text("\n".join([",".join(COLUMNS), *rows, ""]))
    return path

ANN, BOB = ("S1", "bad", "ann", "2025-11-01T10:00:00+00:00"), ("S1", "good", "bob", "2025-11-02T10:00:00Z")
CARL = ("S1", "unsure", "carl", "2025-11-01T23:59:59.999+00:00")

@pytest.mark.parametrize("lines", list(permutations([ANN, BOB, CARL])))
def test_the_latest_decision_is_the_latest_in_time(tmp_path, lines):
    path = write_decisions(tmp_path/"run.csv", *lines)
    assert read_decisions(path, IMAGES)["S1", "FIRST"]["who"] == "bob"
    assert [row["who"] for _, row in drop_undone(read_lines(path))] == ["ann", "carl", "bob"]

@pytest.mark.parametrize("lines", [(ANN, BOB), (BOB, ANN)])
def test_decisions_of_one_instant_count_by_line(tmp_path, lines):
    same = "2025-11-01T10:00:00Z", "2025-11-01T10:00:00.000+00:00"
    lines = [(*line[:3], when) for line, when in zip(lines, same, strict=True)]
    path = write_decisions(tmp_path/"run.csv", *lines)
    for file in (path, merge_decisions([path], tmp_path/"merged.csv")):
        assert read_decisions(file, IMAGES)["S1", "FIRST"]["who"] == lines[-1][2]

def test_an_error_still_names_the_line_of_the_file(tmp_path):
    path = write_decisions(tmp_path/"run.csv", BOB, ("S9", *ANN[1:]))
    with pytest.raises(ValueError, match="run.csv, line 3: the run has no image of 'S9'"): read_decisions(path, IMAGES)

def test_a_decision_is_taken_back_in_time(tmp_path):
    when = [(datetime(2025, 11, 1, tzinfo=UTC) + timedelta(hours=h)).isoformat() for h in range(3)]
    path = write_decisions(tmp_path/"run.csv", ("S1", "undo", "ann", when[2]), ("S1", "bad", "ann", when[1]),
                           ("S1", "good", "ann", when[0]))
    assert read_decisions(path, IMAGES)["S1", "FIRST"]["decision"] == "good"

def test_merged_decisions_are_in_order_of_time(tmp_path):
    one = write_decisions(tmp_path/"one.csv", BOB, ANN)
    other = write_decisions(tmp_path/"other.csv", CARL, ("S2", "good", "carl", "2025-10-31T10:00:00Z"))
    both = merge_decisions([one, other], tmp_path/"both.csv")
    times = [datetime.fromisoformat(line.split(",")[-1]) for line in both.read_text().splitlines()[1:]]
    assert times == sorted(times) and len(times) == 4
    assert merge_decisions([other, one], tmp_path/"again.csv").read_bytes() == both.read_bytes()

def test_a_curator_sees_and_takes_back_the_latest_decision(tmp_path):
    late, early = "2025-11-02T10:00:00Z", "2025-11-01T10:00:00Z"
    path = write_decisions(tmp_path/"run.csv", ("S2", "good", "ann", late), ("S1", "unsure", "ann", late.replace("10", "09", 1)),
                           ("S2", "bad", "ann", early), ("S1", "good", "ann", early))
    desk = Desk(path, dict.fromkeys(sorted(IMAGES), "none.fits"), "ann")
    assert [desk.decided[image]["decision"] for image in sorted(IMAGES)] == ["unsure", "good"]
    desk.undo()
    assert [desk.decided[image]["decision"] for image in sorted(IMAGES)] == ["unsure", "bad"]

def test_a_curator_s_opinion_is_the_latest(tmp_path):
    rows = [row for _, row in read_lines(write_decisions(tmp_path/"run.csv", (*BOB[:2], "ann", BOB[3]), ANN))]
    assert group_curators(rows)["ann"] == {("S1", "FIRST"): "good"}
