"The whole graph, as a user meets it: from settings to figures, killed, broken, run again. Simulated, a minute each."
import json
import os
import random
import shutil
import signal

import nbformat
import pytest
from conftest import (
    OF_SURVEYS,
    copy_project,
    find_processes,
    finish,
    forget_later,
    list_moments,
    radiogal,
    read_numbers,
    stop_when,
    wait_for,
)

from radiogal.provenance import _LESSON, _list_written


def read_metrics(folder):
    "Every byte of every metrics file of the smoke run."
    return {str(p.relative_to(folder)): p.read_bytes()
            for p in sorted((folder/"results"/"smoke").glob("**/metrics.json"))}


def test_run_leaves_notebooks_figures_and_provenance(smoke_run):
    folder = smoke_run
    results = folder/"results"/"smoke"
    executed = {p.stem.split("-")[0] for p in (results/"notebooks").glob("*.ipynb")}
    assert {"04_surveys", "10_sky", "14_scraping", "22_modelling", "23_transfer", "41_final_plots"} <= executed
    figures = list((folder/"figures"/"smoke").glob("*.png"))
    assert len(figures) >= 8 and {f.name for f in figures if "simulated" not in f.name} == OF_SURVEYS
    provenance = json.loads((results/"provenance.json").read_text())
    assert provenance["kind"] == "simulated" and all(s["peak_memory_mib"] > 0 for s in provenance["steps"])
    assert not list(folder.glob("**/*.part*"))


def test_no_lesson_is_executed(smoke_run):
    executed = list((smoke_run/"results"/"smoke"/"notebooks").glob("*.ipynb"))
    assert executed
    for path in executed:
        assert not [c for c in nbformat.read(path, 4).cells if _LESSON in c.metadata.get("tags", [])], path.name


def test_each_file_is_in_the_record_of_the_step_that_made_it(smoke_run):
    results = smoke_run/"results"/"smoke"
    made = {path for part in ("scraping", "preparation", "training", "transfer") for path in (results/part).rglob("*")
            if path.is_file() and path.name != "provenance.json"}
    told = {smoke_run/place: record for place, (_, record) in _list_written(results).items()}
    assert made and sorted(made - set(told)) == []
    for survey in ("FIRST", "VLASS"):
        records = {told[path] for path in made if path.is_relative_to(results/"scraping"/survey)}
        assert [json.loads(record.read_text())["parameters"]["surveys"] for record in records] == [[survey]]


def test_second_run_executes_nothing_and_says_so(smoke_run):
    folder = smoke_run
    before = read_metrics(folder)
    status, said = finish(radiogal(folder, "run", "smoke"))
    assert status == 0 and "Nothing to do" in said
    assert read_metrics(folder) == before


def test_cutouts_made_again_ask_the_archives_nothing(smoke_run, tmp_path):
    folder = shutil.copytree(smoke_run, tmp_path/"project")
    scraping = folder/"results"/"smoke"/"scraping"
    before = {table: table.read_bytes() for table in scraping.glob("*/cutouts.ecsv")}
    logs = [table.with_name("requests.txt") for table in before]
    assert len(logs) == 2 and all(log.read_text() for log in logs)
    shutil.rmtree(scraping)
    given = dict(surveys=[table.parent.name for table in before], out_dir="results/smoke/scraping",
                 raw_dir="data/raw/smoke", targets="results/smoke/catalogues/targets.ecsv",
                 sky="results/smoke/sky/sky.ecsv")
    status, said = finish(radiogal(folder, "notebook", "14_scraping", "smoke", "--executed", folder/"again.ipynb",
                                   "--out-dir", "results/smoke/again", "--parameters", json.dumps(given)))
    assert status == 0, said
    assert {table: table.read_bytes() for table in before} == before
    assert [log.read_text() for log in logs] == ["", ""]


def test_broken_cell_is_named_and_what_does_not_depend_on_it_is_finished(smoke_run, tmp_path):
    folder = shutil.copytree(smoke_run, tmp_path/"project")
    path = folder/"nbs"/"23_transfer.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.cells.insert(1, nbformat.v4.new_code_cell("1/0"))
    nbformat.write(notebook, path)
    os.remove(folder/"results"/"smoke"/"densities"/"densities.json")
    status, said = finish(radiogal(folder, "run", "smoke"))
    assert status != 0
    assert "23_transfer: cell 1 failed with ZeroDivisionError" in said, said
    ran = {line.split()[0].split("-")[0] for line in said.splitlines() if line.endswith(" s")}
    assert ran == {"04_surveys"}
    kept = nbformat.read(next((folder/"results"/"smoke"/"notebooks").glob("23_transfer-*.ipynb")), 4)
    assert any(o.output_type == "error" for c in kept.cells if c.cell_type == "code" for o in c.outputs)


