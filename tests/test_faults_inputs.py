"Faults of what people bring: FITS files, folders of images, tables of positions; odd, broken or of another frame."
import gzip
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import FK4, FK5, SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from astropy.wcs import WCS
from faulty import say
from made import open_services, scrape, write_centred, write_image

from radiogal.archives import serve_archives
from radiogal.catalogues import CATALOGUES, _parse_frdeep, _parse_labels
from radiogal.clients import ArchiveAccess
from radiogal.config import ConfigError, read_config
from radiogal.curation import plot_gallery as plot_page
from radiogal.cutouts import plot_survey_views, read_cutout
from radiogal.datasets import describe_steps
from radiogal.diagnosis import plot_images
from radiogal.engines import check_preparation
from radiogal.fetch import Fetcher, Limits, Manifest
from radiogal.inputs import read_positions
from radiogal.positions import BadPositions, CatalogueError, read_frame
from radiogal.preparation import Unusable, measure_flux, read_image
from radiogal.scraping import FitsFolder, fetch_cutouts, open_images
from radiogal.sky import make_wcs

fault = pytest.mark.fault
PLACE = SkyCoord(162.53, 30.677, unit="deg")
OTHER = SkyCoord(170.25, 12.5, unit="deg")
SMOKE = read_config(Path(__file__).parent.parent/"config"/"smoke.toml")
TAKEN = "read, or refused in words"


def put_card(content, key, text):
    "A FITS file in which the card of a key is another text, as it stands."
    at = content.index(f"{key:<8}=".encode())
    return content[:at] + text.encode("latin-1").ljust(80) + content[at + 80:]


def read_bytes(folder, content, survey="FIRST"):
    "A file's image, or why there is none."
    (folder/"a.fits").write_bytes(content)
    try: return read_image(folder/"a.fits", survey)
    except Unusable as e: return str(e)


def make_source(side=83, scale=1.):
    "Noise and a point source of 20 mJy: pixels in Jy/beam, times a scale, and the celestial header."
    y, x = np.mgrid[:side, :side] - side//2
    data = np.random.default_rng(1).normal(0, 1.5e-4, (side, side)) + 0.02*np.exp(-(x**2 + y**2)*4*np.log(2)/9)
    return (data*scale).astype("f4"), make_wcs("FIRST", PLACE, side)


# ---------------------------------------------------------------- one file

READERS_FALL = {
    "BITPIX": "BITPIX  =                  -33", "NAXIS1": "NAXIS1  =                    T",
    "CRVAL2": "CRVAL2  =                 95.0",
    "CRPIX1": "CRPIX1  =                  nan", "CRVAL1": "CRVAL1  = 'x       '",
    "CDELT1": "CDELT1  =                1E400", "BUNIT": "BUNIT   = 'Jy/beam/fortnight'",
    "CTYPE1": "CTYPE1  = 'RA---XYZ'"}


@fault(46, "FITS that passes the checks and breaks a reader", "that file's reject, the others go on")
@pytest.mark.parametrize("key", READERS_FALL)
def test_a_broken_file_is_refused_alone(case, saw, key):
    bad = put_card(write_centred("FIRST", PLACE), key, READERS_FALL[key])
    if key == "CTYPE1": bad = put_card(bad, "CTYPE2", "CTYPE2  = 'DEC--XYZ'")
    assert isinstance(reason := read_bytes(case.folder, bad), str), key
    good = write_centred("FIRST", OTHER)
    answer = lambda conn, request, over: conn.sendall(say(bad if b"RA=10+50" in request.body else good))
    case.server.answer("/first", answer)
    table, _ = scrape(case, SkyCoord([PLACE, OTHER]), "FIRST", open_services(case.server))
    assert list(table["state"]) == ["reject", "ok"], list(table["reason"])
    saw(f"{key}: {reason.split(':')[0]}; the other ok")


@fault(46)
def test_scaled_by_what_is_no_number(case, saw):
    bad = put_card(write_centred("FIRST", PLACE, OBJECT="x"), "OBJECT", "BSCALE  = 'one     '")
    assert isinstance(read_bytes(case.folder, bad), str)
    with pytest.raises(Exception, match="reject|cannot be read") as caught: read_cutout(case.folder/"a.fits", "FIRST")
    assert caught.type.__name__ == "FetchError"
    saw("BSCALE: reject")


@fault(47, "N_IMAGES = 999999999, or T, in a header", "as many as there are")
@pytest.mark.parametrize("number", [999_999_999, -5, True, "many"])
def test_number_of_images_is_not_believed(tmp_path, saw, number):
    read = read_bytes(tmp_path, write_centred("FIRST", PLACE, N_IMAGES=number, ORIGURL="https://a/1",
                                              ORIGURL2="https://a/2"))
    assert (read.header["N_IMAGES"], read.header["ORIGURL2"]) == (2, "https://a/2")
    saw("2 images named: 2")


@fault(48, "integers with BSCALE, BZERO, BLANK; scaled float; unsigned; 64 bits", "read, scaled, BLANK is no data")
@pytest.mark.parametrize("kind", ["i2", "i4", "f4", "f8"])
def test_scaled_pixels(case, saw, kind):
    data, wcs = make_source()
    content = SCALED[kind](data, wcs.to_header() + fits.Header(dict(BUNIT="JY/BEAM")))
    read = read_bytes(case.folder, content)
    np.testing.assert_allclose(read.data[1:], data[1:], atol=1e-6)
    if kind.startswith("i"): assert np.isnan(read.data[0, :3]).all() and np.isfinite(read.data[0, 3:]).all()
    case.server.answer("/first", say(content))
    table, _ = scrape(case, PLACE.reshape(1), "FIRST", open_services(case.server))
    assert list(table["state"]) == ["ok"]
    saw(f"{kind}: read")


