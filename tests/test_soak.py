"What fault injection takes for a failure, and what it says of a file."
import random
import re
import subprocess
from collections import namedtuple
from contextlib import contextmanager

import pytest
import soak
from conftest import ROOT

Process = namedtuple("Process", "exitcode join")


@pytest.fixture
def scraping(tmp_path, monkeypatch):
    "A round of scraping by one process that does not end, until it is killed; how long each was waited for."
    waited = []
    @contextmanager
    def run(n, *arguments): yield [Process(None, waited.append)]
    @contextmanager
    def open_archive(*arguments, **how): yield None
    monkeypatch.setattr(soak.children, "run", run)
    monkeypatch.setattr(soak, "open_archive", open_archive)
    monkeypatch.setattr(soak, "TRIES", 3)
    return waited, lambda rng, log: soak.disturb_scrape(rng, tmp_path, None, None, {}, log)


def test_a_process_that_hangs_is_a_failure_and_no_kill(scraping, monkeypatch):
    (waited, disturb), rng, log = scraping, random.Random(1), soak.Log()  # noqa: S311
    monkeypatch.setattr(rng, "random", lambda: 0.9)
    with pytest.raises(soak.Wrong, match="still runs after 120 s"): disturb(rng, log)
    assert waited == [120] and not log.done["scrape"]["SIGKILL"]
    monkeypatch.setattr(rng, "random", lambda: 0.1)
    with pytest.raises(soak.Wrong, match="not finished after 3 tries"): disturb(rng, log)
    assert max(waited[1:]) < 4 and log.done["scrape"]["SIGKILL"] == 3


@pytest.mark.parametrize(("table", "said"), [
    (b"a FIRST ok x\nb FIRST not_covered x\n", "other content: ['a.fits']"),
    (b"a FIRST reject x\nb FIRST not_covered x\n", "not finished after 3 tries")])
def test_another_cutout_is_a_failure_unless_its_request_ended_otherwise(scraping, tmp_path, monkeypatch, table, said):
    @contextmanager
    def run(n, *arguments): yield [Process(0, lambda wait: None)]
    monkeypatch.setattr(soak.children, "run", run)
    monkeypatch.setattr(soak, "corrupt", lambda *arguments: None)
    monkeypatch.setattr(soak, "take_stock", lambda folder: ({"a.fits": b"1", "cutouts.ecsv": table}, []))
    expected = {"a.fits": b"2", "cutouts.ecsv": b"a FIRST ok x\nb FIRST not_covered x\n"}
    with pytest.raises(soak.Wrong, match=re.escape(said)):
        soak.disturb_scrape(random.Random(1), tmp_path, None, None, expected, soak.Log())  # noqa: S311


def test_a_command_that_hangs_is_a_failure(monkeypatch):
    monkeypatch.setattr(soak, "LONGEST_S", (120, 0.1))
    process = subprocess.Popen(["sleep", "600"], stdout=subprocess.PIPE, text=True, start_new_session=True)
    with pytest.raises(soak.Wrong, match="still runs after 0.1 s"): soak.finish(process)
    assert process.wait() < 0


@pytest.mark.parametrize(("name", "told", "fate"), [
    ("results/a.csv", "results/a.csv: damaged", "named"), ("results/a.csv", "b/a.csv is fine", "neither"),
    ("mine/shards/a.csv", "shards/a.csv: damaged", "named")])
def test_a_file_is_named_only_by_its_path(tmp_path, name, told, fate):
    path = tmp_path/name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"cut")
    assert soak.tell_fate(path, b"cut", told, tmp_path) == fate
    assert soak.tell_fate(path, b"other", told, tmp_path) == "made again"
    path.unlink()
    assert soak.tell_fate(path, b"cut", told, tmp_path) == "removed"


def test_an_archive_draws_from_a_seed_of_its_own():
    rng, log = random.Random(1), soak.Log()  # noqa: S311
    with soak.open_archive(None, rng, log, badly=1): after = rng.random()
    again = random.Random(1)  # noqa: S311
    again.random()
    assert again.random() == after


@pytest.mark.parametrize(("target", "command", "default"), [
    ("soak", '--minutes "$MINUTES" docs/soak.md', "MINUTES ?= 60"),
    ("corrupt", '--files "$FILES" docs/corrupt.md', "FILES ?= 300")])
def test_make_has_targets_for_both(target, command, default):
    told = subprocess.run(["make", "--dry-run", "--silent", "STAMP=", target], cwd=ROOT, capture_output=True, text=True,
                          check=True).stdout
    assert f"python tests/soak.py {command}" in " ".join(told.split())
    assert f"\n{default}\n" in (ROOT/"Makefile").read_text()
