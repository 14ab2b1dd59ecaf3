"A run that is watched: live lines on a terminal, none in a pipe; and what status says of every kind of run."
import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, nullcontext
from types import SimpleNamespace

import nbformat
import pytest
from click.testing import CliRunner
from conftest import ROOT, finish, forget_later, radiogal, wait_for

from radiogal.cli import commands
from radiogal.config import ConfigError, write_json
from radiogal.progress import StepProgress, describe_process, read_bar, read_progress
from radiogal.provenance import _execute_notebook
from radiogal.watching import check_kept, format_run, note_jobs, note_run, read_run

sys.path.insert(0, str(ROOT/"workflow"))
from snakemake_logger_plugin_radiogal import Progress

STEPS = ["densities", "steps/training/1of1", "report"]
LABELS = ["04_surveys", "22_modelling-1of1", "41_final_plots"]
CODE = dict(cell_type="code", source="1")
SIMPLE = "smoke: 1 of 3 notebooks done"


def record(results, step, label, seconds=10.):
    "The record that a step leaves."
    write_json(results/step/"provenance.json", dict(wall_s=seconds, peak_memory_mib=300,
                                                    outputs={f"results/{results.name}/notebooks/{label}.ipynb": ""}))


def log(results, label, text=""):
    "The log that a step leaves."
    (results/"logs").mkdir(exist_ok=True)
    (results/"logs"/f"{label}.log").write_text(text)


@pytest.fixture
def results(tmp_path):
    "A run of three steps of which one is done."
    folder = tmp_path/"results"/"smoke"
    record(folder, STEPS[0], LABELS[0])
    return folder


@contextmanager
def open_terminal():
    "A pseudo-terminal's stream, and what was written to it so far."
    master, slave = pty.openpty()
    said = []

    def listen():
        while True:
            try: said.append(os.read(master, 65536).decode())
            except OSError: return  # the other end is closed

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    with open(slave, "w") as stream: yield stream, lambda: "".join(said)
    listener.join(5)
    os.close(master)


def test_on_a_terminal_a_line_changes_in_place_for_each_notebook_that_runs(results):
    with note_run(results, STEPS, 2), open_terminal() as (stream, said):
        log(results, LABELS[1])
        screen = Progress(stream)
        screen.start(dict(training=1, report=1))
        screen.begin(1, LABELS[1], results/"logs"/f"{LABELS[1]}.log", "training")
        wait_for(lambda: f"{LABELS[1]}  starting" in said())
        with StepProgress(results/".progress"/f"{LABELS[1]}.json", 9) as step:
            step.hear_cell(CODE)
            step.write("\rfields:  60%|######    | 12/20 [00:12<00:08,  1.00s/epoch]")
            wait_for(lambda: re.search(rf"{LABELS[1]}  cell 1 of 9, fields: epoch 12 of 20  \d s +\d+ MiB", said()))
            assert "smoke: 0 of 2 notebooks done, 1 running, 1 to do" in said()
        record(results, STEPS[1], LABELS[1])
        screen.finish(1)
        wait_for(lambda: "smoke: 1 of 2 notebooks done" in said())
        screen.stop()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", said())
    assert re.search(rf"  {LABELS[1]} {{40,}} +\d s\n", plain), "the line of what is done stays above"
    assert said().rfind("\x1b[?25h") > said().rfind("\x1b[?25l"), "the cursor is to be seen again"


def test_a_step_that_was_killed_without_a_word_has_failed_while_the_rest_goes_on(results):
    with note_run(results, STEPS, 2):
        screen = Progress(io.StringIO())
        screen.start(dict(training=1, report=1))
        log(results, LABELS[1])
        screen.begin(1, LABELS[1], results/"logs"/f"{LABELS[1]}.log", "training")
        assert read_run(results).steps[-1].told == "starting"
        screen.fail(1)
        counts = "smoke: 0 of 2 notebooks done, 0 running, 1 failed, 1 to do"
        assert format_run(read_run(results))[-1].startswith(counts)
        screen.begin(1, LABELS[1], results/"logs"/f"{LABELS[1]}.log", "training")  # a cluster tries again
        assert read_run(results).steps[-1].told == "starting"


def test_in_a_pipe_only_what_ended_has_a_line(results):
    screen = Progress(io.StringIO())
    with note_run(results, STEPS, 2):
        screen.start(dict(training=1, report=1))
        screen.begin(1, LABELS[1], results/"logs"/f"{LABELS[1]}.log", "training")
        screen.finish(1)
        screen.stop()
    assert screen.stream.getvalue().split() == ["2", "notebooks", "to", "run", LABELS[1], "0", "s"]


