"What a broken disk, other settings and odd names do: what is read is what was written, or the difference is named."
import errno
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from conftest import ROOT, copy_project, find_processes, finish, radiogal, read_numbers, wait_for
from faulty import say

from radiogal.cli import main
from radiogal.config import (
    ConfigError,
    Damaged,
    Paths,
    check_name,
    find_root,
    read_config,
    write_atomic,
    write_json,
)
from radiogal.engines import (
    NUMBERS,
    TEXTS,
    PreparedShard,
    _keep_file,
    _read_metrics,
    _read_predictions,
    read_prepared_shard,
    write_prepared_shard,
)
from radiogal.fetch import AGAIN, FetchError
from radiogal.positions import read_table, write_table
from radiogal.provenance import (
    Origin,
    _execute_notebook,
    _git_commit,
    check_listed,
    check_network,
    find_change,
    find_damaged,
    hash_file,
    read_signed,
    run_notebook,
    sign,
    write_provenance,
)
from radiogal.shards import (
    _CARDS,
    JobMismatch,
    Request,
    ShardError,
    _describe_images,
    _drop_damaged,
    _has_state,
    _read_shard,
    _write_parquet,
    begin_job,
    name_shard,
    read_job,
)
from radiogal.workflow import (
    _call_snakemake,
    _find_loose,
    _find_lost,
    _summarise_run,
    _take_lock,
    isolate_settings,
    keep_results,
    plan_run,
    redraw_figures,
)

fault = pytest.mark.fault
SMOKE = read_config(ROOT/"config"/"smoke.toml")


