"Each notebook runs once, as `nbdev_test` runs it: every cell passes, and its pictures look as those stored in it."
import base64
import contextlib
import io
import os

import children
import nbdev.test
import nbformat
import numpy as np
import pytest
from conftest import ROOT
from execnb.shell import CaptureShell
from matplotlib.testing.compare import calculate_rms
from nbdev.config import get_config
from PIL import Image

TOLERANCE = 4.0  # Of 255, root mean square: text that moved by a pixel passes, a line that moved does not
NOTEBOOKS = sorted((path.stem for path in (ROOT/"nbs").glob("[0-9]*.ipynb")),
                   reverse=True)  # those that train take longest
# Pictures before a training of the notebook's own, which processors end otherwise
STEADY = {"22_modelling": 1, "23_transfer": 1}
FETCHED = {} if os.environ.get("RADIOGAL_MIRROR") else {"00_tour": 1}  # First pictures of images that are not at hand


class Shell(CaptureShell):
    "nbdev's shell, with pictures as Jupyter draws them; it remembers what it ran."
    def __init__(self, path): super().__init__(path, mpl_format="png")

    def run_all(self, notebook, **how):
        for cell in notebook.cells: cell["outputs"] = []
        Shell.ran = notebook
        super().run_all(notebook, **how)


def run_notebook(number, name, sender):
    "In a process of its own: whether all cells passed, what was said if not, and the pictures; all are sent."
    nbdev.test.CaptureShell, said = Shell, io.StringIO()
    if not os.environ.get("RADIOGAL_MIRROR"):
        os.environ["https_proxy"] = "http://127.0.0.1:9"  # nothing leaves this machine
    with contextlib.redirect_stderr(said):
        passed, _ = nbdev.test.test_nb(ROOT/"nbs"/f"{name}.ipynb", get_config(path=ROOT).tst_flags.split(),
                                       basepath=ROOT)
    sender.send((passed, said.getvalue(), list_pictures(Shell.ran)))


def list_pictures(notebook):
    "All pictures in a notebook's outputs, in order."
    return [output["data"]["image/png"] for cell in notebook.cells for output in cell.get("outputs", [])
            if "image/png" in output.get("data", {})]


def read_picture(text): return Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")


def measure_difference(one, other):
    "Root mean square of the difference, 0 to 255; one of another size is filled with white, up to three pixels."
    assert all(abs(a - b) <= 3
               for a, b in zip(one.size, other.size, strict=True)), f"{one.size} instead of {other.size}"
    sheets = []
    for picture in (one, other):
        sheets.append(Image.new("RGB", tuple(map(max, one.size, other.size)), "white"))
        sheets[-1].paste(picture)
    return calculate_rms(*map(np.asarray, sheets))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_cells_pass_and_pictures_look_as_stored(name):
    receiver, sender = children.CONTEXT.Pipe(duplex=False)
    with children.run(1, run_notebook, name, sender, daemon=False) as (child,):  # Lessons have processes of their own
        while not receiver.poll(0.1): assert child.is_alive(), "the notebook's process died"
        passed, said, fresh = receiver.recv()
    assert passed, said
    stored = list_pictures(nbformat.read(ROOT/"nbs"/f"{name}.ipynb", 4))
    assert len(fresh) == len(stored)
    pairs = list(zip(stored, fresh, strict=True))[FETCHED.get(name):STEADY.get(name)]
    distances = [measure_difference(*map(read_picture, pair)) for pair in pairs]
    far = {k: round(rms, 1) for k, rms in enumerate(distances) if rms > TOLERANCE}
    way_out = f"make refresh NOTEBOOKS=nbs/{name}.ipynb if right"
    assert not far, f"pictures (from 0) that look otherwise, and how far: {far}; {way_out}"


def test_a_changed_picture_is_seen():
    picture = read_picture(list_pictures(nbformat.read(ROOT/"nbs"/"26_diagnosis.ipynb", 4))[0])
    thinner = picture.resize((picture.width, picture.height - 2))
    assert measure_difference(picture, picture) == 0
    assert measure_difference(picture, thinner) > TOLERANCE
