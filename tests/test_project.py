"The package as a whole: README, wheel, import, and that notebooks declare what the workflow gives them."
import ast
import json
import re
import subprocess
import sys
import zipfile

import nbformat
import pytest
from conftest import ROOT
from execnb.nbio import read_nb
from execnb.shell import CaptureShell

import radiogal
from radiogal.provenance import _LESSON


def test_readme_is_rendered_from_its_notebook(tmp_path):
    command = [sys.executable, "-m", "nbconvert", "--to", "markdown", "--TagRemovePreprocessor.enabled=True",
               "--TagRemovePreprocessor.remove_input_tags=remove-input", "--log-level=ERROR", "--output-dir", tmp_path,
               "--output", "README", ROOT/"docs"/"readme.ipynb"]
    subprocess.run(command, check=True)
    rendered = (tmp_path/"README.md").read_text().replace("](../", "](")
    assert rendered == (ROOT/"README.md").read_text(), "run: make readme"
    assert all((ROOT/path).is_file() for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT/"README.md").read_text()))


def test_import_is_light():
    code = "import sys, radiogal; print([m for m in ('tensorflow', 'keras', 'astropy', 'pandas') if m in sys.modules])"
    assert (subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            .stdout.strip() == "[]")


def test_a_step_begins_without_what_only_its_notebook_needs():
    code = ("import sys, papermill, radiogal.cli, radiogal.workflow\n"
            "print([m for m in ('scipy', 'sklearn', 'astropy', 'pandas', 'h5py', 'lark') if m in sys.modules])")
    assert (subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            .stdout.strip() == "[]")


def test_modules_import_without_what_only_some_of_their_functions_need():
    modules = sorted(p.stem for p in (ROOT/"radiogal").glob("[a-z]*.py"))
    late = ("tensorflow", "keras", "sklearn", "scipy.stats", "scipy.special", "scipy.fft", "matplotlib.pyplot")
    code = (f"import importlib, sys\nfor m in {modules}: importlib.import_module('radiogal.' + m)\n"
            f"print([m for m in {late} if m in sys.modules])")
    assert (subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            .stdout.strip() == "[]")


@pytest.mark.full
def test_wheel_holds_style_sheet_tables_and_templates(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"radiogal/{name}" for name in (
        "radiogal.mplstyle", "registry.csv.gz", "published.csv", "config.py", "templates/document.html",
        "templates/document.css", "templates/document.toml", "templates/references.bib",
        "templates/sources.html", "templates/sources.js", "templates/sources.css", "templates/desk.js",
        "templates/archives/votable.xml", "samples/FIRST/J135214.56+123401.7.fits", "settings/demo.toml",
        "networks/models.json")} <= set(names)


@pytest.mark.parametrize(("setting", "lock", "tensorflow"), [
    ("GPU=0", "requirements.lock", "tensorflow-cpu=="),
    ("GPU=1", "requirements-gpu.lock", "tensorflow[and-cuda]==")])
def test_environment_is_installed_from_hashed_wheels(setting, lock, tensorflow):
    stamp = ".venv/.made-gpu" if setting == "GPU=1" else ".venv/.made"
    recipe = subprocess.run(["make", "--dry-run", f"--what-if={lock}", stamp, setting], cwd=ROOT, capture_output=True,
                            text=True, check=True).stdout.splitlines()
    installs = [line for line in recipe if re.search("pip (install|sync)", line) and "--editable" not in line]
    assert len(installs) == 3 and all("--require-hashes --only-binary :all:" in line for line in installs)
    locked = re.split(r"\n(?=\S)", (ROOT/lock).read_text())
    assert all("--hash=sha256:" in package for package in locked)
    assert (any(package.startswith(tensorflow) for package in locked)
            and any(package.startswith("uv==") for package in locked))


def test_notebooks_have_at_most_one_parameters_cell_of_literals():
    for path in sorted((ROOT/"nbs").glob("[0-9]*.ipynb")):
        cells = [c for c in nbformat.read(path, 4).cells if "parameters" in c.metadata.get("tags", [])]
        assert len(cells) <= 1, path.name
        for cell in cells:
            for line in filter(None, cell.source.splitlines()):
                value = line.split("=", 1)[1].split("#")[0].strip()
                ast.literal_eval(value)


def test_notebooks_store_no_failed_cell_and_no_place_of_the_machine():
    for path in sorted((ROOT/"nbs").glob("*.ipynb")):
        text = path.read_text()
        assert str(ROOT) not in text, path.name
        outputs = [o for c in nbformat.read(path, 4).cells if c.cell_type == "code" for o in c.outputs]
        assert not [o for o in outputs if o.output_type == "error"], path.name


def tags(cell):
    return set(cell.metadata.get("tags", []))


def holds_only_imports(source):
    "Imports or a magic, and nothing else."
    code = "\n".join(line for line in source.splitlines() if not line.startswith("%"))
    return all(isinstance(statement, ast.Import | ast.ImportFrom) for statement in ast.parse(code).body)


def is_for_the_run(cell):
    return ("parameters" in tags(cell) or re.match(r"#\| *(export|default_exp)", cell.source)
            or holds_only_imports(cell.source))


EXECUTED = [path for path in sorted((ROOT/"nbs").glob("[0-9]*.ipynb"))
            if any("parameters" in tags(cell) for cell in nbformat.read(path, 4).cells)]


@pytest.mark.parametrize("path", EXECUTED, ids=lambda path: path.stem)
def test_above_the_run_is_what_it_needs_and_all_else_is_a_lesson(path):
    cells = nbformat.read(path, 4).cells
    (run,) = [i for i, c in enumerate(cells)
              if c.cell_type == "markdown" and re.match(r"## The (run|report)\b", c.source)]
    code = [cell for cell in cells[:run] if cell.cell_type == "code" and _LESSON not in tags(cell)]
    assert [cell.source for cell in code if not is_for_the_run(cell)] == []


def list_said(notebook):
    "Texts that a notebook's cells put out."
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return ["".join(o.get("text") or o["data"].get("text/markdown", "")).strip() for o in outputs]


@pytest.mark.parametrize("name", ["readme", "numbers"])
def test_pages_say_what_the_kept_results_say(name):
    path = ROOT/"docs"/f"{name}.ipynb"
    stored, fresh = list_said(json.loads(path.read_text())), read_nb(path)
    for cell in fresh.cells: cell["outputs"] = []
    CaptureShell(path.parent).run_all(fresh, exc_stop=True)
    assert any(stored) and list_said(fresh) == stored, f"run: radiogal refresh docs/{name}.ipynb, then make readme"


def test_each_name_at_the_front_of_the_package_is_there():
    for name in radiogal._FRONT: assert callable(getattr(radiogal, name)), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"): getattr(radiogal, "no" + "thing")
