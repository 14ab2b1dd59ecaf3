"What the clients make of odd answers: the cases behind the lessons of `13_clients`."
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from pyvo.dal.adhoc import DatalinkResults

from radiogal.clients import (
    _TILE_ROUNDING,
    _VLASS_SUFFIX,
    ArchiveAccess,
    TgssSiap,
    VlassImages,
    _check_first_answer,
    _check_form,
    _check_made,
    _check_siap,
    _check_skyview,
    _choose_epoch,
    _choose_images,
    _count_results,
    _count_sharing,
    _find_cutter,
    _list_folders,
    _parse_image_name,
    _parse_listing,
    _parse_tiles,
    _parse_uri,
    _select_newest,
    _write_first_form,
    choose_routes,
    find_tiles,
    rank_images,
)
from radiogal.cutouts import CutoutPlan, RawImage, Target
from radiogal.fetch import FetchError
from radiogal.positions import parse_votable
from radiogal.sky import encode_fits, make_header
from radiogal.surveys import LIVE_SERVICES

CENTRE = SkyCoord(180, 30, unit="deg")
PAGE = "http://archive/vlass/VLASS1.1/"
HEADING = """\
Tile     Dec min  Dec max   RA min   RA max    Observing     Observation         Quick Look
Name      (deg)    (deg)     (h)      (h)      Epoch         Date (UT)           Status
-------------------------------------------------------------------------------------------------
"""
TILES = HEADING + """\
T18t24    28.00    32.00    11.50    12.00     VLASS1.1      2017-10-02               100% imaged
T18t24    28.00    32.00    11.50    12.00     VLASS4.1                                 Scheduled
T18t24    28.00    32.00    11.50    12.00     VLASS3.1      2023-01-30               100% imaged
T18t25    28.00    32.00    12.00    12.50     VLASS2.2      2021-11-11               100% imaged
T18t25    28.00    32.00    12.00    12.50     VLASS3.2      2024-06-16                97% imaged
T18t25    28.00    32.00    12.00    12.50     VLASS4.2
T18t48    28.00    32.00    23.50    24.00     VLASS2.2      2021-11-11               100% imaged
T18t01    28.00    32.00     0.00     0.50     VLASS2.1      2020-11-11               100% imaged
T32t01    85.00    90.00     0.00    12.00     VLASS2.1      2020-09-12               100% imaged
T32t02    85.00    90.00    12.00    24.00     VLASS2.1      2020-08-29               100% imaged
T33t01    20.00    24.00     0.00     0.50     VLASS4.1                                 Scheduled
"""
IMAGE = "VLASS1.1.ql.T18t24.J114500+303000.10.2048.v{}/"


def make_image(survey="FIRST", coord=CENTRE, side=60):
    data = np.random.default_rng(1).normal(0, 1e-4, (side, side)).astype("f4")
    return fits.PrimaryHDU(data, make_header(survey, coord, side))


def make_siap(rows="", status='<INFO name="QUERY_STATUS" value="OK"/>', ucd="VOX:Image_AccessReference"):
    return f"""<?xml version="1.0"?><VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
    <RESOURCE type="results">{status}<TABLE>
    <FIELD ID="mime" name="mime" datatype="char" arraysize="*" ucd="VOX:Image_Format"/>
    <FIELD ID="accref" name="accref" datatype="char" arraysize="*" ucd="{ucd}"/>
    <DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>""".encode()


def make_row(url, kind="image/fits"): return f"<TR><TD>{kind}</TD><TD>{url}</TD></TR>"


def make_listing(names, row="{}"):
    links = "".join(row.format(f'<a href="{name}">{name}</a>') for name in names)
    return f'<title>Index of /vlass</title><a href="?C=N;O=D">Name</a><a href="/vlass/">Parent Directory</a>{links}'


@pytest.fixture
def save(tmp_path):
    def write(content, name="answer"):
        (tmp_path/name).write_bytes(content if isinstance(content, bytes) else encode_fits(content))
        return tmp_path/name
    return write


# FIRST and SkyView

def test_the_form_rounds_across_24_hours_and_keeps_the_sign():
    places = [SkyCoord("10h50m07.27s -0d30m37.5s"), SkyCoord(359.9999999, 10, unit="deg"),
              SkyCoord(359.9999999, 0, unit="deg")]
    assert [_write_first_form(place, 83)["RA"] for place in places] == [
        "10 50 07.270 -00 30 37.500", "00 00 00.000 +10 00 00.000", "00 00 00.000 +00 00 00.000"]


