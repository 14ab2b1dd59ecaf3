"The browser of sources, its kernel's side: what becomes a list, what outlives the kernel, what is said of faults."
import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.wcs import WCS
from conftest import ROOT

import radiogal
from radiogal import browser, sources
from radiogal.browser import _Background, _BrowserWidget, _resume, _say, _Tour
from radiogal.catalogues import CATALOGUES, find_registered
from radiogal.config import ConfigError, Paths
from radiogal.curation import _CurationError, _read_lines
from radiogal.diagnosis import map_occlusion
from radiogal.engines import _Answers
from radiogal.fetch import FetchError, url_to_path
from radiogal.positions import write_table
from radiogal.pretrained import _prepare_any, _set_coverage, load_model
from radiogal.sources import (
    ImageSupply,
    NoImage,
    Source,
    _place_pixels,
    _tell_angle,
    find_catalogued,
    find_image,
    find_near_trained,
    list_sources,
    map_attention,
    read_known_labels,
    tell_calibration,
)

SAMPLES = files("radiogal")/"samples"
IMAGE = SAMPLES/"FIRST"/"J135214.56+123401.7.fits"
ROWS = Table(dict(name=["a", "b", "c"], ra=[10., 20., 30.], dec=[1., 2., 3.], label=["FRI", "FRII", "?"]))
FIVE = [Source(name, 180 + i/100, 0.) for i, name in enumerate("pqrst")]


@pytest.fixture
def tour(tmp_path):
    made = _Tour(tmp_path/"mine.csv", "ann", ["FIRST", "NVSS"])
    _resume(made, FIVE)
    return made


def reopen(tour, sources=()):
    "The tour as a restarted kernel finds it."
    later = _Tour(tour.path, tour.who, tour.surveys)
    _resume(later, list(sources))
    return later


@pytest.mark.parametrize("kind", ["table", "frame", "file", "several", "one"])
def test_tables_files_and_rows_make_the_same_list(tmp_path, kind):
    ROWS.write(tmp_path/"mine.csv", format="ascii.csv")
    path = tmp_path/"mine.csv"
    what = dict(table=ROWS, frame=ROWS.to_pandas(), file=path, several=[path], one=ROWS[1])
    found = list_sources(what[kind])
    assert [each.name for each in found] == (["b"] if kind == "one" else ["a", "b", "c"])
    if kind not in ("several", "one"): assert found[2].facts == "label ?"


def test_a_row_of_a_frame_is_a_source():
    (found,) = list_sources(ROWS.to_pandas().iloc[2])
    assert (found.name, found.ra, found.dec) == ("c", 30., 3.)


def test_images_of_a_folder_know_where_they_are():
    found = list_sources(SAMPLES)
    assert {each.survey for each in found} == {"FIRST", "NVSS"} and len({each.name for each in found}) == 2
    assert all(abs(each.ra - 208.0607) < 0.01 and not each.reason for each in found)


def test_what_cannot_be_read_has_its_reason(tmp_path):
    (tmp_path/"broken.fits").write_bytes(b"<html>")
    found = list_sources([str(tmp_path/"broken.fits"), "10:00:00 +95:00:00", "10:00:00 +05:00:00"])
    assert [bool(each.reason) for each in found] == [True, True, False]
    assert "broken.fits: not FITS" in found[0].reason


