"Decision files, suggestions and the desk: the cases behind the lessons of `15_curation`."
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table, vstack
from scipy.ndimage import gaussian_filter

from radiogal.config import Sky
from radiogal.curation import (
    _DECISION_COLUMNS,
    _STRETCHES,
    _STRIPES_SHARE,
    _UNDO,
    _curate_cutouts,
    _CurationError,
    _Desk,
    _DeskWidget,
    _list_conflicts,
    _measure_kappa,
    _measure_offset,
    _measure_stripes,
    _read_decisions,
    _read_lines,
    _record_decision,
    _stretch_image,
    _suggest_flags,
    merge_decisions,
    open_gallery,
    plot_gallery,
)
from radiogal.cutouts import read_cutout
from radiogal.positions import write_table
from radiogal.sky import draw_population, observe_classes, write_image

HEADER = ",".join(_DECISION_COLUMNS)
GOOD = "S1,FIRST,good,the stripes are faint,bob,2026-01-01T00:00:00+00:00"
IMAGES = {("S1", "FIRST"), ("S2", "FIRST")}
FORTY = {(f"S{i}", survey): "" for survey in ("FIRST", "NVSS") for i in range(20)}


@pytest.fixture
def path(tmp_path): return tmp_path/"decisions.csv"


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    "A simulated cutout of each of two classes."
    sources = draw_population(Sky(sources_per_class=1), ("FRI", "FRII"), ("FIRST",))
    folder, found = tmp_path_factory.mktemp("cutouts"), {}
    for (label, _), hdu in observe_classes(sources, ("FIRST",)).items():
        hdu.header["OBJECT"] = label
        found[label] = str(write_image(folder/f"{label}.fits", hdu))
    return found


# The decision file

@pytest.mark.parametrize(("given", "told"), [
    (("fine", "", "ann"), "allowed are good, bad, unsure"), (("good", "", " "), "who is empty"),
    (("bad", "stripes\nstrong", "ann"), "one line of text")])
def test_invalid_decisions_are_not_written(path, given, told):
    with pytest.raises(_CurationError, match=told): _record_decision(path, "S1", "FIRST", *given)
    assert not path.exists()


def test_a_missing_file_is_named(path):
    with pytest.raises(_CurationError, match="no decision file .*decisions.csv"): _read_decisions(path, IMAGES)


@pytest.mark.parametrize(("content", "told"), [
    (f"{HEADER}\n{GOOD}\nS1,FIRST,bad\n", "line 3: expected 6 values"),
    (f'{HEADER}\n"{GOOD}\n', "line 2: not a line of CSV"),
    (f"{HEADER}\n{GOOD.replace('+00:00', '+02:00')}\n", "expected ISO 8601 in UTC"),
    (f"{HEADER}\nS1,FIRST,good,,ann,yesterday\n", "expected ISO 8601 in UTC"),
    (f"{HEADER.replace('decision', 'verdict')}\n{GOOD}\n", "columns are name,survey,verdict"),
    (f"{HEADER}\n{GOOD.replace('the', 'café')}\n", "not a line of CSV in UTF-8")])
def test_lines_that_somebody_damaged_are_named(path, content, told):
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(_CurationError, match=told): _read_decisions(path, IMAGES)


def test_other_columns_are_not_appended_to(path):
    path.write_text(content := f"{HEADER.replace('decision', 'verdict')}\n{GOOD}\n")
    with pytest.raises(_CurationError, match="columns are"): _record_decision(path, "S1", "FIRST", "good", "", "ann")
    assert path.read_text() == content


def test_editors_leave_out_the_last_end_and_spreadsheets_write_others(path):
    path.write_text(f"{HEADER}\n{GOOD}")
    _record_decision(path, "S2", "FIRST", "unsure", "", "ann")
    assert [row["decision"] for row in _read_decisions(path, IMAGES).values()] == ["good", "unsure"]
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    _record_decision(path, "S1", "FIRST", "unsure", "", "ann")
    assert [row["decision"] for row in _read_decisions(path, IMAGES).values()] == ["unsure", "unsure"]


def test_undo_goes_back_to_nothing(path):
    for decision, who in (("good", "ann"), ("unsure", "ann"), ("good", "bob")):
        _record_decision(path, "S1", "FIRST", decision, "", who)
    for who in ("bob", "ann", "ann", "ann"): _record_decision(path, "S1", "FIRST", _UNDO, "", who)
    assert _read_decisions(path, IMAGES) == {}


