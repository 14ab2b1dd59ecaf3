"What the archives really sent, as others kept it: tile tables, index pages, headers and images, read by the library."
import re
import warnings
from collections import Counter
from urllib.parse import quote

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS, FITSFixedWarning
from scipy.spatial import cKDTree

from radiogal.archives import _TILE_COUNTS, _TILE_DECS, _find_tile, serve_archives
from radiogal.catalogues import CATALOGUES, find_registered, read_catalogue
from radiogal.clients import (
    _HALF_IMAGE,
    _TILE_MARGIN,
    ArchiveAccess,
    _parse_image_name,
    _parse_listing,
    _parse_tiles,
    _select_newest,
    find_tiles,
)
from radiogal.cutouts import _count_data_bytes, _read_wcs, read_cutout
from radiogal.fetch import Fetcher, FetchError, Limits, Manifest, get_registered
from radiogal.positions import project
from radiogal.scraping import FitsFolder, fetch_cutouts

PAGE = "https://archive-new.nrao.edu/vlass/quicklook/"


@pytest.fixture
def kept(mirror):
    "Files of the archives, beside the mirror."
    folder = mirror.parent
    if not (folder/"vlass").is_dir(): pytest.skip("no pages and headers of VLASS beside RADIOGAL_MIRROR")
    return folder


@pytest.fixture
def tile_tables(kept):
    "The table of tiles as it was in May 2024, and in January 2026."
    return [(kept/"vlass"/f"VLASS_dyn_summary_{date}.txt").read_text() for date in ("2024-05", "2026-01")]


@pytest.mark.parametrize("which", [0, 1])
def test_tile_tables_have_all_tiles_in_every_epoch(tile_tables, which):
    tile_table = tile_tables[which]
    tiles = _parse_tiles(tile_table)
    rows = [line for line in tile_table.splitlines()[3:] if line.strip()]
    assert len(tiles) == len(rows) and len(set(tiles["tile"])) == 899
    assert Counter(tiles["epoch"]) == Counter(re.search(r"VLASS\d\.\d", row).group() for row in rows)
    per_tile = Counter((r["tile"], r["epoch"].split(".")[0]) for r in tiles)
    assert set(per_tile.values()) == {1} and len(per_tile) == len(rows)
    assert all((row[59:74].strip(), row[74:].strip()) == (t["date"], t["status"])
               for row, t in zip(rows, tiles, strict=True))


def place_centres(n=15):
    "Where a tile's images may be centred: a grid over its true, unrounded area, with edges; names, RA and Dec (deg)."
    names, ra, dec = [], [], []
    for row, (low, high, count) in enumerate(zip(_TILE_DECS, _TILE_DECS[1:], _TILE_COUNTS, strict=False)):
        for column in range(count):
            a, d = np.meshgrid(np.linspace(column, column + 1, n)*360/count, np.linspace(low, high, n))
            names += [f"T{row + 1:02d}t{column + 1:02d}"]*n**2
            ra.append(a.ravel())
            dec.append(d.ravel())
    return np.array(names), np.concatenate(ra), np.concatenate(dec)


def list_areas(tiles):
    "Tiles with their limits, each once: all that says where a position is looked for."
    return {tuple(row) for row in tiles["tile", "ra_min", "ra_max", "dec_min", "dec_max"].iterrows()}


def test_positions_land_on_the_right_tiles(tile_tables, mirror, tmp_path):
    "Every tile with an image that could hold the position is looked at, and none farther than an image's diagonal."
    older, tiles = map(_parse_tiles, tile_tables)
    assert list_areas(older) == list_areas(tiles)
    fetcher = Fetcher(Manifest(tmp_path/"manifest.sqlite"), allowed_hosts=("nowhere.invalid",))
    frdeep = read_catalogue(CATALOGUES["frdeep"],
                            get_registered(fetcher, find_registered(CATALOGUES["frdeep"]), tmp_path))
    rng = np.random.default_rng(1)
    ra = np.concatenate([frdeep["ra"], rng.uniform(0, 360, 10_000)])
    dec = np.concatenate([frdeep["dec"], np.degrees(np.arcsin(rng.uniform(np.sin(np.radians(-40)), 1, 10_000)))])
    assert len(ra) == 10_460
    names, centre_ra, centre_dec = place_centres()
    assert set(names) == set(tiles["tile"])
    vectors = SkyCoord(centre_ra, centre_dec, unit="deg").cartesian.xyz.value.T
    coords = SkyCoord(ra, dec, unit="deg")
    nearby = cKDTree(vectors).query_ball_point(coords.cartesian.xyz.value.T, 2*np.sin(np.radians(1.5)/2))
    # The grid is 0.3 degrees wide
    half, reach = _HALF_IMAGE.to_value(u.deg), np.sqrt(2)*_TILE_MARGIN.to_value(u.deg) + 0.3
    for coord, near in zip(coords, nearby, strict=True):
        found = set(find_tiles(tiles, coord))
        offsets = np.abs(project(coord.icrs.ra.deg, coord.icrs.dec.deg, centre_ra[near], centre_dec[near])).max(axis=0)
        assert found >= set(names[near][offsets <= half]), coord
        distances = np.linalg.norm(vectors[near] - coord.cartesian.xyz.value, axis=1)
        assert found <= set(names[near][distances <= np.radians(reach)]), coord
        assert _find_tile(coord)[0] in found


