"Candidates in a made-up catalogue of FIRST's kind: how it is made, what is drawn from it, and what overlaps."
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

from radiogal.candidates import (
    _FIRST_RMS,
    _KINDS,
    FIRST_COLUMNS,
    _tabulate_separations,
    _tell_separations,
    find_candidates,
    find_leaks,
    find_link,
    fit_components,
    measure_separations,
    read_components,
    sample_components,
    score_link,
    tabulate_first,
)
from radiogal.config import Candidates, Sky
from radiogal.positions import CatalogueError, read_table, write_table
from radiogal.surveys import cap_area, draw_uniform

CUTS = Candidates()


@pytest.fixture(scope="module")
def crowded():
    "A whole catalogue, as dense and as clustered as FIRST."
    return sample_components(Sky())


def fit_made(n, mjy, major, minor):
    "The same Gaussian many times, as FIRST would list it."
    same = lambda value: np.full(n, float(value))
    return fit_components(SkyCoord(same(0), same(0), unit="deg"), same(mjy)*u.mJy, same(major), same(minor), same(20),
                          same(0.014), np.random.default_rng(1))


def test_fitted_gaussians_have_their_shapes_and_errors():
    bright, points = fit_made(100, 1000, 12, 6), fit_made(4000, 3, 0, 0)
    shapes = [bright[name].mean() for name in ("flux_density", "major", "minor", "pa")]
    np.testing.assert_allclose(shapes, [1000, 12, 6, 20], atol=0.5)
    ratio = points["flux_density"]/points["peak_brightness"]
    np.testing.assert_allclose([ratio.mean(), ratio.std()/np.sqrt(2)], [1, _FIRST_RMS/3], atol=0.01)


def test_a_made_catalogue_is_its_seed_s(crowded):
    units = {name: unit for name, (_, unit) in FIRST_COLUMNS.items()}
    assert {name: crowded[name].unit for name in crowded.colnames} == units
    assert (sample_components(Sky())["ra"] == crowded["ra"]).all()
    assert len(sample_components(Sky(seed=2))) != len(crowded)


def test_without_clusters_no_link_is_worth_anything(crowded):
    assert 0.1 < score_link(measure_separations(crowded, CUTS), 60*u.arcsec) < 0.3
    even = draw_uniform(len(crowded), SkyCoord(0*u.deg, 88*u.deg), 3*u.deg, np.random.default_rng(1))
    chance = _tabulate_separations(even, cap_area(3*u.deg), simulated=True)
    expected = chance["expected"].sum()
    assert abs(chance["pairs"].sum() - expected) < 5*np.sqrt(expected) and find_link(chance) <= 15*u.arcsec


@pytest.mark.parametrize("link, linked, beyond", [(3, None, 65), (62, 60, 65), (70, 70, 70), (120, 120, None),
                                                  (300, 120, None)])
def test_a_linking_length_between_edges_or_beyond_them_is_told_of_whole_bins(crowded, link, linked, beyond):
    rows = measure_separations(crowded, CUTS)
    told = _tell_separations(rows, link*u.arcsec)
    assert "nan" not in told and " 0 pairs" not in told and "Pairs are more than twice as many" in told
    assert (f"Of the pairs from 0 to {linked} arcsec, which are linked" in told) == bool(linked)
    assert linked or "which are linked" not in told
    line = rows["low"] >= (beyond or np.inf)
    said = f"From {beyond} to 120 arcsec there are {rows['pairs'][line].sum()} pairs where the line"
    assert (said in told) == ("line of chance" in told) == bool(beyond)


def test_candidates_do_not_depend_on_the_order_of_rows(crowded, tmp_path):
    few = CUTS.model_copy(update=dict(per_kind=60))
    candidates, reasons = find_candidates(crowded, few)
    for reason in _KINDS:
        chosen = candidates["reason"] == reason
        assert candidates["n_components"][chosen].sum() == candidates.meta["rows"][reason]
    compact = candidates[candidates["kind"] == "compact"]
    assert compact["separation"].min() >= CUTS.isolation_arcsec and (compact["n_components"] == 1).all()
    shuffled = np.random.default_rng(1).permutation(len(crowded))
    again, others = find_candidates(crowded[shuffled], few)
    assert list(again["name"]) == list(candidates["name"]) and list(others) == list(reasons[shuffled])
    assert set(find_candidates(crowded, few.model_copy(update=dict(seed=2)))[0]["name"]) != set(candidates["name"])
    kept = read_table(write_table(candidates, tmp_path/"candidates.ecsv"))
    assert kept.meta["rows"] == candidates.meta["rows"]


def test_components_are_read_with_units_or_refused(tmp_path):
    made = tabulate_first(dict.fromkeys(FIRST_COLUMNS, np.full(2, 5.4)), SIMULATE=True, area_deg2=1.0)
    back = read_components(write_table(made, tmp_path/"first.ecsv"))
    assert back["peak_brightness"].unit == u.mJy/u.beam and back["ra"].dtype == np.float64
    with pytest.raises(CatalogueError, match="first.ecsv: no column p_sidelobe, peak_brightness"):
        read_components(write_table(made["ra", "dec"], tmp_path/"first.ecsv"))


def test_leaks_are_the_pairs_whose_cutouts_overlap():
    east, north = np.array([0, 1, 2.9, 0, 0]), np.array([0, 0, -2.9, 3.1, 0])
    names = ["centre", "twin", "corner", "beside", "again"]
    made = Table(dict(set=["one"]*4 + ["two"], name=names, width=[3.]*5, dec=60 + north/60,
                      split=["train", "train", "valid", "valid", "test"], ra=50 + east/60/np.cos(np.radians(60))))
    leaks = find_leaks(made)
    assert {frozenset(pair) for pair in zip(leaks["name"], leaks["other_name"], strict=True)} == {
        frozenset(pair) for pair in (("centre", "again"), ("twin", "again"), ("twin", "corner"), ("centre", "corner"),
                                     ("corner", "again"))}
    np.testing.assert_allclose(leaks["separation"][:2], [0, 60], atol=0.1)
    assert len(find_leaks(made[:2])) == 0
