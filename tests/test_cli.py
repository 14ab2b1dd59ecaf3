"The command line: its help, how it ends, and a doctor who names what is wrong."
import errno
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates.name_resolve import sesame_url
from astropy.io import fits
from astropy.io.votable import parse
from astropy.table import Table
from click.testing import CliRunner
from conftest import ROOT, copy_project
from faulty import Service, say, serve
from pyarrow.parquet import read_schema

from radiogal import __version__, answers, doctor, pretrained, scraping
from radiogal.cli import _GROUPS, _advise, _tell_prepared, _tell_rows, commands, main
from radiogal.config import ConfigError, read_config
from radiogal.cutouts import read_cutout
from radiogal.fetch import Limits
from radiogal.positions import write_table
from radiogal.pretrained import list_models
from radiogal.surveys import LIVE_SERVICES


def ask(*arguments, **more):
    "What the command said, and its exit code, in this process."
    return CliRunner().invoke(commands, [str(each) for each in arguments], **more)


def test_help_shows_every_command_with_an_example():
    said = ask("--help").output
    assert set(sum(_GROUPS.values(), ())) == set(commands.commands)
    for name, command in commands.commands.items(): assert f"\n  {name} " in said and command.examples[0] in said
    assert all(f"\n{heading}:" in said for heading in (*_GROUPS, "Shell completion"))


@pytest.mark.parametrize("name", sorted(commands.commands))
def test_help_of_a_command_has_examples_and_exit_codes(name):
    said = ask(name, "--help").output
    assert "\nExamples:\n  radiogal " in said and "\nExit codes:\n  0  " in said and '[default: ""]' not in said
    known = {flag for each in commands.commands[name].params for flag in each.opts} | {"--help", "--version"}
    for example in commands.commands[name].examples:
        words = example.split("#")[0].split()
        assert words[:2] == ["radiogal", name] and {word for word in words if word.startswith("--")} <= known


def test_help_and_version_need_nothing_that_is_slow():
    code = ("import sys; from radiogal.cli import main; status = main(sys.argv[1:])\n"
            "print(status, [m for m in ('numpy', 'pydantic', 'astropy', 'requests') if m in sys.modules])")
    for asked in (["--help"], ["classify", "--help"], ["--version"]):
        said = subprocess.run([sys.executable, "-c", code, *asked], capture_output=True, text=True, check=True).stdout
        assert said.splitlines()[-1] == "0 []"
    assert f"radiogal {__version__}" in said


@pytest.mark.parametrize("asked, status, told", [
    (["nix"], 2, "No such command 'nix'"), (["run"], 2, "Missing argument 'RUN'"),
    (["run", "smoke", "--seed", "x"], 2, "'x' is not a valid integer"),
    (["run", "no-such"], 1, "radiogal: no settings file"), (["figures", "live"], 1, "make run-all RUN=live first"),
    (["notebook", "04_surveys", "smoke", "--executed", "a", "--out-dir", "b", "--parameters", "{"], 2, "not JSON"),
    (["classify", "--run", "smoke"], 2, "--survey, --task, --positions, --out")])
def test_a_command_that_cannot_be_done_ends_in_one_line(capfd, asked, status, told):
    assert main(asked) == status
    said = capfd.readouterr().err
    assert told in said.splitlines()[-1] and "Traceback" not in said


def test_values_after_one_name_are_all_read_as_before(monkeypatch):
    seen = []
    monkeypatch.setattr("radiogal.provenance.run_notebook", lambda *given: seen.append(given))
    named = ("--executed", "a.ipynb", "--out-dir", "out", "--parameters", '{"n": 1}')
    said = ask("notebook", "04_surveys", "smoke", *named, "--inputs", "a", "b", "--outputs", "c", "--seed", "3")
    assert said.exit_code == 0, said.output
    notebook, run, parameters, *_, inputs, outputs, seed = seen[0]
    assert (notebook, run, parameters, seed) == ("04_surveys", "smoke", dict(n=1), 3)
    assert [path.name for path in inputs] == ["a", "b"] and [path.name for path in outputs] == ["c"]
    assert ask("notebook", "04_surveys", "smoke", *named, "--inputs", "--outputs").exit_code == 0
    assert seen[1][-3:] == ([], [], None)


def test_runs_are_completed(monkeypatch):
    monkeypatch.setenv("COMP_WORDS", "radiogal run sm"); monkeypatch.setenv("COMP_CWORD", "2")
    assert ask(prog_name="radiogal", env=dict(_RADIOGAL_COMPLETE="bash_complete")).output == "plain,smoke\n"


@pytest.mark.parametrize("words, said", [
    ("classify my.fits --model first-f", ["dir,first-f", "plain,first-fr"]),
    ("models nv", ["dir,nv", "plain,nvss-fr"]), ("cutout 3C31 --survey vl", ["file,vl", "plain,VLASS"]),
    ("finetune a.csv --survey NV", ["file,NV", "plain,NVSS"])])