def test_explore_says_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="draws in JupyterLab, which make lab opens"): radiogal.explore()
    monkeypatch.setattr(browser, "_refuse_terminal", lambda: None)
    where = dict(decisions=tmp_path/"mine.csv", images=str(SAMPLES))
    with pytest.raises(ConfigError, match="none.csv: there is no such file"): radiogal.explore("none.csv", **where)
    with pytest.raises(ConfigError, match="neither registry nor a folder"):
        radiogal.explore(decisions=tmp_path/"mine.csv", images=str(tmp_path/"none"))
    with pytest.raises(ConfigError, match="--survey WISE"): radiogal.explore(surveys=["WISE"], **where)
    monkeypatch.setattr("radiogal.provenance.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"anywidget is not installed: pip install 'radiogal\[notebooks\]'"):
        _ = radiogal.explore


def test_the_package_alone_imports_nothing_heavy():
    code = "import sys, radiogal; print([m for m in ('numpy', 'astropy', 'anywidget') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    with pytest.raises(AttributeError, match="no attribute 'explor'"): _ = radiogal.explor


def test_undo_goes_back_to_the_image_that_was_decided(tour):
    tour.mark("good")
    tour.choose("NVSS")
    tour.move(2)
    tour.undo()
    assert (tour.here.name, tour.survey, tour.decided) == ("p", "FIRST", {})
    with pytest.raises(_CurationError, match="nothing to undo"): tour.undo()


def test_decisions_list_and_place_outlive_the_kernel(tour):
    tour.mark("bad", "stripes")
    tour.zoom(1)
    tour.add([Source("typed", 200., 5.)])
    browser._keep_list(tour)
    browser._keep_place(tour)
    for asked in ([], FIVE):
        later = reopen(tour, asked)
        assert (later.here.name, later.side, list(later.sources)) == ("typed", 300., [*"pqrst", "typed"])
        assert later.decided["p", "FIRST"]["reason"] == "stripes"
    assert list(reopen(tour, FIVE[2:4]).sources) == ["r", "s"]


def test_a_source_is_in_the_list_once_and_names_are_unique(tour):
    tour.add([FIVE[3]])
    assert (tour.here.name, len(tour.sources)) == ("s", 5)
    tour.add([Source("s", 10., 10.)])
    assert tour.here.name == "s (2)"


@pytest.mark.parametrize("what, text, told", [
    ("list", "[1", "is damaged"), ("list", '{"sources": [["x"]]}', "no sources"),
    ("place", '{"side": 7, "survey": "WISE", "at": "nobody"}', "")])
def test_damaged_files_beside_decisions_are_told(tour, what, text, told):
    tour.path.with_name(f"mine.{what}.json").write_text(text)
    later = reopen(tour)
    assert told in later.said and bool(told) == bool(later.said)
    assert (later.survey, later.side) == ("FIRST", 180.)


def test_what_goes_wrong_in_the_background_is_an_answer_and_can_be_asked_again():
    tried, done = [], threading.Event()
    def make(key):
        tried.append(key)
        if len(tried) == 1: raise OSError("no network")
        return key
    work = _Background(make, lambda: done.set())
    work.want(["x"])
    assert done.wait(600) and _say(work.answers["x"]) == "no network"
    done.clear()
    work.forget(["x"])
    work.want(["x"])
    assert done.wait(600) and work.answers["x"] == "x"
    work.tell = lambda: done.set() or 1/0
    for key in "yz":  # its thread outlives what cannot be drawn
        done.clear()
        work.want([key])
        assert done.wait(600)
    assert _say(KeyError("beam")) == "KeyError: 'beam'" and _say(NoImage("two\nlines")) == "two lines"


def wait_until(widget, condition):
    "Wait for the background, without a time of one's own: each of its threads draws when it has made something."
    seen = threading.Event()
    check = lambda _: condition(widget.view) and seen.set()
    widget.observe(check, "view")
    check(None)
    assert seen.wait(600), widget.view


def test_a_folder_is_browsed_and_a_missing_image_says_why(tmp_path):
    tour = _Tour(tmp_path/"mine.csv", "ann", ["FIRST", "TGSS"])
    _resume(tour, [Source("<b>one</b>", 208.06067, 12.56714), Source("lost", np.nan, np.nan, reason="no position")])
    model = load_model("first-4class-single")
    widget = _BrowserWidget(tour, ImageSupply(SAMPLES, tmp_path/"raw", model.field), model, {})
    wait_until(widget, lambda view: view["opinion"]["bars"] and not any(each["waiting"] for each in view["squares"]))
    first, tgss = widget.view["squares"]
    assert widget.pictures[0].startswith(b"\x89PNG") and first["said"] == "" and not widget.pictures[1]
    assert tgss["said"].startswith("not covered") and "temperature 0.86" in widget.view["opinion"]["calibration"]
    assert json.loads(json.dumps(widget.view, allow_nan=False)) == json.loads(json.dumps(widget.view))
    widget.act("mark", ["bad", ""])
    assert "'bad' needs a reason" in widget.view["said"]
    widget.act("mark", ["unsure"])
    assert (widget.view["here"], widget.view["squares"][0]["said"]) == ("lost", "no position")
    assert [row["decision"] for _, row in _read_lines(tmp_path/"mine.csv")] == ["unsure"]
    widget.act("look", ["08h12m40.8s+48d46m02s"])
    wait_until(widget, lambda view: view["total"] == 3)
    assert widget.view["degrees"] == "123.17000 +48.76722"
    widget.act("move", [-2])
    wait_until(widget, lambda view: view["catalogued"]["said"])
    assert [row["name"] for row in widget.view["catalogued"]["rows"]][-1] == "SDSS J135214.56+123401.7"
    widget.studio.catalogued.answers[widget.tour.here, 180.] = dict(rows=[], said="of an earlier mirror")
    widget.act("again", [])
    wait_until(widget, lambda view: view["catalogued"]["rows"])
    with pytest.raises(ValueError, match="action '__init__'"): widget.act("__init__", [])


def test_an_archive_that_does_not_answer_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "attempt", lambda find, target: FetchError("retry", "silence"))
    supply = ImageSupply(SAMPLES, tmp_path, 9*u.arcmin)
    with pytest.raises(NoImage, match="no network, or its archive does not answer; press a to ask again. silence"):
        find_image(Source("one", 208.06067, 12.56714), "FIRST", supply)
    assert supply.open("NVSS") is supply.open("NVSS")


