"Positions anywhere on the sky: the seam of right ascension, the poles, minus zero, the edges of tiles and images."
import re

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from radiogal.archives import _TILE_COUNTS, _TILE_DECS, _find_tile, _name_image, _read_form_position, _tabulate_tiles
from radiogal.clients import (
    _HALF_IMAGE,
    _measure_margin,
    _parse_image_name,
    _parse_tiles,
    _write_first_form,
    find_tiles,
)
from radiogal.cutouts import _cut_out, _SkyImage, name_file
from radiogal.positions import deproject
from radiogal.sky import make_wcs

check = settings(derandomize=True, max_examples=80, deadline=None, database=None)
seam = st.sampled_from([0., 1e-9, 1e-6, 0.0021, 179.9999999, 180., 359.9979, 359.999999, 360 - 1e-9])
right_ascensions = seam | st.floats(0, 360, exclude_max=True)
declinations = st.sampled_from([-0., -0.5, -0.0001, 0.0001, 0.5, -40., 89.9, 90., -90.]) | st.floats(-90, 90)
northern = st.sampled_from([-0.5, -0.0001, 0., 89.9, 90., *_TILE_DECS]) | st.floats(-40, 90)
offsets = st.floats(-1, 1)


@pytest.fixture(scope="module")
def tiles():
    "All tiles, with edges rounded to 0.01 h as the archive does."
    rows = zip(_TILE_DECS, _TILE_DECS[1:], _TILE_COUNTS, strict=False)
    middles = [SkyCoord((i + 0.5)*360/count, (low + high)/2, unit="deg")
               for low, high, count in rows for i in range(count)]
    table = _parse_tiles(_tabulate_tiles(middles))
    assert len(set(table["tile"])) == sum(_TILE_COUNTS) == 899
    return table


@given(right_ascensions, declinations)
@check
def test_form_says_where(ra, dec):
    coord = SkyCoord(ra, dec, unit="deg")
    assert _read_form_position(_write_first_form(coord, 83)["RA"]).separation(coord) < 0.1*u.arcsec


@given(right_ascensions, northern)
@check
def test_tile_of_a_position_is_found_once(tiles, ra, dec):
    found = find_tiles(tiles, SkyCoord(ra, dec, unit="deg"))
    assert _find_tile(SkyCoord(ra, dec, unit="deg"))[0] in found and len(set(found)) == len(found)
    assert find_tiles(tiles, SkyCoord(ra + 360, dec, unit="deg")) == found


@given(st.integers(0, len(_TILE_COUNTS) - 1), st.integers(0, 47), st.sampled_from(["corner", "east", "south"]),
       st.floats(0, 1))
@check
def test_tiles_on_both_sides_of_an_edge_are_found(tiles, row, column, place, along):
    count, (low, high) = _TILE_COUNTS[row], _TILE_DECS[row:row + 2]
    column %= count
    ra = (column + (along if place == "south" else 0))*360/count
    coord = SkyCoord(ra, low + (high - low)*along if place == "east" else low, unit="deg")
    found = find_tiles(tiles, coord)
    for d_ra in (-1e-7, 1e-7):
        for d_dec in (-1e-7, 1e-7):
            near = SkyCoord((coord.ra.deg + d_ra) % 360, np.clip(coord.dec.deg + d_dec, -40, 90), unit="deg")
            assert _find_tile(near)[0] in found


@given(right_ascensions, northern, offsets, offsets)
@check
def test_tile_of_every_image_that_holds_a_position_is_found(tiles, ra, dec, x, y):
    half = _HALF_IMAGE.to_value(u.deg)
    centre = SkyCoord(*deproject(x*half, y*half, ra, dec), unit="deg")
    assume(centre.dec.deg >= -40)
    assert _find_tile(centre)[0] in find_tiles(tiles, SkyCoord(ra, dec, unit="deg"))


@given(right_ascensions, northern, st.sampled_from(["VLASS1.1", "VLASS2.1", "VLASS3.2"]), st.integers(1, 12))
@example(10.0, -0.5, "VLASS2.1", 1)
@example(359.9999, 30.0, "VLASS2.1", 10)
@check
def test_name_of_an_image_says_where(ra, dec, epoch, version):
    coord = SkyCoord(ra, dec, unit="deg")
    image = _parse_image_name(_name_image(coord, epoch, version) + "/")
    assert (image.epoch, image.version) == (epoch, version)
    assert SkyCoord(image.ra, image.dec, unit="deg").separation(coord) < np.hypot(7.6, 0.6)*u.arcsec


@given(st.text(max_size=300), st.text(max_size=300))
@example("a/b", "a_b")
@example("../../etc/passwd", "etc_passwd")
@example("J1200+30", "J1200 30")
@example("a"*300, "a"*299 + "b")
@example("", ".")
@check
def test_name_of_a_file_is_safe_and_its_own(name, other):
    stem = name_file(name)
    assert re.fullmatch(r"[A-Za-z0-9+_.-]{1,200}", stem) and not stem.startswith((".", "-"))
    assert name == other or stem != name_file(other)


@given(right_ascensions, declinations, offsets, offsets, st.sampled_from([1, 20, 21, 60]))
@check
def test_cutout_lies_where_it_was_asked_for(ra, dec, x, y, side):
    n_pixels = 101
    wcs = make_wcs("FIRST", SkyCoord(ra, dec, unit="deg"), n_pixels)
    middle = (n_pixels - 1)/2
    coord = wcs.pixel_to_world(middle*(1 + x), middle*(1 + y))
    px, py = wcs.world_to_pixel(coord)
    assert np.hypot(px - middle*(1 + x), py - middle*(1 + y)) < 1e-3
    rows, columns = np.mgrid[:n_pixels, :n_pixels].astype(float)
    image = _SkyImage(1000*rows + columns, wcs, fits.Header())
    cutout, margin = _cut_out(image, side, px, py), _measure_margin(wcs, (n_pixels, n_pixels), coord, side)
    assert cutout.data.shape == (side, side)
    assert np.hypot(*(np.array(cutout.wcs.world_to_pixel(coord)) - (side - 1)/2)) <= np.sqrt(0.5) + 1e-3
    if margin >= 0: assert np.isfinite(cutout.data).all()
    if margin < -1: assert np.isnan(cutout.data).any()
    for row, column in np.argwhere(np.isfinite(cutout.data))[[0, -1]]:
        there = wcs.world_to_pixel(cutout.wcs.pixel_to_world(column, row))
        np.testing.assert_allclose(there, divmod(cutout.data[row, column], 1000)[::-1], atol=1e-3)