def test_models_and_surveys_are_completed(monkeypatch, words, said):
    monkeypatch.setenv("COMP_WORDS", f"radiogal {words}"); monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
    assert ask(prog_name="radiogal", env=dict(_RADIOGAL_COMPLETE="bash_complete")).output.splitlines() == said


@pytest.fixture
def clone(tmp_path, monkeypatch):
    "A small clone in which nothing is wrong, on a machine in which nothing is wrong, off the network."
    folder = copy_project(tmp_path)
    shutil.rmtree(folder/"nbs"); (folder/"nbs").mkdir()
    shutil.copy(ROOT/"nbs"/"04_surveys.ipynb", folder/"nbs")
    names = ("numpy", "click")
    (folder/"requirements.lock").write_text("".join(f"{each}=={metadata.version(each)} \\\n    --hash=sha256:0\n"
                                                    for each in names))
    monkeypatch.chdir(folder)
    for name in (*doctor._THREADS, "RADIOGAL_MIRROR", "RADIOGAL_HOME"): monkeypatch.delenv(name, raising=False)
    (folder/"home").mkdir(); monkeypatch.setenv("HOME", str(folder/"home"))
    monkeypatch.setattr(doctor, "radiogal", SimpleNamespace(__file__=str(folder/"radiogal"/"__init__.py"),
                                                            __version__=__version__))
    room, memory = shutil.disk_usage("/")._replace(free=10**12), SimpleNamespace(available=10**11)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: room)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    monkeypatch.setattr(doctor, "_check_gpu", lambda: [doctor.Finding("GPU", "none")])
    monkeypatch.setattr(doctor, "_find_silence", lambda url: "ConnectionError")
    return folder


def edit_notebook(path, change):
    "Change the cells of a notebook."
    notebook = json.loads(path.read_text())
    change([cell for cell in notebook["cells"] if cell["cell_type"] == "code"])
    path.write_text(json.dumps(notebook))


def block(path):
    "A file where a folder should be: not even root can write into it."
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")


def make_mirror(folder, monkeypatch, *names):
    "A mirror with some files."
    (folder/"mirror").mkdir()
    for name in names: (folder/"mirror"/name).write_text("")
    monkeypatch.setenv("RADIOGAL_MIRROR", str(folder/"mirror"))


def lose_lock(folder, line):
    with open(folder/"requirements.lock", "a") as f: f.write(line)


def damage_network(folder, monkeypatch):
    "Networks of which one file is not what was listed."
    shutil.copytree(ROOT/"radiogal"/"networks", folder/"networks")
    with open(next((folder/"networks").glob("*.onnx")), "ab") as f: f.write(b"x")
    monkeypatch.setattr("radiogal.pretrained._PACKED", folder/"networks")
    pretrained._open_once.cache_clear()


INDUCED = {
    "an old Python": ("3.9 in", "make PYTHON=", lambda folder, patch: patch.setattr(
        doctor.sys, "version_info", (3, 9, 1))),
    "a missing package": ("no-such-package", "installs what the lock says", lambda folder, patch: lose_lock(
        folder, "no-such-package==1.0\n")),
    "a package of another version": ("numpy .*not ==0.1", "installs what the lock says", lambda folder, patch: (
        folder/"requirements.lock").write_text("numpy==0.1\n")),
    "no lock": ("requirements.lock is not there", "mend this first", lambda folder, patch: (
        folder/"requirements.lock").unlink()),
    "a full disk": ("0.1 GB free", "free 4.9 GB", lambda folder, patch: patch.setattr(
        doctor.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**8))),
    "little memory": ("0.5 GB free", "--cores 1", lambda folder, patch: patch.setattr(
        "psutil.virtual_memory", lambda: SimpleNamespace(available=5*10**8))),
    "little address space": ("limited to 0.50 GiB", "ulimit -v unlimited", lambda folder, patch: patch.setattr(
        doctor, "read_address_limit", lambda: 0.5)),
    "threads that are no number": ("OMP_NUM_THREADS = 'many'", "unset OMP_NUM_THREADS", lambda folder, patch:
        patch.setenv("OMP_NUM_THREADS", "many")),
    "a notebook of another kind": ("not clean: 04_surveys.ipynb", "git checkout", lambda folder, patch: (
        folder/"nbs"/"04_surveys.ipynb").write_text('{"cells": [{"cell_type": "code"}]}')),
    "a look that fails": ("KeyError: 'HOME'", "mend this first", lambda folder, patch: patch.setattr(
        doctor, "_check_home", lambda: {}["HOME"])),
    "a mirror that is not there": ("is not a folder", "unset RADIOGAL_MIRROR", lambda folder, patch: patch.setenv(
        "RADIOGAL_MIRROR", str(folder/"nowhere"))),
    "an empty mirror": ("is empty", "unset RADIOGAL_MIRROR", make_mirror),
    "a mirror of other files": ("has none of the", "unset RADIOGAL_MIRROR", lambda folder, patch: make_mirror(
        folder, patch, "a.fits")),
    "a module out of step": ("04_surveys.ipynb and its module", "make export", lambda folder, patch: open(
        folder/"radiogal"/"surveys.py", "a").write("x = 1\n")),
    "a notebook with run numbers": ("not clean: 04_surveys.ipynb", "nbdev_clean", lambda folder, patch: edit_notebook(
        folder/"nbs"/"04_surveys.ipynb", lambda cells: cells[0].update(execution_count=7))),
    "a notebook after a conflict": ("not clean: 04_surveys.ipynb", "git checkout", lambda folder, patch: (
        folder/"nbs"/"04_surveys.ipynb").write_text("<<<<<<< HEAD\n")),
    "another library": ("imported from", "unset PYTHONPATH", lambda folder, patch: patch.setattr(
        doctor.radiogal, "__file__", str(ROOT/"radiogal"/"__init__.py"))),
    "results that cannot be written": ("results: Not a directory", "folder that you may write to", lambda folder, patch:
        block(folder/"results")),
    "raw data on a file": ("raw: Not a directory", "folder that you may write to", lambda folder, patch: block(
        folder/"data"/"raw")),
    "no place for temporary files": ("temporary files", "set TMPDIR", lambda folder, patch: patch.setenv(
        "TMPDIR", str(folder/"nowhere"))),
    "no home": ("HOME is not set", "export HOME", lambda folder, patch: patch.delenv("HOME")),
    "a home that is not there": ("is not a folder", "mkdir -p", lambda folder, patch: patch.setenv(
        "HOME", str(folder/"gone"))),
    "a lost network": ("models.json is not there", "force-reinstall", lambda folder, patch: patch.setattr(
        "radiogal.pretrained._PACKED", folder/"nowhere")),
    "a damaged network": ("has SHA-256", "force-reinstall", lambda folder, patch: damage_network(folder, patch)),
    "a clock in the past": ("before radiogal was installed", "set the clock", lambda folder, patch: os.utime(
        folder/"radiogal"/"__init__.py", (time.time() + 10**7,)*2))}