@fault(48)
def test_unsigned_counts_are_read_as_they_are(tmp_path, saw):
    counts = np.random.default_rng(1).integers(0, 60000, (83, 83)).astype("u2")
    header = make_source()[1].to_header() + fits.Header(dict(BUNIT="Jy/beam"))
    read = read_bytes(tmp_path, write_hdu(fits.PrimaryHDU(counts, header)))
    np.testing.assert_array_equal(read.data, counts)
    saw("unsigned: read")


def write_hdu(hdu):
    buffer = io.BytesIO()
    hdu.writeto(buffer, output_verify="ignore")
    return buffer.getvalue()


def scale_integers(kind):
    "A writer of integers in steps of a microjansky per beam; the first three pixels have no data."
    def write(data, header):
        raw = np.round(data/1e-6).astype(kind)
        raw[0, :3] = -32768
        hdu = fits.PrimaryHDU(raw, header)
        hdu.header.update(dict(BSCALE=1e-6, BZERO=0.0, BLANK=-32768))
        return write_hdu(hdu)
    return write


def scale_floats(data, header):
    "Floats in mJy that BSCALE brings to Jy, which astropy does not write."
    cards = [("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", data.shape[1]), ("NAXIS2", data.shape[0]),
             ("BSCALE", 0.001), ("BZERO", 0.0), *((c.keyword, c.value) for c in header.cards if c.keyword != "WCSAXES")]
    raw = (data*1000).astype(">f4").tobytes()
    return fits.Header(cards).tostring().encode() + raw + bytes(-len(raw) % 2880)


SCALED = dict(i2=scale_integers(">i2"), i4=scale_integers(">i4"), f4=scale_floats,
              f8=lambda data, header: write_hdu(fits.PrimaryHDU(data.astype("f8"), header)))
UNPARSABLE = {"BPA": "BPA     =                  NaN", "BMAJ": "BMAJ    =                  nan",
              "OBJECT": "OBJECT  = 3C 218", "DATAMAX": "DATAMAX =                  inf",
              "OBSERVER": "OBSERVER= 'caf\xe9'"}


@fault(49, "a card that cannot be parsed", "counts as missing")
@pytest.mark.parametrize("key", UNPARSABLE)
def test_card_that_cannot_be_parsed_is_missing(tmp_path, saw, key):
    content = write_centred("FIRST", PLACE, OBJECT="x", DATAMAX=1., OBSERVER="x")
    read = read_bytes(tmp_path, put_card(content, key, UNPARSABLE[key]))
    assert read.header["BEAMFROM"] == ("assumed" if key in ("BPA", "BMAJ") else "header")
    np.testing.assert_allclose(read.header["BMAJ"], 5.4/3600)
    saw(f"{key}: missing")


@fault(49)
def test_unit_without_quotes_is_refused(tmp_path, saw):
    reason = read_bytes(tmp_path, put_card(write_centred("FIRST", PLACE), "BUNIT", "BUNIT   = Jy/beam"))
    assert "not Jy/beam" in reason
    saw(f"BUNIT = Jy/beam: {reason}")


# ---------------------------------------------------------------- frames of images

def write_frame(coord, **cards):
    "An image of the source at a coordinate of some frame, with cards that name the frame or do not."
    data, wcs = make_source(201)
    header = wcs.to_header()
    for key in ("RADESYS", "LONPOLE", "LATPOLE"): header.remove(key, ignore_missing=True)
    lon, lat = coord.spherical.lon.deg, coord.spherical.lat.deg
    header.update(dict(CRVAL1=lon, CRVAL2=lat, BUNIT="JY/BEAM") | cards)
    return fits.PrimaryHDU(data, header)


def turn_axes(hdu):
    "The same image with declination on its first axis."
    header = hdu.header.copy()
    for a, b in (("CTYPE1", "CTYPE2"), ("CRVAL1", "CRVAL2"), ("CDELT1", "CDELT2")):
        header[a], header[b] = hdu.header[b], hdu.header[a]
    return fits.PrimaryHDU(hdu.data.T, header)


def move(frame): return PLACE.transform_to(frame)


GALACTIC = dict(CTYPE1="GLON-SIN", CTYPE2="GLAT-SIN")
FRAMES = {
    "ICRS": write_frame(PLACE), "FK5": write_frame(move(FK5()), RADESYS="FK5"),
    "EQUINOX = 1950": write_frame(move(FK4()), EQUINOX=1950.), "EPOCH": write_frame(move(FK4()), EPOCH=1950.),
    "RADECSYS": write_frame(move(FK4()), RADECSYS="FK4"),
    "EQUINOX = 'B1950'": write_frame(move(FK4()), EQUINOX="B1950"),
    "FK4 of 1900": write_frame(move(FK4(equinox="B1900")), RADESYS="FK4", EQUINOX=1900.),
    "FK5 of 1975": write_frame(move(FK5(equinox="J1975")), RADESYS="FK5", EQUINOX=1975.),
    "Galactic": write_frame(PLACE.galactic, **GALACTIC),
    "Galactic, RADESYS left over": write_frame(PLACE.galactic, RADESYS="FK5", **GALACTIC),
    "declination first": turn_axes(write_frame(PLACE)),
    "Galactic latitude first": turn_axes(write_frame(PLACE.galactic, **GALACTIC))}


