"Numbers that were wrong without an error: each case gives the wrong one where the mistake is made again."
from datetime import UTC, datetime, timedelta
from itertools import permutations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from radiogal.archives import _TILE_COUNTS, _TILE_DECS, _find_tile, _tabulate_tiles
from radiogal.candidates import _find_centroids, check_groups, split_folds
from radiogal.catalogues import Labels, build_targets, tabulate_labels
from radiogal.clients import _HALF_IMAGE, _TILE_ROUNDING, _parse_tiles, find_tiles
from radiogal.curation import (
    _DECISION_COLUMNS,
    _Desk,
    _drop_undone,
    _group_curators,
    _read_decisions,
    _read_lines,
    merge_decisions,
)
from radiogal.positions import deproject, name_position

IMAGES = {("S1", "FIRST"), ("S2", "FIRST")}

def write_decisions(path, *lines): # (name, decision, who, when)
    "A decision file as git or an editor may leave it."
    reasons = {"bad": "stripes"}
    rows = [",".join((name, "FIRST", decision, reasons.get(decision, ""), who, when))
            for name, decision, who, when in lines]
    path.write_text("\n".join([",".join(_DECISION_COLUMNS), *rows, ""]))
    return path

ANN, BOB = ("S1", "bad", "ann", "2025-11-01T10:00:00+00:00"), ("S1", "good", "bob", "2025-11-02T10:00:00Z")
CARL = ("S1", "unsure", "carl", "2025-11-01T23:59:59.999+00:00")

@pytest.mark.parametrize("lines", list(permutations([ANN, BOB, CARL])))
def test_the_latest_decision_is_the_latest_in_time(tmp_path, lines):
    path = write_decisions(tmp_path/"run.csv", *lines)
    assert _read_decisions(path, IMAGES)["S1", "FIRST"]["who"] == "bob"
    assert [row["who"] for _, row in _drop_undone(_read_lines(path))] == ["ann", "carl", "bob"]

@pytest.mark.parametrize("lines", [(ANN, BOB), (BOB, ANN)])
def test_decisions_of_one_instant_count_by_line(tmp_path, lines):
    same = "2025-11-01T10:00:00Z", "2025-11-01T10:00:00.000+00:00"
    lines = [(*line[:3], when) for line, when in zip(lines, same, strict=True)]
    path = write_decisions(tmp_path/"run.csv", *lines)
    for file in (path, merge_decisions([path], tmp_path/"merged.csv")):
        assert _read_decisions(file, IMAGES)["S1", "FIRST"]["who"] == lines[-1][2]

def test_an_error_still_names_the_line_of_the_file(tmp_path):
    path = write_decisions(tmp_path/"run.csv", BOB, ("S9", *ANN[1:]))
    with pytest.raises(ValueError, match="run.csv, line 3: the run has no image of 'S9'"): _read_decisions(path, IMAGES)

def test_a_decision_is_taken_back_in_time(tmp_path):
    when = [(datetime(2025, 11, 1, tzinfo=UTC) + timedelta(hours=h)).isoformat() for h in range(3)]
    path = write_decisions(tmp_path/"run.csv", ("S1", "undo", "ann", when[2]), ("S1", "bad", "ann", when[1]),
                           ("S1", "good", "ann", when[0]))
    assert _read_decisions(path, IMAGES)["S1", "FIRST"]["decision"] == "good"

def test_merged_decisions_are_in_order_of_time(tmp_path):
    one = write_decisions(tmp_path/"one.csv", BOB, ANN)
    other = write_decisions(tmp_path/"other.csv", CARL, ("S2", "good", "carl", "2025-10-31T10:00:00Z"))
    both = merge_decisions([one, other], tmp_path/"both.csv")
    times = [datetime.fromisoformat(line.split(",")[-1]) for line in both.read_text().splitlines()[1:]]
    assert times == sorted(times) and len(times) == 4
    assert merge_decisions([other, one], tmp_path/"again.csv").read_bytes() == both.read_bytes()

def test_a_curator_sees_and_takes_back_the_latest_decision(tmp_path):
    late, early = "2025-11-02T10:00:00Z", "2025-11-01T10:00:00Z"
    path = write_decisions(tmp_path/"run.csv", ("S2", "good", "ann", late),
                           ("S1", "unsure", "ann", late.replace("10", "09", 1)), ("S2", "bad", "ann", early),
                           ("S1", "good", "ann", early))
    desk = _Desk(path, dict.fromkeys(sorted(IMAGES), "none.fits"), "ann")
    assert [desk.decided[image]["decision"] for image in sorted(IMAGES)] == ["unsure", "good"]
    desk.undo()
    assert [desk.decided[image]["decision"] for image in sorted(IMAGES)] == ["unsure", "bad"]