def test_the_doctor_finds_nothing_where_nothing_is_wrong(clone):
    said = ask("doctor")
    assert said.exit_code == 0 and "No problem was found" in said.output, said.output


def test_the_doctor_asks_a_user_without_a_clone_for_less(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**9))
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2*10**9))
    for check in (doctor._check_disk, doctor._check_memory):
        assert [bool(next(check(root)).remedy) for root in (None, ROOT)] == [False, True]
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert [each.remedy for each in doctor._check_gpu()] == [""]


def test_threads_of_nested_levels_are_numbers(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2,1"); monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: {0, 1})
    assert not any(each.remedy for each in doctor._check_threads() if "OMP" in each.told)


@pytest.mark.parametrize("what", INDUCED)
def test_the_doctor_names_a_problem_and_its_remedy(clone, monkeypatch, what):
    told, remedy, induce = INDUCED[what]
    induce(clone, monkeypatch)
    found = [each for each in doctor.examine() if each.remedy]
    assert len(found) == 1 and remedy in found[0].remedy, found
    assert re.search(told, found[0].told), found
    assert ask("doctor").exit_code == 1


def test_the_doctor_names_an_archive_that_does_not_answer():
    down = "http://127.0.0.1:9/form"
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.handle_request, daemon=True).start()
        (found,) = doctor._check_archives(SimpleNamespace(up=f"http://127.0.0.1:{server.server_port}/form", down=down))
    assert "no answer from 127.0.0.1:9" in found.told and found.remedy
    (found,) = doctor._check_archives(SimpleNamespace(down=down))
    assert not found.remedy and "none can be reached" in found.told


SAMPLE = ROOT/"radiogal"/"samples"/"FIRST"/"J135214.56+123401.7.fits"
HERE = "13 52 14.56 +12 34 01.7"


@pytest.fixture
def place(tmp_path, monkeypatch):
    "A folder to work in, outside a clone, with an image, a folder of images as surveys name them, and other things."
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RADIOGAL_HOME", raising=False)
    (tmp_path/"images"/"FIRST").mkdir(parents=True)
    for copy in ("mine.fits", "images/FIRST/J1352.fits"): shutil.copy(SAMPLE, copy)
    Table(dict(flux=[1., 2.])).write("measures.fits")
    (tmp_path/"broken.fits").write_text("not FITS")
    (tmp_path/"two.csv").write_text(f"id;RAJ2000;DEJ2000\nsource;{HERE[:11]};{HERE[12:]}\nfar;1 0 0;-80 0 0\n")
    return tmp_path


def read_rows(said):
    "The rows of an answer in JSON."
    return json.loads(said.stdout)["rows"]


