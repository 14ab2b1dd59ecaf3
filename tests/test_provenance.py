"What a result says of how it was made, and what makes it stale: seeds, tasks, code, kept results, exports."
import json
import shutil
from dataclasses import replace

import nbformat
import pytest
from conftest import ROOT

from radiogal import fetch, provenance, training, transfer
from radiogal.config import Cell, Paths, find_images, parse_config, read_config
from radiogal.datasets import sample_set, write_prepared
from radiogal.joining import hash_kept
from radiogal.provenance import (
    Origin,
    _call_papermill,
    _NotebookFailed,
    check_network,
    digest_code,
    find_change,
    find_unexported,
    run_notebook,
    write_provenance,
)
from radiogal.training import train_cell
from radiogal.workflow import plan_run

SEEDED = {path.stem for path in sorted((ROOT/"nbs").glob("[0-9]*.ipynb"))
          for cell in nbformat.read(path, 4).cells if "parameters" in cell.metadata.get("tags", [])
          and "\nseed = -1" in cell.source}


@pytest.fixture
def given(monkeypatch):
    "Parameters that notebooks are given, where none is run."
    seen = {}
    def note(notebook, parameters, executed, **told):
        seen[notebook.stem] = parameters
        executed.touch()
    monkeypatch.setattr(provenance, "_execute_notebook", note)
    monkeypatch.chdir(ROOT)
    return seen


@pytest.mark.parametrize("seed, used", [(7, [7]), (None, [1])])
@pytest.mark.parametrize("notebook", ["22_modelling", "23_transfer", "32_classify", "41_final_plots", "18_datasets"])
def test_a_step_is_given_the_seed_and_tells_the_settings_that_it_used(given, tmp_path, notebook, seed, used):
    path = run_notebook(notebook, "smoke", {}, tmp_path/"executed.ipynb", tmp_path, [], seed=seed)
    made, config = json.loads(path.read_text()), read_config(ROOT/"config"/"smoke.toml", seed)
    assert made["resolved_settings"]["seeds"] == used == list(config.seeds)
    assert notebook not in SEEDED or given[notebook]["seed"] == (-1 if seed is None else seed)


def test_notebooks_that_write_results_of_their_own_take_a_seed():
    "Each cell of a grid has a provenance.json of its own, a catalogue and a report a line of settings."
    assert {"22_modelling", "23_transfer", "32_classify", "40_benchmark", "41_final_plots"} <= SEEDED
    for name in SEEDED:
        code = [cell.source for cell in nbformat.read(ROOT/"nbs"/f"{name}.ipynb", 4).cells
                if cell.cell_type == "code" and "lesson" not in cell.metadata.get("tags", [])]
        assert any("None if seed < 0 else seed" in source for source in code), name


class Stopped(Exception): "In place of a training."


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    "Results of a run that has prepared sets only."
    config, folder = read_config(ROOT/"config"/"smoke.toml"), tmp_path_factory.mktemp("results")
    for survey in ("FIRST", "VLASS"):
        write_prepared(sample_set(config, survey), find_images(folder, survey)/"prepared.h5")
    return folder


@pytest.fixture
def checkpoints(prepared, tmp_path, monkeypatch):
    "Where a training, or a transfer, of some code looks for checkpoints."
    config, seen = read_config(ROOT/"config"/"smoke.toml"), []
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(ROOT)

    def stop(*given):
        seen.append(given[-2])
        raise Stopped
    monkeypatch.setattr(training, "fit_network", stop)
    monkeypatch.setattr(transfer, "_retrain_network", stop)

    def ask(make, cell, code):
        with pytest.raises(Stopped): make(tmp_path, config, "smoke", cell, code)
        return seen[-1]
    return ask


def test_a_training_goes_on_from_a_checkpoint_of_the_same_code_only(checkpoints):
    cell = ("FIRST", "alhassan", 0, 1)
    one, again, other = (checkpoints(train_cell, cell, code*64) for code in ("a", "a", "b"))
    assert one == again != other and one.parent == other.parent


def test_a_transfer_goes_on_from_a_checkpoint_of_the_same_code_only(checkpoints, monkeypatch):
    monkeypatch.setattr(transfer, "_describe_origin", lambda *_: None)
    monkeypatch.setattr(transfer, "find_change", lambda *_: "other code")
    monkeypatch.setattr(transfer, "_carry_weights", lambda *_: None)
    cell = Cell("FIRST-VLASS", "freeze-1", None, "alhassan", 0, 1)
    one, again, other = (checkpoints(transfer._transfer_cell, cell, code*64) for code in ("a", "a", "b"))
    assert one == again != other and one.parent == other.parent