def ask_folder(folder, coords, survey="FIRST", size=2.4*u.arcmin):
    "Cutouts from a folder of images."
    with serve_archives(FitsFolder(folder)) as services:
        fetcher = Fetcher(Manifest(folder/"manifest.sqlite"), services.allowed_hosts, Limits(tries=1), 0.)
        return fetch_cutouts(coords.reshape(-1), survey, size, ArchiveAccess(fetcher, folder/"raw", services),
                             folder/"cutouts")


@fault(50, "images of 1950, of 1900, Galactic, with declination first",
       "found where they are, or refused with their words")
@pytest.mark.parametrize("name", FRAMES)
def test_image_of_any_frame_is_found(tmp_path, saw, name):
    (tmp_path/"FIRST").mkdir()
    FRAMES[name].writeto(tmp_path/"FIRST"/"a.fits")
    wrong = SkyCoord(PLACE.ra + 0.64*u.deg, PLACE.dec, frame="icrs")
    table = ask_folder(tmp_path, SkyCoord([PLACE, wrong]))
    assert list(table["state"]) == ["ok", "not_covered"], list(table["reason"])
    read = read_cutout(table["path"][0], "FIRST")
    peak = np.unravel_index(np.nanargmax(read.data), read.data.shape)
    found = make_place(read, peak)
    assert found.separation(PLACE) < 1.5*u.arcsec, found
    saw("found")


def make_place(hdu, peak):
    "Where a pixel of a normalised image is, ICRS."
    return WCS(hdu.header).pixel_to_world(peak[1], peak[0]).icrs


@fault(50)
@pytest.mark.parametrize("survey, side", [("NVSS", 81), ("TGSS", 81), ("VLASS", 401)])
def test_image_of_1950_is_found_in_every_survey(tmp_path, saw, survey, side):
    old = move(FK4())
    wcs = make_wcs(survey, PLACE, side)
    y, x = np.mgrid[:side, :side] - side//2
    data = (np.random.default_rng(1).normal(0, 1e-4, (side, side)) + np.exp(-(x**2 + y**2)/2)).astype("f4")
    header = wcs.to_header()
    for key in ("RADESYS", "LONPOLE", "LATPOLE"): header.remove(key, ignore_missing=True)
    header.update(dict(CRVAL1=old.ra.deg, CRVAL2=old.dec.deg, EPOCH=1950., BUNIT="Jy/beam"))
    (tmp_path/survey).mkdir()
    fits.PrimaryHDU(data, header).writeto(tmp_path/survey/"a.fits")
    size = dict(NVSS=8, TGSS=4, VLASS=1)[survey]*u.arcmin
    table = ask_folder(tmp_path, PLACE, survey, size)
    assert list(table["state"]) == ["ok"], list(table["reason"])
    read = read_cutout(table["path"][0], survey)
    found = make_place(read, np.unravel_index(np.nanargmax(read.data), read.data.shape))
    assert found.separation(PLACE) < dict(NVSS=11, TGSS=5, VLASS=1.)[survey]*u.arcsec
    saw("found")


REFUSED = {"XYZ": dict(RADESYS="XYZ"), "spring": dict(EQUINOX="spring"),
           "ICRS 1950.0": dict(RADESYS="ICRS", EQUINOX=1950.), "FK5 B1950": dict(RADESYS="FK5", EQUINOX="B1950"),
           "ELON-SIN": dict(CTYPE1="ELON-SIN", CTYPE2="ELAT-SIN"),
           "SLON-SIN": dict(CTYPE1="SLON-SIN", CTYPE2="SLAT-SIN"), "GAPPT": dict(RADECSYS="GAPPT")}


@fault(50)
@pytest.mark.parametrize("words", REFUSED)
def test_frame_that_is_not_understood_is_shown(tmp_path, saw, words):
    (tmp_path/"FIRST").mkdir()
    write_frame(PLACE, **REFUSED[words]).writeto(tmp_path/"FIRST"/"odd.fits")
    assert words in read_bytes(tmp_path, (tmp_path/"FIRST"/"odd.fits").read_bytes())
    table = ask_folder(tmp_path, PLACE)
    assert table["state"][0] == "reject" and words in table["reason"][0] and "odd.fits" in table["reason"][0]
    with pytest.raises(ConfigError, match="no image that can be used"), pytest.warns(UserWarning, match=r"odd\.fits"):
        with open_images(SMOKE, str(tmp_path), ""): pass
    saw(f"{words}: refused, shown")


def test_frame_by_words():
    for words in ("FK4", "eq_FK4", "fk4 B1950", "B1950", "FK4 (1950.0)"):
        assert read_frame(words).is_equivalent_frame(FK4())
    assert read_frame("", 1983.9).name == "fk4" and read_frame("", "J1975").name == "fk5"
    assert read_frame("FK5 J2000", 2000).is_equivalent_frame(FK5())
    for odd in ("FK6", "galactic", "B", "J", "ICRS B1950", "1066"):
        with pytest.raises(CatalogueError, match=odd): read_frame(odd)


