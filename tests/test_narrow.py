"""Narrow places: few open files, little memory, no home, no place for temporary files, odd names, a clock set back.

Tested elsewhere: a full disk and a read-only folder in downloads (`test_faults_files.py`), a full disk in a catalogue
(`test_survey.py`), a read-only file system, SIGTERM and SIGHUP of a run, settings of a user, results that are lost
(`test_damage.py`), two runs in one clone (`test_workflow.py`), file systems without locks (`test_filesystems.py`), and
what the doctor says of disk, memory, home, temporary files and clock (`test_cli.py`).
"""
import gzip
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from astropy.coordinates import SkyCoord
from conftest import ROOT, forget_later, read_numbers
from faulty import say
from made import write_centred

from radiogal import provenance
from radiogal.config import ConfigError
from radiogal.pretrained import _read_any

PLACE = SkyCoord(162.53, 30.677, unit="deg")
CODE = "import sys; from radiogal.cli import main; sys.exit(main())"
GIB = 1 << 30


def limit(**limits):
    "A function that narrows a process before it begins: limits by name, such as NOFILE, and a umask."
    def narrow():
        if "umask" in limits: os.umask(limits["umask"])
        for name, value in limits.items():
            if name != "umask": resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    return narrow


def classify(folder, image, *more, without=(), narrow=None, **environment):
    "What `radiogal classify` ends with, and says, on an image of a folder."
    env = {k: v for k, v in os.environ.items() if k not in ("RADIOGAL_MIRROR", *without)}
    command = [sys.executable, "-c", CODE, "classify", image, *more]
    return subprocess.run(command, cwd=folder, env=env | {"PYTHONPATH": str(ROOT)} | environment, timeout=600,
                          preexec_fn=narrow, capture_output=True)


@pytest.fixture(scope="module")
def content(): return write_centred("FIRST", PLACE, 150)


@pytest.fixture(scope="module")
def usual(content, tmp_path_factory):
    "The class of an image where nothing is narrow."
    (folder := tmp_path_factory.mktemp("usual")).joinpath("a.fits").write_bytes(content)
    return read_row(classify(folder, "a.fits", "--json"))


def read_row(done):
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    (row,) = json.loads(done.stdout)["rows"]
    return {key: value for key, value in row.items() if key != "name"}


PLACES = {"64 open files": dict(narrow=limit(NOFILE=64)), "2 GiB of data": dict(narrow=limit(DATA=2*GIB)),
          "1 GiB of address space": dict(narrow=limit(AS=GIB)),
          "umask 077": dict(narrow=limit(umask=0o077)), "no home": dict(without=("HOME",)),
          "a home that cannot be written": dict(HOME="/proc"), "no TMPDIR": dict(TMPDIR="/nowhere"),
          "locale C": dict(LC_ALL="C"), "locale C, and no UTF-8 in its place": dict(
              LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")}


@pytest.mark.full
@pytest.mark.parametrize("place", PLACES)
def test_an_image_has_its_class_in_a_narrow_place(tmp_path, content, usual, place):
    (tmp_path/"a.fits.gz").write_bytes(gzip.compress(content))
    assert read_row(classify(tmp_path, "a.fits.gz", "--json", **PLACES[place])) == usual
    done = classify(tmp_path, "a.fits.gz", "--out", "mine.csv", **PLACES[place])
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr.decode()[-2000:]
    assert (tmp_path/"mine.csv").stat().st_mode & 0o777 == (0o600 if place == "umask 077" else 0o644)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.fits.gz", "mine.csv"]


def test_networks_are_trained_in_2_gib_of_address_space(smoke_run, tmp_path):
    folder = forget_later(shutil.copytree(smoke_run, tmp_path/"copy", symlinks=True))
    run = [sys.executable, "-c", CODE, "run", "smoke", "--cores", "2"]
    done = subprocess.run(run, cwd=folder, env=os.environ | {"PYTHONPATH": str(folder)}, preexec_fn=limit(AS=2*GIB),
                          capture_output=True, timeout=1800)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert read_numbers(folder) == read_numbers(smoke_run)


@pytest.mark.parametrize("asked", ["classify a.fits", "run smoke"])
def test_too_little_address_space_is_told_with_the_way_out(tmp_path, content, asked):
    (tmp_path/"a.fits").write_bytes(content)
    done = subprocess.run([sys.executable, "-c", CODE, *asked.split()], cwd=tmp_path, capture_output=True, timeout=600,
                          env=os.environ | {"PYTHONPATH": str(ROOT)}, preexec_fn=limit(AS=GIB//2))
    (said,) = done.stderr.decode().splitlines()
    assert done.returncode == 1 and "limited to 0.50 GiB" in said and "ulimit -v unlimited" in said, said


@pytest.mark.full
@pytest.mark.parametrize("environment", [{}, dict(LC_ALL="C")])
def test_names_may_have_spaces_and_letters_of_any_alphabet(tmp_path, content, usual, environment):
    (folder := tmp_path/"Größe & 3C 31 'ü' 銀河").mkdir()
    (folder/"bild ü.fits").write_bytes(content)
    assert read_row(classify(folder, "bild ü.fits", "--json", **environment)) == usual
    done = classify(folder, "bild ü.fits", "--out", "mein ü.fits", **environment)
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr.decode()[-2000:]
    assert sorted(path.name for path in folder.iterdir()) == ["bild ü.fits", "mein ü.fits"]


@pytest.mark.full
def test_a_name_that_a_locale_cannot_hold_is_told(tmp_path, content):
    (tmp_path/"bild ü.fits").write_bytes(content)
    done = classify(tmp_path, "bild ü.fits", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    said = done.stderr.decode()
    assert done.returncode == 1 and "Traceback" not in said and "set PYTHONUTF8=1" in said and "bild" in said, said


def test_no_folder_for_temporary_files_is_told(tmp_path, content, monkeypatch):
    (path := tmp_path/"a.fits.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path/"nowhere"))
    with pytest.raises(ConfigError, match="no folder for temporary files: .*nowhere.*: set TMPDIR"):
        _read_any(path, "FIRST")


def test_a_clock_that_was_set_back_makes_nobody_wait_or_ask_again(case, monkeypatch):
    fetcher, wanted = case.open_fetcher(max_wait_s=0.2), case.want(case.server.answer("/a", say(b"whole")))
    case.get(fetcher, wanted, b"whole")
    fetcher.hosts.postpone(case.server.host, 0.1)
    now, past = time.time, 3e8  # Nearly ten years
    monkeypatch.setattr(time, "time", lambda: now() - past)
    class Past(provenance.datetime):
        "A clock of some years ago."
        @classmethod
        def now(cls, tz=None): return cls.fromtimestamp(now() - past, tz)
    monkeypatch.setattr(provenance, "datetime", Past)
    case.get(fetcher, replace(wanted, max_age_s=3600), b"whole")
    assert case.server.hits("/a") == 1
    assert fetcher.hosts.reserve_start(case.server.host) < 10
    case.get(fetcher, case.want(case.server.answer("/b", say(b"new"))), b"new")
