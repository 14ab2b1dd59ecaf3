"Every picture that a notebook shows looks as the one stored in it: changes of style, data or library do not go unseen."
import base64
import io

import nbformat
import numpy as np
import pytest
from conftest import ROOT
from matplotlib.testing.compare import calculate_rms
from nbclient import NotebookClient
from PIL import Image, ImageChops

TOLERANCE = 4.0  # Of 255, root mean square: text that moved by a pixel passes, a line that moved does not

# How many pictures of each are looked at: all, or where a notebook ends in a training of its own, those of its lessons before it
NOTEBOOKS = {"01_surveys": None, "02_source_densities": None, "04_catalogues": None, "05_sky": None, "06_scraping": None,
             "07_curation": None, "08_preparation": None, "10_modelling": 1, "11_transfer": 1, "12_evaluation": None,
             "13_final_plots": None, "17_benchmark": None}


def read_pictures(notebook):
    "All pictures in a notebook's outputs, in order."
    return [Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"]))).convert("RGB")
            for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]


def cut_after(notebook, n):
    "A notebook's cells up to the one that shows its n-th picture."
    shown = [i for i, cell in enumerate(notebook.cells) for _ in read_pictures(nbformat.from_dict(dict(cells=[cell])))]
    return nbformat.from_dict(dict(notebook, cells=notebook.cells[:shown[n - 1] + 1]))


def measure_difference(one, other):
    "Root mean square of the difference, 0 to 255; a picture of another size is cut or filled with white by up to three pixels."
    assert all(abs(a - b) <= 3 for a, b in zip(one.size, other.size, strict=True)), f"{one.size} instead of {other.size}"
    sheets = []
    for picture in (one, other):
        sheets.append(Image.new("RGB", tuple(map(max, one.size, other.size)), "white"))
        sheets[-1].paste(picture)
    return calculate_rms(*map(np.asarray, sheets))


@pytest.mark.parametrize("name, n", NOTEBOOKS.items())
def test_pictures_look_as_stored(name, n):
    stored = nbformat.read(ROOT/"nbs"/f"{name}.ipynb", 4)
    if n: stored = cut_after(stored, n)
    fresh = nbformat.reads(nbformat.writes(stored), 4)
    NotebookClient(fresh, kernel_name="python3", resources=dict(metadata=dict(path=str(ROOT/"nbs")))).execute()
    before, after = read_pictures(stored), read_pictures(fresh)
    assert before and len(before) == len(after)
    distances = [measure_difference(*pair) for pair in zip(before, after, strict=True)]
    far = {k: round(rms, 1) for k, rms in enumerate(distances) if rms > TOLERANCE}
    assert not far, f"pictures (from 0) that look otherwise, and how far: {far}; make refresh NOTEBOOKS=nbs/{name}.ipynb if right"


def test_a_changed_picture_is_seen():
    stored = nbformat.read(ROOT/"nbs"/"12_evaluation.ipynb", 4)
    picture = read_pictures(stored)[0]
    thinner = picture.resize((picture.width, picture.height - 2))
    assert measure_difference(picture, picture) == 0
    assert measure_difference(picture, thinner) > TOLERANCE
    assert measure_difference(picture, ImageChops.offset(picture, 3)) > TOLERANCE
