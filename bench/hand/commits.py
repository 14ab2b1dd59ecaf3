"""How long a stranger waits: environment, demo, second call and more, each as whole processes in a fresh clone.

    python bench/hand/commits.py [ROW …] [--against COMMIT]

Rows are environment, uncached, demo, second, begin, real, figures, test, test-all and ci; the first four if none is
named. Begin is how long the slowest notebook's kernel takes from its start to the first cell of a step's work. Beside
this commit's numbers stand those of another, made alike in a clone of its own. Real images need RADIOGAL_MIRROR.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from statistics import median

import psutil

ROOT = Path(__file__).parents[2]
USUAL = ["environment", "uncached", "demo", "second"]
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


class Watch(threading.Thread):
    "The most memory that a process and its children had together, as sampled; each has its part of shared pages."
    def __init__(self, pid):
        super().__init__(daemon=True)
        self.process, self.peak = psutil.Process(pid), 0

    def run(self):
        while True:
            try: family = [self.process, *self.process.children(recursive=True)]
            except psutil.NoSuchProcess: return
            total, began = 0, time.monotonic()
            for process in family:
                try: total += process.memory_full_info().pss
                except (psutil.NoSuchProcess, psutil.AccessDenied): continue  # ended meanwhile
            self.peak = max(self.peak, total)
            time.sleep(max(0.5, 20*(time.monotonic() - began)))  # pages of many processes take long to count


def run(folder, *command, **environment):
    "Seconds and MiB of a command, which has to succeed."
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT | environment, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    watch = Watch(process.pid)
    watch.start()
    said = process.communicate()[0]
    if process.returncode: sys.exit(f"{' '.join(command)} in {folder} ended with {process.returncode}:\n{said[-3000:]}")
    return time.monotonic() - began, watch.peak/2**20


def make_environment(clone, **environment):
    "From nothing to an environment that `make` takes for made."
    shutil.rmtree(clone/".venv", ignore_errors=True)
    return run(clone, "make", "export", **environment)


def make_uncached(clone):
    "The same where no package has been downloaded before."
    with tempfile.TemporaryDirectory() as cache: return make_environment(clone, UV_CACHE_DIR=cache, PIP_CACHE_DIR=cache)


def has_tag(cell, tag): return tag in cell["metadata"].get("tags", [])
def is_work(cell): return not (has_tag(cell, "parameters") or "".join(cell["source"]).startswith("#|"))


def begin_notebook(clone, path):
    "Seconds from the start of a notebook's kernel until all is imported and defined, lessons left out as in a run."
    told = json.loads(path.read_text())
    cells = [cell for cell in told["cells"] if cell["cell_type"] == "code" and not has_tag(cell, "lesson")]
    told["cells"] = [*takewhile(lambda cell: not is_work(cell), cells)]
    with tempfile.TemporaryDirectory() as folder:
        beginning, executed = Path(folder)/path.name, Path(folder)/"executed.ipynb"
        beginning.write_text(json.dumps(told))
        run(clone, clone/".venv"/"bin"/"papermill", beginning, executed, "--cwd", path.parent, "--kernel", "python3")
        made = json.loads(executed.read_text())
    ends = made["metadata"]["papermill"]["start_time"], made["cells"][-1]["metadata"]["papermill"]["end_time"]
    began, ended = map(datetime.fromisoformat, ends)
    return (ended - began).total_seconds()


def measure_begin(clone):
    "The longest of all notebooks that are steps; each a second time, as the first one compiles what it imports."
    paths = [path for path in sorted((clone/"nbs").glob("*.ipynb"))
             if any(has_tag(cell, "parameters") for cell in json.loads(path.read_text())["cells"])]
    return max([begin_notebook(clone, path) for _ in range(2) for path in paths][len(paths):])


def measure(clone, row):
    "Seconds and MiB of one row; of three environments the median, and the most memory."
    if row in ("environment", "uncached"):
        make = make_environment if row == "environment" else make_uncached
        made = [make(clone) for _ in range(3)]
        return median(seconds for seconds, _ in made), max(mib for _, mib in made)
    if row == "begin": return measure_begin(clone), None
    commands = dict(demo=["run-all"], second=["run-all"], real=["run-all", "RUN=real"], test=["test"])
    if row == "figures":
        runs = [path.name for path in sorted((clone/"docs"/"results").iterdir()) if path.is_dir()]
        return max(run(clone, "make", "figures", f"RUN={name}") for name in runs)
    if row == "ci": return run(clone, "bash", ".ci/run")
    return run(clone, "make", *commands.get(row, [row]))


def clone_commit(folder, commit):
    "A clone of the project at a commit, with an environment."
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    subprocess.run(["git", "-C", folder, "checkout", "--quiet", commit], check=True)
    make_environment(folder)
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", default=USUAL)
    parser.add_argument("--against", metavar="COMMIT")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        commits = ["HEAD", *filter(None, [asked.against])]
        clones = {commit: clone_commit(Path(name)/str(i), commit) for i, commit in enumerate(commits)}
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
        print("| row | " + " | ".join(f"{commit}, s | MiB" for commit in clones) + " |\n|---|" + "---|"*2*len(clones))
        for row in asked.rows:
            numbers = [measure(clone, row) for clone in clones.values()]
            told = [f"{seconds:.1f} | {'–' if mib is None else round(mib)}" for seconds, mib in numbers]
            print(f"| {row} | {' | '.join(told)} |", flush=True)


if __name__ == "__main__": main()