def flip(path, at=None):
    "Change one bit, in the middle if not said where."
    content = bytearray(path.read_bytes())
    content[len(content)//2 if at is None else at] ^= 1
    path.write_bytes(content)


def cut(path):
    "Lose the last fifth."
    os.truncate(path, path.stat().st_size*4//5)


DAMAGES = [flip, cut]


@pytest.fixture
def project(tmp_path, monkeypatch):
    "The project, as the working folder."
    monkeypatch.chdir(copy_project(tmp_path))
    return tmp_path


def make_step(project, place="sky/sky.ecsv", content="name ra\na 1.25\nb 2.5\n", notebook="10_sky", **more):
    "A result of the smoke run with its record."
    path = write_atomic(project/"results"/"smoke"/place, content)
    write_provenance(path.parent, Origin(notebook, "", {}, {}), SMOKE, "smoke", project, more)
    return path


@fault(72, "a flipped bit or a cut in a cutout", "named, nothing prepared of it")
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_cutout_is_named(tmp_path, saw, damage):
    path = write_atomic(tmp_path/"cutout.fits", bytes(range(256)))
    sha256 = hash_file(path)
    assert check_listed(path, sha256) == path
    damage(path)
    with pytest.raises(Damaged, match="cutout.fits is lost, or not what was written: make run-all") as told:
        check_listed(path, sha256)
    path.unlink()
    with pytest.raises(Damaged, match="cutout.fits is lost"): check_listed(path, sha256)
    saw(told.value.args[0].replace(str(tmp_path), "…"))


@fault(73, "a flipped byte in an exported network", "exported again")
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_export_is_made_again(tmp_path, saw, damage):
    made = []
    keep = lambda: _keep_file(tmp_path, "0123", ".onnx", lambda: made.append(1) or b"a graph of plain operations")
    path = keep()
    assert keep() == path and made == [1]
    damage(path)
    assert keep().read_bytes() == b"a graph of plain operations" and made == [1, 1]
    saw("made again, the same bytes")


@fault(74, "damaged weights, metrics or predictions of a network", "named")
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["network.weights.h5", "metrics.json", "predictions.parquet"])
def test_damaged_network_is_named(tmp_path, saw, damage, name):
    for each in ("network.weights.h5", "metrics.json", "predictions.parquet"):
        write_atomic(tmp_path/each, b"0123456789"*9)
    write_provenance(tmp_path, Origin("22_modelling", "", {}, {}), SMOKE, "smoke", tmp_path, {})
    check_network(tmp_path)
    damage(tmp_path/name)
    with pytest.raises(Damaged, match=f"{name} is not what was written: make run-all") as told: check_network(tmp_path)
    assert find_change(tmp_path, Origin("22_modelling", "", {}, {}), tmp_path) == f"lost or damaged: {name}"
    saw(told.value.args[0].replace(str(tmp_path), "…"))


@fault(74)
@pytest.mark.parametrize("content", [b"", b"[1]", b'{"task": "FIRST"}', b'{"task": '])
def test_what_is_no_metrics_or_predictions_is_named(tmp_path, saw, content):
    for name in ("metrics.json", "predictions.parquet"): write_atomic(tmp_path/name, content)
    with pytest.raises(Damaged, match="metrics.json") as told: _read_metrics(tmp_path)
    with pytest.raises(Damaged, match="predictions.parquet cannot be read"): _read_predictions(tmp_path)
    saw(told.value.args[0].replace(str(tmp_path), "…"))


def make_catalogue(folder, n=5, **job):
    "The job, the positions and the shards of a catalogue; who was asked what is returned."
    asked, table = [], Table(dict(name=[f"S{i}" for i in range(n)], ra=np.arange(n)/3, dec=np.arange(n)/7,
                                  crowding=[0]*n))
    begin = lambda **more: begin_job(folder, dict(model="m", shard_size=2, images="archive") | job | more,
                                     lambda: asked.append(1) or table)
    there = begin()
    for number in range(-(-n//2)):
        rows = table[2*number:2*number + 2].to_pandas().assign(model="m", state="ok")
        _write_parquet(rows, name_shard(folder, "shards", number, ".parquet"), there)
    return begin, there, asked


@fault(75, "damaged job, positions, shard or prepared shard of a catalogue", "made again")
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["job.json", "positions.parquet"])
def test_damaged_job_or_positions_are_made_again(tmp_path, saw, damage, name):
    begin, job, asked = make_catalogue(tmp_path)
    before = (tmp_path/name).read_bytes()
    damage(tmp_path/name)
    assert begin() == job and asked == [1, 1] and (tmp_path/name).read_bytes() == before
    assert read_job(tmp_path) == job and _drop_damaged(tmp_path, job) == []
    saw(f"{name}: written again, the same bytes")


@fault(75)
@pytest.mark.parametrize("damage", [cut, lambda path: flip(path, path.read_bytes().index(b"S2")),
                                    lambda path: flip(path, -6), lambda path: path.write_bytes(b"")])
def test_damaged_shard_is_removed_and_its_neighbours_stay(tmp_path, saw, damage):
    _, job, _ = make_catalogue(tmp_path)
    shard = name_shard(tmp_path, "shards", 1, ".parquet")
    damage(shard)
    with pytest.raises(ShardError, match="shard 1: .*000001.parquet"): _read_shard(tmp_path, job, 1)
    assert not _has_state(shard, AGAIN)
    assert _drop_damaged(tmp_path, job) == [shard] and not shard.exists()
    assert len(_read_shard(tmp_path, job, 0)) == 2
    saw("shard 1: removed, so made again; the others stay")


@fault(75)
def test_each_flip_in_a_shard_is_seen_or_changes_nothing(tmp_path, saw):
    _, job, _ = make_catalogue(tmp_path)
    shard, rows, seen = name_shard(tmp_path, "shards", 1, ".parquet"), _read_shard(tmp_path, job, 1), 0
    content = shard.read_bytes()
    places = range(0, len(content), 37)
    for at in places:
        flip(shard, at)
        try: pd.testing.assert_frame_equal(_read_shard(tmp_path, job, 1), rows)
        except ShardError: seen += 1
        shard.write_bytes(content)
    assert seen
    saw(f"{len(places)} flips: seen, or the rows are the same")


@fault(75)
@pytest.mark.parametrize("damage", [*DAMAGES, lambda path: flip(path, 10), lambda path: path.write_bytes(b"no zip")])
def test_damaged_prepared_shard_is_named(tmp_path, saw, damage):
    facts = pd.DataFrame({key: ["ok", "ok"] for key in TEXTS} | {key: [0.5, 1.5] for key in NUMBERS})
    images = np.random.default_rng(1).random((2, 8, 8, 1), dtype=np.float32)
    shard = PreparedShard(np.array(["a", "b"]), np.arange(2), images, facts, "FIRST", 1.8)
    path = write_prepared_shard(shard, tmp_path/"000000.npz")
    np.testing.assert_array_equal(read_prepared_shard(path).images, images)
    before = path.read_bytes()
    damage(path)
    try: read = read_prepared_shard(path)
    except Damaged as told: saw(told.args[0].replace(str(tmp_path), "…"))
    else:
        np.testing.assert_array_equal(read.images, images)  # a bit that says nothing of the content, such as a time
        assert path.read_bytes() != before
        saw("the content is what was written")


@fault(76, "a table cut in its last cell, or with another digit",
       "named with the command that makes it again; nothing is run")
@pytest.mark.parametrize("damage", [*DAMAGES, lambda path: os.truncate(path, path.stat().st_size - 2)])
def test_damaged_input_of_a_step_is_named(project, saw, damage):
    table = make_step(project)
    damage(table)
    with pytest.raises(Damaged,
                       match="results/smoke/sky/sky.ecsv is not what was written: make run-all RUN=smoke") as told:
        run_notebook("09_catalogues", "smoke", {}, project/"executed.ipynb", project/"out", [table])
    assert not (project/"executed.ipynb").exists()
    saw(told.value)


@fault(76)
@pytest.mark.parametrize("damage", [*DAMAGES, lambda path: os.truncate(path, path.stat().st_size - 2),
                                    lambda path: path.write_text(path.read_text().replace("rows: 9", "rows: 8"))])
def test_damaged_table_is_named_wherever_it_is_read(tmp_path, saw, damage):
    table = Table(dict(name=[f"S{i}" for i in range(9)], ra=np.arange(9)/7), meta=dict(SIMULATE=True))
    path = write_table(table, tmp_path/"a.ecsv")
    assert len(read_table(path)) == 9 and list(read_table(path).meta) == ["SIMULATE"]
    damage(path)
    with pytest.raises(Damaged, match="a.ecsv is not what was written") as told: read_table(path)
    saw(told.value.args[0].replace(str(tmp_path), "…"))


@fault(77, "a result lost that nothing new follows from", "its step is run again")
def test_every_lost_result_names_its_step(project, saw):
    tables = [make_step(project, place) for place in ("sky/sky.ecsv", "curation/curated.ecsv", "report/metrics.json")]
    results, records = project/"results"/"smoke", [path.with_name("provenance.json") for path in tables]
    assert _find_lost(project, results) == {}
    for path in tables: path.unlink()
    assert set(_find_lost(project, results)) == set(records)
    saw("each lost result: its step")


@fault(77)
def test_lost_cell_names_the_step_of_its_grid(project, saw):
    for step, survey in {"2of2": "VLASS", "1of2": "FIRST"}.items():
        weights = make_step(project, f"training/{survey}/dense/fold0/seed1/network.weights.h5", notebook="22_modelling")
        cells = write_json(project/"results"/"smoke"/"steps"/"training"/step/"cells.json",
                           {os.path.relpath(weights, project): ""})
        write_provenance(cells.parent, Origin("22_modelling", "", {}, {}), SMOKE, "smoke", project, {})
    record = cells.with_name("provenance.json")  # of one of both
    assert _find_lost(project, project/"results"/"smoke") == {}
    flip(weights)
    assert list(_find_lost(project, project/"results"/"smoke")) == [record]
    weights.with_name("provenance.json").unlink()
    assert list(_find_lost(project, project/"results"/"smoke")) == [record]
    saw("a lost or damaged network, or its record: the step of its grid")


@fault(77)
@pytest.mark.parametrize("run", ["smoke", "demo", "real", "benchmark", "transfer"])
def test_all_steps_of_a_run_are_asked_for(run, saw):
    config = read_config(ROOT/"config"/f"{run}.toml")
    steps = plan_run(config, Paths(ROOT), run, per_step=8, cores=2).steps
    assert steps[-1] == ("report" if config.has_report else "benchmark") and "catalogues" in steps
    assert len(steps) == len(set(steps))
    saw(f"{run}: {len(steps)} steps")


FOREIGN = ['{"digest": 1}', '{"steps": []}', "[]", "{", "", '{"outputs": {"a": "b"}}', "\x00\xff"]


@fault(78, "a damaged or foreign provenance.json", "named; the run goes on")
@pytest.mark.parametrize("content", FOREIGN)
def test_foreign_record_ends_no_run(project, saw, content):
    paths, table = Paths(project), make_step(project)
    foreign = write_atomic(paths.results("smoke")/"mine"/"provenance.json", content.encode("latin-1"))
    assert find_damaged(paths.results("smoke"), project) == {foreign: ["results/smoke/mine/provenance.json"]}
    write_atomic(paths.results("smoke")/"provenance.json", content)
    assert _find_loose(paths, "smoke") == []
    _summarise_run(paths, SMOKE, "smoke")
    assert read_signed(paths.results("smoke")/"provenance.json")["steps"] == []  # a step without its time is none
    foreign.unlink()
    flip(table.with_name("provenance.json"))
    assert list(find_damaged(project/"results"/"smoke", project)) == [table.with_name("provenance.json")]
    saw("named, passed over")


@fault(78)
def test_each_bit_of_a_record_counts(tmp_path, saw):
    record = write_json(tmp_path/"provenance.json", sign(dict(a=1.5, b=["x"], c=None)))
    content, unseen = record.read_bytes(), 0
    for at in range(len(content)):
        record.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1:])
        try: unseen += "digest" in read_signed(record)
        except Damaged: pass
    assert not unseen
    saw(f"{len(content)} of {len(content)} flips seen")