def write_old_result(folder, origin):
    "A result with a record as it was before it had a digest of its code, and of itself; the bytes of both."
    (folder/"metrics.json").write_text("{}")
    record = write_provenance(folder, origin, read_config(ROOT/"config"/"smoke.toml"), "smoke", ROOT, {})
    told = json.loads(record.read_text())
    record.write_text(json.dumps({key: value for key, value in told.items() if key not in ("code", "digest")}))
    return {path: path.read_bytes() for path in folder.iterdir()}


def test_a_result_of_before_the_digest_of_its_code_is_kept_and_said_to_be_one(tmp_path):
    origin = Origin("22_modelling", "a"*64, {}, {})
    before = write_old_result(tmp_path, origin)
    assert find_change(tmp_path, origin, ROOT) == "it was made before the digest of its code was kept"
    check_network(tmp_path)  # as a report does that reads it
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_says_why_a_result_of_before_the_digest_is_made_again(checkpoints, tmp_path, caplog):
    caplog.set_level("INFO", "radiogal.training")
    folder = tmp_path/"training"/"FIRST"/"alhassan"/"fold0"/"seed1"
    folder.mkdir(parents=True)
    write_old_result(folder, Origin("22_modelling", "a"*64, {}, {}))
    checkpoints(train_cell, ("FIRST", "alhassan", 0, 1), "a"*64)
    assert "fold0/seed1 is made: it was made before the digest of its code was kept" in caplog.text


def plan_preparation(settings):
    "The settings that a preparation depends on, as text."
    return plan_run(parse_config(settings, "made"), Paths(ROOT), "smoke").settings["preparation"]


def test_a_preparation_depends_on_the_labels_of_its_tasks():
    smoke = read_config(ROOT/"config"/"smoke.toml").model_dump() | dict(transfer={}, classes=("FRI", "FRII", "Bent"))
    task = dict(images="FIRST", classes=dict(FRI=["FRI"], FRII=["FRII"]))
    before = plan_preparation(smoke | dict(tasks=dict(fr=task)))
    assert plan_preparation(smoke | dict(tasks=dict(fr=task, same=task))) == before  # no other label, the same set
    wider = dict(images="FIRST", classes=dict(FR=["FRI", "FRII"], Bent=["Bent"]))
    assert plan_preparation(smoke | dict(tasks=dict(fr=task, wider=wider))) != before
    elsewhere = wider | dict(images="VLASS")
    assert plan_preparation(smoke | dict(tasks=dict(fr=task, wider=elsewhere))) != before  # folds are those of all


@pytest.mark.parametrize(("dataset", "split", "matters"), [
    ("frdeep", "train", True), ("frdeep", "test", False), ("griese", "fold0", False)])
def test_a_real_run_depends_on_the_rows_of_the_registry_that_it_fetches(monkeypatch, dataset, split, matters):
    list_files = lambda: plan_run(read_config(ROOT/"config"/"real-short.toml"), Paths(ROOT), "real-short").files
    before, rows = list_files(), fetch.read_registry()
    edited = next(row for row in rows if (row.dataset, row.survey, row.split) == (dataset, "FIRST", split))
    monkeypatch.setattr(fetch, "read_registry", lambda: tuple(
        replace(row, sha256="0"*64) if row == edited else row for row in rows))
    assert (list_files() != before) == matters
    rules = (ROOT/"workflow"/"Snakefile").read_text()
    for rule in ("rule catalogues:", 'name: f"scraping_{part}"', "rule published:", "rule panels:"):
        assert "registered=REGISTERED" in rules.partition(rule)[2].partition("shell:")[0]


NOTEBOOK = """import radiogal.helper
radiogal.helper.measure()"""


def digest(folder, module, run=NOTEBOOK):
    "Of a project of one notebook and one module."
    (folder/"radiogal").mkdir(parents=True)
    (folder/"radiogal"/"helper.py").write_text(module)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(run)])
    nbformat.write(notebook, folder/"00_run.ipynb")
    return digest_code(folder/"00_run.ipynb", folder/"radiogal")


@pytest.mark.parametrize("run", [NOTEBOOK, "import radiogal.helper as h\nh.measure()",
                                 "from radiogal import helper\nhelper.measure()",
                                 "from radiogal.helper import measure\nmeasure()",
                                 "def later():\n    import radiogal.helper\n    radiogal.helper.measure()\nlater()"])