THREADS = """
import sys, threading, time
from pathlib import Path

class Watch:
    def find_spec(self, name, path=None, target=None):
        thread, package = threading.current_thread().name, name.partition(".")[0]
        if thread.endswith("(work)") and package not in LEAVES: found.setdefault(package, set()).add(thread)

found, LEAVES = {}, {"astropy", "encodings"}  # Of these, single modules that need nothing that is not there
sys.meta_path.insert(0, Watch())
from radiogal import sources
from radiogal.archives import serve_archives
from radiogal.browser import ImageSupply, Source, _BrowserWidget, _resume, _Tour
from radiogal.config import read_config
from radiogal.pretrained import load_model
from radiogal.sky import ArtificialSky, draw_population

config, folder, samples = read_config(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
sources.map_occlusion = lambda predict, image, *how: image[..., 0]
model, table = load_model("first-4class-single"), draw_population(config.sky, config.classes, config.surveys)

def look(images, name, ra, dec):
    tour = _Tour(folder/f"{name}.csv", "ann", ["FIRST", "NVSS", "TGSS", "VLASS"])
    _resume(tour, [Source(name, ra, dec)])
    tour.attention, tour.contours = True, "FIRST"
    widget = _BrowserWidget(tour, ImageSupply(images, folder/name, model.field), model, {})
    while widget.view["opinion"]["waiting"] or any(square["waiting"] for square in widget.view["squares"]):
        time.sleep(0.1)
    return ["" if png else square["said"] for square, png in zip(widget.view["squares"], widget.pictures)]

with serve_archives(ArtificialSky(table, config.sky)) as services:
    assert look(services, "simulated", table["ra"][0], table["dec"][0])[:4] == [""]*4
assert look(samples, "real", 208.06067, 12.56714)[::4] == ["", ""]  # FIRST's image, and the map
print({package: threads for package, threads in found.items() if len(threads) > 1})
"""


