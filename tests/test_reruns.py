"What an edit makes a run do again: exactly what depends on it, as `radiogal plan` tells of a finished smoke run."
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

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


def read_plan(said):
    "The steps that would be run."
    lines = said.splitlines()
    counted = [line for line in lines if "to run" in line]
    return ({line.split()[0] for line in lines[lines.index(counted[0]) + 1:] if line.startswith("  ")}
            if counted else set())


@pytest.fixture(scope="module")
def project(smoke_run, tmp_path_factory):
    return shutil.copytree(smoke_run, tmp_path_factory.mktemp("reruns")/"project", symlinks=True)


@pytest.fixture(scope="module")
def foretell(project, tmp_path_factory):
    "What would be run in the project, asked of one process that has imported what all plans need."
    path, env = tmp_path_factory.mktemp("plan")/"said", os.environ | dict(
        PYTHONPATH=f"{project}{os.pathsep}{project/'workflow'}", PYTHONHASHSEED="0")
    env.pop("RADIOGAL_MIRROR", None)
    with subprocess.Popen([sys.executable, Path(__file__).with_name("planner.py")], cwd=project, env=env, text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as planner:
        def ask():
            print(path, file=planner.stdin, flush=True)
            assert planner.stdout.readline() == "done\n"
            said = path.read_text()
            assert "to run" in said or "Nothing to do" in said, said
            return read_plan(said)
        yield ask


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_reruns_what_depends_on_it(project, foretell, name):
    edit, expected = EDITS[name]
    touched = [project/part for part in ("nbs", "radiogal", "config")]
    before = {path: path.read_bytes() for part in touched for path in part.rglob("*") if path.is_file()}
    try:
        edit(project)
        assert foretell() == expected
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
