"""A survey as a graph: Snakemake's time and memory to plan one job per shard, against a few jobs that share a list.

hand/scheduler.py [COUNT …]: how many shards, 1000 and 10000 if none is named; 100000 takes long and says why.
"""
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.table import Table

COUNTS, WORKERS = (1000, 10_000), 20
PER_SHARD = """
rule all:
    input: expand("shards/{i}", i=range(int(config["shards"])))
rule shard:
    output: "shards/{i}"
    shell: "touch {output}"
rule merge:
    input: rules.all.input
    output: "catalogue"
    shell: "touch {output}"
"""
BLOCKS = """
rule all:
    input: expand("workers/{i}", i=range(int(config["workers"])))
rule worker:
    output: "workers/{i}"
    shell: "touch {output}"
"""


def plan(text, folder, n):
    "In a process of its own: seconds and memory of a dry run."
    (folder/"Snakefile").write_text(text)
    began = time.perf_counter()
    settings = ["--config", f"shards={n}", f"workers={WORKERS}"]
    subprocess.run([sys.executable, "-m", "snakemake", "--snakefile", folder/"Snakefile", "--directory", folder,
                    "--dry-run", "--quiet", "all", "--cores", "2", *settings], check=True, capture_output=True)
    return time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss/1024


def claim_all(folder, n):
    "Seconds and memory to begin a list of shards and to claim every one of them."
    from survey import read_peak

    from radiogal.shards import begin_job, claim_shard, list_waiting
    began, number = time.perf_counter(), np.arange(n)
    rows = Table(dict(name=[f"J{i}" for i in number], ra=number*360/n, dec=0.*number, crowding=0*number))
    job = begin_job(folder, dict(shard_size=1), lambda: rows)
    for i in list_waiting(folder, job):
        with claim_shard(folder, i): pass
    return time.perf_counter() - began, read_peak()


WAYS = {"a job per shard": lambda folder, n: plan(PER_SHARD, folder, n),
        f"{WORKERS} jobs and a list": lambda folder, n: plan(BLOCKS, folder, n),
        "the list, claimed whole": claim_all}


def call(way, n):
    "One measurement in a fresh process and folder."
    done = subprocess.run([sys.executable, __file__, "--call", way, str(n)], capture_output=True, text=True,
                          env=os.environ)
    if done.returncode: raise SystemExit(done.stderr)
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return dict(way=way, shards=n, seconds=seconds, per_shard_ms=1e3*seconds/n, MB=memory)


def main(counts):
    table = Table(rows=[call(way, n) for way in WAYS for n in counts])
    for column, form in dict(seconds=".1f", per_shard_ms=".2f", MB=".0f").items(): table[column].format = form
    print("Planning a survey, no job is run: seconds, milliseconds per shard, memory at the peak")
    print("\n".join(table.pformat(max_width=-1)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--call"]:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(WAYS[sys.argv[2]](Path(folder), int(sys.argv[3]))))
    else: main([int(a) for a in sys.argv[1:]] or COUNTS)