def test_index_pages_of_both_styles_list_the_images(kept):
    pages = {path.stem: path.read_text(errors="replace") for path in (kept/"vlass"/"listings").glob("*.html")}
    entries = {name: _parse_listing(pages[name], PAGE) for name in pages if "index of" in pages[name].lower()}
    assert {"VLASS1.1/", "VLASS1.2/", "VLASS1.1v2/", "QA_REJECTED/"} & set(entries["vlass_quicklook"])
    assert all(re.fullmatch(r"T\d\dt\d\d/|QA_REJECTED/", e) for e in entries["all_fields_list"])
    assert all(_parse_image_name(e) for e in entries["single_tile_list"])
    versions = [_parse_image_name(e) for e in entries["multiple_versions_tile"]]
    newest = _select_newest(entries["multiple_versions_tile"])
    places = {(i.ra, i.dec) for i in versions if i}
    assert len(newest) == len(places) < len([i for i in versions if i])
    assert {i.version for i in newest} >= {2}
    assert len({i.epoch for i in map(_parse_image_name, entries["cross_epoch"]) if i}) >= 1
    with pytest.raises(FetchError, match="not an index page"): _parse_listing(pages["single_field_detail"], PAGE)


def test_headers_of_quick_look_images_describe_whole_images(kept):
    for path in sorted((kept/"vlass"/"headers").glob("*.ql.*.header")):
        header = fits.Header.fromstring(path.read_text(), sep="\n" if "\n" in path.read_text()[:200] else "")
        wcs = _read_wcs(header, "VLASS")
        named = _parse_image_name(path.name.split(".I.iter1")[0] + "/")
        centre = wcs.pixel_to_world((header["NAXIS1"] - 1)/2, (header["NAXIS2"] - 1)/2).icrs
        assert centre.separation(SkyCoord(named.ra, named.dec, unit="deg")) < 40*u.arcsec, path.name
        assert _count_data_bytes(header) in (4*3722*3722, 4*3722*3721, 4*3721*3722, 4*3721*3721)


VLASS_SAMPLE = "VLASS__3.1.ql.T08t01.J001357.17-091951.5.10.2048.v2.I.iter1.image.pbcor.tt0.subim_s2.0arcmin_.fits"


@pytest.mark.parametrize("name, survey, ra, dec", [
    ("FIRST_J001357-091951.fits", "FIRST", 3.4883, -9.3310),
    ("NVSS_J001357.2-091951.5.fits", "NVSS", 3.4883, -9.3310),
    (VLASS_SAMPLE, "VLASS", 3.4883, -9.3310),
    ("FIRST_J105007+304037_astroquery_33px.fits", "FIRST", 162.5303, 30.6771),
    ("FIRST_J105007+304037_radioquery_167px.fits", "FIRST", 162.5303, 30.6771)])
def test_images_of_the_archives_become_cutouts_of_one_form(kept, name, survey, ra, dec):
    hdu = read_cutout(kept/"fits_samples"/name, survey)
    wcs = WCS(hdu.header)
    middle = wcs.pixel_to_world((hdu.data.shape[1] - 1)/2, (hdu.data.shape[0] - 1)/2)
    assert wcs.naxis == 2 and hdu.header["BUNIT"] == "Jy/beam" and 0 < hdu.header["BMIN"] <= hdu.header["BMAJ"] < 0.02
    assert middle.separation(SkyCoord(ra, dec, unit="deg")) < 30*u.arcsec
    assert hdu.header["COVERED"] == 1 and np.nanmax(hdu.data) > 5e-3


def test_resampled_image_is_not_taken_for_the_survey_s_own(kept):
    with pytest.raises(FetchError, match="reject: pixels of 2″ × 2″, NVSS has 15″"):
        read_cutout(kept/"fits_samples"/"NVSS_J105007.27+304037.52.fits", "NVSS")


def test_real_images_served_as_the_first_archive_come_back(mirror, tmp_path):
    "MiraBest's 150 FIRST images behind the form: the cutout of each centre holds the source image's own pixels."
    images = sorted(mirror.rglob("fmporter/MiraBest/*/FITS/*.fits"))
    if not images: pytest.skip("no images of MiraBest in the mirror")
    assert len(images) == 150
    (tmp_path/"FIRST").mkdir()
    for path in images: (tmp_path/"FIRST"/quote(path.name)).symlink_to(path)
    folder = FitsFolder(tmp_path)
    coords = SkyCoord([wcs.pixel_to_world((nx - 1)/2, (ny - 1)/2).icrs
                       for _, wcs, nx, ny in folder.footprints["FIRST"]])
    with serve_archives(folder) as services:
        fetcher = Fetcher(Manifest(tmp_path/"raw"/"manifest.sqlite"), services.allowed_hosts,
                          Limits(tries=2, wait_s=0.01), 0)
        archive = ArchiveAccess(fetcher, tmp_path/"raw", services)
        table = fetch_cutouts(coords, "FIRST", 2.5*u.arcmin, archive, tmp_path/"out", root=tmp_path)
    good = 0
    for row, coord in zip(table, coords, strict=True):
        source = folder.find_file("FIRST", coord)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            warnings.simplefilter("ignore", fits.verify.VerifyWarning)
            data, wcs = fits.getdata(source), WCS(fits.getheader(source), naxis=2, fix=False)
        expected = Cutout2D(data, coord, 83, wcs=wcs, mode="partial", fill_value=np.nan).data
        if row["state"] != "ok":
            assert row["state"] == "reject" and re.search("of the cutout has data|no pixel has data", row["reason"])
            assert np.isfinite(expected).mean() < 0.9
            continue
        hdu = fits.open(tmp_path/row["path"])[0]
        np.testing.assert_array_equal(hdu.data, expected)
        fluxes = [np.nansum(data, dtype=float) for data in (hdu.data, expected)]
        np.testing.assert_allclose(*fluxes, rtol=1e-6)
        assert WCS(hdu.header).pixel_to_world(41, 41).separation(coord) < 1.8*u.arcsec
        good += 1
    assert good >= 0.99*len(images)
