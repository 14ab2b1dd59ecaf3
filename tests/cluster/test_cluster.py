"The same graph on a real Slurm, started here: equal results, nothing lost to kills, dead nodes and limits. Simulated."
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))  # for `pytest tests/cluster`
from conftest import find_processes, finish, radiogal, read_numbers, wait_for
from local_slurm import PROGRAMS, ask

pytestmark = pytest.mark.full
SCRIPT = Path(__file__).with_name("local_slurm.py")
TRAINING = "training/FIRST/alhassan/fold0/seed1"
EPOCHS = 3
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


def end_processes(folder):
    "End what jobs had started: without control groups Slurm loses sight of some of that."
    for pid in find_processes(folder):
        with suppress(ProcessLookupError): os.kill(pid, signal.SIGKILL)


@pytest.fixture(autouse=True)
def end_jobs(cluster, tmp_path):
    "No job outlives its test, nor what it had started."
    yield
    ask("scancel", "--user=root")
    end_processes(tmp_path)


def be_quick(folder):
    "Ask Slurm every second: its plugin asks politely, that is ten seconds later each time that no job has ended."
    profile, plugin = (folder/"workflow"/"profiles"/"slurm"/"config.yaml",
                       folder/"workflow"/"snakemake_executor_plugin_slurm")
    shutil.copytree(Path(find_spec(plugin.name).origin).parent, plugin)  # Python finds it before the installed one
    for path, polite, quick in ((profile, "status-checks: 10", "status-checks: 1"), (profile, "wait: 60", "wait: 10"),
                                (plugin/"__init__.py", "status_checks + 10", "status_checks")):
        text = path.read_text()
        assert polite in text
        path.write_text(text.replace(polite, quick))
    return folder


HOLD = """
import time
from pathlib import Path
CHECKPOINTS_APART, write = 0, _write_checkpoint
def _write_checkpoint(*given):
    write(*given)
    while Path({file!r}).exists(): time.sleep(0.1)
"""


def hold(folder, notebook, after, code):
    "Steps of a notebook wait, once the cell that holds a text has run, while the file that is returned is there."
    path, file = folder/"nbs"/f"{notebook}.ipynb", folder/f"{notebook}.hold"
    cells = (content := nbformat.read(path, 4)).cells
    place = next(i for i, cell in enumerate(cells) if cell.cell_type == "code" and after in cell.source)
    cells.insert(place + 1, nbformat.v4.new_code_cell(code.format(file=str(file))))
    nbformat.write(content, path)
    file.touch()
    return file


def hold_training(folder):
    "A training waits after its first epoch, whose checkpoint is written."
    return hold(folder, "22_modelling", "def fit_network(", HOLD)


def hold_preparation(folder):
    return hold(folder, "18_datasets", "toml_path = ",
                "import time\nfrom pathlib import Path\nwhile Path({file!r}).exists(): time.sleep(0.1)")


@pytest.fixture(scope="module")
def finished(smoke_run, tmp_path_factory):
    "A project whose smoke run was run on this machine, without Slurm."
    return be_quick(shutil.copytree(smoke_run, tmp_path_factory.mktemp("local")/"project", symlinks=True))


@pytest.fixture
def unfinished(finished, tmp_path):
    "The same with one training, and what compares its results, still to do; and the file that holds the training."
    folder = shutil.copytree(finished, tmp_path/"project", symlinks=True)
    shutil.rmtree(folder/"results"/"smoke"/TRAINING)
    toml = folder/"config"/"smoke.toml"
    text = toml.read_text().replace("epochs = 2\n", f"epochs = {EPOCHS}\n")
    toml.write_text(text[:text.index("[transfer.pairs]")] + ONE_TRAINING)
    return folder, hold_training(folder)