# ---------------------------------------------------------------- units, beams, zeros

UNITS = {"Jy/beam": 1, "JY/BEAM": 1, "beam-1 Jy": 1, "Jy beam-1": 1, "Jy / beam ": 1, "Jy.beam**-1": 1, "mJy/beam": 1e3,
         "mJY/BEAM": 1e3, "uJy/beam": 1e6, "beam^-1 mJy": 1e3}


@fault(51, "spellings of Jy/beam, and mJy/beam", "read and scaled, other units refused")
@pytest.mark.parametrize("unit", UNITS)
def test_unit_in_any_spelling(tmp_path, saw, unit):
    data, wcs = make_source(scale=UNITS[unit])
    read = read_bytes(tmp_path, write_image(data, wcs, BUNIT=unit))
    np.testing.assert_allclose(np.nanmax(read.data), 0.02, rtol=0.05)
    assert read.header["BUNIT"] == "Jy/beam"
    saw("read")


@fault(51)
@pytest.mark.parametrize("unit", ["K", "Jy", "Jy/pixel", "MJY/BEAM", "beam/Jy", "counts", "0 Jy/beam/beam"])
def test_other_units_are_refused(tmp_path, saw, unit):
    assert f"unit is {unit}, not Jy/beam" in read_bytes(tmp_path, write_centred("FIRST", PLACE, BUNIT=unit))
    saw("others refused")


def read_with_beam(folder, history=(), **cards):
    "An image with a beam in cards, history or neither: flux density (Jy), major axis (arcsec), where from; or why not."
    content = fits.HDUList.fromstring(write_image(*make_source(), BMAJ=None, BMIN=None, BPA=None))
    content[0].header.update(cards)
    for line in history: content[0].header.add_history(line)
    read = read_bytes(folder, write_hdu(content))
    if isinstance(read, str): return read
    return measure_flux(read).to_value(u.Jy), read.header["BMAJ"]*3600, read.header["BEAMFROM"]


AIPS = "AIPS   CLEAN BMAJ=  {:.4E} BMIN=  {:.4E} BPA=  30.00"


@fault(52, "a beam in HISTORY, in arcsec, in radians, of 60°, of T", "read, or refused; the survey's if none is given")
def test_beam_in_the_history(tmp_path, saw):
    true = read_with_beam(tmp_path, BMAJ=0.003, BMIN=0.002, BPA=30.)
    assert true[1:] == (10.8, "header")
    for lines in ([AIPS.format(0.003, 0.002)], [AIPS.format(0.009, 0.009), "then", AIPS.format(0.003, 0.002)]):
        seen = read_with_beam(tmp_path, lines)
        np.testing.assert_allclose(seen[:2], true[:2], rtol=1e-6)
        assert seen[2] == "history"
    assert read_with_beam(tmp_path, ["AIPS CLEAN BMAJ= x BMIN= y BPA= z"])[1:] == (5.4, "assumed")
    assert (read_with_beam(tmp_path, [AIPS.format(0.003, 0.002)], BMAJ=0.0015, BMIN=0.0015, BPA=0.)[1:]
            == (5.4, "header"))
    saw("HISTORY: the last line, where the cards say nothing")


@fault(52)
@pytest.mark.parametrize("beam", [(10.8, 7.2), (5.2e-5, 3.5e-5), (60., 60.), (0.09, 0.09), (0.0015, 1e-9)])
def test_beam_that_cannot_be_the_surveys(tmp_path, saw, beam):
    reason = read_with_beam(tmp_path, BMAJ=beam[0], BMIN=beam[1], BPA=0.)
    assert reason.startswith("a beam of ") and "must be in degrees" in reason
    saw("not the survey's: refused")


@fault(52)
@pytest.mark.parametrize("beam", [(True, True, True), ("0.0015", 0.0015, 0.), (0., 0., 0.), (-1., 0.0015, 0.)])
def test_beam_that_is_no_number(tmp_path, saw, beam):
    assert read_with_beam(tmp_path, BMAJ=beam[0], BMIN=beam[1], BPA=beam[2])[1:] == (5.4, "assumed")
    saw("T, text, 0: the survey's")


@fault(53, "blocks of exact zeros", "no data")
def test_blocks_of_zeros_are_no_data(case, saw):
    data, wcs = make_source(side=93)
    data[:30], data[50, 50], data[70:73, 40:43] = 0, 0, 0  # a block, a pixel, and less than a block
    content = write_image(data, wcs)
    read = read_bytes(case.folder, content)
    assert np.isnan(read.data[:30]).all() and np.isfinite(read.data[30:]).all()
    np.testing.assert_allclose(read.header["COVERED"], 63/93)
    case.server.answer("/first", say(content))
    table, _ = scrape(case, PLACE.reshape(1), "FIRST", open_services(case.server))
    assert table["state"][0] == "reject" and "has data" in table["reason"][0]
    table, _ = scrape(case, PLACE.reshape(1), "FIRST", open_services(case.server), min_covered=0.5)
    np.testing.assert_allclose(table["covered_fraction"][0], 58/83)
    saw(f"a third of zeros: {table['covered_fraction'][0]:.2f} covered")


# ---------------------------------------------------------------- folders of images

CONTENT = write_centred("FIRST", PLACE, side=201)


