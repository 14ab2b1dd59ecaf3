"The original study's panels: what is no notebook or figure of the known form, and what cannot be paired."
import base64
import json
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from astropy.table import Table
from conftest import ROOT
from PIL import Image, ImageFile

from radiogal import panels
from radiogal.config import read_config
from radiogal.fetch import Fetcher, FetchError, Manifest, select_files, url_to_path
from radiogal.panels import (
    _FIGURES,
    _INFERNO,
    _FigureError,
    _Images,
    _read_figure,
    build_pairs,
    draw_as_panel,
    list_published,
    measure_colours,
    pair_panels,
    read_panels,
    read_shown,
    read_study,
)

TWO = {0: ("FRI", 10), 2: ("FRII", 7)}  # Two rows in each figure, the last one not full
VLASS = read_config(ROOT/"config"/"vlass.toml")
RAMP = np.arange(178*178, dtype=np.uint8).reshape(178, 178)


def draw_figure(n):
    "Panels in the study's layout, the n-th begun with another level."
    figure = np.zeros((10 + 180*(-(-n//5)), 912, 4), np.uint8)
    for k in range(n):
        colours = np.dstack([_INFERNO[np.pad(RAMP + np.uint8(k), (0, 1))][::-1], np.full((179, 179), 255)])
        colours[-12:-9, 10:15, :3] = 250
        top, left = 7 + 180*(k//5), (7, 186, 365, 545, 724)[k % 5]
        figure[top:top + 179, left:left + 179] = colours
    return figure


def encode(figure):
    Image.fromarray(figure).save(png := BytesIO(), "png")
    return png.getvalue()


def write_notebook(path, pictures):
    "A notebook of three cells, with pictures stored in some."
    cells = [dict(outputs=[dict(data={"image/png": base64.b64encode(png).decode()}) for png in pictures.get(i, [])])
             for i in range(3)]
    path.write_text(json.dumps(dict(cells=cells)))
    return path


@pytest.fixture
def figures(): return {cell: draw_figure(n) for cell, (_, n) in TWO.items()}


def list_known(figures=TWO):
    "A name for each panel but the last of each figure."
    rows = [(cell, k, f"S{cell}{k}", 10 + cell, k, label, 0.97, "A") for cell, (label, n) in figures.items()
            for k in range(n - 1)]
    return Table(rows=rows, names=("cell", "panel", "name", "ra", "dec", "label", "posterior", "position_confidence"))


def test_a_figure_becomes_the_levels_that_were_drawn(tmp_path, figures):
    path = write_notebook(tmp_path/"a.ipynb", {cell: [encode(figure)] for cell, figure in figures.items()})
    read = read_panels(path, list_known(), TWO)
    assert list(read.reasons.values()) == ["which source it shows is not known"]*2 and len(read.levels) == 15
    for name, levels in read.levels.items():
        wrong = levels != RAMP + np.uint8(int(name[2:]))
        wrong[8:13, 9:16] = False  # under the number and beside it
        assert not wrong.any() and (levels[8:13, 9:16] == 0).all()
    assert measure_colours(path, TWO)["largest_difference"].max() == 0


def test_a_panel_that_cannot_be_used_is_listed_and_the_others_are_read(tmp_path, figures):
    figures[0][40:60, 40:60, :3] = (0, 255, 0)
    figures[2][200:210, 200:210, 3] = 0
    path = write_notebook(tmp_path/"a.ipynb", {cell: [encode(figure)] for cell, figure in figures.items()})
    read = read_panels(path, list_known(), TWO)
    assert "400 pixels are off the colour map" in read.reasons["S00"]
    assert read.reasons["panel 6 of cell 2"] == "it does not fill its frame"
    assert len(read.levels) == 14 and not set(read.levels) & set(read.reasons)


def test_colours_are_measured_wherever_no_number_is_printed(tmp_path, figures):
    figures[0][170, 107, :3] = (0, 255, 0)  # among the last rows, right of the number
    figures[2][..., 3] = np.where(figures[2][..., 3], 254, 0)
    path = write_notebook(tmp_path/"a.ipynb", {cell: [encode(figure)] for cell, figure in figures.items()})
    assert measure_colours(path, {0: TWO[0]})["largest_difference"].max() > 100
    with pytest.raises(_FigureError, match="cell 2: none of 7 panels fills its frame"): measure_colours(path, TWO)


def cut_row(figure): return figure[180:]
def cut_column(figure): return figure[:, :720]
def spread_out(figure): return figure.repeat(2, axis=0)


@pytest.mark.parametrize("change", [cut_row, cut_column, spread_out, np.zeros_like])
def test_a_figure_of_another_layout_is_refused_by_name(tmp_path, figures, change):
    path = write_notebook(tmp_path/"a.ipynb", {0: [encode(change(figures[0]))], 2: [encode(figures[2])]})
    with pytest.raises(_FigureError, match="another layout"): read_panels(path, list_known(), TWO)


def announce(width, height):
    "The head of a PNG that says it is of some size."
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))


def announce_twice(width, height):
    "A small PNG that says it is larger in a second head."
    png = encode(draw_figure(1))
    return png[:33] + announce(width, height)[8:] + png[33:]


@pytest.mark.parametrize(("png", "told"), [
    (announce(100_000, 100_000), "100000 × 100000 pixels is too large"), (announce(10, 10), "a damaged figure"),
    (announce_twice(50_000, 50_000), "a damaged figure"), (announce_twice(500, 500), "it has two sizes"),
    (announce(10, 10).replace(b"IHDR", b"tEXt"), "no PNG"), (b"GIF89a", "no PNG"), (b"\x89PNG\r\n\x1a\n", "no PNG"),
    (encode(draw_figure(1))[:2000], "a damaged figure")])
@pytest.mark.parametrize("filled_up", [False, True])
def test_a_picture_that_is_none_is_refused_before_it_is_unpacked(tmp_path, monkeypatch, png, told, filled_up):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", filled_up)  # as WeasyPrint does for a whole process
    path = write_notebook(tmp_path/"a.ipynb", {0: [png]})
    with pytest.raises(_FigureError, match=told): _read_figure(path, 0)


@pytest.mark.parametrize(("text", "told"), [
    ("<html>", "Expecting value"), ("[]", "indices"), ('{"cells": []}', "out of range"), ("["*100_000, "recursion"),
    ('{"cells": [{"outputs": [{"data": {"image/png": 3}}]}]}', "iterable"), ('{"cells": [{"outputs": [3]}]}', "int"),
    ('{"cells": [{"outputs": [{"data": {"image/png": "é"}}]}]}', "ASCII"), (" "*10_000_001, "larger than a notebook")])
def test_what_is_no_notebook_is_refused(tmp_path, text, told):
    (tmp_path/"a.ipynb").write_text(text)
    with pytest.raises(_FigureError, match=told): _read_figure(tmp_path/"a.ipynb", 0)


@pytest.mark.parametrize(("content", "told"), [
    (None, "study's|good%20FR1s|nowhere.invalid"), (b"{}", "expected 1213229 bytes"),
    (b" "*1_213_229, "expected SHA-256 758e01f7")])
def test_the_studys_notebook_must_be_there_and_be_that_one(tmp_path, monkeypatch, content, told):
    file, = select_files("study-vlass")
    place = tmp_path/"mirror"/url_to_path(file.url)
    place.parent.mkdir(parents=True)
    if content is not None: place.write_bytes(content)
    monkeypatch.setenv("RADIOGAL_MIRROR", str(tmp_path/"mirror"))
    fetcher = Fetcher(Manifest(tmp_path/"m.sqlite"), ("nowhere.invalid",))
    with pytest.raises(FetchError, match=told): read_study(fetcher, tmp_path/"raw", VLASS)


def list_images(rows):
    "Images of 10 + k degrees and a declination, by name."
    facts = Table(rows=rows, names=("name", "ra", "dec", "label", "position_confidence", "posterior", "set"))
    return _Images({row[0]: RAMP for row in rows}, facts, {})


def test_what_cannot_be_paired_has_its_reason():
    shown = list_images([(f"P{k}", 10 + k, 0.0, "FRI", "AAACA"[k], 0.5, "") for k in range(5)])
    first = list_images([(f"F{k}", 10 + k, dec, label, "", 0, "griese") for k, dec, label in
                         [(0, 0.002, "FRI"), (1, 0.01, "FRI"), (2, 0.0, "FRII"), (3, 0.0, "FRI")]])
    pairs, reasons = pair_panels(shown, first)
    assert pairs == {"P0": "F0"}
    assert reasons == {"P1": "the positions disagree: FIRST's image of F1 is 36 arcsec away",
                       "P2": "it is FRI in the study and FRII in griese",
                       "P3": "its position is not sure enough: posterior 0.50",
                       "P4": "no image of FIRST at its position"}
    with pytest.raises(ValueError, match="none of 5 panels"):
        build_pairs(shown._replace(levels={}), first, VLASS)


def test_without_an_image_of_first_every_panel_has_its_reason():
    shown = list_images([(f"P{k}", 10 + k, 0.0, "FRI", "A", 0.9, "") for k in range(2)])
    first = list_images([("F", 10, 0.0, "FRI", "", 0, "griese")])._replace(levels={})
    assert pair_panels(shown, first) == ({}, dict.fromkeys(("P0", "P1"), "no image of FIRST at its position"))
    with pytest.raises(ValueError, match="none of 2 panels"): build_pairs(shown, first, VLASS)


def test_what_is_covered_goes_with_the_image_of_first():
    rows = [(f"P{k}", 10 + k, 0.0, ("FRI", "FRII")[k % 2], "A", 0.9, "griese") for k in range(20)]
    images = list_images(rows)
    sets = build_pairs(images, images._replace(covered={"P3": 0.93}), VLASS)
    assert sets.first.covered.tolist() == [0.93 if name == "P3" else 1 for name in sets.first.names]
    assert set(sets.vlass.covered) == {1}


def test_what_griese_held_out_is_listed_and_not_drawn(monkeypatch, tmp_path):
    table = Table(dict(name=["a", "b", "c"], ra=[1., 2, 3], dec=[0.]*3, label=["FRI", "FRII", "Compact"],
                       split=["train", "test", "test"]))
    image = np.zeros((300, 300), np.uint8)
    image[140:160, 140:160] = 200
    monkeypatch.setattr(panels, "_read_griese", lambda path: (np.stack([image]*3), table))
    monkeypatch.setattr(panels, "get_registered", lambda *given: tmp_path)
    drawn = panels._gather_griese(None, tmp_path)
    assert list(drawn.levels) == ["a"] and drawn.reasons == {"b": "held out by its authors"}


def test_the_less_sure_of_two_panels_of_one_source_says_so():
    told = panels._explain_less_sure()
    assert told == {(10, 58): "it may show J104139.01+024233.0, but panel 57 of cell 10 more surely does"}


def test_the_table_of_panels_holds_facts_of_the_figures_alone():
    shown = read_shown()
    assert len(shown) == 284 and len(set(zip(shown["cell"], shown["panel"], strict=True))) == 284
    assert all(row["panel"] < _FIGURES[row["cell"]][1] and row["label"] == _FIGURES[row["cell"]][0] for row in shown)
    assert (shown["posterior"][shown["position_confidence"] == "A"] > 0.9).all()


def test_files_of_published_sets_are_listed_once_and_none_is_held_out():
    files = list_published(("griese", "panels-VLASS", "panels-FIRST"))
    assert len(files) == len({file.url for file in files}) and "test" not in {file.split for file in files}
    assert {"study-vlass", "griese", "frdeep", "vlass", "catalogue"} >= {file.dataset for file in files}
    assert list_published(()) == []


def test_the_steps_do_not_depend_on_the_unit():
    rng = np.random.default_rng(1)
    image = rng.normal(1e-4, 1e-5, (270, 270))
    image[130:140, 120:150] += 1e-2
    drawn = draw_as_panel(image)
    np.testing.assert_array_equal(drawn, draw_as_panel(image*1000))
    assert (drawn.max(), drawn.min()) == (255, 0) and (drawn > 0).mean() < 0.02


def test_the_studys_own_figures_invert_without_remainder(mirror):
    file, = select_files("study-vlass")
    path = mirror/url_to_path(file.url)
    read, colours = read_panels(path, read_shown()), measure_colours(path)
    assert len(read.levels) == 284 and len(read.reasons) == 142
    assert read.reasons["panel 37 of cell 4"] == "it does not fill its frame"
    assert list(colours["largest_difference"]) == [0, 0] and list(colours["panels"]) == [146, 279]
    assert np.median([(levels > 0).mean() for levels in read.levels.values()]) < 0.01
