"Tries: a stopped run goes on, one that fails takes no other along, and the page says what was measured."
import sys
import time

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT


@pytest.fixture
def levers(monkeypatch, tmp_path):
    "The harness with a folder of its own."
    monkeypatch.syspath_prepend(ROOT/"bench")
    import try_levers
    monkeypatch.setattr(try_levers, "FOLDER", tmp_path)
    yield try_levers
    sys.modules.pop("try_levers")


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
    assert levers.NOT_YET in levers.write_page(tries)
    for fold in (1, 2):
        shown = lambda table, fold=fold: table.assign(name=[f"{fold} {name}" for name in table["name"]],
                                                      sky_group=table["sky_group"] + 20*fold)
        levers.keep_answers(("baseline", "catalogues-fr", fold, 2), shown(answer(12)), "sha")
        levers.keep_answers(("better", "catalogues-fr", fold, 2), shown(answer(18)), "sha")
    page = levers.write_page(tries)
    line = next(line for line in page.splitlines() if line.startswith("| `better` | `catalogues-fr`"))
    assert "0.900 ± 0.000" in line and "+0.300 [" in line and levers.NOT_YET not in page


def test_tries_are_declared_once_and_can_be_made(levers):
    tries, tasks = levers.read_tries(), levers.read_settings().list_tasks()
    assert len({t["name"] for t in tries}) == len(tries) >= 14
    assert {t["way"] for t in tries} - {*levers.WAYS} == {"fuse_handcrafted", "fuse_alhassan", "average_kept_seeds"}
    assert {k for t in tries for k in t["tasks"]} <= {*tasks}