def compress(content):
    "A FITS file as fpack makes it."
    hdu = fits.HDUList.fromstring(content)[0]
    return write_hdu(fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(hdu.data, hdu.header)]))


def extend(content):
    "The image as the second part of its file, after an empty one."
    hdu = fits.HDUList.fromstring(content)[0]
    return write_hdu(fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(hdu.data, hdu.header)]))


NAMES = {"FIRST/a.fits.gz": gzip.compress(CONTENT), "FIRST/a.fits.fz": compress(CONTENT),
         "FIRST/a.fz": compress(CONTENT), "FIRST/a.FITS": CONTENT, "FIRST/a.fit": CONTENT,
         "FIRST/A.FTS.GZ": gzip.compress(CONTENT), "first/a.fits": CONTENT, "FIRST/extended.fits": extend(CONTENT)}


@fault(54, "compressed and capital names; one file of a folder is HTML, empty or a table",
       "used; named, the others go on")
@pytest.mark.parametrize("name", NAMES)
def test_names_of_images(tmp_path, saw, name):
    (path := tmp_path/name).parent.mkdir()
    path.write_bytes(NAMES[name])
    table = ask_folder(tmp_path, PLACE)
    assert list(table["state"]) == ["ok"], list(table["reason"])
    saw("used")


PACKED = {"a.fits.gz": gzip.compress, "a.fits.fz": compress, "a.FITS": bytes}


@fault(54)
@pytest.mark.parametrize("name", PACKED)
def test_names_of_whole_images(tmp_path, saw, name):
    content = write_centred("VLASS", PLACE, side=301, BUNIT="Jy/beam", BMAJ=2.5/3600, BMIN=2.5/3600)
    (tmp_path/"VLASS").mkdir()
    (tmp_path/"VLASS"/name).write_bytes(PACKED[name](content))
    table = ask_folder(tmp_path, PLACE, "VLASS", 1*u.arcmin)
    assert list(table["state"]) == ["ok"], list(table["reason"])
    saw("used")


POSITIONS = write_hdu(fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(Table(dict(ra=[1.], dec=[2.])))]))


@fault(54)
@pytest.mark.parametrize("content", [b"<html>busy</html>", b"", POSITIONS, CONTENT[:5000], b"\x1f\x8b\x08broken"],
                         ids=["HTML", "empty", "table", "cut", "bad gzip"])
def test_one_odd_file_of_a_folder_is_named(tmp_path, saw, content):
    (tmp_path/"FIRST").mkdir()
    (tmp_path/"FIRST"/"a.fits").write_bytes(content)
    (tmp_path/"FIRST"/"b.fits").write_bytes(write_centred("FIRST", OTHER, side=201))
    table = ask_folder(tmp_path, SkyCoord([OTHER, PLACE]))
    assert list(table["state"]) == ["ok", "reject"] and "a.fits" in table["reason"][1], list(table["reason"])
    assert "\n" not in table["reason"][1]
    saw("named, the others go on")


@fault(54)
@pytest.mark.parametrize("name, told",
                         [("", "there is no file"), ("a.fits.txt", "such as a.fits.txt"), ("VLASS/a.fits", "FIRST/")])
def test_folder_without_images(tmp_path, saw, name, told):
    if name:
        (tmp_path/name).parent.mkdir(exist_ok=True)
        (tmp_path/name).write_bytes(CONTENT)
    with pytest.raises(ConfigError, match=f"no image that can be used: .*{told}"):
        with open_images(SMOKE, str(tmp_path), "", "FIRST"): pass
    saw("no image: what there is, and what is wanted")


# ---------------------------------------------------------------- tables

def read(folder, content, suffix=".csv", encoding="utf-8"):
    "Names, right ascensions and declinations of a table of positions; or the words by which it is refused."
    path = folder/f"mine{suffix}"
    if callable(content): content(path)
    else: path.write_bytes(content.encode(encoding) if isinstance(content, str) else content)
    try: found = read_positions(path)
    except BadPositions as e:
        assert "\n" not in str(e)
        return str(e)
    return [(str(row["name"]), round(float(row["ra"]), 6), round(float(row["dec"]), 6)) for row in found]