def test_an_image_is_classified_with_no_option(place):
    said = ask("classify", "mine.fits")
    assert said.exit_code == 0 and said.stderr.splitlines()[-1] == "1 of 1 classified", said.output
    head, _, row = said.stdout.splitlines()
    assert head.split()[:8] == ["name", "ra", "dec", "class", "FRI", "FRII", "Compact", "Bent"] and "FRI" in row
    assert "…" in row and said.stderr.splitlines()[0].startswith("Notes that end in … are whole in --json")
    assert said.stderr.count("\n") == 2 and "\x1b" not in said.output and "%|" not in said.output


WITHOUT_DELAY = """
import sys, tqdm
from radiogal.cli import main
shown = tqdm.tqdm
tqdm.tqdm = lambda *given, **named: shown(*given, **named | dict(delay=0))
sys.exit(main(sys.argv[1:]))
"""


def read_to_end(terminal, timeout_s=600):
    "All that a process writes to a terminal, of which it has the other end; it may close it, or be silent."
    said = b""
    with suppress(OSError):  # when the other end is closed
        while select.select([terminal], [], [], timeout_s)[0] and (part := os.read(terminal, 10**5)): said += part
    return said


def test_a_bar_is_shown_on_a_terminal(place, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)  # commands in this process set it
    terminal, end = os.openpty()
    termios.tcsetwinsize(end, (24, 100))  # a new one has no columns
    with subprocess.Popen([sys.executable, "-c", WITHOUT_DELAY, "classify", "mine.fits"], stdout=subprocess.PIPE,
                          stderr=end, env=os.environ | dict(PYTHONPATH=str(ROOT))) as process:
        os.close(end)
        said = read_to_end(terminal)
        shown, _ = process.communicate(timeout=600)
    os.close(terminal)
    assert process.returncode == 0 and b"images: 100%" in said and b"1 of 1 classified" in said, said
    assert b"%|" not in shown


def test_a_model_of_another_version_or_hash_ends_in_one_with_the_way_out(place, monkeypatch):
    shutil.copytree(ROOT/"radiogal"/"networks", "mine")
    (place/"mine"/"models.json").write_text('{"format": 7}')
    said = ask("classify", "mine.fits", "--model", "mine")
    assert said.exit_code == 1 and said.stderr.count("\n") == 1
    assert "models of format 7, this version of radiogal reads 1: write it again with radiogal" in said.stderr
    damage_network(place, monkeypatch)
    for network in list_models()["name"]:
        with open(place/"networks"/f"{network}.md", "ab") as f: f.write(b"x")
    said = ask("classify", "mine.fits")
    assert said.exit_code == 1 and said.stderr.count("\n") == 1
    assert "has SHA-256" in said.stderr and said.stderr.endswith("install radiogal again\n")


def test_some_that_cannot_be_read_are_said_and_the_others_classified(place):
    said = ask("classify", "mine.fits", "nowhere.fits", "broken.fits", "measures.fits", "--json")
    assert said.exit_code == 3 and said.stderr.splitlines()[-1].startswith("1 of 4 classified: 3 rejected (")
    rows = read_rows(said)
    assert [row["state"] for row in rows] == ["ok", "reject", "reject", "reject"]
    assert rows[1]["reason"] == "there is no such file" and all(row["reason"] for row in rows[1:])
    assert rows[0]["p_FRI"] > 0 and rows[1]["p_FRI"] is None


def test_nothing_of_nothing_is_no_success(capsys):
    several = ([], ["ok"], ["reject"], ["ok", "reject"])
    assert [_tell_rows(states, [""]*len(states)) for states in several] == [1, 0, 1, 3]
    assert capsys.readouterr().err.splitlines()[0] == "0 of 0 classified"


def test_none_classified_is_a_failure_that_counts_its_reasons(place):
    said = ask("classify", "a.fits", "b.fits")
    assert said.exit_code == 1
    assert said.stderr.splitlines()[-1] == "0 of 2 classified: 2 rejected (there is no such file × 2)"


@pytest.mark.parametrize("targets, more, n", [
    ([HERE], {}, 1), (["two.csv"], {}, 2), (["-"], dict(input=f"name,ra,dec\nx,{HERE[:11]},{HERE[12:]}\n"), 1),
    (["images"], {}, 1), (["mine.fits", "two.csv"], {}, 3)])
def test_positions_tables_folders_and_standard_input(place, targets, more, n):
    said = ask("classify", *targets, "--images", "images", "--min-covered", "0.2", "--json", **more)
    rows = read_rows(said)
    assert len(rows) == n and rows[0]["class"] and said.exit_code == (3 if "two.csv" in targets else 0), said.stderr
    if "two.csv" in targets: assert [row["name"] for row in rows][-2:] == ["source", "far"] and rows[-1]["reason"]


def test_an_image_that_is_too_small_is_refused_in_arcminutes_with_the_way_out(place):
    said = ask("classify", HERE, "--images", "images")
    last = said.stderr.splitlines()[-1]
    assert said.exit_code == 1 and "the image spans 4.5′ × 4.5′ of 9.0′ × 9.0′; 0.250 of the cutout has data" in last
    assert last.endswith("(min_covered) × 1): lower --min-covered, or --model first-fr for fields of 4.5′")
    assert "the image spans 4.5′ × 4.5′ of 9.0′ × 9.0′" in said.stdout
    assert ask("classify", HERE, "--images", "images", "--model", "first-fr").exit_code == 0


