"Benchmarks: each script runs, its numbers are of processes of their own, and the page is what its files say."
import json
import os
import subprocess
import sys

import pandas as pd
import pytest
from conftest import ROOT

BENCH = ROOT/"bench"
PARTS = sorted(path.stem.removeprefix("bench_") for path in BENCH.glob("bench_*.py"))
LIGHT = {"clipping", "cutouts", "environment", "first", "neighbours"}  # The others start TensorFlow, or a kernel
KEYS = dict(rows={"work", "ours", "other", "n", "seconds", "cpu", "MB", "ratio", "lowest", "highest", "pairs",
                  "differs"},
            scaling={"stage", "n", "cpu", "exponent", "last", "why"}, moved={"stage", "rate", "limit", "share", "why"},
            networks={"network", "gflop", "training", "training_share", "prediction", "prediction_share"})


@pytest.fixture(autouse=True)
def bench_modules(monkeypatch):
    "Scripts import each other by name."
    monkeypatch.syspath_prepend(BENCH)


def call_script(path, *arguments):
    env = {key: value for key, value in os.environ.items() if key != "RADIOGAL_MIRROR"}
    env |= dict(PYTHONPATH=os.pathsep.join([str(ROOT), str(BENCH)]), https_proxy="http://127.0.0.1:9")
    return subprocess.run([sys.executable, path, *arguments], env=env, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize("part", [pytest.param(part, marks=() if part in LIGHT else pytest.mark.full)
                                  for part in PARTS])
def test_a_script_does_its_work_both_ways(part, tmp_path):
    done = call_script(BENCH/f"bench_{part}.py", "--quick", "--out", tmp_path/"found.json")
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path/"found.json").read_text())
    assert found["quick"] and found["machine"]["cores"] >= 1 and "numpy" in found["machine"]["versions"]
    tables = {key: rows for key, rows in found.items() if key in KEYS}
    assert tables and all(rows and KEYS[key] <= set(row) for key, rows in tables.items() for row in rows)
    for row in found.get("rows", []):
        assert row["pairs"] == 1 and min(*row["seconds"], *row["MB"]) > 0 and row["differs"], row


SCRIPT = '''
import time
from _pairs import Pair, run_pairs

def prepare(folder, n): (folder/"made").write_text(str(n)); return {}
def check(folder, n): assert (folder/"made").read_text() == str(n); return {}
def small(folder, n): return lambda: time.sleep(0.001)
def large(folder, n):
    held = bytearray(150*2**20)
    return lambda: time.sleep(0.1)

run_pairs(Pair("{n} things", 1000, 1, small, large, "a", "b", "nothing", prepare, check))
'''


def test_each_way_has_a_process_and_a_memory_of_its_own(tmp_path):
    (tmp_path/"bench_it.py").write_text(SCRIPT)
    done = call_script(tmp_path/"bench_it.py", "--out", tmp_path/"found.json")
    assert done.returncode == 0, done.stderr[-3000:]
    (row,) = json.loads((tmp_path/"found.json").read_text())["rows"]
    assert (row["work"], row["n"], row["pairs"]) == ("1,000 things", 1000, 5)
    assert row["MB"][1] - row["MB"][0] > 100 and row["MB"][0] < 100
    assert row["lowest"] <= row["ratio"] <= row["highest"]


def test_ways_take_turns_and_a_ratio_is_of_its_pair(monkeypatch):
    import _pairs
    asked, seconds = [], dict(ours=iter([1., 2., 4., 1., 1.]), other=iter([2., 8., 4., 3., 1.]))

    def call(function, folder, n, quick):
        asked.append(function.__name__)
        return dict(seconds=next(seconds[function.__name__]), cpu=0., MB=1.)

    def ours(folder, n): ...
    def other(folder, n): ...
    monkeypatch.setattr(_pairs, "call", call)
    row = _pairs.measure_pair(_pairs.Pair("", 1, 1, ours, other, "", "", ""))
    assert asked[:4] == ["ours", "other", "other", "ours"] and len(asked) == 10
    assert (row["ratio"], row["lowest"], row["highest"], row["seconds"]) == (2., 1., 4., [1., 3.])


def test_a_measurement_that_fails_ends_the_script_and_says_why(tmp_path):
    (tmp_path/"bench_it.py").write_text(SCRIPT.replace('== str(n)', '== "other"'))
    done = call_script(tmp_path/"bench_it.py", "--out", tmp_path/"found.json")
    assert done.returncode and "check, n = 1000, ended with" in done.stderr and "AssertionError" in done.stderr
    assert not (tmp_path/"found.json").exists()


