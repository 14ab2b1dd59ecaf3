"The report of a run, as its reader meets it: from finished results, from failed ones, from some of different makes."
import json
import re
import shutil
from contextlib import nullcontext

import pandas as pd
import pytest
from conftest import copy_project, finish, radiogal

from radiogal.config import read_config, write_atomic, write_json
from radiogal.diagnosis import read_trainings, read_transfers
from radiogal.document import write_pdf
from radiogal.figures import _check_same
from radiogal.provenance import sign

GRID = """
[transfer.pairs]
FIRST-VLASS = { source = "FIRST", target = "VLASS" }

[transfer.methods]
zero-shot = { frozen = "everything" }
freeze-1 = { frozen = "conv1" }
"""


def stamp_networks(folder):
    "When each network was written."
    return {path: path.stat().st_mtime_ns for path in (folder/"results"/"smoke").glob("t*/**/network.weights.h5")}


LOST = "results/smoke/training/FIRST/alhassan/fold0/seed1/network.weights.h5"


@pytest.fixture(scope="module")
def grown(smoke_run, tmp_path_factory):
    "A smoke run that lost a network and went on to two folds and two ways of transfer; its networks before, stamped."
    folder = shutil.copytree(smoke_run, tmp_path_factory.mktemp("report")/"project", symlinks=True)
    toml = folder/"config"/"smoke.toml"
    text = toml.read_text()
    toml.write_text(text[:text.index("[transfer.pairs]")].replace("folds = [0]", "folds = [0, 1]") + GRID)
    before = stamp_networks(folder)
    (folder/LOST).unlink()
    status, said = finish(radiogal(folder, "run", "smoke", "--cores", "2"))
    assert status == 0, said
    return folder, before


@pytest.fixture(scope="module")
def finished(grown): return grown[0]


def test_what_is_new_or_lost_is_trained_and_the_rest_is_left(smoke_run, grown):
    folder, before = grown
    after = stamp_networks(folder)
    assert (len(before), len(after)) == (3, 8)  # trainings and transfers
    assert [path.relative_to(folder).as_posix() for path in before if after[path] != before[path]] == [LOST]
    assert (folder/LOST).read_bytes() == (smoke_run/LOST).read_bytes()


def read_tables(folder):
    "Every byte of the report's tables and numbers."
    report = folder/"results"/"smoke"/"report"
    return {p.name: p.read_bytes() for p in sorted(report.glob("*")) if p.name not in ("provenance.json",)}


def test_redrawn_report_is_the_same_bytes_and_a_page_without_code(finished):
    before = read_tables(finished)
    figures = {p.name: p.read_bytes() for p in (finished/"figures"/"smoke").iterdir()}
    shutil.rmtree(finished/"figures")
    page = finished/"results"/"smoke"/"report.html"
    page.unlink()
    status, said = finish(radiogal(finished, "report", "smoke"))
    assert status == 0, said
    assert read_tables(finished) == before and "transfers_simulated.csv" in before
    assert {p.name: p.read_bytes() for p in (finished/"figures"/"smoke").iterdir()} == figures
    text = page.read_text()
    captions = re.findall(r"<strong>Figure (\d+)\.</strong>", text)
    assert captions == [str(k + 1) for k in range(len(captions))] and 5 <= len(captions) <= 15
    assert len(re.findall(r'<img src="data:image/png;base64', text)) == len(captions)
    assert "<table" in text and "zero-shot" in text and "SIMULATED" in text
    assert "def publish" not in text and "import " not in text and "<script" not in text
    assert not re.search(r'src="https?:', text)


def test_no_published_number_of_real_sources_is_beside_simulated_ones(finished):
    names = [path.name for path in (finished/"figures"/"smoke").iterdir()]
    assert names and not [name for name in names if name.startswith("plot_beside")]


def test_a_run_ends_in_a_pdf(finished, tmp_path):
    if reason := write_pdf(write_atomic(tmp_path/"page.html", "<p>said</p>")): pytest.skip(reason)
    assert (finished/"results"/"smoke"/"report.pdf").read_bytes().startswith(b"%PDF")


def test_points_of_the_report_show_what_the_networks_were_given(finished):
    shown = json.loads((finished/"results"/"smoke"/"report"/"figures.json").read_text())["figures"]
    (points,) = [figure["points"] for figure in shown if figure["file"].startswith("plot_agreement")]
    assert points and all(picture.startswith("data:image/webp;base64,") for *_, picture in points)
    text = (finished/"results"/"smoke"/"report.html").read_text()
    assert text.count("<image ") == len(points) and len(text) < 6e6