def test_no_position_at_all_is_told(place):
    with pytest.raises(ConfigError, match="nothing to classify: there is no position"):
        answers.make_order(answers.Question(), answers.read_asked([]), place/"out", 1000, ())


def test_a_source_that_the_registry_has_under_another_name_is_looked_up_by_position(place, monkeypatch):
    asked = []
    def fetch(targets, *_):
        asked.extend(targets["name"])
        raise ValueError("far enough")
    monkeypatch.setattr(answers, "fetch_targets", fetch)
    known = answers.select_files("frdeep", "FIRST")[0].object
    rows = pd.DataFrame([answers._make_row(name, 10., 20.) for name in ("3C 31", known, "00h40m00.0s +20d00m00.0s")])
    with pytest.raises(ConfigError, match="far enough"):
        answers.find_cutouts(rows, "FIRST", 2.5*u.arcmin, place/"cut", "registry")
    assert asked == ["J004000.000+200000.000", known, "J004000.000+200000.000 (2)"]


@pytest.mark.parametrize("model, told", [
    ("first-4class", "lower --min-covered, or --model first-fr for fields of 4.5′"), ("", "lower --min-covered"),
    ("first-fr", "lower --min-covered"), ("nvss-fr", "lower --min-covered")])
def test_smaller_fields_are_advised_where_there_are_some(model, told):
    assert _advise(["", "0.250 of the cutout has data, 0.9 is the least allowed (min_covered)"], model) == told
    assert _advise(["no FIRST image here"], model) == ""


def test_what_has_no_image_is_told_of_the_sets_asked_for(place, capsys, monkeypatch):
    (place/"settings.ini").write_text("lib_name = radiogal")
    for name, rows in dict(FIRST=["a", "b"], NVSS=["c"], griese=[]).items():
        write_table(Table(dict(name=rows), dtype=[str]), place/"results"/"x"/"preparation"/name/"quarantine.ecsv")
    assert _tell_prepared("x", ["FIRST", "griese"], 0) == 0
    assert capsys.readouterr().err == ("2 sources have no usable FIRST image; reasons: "
                                       "results/x/preparation/FIRST/quarantine.ecsv\n")
    _tell_prepared("x", [], 0)
    assert "1 source has no usable NVSS image" in capsys.readouterr().err


def test_columns_may_be_named(place):
    (place/"odd.csv").write_text("who,a,d\nx,208.0607,12.5671\n")
    named = ("--images", "images", "--min-covered", "0.2", "--json")
    assert ask("classify", "odd.csv", *named).exit_code == 1
    said = ask("classify", "odd.csv", "--ra", "a", "--dec", "d", "--name", "who", *named)
    (row,) = read_rows(said)
    assert said.exit_code == 0 and row["name"] == "x" and "% of the field has data" in row["flags"]


class Sesame(BaseHTTPRequestHandler):
    "Knows one name."
    def do_GET(self):
        self.send_response(200); self.end_headers()
        known = b"%J 208.060667 +12.567139 = 13:52:14.56 +12:34:01.7" if "MySource" in self.path else b"#!nothing"
        self.wfile.write(b"# ?\n" + known + b"\n")

    def log_message(self, *_): pass


def test_a_name_is_resolved_or_nobody_knows_it_or_nobody_answers(place):
    named = ("--images", "images", "--min-covered", "0.2", "--json")
    with ThreadingHTTPServer(("127.0.0.1", 0), Sesame) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with sesame_url.set([f"http://127.0.0.1:{server.server_port}/"]):
            (row,), (odd,) = (read_rows(ask("classify", name, *named)) for name in ("MySource 1", "NoSource 1"))
        server.shutdown()
    assert row["name"] == "MySource 1" and row["class"] and abs(row["ra"] - 208.060667) < 1e-6
    assert "nobody resolves the name 'NoSource 1'" in odd["reason"] and "give a position" in odd["reason"]
    with sesame_url.set(["http://127.0.0.1:9/"]): (row,) = read_rows(ask("classify", "MySource 2", *named))
    assert "does not answer; offline, give a position" in row["reason"]
    with sesame_url.set(["http://127.0.0.1:9/"]): said = ask("classify", "MySource 2", *named).stderr
    assert "such as 08h12m40.8s+48d46m02s × 1)" in said.splitlines()[-1]


@pytest.mark.parametrize("target, told", [
    ("08 12 40.8 +99 46 02", "not on the sky"), ("data/mine.tbl", "there is no such file"), ("mine.tbl", "there is no"),
    ("name,ra,dec\nx,north,1\n", "ra is not an angle")])
