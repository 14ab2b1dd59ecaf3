"What a run is planned to do, told by its settings alone: no Snakemake, no network, nothing started."
import json
import re

import pytest
from conftest import ROOT

from radiogal.cli import main
from radiogal.config import Paths, parse_config, read_config
from radiogal.workflow import _OLD_NOTEBOOKS, check_notebook, plan_run

RUNS = ("smoke", "demo", "real", "live", "benchmark", "optimisers", "transfer", "vlass")


def plan(run, root=ROOT, **how):
    return plan_run(read_config(ROOT/"config"/f"{run}.toml"), Paths(root), run, **how)


@pytest.mark.parametrize("run", RUNS)
def test_every_cell_of_a_grid_is_in_one_step_which_has_its_inputs(run):
    config, made = read_config(ROOT/"config"/f"{run}.toml"), plan(run, per_step=4, cores=2)
    dealt = [cell for cells in made.transfers.values() for cell in cells]
    assert sorted(map(str, dealt)) == sorted(map(str, config.list_transfers()))
    assert sum(map(len, made.trainings.values())) == len({cell for cells in made.trainings.values() for cell in cells})
    assert set(made.trained_on) == set(made.trainings) and set(made.carried_from) == set(made.transfers)
    assert all(set(places) <= set(made.prepared) for places in (*made.trained_on.values(), *made.carried_on.values()))
    starts_anew = all(config.transfer.methods[cell.method].start == "new" for cell in dealt)
    assert starts_anew or all(made.carried_from.values())
    assert len(set(made.steps)) == len(made.steps)
    assert made.steps[-1] == ("report" if config.has_report else "benchmark")


def test_an_artificial_sky_is_in_a_simulated_run_alone():
    assert plan("demo").sky["labels"] == ["results/demo/sky/labels.ecsv"] and plan("demo").files == []
    assert plan("real").sky == dict(sky=[], labels=[], catalogue=[])
    assert "sky" in plan("demo").steps and "sky" not in plan("real").steps


def test_pinned_files_serve_all_runs_and_answers_of_archives_one():
    assert plan("real").raw == "data/raw" and plan("live").raw == "data/raw/live"
    assert {"FIRST", "NVSS"} <= {file.survey for file in plan("real").files}
    assert sum(file.dataset == "griese" for file in plan("benchmark").files) == 5
    assert plan("real").candidates == [] and len(plan("demo").candidates) == 2


def test_what_is_held_out_is_a_step_of_the_benchmark_alone():
    assert plan("benchmark").held == {"FIRST": "frdeep", "NVSS": "frdeep", "FIRST+NVSS": "frdeep", "griese": "griese"}
    assert "preparation/griese/heldout" in plan("benchmark").steps
    assert not [step for step in plan("transfer").steps if step.endswith("heldout")]


def test_what_is_held_out_of_two_surveys_is_paired():
    settings = read_config(ROOT/"config"/"benchmark.toml").model_dump()
    pair = dict(images="FIRST+NVSS", classes=dict(FRI=("FRI",), FRII=("FRII",)), networks=dict(branches=(0,)))
    settings["tasks"] |= dict(both=pair)
    made = plan_run(parse_config(settings, "both"), Paths(ROOT), "benchmark")
    assert made.held["FIRST+NVSS"] == "frdeep" and "preparation/pairs/FIRST+NVSS/heldout" in made.steps


def test_decisions_count_once_somebody_has_decided(tmp_path):
    assert plan("smoke", tmp_path).decisions == []
    (tmp_path/"data"/"decisions").mkdir(parents=True)
    (tmp_path/"data"/"decisions"/"smoke.csv").touch()
    assert plan("smoke", tmp_path).decisions == ["data/decisions/smoke.csv"]


def test_a_setting_changes_the_rules_that_depend_on_it_and_no_other():
    def describe(config): return plan_run(config, Paths(ROOT), "smoke").settings
    smoke = read_config(ROOT/"config"/"smoke.toml")
    other = smoke.model_dump()
    other["training"]["epochs"] += 1
    before, after = describe(smoke), describe(parse_config(other, "other"))
    changed = {name.split("/")[0] for name in before if before[name] != after[name]}
    assert changed == {"training", "transfer", "everything"}
    assert list(json.loads(before["curation"])) == ["curation"]


def test_cores_share_out_a_simulated_run(tmp_path):
    assert list(plan("demo", cores=2).surveys) == ["1of2", "2of2"]
    assert all(len(surveys) == 1 for surveys in plan("real", cores=1).surveys.values())


def test_an_old_name_of_a_notebook_says_which_one_replaced_it(capsys):
    status = main(["notebook", "05_sky", "smoke", "--executed", "no.ipynb", "--out-dir", "none"])
    assert status == 1 and "05_sky" in capsys.readouterr().err.splitlines()[-1]
    there = {path.stem for path in (ROOT/"nbs").glob("[0-9]*.ipynb")}
    for old, new in _OLD_NOTEBOOKS.items():
        named = new.replace(" and ", ", ").split(", ")
        assert set(named) <= there and old not in there
        with pytest.raises(ValueError, match=f"{old} any more: .*{named[-1]}"): check_notebook(old, ROOT/"nbs")
    for old, new in {"39_cli": "48_cli", "01a_progress": "02_progress", "13_final_plots": "41_final_plots"}.items():
        with pytest.raises(ValueError, match=f"{old} any more: .*{new}"): check_notebook(old, ROOT/"nbs")
    with pytest.raises(ValueError, match="no notebook of the name 'cli'"): check_notebook("cli", ROOT/"nbs")
    with pytest.raises(ValueError, match="no notebook of the name 'nobody'.*46_workflow"):
        check_notebook("nobody", ROOT/"nbs")
    assert check_notebook("10_sky", ROOT/"nbs") == "10_sky"


def test_a_run_on_published_images_scrapes_nothing():
    made = plan("vlass")
    assert made.surveys == {} and made.images == ["catalogues", "preparation/panels",
                                                  "preparation/pairs/panels-FIRST+panels-VLASS"]
    assert made.prepared == [f"results/vlass/preparation/{name}/prepared.h5" for name in (
        "pairs/panels-FIRST+panels-VLASS", "panels/FIRST", "panels/VLASS", "panels/griese")]
    assert {"study-vlass", "frdeep", "griese", "vlass"} <= {file.dataset for file in made.files}


def test_what_takes_long_begins_before_what_else_is_ready():
    "A free core takes the rule of the highest priority; those without have none."
    rules = re.split(r"^ *rule ", (ROOT/"workflow"/"Snakefile").read_text(), flags=re.M)[1:]
    priorities = {re.match(r"\w*", rule)[0]: re.findall(r"^ +priority: (\d+)$", rule, re.M) for rule in rules}
    assert {name: found for name, found in priorities.items() if found} == dict(training=["2"], transfer=["1"])


def test_pinned_files_are_where_every_run_finds_them():
    "A real run with images from a folder has raw data of its own, and not another copy of what is pinned."
    rules = (ROOT/"workflow"/"Snakefile").read_text()
    for rule in ("rule published:", "rule panels:", "rule heldout:"):
        asked = rules.partition(rule)[2].partition("shell:")[0]
        assert "raw_dir=PINNED" in asked and "PLAN.raw" not in asked
    assert 'PINNED = "data/raw" if CONFIG.kind == "real" else PLAN.raw' in rules
