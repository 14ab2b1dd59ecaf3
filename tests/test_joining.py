"New results of a run beside kept ones: which a report is drawn from, what it says of it, and what it refuses to mix."
import json
import shutil
import subprocess
import sys

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from conftest import ROOT

from radiogal import workflow
from radiogal.benchmark import _read_validation
from radiogal.config import Paths, read_config, write_atomic, write_json
from radiogal.diagnosis import _ORIGINS, save_figure, tell_origins
from radiogal.joining import choose_results, find_places, publish_findings
from radiogal.provenance import read_signed, sign

KEPT = ROOT/"docs"/"results"/"optimisers"  # Three optimisers, three folds each, of one set of images
NEW = "training/adam/dense/fold1/seed1"


@pytest.fixture
def config(): return read_config(ROOT/"config"/"optimisers.toml")


@pytest.fixture
def results(tmp_path):
    "One new training of a run of which nine were kept."
    shutil.copytree(KEPT/NEW, tmp_path/"results"/"optimisers"/NEW)
    return tmp_path/"results"/"optimisers"


def change(results, edit, place=NEW):
    "A new training that was made otherwise."
    path = results/place/"provenance.json"
    made = read_signed(path)
    edit(made)
    write_json(path, sign({key: value for key, value in made.items() if key != "digest"}))


def of_images(made): made["inputs"] |= {path: "f"*64 for path in made["inputs"] if path.endswith("/prepared.h5")}
def of_recipe(made): made["resolved_settings"]["recipes"] = dict(dense=dict(epochs=99))
def of_code(made): made |= dict(code="1"*64, notebook="22_modelling")  # kept ones have an older number


def join(results, config, mixed=False):
    "Where each result comes from."
    joined = choose_results(find_places(results, KEPT), results.parent/".joined"/"optimisers", config, mixed)
    return joined, pd.read_csv(joined/_ORIGINS, keep_default_na=False).set_index("place")


def test_one_new_result_does_not_hide_the_kept_ones(results, config):
    told = json.loads((results/NEW/"metrics.json").read_text())
    (results/NEW/"metrics.json").write_text(json.dumps(told | dict(epochs=7)))
    joined, origins = join(results, config)
    assert origins["origin"].value_counts().to_dict() == {"kept": 8, "new": 1} and set(origins["why"]) == {""}
    judged = _read_validation(joined, config)
    assert len(judged) == len(_read_validation(KEPT, config)) == 9
    assert [j.run.metrics["epochs"] for j in judged if (j.task, j.fold) == ("adam", 1)] == [7]


def test_the_report_says_which_are_new_and_which_were_kept(results, config):
    said = tell_origins(join(results, config)[0])
    assert "8 kept, 1 new" in said and "training/adam/dense" in said and "training/rmsprop/dense" in said
    assert tell_origins(KEPT) == ""


def test_kept_results_of_other_images_are_left_out_whatever_is_asked(results, config):
    change(results, of_images)
    for mixed in (False, True):
        joined, origins = join(results, config, mixed)
        assert (origins["origin"] == "left out").sum() == 8  # all are of the same set
        assert origins.drop(NEW)["why"].str.startswith("of other images than the new ones (griese").all()
        assert [j.task for j in _read_validation(joined, config)] == ["adam"]
        assert "of other images" in (joined/"training/adam/dense/fold0/seed1/error.txt").read_text()
        assert "8 left out" in tell_origins(joined)


def test_kept_results_of_other_settings_are_not_averaged_with_new_ones_of_their_kind(results, config):
    change(results, of_recipe)
    _, origins = join(results, config)
    odd = origins[origins["origin"] == "left out"]
    assert {place.split("/")[1] for place in odd.index} == {"adam"} and len(odd) == 2
    assert odd["why"].eq("made with other settings than the new ones (recipe)").all()
    assert (join(results, config, mixed=True)[1]["origin"] != "left out").all()


def test_a_report_of_transfers_takes_no_other_code_unless_asked_to(results, config):
    change(results, of_code)
    assert (join(results, config)[1]["origin"] != "left out").all()  # a benchmark is trained over months
    transfers = read_config(ROOT/"config"/"transfer.toml")
    assert transfers.has_report and not config.has_report
    _, origins = join(results, transfers)
    assert (origins["origin"] == "left out").sum() == 8 and origins["why"].str.contains("--mixed").sum() == 8
    assert (join(results, transfers, mixed=True)[1]["origin"] != "left out").all()


def test_facts_come_from_where_the_results_of_their_set_come(results, config):
    facts = "preparation/griese/facts.ecsv"
    for place in (facts, "preparation/other/facts.ecsv"):
        (results/place).parent.mkdir(parents=True)
        (results/place).write_text("new")
    joined, _ = join(results, config)
    assert (joined/facts).read_text() == (joined/"preparation/other/facts.ecsv").read_text() == "new"
    change(results, lambda made: made.update(inputs={}))
    joined, _ = join(results, config)
    assert (joined/facts).read_bytes() == (KEPT/facts).read_bytes()  # what kept networks were judged on


def test_cutouts_are_drawn_though_results_are_kept(results, config):
    (results/"scraping"/"FIRST"/"cutouts").mkdir(parents=True)
    for place in ("cutouts.ecsv", "cutouts/3C_31.fits"): (results/"scraping"/"FIRST"/place).touch()
    joined, _ = join(results, config)
    assert [path.name for path in (joined/"scraping").rglob("*.*")] == ["cutouts.ecsv"]  # it says where cutouts are


