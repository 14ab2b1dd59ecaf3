"Faults of what archives answer: pages for images, errors with status 200, odd listings, images that are no cutouts."
import io
import tarfile

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from faulty import say
from made import Tree, list_tiles, make_field, open_services, read_pixels, scrape, write_centred, write_image

from radiogal.archives import _SIAP_FIELDS, _find_tile, _format_votable, _name_image, _show_index
from radiogal.clients import _parse_listing, _parse_tiles, _select_newest, find_tiles
from radiogal.cutouts import check_image, read_cutout
from radiogal.fetch import FetchError, hash_file

fault = pytest.mark.fault
HERE = SkyCoord(162.5303, 30.6771, unit="deg")
NO_DATA = b"<html><body><h1>FIRST cutout</h1><p>No FIRST data is available at this position.</p></body></html>"
HTML = b"<!DOCTYPE html><html><body>The service is down for maintenance.</body></html>"
JPEG = bytes.fromhex("ffd8ffe000104a46494600010100") + bytes(5000)


def end_of(table, rows):
    "The one cutout's state and reason, which are those of the manifest's last word about it."
    (cutout,) = table
    assert (cutout["state"], cutout["reason"]) in [(r.state, r.reason) for r in rows]
    return f"{cutout['state']}: {cutout['reason']}"


@fault(12, "HTML or JPEG with status 200", "reject, not cached")
@pytest.mark.parametrize("kind, body", [("HTML", HTML), ("JPEG", JPEG), ("nothing", b"")],
                         ids=["HTML", "JPEG", "nothing"])
def test_page_for_an_image_is_refused_and_not_kept(case, saw, kind, body):
    case.server.answer("/first", say(body, Content_Type="image/x-fits"), say(write_centred("FIRST", HERE)))
    services = open_services(case.server)
    told = end_of(*scrape(case, HERE, "FIRST", services))
    assert told.startswith("reject: not FITS: begins with b") and not list(case.folder.rglob("*.fits"))
    table, rows = scrape(case, HERE, "FIRST", services)
    assert case.server.hits("/first") == 2 and (table["state"][0], [r.state for r in rows]) == ("ok", ["ok"])
    saw(f"{kind}: reject: not FITS; asked again later: ok")


@fault(13, "\"No FIRST data is available\"", "not_covered")
def test_no_first_data_is_not_covered(case, saw):
    case.server.answer("/first", say(NO_DATA))
    for _ in range(2): told = end_of(*scrape(case, HERE, "FIRST", open_services(case.server)))
    assert told == "not_covered: No FIRST data is available" and case.server.hits("/first") == 1
    saw(f"{told}; not asked again")


@fault(14, "HTML, then binary", "reject")
def test_page_in_front_of_an_image_is_refused(case, saw):
    case.server.answer("/first", say(b"<html>Warning: slow disk</html>\n" + write_centred("FIRST", HERE)))
    told = end_of(*scrape(case, HERE, "FIRST", open_services(case.server)))
    assert (told.startswith("reject: not FITS: begins with b'<html>Warning: slow disk")
            and not list(case.folder.rglob("*.fits")))
    saw("reject: not FITS: begins with <html>Warning: slow disk")


def offer_tgss(server, content):
    "A TGSS archive of one image."
    url = server.answer("/product.fits", say(content))
    return _format_votable("images", _SIAP_FIELDS, [[url, "image/fits", "TGSS", HERE.ra.deg, HERE.dec.deg]])


def answer_siap(case, content):
    "Every question to the image service gets the same answer; the path holds the question."
    case.server.answers = Always(case.server.answers, "/siap?", say(content, Content_Type="text/xml"))
    return open_services(case.server)


class Always(dict):
    "Answers by path, and one answer for every path that begins in one way."
    def __init__(self, answers, begin, answer):
        super().__init__(answers)
        self.begin, self.answer = begin, answer

    def get(self, path, default): return (self.answer,) if path.startswith(self.begin) else super().get(path, default)


