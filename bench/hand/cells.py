"""Whether results depend on how many cells of the grid a step works through: whole runs of many a step and of one.

    python bench/hand/cells.py [RUN …]

Runs are demo and real-short if none is named; real images need RADIOGAL_MIRROR. Each is made in two clones of the last
commit, and their numbers are compared byte by byte: a quarter of an hour.
"""
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
USUAL = ["demo", "real-short"]
NUMBERS = ("metrics.json", "predictions*.parquet", "*.csv")
MAIN = "import sys; from radiogal.cli import main; sys.exit(main())"


def clone(folder, cells):
    "A clone whose steps take so many cells at most."
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    profile = folder/"workflow"/"profiles"/"local"/"config.yaml"
    text, n = re.subn(r"\bcells=\d+", f"cells={cells}", profile.read_text())
    assert n == 1, f"{profile} has {n} numbers of cells"
    profile.write_text(text)
    return folder


def make(folder, run):
    "Seconds that a run took, and the trainings and transfers of its grid by step."
    began, env = time.monotonic(), os.environ | dict(PYTHONPATH=str(folder))
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run([sys.executable, "-c", MAIN, "run", run], cwd=folder, env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode: sys.exit(f"radiogal run {run} in {folder} ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return time.monotonic() - began, len(list((folder/"results"/run/"steps").glob("t*/*/cells.json")))


def read_numbers(results):
    "Bytes of all metrics, predictions and tables, by path."
    return {path.relative_to(results).as_posix(): path.read_bytes()
            for pattern in NUMBERS for path in results.rglob(pattern)}


def main(runs):
    with tempfile.TemporaryDirectory() as name:
        clones, same = [clone(Path(name)/str(cells), cells) for cells in (8, 1)], True
        print("| run | 8 cells a step: steps, s | one: steps, s | files | of other bytes |\n|---|---|---|---|---|")
        for run in runs:
            took = [make(folder, run) for folder in clones]
            many, one = (read_numbers(folder/"results"/run) for folder in clones)
            other = sorted(place for place in many.keys() | one.keys() if many.get(place) != one.get(place))
            print(f"| {run} | " + " | ".join(f"{steps}, {seconds:.0f}" for seconds, steps in took)
                  + f" | {len(many)} | {', '.join(other) or 'none'} |", flush=True)
            same = same and bool(many) and not other
    return 0 if same else 1


if __name__ == "__main__": sys.exit(main(sys.argv[1:] or USUAL))