def test_an_image_after_a_page_is_no_image(save):
    _check_first_answer(save(make_image()))
    with pytest.raises(FetchError, match="reject: not FITS"):
        _check_first_answer(save(b"\n<html>" + encode_fits(make_image())))


def test_an_image_without_data_is_not_covered(save):
    blank = make_image("NVSS")
    _check_skyview(save(blank))
    blank.data[:] = np.nan
    with pytest.raises(FetchError, match="not_covered: SkyView: NVSS has no data"): _check_skyview(save(blank))
    with pytest.raises(FetchError, match="reject: not FITS"): _check_skyview(save(b"<html>"))


def test_pages_that_skyview_once_sent_are_what_is_expected():
    form, made = (Path(str(files("astroquery.skyview")/f"tests/data/{page}.html"))
                  for page in ("query_page", "results"))
    _check_form(form)
    _check_made(made)
    with pytest.raises(FetchError, match="retry: SkyView: not its form"): _check_form(made)
    with pytest.raises(FetchError, match="retry: SkyView: made no image"): _check_made(form)


# TGSS

class OneAnswer:
    "A fetcher that has one answer for everything."
    def __init__(self, path): self.path = path

    def get_file(self, wanted):
        wanted.check(self.path)
        return self.path


@pytest.mark.parametrize(("answer", "told"), [
    (make_siap(), "not_covered: SIAP: no image"), (make_siap(status=""), "retry: SIAP: QUERY_STATUS is missing"),
    (make_siap(make_row("http://vo/a.fits"), ucd="meta.id"), "reject: SIAP: images without"),
    (b"", "retry: SIAP: no VOTable")])
def test_errors_come_out_of_pyvo_as_they_went_in(save, tmp_path, answer, told):
    client = TgssSiap(ArchiveAccess(OneAnswer(save(answer)), tmp_path, LIVE_SERVICES), CutoutPlan("TGSS", 24, tmp_path))
    with pytest.raises(FetchError, match=told): client.list_products(CENTRE)


def test_only_fits_images_of_an_answer_count(save, tmp_path):
    offer = make_siap(make_row("http://vo/a.fits") + make_row("http://vo/a.jpg", "image/jpeg"))
    client = TgssSiap(ArchiveAccess(OneAnswer(save(offer)), tmp_path, LIVE_SERVICES), CutoutPlan("TGSS", 24, tmp_path))
    assert client.list_products(CENTRE) == ["http://vo/a.fits"]
    assert [_count_results(content, "SIAP") for content in (offer, offer.replace(b'"OK"', b'"OVERFLOW"'))] == [2, 2]
    with pytest.raises(FetchError, match="retry: SIAP: QUERY_STATUS is OVERFLOW"):
        _check_siap(save(make_siap().replace(b'"OK"', b'"OVERFLOW"')))


def test_the_image_with_the_largest_margin_comes_first_unless_another_may_be_better(save):
    near = RawImage(save(make_image(), "near.fits"), "near", "")
    far = RawImage(save(make_image(coord=SkyCoord(180.01, 30, unit="deg")), "far.fits"), "far", "")
    failed = {state: FetchError(state, "of another image") for state in ("retry", "reject", "not_covered")}

    def choose(images, side, coord=CENTRE, errors=()):
        return [raw.url for raw in _choose_images(images, lambda raw: raw, "FIRST", coord, side, errors)]

    assert (choose([far, near], 50), choose([far, near], 100)) == (["near"], ["near", "far"])
    assert choose([near], 50, errors=failed.values()) == ["near"]
    assert choose([near], 100, errors=[failed["reject"], failed["not_covered"]]) == ["near"]
    with pytest.raises(FetchError, match="not_covered: no FIRST image holds"):
        choose([far, near], 50, SkyCoord(0, -30, unit="deg"))
    with pytest.raises(FetchError, match="retry: of another"): choose([near], 100, errors=failed.values())
    with pytest.raises(FetchError, match="reject: of another"):
        choose([], 50, errors=[failed["not_covered"], failed["reject"]])


# VLASS

@pytest.mark.parametrize(("text", "told"), [
    (TILES.replace("Dec min", "DEC min"), "expected \\['Tile', 'Dec min'"), (HEADING, "no rows"),
    (TILES.replace("11.50", "eleven"), "could not convert"), ("<html>", "headings")])