def test_the_kernel_s_cells_and_bars_are_heard(tmp_path, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)  # commands without a terminal set it, in this process too
    kernel = dict(name="python3", display_name="python3", language="python")
    notebook = nbformat.v4.new_notebook(metadata=dict(kernelspec=kernel), cells=[
        nbformat.v4.new_code_cell("n = 3", metadata=dict(tags=["parameters"])), nbformat.v4.new_markdown_cell("prose"),
        nbformat.v4.new_code_cell("import time, tqdm\nfor i in tqdm.tqdm(range(n), desc='cutouts', mininterval=0): "
                                  "time.sleep(0.1)")])
    nbformat.write(notebook, tmp_path/"mine.ipynb")
    with StepProgress(tmp_path/".progress"/"1.json", 3) as step:
        _execute_notebook(tmp_path/"mine.ipynb", dict(n=4), tmp_path/"done"/"mine.ipynb", on_cell_start=step.hear_cell,
                          stderr_file=step)
        step.tell()
        told = read_progress(step.path)
    assert {key: told[key] for key in ("cell", "n_cells", "bar", "done", "total")} == dict(
        cell=3, n_cells=3, bar="cutouts", done=4, total=4)
    assert told["memory_mib"] > 0 and not step.path.parent.exists()


def test_what_is_left_is_claimed_only_where_all_of_it_was_timed(results):
    for step, label, rule in zip(STEPS, LABELS, ("densities", "training", "report"), strict=True):
        record(results, step, label, 100.)
        with note_run(results, STEPS, 1): note_jobs(results, {}, label, rule)
    shutil.rmtree(results/"report")
    (results/STEPS[1]/"provenance.json").unlink()
    with note_run(results, STEPS, 1), StepProgress(results/".progress"/f"{LABELS[1]}.json", 9) as step:
        step.tell()
        note_jobs(results, dict(training=1, report=1), LABELS[1], "training")
        assert 190 < read_run(results).left <= 200
        assert [line.split("  ")[-2] for line in format_run(read_run(results))] == ["about 2 min left",
                                                                                    "about 3 min left"]
        note_jobs(results, dict(training=1, report=1, sky=1), LABELS[1], "training")
        assert read_run(results).left is None
    with note_run(results, STEPS, 0), StepProgress(step.path, 9) as again:  # a cluster
        again.tell()
        note_jobs(results, dict(training=1), LABELS[1], "training")
        assert read_run(results).left is None and read_run(results).steps[-1].left <= 100


def test_a_run_that_is_over_failed_was_killed_or_is_half_done(results):
    with note_run(results, STEPS, 2): pass
    assert format_run(read_run(results))[-1].startswith(f"{SIMPLE} in 10 s of work, nobody is at work: make run-all")
    log(results, LABELS[1], "much\nradiogal: 22_modelling: cell 3 failed with KeyError: \x1b]2;owned\x07'ra'\n  |")
    log(results, LABELS[2], "Killed\n")
    why = "22_modelling: cell 3 failed with KeyError: ]2;owned'ra'"  # without what a terminal would obey
    assert format_run(read_run(results))[:2] == [
        f"  {LABELS[1]}  failed: {why}; see results/smoke/logs/{LABELS[1]}.log",
        f"  {LABELS[2]}  stopped, or its results were removed; see results/smoke/logs/{LABELS[2]}.log"]
    for step, label in zip(STEPS, LABELS, strict=True): record(results, step, label)
    whole = "smoke: all 3 notebooks done in 30 s of work, with at most 300 MiB each"
    assert format_run(read_run(results)) == [whole]  # as after `radiogal prepare`
    (results/"report.html").touch()
    assert format_run(read_run(results)) == [f"{whole}: radiogal open smoke"]


def test_a_process_that_was_killed_is_not_at_work(results):
    dead = describe_process() | dict(created=0., cell=1, n_cells=2, memory_mib=1)
    write_json(results/".progress"/f"{LABELS[1]}.json", dead)
    write_json(results/".progress"/"run.json", dead | dict(steps=STEPS, cores=2, durations={}))
    assert not read_run(results).at_work and read_run(results).count("done") == 1
    far = write_json(results/".progress"/f"{LABELS[1]}.json", dead | dict(host="node7"))  # it has just spoken
    assert read_run(results).at_work and read_run(results).count("running") == 1
    for path in (far, far.with_name("run.json")): os.utime(path, (time.time() - 1000,)*2)
    assert not read_run(results).at_work
    with note_run(results, STEPS, 2): assert not far.exists()


