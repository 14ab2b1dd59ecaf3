"Nothing but this machine is asked: the demo's kinds of steps, and a catalogue, where there is no network at all."
import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import copy_project

from radiogal.engines import list_engines

STEPS = """
from pathlib import Path
from radiogal.cli import main
from radiogal.shards import classify_positions
from radiogal.config import Paths, read_config
from radiogal.datasets import _prepare_survey, make_sample, write_prepared
from radiogal.engines import list_engines, write_untrained
from radiogal.scraping import _scrape_survey, choose_targets
from radiogal.training import train_cell

root = Path.cwd()
config, results = read_config("config/smoke.toml"), root/"results"/"smoke"
targets = choose_targets(config, "")[:4]
cutouts = _scrape_survey(config, "FIRST", targets, "", root/"data"/"raw", results/"scraping"/"FIRST")
assert set(cutouts["state"]) == {"ok"}, cutouts["reason"]
prepared, _ = _prepare_survey(*make_sample(config, "FIRST"), config, "FIRST")
write_prepared(prepared, results/"preparation"/"FIRST"/"prepared.h5")
train_cell(results, config, "smoke", ("FIRST", "alhassan", 0, 1), "")
write_untrained(results/"training"/"FIRST"/"mcrgnet", prepared, "FIRST", "mcrgnet")
targets["name", "ra", "dec"].write("positions.csv", format="ascii.csv")
for engine in list_engines():
    asked = ("classify --run smoke --task FIRST --survey FIRST --network mcrgnet --positions positions.csv --engine "
             f"{engine} --out catalogue-{engine}").split()
    assert main(asked) == 0
step = f"notebook 04_surveys smoke --executed executed.ipynb --out-dir {results}/surveys".split()
assert main(step) == 0
print("all steps done")
"""
WITHOUT_NETWORK = ("unshare", "--user", "--map-root-user", "--net")
BRING_UP = "ip link set lo up && exec \"$@\""
AUDIT = '''
import os, sys
def note(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo"):
        with open(os.environ["ASKED"], "a") as f: f.write(f"{event} {arguments[1:]}\\n")
sys.addaudithook(note)
'''


def can(*command):
    "Does this machine allow it?"
    return bool(shutil.which(command[0])) and subprocess.run(command, capture_output=True).returncode == 0


def wrap(folder, command):
    "The command as this machine can watch it: off the network, its system calls or at least Python's sockets noted."
    if can("strace", "-o", os.devnull, "true"):
        traced = ("strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o",
                  folder/"asked")
        command = (*traced, *command)
    alone = (*WITHOUT_NETWORK, "sh", "-c", BRING_UP, "sh")
    return (*alone, *command) if can(*alone, "true") else command


def find_addresses(told):
    "Internet addresses that were asked, as strace or Python's audit hook tells them."
    return set(re.findall(r'inet_addr\("([^"]+)"|inet_pton\(AF_INET6, "([^"]+)"|\(\'([^\']+)\', \d+', told))


@pytest.mark.full
@pytest.mark.fault(71)
def test_nothing_but_loopback_is_asked(tmp_path, saw):
    folder, home = copy_project(tmp_path), tmp_path/"home"
    (tmp_path/"hook").mkdir(); home.mkdir()
    (tmp_path/"hook"/"sitecustomize.py").write_text(AUDIT)
    given = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "RADIOGAL_MIRROR", "ORT_"))}
    env = given | dict(HOME=str(home), MPLCONFIGDIR=str(tmp_path/"fonts"), ASKED=str(tmp_path/"asked"),
                       PYTHONPATH=os.pathsep.join([str(tmp_path/"hook"), str(folder)]))
    done = subprocess.run(wrap(tmp_path, (sys.executable, "-c", STEPS)), cwd=folder, env=env, capture_output=True,
                          text=True, timeout=600)
    assert "all steps done" in done.stdout, done.stderr[-4000:]
    told = (tmp_path/"asked").read_text(errors="replace")
    asked = {address for several in find_addresses(told) for address in several if address}
    assert "127.0.0.1" in asked and asked <= {"127.0.0.1", "::1"}, asked
    assert not list((home/".cache").rglob("*")) and "onnxruntime" in list_engines()
    saw("scraping, preparation, a training, a notebook and a catalogue without a network: "
        "127.0.0.1 alone, no file in ~/.cache")