def test_a_table_of_tiles_that_is_none_is_refused(text, told):
    with pytest.raises(FetchError, match=told): _parse_tiles(text)


def test_blank_fields_do_not_shift_columns():
    row = _parse_tiles(TILES)[1]["tile", "ra_max", "date", "status"]
    assert row.as_void().item() == ("T18t24", 180., "", "Scheduled")


@pytest.mark.parametrize(("place", "expected"), [
    ("12h00m +30d", ["T18t24", "T18t25"]), ("11h59m50s +30d", ["T18t24", "T18t25"]), ("11h45m +32d02m", ["T18t24"]),
    ("0h0m0s +30d", ["T18t48", "T18t01"]), ("23h59m59s +30d", ["T18t48", "T18t01"]), ("12h15m +50d", []),
    ("3h +89d59m", ["T32t01", "T32t02"]), ("6h +89d28m", ["T32t01", "T32t02"])])
def test_tiles_are_found_at_edges_across_24_hours_and_the_pole(place, expected):
    assert find_tiles(_parse_tiles(TILES), SkyCoord(place)) == expected


def test_a_position_near_an_edge_is_surely_in_no_tile():
    tiles = _parse_tiles(TILES)
    assert find_tiles(tiles, SkyCoord("12h02m +30d"), -_TILE_ROUNDING) == ["T18t25"]
    assert find_tiles(tiles, SkyCoord("12h00m10s +30d"), -_TILE_ROUNDING) == []


def test_epochs_and_their_folders():
    tiles = _parse_tiles(TILES)
    assert _choose_epoch(tiles, "T18t24", "VLASS1.1") == "VLASS1.1"
    with pytest.raises(FetchError, match="not_covered: VLASS: no epoch of tile T33t01"): _choose_epoch(tiles, "T33t01")
    with pytest.raises(FetchError, match="reject: VLASS: VLASS4.1 is announced"):
        _list_folders("VLASS4.1", ["VLASS1.1/"])


def test_index_pages_of_either_style_and_with_full_addresses():
    hostile = ["../", "//evil.org/x/", "a;b/", "a b", "http://evil.org/a/", "a\0b", "%2e%2e/"]
    plain = _parse_listing(make_listing(["T01t01/", *hostile]), PAGE)
    assert plain == _parse_listing(make_listing(["T01t01/"], "<tr><td>{}</td></tr>"), PAGE) == ["T01t01/"]
    assert _parse_listing(make_listing([f"{PAGE}T01t01/"]), PAGE) == ["T01t01/"]
    assert _parse_listing(make_listing([]), PAGE) == []
    with pytest.raises(FetchError, match="not an index page: '<html>Busy"): _parse_listing("<html>Busy</html>", PAGE)


def test_names_of_images_and_which_of_them_count():
    name = "VLASS1.1.ql.T10t01.J{}.10.2048.v{}/"
    assert _parse_image_name(name.format("000200-003000", 1))[3:5] == (0.5, -0.5)
    assert _parse_image_name(name.format("240000+003000", 1)).ra == 0.
    entries = [name.format("000200-003000", v) for v in (9, 10, 2)] + [name.format("000200+003000", 1)]
    entries += [entries[0].replace("S1.1", "S1.2"), entries[0].replace("S1.1", "S3.1")]
    select = lambda *given, **more: [i[1:2] + i[4:6] for i in _select_newest(entries, *given, **more)]
    assert select(newest="VLASS1.1") == [("VLASS1.2", -0.5, 9), ("VLASS1.1", 0.5, 1)]
    assert select("1.1") == [("VLASS1.1", -0.5, 10), ("VLASS1.1", 0.5, 1)]
    assert select() == [("VLASS3.1", -0.5, 9), ("VLASS1.1", 0.5, 1)]


def test_no_images_have_no_rank():
    assert rank_images([], CENTRE, 150) == []


class Tree:
    "A fetcher for a tree of pages; remembers what was asked."
    def __init__(self, save, pages): self.save, self.pages, self.asked = save, pages, []

    def get_file(self, wanted):
        self.asked.append(short := wanted.url.rsplit("quicklook/")[-1])
        if short.endswith("VLASS_dyn_summary.php"): return self.save(TILES.encode())
        if short not in self.pages: raise FetchError("reject", "HTTP 404 Not Found from archive")
        return self.save(make_listing(self.pages[short]).encode())