def test_a_full_disk_at_the_end_hides_nothing(results, monkeypatch):
    with pytest.raises(KeyError, match="inside"), note_run(results, STEPS, 2):
        monkeypatch.setattr("radiogal.watching.write_json", fill_disk)
        raise KeyError("inside")


def fill_disk(*_): raise OSError("No space left on device")


@pytest.mark.parametrize("status", [0, 1])
def test_results_that_are_removed_below_a_run_are_told_unless_all_were_made(results, status):
    told = f"{results}, or what is in it, was removed while the run was at work: call the same command again"
    with pytest.raises(ConfigError, match=told), note_run(results, STEPS, 2):
        shutil.rmtree(results.parent)
        check_kept(results, status, STEPS, [])
    with note_run(results, STEPS, 2): check_kept(results, 1, STEPS, [])  # who failed has told why
    with note_run(results, STEPS, 2):
        shutil.rmtree(results)
        (made := results/"prepared.h5").parent.mkdir()
        made.touch()
        check_kept(results, 0, STEPS, [made])


def test_a_run_whose_results_are_removed_ends_in_what_to_do(smoke_run, tmp_path):
    folder = shutil.copytree(smoke_run, tmp_path/"project", symlinks=True)
    shutil.rmtree(folder/"results"/"smoke"/"densities")
    (log := folder/"results"/"smoke"/"logs"/"04_surveys.log").unlink()
    process = radiogal(folder, "run", "smoke", "--cores", "1")
    wait_for(lambda: process.poll() is not None or log.exists())
    (folder/"results").rename(folder/"moved")  # at once, where removing would race with what is written
    status, said = finish(process)
    assert status == 1 and said.splitlines()[-1].startswith(f"radiogal: {folder}/results/smoke, or what is in it"), said
    assert "call the same command again" in said and "Traceback" not in said, said


def test_a_bar_after_a_very_long_line_is_read():
    assert read_bar("x"*10**6 + "\rloss:  50%|##  | 1/2 [00:01<00:01, 1.0it/s]")["done"] == 1


@pytest.mark.parametrize("text", ["", "[1]", "{\"steps\""])
def test_notes_that_cannot_be_read_are_none(results, text):
    (results/".progress").mkdir()
    for name in ("run.json", "jobs.json", "22_modelling.json"): (results/".progress"/name).write_text(text)
    assert format_run(read_run(results)) == [
        "smoke: the only notebook done in 10 s of work, with at most 300 MiB"]


@pytest.fixture
def clone(results, monkeypatch):
    "The clone that holds the results, for the command line."
    for name in ("nbs", "config", "radiogal"): (results.parents[1]/name).symlink_to(ROOT/name)
    shutil.copy(ROOT/"settings.ini", results.parents[1])
    monkeypatch.chdir(results.parents[1])
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "RADIOGAL_HOME"): monkeypatch.delenv(name, raising=False)
    return results


def ask(*arguments):
    return CliRunner().invoke(commands, arguments)


def test_status_from_another_terminal(clone, monkeypatch):
    with ExitStack() as run:
        run.enter_context(note_run(clone, STEPS, 2))
        said = ask("status", "smoke")
        assert (said.exit_code, said.output.startswith(f"{SIMPLE}, 0 running, 2 to do")) == (0, True)
        meanwhile = iter([lambda: None, lambda: record(clone, STEPS[1], LABELS[1]), lambda: None, run.close])
        slept = dict(sleep=lambda seconds: next(meanwhile)())
        monkeypatch.setattr("radiogal.watching.time", SimpleNamespace(**vars(time) | slept))
        followed = ask("status", "smoke", "--follow")
    assert "\x1b" not in followed.output and followed.exit_code == 1
    told = [line for line in followed.output.splitlines() if line.startswith("smoke: ")]
    assert [int(line.split()[1]) for line in told] == [1, 2, 2]  # as it begins, after a change, and when it has ended
    assert told[-1].startswith("smoke: 2 of 3 notebooks done in 20 s of work, nobody is")
    unknown = ask("status", "nothing")
    assert unknown.exit_code == 1 and "make run-all RUN=nothing first" in unknown.output
    (clone.parent/"nothing").mkdir()
    assert "make run-all RUN=nothing first" in ask("status", "nothing").output
    (clone.parent/"nothing"/"logs").mkdir()
    said = ask("status", "nothing")
    assert said.exit_code == 1 and "0 of its notebooks done in 0 s of work, nobody is at work" in said.output