def test_no_two_threads_import_parts_of_one_package(tmp_path):
    asked = [sys.executable, "-c", THREADS, ROOT/"config"/"smoke.toml", tmp_path, SAMPLES]
    told = subprocess.run(asked, stdout=subprocess.PIPE, text=True, timeout=600, check=True).stdout
    assert told == "{}\n"


@pytest.mark.parametrize("name", ["browser.js", "desk.js", "sources.js"])
def test_text_of_others_never_becomes_html(name):
    text = (files("radiogal")/"templates"/name).read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc", text)


@pytest.mark.parametrize("name", ["browser.js", "desk.js"])
def test_pictures_are_drawn_again_whichever_comes_first(name):
    "Page and pictures are sent together, and arrive in any order."
    text = (files("radiogal")/"templates"/name).read_text()
    assert all(f'model.{verb}("change:view change:pictures", draw)' in text for verb in ("on", "off"))
    assert text.index('model.on("change:pictures", load)') < text.index('model.on("change:view')


def test_each_list_has_decisions_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/"mine.csv").touch()
    choose = lambda what, sources=(): browser._choose_file(what, list(sources), tmp_path).name
    assert choose(None) == choose("08h12m40.8s+48d46m02s") == "explore.csv"
    assert choose("mine.csv") == choose(tmp_path/"mine.csv") == "explore-mine.csv"
    assert choose(ROWS, FIVE) == choose(ROWS, FIVE) != choose(ROWS, FIVE[:2])
    for when, name in enumerate(("a", "b")):
        path = tmp_path/f"explore-{name}.list.json"
        path.touch()
        os.utime(path, (when, when))
    assert choose(None) == "explore-b.csv"


def test_a_name_that_was_another_source_is_refused(tour):
    tour.mark("bad", "stripes")
    with pytest.raises(ConfigError, match="p is 36000″ from where it was in the list that .*mine.csv"):
        reopen(tour, [FIVE[0]._replace(ra=190.)])
    assert reopen(tour, [FIVE[0]._replace(dec=1e-3)]).decided  # 3.6″


@pytest.fixture
def widget(tour, tmp_path):
    model = load_model("first-4class-single")
    made = _BrowserWidget(tour, ImageSupply(SAMPLES, tmp_path/"raw", model.field), model, {})
    made.lookup.want = lambda keys: None  # the test answers
    return made


def test_what_was_typed_while_another_was_looked_up_is_not_lost(widget):
    for text in ("first", "second"): widget.look(text)
    widget.take_sources()
    assert widget.tour.said == "looking for second …"
    widget.lookup.answers[1, "first"] = [Source("first", 200., 5.)]
    widget.take_sources()
    assert ("first" in widget.tour.sources, widget.tour.said) == (True, "looking for second …")
    widget.lookup.answers[2, "second"] = ConfigError("second: unknown")
    widget.take_sources()
    assert widget.view["said"] == "second: unknown"


def test_a_full_disk_while_a_list_grows_is_said(widget, monkeypatch):
    def fail(tour): raise OSError("No space left on device")
    monkeypatch.setattr(browser, "_keep_list", fail)
    widget.look("first")
    widget.lookup.answers[1, "first"] = [Source("first", 200., 5.)]
    widget.take_sources()
    assert widget.view["said"] == "No space left on device"


@pytest.mark.parametrize("turn", [0., 30.])
def test_pixels_are_placed_east_and_north_of_the_source(turn):
    wcs, angle = WCS(naxis=2), np.radians(turn)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---SIN", "DEC--SIN"], [208, 60]
    wcs.wcs.crpix, wcs.wcs.cdelt = [75, 75], [-5e-4, 5e-4]
    wcs.wcs.pc = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    here, there = wcs.pixel_to_world(80, 70), wcs.pixel_to_world(20, 100)
    east, north = here.spherical_offsets_to(there)
    found = _place_pixels(wcs.to_header(), here) @ [20, 100, 1]
    assert np.allclose(found[:2], [east.to_value(u.arcsec), north.to_value(u.arcsec)], atol=0.05)