@fault(15, "VOTable ERROR with status 200", "retry")
@pytest.mark.parametrize("kind", ["ERROR", "no status", "no VOTable", "cut"])
def test_error_in_a_votable_is_asked_again(case, saw, kind):
    empty = _format_votable("images", _SIAP_FIELDS, [])
    answers = {"ERROR": empty.replace(b'value="OK"/>', b'value="ERROR">database is down</INFO>'),
               "no status": empty.replace(b'<INFO name="QUERY_STATUS" value="OK"/>', b""),
               "no VOTable": HTML, "cut": empty[:-60]}
    table, rows = scrape(case, HERE, "TGSS", answer_siap(case, answers[kind]))
    told = end_of(table, rows)
    assert told.startswith("retry: ") and len(case.server.requests) == 2 and {r.state for r in rows} == {"retry"}
    saw(f"{kind}: retry")


@fault(16, "empty SIAP table", "not_covered")
def test_empty_table_is_not_covered(case, saw):
    services = answer_siap(case, _format_votable("images", _SIAP_FIELDS, []))
    for _ in range(2): table, rows = scrape(case, HERE, "TGSS", services)
    assert table["state"][0] == "not_covered" and len(case.server.requests) == 1
    assert not [r for r in rows if r.state not in ("ok", "not_covered")]
    saw(f"not_covered: {table['reason'][0]}; not asked again")


PAGE = "https://archive/ql/"
BANNER = ["help.shtml"]  # a link above the list
ENTRIES = ["QA_REJECTED/", "T11t35/", "VLASS2.1.ql.T11t35.J105007+304038.10.2048.v1/", "notes.txt"]


@fault(18, "`<pre>` and `<table>` index", "same entries")
def test_index_pages_of_both_styles_say_the_same(saw):
    pages = [_show_index("/ql/", ENTRIES, style).decode() for style in ("text", "table")]
    assert ["<pre>" in page for page in pages] == [True, False]
    assert [_parse_listing(page, PAGE) for page in pages] == [[*BANNER, *ENTRIES]]*2
    saw("the same 4 entries; sort links and parent left out")


HOSTILE = ["../", "../../etc/passwd", "//elsewhere.invalid/x/", "file:///etc/passwd", "%2e%2e/", "%2e%2e%2fetc/",
           "a%00.fits", "a\0.fits", "x;rm -rf/", "T11t35;x/", "/etc/passwd", "http://elsewhere.invalid/ql/x/",
           "?C=N;O=D", "a/b/", "..", ".",
           ".hidden/", "javascript:x", "a\\b", "", "T11t35/?x", "T11t35#x", "a b/", "\u202ex/"]


@fault(19, "`../`, `//host`, `file:`, `%2e`, NUL, `;` links", "ignored by a strict pattern")
def test_hostile_links_are_ignored(saw):
    for style in ("text", "table"):
        page = _show_index("/ql/", [*HOSTILE, *ENTRIES], style).decode()
        assert _parse_listing(page, PAGE) == [*BANNER, *ENTRIES]
    saw(f"{len(HOSTILE)} such links ignored, 4 entries kept")


def list_images(*versions, epoch="VLASS2.1"):
    "Entries of one place."
    return [_name_image(HERE, epoch, version) + "/" for version in versions]


@fault(21, "v1 + v2, v9 + v10", "newest, compared as numbers")
def test_newest_version_is_taken(case, saw):
    assert [i.version for i in _select_newest(list_images(1, 2))] == [2]
    assert [i.version for i in _select_newest(list_images(10, 9))] == [10]
    tree = Tree(case.server)
    parent = tree.add_tile(HERE, "VLASS2.1")
    paths = {v: tree.add_image(parent, HERE, "VLASS2.1", v, write_centred("VLASS", HERE)) for v in (9, 10, 2)}
    (row,), _ = scrape(case, HERE, "VLASS", tree.open_services())
    assert row["state"] == "ok" and [case.server.hits(paths[v]) for v in (2, 9, 10)] == [0, 0, 1]
    assert str(row["version"]) == "10"
    saw("v2 of v1 and v2; v10 of v2, v9 and v10; the others not asked for")


@fault(22, "epoch 1.1, 1.1v2, 4.1", "the documented rule")
@pytest.mark.parametrize("epochs, folders, expected", [
    (["VLASS1.1"], ["VLASS1.1", "VLASS1.1v2"], "VLASS1.1v2"),
    (["VLASS1.1", "VLASS4.1"], ["VLASS1.1", "VLASS1.1v2", "VLASS4.1"], "VLASS4.1")])