def test_a_curator_s_opinion_is_the_latest(tmp_path):
    rows = [row for _, row in _read_lines(write_decisions(tmp_path/"run.csv", (*BOB[:2], "ann", BOB[3]), ANN))]
    assert _group_curators(rows)["ann"] == {("S1", "FIRST"): "good"}

JUST_BELOW = [np.nextafter(360, 0), 360 - 1e-11, -1e-14, np.float64(-1e-17)] # degrees

@pytest.mark.parametrize("ra", JUST_BELOW)
def test_there_is_no_24th_hour(ra):
    assert name_position(ra, 30.) == "J000000.0+300000"
    assert name_position(ra, -30., tenths=False) == "J000000-300000"

def test_names_are_cut_not_rounded():
    for ra, name in [(360 - 1e-6, "J235959.9+000000"), (15 - 1e-6, "J005959.9+000000"), (1e-6, "J000000.0+000000")]:
        assert name_position(ra, 0.) == name

def test_right_ascensions_are_below_360():
    assert deproject(-1e-14, 0., 0., 0.)[0] == 0
    ra, _ = _find_centroids(SkyCoord([1e-9, -1.0000001e-9], [0, 0], unit="deg"), np.array([1., 1.]), np.array([0, 0]))
    assert 0 <= ra[0] < 360
    assert _find_centroids(SkyCoord([-1e-15], [0], unit="deg"), np.ones(1), np.zeros(1, int))[0][0] < 360

def test_just_below_24_hours_is_the_last_tile():
    for low, n in zip(_TILE_DECS, _TILE_COUNTS, strict=False):
        assert _find_tile(SkyCoord(np.nextafter(24, 0), low + 0.5, unit=("hourangle", "deg")))[0].endswith(f"t{n:02}")

@pytest.fixture(scope="module")
def polar_tiles():
    "The tiles north of +73°, their limits rounded as the archive does."
    rows = [row for row in zip(_TILE_DECS, _TILE_DECS[1:], _TILE_COUNTS, strict=False) if row[0] >= 73]
    return _parse_tiles(_tabulate_tiles([SkyCoord((i + 0.5)*360/n, (low + high)/2, unit="deg")
                                         for low, high, n in rows for i in range(n)]))

def test_margins_of_tiles_are_on_the_sphere(polar_tiles):
    edge, dec = 180., 89.4 # Of the two tiles at the pole
    for beyond in (40., 60., 89.):
        place = SkyCoord(edge + beyond, dec, unit="deg")
        # A place on the edge
        assert place.separation(SkyCoord(
            edge, np.degrees(np.arctan2(np.tan(np.radians(dec)), np.cos(np.radians(beyond)))),
            unit="deg")) < _HALF_IMAGE*np.sqrt(2)
        assert find_tiles(polar_tiles, place) == ["T32t01", "T32t02"]

def test_the_tile_of_each_image_that_shows_a_place_near_the_pole_is_found(polar_tiles):
    rng, half = np.random.default_rng(1), _HALF_IMAGE.to_value("deg")
    for dec in (74.0, 81.2, 84.9, 85.1, 88.0, 88.9, 89.2, 89.4, 89.7, 89.95):
        for ra in rng.uniform(0, 360, 40):
            x, y = rng.choice([-1, -0.97, 0.1, 0.97, 1], 2)*half
            tile = _find_tile(SkyCoord(ra, dec, unit="deg"))[0]
            assert tile in find_tiles(polar_tiles, SkyCoord(*deproject(x, y, ra, dec), unit="deg")), (ra, dec, x, y)

def test_a_place_is_surely_in_a_tile_that_holds_it(polar_tiles):
    rng = np.random.default_rng(1)
    for ra, dec in zip(rng.uniform(0, 360, 40), rng.uniform(74, 90, 40), strict=True):
        place = SkyCoord(ra, dec, unit="deg")
        assert set(find_tiles(polar_tiles, place, -_TILE_ROUNDING)) <= {_find_tile(place)[0]}

def test_far_from_the_pole_no_more_tiles_are_asked_for(polar_tiles):
    "The margin is that of an image's side, not of its diagonal."
    assert find_tiles(polar_tiles, SkyCoord(120 + 0.6/np.cos(np.radians(75)), 75, unit="deg")) == ["T29t04"]

PLACES = dict(a=10., b=11., c=12.) # Right ascension, degrees
OFFSETS = dict(one=3, three=5, fives=1, seven=3)  # In declination, arcsec

def make_catalogue(which, *rows): # (place, label, confidence, redshift)
    "Labels in the common form; each catalogue has its own names and is some arcseconds off."
    names, labels, confidences, redshifts = zip(*rows, strict=True)
    coords = SkyCoord([PLACES[name] for name in names], [OFFSETS[which]/3600]*len(rows), unit="deg")
    read = Labels([f"{which} {name}" for name in names], coords, list(labels), list(redshifts), list(confidences))
    return tabulate_labels(read, which, simulated=True)