def test_code_is_reached_however_it_is_imported(tmp_path, run):
    one = digest(tmp_path/"one", "def measure(): return 1", run)
    assert digest(tmp_path/"same", "def measure(): return 1  # the same", run) == one
    assert digest(tmp_path/"other", "def measure(): return 2", run) != one


def test_pieces_of_code_are_kept_and_read_again_when_source_or_file_changed(tmp_path, monkeypatch):
    def ask(n):
        (tmp_path/"radiogal"/"helper.py").write_text(f"def measure(): return {n}")
        provenance._list_parts.cache_clear()
        return digest_code(tmp_path/"00_run.ipynb", tmp_path/"radiogal")
    digest(tmp_path, "")
    one, two = ask(1), ask(2)
    assert one != two and not list(tmp_path.rglob("helper.json"))
    (tmp_path/".snakemake").mkdir()
    assert [ask(1), ask(2), ask(1)] == [one, two, one]
    kept, = tmp_path.rglob("helper.json")
    kept.write_text(kept.read_text().replace("value=1", "value=3"))
    assert ask(1) == one
    with monkeypatch.context() as patch:  # what another reader kept is not believed
        patch.setattr(provenance, "_READER", "another")
        patch.setattr(provenance, "_split_source", lambda source: ())
        assert ask(1) != one
    assert ask(1) == one
    monkeypatch.setattr(provenance, "_split_source", None)  # nothing is read twice
    assert ask(1) == one
    with pytest.raises(TypeError): ask(2)


def test_versions_of_what_computes_are_part_of_the_code(tmp_path, monkeypatch):
    module = "import numpy\ndef measure(): return numpy.pi"
    one = digest(tmp_path/"one", module)
    monkeypatch.setattr(provenance, "_find_version", lambda package: f"another {package}")
    assert digest(tmp_path/"other", module) != one


def test_a_report_of_real_sources_depends_on_the_kept_results_that_it_reads(tmp_path):
    places = [f"docs/results/{run}" for run in ("benchmark", "optimisers")]
    for place, name in zip(places, ("benchmark/published_real.csv", "training/adam/dense/fold0/seed1/history.csv"),
                           strict=True):
        (tmp_path/place/name).parent.mkdir(parents=True)
        shutil.copy(ROOT/place/name, tmp_path/place/name)
    before = hash_kept(tmp_path, [*places, ""])
    for path in list(before):
        (tmp_path/path).write_text("other")
        assert hash_kept(tmp_path, places) != before
        before = hash_kept(tmp_path, places)
    rule = (ROOT/"workflow"/"Snakefile").read_text().partition("rule report:")[2]
    assert "kept=kept()" in rule and "style=STYLE" in rule


def test_a_notebook_that_is_not_exported_is_found(tmp_path):
    shutil.copytree(ROOT/"nbs", tmp_path/"nbs")
    shutil.copytree(ROOT/"radiogal", tmp_path/"radiogal", ignore=shutil.ignore_patterns("__pycache__"))
    assert find_unexported(tmp_path/"nbs", tmp_path/"radiogal") == []
    edit = {"22_modelling": "WARMUP = 1/30", "44_joining": "def hash_kept("}
    for name, text in edit.items():
        path = tmp_path/"nbs"/f"{name}.ipynb"
        assert path.read_text().count(text) == 1
        path.write_text(path.read_text().replace(text, f"{text[:-1]}_"))
    (tmp_path/"radiogal"/"models.py").unlink()
    assert find_unexported(tmp_path/"nbs", tmp_path/"radiogal") == ["21_models.ipynb", "22_modelling.ipynb",
                                                                    "44_joining.ipynb"]


@pytest.mark.parametrize(("deaths", "status"), [(0, "done"), (2, "done"), (3, "died at its start, 3 times in a row")])
def test_a_kernel_whose_port_was_taken_is_started_again(monkeypatch, deaths, status):
    def start(*_, **__):
        calls.append(1)
        if len(calls) <= deaths: raise RuntimeError("Kernel died before replying to kernel_info")
        return "done"
    calls = []
    monkeypatch.setattr("papermill.execute_notebook", start)
    if status == "done": assert _call_papermill("a", name="a") == "done" and len(calls) == deaths + 1
    else:
        with pytest.raises(_NotebookFailed, match=status): _call_papermill("a", name="a")


def test_an_error_of_a_kernel_at_work_is_not_tried_again(monkeypatch):
    def fail(*_, **__):
        calls.append(1)
        raise RuntimeError("Kernel died")
    calls = []
    monkeypatch.setattr("papermill.execute_notebook", fail)
    with pytest.raises(RuntimeError, match="Kernel died$"): _call_papermill("a", name="a")
    assert len(calls) == 1