def test_no_archive_is_asked_for_what_is_no_name(place, monkeypatch, target, told):
    monkeypatch.setattr(answers, "resolve_name", lambda name: pytest.fail(f"asked for {name}"))
    (row,) = answers.read_asked([target]).to_dict("records")
    assert row["state"] == "reject" and told in row["reason"]


def test_rows_that_are_no_position_are_in_the_tables_order(place):
    (place/"odd.csv").write_text("name,ra,dec\na,1,2\nb,north,3\nc,3,4\n")
    assert list(answers.read_asked(["odd.csv", HERE]).name[:3]) == ["a", "row 2 of odd.csv", "c"]


def test_names_are_made_unique():
    assert answers._make_unique(["a", "a", "a (2)", "b"]) == ["a", "a (2)", "a (2) (2)", "b"]
    assert answers._make_unique(["a", "a (2)", "a"]) == ["a", "a (2)", "a (3)"]


def test_a_page_that_cannot_be_written_loses_no_answer(place):
    said = ask("classify", "mine.fits", "--out", "out.csv", "--page", "mine.fits/page.html", "--json")
    assert said.exit_code == 1 and read_rows(said)[0]["class"] and len(Table.read("out.csv")) == 1
    assert "Traceback" not in said.stderr and "page.html" in said.stderr.splitlines()[-1]


def test_a_full_disk_is_told_in_one_line(place, monkeypatch):
    def fill(*_): raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(answers, "write_answers", fill)
    said = ask("classify", "mine.fits", "--out", "a.csv")
    assert said.exit_code == 1 and said.stderr == "radiogal: No space left on device\n"


@pytest.mark.parametrize("suffix, form", [(".fits", "fits"), (".vot", "votable"), (".csv", "ascii.csv"),
                                          (".ecsv", "ascii.ecsv"), (".parquet", ""), (".json", ""), (".reg", "")])
def test_answers_go_to_a_file_of_the_kind_that_its_name_says(place, suffix, form):
    path = place/f"out{suffix}"
    assert ask("classify", "mine.fits", "nowhere.fits", "--out", path).exit_code == 3
    if suffix == ".reg":
        _, shown = path.read_text().split("icrs\n")
        assert shown.startswith("point(208.06") and "mine" in shown and shown.count("\n") == 1
    elif form:
        table = Table.read(path, format=form)
        assert len(table) == 2 and str(table["class"][0]) in ("FRI", "FRII", "Compact", "Bent")
        if suffix == ".fits": assert table.meta["MODEL"] == "first-4class" and str(table["ra"].unit) == "deg"
        if suffix == ".vot": assert parse(path).get_first_table().params[0].value == "first-4class"
    elif suffix == ".json": assert len(json.loads(path.read_text())["rows"]) == 2
    else: assert len(pd.read_parquet(path)) == 2 and read_schema(path).metadata[b"model"] == b"first-4class"


def test_a_prior_changes_probabilities_by_bayes_rule(place):
    plain, even, rare = (read_rows(ask("classify", "mine.fits", "--json", *more))[0] for more in (
        (), ("--prior", "balanced"), ("--prior", "FRI=0.01,FRII=0.33,Compact=0.33,Bent=0.33")))
    assert even["p_FRII"] < plain["p_FRII"] and rare["p_FRI"] < even["p_FRI"]
    assert sum(rare[f"p_{name}"] for name in ("FRI", "FRII", "Compact", "Bent")) == pytest.approx(1)
    odds = (rare["p_FRI"]/rare["p_FRII"])/(even["p_FRI"]/even["p_FRII"])
    assert odds == pytest.approx(0.01/0.33)
    for wrong in ("odd", "FRI=1", "FRI=1,FRII=1,Compact=1,Bent=1,odd", "FRI=1,FRII=1,Compact=1,Bent=1,FRI=2",
                  "FRI=-1,FRII=1,Compact=1,Bent=1", "FRI=x,FRII=1,Compact=1,Bent=1"):
        said = ask("classify", "mine.fits", "--prior", wrong)
        assert said.exit_code == 1 and f"--prior {wrong}" in said.stderr, said.stderr


@pytest.mark.parametrize("model", list_models()["name"])
def test_a_files_header_says_the_prior_and_that_calibration_was_before_it(place, model):
    def read(*more):
        assert ask("classify", "mine.fits", "--model", model, "--out", "a.fits", *more).exit_code == 0
        return Table.read("a.fits")
    plain, even, same = read(), read("--prior", "balanced"), read("--prior", "training")
    assert (plain.meta["PRIOR"], plain.meta["CALIBRAT"]) == ("as the model answers", "yes")
    assert (even.meta["PRIOR"], even.meta["CALIBRAT"]) == ("balanced", "yes, before the prior")
    parts = answers._TRAINED[pretrained.load_model(model).ensemble.task]
    odds = (same["p_FRI"]/same["p_FRII"])/(even["p_FRI"]/even["p_FRII"])
    assert odds[0] == pytest.approx(parts["FRI"]/parts["FRII"])
    assert fits.getheader("a.fits", 1)["TCOMM5"].endswith("by validation sources, then changed by the prior")