def test_a_file_cut_at_any_byte_keeps_what_was_written_before(path, caplog):
    _record_decision(path, "S1", "FIRST", "good", "", "ann")
    _record_decision(path, "S2", "FIRST", "bad", "stripes, strong", "ann")
    content = path.read_bytes()
    first_end = content.index(b"\n", len(HEADER) + 1) + 1
    for cut in range(1, len(content)):
        path.write_bytes(content[:cut])
        left = _read_decisions(path, IMAGES)
        _record_decision(path, "S2", "FIRST", "unsure", "", "bob")
        after = _read_decisions(path, IMAGES)
        assert set(left) <= set(after) and after["S2", "FIRST"]["who"] == "bob"
        if cut >= first_end: assert left["S1", "FIRST"]["decision"] == "good"
    assert "the last line is torn and ignored" in caplog.text


def test_eight_curators_write_whole_lines(path):
    ready = threading.Barrier(8)

    def decide(k):
        ready.wait()
        for i in range(5): _record_decision(path, "S1", "FIRST", "good", f"look {i}", f"curator {k}")

    with ThreadPoolExecutor(8) as pool: list(pool.map(decide, range(8)))
    lines = path.read_text().splitlines()
    assert (lines[0], len(lines), lines.count(HEADER)) == (HEADER, 41, 1)
    assert len(_read_lines(path)) == 40


def test_merging_is_the_same_in_any_order_and_once_more(tmp_path):
    ann, bob, both, other = (tmp_path/f"{name}.csv" for name in ("ann", "bob", "both", "other"))
    for i in range(3):
        for file in (ann, bob): _record_decision(file, f"S{i}", "FIRST", "good", "", file.stem)
    merge_decisions([ann, bob], both)
    for files in ([bob, ann], [both, bob]): assert merge_decisions(files, other).read_bytes() == both.read_bytes()


def test_kappa_is_undefined_where_both_said_one_thing():
    assert np.isnan(_measure_kappa(["good"]*3, ["good"]*3)) and np.isnan(_measure_kappa([], []))
    assert len(_list_conflicts([])) == 0


# Suggestions and pictures

@pytest.mark.parametrize(("value", "flag"), [(0., "constant"), (1., "constant"), (np.nan, "no data")])
def test_images_that_show_nothing_are_flagged(value, flag): assert _suggest_flags(np.full((9, 9), value)) == flag


def test_flags_of_made_images():
    y, x = np.indices((60, 60)) - 29.5
    plain = np.random.default_rng(1).normal(size=(60, 60))
    spot = lambda peak, east: peak*np.exp(-((x - east)**2 + y**2)/20)
    source = plain + spot(100, 0)
    assert _suggest_flags(source) == _suggest_flags(plain + spot(100, -20) + spot(70, 20)) == ""
    assert _suggest_flags(source + spot(300, 24)) == "off centre"
    assert _suggest_flags(plain).startswith("peak only") and "," not in _suggest_flags(plain)
    assert _measure_offset(spot(1, 12), 0.) == pytest.approx(12/60)


def test_stripes_are_told_from_noise_of_a_beam():
    rng = np.random.default_rng(1)
    y, x = np.indices((60, 60)) - 29.5
    smooth = [gaussian_filter(image, 3/2.355) for image in rng.normal(size=(100, 60, 60))]
    noise, wave = ([_measure_stripes(image + strength*image.std()*np.sin(x + 0.4*y)) for image in smooth]
                   for strength in (0, 0.75))
    assert max(noise) < _STRIPES_SHARE < min(wave)
    assert _measure_stripes(rng.normal(size=(60, 60)) + 2*np.sin(x)) == pytest.approx(2/(1 + 2), abs=0.1)
    assert _measure_stripes(np.sin(x)[:39, :39]) == 0.


def test_stretches(paths):
    dim = np.array([[0, 0, 0, 0], [0, 0, 0.01, 1.0]])
    linear, log, asinh = (_stretch_image(dim, stretch)[1, 2] for stretch in _STRETCHES)
    assert linear < asinh < log
    with pytest.raises(ValueError, match="those that exist are linear, log, asinh"): _stretch_image(dim, "sqrt")
    np.testing.assert_array_equal(_stretch_image(np.ones((2, 2)), "asinh"), np.zeros((2, 2)))
    assert np.isnan(_stretch_image(np.full((2, 2), np.nan), "log")).all()
    fig = plot_gallery([read_cutout(paths["FRI"], "FIRST")], columns=1, notes=["faint"])
    assert fig.axes[0].get_title() == "FRI\nfaint" and "simulated" in fig.get_suptitle()


def test_cutouts_are_joined_with_decisions():
    asked = Table(dict(name=["S1", "S2", "S3"], survey=["FIRST"]*3, state=["ok", "ok", "not_covered"],
                       reason=["", "", "No FIRST data is available"]), meta=dict(SIMULATE=True))
    curated = _curate_cutouts(asked, {("S2", "FIRST"): dict(decision="bad", reason="stripes")}, {})
    assert list(curated["used"]) == [True, False, False]
    assert list(curated["reason"]) == ["", "stripes", "not_covered: No FIRST data is available"]
    with pytest.raises(_CurationError, match="S1 in FIRST: listed more than once"):
        _curate_cutouts(vstack([asked, asked[:1]]), {}, {})
    asked["state"][0] = "fine"
    with pytest.raises(_CurationError, match="S1 in FIRST: state 'fine'"): _curate_cutouts(asked, {}, {})


