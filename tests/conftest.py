"Shared by tests that span modules: a clone of the project, moments to kill it, real data, the table of faults, a bar."
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
import requests
from children import look_less_for_garbage
from faulty import Case, serve
from filelock import FileLock
from tqdm import tqdm
from xdist.scheduler import LoadScopeScheduling

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors, and not what TensorFlow says of itself when it starts
ROOT = Path(__file__).parent.parent
STARTED = []  # Commands of this test
TRACKED = ("config", "nbs", "radiogal", "workflow", "settings.ini")


def copy_project(folder):
    "The parts of the project that a run needs, in a folder of their own, outside git."
    for name in TRACKED:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name, **(dict(ignore=shutil.ignore_patterns("__pycache__")) if source.is_dir() else {}))
    return folder


def radiogal(folder, *arguments, **environment):
    "The command's process, in a folder, in a process group of its own; its library is the folder's."
    env = {k: v for k, v in os.environ.items() if k != "RADIOGAL_MIRROR"} | {"PYTHONPATH": str(folder)} | environment
    code = "import sys; from radiogal.cli import main; sys.exit(main())"
    STARTED.append(subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=folder, env=env, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=hear_ctrl_c))
    return STARTED[-1]


@pytest.fixture(autouse=True)
def end_commands():
    "No command outlives its test."
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None: os.killpg(process.pid, signal.SIGKILL)


def hear_ctrl_c():
    "Interrupts are heard as in a terminal, though a shell that runs the tests in the background has them ignored."
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finish(process):
    "Exit status and what was said; the group is killed if the test itself is stopped."
    try: said = process.communicate()[0]
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, said


def wait_for(condition):
    "Wait until something is so; a test that waits for half an hour hangs."
    deadline = time.monotonic() + 1800
    while not (seen := condition()):
        assert time.monotonic() < deadline, "not within half an hour"
        time.sleep(0.02)
    return seen


def list_moments(folder, run="smoke"):
    "Moments at which a run can be killed: the files that a finished one wrote, in order, as paths below its folder."
    written = [path for top in ("results", "figures") for path in (folder/top/run).rglob("*") if path.is_file()]
    return [path.relative_to(folder) for path in sorted(written, key=lambda path: path.stat().st_mtime_ns)]


def stop_when(seen, process, pause=0., stop=signal.SIGKILL):
    "Send a process and its children a signal once something is so, or a pause (s) later; False if it ended by then."
    wait_for(lambda: process.poll() is not None or seen())
    time.sleep(pause)
    if process.poll() is not None: return False
    os.killpg(process.pid, stop)
    return True


def find_processes(folder):
    "Processes that work in a folder."
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try: cwd = os.readlink(f"/proc/{pid}/cwd")
        except OSError: continue  # ended meanwhile, or another user's
        if cwd.startswith(str(folder)): found.append(int(pid))
    return found


def copy_state(run, folder):
    "What the clone knows of a run, so that it is not made again; Snakemake judges what of it is still good."
    if not (ROOT/"results"/run).is_dir(): return  # downloads alone would answer what a test expects an archive to
    for name in (f"results/{run}", f"figures/{run}", f"data/raw/{run}", ".snakemake/metadata"):
        if (ROOT/name).is_dir(): shutil.copytree(ROOT/name, folder/name, symlinks=True)


def make_once(factory, name, make):
    "A folder of the session that is made by the first of xdist's processes which needs it, and shared by all."
    folder = factory.getbasetemp().parent/f"{name}-{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            make(folder)
    return folder


def run_smoke(folder):
    "A project in which the smoke run is finished."
    copy_state("smoke", copy_project(folder))
    status, said = finish(radiogal(folder, "run", "smoke", "--cores", "2"))
    assert status == 0, said


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory):
    "A project in which the smoke run is finished. Not to be changed."
    return make_once(tmp_path_factory, "smoke", run_smoke)


def build_wheel(folder):
    "The project's wheel, built from a copy, which leaves nothing in the clone."
    copy = folder/"source"
    copy.mkdir()
    for name in ("radiogal", "config"):
        shutil.copytree(ROOT/name, copy/name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "settings.ini", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT/name, copy)
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, copy], check=True,
                   capture_output=True)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    "The project's wheel."
    return next(make_once(tmp_path_factory, "wheel", build_wheel).glob("*.whl"))


OF_SURVEYS = {f"plot_{name}.png" for name in ("counts", "neighbours_by_depth", "neighbours_by_tile", "resolution")}

LATER = ("training", "transfer", "steps/training", "steps/transfer", "classify", "report")


def forget_later(folder):
    "A smoke run whose networks are still to be trained."
    for part in LATER: shutil.rmtree(folder/"results"/"smoke"/part)
    return folder


def read_numbers(folder):
    "Whatever a smoke run says in numbers: bytes of its metrics, tables, sets and networks; of a catalogue the rows."
    results = folder/"results"/"smoke"
    kinds = "*.ecsv", "metrics.json", "*.h5", "predictions.parquet", "*.csv", "densities.json"
    rows = {path: pd.read_parquet(path).to_csv()
            for path in results.rglob("catalogue.parquet")}  # its header has the commit
    found = rows | {path: path.read_bytes() for kind in kinds for path in results.rglob(kind)}
    return {str(path.relative_to(results)): read for path, read in found.items()}


LAB_OPTIONS = ("--no-browser", "--port=0", "--ip=127.0.0.1", "--allow-root", "--IdentityProvider.token=lesson")


def find_lab(server, log):
    "The address in a starting JupyterLab's log, once it answers: the log has it a moment before the server listens."
    def find():
        assert server.poll() is None, log.read_text()
        said = re.search(r"is running at:\s.*?(http://127\.0\.0\.1:\d+)", log.read_text())
        with suppress(requests.ConnectionError):
            if said and requests.get(f"{said[1]}/api", timeout=60).ok: return said[1]
    return wait_for(find)