def test_a_folder_alone_is_taken_as_it_is_and_links_are_made_anew(results, config):
    joined = results.parent/".joined"/"optimisers"
    assert choose_results([KEPT], joined, config, False) == KEPT and not joined.exists()
    join(results, config)
    shutil.rmtree(results/NEW)
    shutil.copytree(KEPT/"training/adam/dense/fold0/seed1", results/"training/adam/dense/fold0/seed1")
    _, origins = join(results, config)
    assert list(origins.index[origins["origin"] == "new"]) == ["training/adam/dense/fold0/seed1"] and len(origins) == 9
    assert not (KEPT/_ORIGINS).exists() and find_places(results, KEPT) == [results, KEPT]


def draw(paths, run, name, settings):
    "A figure of a run as its report saves it."
    figure = plt.figure(figsize=(1, 1))
    save_figure(figure, paths.figures(run), name, dict(run=run, kind="real", settings=settings, commit="1"))
    plt.close(figure)


def test_each_run_has_a_page_of_findings_and_the_leading_one_leads(tmp_path):
    said = {run: f"# Findings\n\nOf the run `{run}` ({kind}), settings `abc`.\n\n* Of {run}.\n\n## A\n\nb\n\n## C\n"
            for run, kind in (("mine", "simulated"), ("transfer", "real"), ("vlass", "real"))}
    docs, paths = tmp_path/"docs", Paths(tmp_path)
    write_atomic(docs/"results"/"mine"/"report"/"findings.md", said["mine"])
    assert publish_findings(paths, "mine") == ["findings.md", "findings-mine.md"]
    assert (docs/"findings.md").read_text().startswith("# Findings, simulated\n")
    assert (docs/"findings-mine.md").read_text().startswith("# Findings of the run mine, simulated\n\nOf the run ")
    for run in ("transfer", "vlass"): write_atomic(docs/"results"/run/"report"/"findings.md", said[run])
    for name in ("plot_beside_study", "plot_matrix_fields"): draw(paths, "vlass", name, "abc")
    write_atomic(docs/"findings-gone.md", "of a run that is no longer kept")
    pages = ["findings.md", "findings-vlass.md", "findings-transfer.md", "findings-mine.md"]
    assert publish_findings(paths, "vlass") == pages
    assert sorted(pages) == sorted(path.name for path in docs.glob("findings*.md"))
    page, titles = (docs/"findings.md").read_text(), [(docs/each).read_text().split("\n")[0] for each in pages]
    assert titles == ["# Findings", "# Findings of the run vlass", "# Findings of the run transfer",
                      "# Findings of the run mine, simulated"]
    figure = "![Accuracies of the study of 2020 beside those of the run vlass](images/findings-vlass.png)"
    assert f"* Of vlass.\n\n{figure}\n\n## A\n" in page and page.count("![") == 1
    assert page.endswith("Findings of other runs: [transfer](findings-transfer.md), [mine](findings-mine.md).\n")


def test_a_figure_of_other_settings_is_not_beside_the_findings(tmp_path):
    paths, picture = Paths(tmp_path), tmp_path/"docs"/"images"/"findings-transfer.png"
    write_atomic(tmp_path/"docs"/"results"/"transfer"/"report"/"findings.md", "# Findings\n\nSettings `abc`.\n\n## A\n")
    draw(paths, "transfer", "plot_matrix_fields", "abc")
    publish_findings(paths, "transfer")
    assert picture.is_file() and "network fields" in (tmp_path/"docs"/"findings-transfer.md").read_text()
    draw(paths, "transfer", "plot_matrix_fields", "def")
    publish_findings(paths, "transfer")
    assert not picture.exists() and "![" not in (tmp_path/"docs"/"findings.md").read_text()


def test_of_a_run_of_panels_no_image_is_kept_and_weights_of_the_first_seed_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(workflow, "find_root", lambda: tmp_path)
    shutil.copytree(ROOT/"config", tmp_path/"config")
    panels = "preparation/panels"
    small = ["training/VLASS/fields/fold0/seed1/predictions.parquet", "transfer/FIRST-VLASS/retrain/all/fields/fold0/"
             "seed1/timing.json", "report/findings.md", "report/claims_real.csv", f"{panels}/facts.ecsv",
             f"{panels}/VLASS/quarantine.ecsv", "training/VLASS/fields/fold0/seed1/network.weights.h5"]
    large = [f"{panels}/VLASS/prepared.h5", f"{panels}/griese/quarantine.ecsv", "notebooks/19_panels.ipynb",
             "training/VLASS/fields/fold0/seed2/network.weights.h5", "report/report.png",
             "training/FIRST/fields/fold0/seed1/network.weights.h5"]
    for name in (*small, *large): write_atomic(tmp_path/"results"/"vlass"/name, "said")
    assert workflow.keep_results("vlass") == len(small)
    kept = tmp_path/"docs"/"results"/"vlass"
    assert sorted(path.relative_to(kept).as_posix() for path in kept.rglob("*.*")) == sorted(small)
    assert (tmp_path/"docs"/"findings.md").read_text() == "said"


def test_to_find_results_nothing_is_imported_that_draws_them():
    asked = "import sys, radiogal.joining; print({'pandas', 'matplotlib', 'sklearn', 'papermill'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True).stdout == "set()\n"