A, B = ("A", 162.53, 30.677), ("B", 3.4, -9.3)
TABLES = {
    "plain": "name,ra,dec\nA,162.53,30.677\nB,3.4,-9.3\n", "semicolons": "name;ra;dec\nA;162.53;30.677\nB;3.4;-9.3\n",
    "tabs": "name\tra\tdec\nA\t162.53\t30.677\nB\t3.4\t-9.3\n", "bars": "name|ra|dec\nA|162.53|30.677\nB|3.4|-9.3\n",
    "comment": "# mine\n# of May, 2 rows\nname,ra,dec\nA,162.53,30.677\nB,3.4,-9.3\n",
    "heading in a comment": "# name,ra,dec\nA,162.53,30.677\nB,3.4,-9.3\n",
    "#Table1": "#Table1\nname,ra,dec\nA,162.53,30.677\nB,3.4,-9.3\n",
    "commas at the end": "name,ra,dec,,\nA,162.53,30.677,,\nB,3.4,-9.3,\n",
    "CR LF": "name,ra,dec\r\nA,162.53,30.677\r\nB,3.4,-9.3\r\n",
    "CR": "name,ra,dec\rA,162.53,30.677\rB,3.4,-9.3\r", "spaces": "name, ra, dec\nA, 162.53, 30.677\n\nB, 3.4, -9.3\n",
    "quotes": '"name","ra","dec"\n"A","162.53","30.677"\n"B","3.4","-9.3"\n',
    "units": "name,ra,dec\n,deg,deg\nA,162.53,30.677\nB,3.4,-9.3\n",
    "units and a line": "name\tRA\tDec\n\t\"deg\"\t\"deg\"\n---\t---\t---\n" "A\t162.53\t30.677\nB\t3.4\t-9.3\n",
    "radians": "name,ra,dec\n,rad,rad\nA,2.836683633,0.535414655\nB,0.059341195,-0.162315620\n",
    "VizieR": "name,_RAJ2000,_DEJ2000,RAJ2000,DEJ2000\nA,162.53,30.677,10 50 07,+30 40 37\n"
              "B,3.4,-9.3,00 13 36,-09 18 00\n",
    "capitals": "NAME,RA,DEC\nA,162.53,30.677\nB,3.4,-9.3\n",
    "RA_ICRS": "name,RA_ICRS,DE_ICRS\nA,162.53,30.677\nB,3.4,-9.3\n",
    "units in the heading": "name,RA (deg),Dec (deg)\nA,162.53,30.677\nB,3.4,-9.3\n"}


@fault(55, "tables by spreadsheets and archives: encodings, separators, comments, unit rows, names like numbers", TAKEN)
@pytest.mark.parametrize("kind", TABLES)
def test_table_of_any_shape(tmp_path, saw, kind):
    assert read(tmp_path, TABLES[kind], ".CSV" if kind == "capitals" else ".csv") == [A, B]
    saw("read")


@fault(55)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_table_in_any_encoding(tmp_path, saw, encoding):
    found = read(tmp_path, "name,ra,dec,note\nA,162.53,30.677,Götz\n", encoding=encoding)
    if encoding in ("utf-8-sig", "utf-16"): assert found == [A]
    else: assert "save it as UTF-8" in found
    saw(f"{encoding}: {'read' if found == [A] else 'refused'}")


@fault(55)
@pytest.mark.parametrize("name", ["0012", "1E5", "123.10", "True", "nan", "1_000", "#7"])
def test_names_stay_as_written(tmp_path, saw, name):
    assert read(tmp_path, f"name,ra,dec\n{name},162.53,30.677\n") == [(name, *A[1:])]
    save = lambda path: Table(dict(NAME=[name], RA=[162.53], DEC=[30.677])).write(path)
    assert read(tmp_path, save, ".fits") == [(name, *A[1:])]
    saw("names as written")


SHAPES = {"name,ra,dec\nA,1,2,3\n": "row 1: it has 4 cells, the heading 3", "name,ra,dec\nA,1\n": "row 1: it has 2",
          "": "it is empty", "\n \n": "it is empty", "#\n": "no column dec, ra",
          "name x y\nA 1 2\n": "it has 'name x y'", "a,b\n1,2\n": "it has 'a', 'b': say which hold the position",
          "name,NAME,name,ra,dec\nA,B,C,1,2\n": "which one?", "name,Ra,RA,dec\nA,1,2,3\n": "columns Ra, RA: which one?",
          "name,ra,dec\nA,--,2\n": "row 1: the position is missing", "name,ra,dec\nA,null,null\n": "'null'",
          "name,ra,dec\nA\tB,1,2\n": "characters that FITS does not allow"}


@fault(55)
@pytest.mark.parametrize("text", SHAPES)
def test_table_that_cannot_be_read_is_told(tmp_path, saw, text):
    assert SHAPES[text] in read(tmp_path, text)
    saw("refused in words")


ANGLES = {"10:49:60.00,+30:40:37": (162.5, 30.676944), "10:50:00.0,+30:39:60.0": (162.5, 30.666667),
          "10h50m00s,+30°40′37″": (162.5, 30.676944), "10:50:00,\u221230:40:37": (162.5, -30.676944),
          "162.5d,30.676944d": (162.5, 30.676944), "10h50m,1": None, "162.5°,\u221230.5°": (162.5, -30.5),
          "10.5h,+30 30 00": (157.5, 30.5), "162d30m00s,30d40m37s": (162.5, 30.676944),
          "10 50 00,-00 30 00": (162.5, -0.5), "10h 50m 00s,+30d 40' 37''": (162.5, 30.676944),
          "1.625e2,3.05e1": (162.5, 30.5), "25 00 00,30 00 00": None, "-1 00 00,30 00 00": None,
          "24 00 01,30 00 00": None, "10 50 61,30 00 00": None, "10 60 01,30 00 00": None,
          "162.5.1,30": None, "0x10,30": None, "1_0,30": None, "10:50:00,10h00m00s": None, "north,30": None}


@fault(56, "angles as people write them: 60 s, primes, true minus; 25 h", "read, or the value is shown")
@pytest.mark.parametrize("text", ANGLES)
def test_angles(tmp_path, saw, text):
    found = read(tmp_path, "\n".join(["name;ra;dec", f"A;{text.replace(',', ';')}"]))
    if ANGLES[text]: assert found == [("A", *ANGLES[text])]
    else: assert "csv: row 1: " in found and any(repr(part) in found for part in text.split(","))
    saw("read" if ANGLES[text] else "refused, shown")