PAGES = {"": ["VLASS1.1/", "VLASS1.1v2/", "VLASS3.1/"], "VLASS1.1/T18t24/": [IMAGE.format(1)],
         "VLASS1.1v2/T18t24/": [IMAGE.format(1), IMAGE.format(2)], "VLASS3.1/T18t24/": []}
STRAY = PAGES | {"VLASS3.1/T18t24/": [IMAGE.format(1)]}


@pytest.fixture
def open_tree(save, tmp_path):
    return lambda pages, epoch="": VlassImages(ArchiveAccess(Tree(save, pages), tmp_path, LIVE_SERVICES),
                                               CutoutPlan("VLASS", 150, tmp_path, epoch=epoch))


@pytest.mark.parametrize(("pages", "epoch", "expected"), [
    (PAGES, "1", ("VLASS1.1v2", "VLASS1.1", 2)), (PAGES | {"VLASS1.1v2/T18t24/": []}, "1", ("VLASS1.1", "VLASS1.1", 1)),
    (STRAY, "", ("VLASS3.1", "VLASS1.1", 1))])
def test_corrected_folders_come_first_and_images_keep_their_own_epoch(open_tree, pages, epoch, expected):
    (image,) = open_tree(pages, epoch).list_tile("T18t24")
    assert (image.source.split("/")[-3], image.epoch, image.version) == expected


@pytest.mark.parametrize(("pages", "epoch", "told"), [
    (PAGES, "", "does not list an image"), (STRAY, "3", "does not list an image of that epoch"),
    ({"": ["VLASS3.1/"]}, "", "has no index page: HTTP 404")])
def test_three_faults_of_a_tree_have_three_reasons(open_tree, pages, epoch, told):
    with pytest.raises(FetchError, match=told): open_tree(pages, epoch).list_tile("T18t24")


def test_a_page_is_asked_for_once_and_the_south_never(open_tree):
    client = open_tree(PAGES, "1")
    for _ in range(3): client.once(client.list_tile, "T18t24")
    with pytest.raises(FetchError, match="not_covered: VLASS: Dec -40.50°"):
        client.find_images(Target("south", 15., -40.5))
    assert client.archive.fetcher.asked[1:] == ["", "VLASS1.1v2/T18t24/"]


# CADC

def test_foreign_names_at_cadc_are_ignored():
    file = f"{IMAGE.format(1)[:-1]}{_VLASS_SUFFIX}"
    foreign = [f"nrao:VLASS/../{file}", f"nrao:VLASS/{file}?x=1", f"nrao:VLASS/{file.replace('.pbcor', '')}",
               f"nrao:VLASS/{file.replace('tt0', 'tt0.rms')}", ""]
    assert _parse_uri(f"nrao:VLASS/{file}", "ivo://a").source == "ivo://a"
    assert [_parse_uri(uri, "ivo://a") for uri in foreign] == [None]*len(foreign)


def test_an_answer_of_datalink_that_pyvo_keeps():
    content = (files("pyvo")/"dal/tests/data/datalink/cutout1.xml").read_bytes()
    assert _count_results(content, "CADC DataLink") == 6
    links = DatalinkResults(parse_votable(content))
    assert "cal054151b.fits.fz" in _find_cutter(links, "cal054151b.fits.fz")
    with pytest.raises(FetchError, match="reject: CADC: DataLink names no service that cuts image.fits"):
        _find_cutter(links, "image.fits")


def test_routes_follow_the_setting_or_the_crowd():
    crowd = Table(dict(ra=[*(180 + np.arange(12)/60), 0, 359.9], dec=[30]*12 + [-30]*2))
    coords, plan = SkyCoord(crowd["ra"], crowd["dec"], unit="deg"), CutoutPlan("VLASS", 150, Path())
    assert _count_sharing(coords).tolist() == [12]*12 + [2]*2
    assert choose_routes(coords, plan) == ["images"]*12 + ["cutouts"]*2
    assert set(choose_routes(coords, replace(plan, vlass_route="cutouts"))) == {"cutouts"}
    assert set(choose_routes(coords, replace(plan, whole_image_from=2))) == {"images"}


def test_a_form_asks_for_a_margin():
    assert float(_write_first_form(CENTRE, 83)["ImageSize"])*u.arcmin > 83*1.8*u.arcsec