@pytest.mark.parametrize("task", answers._TRAINED)
def test_the_mix_of_the_training_is_the_kept_one(task):
    kept = (ROOT/"docs"/"results"/"benchmark"/"training"/task/"fields").glob("fold*/seed1/predictions.parquet")
    counts = pd.concat([pd.read_parquet(path) for path in kept]).label.value_counts().to_dict()
    assert counts == answers._TRAINED[task]
    settings = read_config(ROOT/"config"/"benchmark.toml")
    assert settings.training.class_weights == answers._WEIGHT_POWER


@pytest.mark.full
def test_a_catalogue_in_a_folder_is_made_by_workers_and_resumed(place):
    (place/"here.csv").write_text(f"name,ra,dec\nx,{HERE[:11]},{HERE[12:]}\ny,{HERE[:11]},{HERE[12:]}\n")
    asked = ("classify", "here.csv", "--images", "images", "--out", "folder", "--shard-size", "1")
    said = ask(*asked)
    assert "2 shards done here" in said.stderr and "0.9 is the least" in said.stderr.splitlines()[-1]
    assert said.exit_code == 1 and (place/"folder"/"quicklook.html").is_file()
    assert "0 shards done here" in ask(*asked).stderr
    assert "give --out a file" in ask("classify", "mine.fits", "--out", "other").stderr
    assert "--workers goes with --out FOLDER" in ask("classify", "here.csv", "--workers", "2").stderr


def test_rows_that_are_no_position_are_in_a_catalogue_with_their_reason(place):
    (place/"odd.csv").write_text("name,ra,dec\nb,north,3\nx,208.0607,12.5671\n")
    said = ask("classify", "odd.csv", "mine.fits", "--images", "images", "--out", "folder", "--shard-size", "1",
               "--min-covered", "0.2")
    first, *_, named, image, last = said.stderr.splitlines()
    assert said.exit_code == 3 and first == "3 shards done here", said.output
    assert named.startswith("row 1 of odd.csv: ra is not an angle") and image.startswith("mine.fits: an image: a")
    assert last.startswith("1 of 3 classified: 2 rejected (ra is not an angle")
    rows = pd.read_parquet(place/"folder"/"catalogue.parquet")
    assert list(rows.name) == ["row 1 of odd.csv", "x", "mine.fits"] and list(rows.state) == ["reject", "ok", "reject"]
    assert list(rows.n_trained) == [0, 4, 0] and list(rows.crowding) == [0, 0, 0] and rows.ra.isna().sum() == 2
    assert len(Table.read(place/"folder"/"catalogue.fits")) == 3
    said = ask("classify", "nowhere.csv", "--out", "other")
    assert said.exit_code == 1 and said.stderr == "radiogal: nowhere.csv: there is no such file\n"


@pytest.mark.parametrize("out, more, status", [((), (), 1), (("--out", "folder"), (), 1), ((), ("mine.fits",), 3)])
def test_an_archive_that_does_not_answer_is_said_and_counted(place, monkeypatch, out, more, status):
    monkeypatch.setattr(scraping, "Limits", lambda: Limits(tries=2, wait_s=0.01, max_wait_s=0.05))
    (place/"here.csv").write_text(f"name,ra,dec\nx,{HERE[:11]},{HERE[12:]}\n")
    with serve() as server:
        server.answers = Service(lambda path: say(status="503 Busy"))
        monkeypatch.setattr(scraping, "LIVE_SERVICES", replace(
            LIVE_SERVICES, first_cutout=f"http://{server.host}/", allowed_hosts=(server.host,),
            seconds_between_requests=0.))
        said = ask("classify", "here.csv", *more, *out)
    n = 1 + len(more)
    assert said.exit_code == status and len(server.requests) == 2, said.output
    told = f"{n - 1} of {n} classified: 1 without an answer (given up after 2 of 2 tries: HTTP 503"
    assert said.stderr.splitlines()[-1].startswith(told), said.stderr


@pytest.mark.parametrize("asked, status, told", [
    ([], 2, "nothing to classify"), (["mine.fits", "--model", "nix"], 1, "no model 'nix': there are first-4class"),
    (["mine.fits", "--out", "a.doc"], 1, "--out a.doc"), (["mine.fits", "--task", "x"], 2, "--task goes with --run"),
    (["mine.fits", "--network", "fields"], 2, "--network goes with --run"),
    (["mine.fits", "--shard-size", "5"], 2, "--shard-size goes with --out FOLDER"),
    (["mine.fits", "--keep", "cutouts"], 2, "--keep goes with --out FOLDER"),
    (["--run", "smoke", "--prior", "balanced"], 2, "with --run, --prior has no effect: leave it out"),
    ([HERE, "--images", "nowhere"], 1, "neither registry nor a folder"),
    ([HERE, "--survey", "NIX"], 1, "--survey NIX: all, FIRST")])
