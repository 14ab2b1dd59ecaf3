"Flux densities and sizes of sources against published ones, and where nothing can be measured."
import csv

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from scipy.ndimage import gaussian_filter

from radiogal.fetch import select_files, url_to_path
from radiogal.measures import measure_source
from radiogal.preparation import read_image
from radiogal.sky import make_wcs

BEAM = 5.4/3600


def make_image(sources, side=120, noise=1e-4):
    "A FIRST-like cutout: noise, and Gaussians (column, row, mJy, FWHM in arcsec)."
    y, x = np.mgrid[:side, :side]
    data = gaussian_filter(np.random.default_rng(1).normal(size=(side, side)), 3/2.355)  # as wide as the beam
    data *= noise/data.std()
    for column, row, mjy, fwhm in sources:
        peak = mjy/1e3*(5.4/fwhm)**2
        data += peak*np.exp(-4*np.log(2)*1.8**2*((x - column)**2 + (y - row)**2)/fwhm**2)
    header = make_wcs("FIRST", SkyCoord("12h +30d"), side).to_header()
    header.update(dict(BMAJ=BEAM, BMIN=BEAM, BPA=0., BUNIT="Jy/beam", SURVEY="FIRST", SIMULATE=True, OBJECT=""))
    return fits.PrimaryHDU(data.astype("f4"), header)


@pytest.mark.parametrize(("sources", "mjy", "arcsec"), [
    ([(60, 60, 10, 5.4)], 10, 0), ([(60, 60, 10, 5.4), (20, 20, 50, 5.4)], 10, 0),
    ([(60, 60, 40, 12)], 40, np.sqrt(12**2 - 5.4**2)), ([(45, 60, 10, 5.4), (75, 60, 12, 5.4)], 22, 54)])
def test_what_was_put_in_is_measured_and_no_neighbour(sources, mjy, arcsec):
    found = measure_source(make_image(sources))
    assert abs(found.flux_density*1e3 - mjy) < max(5*found.flux_error*1e3, 0.05*mjy)
    assert found.extent == pytest.approx(arcsec, abs=4)
    assert 0 < found.flux_error < 1e-3


@pytest.mark.parametrize(("sources", "flag"), [
    ([], "nothing above 7 sigma within 1′"), ([(10, 10, 50, 5.4)], "nothing above 7 sigma within 1′"),
    ([(60, 60, 10, 5.4), (60, 12, 20, 5.4)], "1 other island within 2′"),
    ([(45, 60, 10, 5.4), (75, 60, 12, 5.4)], "2 islands taken for one source"),
    ([(60, 95, 4000, 40)], "reaches the edge of the data")])
def test_doubts_are_said(sources, flag):
    found = measure_source(make_image(sources))
    assert found.measure_flags == flag and np.isnan(found.flux_density) == flag.startswith("nothing")


def test_pixels_without_data_are_an_edge_and_no_flux():
    hdu = make_image([(60, 60, 100, 5.4)])
    whole = measure_source(hdu)
    hdu.data[61:] = np.nan
    half = measure_source(hdu)
    assert half.measure_flags == "reaches the edge of the data" and 0.4 < half.flux_density/whole.flux_density < 0.8


def test_a_flat_top_is_one_peak():
    hdu = make_image([(60, 60, 40, 12)])
    expected = measure_source(hdu).extent
    hdu.data[59:62, 59:62] = hdu.data.max()  # as where brightness is cut off
    assert measure_source(hdu).extent == pytest.approx(expected, rel=0.1) and expected > 5
    two = make_image([(45, 60, 10, 5.4), (75, 60, 12, 5.4)])
    two.data[60, 44:46] = two.data[60, 45]
    assert measure_source(two).extent == pytest.approx(54, abs=4)


def test_an_image_without_noise_is_not_measured():
    hdu = make_image([(60, 60, 100, 5.4)], noise=0)
    hdu.data[:] = 1
    assert measure_source(hdu).measure_flags == "no noise to measure against"


def list_published(mirror):
    "NVSS flux densities (mJy) that FRDEEP's two catalogues give, and where."
    sheets = [next(mirror.rglob(name)) for name in ("CoNFIG_II_full_Table.csv", "FRICAT_Table1.csv")]
    rows = [(row["_RAJ2000"], row["_DEJ2000"], float(row[column]))
            for sheet, column in zip(sheets, ("S1.4", "F1.4GHz"), strict=True)
            for row in csv.DictReader(sheet.read_text().splitlines())]
    ra, dec, flux = zip(*rows, strict=True)
    return SkyCoord(list(ra), list(dec), unit=("hourangle", "deg")), np.array(flux)


@pytest.mark.filterwarnings("ignore")  # SkyView's COMMENT cards
def test_flux_densities_are_those_of_the_nvss_catalogue(mirror):
    coords, published = list_published(mirror)
    table = Table.read(next(mirror.rglob("FRDEEPv2_train.csv")), format="ascii.csv")
    where = dict(zip(table["Object_ID"], SkyCoord(table["RA(J2000)"], table["DEC(J2000)"], unit=("hourangle", "deg")),
                     strict=True))
    ratios = []
    for file in select_files("frdeep", "NVSS", "train")[::8]:
        found = measure_source(read_image(mirror/url_to_path(file.url), "NVSS"))
        at, separation, _ = where[file.object].match_to_catalog_sky(coords)
        assert separation < 10*u.arcsec
        ratios.append(found.flux_density*1e3/published[at])
    assert len(ratios) == 58
    assert np.nanmedian(ratios) == pytest.approx(1.02, abs=0.03)
    assert np.mean(np.abs(np.array(ratios) - 1) < 0.1) > 0.7


def test_sizes_are_those_of_mirabest(mirror):
    ratios = []
    for path in sorted(mirror.rglob("fmporter/MiraBest/*/FITS/*.fits"))[::3]:
        published = float(path.stem.rsplit("_", 1)[1])
        ratios.append(measure_source(read_image(path, "FIRST")).extent/published)
    assert np.isfinite(ratios).sum() >= 49
    assert np.nanmedian(ratios) == pytest.approx(1., abs=0.05)
    assert np.nanmean(np.abs(np.array(ratios) - 1) < 0.25) > 0.6


def test_flux_densities_are_those_of_the_first_catalogue(mirror):
    path = mirror.parent/"tables"/"catalog_first_VLA_1.csv"
    if not path.is_file(): pytest.skip("no rows of the FIRST catalogue beside the mirror")
    rows = Table.read(path, format="ascii.csv")
    components, ratios = SkyCoord(rows["_RAJ2000"], rows["_DEJ2000"], unit="deg"), []
    for path in sorted(mirror.rglob("fmporter/MiraBest/*/FITS/*.fits")):
        ra, dec = path.stem.split("_")[1][:7], path.stem.split("_")[1][7:]
        near = components.separation(SkyCoord(float(ra), float(dec), unit="deg")) < 75*u.arcsec
        if not near.any(): continue
        found = measure_source(read_image(path, "FIRST"))
        ratios.append(found.flux_density*1e3/rows["Fint"][near].sum())
    assert len(ratios) == 3
    assert np.median(ratios) == pytest.approx(1., abs=0.1)
