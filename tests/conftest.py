"Shared by the tests that span modules: a clone of the project, and the mirror of real data."
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
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
    code = "import sys; from radiogal.workflow import main; sys.exit(main())"
    return subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=folder, env=env, text=True, start_new_session=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process):
    "Exit status and what was said; the group is killed if the test itself is stopped."
    try: said = process.communicate()[0]
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, said


@pytest.fixture
def mirror():
    "The mirror of real data, as RADIOGAL_MIRROR names it."
    name = os.environ.get("RADIOGAL_MIRROR")
    if not name: pytest.skip("RADIOGAL_MIRROR is not set: no real data to test with")
    return Path(name).resolve()