def merge_catalogues(*tables, classes=("FRI", "FRII")):
    return build_targets(list(tables), classes, 30*u.arcsec, 4.5*u.arcmin)

ONE = make_catalogue("one", ("a", "", "", np.nan), ("b", "FRI", "confident", np.nan), ("c", "", "", 0.3))
THREE = make_catalogue("three", ("a", "FRII", "possible", 0.1), ("b", "FRII", "possible", 0.2), ("c", "", "", 0.4))
FIVES = make_catalogue("fives", ("a", "FRI", "confident", 0.5), ("b", "FRI", "", 0.6), ("c", "FRI", "confident", 0.7))

def test_a_label_and_a_redshift_are_those_of_the_first_catalogue_that_has_them():
    targets, _ = merge_catalogues(ONE, THREE, FIVES)
    assert list(targets["name"]) == ["one a", "one b", "one c"] and set(targets["dec"].round(6)) == {round(3/3600, 6)}
    assert list(targets["label"]) == ["FRII", "FRI", "FRI"]
    assert list(targets["label_source"]) == ["three", "one", "fives"]
    assert list(targets["confidence"]) == ["possible", "confident", "confident"]
    assert list(targets["redshift"]) == [0.1, 0.2, 0.3]
    assert list(merge_catalogues(THREE, ONE)[0]["label"]) == ["FRII", "FRII", ""]

def test_conflicts_are_listed_where_the_first_catalogue_has_no_label():
    _, merged = merge_catalogues(ONE, THREE, FIVES)
    found = {(row["name"], row["other_name"]): (row["label"], row["label_source"], row["verdict"]) for row in merged}
    assert found == {
        ("one a", "three a"): ("", "one", "no label"), ("one a", "fives a"): ("FRII", "three", "conflict"),
        ("one b", "three b"): ("FRI", "one", "conflict"), ("one b", "fives b"): ("FRI", "one", "agree"),
        ("one c", "three c"): ("", "one", "no label"), ("one c", "fives c"): ("", "one", "no label")}
    assert np.allclose(merged["separation"], [2, 2]*3)  # All from the first catalogue's position

def test_a_label_that_is_no_class_of_the_run_is_not_replaced_by_another_one():
    "The first catalogue has judged the source, and otherwise: that is a conflict, not a gap."
    other = make_catalogue("seven", ("b", "Bent", "", np.nan))
    targets, merged = merge_catalogues(other, THREE)
    assert targets["label"][0] == "" and targets["confidence"][0] == "" and merged["verdict"][0] == "conflict"

def test_sources_in_one_catalogue_only_stay_as_they_are():
    targets, merged = merge_catalogues(FIVES)
    assert len(merged) == 0
    for column in FIVES.colnames: assert list(targets[column]) == list(FIVES[column])

FEW = np.array(["FRI", "FRI", "FRII", "FRII", "Bent", "Bent"]), np.array([0, 1, 1, 2, 2, 3])

def hold_all(labels, folds, n_folds):
    "Whether every class is in every fold."
    return all(((folds == fold) & (labels == label)).any() for fold in range(n_folds) for label in np.unique(labels))

@pytest.mark.parametrize("seed", range(6))
def test_every_fold_has_every_class(seed):
    folds = split_folds(*FEW, 2, seed)
    check_groups(np.arange(6).astype(str), FEW[1], folds)
    assert hold_all(FEW[0], folds, 2) and np.array_equal(folds, split_folds(*FEW, 2, seed))

def test_random_groups_of_several_classes_are_split_whole_or_refused():
    rng, n_split = np.random.default_rng(0), 0
    for _ in range(60):
        n_groups, n_folds = rng.integers(4, 16), int(rng.integers(2, 6))
        groups = np.repeat(np.arange(n_groups), rng.integers(1, 6, n_groups))
        labels = rng.integers(0, 3, len(groups))
        try: folds = split_folds(labels, groups, n_folds, 1)
        except ValueError: continue
        n_split += 1
        assert hold_all(labels, folds, n_folds)
    assert n_split > 20

def test_folds_that_no_draw_gives_every_class_are_refused():
    labels, groups = np.array(["FRI", "FRI", "FRII", "FRII"]), np.array([0, 1, 0, 2]) # One group of both, one of each
    with pytest.raises(ValueError, match=r"no FRI+ in fold \d.*100 draws of 2 folds.*preparation.n_folds"):
        split_folds(np.append(labels, ["Bent"]*2), np.append(groups, [1, 2]), 2, 1)

def test_a_split_that_has_every_class_stays_as_it_was():
    from sklearn.model_selection import StratifiedGroupKFold
    labels, groups = np.repeat(["FRI", "FRII"], [30, 60]), np.arange(90)//2
    for seed in range(5):
        parts = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(labels, labels, groups)
        folds = split_folds(labels, groups, 5, seed)
        for fold, (_, validation) in enumerate(parts): assert set(np.flatnonzero(folds == fold)) == set(validation)