@fault(79, "a damaged log, page or download of a run", "named")
def test_damaged_log_or_download_is_named(project, saw):
    paths = Paths(project)
    log, page = (write_atomic(paths.results("smoke")/name, "said") for name in ("logs/10_sky.log", "report.html"))
    answer = write_atomic(paths.raw/"smoke"/"FIRST"/"a.fits", "pixels")
    _summarise_run(paths, SMOKE, "smoke")
    assert _find_loose(paths, "smoke") == []
    for path in (log, page, answer): flip(path)
    assert _find_loose(paths, "smoke") == [os.path.relpath(path, project) for path in sorted((answer, log, page))]
    saw("named: log, page, download")


ODD_NAMES = ["../../x", "$(touch pwn)", "`touch pwn`", "a b", "a;touch pwn", "-x", "", ".", "a/b", "é", "a\nb"]


@fault(80, "a run, a task or a profile called `../../x`, `$(touch pwn)` or `a b`", "refused; nothing is run or written")
@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_refused(project, capsys, saw, name):
    before = set(project.parent.rglob("*"))
    for command in (*([each, "--", name] for each in ("run", "plan", "figures", "report", "keep", "prepare")),
                    ["run", "smoke", f"--profile={name}"],
                    ["classify", f"--run={name}", "--task=a", "--survey=FIRST", "--positions=a.csv", "--out=o"],
                    ["classify", "--run=smoke", f"--task={name}", "--survey=FIRST", "--positions=a.csv", "--out=o"],
                    ["notebook", "10_sky", "--executed=a", "--out-dir=o", "--", name],
                    ["notebook", "--executed=a", "--out-dir=o", "--", name, "smoke"]):
        assert main(command) == 1, command
        said = capsys.readouterr().err
        assert "Traceback" not in said and "name" in said.splitlines()[-1], said
    new = {path for path in set(project.parent.rglob("*")) - before if path.name != "figures"
           and "figures" not in path.parts}
    assert not {path for path in new if path.is_file() and "radiogal.lock" not in path.name}
    saw("each command: status 1, the name and what a name is")