def test_open_says_the_address_where_there_is_no_display_and_what_to_do_where_there_is_no_report(clone, monkeypatch):
    said = ask("open", "smoke")
    assert said.exit_code == 1 and "make run-all RUN=smoke goes on with it" in said.output
    (clone/"report.html").write_text("<html>")
    told = ask("open", "smoke")
    assert told.stdout == f"{(clone/'report.html').as_uri()}\n" and "copy the file to a machine with" in told.stderr
    write_json(clone/"benchmark"/"provenance.json", {})
    os.utime(clone/"report.html", (1e9,)*2)
    assert "report.html is older than the results: radiogal report smoke" in ask("open", "smoke").output
    (clone/"report.html").touch()
    opened = []
    monkeypatch.setattr("radiogal.watching.has_display", lambda: True)
    monkeypatch.setattr("click.launch", lambda address: opened.append(address) or 0)
    assert ask("open", "smoke").output == "" and opened == [(clone/"report.html").as_uri()]
    assert "make run-all RUN=nothing first" in ask("open", "nothing").output


def test_commands_that_may_load_a_framework_leave_out_its_start_up_lines(monkeypatch):
    sifted = []
    monkeypatch.setattr("radiogal.cli._sift_errors", lambda: nullcontext(sifted.append(1)))
    ask("models", "nothing", "--export", "nothing.keras")
    ask("finetune", "nothing.csv", "--images", "nowhere", "--out", "mine")
    assert sifted == [1, 1]


SPEAK = """
import os, sys, warnings
from radiogal.cli import _sift_errors
with _sift_errors():
    for line in ("I0000 00:00:17.5 port.cc:153] oneDNN operations are on",
                 "To enable the following instructions: AVX2",
                 "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
                 "2026-01-01 10:00:00.1: I tensorflow/core/util/port.cc:153] oneDNN",
                 "E0000 00:00:1.2 cuda_dnn.cc:8310] Unable to register cuDNN", "W0000 00:00:1 oom.cc:1] memory"):
        os.write(2, f"{line}\\n".encode())
    warnings.warn("ours", stacklevel=1)
    print("terminal" if sys.stderr.isatty() else "pipe")
    if len(sys.argv) > 1: os.write(2, b"F0000 check failed"); os.abort()
"""


@pytest.mark.parametrize("how", [[], ["crash"]])
def test_start_up_lines_of_frameworks_are_left_out_and_nothing_else(how):
    done = subprocess.run([sys.executable, "-c", SPEAK, *how], capture_output=True, text=True, cwd=ROOT)
    kept = [line for line in done.stderr.splitlines() if not line.startswith("  ")]
    passed = ["W0000 00:00:1 oom.cc:1] memory", *["F0000 check failed"]*len(how)]
    assert [line for line in kept if "ours" not in line] == passed
    assert sum("UserWarning: ours" in line for line in kept) == 1 and (done.returncode == 0) is (how == [])


@pytest.mark.long
def test_a_whole_run_on_a_terminal_is_live_and_its_results_know_nothing_of_it(smoke_run, tmp_path):
    folder = forget_later(shutil.copytree(smoke_run, tmp_path/"project", symlinks=True))
    code = "import sys; from radiogal.cli import main; sys.exit(main())"
    with open_terminal() as (stream, said):
        done = subprocess.run([sys.executable, "-c", code, "run", "smoke", "--cores", "2"], cwd=folder, stderr=stream,
                              stdout=stream, env=os.environ | dict(PYTHONPATH=str(folder), COLUMNS="120"))
    assert done.returncode == 0, said()
    assert re.search(r"22_modelling-1of\d +cell \d+ of \d+ +\d+ s +.*\d+ MiB", said())
    assert re.search(r"smoke: \d of \d+ notebooks done, [12] running", said())
    assert "I0000" not in said() and "IPKernelApp" not in said()
    left = {path.name for path in (folder/"results"/"smoke"/".progress").iterdir()}
    assert left == {"run.json", "jobs.json"}
    records = [path.read_text() for path in (folder/"results"/"smoke").glob("*/**/provenance.json")]
    assert records and not any(".progress" in text for text in records)
    assert json.loads((folder/"results"/"smoke"/".progress"/"run.json").read_text())["ended"]


