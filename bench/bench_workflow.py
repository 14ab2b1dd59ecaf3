"""How long a stranger waits: environment, demo, second call and more, each as whole processes in a fresh clone.

    python bench/bench_workflow.py [ROW …] [--against COMMIT]

Rows are environment, uncached, demo, second, real, figures, test, test-all and ci; the first four if none is named.
Beside this commit's numbers stand those of another, made alike in a clone of its own. Real images need RADIOGAL_MIRROR.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import psutil

ROOT = Path(__file__).parent.parent
USUAL = ["environment", "uncached", "demo", "second"]
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


class Watch(threading.Thread):
    "The most memory that a process and its children had together, as sampled; shared pages count for each."
    def __init__(self, pid):
        super().__init__(daemon=True)
        self.process, self.peak = psutil.Process(pid), 0

    def run(self):
        while True:
            try: family = [self.process, *self.process.children(recursive=True)]
            except psutil.NoSuchProcess: return
            total = 0
            for process in family:
                try: total += process.memory_full_info().pss
                except (psutil.NoSuchProcess, psutil.AccessDenied): continue  # ended meanwhile
            self.peak = max(self.peak, total)
            time.sleep(0.5)


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


def measure(clone, row):
    "Seconds and MiB of one row; the median of three environments."
    if row == "environment":
        return median(make_environment(clone)[0] for _ in range(3)), 0
    if row == "uncached":
        with tempfile.TemporaryDirectory() as cache:
            return make_environment(clone, UV_CACHE_DIR=cache, PIP_CACHE_DIR=cache)
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
            print(f"| {row} | " + " | ".join(f"{seconds:.1f} | {mib:.0f}" for seconds, mib in numbers) + " |",
                  flush=True)


if __name__ == "__main__": main()
