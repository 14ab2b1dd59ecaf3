"Folders of images, and tables of targets that are none: the cases behind the lessons of `14_scraping`."
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

from radiogal.archives import serve_archives
from radiogal.clients import VLASS_ROUTES
from radiogal.config import MorphologyClass, Sky
from radiogal.cutouts import CutoutPlan, Target
from radiogal.fetch import FetchError, Limits
from radiogal.positions import identify_positions
from radiogal.scraping import (
    _CUTOUT_COLUMNS,
    FitsFolder,
    _assign_clients,
    _read_positions,
    fetch_cutouts,
    fetch_targets,
    open_archive,
)
from radiogal.sky import ArtificialSky, draw_population, encode_fits, observe, write_image

TINY = Sky(seed=1, sources_per_class=2, spacing_arcmin=3.6, vlass_image_pixels=600)
SOURCES = draw_population(TINY, MorphologyClass.__args__)
SOURCE = SOURCES[SOURCES["label"] != ""][0]
COORD = SkyCoord(SOURCE["ra"], SOURCE["dec"], unit="deg")


def test_a_folder_serves_its_files_as_they_are(tmp_path):
    vlass, tgss = observe(SOURCES, "VLASS", COORD, 64, seed=1), observe(SOURCES, "TGSS", COORD, 30, seed=1)
    write_image(tmp_path/"VLASS"/"one.fits", vlass)
    tgss.header["COMMENT"] = "one_tab"
    (tmp_path/"TGSS").mkdir()
    (tmp_path/"TGSS"/"tabbed.fits").write_bytes(encode_fits(tgss).replace(b"one_tab", b"one\ttab", 1))
    folder = FitsFolder(tmp_path)
    assert folder.vlass_centres[0].separation(COORD) < 1*u.arcsec and folder.vlass_frames[0][1:] == (64, 64)
    assert folder.read_vlass(0, "any") == encode_fits(vlass)
    assert b"one\ttab" not in encode_fits(folder.cut_image("TGSS", COORD, 1*u.arcmin))
    assert folder.cut_image("VLASS", SkyCoord(0, -30, unit="deg"), 1*u.arcmin) is None
    assert folder.cut_image("NVSS", COORD, 1*u.arcmin) is None


def test_a_folders_fingerprint_changes_with_its_files(tmp_path):
    write_image(tmp_path/"FIRST"/"one.fits", observe(SOURCES, "FIRST", COORD, 30, seed=1))
    before = FitsFolder(tmp_path).fingerprint
    assert before == FitsFolder(tmp_path).fingerprint != ArtificialSky(SOURCES, TINY).fingerprint
    write_image(tmp_path/"NVSS"/"later.fits", observe(SOURCES, "NVSS", COORD, 30, seed=1))
    assert FitsFolder(tmp_path).fingerprint != before
    assert FitsFolder(tmp_path).cut_image("NVSS", COORD, 1*u.arcmin).data.shape == (4, 4)


@pytest.mark.parametrize(("columns", "told"), [
    (dict(name=["a"], ra=[1.]), "without column \\['dec'\\]"),
    (dict(name=["a", "a"], ra=[1., 2.], dec=[1., 2.]), "named twice: \\['a'\\]"),
    (dict(name=["a", "b", "c"], ra=[1., np.nan, 3.], dec=[1., 2., 90.5]), "without a position: \\['b', 'c'\\]")])
def test_tables_of_targets_that_are_none_are_refused(columns, told):
    with pytest.raises(ValueError, match=told): _read_positions(Table(columns))


def test_no_targets_give_an_empty_table(tmp_path):
    nobody = Table(dict(name=["M 87"], ra=[187.7], dec=[12.4]))[:0]
    table = fetch_targets(nobody, open_archive(None, tmp_path, "FIRST"), CutoutPlan("FIRST", 21, tmp_path), tmp_path)
    assert (len(table), table.colnames) == (0, list(_CUTOUT_COLUMNS))


def test_positions_are_named_and_may_repeat(tmp_path):
    odd = SkyCoord([0, 359.9999999, 12.5], [-0.5, 90, 0], unit="deg")
    names = identify_positions(odd)
    assert list(names[:2]) == ["J000000.000-003000.000", "J000000.000+900000.000"]
    archive = FitsFolder(tmp_path/"none")
    twice = fetch_cutouts(SkyCoord([odd[2], odd[0], odd[2]]), "FIRST", 2.5*u.arcmin, archive, tmp_path)
    assert list(twice["name"]) == [names[i] for i in (2, 0, 2)]
    with pytest.raises(u.UnitsError, match="arcmin"): fetch_cutouts(odd, "FIRST", 2.5*u.Jy, archive)


def test_a_pinned_image_is_found_by_name_or_without_one_by_position(tmp_path):
    archive, plan = open_archive(None, tmp_path, "NVSS"), CutoutPlan("NVSS", 150, tmp_path)
    (client,) = _assign_clients(archive, plan, COORD.reshape(1))
    first, second, *_ = client.files
    client.places = [first, second], SkyCoord([COORD, COORD.directional_offset_by(0*u.deg, 1*u.deg)])
    find = lambda name, offset: client.find_file(Target(name, COORD.ra.deg, COORD.dec.deg + offset/3600))
    (nameless,) = identify_positions(COORD.reshape(1))
    assert find(second, 0) == client.files[second]  # as the name says
    assert find(nameless, 4) == find(f"{nameless} (2)", -4) == client.files[first]
    with pytest.raises(FetchError, match=r"reject: .* of 'J.*: the nearest is 0.01° away"): find(nameless, -30)
    with pytest.raises(FetchError, match="reject: .* of 'mine' in frdeep by name"):
        find("mine", 0)


def test_pinned_images_are_where_their_catalogues_say(mirror, tmp_path):
    archive = open_archive(None, tmp_path, "FIRST")
    coords = SkyCoord(["07h45m42.3s +31d42m51s", "0h00m00s -80d00m00s"])  # the first is 4C 31.30
    table = fetch_cutouts(coords, "FIRST", 4*u.arcmin, archive, tmp_path, min_covered=0.5)
    assert list(table["state"]) == ["ok", "reject"], list(table["reason"])


@pytest.mark.parametrize("route", VLASS_ROUTES)
def test_a_service_that_moved_has_not_seen_an_empty_sky(tmp_path, route):
    with serve_archives(ArtificialSky(SOURCES, TINY)) as services:
        moved = {key: getattr(services, key) + "/moved" for key in ("vlass_images", "vlass_tap")}
        archive = open_archive(replace(services, **moved), tmp_path, "VLASS", Limits(tries=2, wait_s=0.01))
        table = fetch_cutouts(COORD, "VLASS", 2.5*u.arcmin, archive, root=tmp_path, vlass_route=route)
    assert list(table["state"]) == ["reject"]