def test_epoch_is_chosen_by_the_rule(case, saw, epochs, folders, expected):
    tree, paths = Tree(case.server), {}
    for folder in folders:
        epoch = folder.partition("v")[0]
        parent = tree.add_tile(HERE, epoch if folder in epochs else None, folder)
        paths[folder] = tree.add_image(parent, HERE, epoch, 1, write_centred("VLASS", HERE))
    (row,), _ = scrape(case, HERE, "VLASS", tree.open_services())
    assert row["state"] == "ok" and {folder for folder, path in paths.items() if case.server.hits(path)} == {expected}
    saw(f"{', '.join(folders)}: {expected}")


@fault(22)
def test_epoch_that_is_only_scheduled_is_not_taken(case, saw):
    tree = Tree(case.server)
    path = tree.add_image(tree.add_tile(HERE, "VLASS3.1"), HERE, "VLASS3.1", 1, write_centred("VLASS", HERE))
    tree.add_tile(HERE, "VLASS4.1", status="Scheduled")
    (row,), _ = scrape(case, HERE, "VLASS", tree.open_services())
    assert row["state"] == "ok" and case.server.hits(path) == 1 and row["epoch"] == "VLASS3.1"
    saw("VLASS3.1 imaged, VLASS4.1 scheduled: VLASS3.1")


@fault(23, "another epoch's image in a tile; QA_REJECTED", "labelled; excluded")
def test_image_of_another_epoch_is_labelled_and_rejected_ones_are_left_out(case, saw):
    tree = Tree(case.server)
    parent = tree.add_tile(HERE, "VLASS2.1")
    path = tree.add_image(parent, HERE, "VLASS1.1", 1, write_centred("VLASS", HERE))
    tree.folders["/ql/VLASS2.1/"].append("QA_REJECTED/")
    tree.folders["/ql/VLASS2.1/QA_REJECTED/"] = []
    bad = tree.add_image("/ql/VLASS2.1/QA_REJECTED/", HERE, "VLASS2.1", 3, write_centred("VLASS", HERE))
    (row,), _ = scrape(case, HERE, "VLASS", tree.open_services())
    assert ((row["state"], row["epoch"]) == ("ok", "VLASS1.1")
            and (case.server.hits(path), case.server.hits(bad)) == (1, 0))
    assert read_pixels(case, row)[2]["IMGEPOCH"] == "VLASS1.1" and case.server.hits("/ql/VLASS2.1/QA_REJECTED/") == 0
    saw("labelled VLASS1.1 in table and header; QA_REJECTED not asked for")


@fault(17, "listing 404, listing empty", "two distinct reasons")
def test_missing_and_empty_listings_have_reasons_of_their_own(case, saw):
    tree, ends = Tree(case.server), {}
    parent = tree.add_tile(HERE, "VLASS2.1")
    services = tree.open_services()
    for kind, answer in (("404", say(status="404 Not Found")), ("empty", case.server.answers[parent][0])):
        case.server.answer(parent, answer)
        (row,), _ = scrape(case, HERE, "VLASS", services)
        ends[kind] = f"{row['state']}: {row['reason']}"
        assert row["state"] != "ok"
    assert ends["404"] != ends["empty"] and "404" in ends["404"]
    saw("; ".join(f"{kind}: {end}" for kind, end in ends.items()))


@fault(24, "blank columns in the tile table", "parsed")
def test_blank_columns_are_read_as_blank(saw):
    tiles = _parse_tiles(list_tiles([(HERE, "VLASS2.1", "2020-09-11", "100% imaged"), (HERE, "VLASS3.1", "", ""),
                                     (HERE, "VLASS4.1", "", "Scheduled")]))
    assert [tuple(row) for row in tiles["epoch", "date", "status"]] == [
        ("VLASS2.1", "2020-09-11", "100% imaged"), ("VLASS3.1", "", ""), ("VLASS4.1", "", "Scheduled")]
    assert len(set(tiles["tile"])) == 1 and np.ptp(tiles["ra_min"]) == 0
    saw("3 rows of 3, blank dates and statuses as blank")


@fault(25, "position exactly on a tile edge; in the rounding strip", "found once")
@pytest.mark.parametrize("ra, dec", [(10., 2.), (20., 4.), (10., 4.), (0., 0.), (7.5, -36.), (19.97, 58.),
                                     (40.02, 58.)])
