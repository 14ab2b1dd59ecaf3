"""Write the licence of every package of both locks, as its installed metadata names it: `make licences`."""
import re
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCKS = "requirements.lock", "requirements-gpu.lock"
# What no metadata here say: packages of other machines, and those that name none; from their pages on the package index
BY_HAND = dict.fromkeys(("aiohttp", "aiosignal", "frozenlist", "multidict", "propcache", "yarl", "namex", "tensorflow"),
                        "Apache-2.0") | dict.fromkeys(
    ("brotlicffi", "conda-inject", *(f"snakemake-interface-{name}" for name in (
        "common", "logger-plugins", "report-plugins", "scheduler-plugins", "storage-plugins"))), "MIT") | dict(
    aiohappyeyeballs="PSF-2.0", appnope="BSD-2-Clause", msgspec="BSD-3-Clause")
VENDOR = "NVIDIA Proprietary Software"  # Of CUDA's libraries, which the lock for a GPU alone has

ABOUT = """Every package of `requirements.lock` and `requirements-gpu.lock`, with the licence that its installed
metadata names. *By hand*: the package is for another machine, or its metadata name none, and the licence is that of its
page on the package index. `make env` installs none that is not here, takes wheels alone, which run no script when
they are installed, and compares each with its hash in the lock. `make licences` wrote this page."""


def read_locked(root=ROOT):
    "Names and versions of the packages of both locks, each once."
    text = "".join((root/name).read_text() for name in LOCKS)
    return sorted(set(re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", text, re.MULTILINE)))


def read_licence(name):
    "The licence that installed metadata name, '' where they name none, or the package is not installed."
    try: said = metadata.metadata(name)
    except metadata.PackageNotFoundError: return ""
    classified = [c.rpartition(" :: ")[2] for c in said.get_all("Classifier", []) if c.startswith("License :: ")]
    named = said.get("License-Expression") or "; ".join(sorted({*classified} - {"OSI Approved"})) or said.get("License")
    return " ".join((named or "").split())[:160].replace("|", "/")


def name_licence(name):
    "A package's licence and whether it is by hand; raises `SystemExit` for one that nobody names."
    if found := read_licence(name): return found, ""
    if found := BY_HAND.get(name) or (VENDOR if name.startswith("nvidia-") else ""): return found, "by hand"
    sys.exit(f"no licence of {name} is known: look at its page on the package index, and add it to docs/licences.py")


def main():
    rows = [(name, version, *name_licence(name)) for name, version in read_locked()]
    lines = ["---", "orphan: true", "---", "# Licences of the packages", "", ABOUT, "", f"{len(rows)} packages.", "",
             "| package | version | licence | |", "|---|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    (ROOT/"docs"/"licences.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__": main()
