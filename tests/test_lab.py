"JupyterLab, as `make lab` starts it: it serves the notebooks, and its kernel finds radiogal."
import json
import subprocess
import sys
import time
import uuid

import nbformat
import pytest
import requests
import websocket
from conftest import LAB_OPTIONS, ROOT, find_lab

TOUR = "--LabApp.default_url=/lab/tree/nbs/00_tour.ipynb"


@pytest.fixture
def lab(tmp_path):
    "A JupyterLab on this machine, stopped however the test ends: its address."
    log = tmp_path/"lab.log"
    with open(log, "w") as f:
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", TOUR, *LAB_OPTIONS], cwd=ROOT, stderr=f)
    try:
        address = find_lab(server, log)
        assert f"{address}/lab/tree/nbs/00_tour.ipynb" in log.read_text()
        yield address
    finally:
        server.terminate()
        server.wait()


def ask(address, method, path, **kwargs):
    "A call of Jupyter's REST interface."
    answer = requests.request(method, f"{address}/api/{path}", headers={"Authorization": "token lesson"}, timeout=600,
                              **kwargs)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def run_code(address, kernel, code):
    "What code prints in a kernel."
    url = f"{address.replace('http', 'ws')}/api/kernels/{kernel}/channels?token=lesson"
    channel = websocket.create_connection(url, timeout=600)
    try:
        header = dict(msg_id=uuid.uuid4().hex, msg_type="execute_request", username="", session="lesson", version="5.3")
        channel.send(json.dumps(dict(header=header, parent_header={}, metadata={}, channel="shell", buffers=[],
                                     content=dict(code=code, silent=False, store_history=False, allow_stdin=False))))
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline:
            message = json.loads(channel.recv())
            if message["msg_type"] == "stream": return message["content"]["text"]
            if message["msg_type"] == "error": return message["content"]["evalue"]
    finally: channel.close()
    raise TimeoutError("no answer from the kernel")


def test_make_lab_opens_the_tour_with_the_clone_around_it():
    assert f"jupyter lab {TOUR}" in (ROOT/"Makefile").read_text()


def test_a_kernel_without_radiogal_is_told_what_to_do(tmp_path):
    tour = nbformat.read(ROOT/"nbs"/"00_tour.ipynb", 4)
    first = next(cell.source for cell in tour.cells if cell.cell_type == "code")
    done = subprocess.run([sys.executable, "-I", "-S", "-c", first], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "make lab, in the clone, opens JupyterLab with one that has" in done.stderr
    assert "### *No module named 'radiogal'* in a notebook" in (ROOT/"docs"/"faq.md").read_text()


def test_lab_has_the_notebooks_and_a_kernel_that_finds_radiogal(lab):
    names = {f["name"] for f in ask(lab, "GET", "contents/nbs")["content"]}
    assert {"01_config.ipynb", "41_final_plots.ipynb"} <= names
    kernel = ask(lab, "POST", "kernels", json=dict(name="python3"))["id"]
    try:
        said = run_code(lab, kernel,
                        "import radiogal.config as c; print(c.Paths(c.find_root()).nbs.is_dir(), c.__file__)")
    finally: ask(lab, "DELETE", f"kernels/{kernel}")
    assert said.split() == ["True", str(ROOT/"radiogal"/"config.py")]