def test_calibration_and_separations_are_said_in_words():
    model = load_model()
    assert f"(temperature {model.ensemble.temperature:.2f})" in tell_calibration(model)
    plain = replace(model, ensemble=replace(model.ensemble, temperature=None))
    assert "their mean, shown here, is not" in tell_calibration(plain)
    assert [_tell_angle(v) for v in (1e-4, 0.01, 0.2, 3.)] == ["this source", "36″", "12.0′", "3.0°"]


def test_the_nearest_training_source_is_the_nearest():
    model = load_model("first-4class-single")
    ra, dec = model.ensemble.members[0].trained_on[7]
    found = find_near_trained(model, SkyCoord(ra, dec + 0.01, unit="deg"), 3)
    assert np.isclose(found.separation.iloc[0], 0.01) and found.separation.is_monotonic_increasing


def write_targets(folder, run, label, simulated=False, dec=0.):
    "Targets of a run: one labelled source, and one far away."
    rows = [("one", 180., dec, label, "mine", "", 0.1, 0), ("far", 90., dec, label, "mine", "", np.nan, 1)]
    names = ["name", "ra", "dec", "label", "label_source", "confidence", "redshift", "sky_group"]
    (folder/"results"/run/"catalogues").mkdir(parents=True)
    return write_table(Table(rows=rows, names=names, meta=dict(SIMULATE=simulated)),
                       folder/"results"/run/"catalogues"/"targets.ecsv")


@pytest.fixture
def home(tmp_path, monkeypatch):
    "A project without label catalogues, and without a mirror of them."
    monkeypatch.delenv("RADIOGAL_MIRROR", raising=False)
    monkeypatch.setattr(sources, "find_home", lambda: tmp_path)
    monkeypatch.setattr(sources, "_read_once", lambda paths, *known: read_known_labels(paths))
    return tmp_path


def test_catalogue_rows_of_the_square_are_listed_without_those_of_the_artificial_sky(home):
    here, side = SkyCoord(180., 20/3600, unit="deg"), 180*u.arcsec
    assert find_catalogued(here, side) == dict(rows=[], said=sources._NO_LABELS)
    for run in ("mine", "again"): write_targets(home, run, "FRI")
    write_targets(home, "smoke", "FRII", simulated=True)
    told = find_catalogued(here, side)
    assert told == dict(said="of 2 rows of mine", rows=[dict(
        name="one", place="180.0000 +0.0000", distance="", away="FRI in mine, z 0.100, 20″")])
    assert find_catalogued(here, 20*u.arcsec)["rows"] == []


def test_a_damaged_catalogue_is_told_and_the_others_are_used(home):
    write_targets(home, "mine", "FRI")
    path = write_targets(home, "other", "FRII")
    path.write_text(path.read_text().replace("FRII", "FRI"))
    table, (lost,) = read_known_labels(Paths(home))
    assert len(table) == 2 and "other/catalogues/targets.ecsv" in lost
    assert lost in find_catalogued(SkyCoord(0., 0., unit="deg"), 180*u.arcsec)["said"]


def test_a_square_has_its_corners(tmp_path):
    corner = SkyCoord(180., 0., unit="deg").spherical_offsets_by(80*u.arcsec, -80*u.arcsec)
    outside = SkyCoord(180., 0., unit="deg").spherical_offsets_by(0*u.arcsec, 95*u.arcsec)
    for coord, inside in ((corner, True), (outside, False)):
        found, _ = sources.find_inside(coord, SkyCoord([180.], [0.], unit="deg"), 180*u.arcsec)
        assert found.tolist() == [0]*inside
    tour = _Tour(tmp_path/"many.csv", "ann", ["FIRST"])
    tour.add([Source("here", 180., 0.), Source("corner", corner.ra.deg, corner.dec.deg),
              Source("outside", outside.ra.deg, outside.dec.deg)])
    assert browser._list_near(tour) == ["corner (113″)"]


