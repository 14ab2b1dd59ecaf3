"The same graph on a real Slurm, started here: equal results, and nothing lost to kills, dead nodes and limits. Simulated."
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))  # this folder is collected by `make test-cluster` alone
from conftest import copy_project, copy_state, finish, radiogal
from local_slurm import PROGRAMS, ask

SCRIPT = Path(__file__).with_name("local_slurm.py")
TRAINING = "training/FIRST/alhassan/fold0/seed1"
LONG = 150  # Epochs of the smoke network: seconds, in which a job can be cancelled
ONE_TRAINING = """
[tasks.FIRST]
images = "FIRST"
classes = { FRI = ["FRI"], FRII = ["FRII"] }
networks = { alhassan = [0] }
"""


@pytest.fixture(scope="session", autouse=True)
def cluster(tmp_path_factory):
    "A Slurm of this machine, stopped however the tests end."
    if missing := [program for program in PROGRAMS if not shutil.which(program)]:
        pytest.skip(f"no {', '.join(missing)}: apt-get install munge slurmctld slurmd slurm-client")
    if os.getuid(): pytest.skip("a Slurm of one's own has to be started as root")
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run([sys.executable, SCRIPT, "start", folder], capture_output=True, text=True)
    assert started.returncode == 0, started.stdout + started.stderr
    try: yield
    finally: subprocess.run([sys.executable, SCRIPT, "stop", folder], check=True)


def be_quick(folder):
    "Ask Slurm more often than one would ask a cluster that others use too."
    profile = folder/"workflow"/"profiles"/"slurm"/"config.yaml"
    text = profile.read_text().replace("status-checks: 10", "status-checks: 3")
    profile.write_text(text.replace("latency-wait: 60", "latency-wait: 10"))
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    "A project whose smoke run was run on this machine, without Slurm."
    folder = be_quick(copy_project(tmp_path_factory.mktemp("local")))
    copy_state("smoke", folder)
    status, said = finish(radiogal(folder, "run", "smoke", "--cores", "2"))
    assert status == 0, said
    return folder


@pytest.fixture
def unfinished(finished, tmp_path):
    "The same with one training, which takes longer, and what compares its results, still to do."
    folder = shutil.copytree(finished, tmp_path/"project", symlinks=True)
    shutil.rmtree(folder/"results"/"smoke"/TRAINING)
    toml = folder/"config"/"smoke.toml"
    text = toml.read_text().replace("epochs = 2\n", f"epochs = {LONG}\n")
    toml.write_text(text[:text.index("[transfer.pairs]")] + ONE_TRAINING)
    return folder


def read_metrics(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted((folder/"results"/"smoke").glob("**/metrics.json"))}


def wait_for_job(process, rule):
    "The number of a running job of a rule, as soon as there is one."
    until = time.monotonic() + 600
    while process.poll() is None and time.monotonic() < until:
        jobs = ask("squeue", "--noheader", "--states=running", "--format=%i %k").splitlines()
        if ours := [job.split()[0] for job in jobs if f"rule_{rule}" in job]: return ours[0]
        time.sleep(0.5)
    process.kill()
    pytest.fail(f"no job of {rule} began: {finish(process)[1]}")


def begin_training(folder):
    "The run's process, when its training is running and has written a checkpoint; and the job's number."
    process = radiogal(folder, "run", "smoke", "--profile", "slurm")
    job, checkpoints = wait_for_job(process, "training"), folder/"results"/"smoke"/TRAINING/"checkpoints"
    while process.poll() is None and not any(checkpoints.glob("*.npz")): time.sleep(0.5)
    return process, job


def restart_node():
    "The only node dies, with what runs on it, and comes back."
    node = f"nodename={socket.gethostname().split('.')[0]}"
    ask("scontrol", "update", node, "state=down", "reason=test")
    time.sleep(5)
    ask("scontrol", "update", node, "state=resume")


def was_resumed(folder):
    "A training that went on from a checkpoint cannot tell its seconds."
    timing = json.loads((folder/"results"/"smoke"/TRAINING/"timing.json").read_text())
    return timing["epochs"] == LONG and timing["seconds"] is None


def limit_training(folder, **limits):
    "Give trainings other limits, and one try."
    profile = folder/"workflow"/"profiles"/"slurm"/"config.yaml"
    text = profile.read_text().replace("retries: 1", "retries: 0")
    for key, value in limits.items():
        text = re.sub(rf"(training:(?:\n    \w+:.*)*?\n    {key}: ).*", rf"\g<1>{value}", text, count=1)
    profile.write_text(text)


def test_a_job_beyond_its_time_says_so_and_leaves_its_checkpoint(unfinished):
    limit_training(unfinished, runtime=2)
    toml = unfinished/"config"/"smoke.toml"
    toml.write_text(toml.read_text().replace(f"epochs = {LONG}\n", "epochs = 100000\n"))
    process, _ = begin_training(unfinished)
    status, said = finish(process)
    assert status != 0 and "10_modelling-FIRST" in said and "TIMEOUT" in said, said
    assert any((unfinished/"results"/"smoke"/TRAINING/"checkpoints").glob("*.npz"))


def test_slurm_gives_the_same_bytes_though_a_job_is_cancelled_and_the_node_dies(finished, tmp_path):
    folder = be_quick(copy_project(tmp_path))
    process = radiogal(folder, "run", "smoke", "--profile", "slurm")
    ask("scancel", wait_for_job(process, "preparation"))
    training = wait_for_job(process, "training")
    restart_node()
    status, said = finish(process)
    assert status == 0, said
    assert "CANCELLED" in said and "Restarts=1" in ask("scontrol", "show", "job", training), said
    assert read_metrics(folder) == read_metrics(finished)
    assert "10_modelling-FIRST-alhassan-fold0-seed1" in said
    status, said = finish(radiogal(folder, "run", "smoke", "--profile", "slurm"))
    assert status == 0 and "Nothing to do" in said


def test_a_run_that_lost_a_job_recovers_when_called_again(unfinished):
    limit_training(unfinished)
    process, job = begin_training(unfinished)
    ask("scancel", job)
    status, said = finish(process)
    assert status != 0 and "CANCELLED" in said, said
    status, said = finish(radiogal(unfinished, "run", "smoke", "--profile", "slurm"))
    assert status == 0, said
    assert was_resumed(unfinished)


def test_a_job_beyond_its_memory_says_so(unfinished):
    limit_training(unfinished, mem_mb=300)
    status, said = finish(radiogal(unfinished, "run", "smoke", "--profile", "slurm"))
    assert status != 0 and "10_modelling-FIRST" in said, said
    assert re.search(r"OUT_OF_MEMORY|exceeded memory limit \(\d+ > \d+\)", said), said
