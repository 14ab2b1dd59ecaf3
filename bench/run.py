"""Measure one part after another, and write the page: `make bench`, or `make bench BENCH="clipping cutouts"`.

A part is a script here, bench_<part>.py. A part that fails, or writes nothing, keeps the numbers it had, and the
others go on.
"""
import subprocess
import sys
import time

import page
from _pairs import ROOT

SCRIPTS = {path.stem.removeprefix("bench_"): path for path in sorted((ROOT/"bench").glob("bench_*.py"))}


def identify(path):
    "What changes when a file is written anew; None where there is none."
    if not path.is_file(): return None
    told = path.stat()
    return told.st_ino, told.st_mtime_ns, told.st_size


def measure(name):
    "Run a part's script; why it failed, or nothing."
    path = page.FOLDER/f"{name}.json"
    before = identify(path)
    if code := subprocess.run([sys.executable, SCRIPTS[name], "--out", path]).returncode: return f"failed: {code}"
    return "failed: it wrote no numbers" if identify(path) == before else ""


def main(names):
    if odd := set(names) - set(SCRIPTS): sys.exit(f"no part {', '.join(sorted(odd))}: there are {', '.join(SCRIPTS)}")
    page.FOLDER.mkdir(exist_ok=True)
    failed = []
    for name in names or SCRIPTS:
        began = time.monotonic()
        why = measure(name)
        print(f"{name:14} {time.monotonic() - began:5.0f} s  {why}".rstrip(), flush=True)
        if why: failed.append(name)
    page.main()
    return f"failed: {', '.join(failed)}" if failed else 0


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
