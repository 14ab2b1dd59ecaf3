"A whole run, the smallest one: `radiogal run smoke` against a plain loop of papermill over the same notebooks."
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from _pairs import ROOT, Pair, run_pairs

FIRST = "04_surveys"
TRACKED = "config", "nbs", "radiogal", "workflow", "settings.ini"
MAIN = "import sys; from radiogal.cli import main; sys.exit(main())"
LOOP = """
import json, sys, papermill
for notebook, executed, parameters in json.loads(sys.argv[1]):
    papermill.execute_notebook(notebook, executed, parameters, cwd="nbs", kernel_name="python3", progress_bar=False)
"""


def copy_project(folder):
    "What a run needs of the project, in a new folder; once something ran, with what Python compiled."
    source, project = (folder/"first" if (folder/"first").is_dir() else ROOT), Path(tempfile.mkdtemp(dir=folder))
    for name in TRACKED:
        copy = shutil.copytree if (source/name).is_dir() else shutil.copy2
        copy(source/name, project/name)
    return project


def execute(project, code, *arguments):
    "Python in a project, whose library is the project's; what it says is shown where it fails."
    hidden = "RADIOGAL_MIRROR", "PYTHONDONTWRITEBYTECODE"
    env = {key: value for key, value in os.environ.items() if key not in hidden} | dict(PYTHONPATH=str(project))
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=project, env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode: raise RuntimeError(f"a run in {project} ended with {done.returncode}:\n{done.stdout[-3000:]}")


def list_steps(project):
    "Notebook and parameters of each step of a finished run, in order; several steps of one notebook are one."
    told = [(path.stem.split("-")[0], json.loads(path.read_text())["metadata"]["papermill"])
            for path in (project/"results"/"smoke"/"notebooks").glob("*.ipynb")]
    steps = {}
    for name, facts in sorted(told, key=lambda each: each[1]["start_time"]):
        first = steps.setdefault(name, facts["parameters"])
        if first is not facts["parameters"]:
            for key, value in facts["parameters"].items():
                if isinstance(value, list): first[key] += value
    return json.loads(json.dumps(steps).replace(str(project), "PROJECT"))


def drop_lessons(path):
    "A notebook as a run has it: cells that only teach are left out."
    told = json.loads(path.read_text())
    told["cells"] = [cell for cell in told["cells"] if "lesson" not in cell["metadata"].get("tags", [])]
    path.write_text(json.dumps(told))


def run_once(folder, n):
    "A first run, which fills caches and tells what each notebook is given; one notebook needs none."
    if n == 1: steps = {FIRST: dict(toml_path="PROJECT/config/smoke.toml", run="smoke", out_dir="PROJECT/out")}
    else:
        project = copy_project(folder)
        execute(project, MAIN, "run", "smoke")
        steps = list_steps(project)
        project.rename(folder/"first")
    (folder/"steps.json").write_text(json.dumps(steps))
    return {}


def ours(folder, n):
    "The run; of one notebook, as a step of the run."
    project = copy_project(folder)
    step = ["notebook", FIRST, "smoke", "--executed", "executed.ipynb", "--out-dir", "out", "--parameters", "{}"]
    return lambda: execute(project, MAIN, *(["run", "smoke"] if n > 1 else step))


def loop(folder, n):
    "One notebook after another, with the same parameters."
    project = copy_project(folder)
    (project/"executed").mkdir()
    steps = json.loads((folder/"steps.json").read_text().replace("PROJECT", str(project)))
    for name in steps: drop_lessons(project/"nbs"/f"{name}.ipynb")
    asked = [(f"nbs/{name}.ipynb", f"executed/{name}.ipynb", parameters) for name, parameters in steps.items()]
    return lambda: execute(project, LOOP, json.dumps(asked))


if __name__ == "__main__":
    run_pairs(Pair("the smoke run: {n} notebooks, from an artificial sky to the report", 10, 1, ours, loop,
                   "`radiogal run smoke`, on all cores", "papermill in a loop, each notebook in turn",
                   "ours also plans the graph, checks and records each step, and writes the report as a document; the "
                   "loop checks nothing and would start from the beginning again", run_once))