@fault(80)
def test_names_are_checked_alike(saw):
    for name in ("demo", "real-short", "my_run2", "A1"): assert check_name(name, "run") == name
    for name in ODD_NAMES:
        with pytest.raises(ConfigError, match="a name is made of letters and digits"): check_name(name, "run")
    saw(f"{len(ODD_NAMES)} refused")


@fault(80)
@pytest.mark.parametrize("name", ["$(touch pwn)", "`touch pwn`", "a b", "a;touch pwn", "$(shell touch pwn)", "a'b\"c"])
def test_make_gives_names_to_no_shell(tmp_path, saw, name):
    for each in ("Makefile", "requirements.lock", "settings.ini", "setup.py"): shutil.copy(ROOT/each, tmp_path/each)
    (tmp_path/"config").mkdir()
    (tmp_path/"config"/f"{name}.toml").touch()
    (tmp_path/".venv"/"bin").mkdir(parents=True)
    fake = tmp_path/".venv"/"bin"/"radiogal"
    fake.write_text('#!/bin/sh\nfor each in "$@"; do echo "[$each]"; done\n')
    fake.chmod(0o755)
    (tmp_path/".venv"/".made").touch()
    env = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "RUN", "GPU")}
    how = dict(cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    make = lambda *words: subprocess.run(["make", *words], **how).stdout
    assert f"[{name}]" in make("run-all", f"RUN={name}") and f"[{name}]" in make("figures", f"RUN={name}")
    assert name in make("help") and not list(tmp_path.rglob("pwn"))
    saw("given on as one word; nothing executed")


@fault(80)
def test_separator_in_the_path_of_the_clone_is_named(tmp_path, saw):
    (tmp_path/"a:b").mkdir()
    shutil.copy(ROOT/"settings.ini", tmp_path/"a:b")
    with pytest.raises(ConfigError,
                       match="a:b has a ':' in its path, which separates the folders of PATH: move it") as told:
        find_root(tmp_path/"a:b")
    saw(told.value.args[0].replace(str(tmp_path), "…"))


@fault(81, "SIGTERM, SIGHUP to `radiogal run` alone", "all that it started ends, then it; no lock is left")
@pytest.mark.full
@pytest.mark.parametrize("request_to_stop", [signal.SIGTERM, signal.SIGHUP])
def test_stop_request_reaches_all_that_a_run_started(tmp_path, saw, request_to_stop):
    folder = copy_project(tmp_path)
    process = radiogal(folder, "run", "smoke", "--cores", "2")
    wait_for(lambda: process.poll() is not None or len(find_processes(folder)) > 3)
    os.kill(process.pid, request_to_stop)
    status, said = finish(process)
    assert status != 0 and "Not finished" in said and "Traceback" not in said, said
    wait_for(lambda: not find_processes(folder))
    _take_lock(folder).close()
    saw(f"{request_to_stop.name}: status {status}, no process, no lock")


@fault(82, "figures are redrawn while a run is at work", "refused")
@pytest.mark.parametrize("command", ["figures", "report"])
def test_figures_take_the_lock(project, capsys, saw, command):
    make_step(project, "training/FIRST/dense/fold0/seed1/predictions.parquet")
    with _take_lock(project): assert main([command, "smoke"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("radiogal: another run is at work")
    saw("another run is at work")


@fault(82)
@pytest.mark.parametrize("function", [redraw_figures, keep_results])
def test_nothing_is_drawn_or_kept_of_damaged_results(project, saw, function):
    path = make_step(project, "training/FIRST/dense/fold0/seed1/predictions.parquet")
    flip(path)
    with pytest.raises(Damaged, match="predictions.parquet is not what was written") as told: function("smoke")
    assert not (project/"docs").exists()
    saw(told.value.args[0].replace(str(project), "…"))


def refuse(*_, **__): raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@fault(83, "a read-only file system", "one line that names the place")
def test_read_only_file_system_is_one_line(project, monkeypatch, capsys, saw):
    write_atomic(project/"a.json", "as it was")
    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(ConfigError, match="cannot write .*a.json: Read-only file system"):
        write_atomic(project/"a.json", "new")
    assert main(["run", "smoke"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("radiogal: cannot write") and "Read-only file system" in said
    assert (project/"a.json").read_text() == "as it was"
    saw(re.sub(r"\S*(results)", r"…/\1", said))


@fault(83)
def test_lock_that_cannot_be_made_is_one_line(tmp_path, monkeypatch, saw):
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ConfigError, match="cannot write .*snakemake: Read-only file system") as told:
        _take_lock(tmp_path)
    saw(told.value.args[0].replace(str(tmp_path), "…"))


@fault(84, "a check that raises an error of the file", "rejected with the reason; no word of space on a disk")
@pytest.mark.parametrize("error", [OSError("Header missing END card."), OSError(22, "Invalid argument"),
                                   EOFError("cut"), None])
def test_error_of_a_check_is_not_told_as_one_of_the_disk(case, saw, error):
    def check(part):
        if error is None: raise FetchError("reject", "no FITS")
        raise error if isinstance(error, OSError) else OSError(str(error)) from error
    said = case.fail(case.open_fetcher(), case.want(case.server.answer("/a", say(b"SIMPLE")), check=check))
    assert said.startswith("reject: ") and "free some space" not in said
    saw(said)


REQUEST = Request(ROOT/"config"/"smoke.toml", "smoke", "FIRST", "FIRST", "alhassan", ROOT, ROOT, ROOT, ROOT)


@fault(85, "other images, or another sky, asked for with the folder of an old answer",
       "forgotten images and another sky refused in words; with named ones, old classes are said to be old")
def test_old_answer_is_not_given_for_new_images(tmp_path, saw):
    for name, content in dict(a=b"pixels", b=b"other!", c=b"pixels").items():
        write_atomic(tmp_path/name/"FIRST"/"x.fits", content)
    sky = write_atomic(tmp_path/"sky.ecsv", "one")
    sources = {name: _describe_images(replace(REQUEST, **given))
               for name, given in dict(a=dict(images=str(tmp_path/"a")), b=dict(images=str(tmp_path/"b")),
                                       c=dict(images=str(tmp_path/"c")), registry=dict(images="registry"),
                                       archive={}, sky=dict(sky=str(sky))).items()}
    assert sources["a"] == sources["c"] and len(set(sources.values())) == 5
    begin, job, asked = make_catalogue(tmp_path/"out", images=sources["a"])
    assert begin(images=sources["c"]) == job
    with pytest.raises(JobMismatch, match=r"images were folder \w+: give --images FOLDER again, or choose another"):
        begin(images=sources["archive"])
    with pytest.raises(JobMismatch, match=r"images was 'folder \w+', is .*: go back to that, or choose") as told:
        begin(images=sources["sky"])
    for other in ("b", "registry"):  # each position has a class, which stays, and is said to be of other images
        assert begin(images=sources[other])["earlier_images"] == sources["a"] and _CARDS["OLDIMAGE"] == "earlier_images"
    sky.write_text("two")
    assert _describe_images(replace(REQUEST, sky=str(sky))) != sources["sky"]
    write_atomic(tmp_path/"a"/"FIRST"/"y.fits", b"one more")
    assert _describe_images(replace(REQUEST, images=str(tmp_path/"a"))) != sources["a"]
    with pytest.raises(ConfigError, match="neither registry nor a folder"):
        _describe_images(replace(REQUEST, images="nowhere"))
    assert asked == [1]
    saw(re.sub("'folder .*?'", "'folder …'", told.value.args[0].replace(str(tmp_path), "…")))


@fault(85)
@pytest.mark.parametrize(("name", "told"), [
    ("job.json", "begun by another version of radiogal: choose another folder"),
    ("order.json", r"begun by an older version of radiogal \(order.json\): choose another folder")])
def test_folder_of_an_older_version_is_refused_and_stays(tmp_path, saw, name, told):
    begin, _, _ = make_catalogue(tmp_path)
    (tmp_path/"job.json").unlink()
    write_json(tmp_path/name, dict(model="m", shard_size=2, n=5))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(JobMismatch, match=told) as told: begin()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    saw(told.value.args[0].replace(str(tmp_path), "…"))


SETTINGS = dict(SNAKEMAKE_PROFILE="/site/profile", PYTHONSTARTUP="/site/start.py", JUPYTER_PATH="/site/jupyter",
                IPYTHONDIR="/site/ipython", KERAS_HOME="/site/keras", KERAS_MAX_EPOCHS="1",
                MPLBACKEND="module://nowhere", MATPLOTLIBRC="/site/rc", GIT_DIR="/site/git")


@fault(86, "SNAKEMAKE_PROFILE, JUPYTER_PATH, KERAS_HOME, MPLBACKEND and others of a user",
       "do not reach a run; recorded")
@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_a_user_reach_no_command(monkeypatch, saw, name):
    monkeypatch.delenv("RADIOGAL_OVERRIDDEN", raising=False)
    monkeypatch.setenv(name, SETTINGS[name])
    with isolate_settings() as overridden:
        assert os.environ.get(name) != SETTINGS[name] and overridden[name] == SETTINGS[name]
        with isolate_settings() as again: assert again == overridden  # of the command that started this one
    assert os.environ[name] == SETTINGS[name]
    saw(f"{name}: not passed on, recorded")


@fault(86)
def test_snakemake_is_given_no_profile_of_a_user(tmp_path, monkeypatch, saw):
    def start(command, **_): raise KeyError(command[command.index("--profile") + 1])
    monkeypatch.setattr(subprocess, "Popen", start)
    with _take_lock(tmp_path) as lock, pytest.raises(KeyError, match="none"): _call_snakemake(tmp_path, lock, [], {})
    saw("--profile none")


@fault(87, "start-up files of IPython, a kernel python3 of another Python",
       "this Python runs the notebook, and they do not")
def test_notebook_runs_on_this_python_without_start_up_files(tmp_path, monkeypatch, saw):
    start = "import builtins; builtins.open_to_all = 1"
    write_atomic(tmp_path/".ipython"/"profile_default"/"startup"/"00.py", start)
    monkeypatch.setenv("PYTHONSTARTUP", str(write_atomic(tmp_path/"start.py", start)))
    foreign = dict(argv=["/bin/false", "{connection_file}"], display_name="Site", language="python")
    for place in ("site/kernels", ".local/share/jupyter/kernels"):
        write_json(tmp_path/place/"python3"/"kernel.json", foreign)
    for key, value in dict(HOME=tmp_path, JUPYTER_PATH=tmp_path/"site").items(): monkeypatch.setenv(key, str(value))
    for key in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "RADIOGAL_OVERRIDDEN"): monkeypatch.delenv(key, raising=False)
    cells = [nbformat.v4.new_code_cell("n = 1", metadata=dict(tags=["parameters"])),
             nbformat.v4.new_code_cell("import builtins, sys; print(sys.executable, hasattr(builtins, 'open_to_all'))"),
             nbformat.v4.new_code_cell("print('gc' in globals(), __import__('gc').get_threshold()[0])")]
    kernel = dict(name="python3", display_name="Python 3", language="python")
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=dict(kernelspec=kernel)), tmp_path/"asks.ipynb")
    with isolate_settings() as overridden: done = _execute_notebook(tmp_path/"asks.ipynb", {}, tmp_path/"done.ipynb")
    *_, asked, own = (cell.outputs[0].text.split() for cell in nbformat.read(done, 4).cells if cell.get("outputs"))
    assert (asked, own) == ([sys.executable, "False"], ["False", "10000"])  # how it looks for garbage adds no name
    assert {Path(name).name for name in overridden} >= {"00.py", "kernel.json", "JUPYTER_PATH", "PYTHONSTARTUP"}
    saw("this Python, no start-up file; both recorded")


@fault(88, "keras.json with another type of numbers, order of channels or epsilon", "has no effect")
def test_settings_of_keras_have_no_effect(saw):
    import keras

    from radiogal.training import start_keras
    keras.config.set_floatx("float16")
    keras.config.set_epsilon(0.1)
    keras.config.set_image_data_format("channels_first")
    start_keras(1)
    assert ((keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format())
            == ("float32", 1e-7, "channels_last"))
    saw("float32, 1e-7, channels_last")


def commit_in(folder):
    "A repository with one commit."
    folder.mkdir(parents=True, exist_ok=True)
    git = ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b.c"]
    plain = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    ask = lambda *words: subprocess.run([*git, *words], check=True, capture_output=True, text=True,
                                        env=plain).stdout.strip()
    ask("init", "-q")
    ask("commit", "-q", "--allow-empty", "-m", "first")
    return ask("rev-parse", "HEAD")


@fault(89, "a repository around the project, or GIT_DIR", "its commit is not recorded as the project's")
def test_commit_of_another_repository_is_not_the_projects(tmp_path, monkeypatch, saw):
    outer, own = commit_in(tmp_path), commit_in(tmp_path/"clone")
    (tmp_path/"copy").mkdir()
    assert _git_commit(tmp_path) == (outer, True) and _git_commit(tmp_path/"copy") == ("unknown", False)
    for key, value in dict(GIT_DIR=tmp_path/".git", GIT_WORK_TREE=tmp_path).items():
        monkeypatch.setenv(key, str(value))
        assert _git_commit(tmp_path/"clone") == (own, True) and _git_commit(tmp_path/"copy") == ("unknown", False)
    saw("unknown, or the clone's own commit")


def damage_some(rng, files, n):
    "Flip a byte in some files, and cut others; their content now."
    hit = rng.sample(files, n)
    for path in hit:
        content = path.read_bytes()
        at = rng.randrange(len(content))
        if rng.random() < 0.3: os.truncate(path, at)
        else: path.write_bytes(content[:at] + bytes([content[at] ^ rng.randrange(1, 256)]) + content[at + 1:])
    return {path: path.read_bytes() for path in hit}


def list_atomic_writes(folder):
    "Files that hold something, in order."
    files = [path for path in folder.rglob("*") if path.is_file() and not path.parent.name.startswith(".")]
    return sorted(path for path in files if path.stat().st_size)


def is_told(path, content, said, folder):
    "Was a damaged file named, or made again?"
    return str(path.relative_to(folder)) in said or path.read_bytes() != content


def lose_some(folder):
    "Remove a network, a prepared set, the executed report, figures, all of scraping; what of it records still name."
    results = folder/"results"/"smoke"
    cell = sorted(results.glob("training/*/*/fold0/seed1/metrics.json"))[0].parent
    lost = [*(cell/name for name in ("network.weights.h5", "metrics.json", "predictions.parquet")),
            results/"preparation"/"FIRST"/"prepared.h5", results/"notebooks"/"41_final_plots.ipynb",
            *(folder/"figures"/"smoke").glob("*.png")]
    for path in lost: path.unlink()
    for name in ("scraping", "steps/scraping"): shutil.rmtree(results/name)
    return {str(path.relative_to(folder)) for path in lost}


N_FLIPS = 30, 10  # Of a run, and of a catalogue


@fault(90, "40 flips and cuts below results/, data/ and a catalogue, drawn at random",
       "named or made again; the same numbers")
@fault(77)
def test_random_damage_is_named_or_made_again_and_so_is_what_was_lost(smoke_run, tmp_path, saw):
    rng, folder = random.Random(1), shutil.copytree(smoke_run, tmp_path/"project", symlinks=True)  # noqa: S311
    numbers = read_numbers(folder)
    ask = ("classify", "--run", "smoke", "--task", "FIRST", "--survey", "FIRST", "--network", "alhassan",
           "--shard-size", "10", "--positions", "results/smoke/catalogues/targets.ecsv", "--out", "mine", "--keep",
           "cutouts", "downloads")
    status, said = finish(radiogal(folder, *ask))
    assert status == 0, said
    catalogue = (folder/"mine"/"catalogue.fits").read_bytes()
    lost = lose_some(folder)
    assert lost <= set(sum(_find_lost(folder, folder/"results"/"smoke").values(), []))
    summary = folder/"results"/"smoke"/"provenance.json"  # written anew at each call
    files = [path for part in ("results", "data") for path in list_atomic_writes(folder/part) if path != summary]
    hit = damage_some(rng, [path for path in files if path.suffix != ".sqlite"], N_FLIPS[0])
    files = list_atomic_writes(folder/"mine")
    hit_there = damage_some(rng, [path for path in files if path.suffix != ".sqlite"], N_FLIPS[1])
    status, said = finish(radiogal(folder, "run", "smoke", "--cores", "2"))
    assert status == 0 and "Traceback" not in said, said
    assert not [path for path, content in hit.items() if not is_told(path, content, said, folder)], said
    assert read_numbers(folder) == numbers and not [place for place in lost if not (folder/place).is_file()]
    status, said = finish(radiogal(folder, *ask))
    assert status == 0 and "Traceback" not in said, said
    assert not [path for path, content in hit_there.items() if not is_told(path, content, said, folder/"mine")], said
    assert (folder/"mine"/"catalogue.fits").read_bytes() == catalogue
    for manifest in (folder/"data").rglob("*.sqlite"): flip(manifest)
    status, said = finish(radiogal(folder, "run", "smoke", "--cores", "2"))
    assert status == 0 and said.count(".sqlite") == 2 and "Nothing to do" in said, said
    assert read_numbers(folder) == numbers
    saw(f"{len(hit) + len(hit_there)} of {sum(N_FLIPS)} named or made again, and a network, a prepared set, all of "
        "scraping, an executed report and figures that were lost; every number as before")