def wait_for_job(process, rule):
    "The number of a running job of a rule, as soon as there is one."
    def find():
        assert process.poll() is None, f"no job of {rule} began: {finish(process)[1]}"
        jobs = ask("squeue", "--noheader", "--states=running", "--format=%i %k").splitlines()
        return next((job.split()[0] for job in jobs if f"rule_{rule}" in job), None)
    return wait_for(find)


def wait_for_checkpoint(process, folder):
    wait_for(lambda: process.poll() is not None
             or any((folder/"results"/"smoke"/TRAINING/"checkpoints").rglob("*.npz")))


def begin_training(folder):
    "The run's process, when its training is running and has written a checkpoint; and the job's number."
    process = radiogal(folder, "run", "smoke", "--profile", "slurm")
    job = wait_for_job(process, "training")
    wait_for_checkpoint(process, folder)
    return process, job


def restart_node():
    "The only node dies, with what runs on it, and comes back."
    node = f"nodename={socket.gethostname().split('.')[0]}"
    ask("scontrol", "update", node, "state=down", "reason=test")
    wait_for(lambda: not ask("squeue", "--noheader", "--states=running,completing"))
    ask("scontrol", "update", node, "state=resume")


def was_resumed(folder):
    "A training that went on from a checkpoint cannot tell its seconds."
    timing = json.loads((folder/"results"/"smoke"/TRAINING/"timing.json").read_text())
    return timing["epochs"] == EPOCHS and timing["seconds"] is None


def limit_training(folder, **limits):
    "Give trainings other limits, and one try."
    profile = folder/"workflow"/"profiles"/"slurm"/"config.yaml"
    text = profile.read_text().replace("retries: 1", "retries: 0")
    for key, value in limits.items():
        text = re.sub(rf"(training:(?:\n    \w+:.*)*?\n    {key}: ).*", rf"\g<1>{value}", text, count=1)
    profile.write_text(text)


def test_a_job_beyond_its_time_says_so_and_the_next_call_goes_on_from_its_checkpoint(unfinished):
    folder, held = unfinished
    limit_training(folder)
    process, job = begin_training(folder)
    ask("scontrol", "update", f"jobid={job}", "timelimit=1")
    status, said = finish(process)
    assert status != 0 and "22_modelling" in said and "TIMEOUT" in said, said
    assert any((folder/"results"/"smoke"/TRAINING/"checkpoints").rglob("*.npz"))
    end_processes(folder)
    held.unlink()
    status, said = finish(radiogal(folder, "run", "smoke", "--profile", "slurm"))
    assert status == 0 and was_resumed(folder), said


def test_slurm_gives_the_same_bytes_though_a_job_is_cancelled_and_the_node_dies(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path/"project", symlinks=True)
    for part in ("preparation", "training", "transfer", "steps", "classify", "report"):
        shutil.rmtree(folder/"results"/"smoke"/part)
    preparation, training = hold_preparation(folder), hold_training(folder)
    process = radiogal(folder, "run", "smoke", "--profile", "slurm")
    ask("scancel", wait_for_job(process, "preparation"))
    preparation.unlink()
    job = wait_for_job(process, "training")
    wait_for_checkpoint(process, folder)
    restart_node()
    training.unlink()
    status, said = finish(process)
    assert status == 0, said
    assert "CANCELLED" in said and "Restarts=1" in ask("scontrol", "show", "job", job), said
    assert read_numbers(folder) == read_numbers(finished)
    assert "22_modelling-1of2" in said
    status, said = finish(radiogal(folder, "run", "smoke", "--profile", "slurm"))
    assert status == 0 and "Nothing to do" in said


def test_a_job_beyond_its_memory_says_so(unfinished):
    folder, _ = unfinished
    limit_training(folder, mem_mb=300)
    status, said = finish(radiogal(folder, "run", "smoke", "--profile", "slurm"))
    assert status != 0 and "22_modelling" in said, said
    assert re.search(r"OUT_OF_MEMORY|exceeded memory limit \(\d+ > \d+\)", said), said
