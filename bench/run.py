"""Measure one part after another, and write the page: `make bench`, or `make bench BENCH="clipping cutouts"`.

A part is a script here, bench_<part>.py. A part that fails keeps the numbers it had, and the others go on.
"""
import subprocess
import sys
import time

import page
from _pairs import ROOT

SCRIPTS = {path.stem.removeprefix("bench_"): path for path in sorted((ROOT/"bench").glob("bench_*.py"))}


def main(names):
    if odd := set(names) - set(SCRIPTS): sys.exit(f"no part {', '.join(sorted(odd))}: there are {', '.join(SCRIPTS)}")
    page.FOLDER.mkdir(exist_ok=True)
    failed = []
    for name in names or SCRIPTS:
        began = time.monotonic()
        done = subprocess.run([sys.executable, SCRIPTS[name], "--out", page.FOLDER/f"{name}.json"])
        print(f"{name:14} {time.monotonic() - began:5.0f} s{'  failed'*bool(done.returncode)}", flush=True)
        if done.returncode: failed.append(name)
    page.main()
    return f"failed: {', '.join(failed)}" if failed else 0


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