def test_position_on_an_edge_has_one_cutout(case, saw, ra, dec):
    "The last two: true edges are at 20° and 40°, which the table rounds to 19.95° and 40.05°."
    tree, here = Tree(case.server), SkyCoord(ra, dec, unit="deg")
    around = [SkyCoord((ra + da) % 360, dec + dd, unit="deg") for da in (-0.06, 0.06) for dd in (-0.01, 0.01)]
    for coord in {_find_tile(c)[0]: c for c in [here, *around]}.values():
        parent = tree.add_tile(coord, "VLASS2.1")
        if _find_tile(here)[0] in parent:
            path = tree.add_image(parent, here, "VLASS2.1", 1, write_centred("VLASS", here))
    assert (len(tree.rows) in (2, 4)
            and len(set(find_tiles(_parse_tiles(list_tiles(tree.rows)), here))) == len(tree.rows))
    table, _ = scrape(case, here, "VLASS", tree.open_services())
    assert list(table["state"]) == ["ok"] and case.server.hits(path) == 1
    saw("edges and corners, in the rounding strip too: 1 image, asked for once")


@fault(26, "RA 0 h/24 h, Dec −0°30′, near the pole", "right image")
@pytest.mark.parametrize("ra, dec", [(0., 12.), (359.9999, 12.), (0.0001, 12.), (162., -0.5), (162., 0.5), (45., 89.9),
                                     (225., 89.99)])
def test_image_at_odd_places_is_the_right_one(case, saw, ra, dec):
    tree, here = Tree(case.server), SkyCoord(ra, dec, unit="deg")
    wrong = [SkyCoord(ra, -dec, unit="deg") if abs(dec) < 1 else SkyCoord((ra + 180) % 360, dec, unit="deg")]
    paths = []
    for coord in (here, *wrong):
        parent = tree.add_tile(coord, "VLASS2.1")
        paths.append(tree.add_image(parent, coord, "VLASS2.1", 1, write_centred("VLASS", coord, 151)))
    (row,), _ = scrape(case, here, "VLASS", tree.open_services())
    assert row["state"] == "ok" and case.server.hits(paths[0]) == 1
    data, wcs, _ = read_pixels(case, row)
    assert wcs.pixel_to_world(41, 41).separation(here) < 1*u.arcsec and data.shape == (83, 83)
    saw("RA 0 h and 24 h, Dec ±0°30′, 0.1° and 0.01° from the pole: centred on the position")


@fault(27, "Dec < −40°", "not_covered, no request made")
def test_south_of_vlass_nothing_is_asked(case, saw):
    (row,), rows = scrape(case, SkyCoord(10., -40.6, unit="deg"), "VLASS", Tree(case.server).open_services())
    assert row["state"] == "not_covered" and case.server.requests == [] and rows == []
    saw(f"not_covered: {row['reason']}; 0 requests")


def place_two_images(case, second):
    "A field of sky in two overlapping images; the position lies 20 pixels from the first one's western edge."
    data, wcs = make_field("VLASS", HERE, 201)
    tree = Tree(case.server)
    parent = tree.add_tile(HERE, "VLASS2.1")
    for left, right in [(0, 121)] + [(60, 201)]*second:
        part = wcs[:, left:right]
        centre = part.pixel_to_world((right - left - 1)/2, 100)
        tree.add_image(parent, centre, "VLASS2.1", 1, write_image(data[:, left:right], part))
    return data[59:142, 59:142], tree.open_services()


@fault(28, "cutout crosses the image edge", "mosaic, or NaN with the lost fraction, or refuse")
def test_cutout_over_an_edge_is_completed_from_the_next_image(case, saw):
    expected, services = place_two_images(case, second=True)
    (row,), _ = scrape(case, HERE, "VLASS", services)
    assert row["state"] == "ok", row["reason"]
    np.testing.assert_allclose(read_pixels(case, row)[0], expected, atol=1e-8)
    saw("in two images: mosaic, the field's own pixels")


@fault(28)
@pytest.mark.parametrize("least, state", [(0.7, "ok"), (0.8, "reject")])
def test_cutout_over_the_last_edge_says_what_is_lost(case, saw, least, state):
    expected, services = place_two_images(case, second=False)
    (row,), _ = scrape(case, HERE, "VLASS", services, min_covered=least)
    assert row["state"] == state, row["reason"]
    if state == "reject":
        assert "0.747 of the cutout has data" in row["reason"]
        saw(f"in one image: reject: {row['reason']}")
        return
    data, _, header = read_pixels(case, row)
    np.testing.assert_array_equal(data[:, :62], expected[:, :62])
    assert (np.isnan(data[:, 62:]).all() and abs(row["covered_fraction"] - 62/83) < 1e-6
            and abs(header["COVERED"] - 62/83) < 1e-6)
    saw("if so little is allowed: NaN, covered fraction 0.747 in table and header")