def test_of_many_in_a_square_the_nearest_are_shown_and_the_others_counted(tmp_path, monkeypatch):
    def find(coord, side): return dict(rows=[dict(name=str(i)) for i in range(11)], said="of 11 rows")
    monkeypatch.setattr(browser, "find_catalogued", find)
    listed = browser._list_catalogued(Source("one", 180., 0.), 180.)
    assert len(listed["rows"]) == 8 and listed["said"] == "of 11 rows; 3 more are not shown"
    tour = _Tour(tmp_path/"many.csv", "ann", ["FIRST"])
    tour.add([Source("here", 180., 0.), *(Source(f"s{i}", 180., (10 + i)/3600) for i in range(10))])
    assert tour.here.name == "here"
    assert browser._list_near(tour)[7:] == ["s7 (17″)", "2 more are not shown"]


def test_a_changed_or_unknown_registered_catalogue_is_told_and_hides_no_other(home, monkeypatch):
    write_targets(home, "mine", "FRI")
    file = find_registered(CATALOGUES["frdeep"])
    path = Paths(home).raw/url_to_path(file.url)
    path.parent.mkdir(parents=True)
    path.write_text("something else")
    monkeypatch.setitem(CATALOGUES, "lost", replace(CATALOGUES["frdeep"], name="lost", file="nix.csv"))
    table, lost = read_known_labels(Paths(home))
    assert len(table) == 2 and f"{path}: not as registered: remove it, or get it again" in lost
    assert "lost: no file nix.csv in the registry" in lost


def test_no_blank_hides_a_label(home):
    for run, label in (("first", ""), ("second", "FRII")): write_targets(home, run, label)
    assert read_known_labels(Paths(home))[0]["label"].tolist() == ["FRII", "FRII"]


def test_what_is_known_is_read_again_for_another_mirror_or_catalogue(home, monkeypatch):
    read = []
    monkeypatch.undo()
    monkeypatch.delenv("RADIOGAL_MIRROR", raising=False)
    monkeypatch.setattr(sources, "find_home", lambda: home)
    monkeypatch.setattr(sources, "read_known_labels", lambda paths: (read.append(paths), (None, []))[1])
    look = lambda: find_catalogued(SkyCoord(0., 0., unit="deg"), 180*u.arcsec)
    assert look() == look() and len(read) == 1
    monkeypatch.setenv("RADIOGAL_MIRROR", str(home))
    look()
    monkeypatch.setitem(CATALOGUES, "own", replace(CATALOGUES["frdeep"], name="own", file="", path="own.csv"))
    look()
    assert len(read) == 3


def test_registered_catalogues_are_read_from_a_mirror(home, mirror, monkeypatch):
    monkeypatch.setenv("RADIOGAL_MIRROR", str(mirror))
    found = find_catalogued(SkyCoord(208.06067, 12.56714, unit="deg"), 180*u.arcsec)
    assert {row["name"] for row in found["rows"]} == {"SDSS J135214.56+123401.7"}
    assert {row["away"].split(",")[0] for row in found["rows"]} >= {"FRI in FRICAT", "FRI in frdeep"}


def test_empty_patches_need_no_network(monkeypatch):
    asked, model = [], load_model("first-4class-single")
    def ask(ensemble, images):
        asked.append(len(images))
        p = images[:, 140:160, 140:160].mean(axis=(1, 2, 3))
        return _Answers(np.stack([p, 1 - p], axis=1), None, None)
    monkeypatch.setattr(sources, "ask_ensemble", ask)
    image, loss, _ = map_attention(IMAGE, model)
    prepared = _prepare_any(IMAGE, model, "", _set_coverage(model.config, 0.)).image[..., None]
    plain = map_occlusion(lambda images: ask(None, images).probabilities, prepared, 1, sources._PATCH, sources._STEP)
    assert np.array_equal(loss, plain) and np.array_equal(image, prepared[..., 0])
    assert sum(asked[:len(asked)//2]) < 300  # of 600 patches
