"Real VLASS images of the mirror: through the client's two routes on this machine, and through the steps of the panels."
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.stats import sigma_clipped_stats
from astropy.wcs import WCS, FITSFixedWarning
from conftest import ROOT

from radiogal.archives import serve_archives
from radiogal.clients import VLASS_ROUTES, ArchiveAccess
from radiogal.config import read_config
from radiogal.fetch import Fetcher, Limits, Manifest, select_files, url_to_path
from radiogal.panels import _read_field, build_files, draw_as_panel
from radiogal.preparation import Unusable, read_image
from radiogal.scraping import FitsFolder, fetch_cutouts

# A whole image; a strip with a gap, and one without; another Taylor term of a single epoch; a spectral index, which has
# no unit
SERVED = {"1.2.ql.T14t21.J135214": None, "1.2.ql.T15t21.J150110": "of the cutout has data",
          "1.1.ql.T19t21.J161336": "of the cutout has data",
          "2.1.se.T10t34.J220659": "pixels of 0.6″ × 0.6″, VLASS has 1″",
          "2.1.se.T23t14.J131656": "unit is not given, not Jy/beam"}


def find_path(mirror, part):
    "The first file of a name that has this part."
    file = next(f for f in select_files("vlass", "VLASS") if part in f.name)
    return mirror/url_to_path(file.url)


def locate_middle(path):
    "Where an image's middle is, and its pixels."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        data, wcs = fits.getdata(path).squeeze(), WCS(fits.getheader(path)).celestial
    middle = wcs.pixel_to_world(*((n - 1)/2 for n in data.shape[::-1])).icrs
    return SkyCoord(middle.ra, middle.dec), data, wcs


@pytest.mark.parametrize("route", VLASS_ROUTES)
def test_real_images_come_back_by_each_route_or_say_why_not(mirror, tmp_path, route):
    paths = {part: find_path(mirror, part) for part in SERVED}
    (tmp_path/"VLASS").mkdir()
    for part, path in paths.items(): (tmp_path/"VLASS"/f"{part}.fits").symlink_to(path)
    middles = {part: locate_middle(path) for part, path in paths.items()}
    with serve_archives(FitsFolder(tmp_path)) as services:
        fetcher = Fetcher(Manifest(tmp_path/"raw"/"m.sqlite"), services.allowed_hosts, Limits(tries=1), 0)
        table = fetch_cutouts(SkyCoord([middle for middle, *_ in middles.values()]), "VLASS", 2.5*u.arcmin,
                              ArchiveAccess(fetcher, tmp_path/"raw", services), tmp_path/"out", tmp_path,
                              vlass_route=route)
    for row, (part, why) in zip(table, SERVED.items(), strict=True):
        if why:
            assert row["state"] == "reject" and why in row["reason"], (part, row["state"], row["reason"])
            continue
        assert row["state"] == "ok", row["reason"]
        middle, data, wcs = middles[part]
        hdu = fits.open(tmp_path/row["path"])[0]
        np.testing.assert_array_equal(hdu.data, Cutout2D(data, middle, hdu.data.shape, wcs=wcs).data)
        assert hdu.header["BUNIT"] == "Jy/beam" and hdu.header["COVERED"] == 1


# Of two sources with a published class; the third is of a single epoch
LABELLED = {"1.2.ql.T14t21.J135214": "FRI", "1.1.ql.T24t11.J105159": "FRII", "2.1.se.T10t34.J220659": "FRI"}


def test_real_files_become_a_set_as_the_study_would_have_drawn_them(mirror):
    paths = {part: (find_path(mirror, part), label) for part, label in LABELLED.items()}
    made, facts, reasons = build_files(paths, read_config(ROOT/"config"/"vlass.toml"))
    assert made.labels.tolist() == [0, 1] and made.images.shape == (2, 150, 150, 1) and not made.simulated
    (name, reason), = reasons.items()
    assert name == "2.1.se.T10t34.J220659" and reason.startswith(SERVED[name])
    assert (facts["step_percent"] < 2).all() and (facts["pixels_left"] < 0.6).all() and (facts["peak_left"] <= 1).all()
    assert set(np.unique(made.images*255)) <= set(np.arange(256.0)) and made.images.max() > 0.9
    for position, (path, _) in zip(made.positions, paths.values(), strict=False):
        assert SkyCoord(*position, unit="deg").separation(locate_middle(path)[0]) < 1*u.arcsec


@pytest.mark.parametrize("part", ["1.2.ql.T15t21.J150110", "1.2.ql.T14t25.J164029"])
def test_a_strip_of_an_image_is_refused_and_its_gaps_are_zero_as_in_the_study(mirror, part):
    path = find_path(mirror, part)
    with pytest.raises(Unusable, match="% of the field has data"): _read_field(path, "VLASS", 0.9)
    data = read_image(path, "VLASS").data
    assert np.isnan(data).any()
    np.testing.assert_array_equal(draw_as_panel(data), draw_as_panel(np.nan_to_num(data)))


def test_eight_bits_cost_less_than_half_a_step_of_the_logarithm(mirror):
    image = read_image(find_path(mirror, "1.2.ql.T14t21.J135214"), "VLASS").data[:356, :356]
    drawn = draw_as_panel(image)
    _, median, std = sigma_clipped_stats(image.astype(float), sigma=3)
    curve = np.log(np.maximum(image.astype(float), median + 3*std)/(median + 3*std))
    picked = curve[1::2, 1::2]  # 356 pixels on 178: the second of two is the nearest
    assert np.abs((drawn + 0.5)/256 - picked/curve.max()).max() <= 0.5/256 + 1e-6
    assert 20 < len(np.unique(drawn)) <= 256