def draw_kills(folder, seed):
    "Ten moments of a run's later parts, in one process' order; a pause (s) after each but the last, when it might end."
    rng, moments = random.Random(seed), list_moments(folder)  # noqa: S311
    in_order = lambda path: (path.parts[3:-1][:1], moments.index(path))  # one survey after the other
    drawn = [rng.sample([path for path in moments if path.parts[2] == part], n)
             for part, n in (("training", 3), ("transfer", 3), ("classify", 2), ("report", 2))]
    return [(path, rng.uniform(0, 1) if path.parts[2] != "report" else 0.)
            for several in drawn for path in sorted(several, key=in_order)]


def list_trainings(folder):
    "The steps that trainings were dealt to."
    return sorted(path.name for path in (folder/"results"/"smoke"/"steps"/"training").iterdir())


def test_killed_ten_times_with_many_trainings_a_step_it_ends_as_if_uninterrupted_with_one_a_step(smoke_run, tmp_path):
    folder = forget_later(shutil.copytree(smoke_run, tmp_path/"project", symlinks=True))
    for moment, pause in draw_kills(smoke_run, seed=1):
        process = radiogal(folder, "run", "smoke", "--cores", "1")
        assert stop_when((folder/moment).exists, process, pause), f"the run ended before it was killed at {moment}"
        process.communicate()
    status, said = finish(radiogal(folder, "run", "smoke", "--cores", "1"))
    assert status == 0, said
    assert (list_trainings(folder), list_trainings(smoke_run)) == (["1of1"], ["1of2", "2of2"])
    assert read_numbers(folder) == read_numbers(smoke_run)
    assert not list(folder.glob("**/.*.part*"))


@pytest.mark.full
def test_a_seeded_run_goes_on_after_ctrl_c_and_each_record_tells_its_seed_and_settings(tmp_path):
    folder = copy_project(tmp_path)
    results, toml = folder/"results"/"smoke", folder/"config"/"smoke.toml"
    text = toml.read_text().replace('surveys = ["FIRST", "VLASS"]', 'surveys = ["FIRST"]')
    toml.write_text(text[:text.index("[transfer.pairs]")])  # Each kind of record, and no more
    asked = "run", "smoke", "--seed", "7", "--cores", "2"
    process = radiogal(folder, *asked)
    assert stop_when((results/"sky"/"sky.ecsv").exists, process, stop=signal.SIGINT)
    status, _ = finish(process)
    assert status != 0
    wait_for(lambda: not find_processes(folder))
    status, said = finish(radiogal(folder, *asked))
    assert status == 0, said
    made = [json.loads(path.read_text()) for path in results.rglob("provenance.json")]
    assert len(made) > 9 and {tuple(each["resolved_settings"]["seeds"]) for each in made} == {(7,)}
    settings = {each["settings"] for each in made}
    assert len(settings) == 1
    assert f"settings `{settings.pop()}`" in (results/"report"/"findings.md").read_text()


def test_real_run_without_mirror_and_network_stops_before_any_work(tmp_path):
    folder = copy_project(tmp_path)
    status, said = finish(radiogal(folder, "run", "real", HTTPS_PROXY="http://127.0.0.1:9",
                                   https_proxy="http://127.0.0.1:9"))
    assert status != 0
    assert "connect to the network" in said and "RADIOGAL_MIRROR" in said
    assert not list((folder/"results").glob("**/*.ipynb"))


def test_wrong_hash_in_the_mirror_is_named_and_nothing_used(tmp_path, mirror):
    folder, copy = copy_project(tmp_path/"project" if (tmp_path/"project").mkdir() is None else None), tmp_path/"mirror"
    for path in mirror.glob("**/*.csv"):
        target = copy/path.relative_to(mirror)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes().replace(b"II", b"I", 1))
    status, said = finish(radiogal(folder, "run", "real", RADIOGAL_MIRROR=str(copy)))
    assert status != 0 and ("expected SHA-256" in said or "bytes, found" in said)
    assert not list((folder/"data"/"raw").glob("**/*.csv"))


def test_only_one_run_at_a_time(smoke_run):
    from radiogal.workflow import _take_lock
    folder = smoke_run
    with _take_lock(folder):
        status, said = finish(radiogal(folder, "run", "smoke"))
    assert status != 0 and "another run is at work" in said


@pytest.mark.parametrize("line, told", [("epochs = 0", "training.epochs = 0"), ("epoch = 3", "epoch: unknown key")])
def test_wrong_setting_is_one_line(tmp_path, line, told):
    folder = copy_project(tmp_path)
    toml = folder/"config"/"smoke.toml"
    toml.write_text(toml.read_text().replace("epochs = 2", line))
    status, said = finish(radiogal(folder, "run", "smoke"))
    assert status != 0 and told in said and "Traceback" not in said