def test_an_exponent_is_that_of_the_power():
    from bench_scaling import fit_exponent
    assert fit_exponent([1, 10, 100], [3, 300, 30_000]) == pytest.approx(2)


def test_the_page_is_what_its_files_say():
    import page
    measured = page.read_measured(page.FOLDER)
    text = page.write_page(measured, page.read_accuracy(measured))
    assert text == page.PAGE.read_text(), ".venv/bin/python bench/page.py"
    assert page.FIGURE.is_file() and not set(measured) - {*PARTS} - {
        name for name, told in measured.items() if "accuracy" in told}


def make_row(**more):
    return dict(work="some work", n=3, ours="a", other="b", pairs=5, seconds=[1., 0.5], cpu=[1., 1.], MB=[10., 20.],
                ratio=0.5, lowest=0.4, highest=0.6, differs="it also checks") | more


def make_machine(busy):
    return dict(date="2026-01-01", commit="abc", system="Linux", processor="one", cores=2, GiB=8, busy=busy,
                python="3.12", versions=dict(numpy="2"))


def test_what_is_slower_says_why():
    import page
    assert "it also checks" in page.tabulate_pairs([make_row()])
    with pytest.raises(ValueError, match="no reason is given: some work"): page.tabulate_pairs([make_row(differs="")])
    assert "**2.5** |" in page.tabulate_pairs([make_row(ratio=2.5, pairs=1, differs="")])


def test_a_busy_machine_is_told_and_a_quick_try_is_refused(tmp_path):
    import page
    told = dict(rows=[make_row()], quick=False, minutes=1.)
    for name, busy in dict(calm=0.2, busy=1.6).items():
        (tmp_path/f"{name}.json").write_text(json.dumps(told | dict(machine=make_machine(busy))))
    measured = page.read_measured(tmp_path)
    text = page.write_page(measured, page.read_accuracy(measured))
    assert "Others were at work on the machine before busy: take no time from there" in text
    assert "| 0.2 |" in text and "All together took 2 minutes" in text
    (tmp_path/"calm.json").write_text(json.dumps(told | dict(quick=True)))
    with pytest.raises(SystemExit, match="calm is a quick try"): page.read_measured(tmp_path)


def test_another_method_has_a_line_and_a_point():
    import page
    from matplotlib import pyplot as plt
    more = dict(task="griese", network="moments", accuracy=0.6, accuracy_low=0.5, accuracy_high=0.7, minutes=0.5,
                parameters=None)
    rows = page.read_accuracy(dict(rival=dict(accuracy=[more])))
    assert "| `griese` | moments | 0.600 [0.500, 0.700] | 0.5 | – |" in page.tabulate_accuracy(rows)
    minutes, parameters = page.plot_cost(rows, dict(griese="four classes")).axes
    names = [{text.get_text() for text in ax.texts} for ax in (minutes, parameters)]
    assert "moments" in names[0] and "moments" not in names[1] and "fields" in names[0] & names[1]
    assert pd.isna(rows.iloc[-1]["parameters"])
    plt.close("all")


def test_a_part_that_fails_keeps_its_numbers_and_the_others_go_on(tmp_path, monkeypatch):
    import page
    import run
    for name, value in dict(FOLDER=tmp_path, PAGE=tmp_path/"bench.md", FIGURE=tmp_path/"it.png").items():
        monkeypatch.setattr(page, name, value)
    kept = json.dumps(dict(rows=[make_row(work="kept work")], machine=make_machine(0), minutes=1.))
    (tmp_path/"bad.json").write_text(kept)
    (tmp_path/"bad.py").write_text("raise SystemExit('no')")
    (tmp_path/"good.py").write_text(f"import sys, pathlib; pathlib.Path(sys.argv[2]).write_text({kept!r})")
    monkeypatch.setattr(run, "SCRIPTS", {name: tmp_path/f"{name}.py" for name in ("bad", "good")})
    assert run.main([]) == "failed: bad" and (tmp_path/"bad.json").read_text() == kept
    assert (tmp_path/"bench.md").read_text().count("kept work") == 2 and (tmp_path/"it.png").is_file()
    with pytest.raises(SystemExit, match="no part other: there are bad, good"): run.main(["other"])