def test_a_question_that_cannot_be_asked(place, asked, status, told):
    said = ask("classify", *asked)
    assert said.exit_code == status and told in said.stderr and "Traceback" not in said.stderr, said.stderr


def test_models_are_listed_and_have_cards(place):
    said = ask("models").output
    assert "first-4class" in said and "FRI, FRII, Compact, Bent" in said
    assert "## Scores" in ask("models", "first-4class").output
    said = ask("models", "nix")
    assert said.exit_code == 1 and "there are first-4class" in said.stderr


def test_cutouts_are_files_or_a_figure(place):
    said = ask("cutout", "two.csv", "--images", "images", "--size", "3", "--out", "cuts", "--figure", "two.png")
    assert said.exit_code == 3 and said.stderr.splitlines()[-1].startswith("1 of 2 cut out: 1 not covered (")
    (path,) = said.stdout.split()
    assert read_cutout(path, "FIRST").shape == (100, 100) and (place/"two.png").read_bytes()[:4] == b"\x89PNG"
    assert ask("cutout", HERE, "--images", "images", "--size", "3", "--figure", "one.pdf").stdout == ""
    assert not (place/"cutouts").exists() and (place/"one.pdf").is_file()
    for asked, told in ((["mine.fits"], "an image, not a position"), ([HERE, "--survey", "NIX"], "--survey NIX: all, "),
                        ([], "nothing to cut out"), ([HERE, "--figure", "a.doc"], ".png, .pdf, .svg")):
        said = ask("cutout", *asked, "--images", "images")
        assert said.exit_code and told in said.stderr


@pytest.mark.parametrize("size", ["0", "-1", "nan", "inf", "0.001"])
def test_a_size_that_no_cutout_has_is_told(place, size):
    said = ask("cutout", HERE, "--images", "images", "--size", size)
    assert said.exit_code in (1, 2) and "size" in said.stderr and "Traceback" not in said.stderr, said.output


def test_a_survey_without_images_leaves_cutouts_of_the_others(place):
    said = ask("cutout", HERE, "--images", "images", "--survey", "all", "--size", "3", "--out", "cuts")
    assert said.exit_code == 3 and said.stdout.split() == [str(path) for path in Path("cuts").rglob("*.fits")]
    assert said.stderr.splitlines()[-1].startswith("1 of "), said.stderr
    assert ask("cutout", HERE, "--images", "images", "--survey", "NVSS", "--size", "3").exit_code == 1


def test_two_sources_of_one_name_have_a_panel_each(place):
    (place/"twice.csv").write_text(f"id,ra,dec\nx,{HERE[:11]},{HERE[12:]}\n")
    named = ("--images", "images", "--size", "3", "--out", "cuts")
    said = ask("cutout", "twice.csv", "twice.csv", *named)
    assert said.exit_code == 0 and len(set(said.stdout.split())) == 2
    said = ask("cutout", *[HERE]*101, *named, "--figure", "all.png")
    assert said.exit_code == 2 and "101 sources, at most 100 are drawn" in said.stderr


def test_a_page_shows_each_source_and_escapes_what_others_wrote(place):
    os.rename("mine.fits", place/"<b>x.fits")
    said = ask("classify", "<b>x.fits", "nowhere.fits", "--page", "page.html")
    page = (place/"page.html").read_text()
    assert said.exit_code == 3 and page.count("<tr data-") == 2 and page.count("<img ") == 1
    assert "&lt;b&gt;x" in page and "<b>x" not in page and "://" not in re.sub(r'href="[^"]+"', "", page)


def test_a_package_that_is_not_installed_is_said(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "radiogal.answers", None)
    said = ask("classify", "mine.fits")
    assert said.exit_code == 1 and isinstance(said.exception, ImportError)  # radiogal's own: a fault to report
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "tabulate", None)
    said = ask("models")
    assert said.exit_code == 1 and "tabulate is not installed: pip install 'radiogal[" in said.stderr


def test_little_data_may_be_allowed_in_a_catalogue(place):
    (place/"here.csv").write_text(f"name,ra,dec\nx,{HERE[:11]},{HERE[12:]}\n")
    said = ask("classify", "here.csv", "--images", "images", "--out", "folder", "--min-covered", "0.2")
    assert said.exit_code == 0 and said.stderr.splitlines()[-1] == "1 of 1 classified"
    assert len(pd.read_parquet(place/"folder"/"catalogue.parquet")) == 1


def test_a_process_that_outlives_a_command_does_not_hold_it_up():
    code = ("import sys; from subprocess import DEVNULL, Popen; from radiogal.cli import _sift_errors\n"
            "with _sift_errors(): print(Popen(['sleep', '600'], stdout=DEVNULL).pid, flush=True)\n"
            "sys.stderr.write('over')")
    done = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    started = int(done.stdout.readline())
    try: assert done.wait(300) == 0
    finally:
        os.kill(started, signal.SIGKILL)
        done.kill()