@fault(29, "WCS antipode (NaN pixel)", "not_covered")
def test_position_on_the_far_side_is_not_covered(case, saw):
    tree = Tree(case.server)
    far = SkyCoord((HERE.ra.deg + 180) % 360, -HERE.dec.deg, unit="deg")
    tree.add_image(tree.add_tile(HERE, "VLASS2.1"), HERE, "VLASS2.1", 1, write_centred("VLASS", far))
    (row,), _ = scrape(case, HERE, "VLASS", tree.open_services())
    assert row["state"] == "not_covered", row["reason"]
    saw(f"{row['state']}: {row['reason']}")


@fault(30, "all-NaN, all-zero, constant image", "reject")
@pytest.mark.parametrize("value, told", [(np.nan, "no pixel has data"), (0., "all pixels are 0 Jy/beam"),
                                         (0.25, "all pixels are 0.25 Jy/beam")])
def test_image_that_shows_nothing_is_refused(case, saw, value, told):
    data, wcs = make_field("FIRST", HERE, 93)
    case.server.answer("/first", say(write_image(np.full_like(data, value), wcs)))
    (row,), _ = scrape(case, HERE, "FIRST", open_services(case.server))
    assert (row["state"], row["path"]) == ("reject", "") and row["reason"].startswith(f"{told}: give another image")
    saw(f"reject: {told}")


@fault(31, "2-D and 4-D, extra WCS axes", "the same cutout")
def test_images_of_two_and_four_axes_give_the_same_cutout(tmp_path, saw):
    (data, wcs), cutouts = make_field("FIRST", HERE, 93), []
    more = dict(CTYPE3="FREQ", CRVAL3=1.4e9, CTYPE4="STOKES", CRVAL4=1.)
    for kind, content in {"2-D": write_image(data, wcs), "4-D": write_image(data, wcs, axes=4),
                          "2-D with four axes in its WCS": write_image(data, wcs, **more)}.items():
        (tmp_path/"a.fits").write_bytes(content)
        hdu = read_cutout(tmp_path/"a.fits", "FIRST")
        hdu.writeto(tmp_path/kind)
        cutouts.append(hash_file(tmp_path/kind))
    assert len(set(cutouts)) == 1
    saw("2-D, 4-D, 2-D with four axes in its WCS: the same file")


@fault(32, "no WCS, wrong unit, wrong scale", "reject")
@pytest.mark.parametrize("cards, told", [
    (dict(CTYPE1=None, CTYPE2=None), "no celestial coordinates"), (dict(BUNIT="K"), "unit is K, not Jy/beam"),
    (dict(BUNIT=None), "unit is not given, not Jy/beam"),
    (dict(CDELT1=-1/3600, CDELT2=1/3600), "pixels of 1″ × 1″, FIRST has 1.8″")])
def test_image_that_is_none_of_the_survey_is_refused(tmp_path, saw, cards, told):
    (tmp_path/"a.fits").write_bytes(write_centred("FIRST", HERE, **cards))
    with pytest.raises(FetchError, match=f"reject: {told}") as error: check_image(tmp_path/"a.fits", "FIRST")
    saw(str(error.value))


@fault(43)
def test_tar_is_refused_and_never_unpacked(case, saw):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("../../escaped.fits", "/tmp/escaped.fits", "inside.fits"):  # noqa: S108
            member = tarfile.TarInfo(name)
            member.size = len(content := write_centred("TGSS", HERE))
            tar.addfile(member, io.BytesIO(content))
    services = answer_siap(case, offer_tgss(case.server, buffer.getvalue()))
    table, rows = scrape(case, HERE, "TGSS", services)
    assert table["state"][0] == "reject" and table["reason"][0].startswith("not FITS: begins with b'../../escaped.fits")
    assert case.server.hits("/product.fits") == 1 and not list(case.folder.parent.rglob("*escaped*"))
    assert not list(case.folder.rglob("*.fits"))
    saw("tar: reject: not FITS; nothing unpacked")