# The desk

def test_undo_goes_back_through_a_restart(path):
    desk = _Desk(path, FORTY, "ann")
    desk.mark("good")
    desk.mark("bad", " stripes,\n strong")
    again = _Desk(path, FORTY, "ann")
    assert (again.at, again.decided["S1", "FIRST"]["reason"]) == (2, "stripes, strong")
    assert _Desk(path, FORTY, "bob").at == 0
    again.go(0)
    again.mark("bad", "a neighbour's lobe")
    again.undo()
    assert again.decided["S0", "FIRST"]["decision"] == "good"
    again.undo()
    again.undo()
    assert again.decided == {}
    with pytest.raises(_CurationError, match="nothing to undo"): again.undo()
    with pytest.raises(_CurationError, match="'bad' needs a reason"): again.mark("bad")
    with pytest.raises(_CurationError, match="no images"): _Desk(path, {}, "ann")


def test_filters_and_pages(path):
    desk = _Desk(path, FORTY, "ann", {("S7", "NVSS"): "stripes"})
    desk.turn(1)
    assert (desk.at, desk.list_page()[0]) == (12, ("S12", "FIRST"))
    desk.turn(9)
    assert (desk.at, len(desk.list_page())) == (39, 4)
    desk.mark("good")
    desk.seek()
    assert desk.at == 0
    for only, shown in dict(suggested=[("S7", "NVSS")], good=[("S19", "NVSS")]).items():
        desk.show(only)
        assert desk.shown == shown
    for only, n in dict(undecided=39, NVSS=20, all=40).items():
        desk.show(only)
        assert len(desk.shown) == n
    desk.show("bad")
    desk.move(1)
    desk.seek()
    desk.mark("good")
    assert (desk.shown, len(desk.decided)) == ([], 1)


def test_a_widget_draws_what_changed_and_says_what_went_wrong(path, paths):
    shown = {(label, "FIRST"): p for label, p in paths.items()} | {("lost", "FIRST"): "lost.fits"}
    widget = _DeskWidget(_Desk(path, shown, "ann", {("lost", "FIRST"): "off centre"}))
    pictures = widget.pictures
    for name, *args in (("mark", "good", ""), ("mark", "unsure", "faint"), ("undo",)): widget.act(name, args)
    assert [card["decision"] for card in widget.view["cards"]] == ["good", "", ""]
    assert (widget.view["place"], widget.view["done"], widget.pictures is pictures) == (1, 1, True)
    assert pictures[0]["png"].startswith(b"\x89PNG") and pictures[-1]["said"].startswith("cannot be shown")
    assert widget.view["cards"][-1]["suggestion"] == "off centre"
    widget.act("restretch", [])
    assert (widget.view["stretch"], widget.pictures[0] == pictures[0]) == ("linear", False)
    with pytest.raises(ValueError, match="allowed are mark, undo"): widget.act("reread", [])
    path.write_text("name,verdict\n")
    widget.act("mark", ["good", ""])
    assert "columns are name,verdict" in widget.view["said"]
    widget.close()


def test_a_gallery_opens_from_a_runs_results(tmp_path, paths):
    for name in ("config", "results/lesson/scraping/FIRST", "results/lesson/curation"):
        (tmp_path/name).mkdir(parents=True)
    (tmp_path/"config"/"lesson.toml").write_text('kind = "demo"\nsurveys = ["FIRST"]\nclasses = ["FRI", "FRII"]\n'
                                                 'scraping.cutout_arcmin = 2.5\npreparation.field_arcmin = 2.0\n')
    rows = [(label, "FIRST", "ok", "", path) for label, path in paths.items()]
    table = Table(rows=rows, names=["name", "survey", "state", "reason", "path"], meta=dict(SIMULATE=True))
    results = tmp_path/"results"/"lesson"
    with pytest.raises(_CurationError, match="make run-all RUN=lesson first"): open_gallery("lesson", "ann", tmp_path)
    write_table(table, results/"scraping"/"FIRST"/"cutouts.ecsv")
    write_table(_curate_cutouts(table, {}, {}), results/"curation"/"curated.ecsv")
    widget = open_gallery("lesson", "ann", tmp_path)
    widget.act("mark", ["good", ""])
    widget.close()
    assert len(widget.view["cards"]) == 2 and "make lab opens it" in repr(widget)
    decisions = Path(tmp_path/"data"/"decisions"/"lesson.csv")
    assert len(_read_lines(decisions)) == 1
    _record_decision(decisions, "M 31", "FIRST", "good", "", "ann")
    with pytest.raises(_CurationError, match="the run has no image of 'M 31'"): open_gallery("lesson", "ann", tmp_path)
