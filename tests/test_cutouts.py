"What cutting refuses, and what it keeps: the cases behind the lessons of `12_cutouts`."
from unittest.mock import patch

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS

from radiogal.config import Scraping
from radiogal.cutouts import (
    CutoutPlan,
    RawImage,
    Target,
    _cut_out,
    _encode_image,
    _fill_missing,
    _normalise_cutout,
    _read_origins,
    _SkyImage,
    _write_header,
    _write_origins,
    check_image,
    count_pixels,
    count_side,
    cut_group,
    name_file,
    open_image,
    read_cutout,
)
from radiogal.fetch import FetchError, hash_file
from radiogal.sky import encode_fits, make_header, make_wcs

CENTRE = SkyCoord(180, 30, unit="deg")
ORIGINS = [RawImage("image.fits", f"https://archive/{i}.fits", str(i)*64, f"VLASS{i}.1", str(i)) for i in (1, 2)]


@pytest.fixture
def save(tmp_path):
    def write(hdu, name="image.fits"):
        (tmp_path/name).write_bytes(encode_fits(hdu))
        return tmp_path/name
    return write


def make_image(survey="FIRST", side=60, coord=CENTRE, **cards):
    "Noise with a bright block in its middle, with the header of the survey's archive; a card of None is left out."
    data = np.random.default_rng(1).normal(0, 1e-4, (side, side)).astype("f4")
    data[side//2 - 1:side//2 + 2, side//2 - 1:side//2 + 2] = 0.05
    header = make_header(survey, coord, side)
    for key, value in cards.items(): header.remove(key) if value is None else header.set(key, value)
    return fits.PrimaryHDU(data, header)


@pytest.mark.parametrize(("cards", "reason"), [
    (dict(CTYPE1=None, CTYPE2=None), "no celestial coordinates"), (dict(CDELT1=0.), "unusable coordinates"),
    (dict(BUNIT="MJY/BEAM"), "unit is MJY/BEAM, not Jy/beam"), (dict(BMAJ=5.4, BMIN=5.4), "must be in degrees")])
def test_headers_that_cannot_be_believed_are_refused(save, cards, reason):
    with pytest.raises(FetchError, match=f"^reject: .*{reason}"), open_image(save(make_image(**cards)), "FIRST"): pass


def test_a_cube_is_refused(save):
    cube = fits.PrimaryHDU(np.zeros((2, 8, 8), "f4"), make_header("FIRST", CENTRE, 8))
    with pytest.raises(FetchError, match="a cube of 2 planes"): check_image(save(cube), "FIRST")


@pytest.mark.parametrize(("value", "reason"), [(np.nan, "no pixel has data"), (0., "all pixels are 0 Jy/beam")])
def test_an_image_that_shows_nothing_is_refused(save, value, reason):
    image = make_image()
    image.data[:] = value
    with pytest.raises(FetchError, match=reason): read_cutout(save(image), "FIRST")


def test_a_beam_that_is_not_stated_stays_the_surveys(save):
    header, wcs = check_image(save(make_image("TGSS", coord=SkyCoord(180, -10, unit="deg"), BMAJ=None)), "TGSS")
    written = _write_header(header, wcs, "TGSS")
    assert written["BMAJ"]*3600 == pytest.approx(25/np.cos(np.radians(29)), abs=0.01)
    assert _write_header(written, wcs, "TGSS")["BEAMFROM"] == "assumed"


def test_origins_are_read_as_written():
    assert _read_origins(fits.Header(_write_origins(ORIGINS)), "image.fits") == ORIGINS


def test_a_cutout_is_the_block_that_astropy_cuts(save):
    north = CENTRE.directional_offset_by(0*u.deg, 54*u.arcsec)
    with open_image(save(make_image()), "FIRST") as image:
        cut = _cut_out(image, 20, *image.find_place(north))
        expected = Cutout2D(image.data, north, 20, wcs=image.wcs, mode="partial", fill_value=np.nan)
        for coord, reason in ((SkyCoord(181, 30, unit="deg"), "does not hold"),
                              (SkyCoord(0, -30, unit="deg"), "far side")):
            with pytest.raises(FetchError, match=reason): _cut_out(image, 21, *image.find_place(coord))
    np.testing.assert_array_equal(cut.data, expected.data)
    np.testing.assert_array_equal(cut.wcs.wcs.crpix, expected.wcs.wcs.crpix)


def test_what_no_image_shows_stays_unknown():
    image = _SkyImage(make_image("VLASS", 200).data, make_wcs("VLASS", CENTRE, 200), None)
    half = _cut_out(image, 41, 199., 100.)
    unknown = image._replace(data=np.where(np.arange(200) < 190, np.nan, image.data))
    assert np.isnan(_fill_missing(half, unknown, image.frame.pixel_to_world(199, 100)).data).any()


def test_a_cutout_written_and_read_again_is_the_same_file(save, tmp_path):
    image = make_image()
    image.data[:15], image.data[20, 20] = np.nan, np.inf
    with open_image(save(image), "FIRST") as opened: data, header = _normalise_cutout(opened, ORIGINS, "Gál\n87")
    content = _encode_image(data, header)
    assert header["COVERED"] == pytest.approx(0.75 - 1/3600) and header["OBJECT"] == "G?l?87"
    assert content == encode_fits(fits.PrimaryHDU(data, header))
    (tmp_path/"again.fits").write_bytes(content)
    assert encode_fits(read_cutout(tmp_path/"again.fits", "FIRST")) == content


def test_an_image_is_opened_once_for_all_its_targets(save, tmp_path):
    near, upper = (RawImage(save(make_image(coord=SkyCoord(180, dec, unit="deg")), f"{dec}.fits"), str(dec), "")
                   for dec in (30., 30.015))
    edge = 180., 30 + 53/3600
    plan = CutoutPlan("FIRST", 21, tmp_path/"cutouts")
    members = [(Target("centre", 180., 30.), [near]), (Target("edge", *edge), [near]),
               (Target("shared", *edge), [near, upper])]
    with patch.object(fits, "open", wraps=fits.open) as opened: made, bad, shared = cut_group(members, plan)
    assert opened.call_count == 2 and "0.524 of the cutout has data" in str(bad)
    assert (made.covered, made.sha256) == (1., hash_file(made.path))
    header = fits.getheader(shared.path)
    assert (shared.covered, header["N_IMAGES"], WCS(header).naxis) == (1., 2, 2)
    assert sorted(path.name for path in plan.folder.iterdir()) == ["centre.fits", "shared.fits"]


def test_the_side_of_a_cutout_is_set_in_arcminutes_or_for_the_registry_in_pixels():
    sides = [[count_pixels(Scraping(archive=a, cutout_arcmin=2.5, cutout_pixels=150), s)
              for s in ("FIRST", "VLASS", "TGSS", "NVSS")] for a in ("loopback", "registry")]
    assert sides == [[83, 150, 24, 10], [150]*4]
    with pytest.raises(ValueError, match="smaller than a pixel of NVSS"): count_side("NVSS", 5*u.arcsec)


def test_a_file_name_is_neither_a_path_nor_too_long():
    assert len(name_file("long"*100)) == 67 and name_file("4C_31.30_07de56") != "4C_31.30_07de56"