@fault(56)
def test_hours_beyond_24_in_a_label_table(saw):
    columns = {"Object_ID": ["a"], "RA(J2000)": ["25 00 00"], "DEC(J2000)": ["1 2 3"], "FR_label": ["I"],
               "Source_redshift": [""]}
    with pytest.raises(CatalogueError, match="25"): _parse_frdeep(columns)
    with pytest.raises(CatalogueError, match="frdeep: mine: not a position in hours and degrees: .*25"):
        _parse_labels(CATALOGUES["frdeep"], columns, "mine")
    with pytest.raises(CatalogueError, match="far"):
        _parse_labels(CATALOGUES["frdeep"], columns | {"RA(J2000)": ["2 0 0"], "Source_redshift": ["far"]}, "mine")
    saw("label table: named, shown")


def write_fits(meta=None, primary=None, **columns):
    "A writer of a FITS table with cards in its own and in the first header."
    def write(path):
        Table(dict(name=["A"]) | columns).write(path)
        with fits.open(path, mode="update") as hdus:
            hdus[1].header.update(meta or {})
            hdus[0].header.update(primary or {})
    return write


def place(frame): return dict(ra=[move(frame).ra.deg], dec=[move(frame).dec.deg])


TRUE = [("A", 162.53, 30.677)]
SAID = {"EQUINOX alone": write_fits(dict(EQUINOX=1950.), **place(FK4())),
        "EPOCH alone": write_fits(dict(EPOCH=1950.), **place(FK4())),
        "EQUINOX in the first header": write_fits(None, dict(EQUINOX=1950.), **place(FK4())),
        "FK5 of 1975": write_fits(dict(RADESYS="FK5", EQUINOX=1975.), **place(FK5(equinox="J1975"))),
        "FK4 of 1900": write_fits(dict(RADECSYS="FK4", EQUINOX=1900.), **place(FK4(equinox="B1900"))),
        "column equinox": write_fits(equinox=["B1950"], **place(FK4())),
        "column frame": write_fits(FRAME=["FK4 B1900"], **place(FK4(equinox="B1900"))),
        "EPOCH of Gaia, ICRS": write_fits(dict(RADESYS="ICRS", EPOCH=2016.), ra=[162.53], dec=[30.677])}


@fault(57, "tables of another equinox, with EQUINOX alone, with several COOSYS",
       "transformed, or refused with their words")
@pytest.mark.parametrize("kind", SAID)
def test_frame_of_a_fits_table(tmp_path, saw, kind):
    assert read(tmp_path, SAID[kind], ".fits") == TRUE
    saw("transformed")


@fault(57)
def test_frame_in_the_names_of_columns(tmp_path, saw):
    ra, dec = (float(place(FK4())[key][0]) for key in ("ra", "dec"))
    for names in ("_RAB1950,_DEB1950", "RA1950,DE1950", "RA (B1950),Dec (B1950)"):
        assert read(tmp_path, f"name,{names}\nA,{ra!r},{dec!r}\n") == TRUE
    assert "mixed frames" in read(tmp_path, f"name,_RAB1950,_DEB1950,frame\nA,{ra},{dec},ICRS\n")
    assert "FK4 has no such equinox" in read(tmp_path, f"name,ra,dec,frame\nA,{ra},{dec},FK4 J2000\n")
    saw("B1950 in the columns' names: transformed")


@fault(57)
@pytest.mark.parametrize("words, meta", [
    ("XYZ", dict(RADESYS="XYZ")), ("ICRS 1950.0", dict(RADESYS="ICRS", EQUINOX=1950.)),
    ("EPOCH is 2016.0", dict(EPOCH=2016.)), ("GALACTIC", dict(RADESYS="GALACTIC"))])
def test_frame_of_a_table_that_is_not_understood(tmp_path, saw, words, meta):
    assert words in read(tmp_path, write_fits(meta, ra=[162.53], dec=[30.677]), ".fits")
    saw("refused, shown")


VOTABLE = ('<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
           '<RESOURCE>{systems}<TABLE>'
           '<FIELD name="name" datatype="char" arraysize="*"/><FIELD name="{ra}" {ref} datatype="double" unit="deg"/>'
           '<FIELD name="dec" {ref} datatype="double" unit="deg"/><FIELD name="x" {other} datatype="double"/>'
           '<DATA><TABLEDATA><TR><TD>A</TD><TD>{place.ra}</TD><TD>{place.dec}</TD><TD>1</TD></TR></TABLEDATA></DATA>'
           '</TABLE></RESOURCE></VOTABLE>')
ICRS_SYSTEM, OLD, OLDER = ('<COOSYS ID="a" system="ICRS"/>', '<COOSYS ID="b" system="eq_FK4" equinox="B1950"/>',
                           '<COOSYS ID="c" system="eq_FK4" equinox="B1900"/>')


def write_votable(systems, frame=None, ref="", other="", ra="ra"):
    coord = PLACE if frame is None else move(frame)
    return VOTABLE.format(systems=systems, ref=f'ref="{ref}"' if ref else "", other=f'ref="{other}"' if other else "",
                          ra=ra, place=SimpleNamespace(ra=float(coord.ra.deg), dec=float(coord.dec.deg)))


