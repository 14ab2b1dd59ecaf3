"The command line: its help, how it ends, and a doctor who names what is wrong."
import json
import os
import re
import shutil
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from threading import Thread
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from conftest import ROOT, copy_project

from radiogal import __version__, doctor
from radiogal.cli import _GROUPS, commands, main


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
    (["notebook", "03_surveys", "smoke", "--executed", "a", "--out-dir", "b", "--parameters", "{"], 2, "not JSON"),
    (["classify", "--run", "smoke"], 2, "--task, --survey, --positions, --out")])
def test_a_command_that_cannot_be_done_ends_in_one_line(capfd, asked, status, told):
    assert main(asked) == status
    said = capfd.readouterr().err
    assert told in said.splitlines()[-1] and "Traceback" not in said


def test_values_after_one_name_are_all_read_as_before(monkeypatch):
    seen = []
    monkeypatch.setattr("radiogal.provenance.run_notebook", lambda *given: seen.append(given))
    named = ("--executed", "a.ipynb", "--out-dir", "out", "--parameters", '{"n": 1}')
    said = ask("notebook", "03_surveys", "smoke", *named, "--inputs", "a", "b", "--outputs", "c", "--seed", "3")
    assert said.exit_code == 0, said.output
    notebook, run, parameters, *_, inputs, outputs, seed = seen[0]
    assert (notebook, run, parameters, seed) == ("03_surveys", "smoke", dict(n=1), 3)
    assert [path.name for path in inputs] == ["a", "b"] and [path.name for path in outputs] == ["c"]
    assert ask("notebook", "03_surveys", "smoke", *named, "--inputs", "--outputs").exit_code == 0
    assert seen[1][-3:] == ([], [], None)


def test_runs_are_completed(monkeypatch):
    monkeypatch.setenv("COMP_WORDS", "radiogal run sm"); monkeypatch.setenv("COMP_CWORD", "2")
    assert ask(prog_name="radiogal", env=dict(_RADIOGAL_COMPLETE="bash_complete")).output == "plain,smoke\n"


@pytest.fixture
def clone(tmp_path, monkeypatch):
    "A small clone in which nothing is wrong, on a machine in which nothing is wrong, off the network."
    folder = copy_project(tmp_path)
    shutil.rmtree(folder/"nbs"); (folder/"nbs").mkdir()
    shutil.copy(ROOT/"nbs"/"03_surveys.ipynb", folder/"nbs")
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
    "threads that are no number": ("OMP_NUM_THREADS = 'many'", "unset OMP_NUM_THREADS", lambda folder, patch:
        patch.setenv("OMP_NUM_THREADS", "many")),
    "a mirror that is not there": ("is not a folder", "unset RADIOGAL_MIRROR", lambda folder, patch: patch.setenv(
        "RADIOGAL_MIRROR", str(folder/"nowhere"))),
    "an empty mirror": ("is empty", "unset RADIOGAL_MIRROR", make_mirror),
    "a mirror of other files": ("has none of the", "unset RADIOGAL_MIRROR", lambda folder, patch: make_mirror(
        folder, patch, "a.fits")),
    "a module out of step": ("03_surveys.ipynb and its module", "make export", lambda folder, patch: open(
        folder/"radiogal"/"surveys.py", "a").write("x = 1\n")),
    "a notebook with run numbers": ("not clean: 03_surveys.ipynb", "nbdev_clean", lambda folder, patch: edit_notebook(
        folder/"nbs"/"03_surveys.ipynb", lambda cells: cells[0].update(execution_count=7))),
    "a notebook after a conflict": ("not clean: 03_surveys.ipynb", "git checkout", lambda folder, patch: (
        folder/"nbs"/"03_surveys.ipynb").write_text("<<<<<<< HEAD\n")),
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
    "a clock in the past": ("before radiogal was installed", "set the clock", lambda folder, patch: os.utime(
        folder/"radiogal"/"__init__.py", (time.time() + 10**7,)*2))}


def test_the_doctor_finds_nothing_where_nothing_is_wrong(clone):
    said = ask("doctor")
    assert said.exit_code == 0 and "No problem was found" in said.output, said.output


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