@pytest.fixture(scope="session")
def mirror():
    "The mirror of real data, as RADIOGAL_MIRROR names it."
    name = os.environ.get("RADIOGAL_MIRROR")
    if not name: pytest.skip("RADIOGAL_MIRROR is not set: no real data to test with")
    return Path(name).resolve()


N_FAULTS = 90  # Numbered from 1


@pytest.fixture
def case(tmp_path):
    "A server that misbehaves, a folder, and what shall be on disk in the end."
    with serve() as server: yield Case(server, tmp_path)


@pytest.fixture
def saw(record_property):
    "Tells the table of faults what a test saw: the exact end, and the reason."
    return lambda text: record_property("saw", str(text))


def pytest_addoption(parser):
    parser.addoption("--fault-table", type=Path, metavar="PATH",
                     help="write what came of the faults to a Markdown file")


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    if path := config.getoption("--fault-table"): config.pluginmanager.register(FaultTable(path))
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter and reporter.isatty: config.pluginmanager.register(Bar(reporter))


LONG = [f"test_{name}" for name in """cluster notebooks browser damage workflow docs benchmark report faults_kills
        training training_faults reruns offline fuzz_inputs real_archives real_sets votables grid watching transfer
        packaging engines""".split()]
# Their tests share no fixture but the smoke run, which all processes share
APART = "test_notebooks", "test_grid", "test_workflow"


@pytest.hookimpl(tryfirst=True)  # -m reads the marks
def pytest_collection_modifyitems(items):
    "What takes long begins first; what needs much is left out of `make test`."
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))
    for item in items:
        if {"mirror", "smoke_run"} & set(item.fixturenames): item.add_marker(pytest.mark.full)


def pytest_collection_finish(): look_less_for_garbage()


class ByFile(LoadScopeScheduling):
    "Deals files of tests to processes, so fixtures are made once; groups by marks are lost on pytest 9.2 (xdist 3.8)."
    def _split_scope(self, nodeid):
        return nodeid if Path(nodeid.split("::")[0]).stem in APART else nodeid.split("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log): return ByFile(config, log)


class Bar:
    "Shows on a terminal how many tests are done, in place of a letter for each."
    def __init__(self, reporter): self.reporter, self.begun, self.done, self.total = reporter, time.monotonic(), 0, 0

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self):
        category, *_ = yield
        return category, "", ""

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids): self.total = len(ids)

    def pytest_runtest_logfinish(self):
        self.done += 1
        bar = tqdm.format_meter(self.done, self.total, time.monotonic() - self.begun, ncols=100, unit="test")
        self.reporter.rewrite(bar, erase=True)


class FaultTable:
    "Collects what became of the tests marked `fault(number, fault, expected)`, and writes it down."
    def __init__(self, path):
        self.path, self.texts, self.outcomes, self.seen = path, {}, defaultdict(list), defaultdict(list)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        "A report takes its test's faults along, be it to another process."
        report = yield
        report.user_properties += [("fault", marker.args) for marker in item.iter_markers("fault")]
        return report

    def pytest_runtest_logreport(self, report):
        for number, *texts in (faults for name, faults in report.user_properties if name == "fault"):
            if texts and self.texts.setdefault(number, texts) != texts:
                raise ValueError(f"fault {number}: described in two ways")
            if report.when == "call" or not report.passed: self.note(number, report)

    def note(self, number, report):
        "One test's end. A test that says nothing of what it saw has not survived."
        said = [text for name, text in report.user_properties if name == "saw"]
        self.outcomes[number].append(report.outcome if said or not report.passed else "silent")
        ended = [] if report.passed else [f"{report.nodeid.rpartition('::')[2]} {report.outcome}"]
        self.seen[number] += [(report.location, text) for text in said + ended]

    def tell(self, number):
        "What was seen of a fault, each thing once, in the order of the tests and not of their ends."
        return "; ".join(dict.fromkeys(text for _, text in sorted(self.seen[number])))

    def judge(self, number):
        "survived, or why not."
        outcomes = set(self.outcomes.get(number, ["not run"]))
        if outcomes == {"passed"}: return "survived"
        return next(word for word in ("failed", "skipped", "silent", "not run") if word in outcomes)

    def format(self):
        verdicts = {number: self.judge(number) for number in range(1, N_FAULTS + 1)}
        rows = [(number, *self.texts.get(number, ("", "")), self.tell(number), verdict)
                for number, verdict in verdicts.items()]
        cells = [" | ".join(escape(cell) for cell in row)
                 for row in [("#", "fault", "expected", "seen", "verdict"), *rows]]
        survived = sum(verdict == "survived" for verdict in verdicts.values())
        return "\n".join(["# Faults", "", f"{survived} of {N_FAULTS} faults survived", "",
            "What archives, networks, disks and processes were seen to do wrong, each one done on purpose to radiogal",
            "on this machine, and how that ended. Written by `make faults`.", "",
            f"| {cells[0]} |", "|---|---|---|---|---|", *(f"| {row} |" for row in cells[1:])]) + "\n", survived

    def pytest_sessionfinish(self, session):
        if hasattr(session.config, "workerinput"): return  # of xdist's processes, the one that hears of all tests
        text, survived = self.format()
        self.path.write_text(text, encoding="utf-8")
        if survived < N_FAULTS and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def escape(cell):
    "Text that Markdown shows as it is."
    return re.sub(r"([\\`*_\[\]{}|<>~$#])", r"\\\1", " ".join(str(cell).split()))
