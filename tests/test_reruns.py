"What an edit makes a run do again: exactly what depends on it, as `radiogal plan` tells of a finished smoke run."
import json
import shutil
import subprocess
import sys

import pytest
from conftest import finish, radiogal

pytestmark = pytest.mark.full
TRAININGS, TRANSFERS = {"22_modelling-1of2", "22_modelling-2of2"}, {"23_transfer-1of1"}
CLASSIFY, REPORT = {"32_classify-FIRST-alhassan"}, {"41_final_plots"}
NETWORKS = TRAININGS | TRANSFERS | CLASSIFY | REPORT
PREPARATION = {"18_datasets-1of2", "18_datasets-2of2"}


def edit_text(path, old, new):
    "Replace text that is there exactly once."
    text = path.read_text()
    assert text.count(old) == 1, f"{path.name}: {text.count(old)} times {old!r}"
    path.write_text(text.replace(old, new))


def edit_code(folder, notebook, module, old, new):
    "An edit of an exported cell, with the export that follows it."
    in_json = lambda text: json.dumps(text, ensure_ascii=False)[1:-1]
    edit_text(folder/"nbs"/f"{notebook}.ipynb", in_json(old), in_json(new))
    edit_text(folder/"radiogal"/f"{module}.py", old, new)


def edit_registry(folder):
    "Another hash for a file that a simulated run does not need."
    code = ("import gzip; from pathlib import Path; p = Path('radiogal/registry.csv.gz')\n"
            "p.write_bytes(gzip.compress(gzip.decompress(p.read_bytes()).replace(b'griese', b'grieze', 1)))")
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)


EDITS = {
    "prose": (lambda f: edit_text(f/"nbs"/"22_modelling.ipynb", "## The same every time", "## Every time the same"),
              set()),
    "lesson": (lambda f: edit_text(f/"nbs"/"22_modelling.ipynb", "find_turns(16, 3)", "find_turns(16, 4)"), set()),
    "docstring": (lambda f: edit_code(f, "22_modelling", "training", "All that training changes in a compiled network.",
                                      "What training changes."), set()),
    "comment": (lambda f: edit_code(f, "22_modelling", "training", "# Generations kept", "# So many are kept"), set()),
    "export without effect elsewhere": (lambda f: edit_code(
        f, "23_transfer", "transfer", "def _count_free(", "def _count_nothing(): return 0\n\ndef _count_free("), set()),
    "constant": (lambda f: edit_code(f, "22_modelling", "training", "WARMUP = 1/30", "WARMUP = 1/20"), NETWORKS),
    "registry row of other runs": (edit_registry, set()),
    "style": (lambda f: edit_text(f/"radiogal"/"radiogal.mplstyle", "font.size", "# font.size"), CLASSIFY | REPORT),
    "import": (lambda f: edit_code(f, "22_modelling", "training", "from tqdm import tqdm",
                                   "from tqdm.auto import tqdm"), NETWORKS),
    "setting of training": (lambda f: edit_text(f/"config"/"smoke.toml", "epochs = 2", "epochs = 3"), NETWORKS),
    "setting of preparation": (lambda f: edit_text(f/"config"/"smoke.toml", "image_size = 32", "image_size = 34"),
                               PREPARATION | NETWORKS),
}


def foretell(folder):
    "What would be run."
    status, said = finish(radiogal(folder, "plan", "smoke"))
    assert status == 0, said
    lines = said.splitlines()
    counted = [line for line in lines if "to run" in line]
    return ({line.split()[0] for line in lines[lines.index(counted[0]) + 1:] if line.startswith("  ")}
            if counted else set())


@pytest.fixture(scope="module")
def project(smoke_run, tmp_path_factory):
    return shutil.copytree(smoke_run, tmp_path_factory.mktemp("reruns")/"project", symlinks=True)


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_reruns_what_depends_on_it(project, name):
    edit, expected = EDITS[name]
    touched = [project/part for part in ("nbs", "radiogal", "config")]
    before = {path: path.read_bytes() for part in touched for path in part.rglob("*") if path.is_file()}
    try:
        edit(project)
        assert foretell(project) == expected
    finally:
        for path, content in before.items(): path.write_bytes(content)


def test_a_run_does_not_begin_where_notebook_and_module_differ(project):
    path = project/"nbs"/"22_modelling.ipynb"
    before = path.read_bytes()
    try:
        edit_text(path, "WARMUP = 1/30", "WARMUP = 1/20")
        status, said = finish(radiogal(project, "run", "smoke"))
    finally: path.write_bytes(before)
    assert status != 0 and "22_modelling.ipynb" in said and "make export" in said


def test_a_lost_result_is_made_again_and_its_neighbour_is_not(smoke_run, tmp_path):
    folder = shutil.copytree(smoke_run, tmp_path/"project", symlinks=True)
    cells = sorted((folder/"results"/"smoke"/"training").glob("*/alhassan/fold0/seed1"))
    lost, neighbour = (cell/"network.weights.h5" for cell in cells)
    content, stamp = lost.read_bytes(), neighbour.stat().st_mtime_ns
    lost.unlink()
    status, said = finish(radiogal(folder, "run", "smoke"))
    assert status == 0, said
    assert lost.read_bytes() == content and neighbour.stat().st_mtime_ns == stamp
    assert sum(line.startswith("  22_modelling") for line in said.splitlines()) == 1


def test_more_cells_train_what_is_new_and_leave_the_rest(smoke_run, tmp_path):
    folder = shutil.copytree(smoke_run, tmp_path/"project", symlinks=True)
    before = {p: p.stat().st_mtime_ns for p in (folder/"results"/"smoke"/"training").glob("**/network.weights.h5")}
    edit_text(folder/"config"/"smoke.toml", "folds = [0]", "folds = [0, 1]")
    status, said = finish(radiogal(folder, "run", "smoke"))
    assert status == 0, said
    after = {p: p.stat().st_mtime_ns for p in (folder/"results"/"smoke"/"training").glob("**/network.weights.h5")}
    assert len(after) == 2*len(before) and {p: after[p] for p in before} == before


def test_every_record_of_a_seeded_run_tells_the_seed_and_the_settings_that_it_used(smoke_run, tmp_path):
    folder = shutil.copytree(smoke_run, tmp_path/"project", symlinks=True)
    shutil.rmtree(folder/"results"/"smoke")
    status, said = finish(radiogal(folder, "run", "smoke", "--seed", "7"))
    assert status == 0, said
    made = [json.loads(path.read_text()) for path in (folder/"results"/"smoke").rglob("provenance.json")]
    assert len(made) > 15 and {tuple(each["resolved_settings"]["seeds"]) for each in made} == {(7,)}
    settings = {each["settings"] for each in made}
    assert len(settings) == 1
    assert f"settings `{settings.pop()}`" in (folder/"results"/"smoke"/"report"/"findings.md").read_text()