@fault(57)
def test_frame_of_a_votable(tmp_path, saw):
    table = lambda *args, **more: read(tmp_path, write_votable(*args, **more), ".vot")
    assert table(ICRS_SYSTEM + OLD, ref="a", other="b") == TRUE
    assert table(ICRS_SYSTEM + OLD, FK4(), ref="b", other="a") == TRUE
    assert table(ICRS_SYSTEM + OLDER, FK4(equinox="B1900"), ref="c") == TRUE
    assert table(ICRS_SYSTEM + '<COOSYS ID="g" system="galactic"/>', ref="a", other="g") == TRUE
    assert table(OLD, FK4()) == TRUE and table(ICRS_SYSTEM + OLD, FK4(), other="a") == TRUE
    assert "mixed frames" in table(ICRS_SYSTEM + OLD)
    assert "galactic" in table('<COOSYS ID="g" system="galactic"/>', ref="g")
    meta = ('<RESOURCE type="meta"><TABLE><FIELD name="k" datatype="int"/>'
            '<DATA><TABLEDATA><TR><TD>1</TD></TR></TABLEDATA></DATA></TABLE></RESOURCE><RESOURCE>')
    assert read(tmp_path, write_votable("").replace("<RESOURCE>", meta, 1), ".vot") == TRUE
    saw("COOSYS that the columns refer to")


@fault(58, "cells that are arrays, masked positions, headings alike but for case, other tables first", TAKEN)
def test_cells_that_are_arrays(tmp_path, saw):
    column = lambda name, form, value, **more: fits.Column(name, form, array=np.array(value), **more)
    save = lambda *columns: lambda path: fits.BinTableHDU.from_columns(columns).writeto(path, overwrite=True)
    two = column("RA", "2D", [[162.53, 3.4]]), column("DEC", "2D", [[30.677, -9.3]])
    for columns in (two, (column("NAME", "4A", [["A", "B"]], dim="(2,2)"), *two),
                    (column("NAME", "2D", [[1., 2.]]), column("RA", "D", [1.]), column("DEC", "D", [2.])),
                    (column("RA", "PD()", [[1., 2.]]), column("DEC", "PD()", [[1., 2.]]))):
        assert "its cells are arrays" in read(tmp_path, save(*columns), ".fits")
    saw("arrays: refused in words")


@fault(58)
def test_masked_positions_and_headings_alike(tmp_path, saw):
    masked = Table(dict(name=["A", "B"], ra=MaskedColumn([1., 2.], mask=[False, True]), dec=[3., 4.]))
    for suffix, form in ((".fits", "fits"), (".ecsv", "ascii.ecsv"), (".vot", "votable")):
        save = lambda path, form=form: masked.write(path, format=form, overwrite=True)
        assert read(tmp_path, save, suffix) == [("A", 1., 3.)]
        rejected = read_positions(tmp_path/f"mine{suffix}").meta["rejected"]
        assert rejected == [(2, "the position is missing, not finite, or not on the sky")]
    for text in ("name,ra,dec,B,b\nA,162.53,30.677,18.2,62.1\n", "name,RA,DEC,ra,dec\nA,x,y,162.53,30.677\n"):
        assert read(tmp_path, text) == TRUE
    alike = write_votable("", ra="ra").replace('name="x"', 'name="RA"')
    assert read(tmp_path, alike, ".vot") == TRUE
    hdus = lambda path: fits.HDUList([
        fits.PrimaryHDU(), fits.BinTableHDU(Table(dict(k=[1]))),
        fits.BinTableHDU(Table(dict(name=["A"], ra=[162.53], dec=[30.677])))]).writeto(path, overwrite=True)
    assert read(tmp_path, hdus, ".fits") == TRUE
    saw("masked: rows named; headings alike: the one written as asked")


@fault(58)
@pytest.mark.parametrize("suffix", [".fits", ".vot", ".ecsv", ".xml", ".fits.gz"])
@pytest.mark.parametrize("content", [b"", b"<html>busy</html>", b"SIMPLE  = x", b"\xff\xfe\x00",
                                     b"# %ECSV 1.0\n!!x {}\n"])
def test_what_is_no_table_is_refused(tmp_path, saw, suffix, content):
    assert isinstance(read(tmp_path, content, suffix), str)
    saw("no table: refused")


# ---------------------------------------------------------------- figures, histories

@fault(59, "a source named $\\frac{$", "drawn as it is written")
def test_names_that_look_like_tex(tmp_path, saw):
    import matplotlib.pyplot as plt
    name = r"$\frac{$"
    hdu = read_bytes(tmp_path, write_centred("FIRST", PLACE, OBJECT=name))
    gallery = plot_images(np.zeros((1, 8, 8)), [f"{name}\nFRI 0.50"], "x")
    for fig in (gallery, plot_page([hdu], notes=[name]), plot_survey_views([hdu])):
        with open(tmp_path/"a.png", "wb") as f: fig.savefig(f)
        plt.close(fig)
    saw("drawn")


def test_histories_of_another_length_are_told():
    known = SimpleNamespace(history=describe_steps(SMOKE, "FIRST"), survey="FIRST")
    check_preparation(known, SMOKE, "FIRST")
    for history in (known.history[:-1], (*known.history, "and more"), ()):
        with pytest.raises(ConfigError, match="the training images were made otherwise: .*nothing more"):
            check_preparation(SimpleNamespace(history=history, survey="FIRST"), SMOKE, "FIRST")
