"""The environment of the lock: uv, which `make env` takes, against pip; each with nothing downloaded before, once.

It fetches half a gigabyte twice, from the package index that pip and uv are set to.
"""
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from _pairs import ROOT, Pair, run_pairs
from packaging.requirements import Requirement

UV, PYTHON = Path(sys.executable).with_name("uv"), Path("env")/"bin"/"python"
LOCK = (ROOT/"requirements.lock").read_text()
PINNED = map(Requirement, re.findall(r"^\w\S*==[^\\\n]*", LOCK, re.MULTILINE))
N_PACKAGES = sum(not pin.marker or pin.marker.evaluate() for pin in PINNED)  # On this system
TINY = "tiny-1.0-py3-none-any.whl"
FILES = {"tiny.py": "", "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
         "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
         "tiny-1.0.dist-info/RECORD": "".join(f"{name},,\n" for name in (
             "tiny.py", "tiny-1.0.dist-info/METADATA", "tiny-1.0.dist-info/WHEEL", "tiny-1.0.dist-info/RECORD"))}


def write_lock(folder, n):
    "The lock; one package that is at hand where no more is asked for."
    if n > 1:
        (folder/"lock").write_text(LOCK)
        return {}
    with zipfile.ZipFile(folder/TINY, "w") as wheel:
        for name, text in FILES.items(): wheel.writestr(name, text)
    (folder/"lock").write_text(str(folder/TINY))
    return {}


def get_ready(folder, n, *command):
    "A new, empty environment, and a command that fills it and has downloaded nothing before."
    place = Path(tempfile.mkdtemp(dir=folder))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place/"env"], check=True)
    whole = [*command, "--quiet", "--only-binary", ":all:", "--no-deps", "--cache-dir", place/"cache", "--requirement",
             folder/"lock", "--require-hashes" if n > 1 else "--no-index"]
    return lambda: subprocess.run([place/part if part == PYTHON else part for part in whole], check=True)


def ours(folder, n): return get_ready(folder, n, UV, "pip", "install", "--python", PYTHON)
def pip(folder, n): return get_ready(folder, n, sys.executable, "-m", "pip", "--python", PYTHON, "install")


if __name__ == "__main__":
    run_pairs(Pair("an environment of the lock's {n} packages, none downloaded before", N_PACKAGES, 1, ours, pip,
                   "uv, which `make env` takes", "pip", "measured once, as it takes minutes; the download is part of "
                   "it, so that the line and the package index count, too", write_lock, pairs=1))
