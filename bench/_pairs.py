"""What the scripts here share: work timed in processes of their own, in pairs that take turns, and a JSON file of it.

A way of doing some work is a function of a folder and a number n that gets ready and returns what is to be timed, a
function without arguments. Its process is new each time, so that the memory is its own. A script ends in `run_script`.
"""
import argparse
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import psutil

ROOT = Path(__file__).parent.parent
PACKAGES = ("astropy", "astroquery", "keras", "numpy", "onnxruntime", "papermill", "scipy", "tensorflow-cpu", "uv")
UNIT = 2**20 if sys.platform == "darwin" else 2**10  # Of the operating system's memory peaks, per MiB
QUIET = dict(TF_CPP_MIN_LOG_LEVEL="3")
USUAL = 5  # Pairs


@dataclass(frozen=True)
class Pair:
    "A piece of work, and two ways of doing it."
    work: str                       # What is done; {n} stands for the number
    n: int                          # How many
    quick: int                      # How many in a test
    ours: Callable                  # (folder, n) → what is timed
    other: Callable                 # As `ours`
    ours_is: str                    # In words
    other_is: str
    differs: str                    # What one of them does besides, or why it is slower
    prepare: Callable | None = None # (folder, n): once, before all
    check: Callable | None = None   # (folder, n): once, raises where both do not give the same
    pairs: int = USUAL


BOTH = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN  # This process, and its children that ended


def count_processor_s(): return sum(use.ru_utime + use.ru_stime for use in map(resource.getrusage, BOTH))


def measure_peak():
    """MiB that this process held at most, or a child of it that ended.

    Linux starts `ru_maxrss` at the peak of the process that called: `VmHWM` is this process's own, and a child's is at
    least that of this process.
    """
    own, children = (resource.getrusage(which).ru_maxrss for which in BOTH)
    status = Path("/proc/self/status")
    if told := re.search(r"VmHWM:\s*(\d+) kB", status.read_text() if status.is_file() else ""): own = int(told[1])
    return max(own, children)/UNIT


def time_work(work):
    "Seconds, seconds of processor time and MiB of some work; memory is that of its largest process."
    began, used = time.perf_counter(), count_processor_s()
    work()
    seconds, used = time.perf_counter() - began, count_processor_s() - used
    return dict(seconds=seconds, cpu=used, MB=measure_peak())


def answer(function, folder, n, *words):
    "What a function of a script comes to: the time of what it returns, or what it found itself."
    told = function(Path(folder), int(n), *words)
    return time_work(told) if callable(told) else told


def print_answer(name, *words):
    "The same of a function of the script that runs, named, as JSON: what `call` reads."
    print(json.dumps(answer(getattr(sys.modules["__main__"], name), *words)))


def call(function, folder, n, *words, quick=False, **environment):
    "The same in a new process; where it is quick, in this one."
    if quick: return answer(function, folder, n, *words)
    script = sys.modules[function.__module__].__file__
    done = subprocess.run([sys.executable, script, "--call", function.__name__, str(folder), str(n), *words],
                          capture_output=True, text=True, env=os.environ | QUIET | environment)
    if done.returncode: sys.exit(f"{function.__name__}, n = {n}, ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure_pair(pair, quick=False):
    "A row: medians of both ways over the pairs, and the ratio of each pair. Who begins changes from pair to pair."
    n, ways = (pair.quick if quick else pair.n), [pair.ours, pair.other]
    with tempfile.TemporaryDirectory() as folder:
        for function in filter(None, [pair.prepare, pair.check]): call(function, folder, n, quick=quick)
        taken = []
        for i in range(1 if quick else pair.pairs):
            order = ways if i % 2 == 0 else ways[::-1]
            each = {way: call(way, folder, n, quick=quick) for way in order}
            taken.append([each[way] for way in ways])
    ratios = [other["seconds"]/ours["seconds"] for ours, other in taken]
    middle = lambda key: [median(each[way][key] for each in taken) for way in (0, 1)]
    return dict(work=pair.work.format(n=f"{n:,}"), n=n, ours=pair.ours_is, other=pair.other_is, pairs=len(taken),
                seconds=middle("seconds"), cpu=middle("cpu"), MB=middle("MB"), ratio=median(ratios),
                lowest=min(ratios), highest=max(ratios), differs=pair.differs)


def find_version(package):
    "Of an installed package; empty where it is not."
    try: return version(package)
    except PackageNotFoundError: return ""


def name_processor():
    "As the operating system calls it."
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.is_file() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def describe_machine():
    "Where and with what something is measured, and how many cores others keep busy: what ran before is over by now."
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    memory = os.sysconf("SC_PAGE_SIZE")*os.sysconf("SC_PHYS_PAGES")/2**30
    versions = {name: told for name in PACKAGES if (told := find_version(name))}
    return dict(date=date.today().isoformat(), commit=commit.stdout.strip(), system=platform.system(),
                processor=name_processor(), cores=os.cpu_count(), GiB=round(memory),
                busy=round(psutil.cpu_percent(interval=1)/100*os.cpu_count(), 1),
                python=platform.python_version(), versions=versions)


def write_result(result, path):
    "A JSON file that is replaced as a whole."
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    part.replace(path)


def round_numbers(told):
    "The same with four digits a number, which is more than can be measured."
    if isinstance(told, dict): return {key: round_numbers(value) for key, value in told.items()}
    if isinstance(told, list): return [round_numbers(value) for value in told]
    return float(f"{told:.4g}") if isinstance(told, float) else told


def run_script(collect):
    "A script's command line: measure, and print or write what was found; with --call, one measurement."
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--quick", action="store_true", help="as little as shows that it works; says nothing of speed")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON; printed if none is named")
    parser.add_argument("--call", nargs="+", metavar="WORD", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.call: return print_answer(*asked.call)
    machine, began = describe_machine(), time.monotonic()  # Before this adds to its load
    found = collect(asked.quick)
    result = round_numbers(dict(machine=machine, quick=asked.quick, minutes=(time.monotonic() - began)/60) | found)
    if asked.out: write_result(result, asked.out)
    else: print(json.dumps(result, indent=1, ensure_ascii=False))


def run_pairs(*pairs):
    "The command line of a script that compares: its rows are its pairs."
    run_script(lambda quick: dict(rows=[measure_pair(pair, quick) for pair in pairs]))