def test_transfer_table_compares_both_ways_with_training_from_scratch(finished):
    table = pd.read_csv(finished/"results"/"smoke"/"report"/"transfers_simulated.csv").set_index("method")
    assert list(table.index) == ["zero-shot", "freeze-1"] and (table["runs"] == 2).all() and (table["folds"] == 2).all()
    assert table[["gain", "gain_low", "gain_high"]].notna().all(axis=None)
    assert table.loc["zero-shot", ["p_value", "p_holm"]].notna().all()
    assert table.loc["freeze-1", ["p_value", "p_holm"]].isna().all()  # trained for half as long: not judged
    scratch = pd.read_csv(finished/"results"/"smoke"/"report"/"scores_simulated.csv").set_index("task")
    assert table["scratch"].tolist() == pytest.approx([scratch.loc["VLASS", "accuracy"]]*2)


def change_provenance(folder, change):
    "Results that come from somewhere else."
    path = folder/"results"/"smoke"/"training"/"VLASS"/"alhassan"/"fold1"/"seed1"/"provenance.json"
    provenance = json.loads(path.read_text())
    change(provenance)
    write_json(path, sign({key: value for key, value in provenance.items() if key != "digest"}))


@pytest.mark.parametrize("change, said", [
    (lambda p: None, ""),
    (lambda p: p.update(code="0"*64), "different code of 22_modelling"),
    (lambda p: p["inputs"].update({"radiogal/models.py": p.pop("code")}),
     "different code of 22_modelling, radiogal/models.py"),
    (lambda p: p["resolved_settings"]["training"].update(epochs=99), "other settings (recipe)"),
    (lambda p: p["resolved_settings"]["preparation"].update(clip_sigma=5.0), "other settings (preparation)")])
def test_results_of_different_code_or_settings_are_named(finished, tmp_path, change, said):
    folder = shutil.copytree(finished, tmp_path/"project")
    change_provenance(folder, change)
    config = read_config(folder/"config"/"smoke.toml")
    results = folder/"results"/"smoke"
    runs = [*read_trainings(results, config).values(), *read_transfers(results, config).values()]
    with pytest.raises(ValueError, match=re.escape(said)) if said else nullcontext(): _check_same(runs, config)


def test_mixed_results_are_drawn_when_asked_and_a_failed_cell_is_a_missing_run(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path/"project")
    results = folder/"results"/"smoke"
    change_provenance(folder, lambda p: p.update(code="0"*64))
    cell = results/"transfer"/"FIRST-VLASS"/"freeze-1"/"all"/"alhassan"/"fold1"/"seed1"
    shutil.rmtree(cell)
    cell.mkdir()
    (cell/"error.txt").write_text("BadWeights: of another shape\n\nTraceback\n")
    status, said = finish(radiogal(folder, "figures", "smoke"))
    assert status == 1 and "different code of 22_modelling" in said and "mixed = True" in said, said
    status, said = finish(radiogal(folder, "figures", "smoke", "--mixed"))
    assert status == 0, said
    missing = pd.read_csv(results/"report"/"missing_runs_simulated.csv")
    assert missing["place"].tolist() == ["transfer/FIRST-VLASS/freeze-1/all/alhassan/fold1/seed1"]
    assert missing["reason"][0] == "BadWeights: of another shape"
    table = pd.read_csv(results/"report"/"transfers_simulated.csv").set_index("method")
    assert table["runs"].to_dict() == {"zero-shot": 2, "freeze-1": 1}


def test_no_results_say_what_to_run(finished, tmp_path):
    folder = copy_project(tmp_path)
    status, said = finish(radiogal(folder, "figures", "smoke"))
    assert status == 1 and "make run-all RUN=smoke first" in said


def test_kept_results_are_enough_for_the_report(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path/"project")
    before = read_tables(folder)
    status, said = finish(radiogal(folder, "keep", "smoke"))
    assert status == 0, said
    title, findings = (folder/"docs"/"findings.md").read_bytes().split(b"\n", 1)
    assert b"simulated" in title and findings == before["findings.md"].split(b"\n", 1)[1]
    shutil.rmtree(folder/"results")
    status, said = finish(radiogal(folder, "figures", "smoke"))
    assert status == 0, said
    after = read_tables(folder)
    assert {name: after[name] for name in before if name.endswith((".csv", ".tex"))} == {
        name: content for name, content in before.items() if name.endswith((".csv", ".tex"))}
