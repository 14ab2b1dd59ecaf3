"Seeded nonsense in what people bring: FITS headers and tables of positions; each ends in a reading or in named words."
import contextlib
import io
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made import write_centred

from radiogal.cutouts import read_cutout
from radiogal.fetch import FetchError
from radiogal.inputs import read_positions
from radiogal.positions import BadImage, BadPositions
from radiogal.scraping import _cut_file, _read_footprint

# astropy says much of broken cards, which is its right
pytestmark = [pytest.mark.full, pytest.mark.filterwarnings("ignore")]
PLACE = SkyCoord(162.53, 30.677, unit="deg")
CONTENT = write_centred("FIRST", PLACE, side=8, BSCALE=1., BLANK=-1, EQUINOX=2000.,
                        HISTORY="AIPS CLEAN BMAJ= 0.0015 BMIN= 0.0015 BPA= 0")
END = CONTENT.index(b"END     ")
KEYS = """SIMPLE BITPIX NAXIS NAXIS1 NAXIS2 NAXIS3 BSCALE BZERO BLANK BUNIT BMAJ BMIN BPA CTYPE1 CTYPE2 CRVAL1 CRVAL2
CRPIX1 CRPIX2 CDELT1 CDELT2 CUNIT1 CROTA2 PC1_1 CD1_1 CD2_2 PV2_1 LONPOLE LATPOLE RADESYS RADECSYS EQUINOX EPOCH OBJECT
N_IMAGES ORIGURL ORIGURL2 BEAMFROM SIMULATE EXTEND GROUPS PCOUNT GCOUNT XTENSION HISTORY COMMENT CONTINUE HIERARCH
WCSAXES A_ORDER""".split()
WORDS = ["'beam-1 Jy'", "'", "'a", "''", "/ only", "AIPS CLEAN BMAJ= 1E-3 BMIN= x BPA= 0", "'\xe9'", "'\\'",
         "$\\frac{$", *"""
'FK4' 'FK5' 'ICRS' 'XYZ' 'B1950' 'GLON-SIN' 'GLAT-SIN' 'DEC--SIN' 'RA---TAN' 'ELON-SIN' 'deg' 'mJy/beam' 'K' 'arcsec'
T F NaN inf 1E400 -1E400 (1,2) 1950.0 1900 0 1 2 -1 8 16 -32 -33 -64 1E-300 1D5 999999999 99999999999999999999
Jy/beam""".split()]
values = (st.sampled_from(WORDS) | st.floats().map(repr) | st.integers(-10**6, 10**6).map(str)
          | st.text(st.characters(max_codepoint=255), max_size=30))
cards = st.lists(st.tuples(st.sampled_from(KEYS), values, st.booleans()), min_size=1, max_size=3)


def damage(changes):
    "The image with cards replaced, where they are there, or added."
    head, data = [CONTENT[i:i + 80] for i in range(0, END, 80)], CONTENT[len(CONTENT) - 2880:]
    for key, value, replaced in changes:
        card = f"{key:<8}= {value}".encode("latin-1")[:80].ljust(80)
        at = next((i for i, old in enumerate(head) if old.startswith(f"{key:<8}=".encode())), None)
        if at is None or not replaced: head.append(card)
        else: head[at] = card
    head = b"".join([*head, b"END".ljust(80)])
    return head + b" "*(-len(head) % 2880) + data


def check_read(hdu):
    "What every image that is read has."
    h, kept = hdu.header, io.BytesIO()
    assert hdu.data.dtype == np.float32 and hdu.data.ndim == 2 and not np.isinf(hdu.data).any()
    assert h["BUNIT"] == "Jy/beam" and 0.5/3600 < h["BMAJ"] < 60/3600 and 1 <= h["N_IMAGES"] < 10
    hdu.writeto(kept)


@pytest.fixture(scope="module")
def path(tmp_path_factory): return tmp_path_factory.mktemp("fuzz")/"a.fits"


quiet = dict(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("n", [1_000, pytest.param(10_000, marks=pytest.mark.long)])  # each time the same
def test_header_is_read_or_refused(path, n):
    @settings(max_examples=n, **quiet)
    @given(cards)
    def check(changes):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path.write_bytes(damage(changes))
            try: check_read(read_cutout(path, "FIRST"))
            except FetchError as e: assert e.state == "reject" and "\n" not in e.reason

    check()


@settings(max_examples=500, **quiet)
@given(cards)
def test_image_of_a_folder_is_cut_or_named(path, changes):
    path.write_bytes(damage(changes))
    with contextlib.suppress(BadImage):
        _, wcs, nx, ny = _read_footprint(path)
        middle = wcs.pixel_to_world((nx - 1)/2, (ny - 1)/2).icrs
        assert isinstance(_cut_file(path, middle, 10*u.arcsec), fits.PrimaryHDU)


cells = st.sampled_from(["10 50 60.0", "25 00 00", "+30°40′37″", "\u221230", "", '"', "''", "a\tb", "\0",
                         *"""162.53 -9.3 10:50:07 nan inf
1e400 -- null deg hms 95 -181 0012 1E5 # A é 1;2 10h50m07s 60d FK4 B1950 XYZ ICRS""".split()]) | st.text(max_size=8)
headings = st.sampled_from(["", "ra (deg)",
                            *"name Name ra RA dec DEC _RAJ2000 _DEJ2000 RA1950 DE1950 frame equinox x #ra".split()])
tables = st.tuples(st.sampled_from(",;\t|"), st.booleans(), st.lists(headings, max_size=4),
                   st.lists(st.lists(cells, max_size=5), max_size=4),
                   st.sampled_from("utf-8 utf-8-sig utf-16 utf-16-le".split()))


def check_sources(path):
    "Positions on the sky with names of their own, or words in one line."
    try: found = read_positions(path)
    except BadPositions as e:
        assert "\n" not in str(e)
        return
    assert len(found) and len(set(found["name"])) == len(found) and all(found["name"])
    assert ((found["ra"] >= 0) & (found["ra"] <= 360) & (np.abs(found["dec"]) <= 90)).all()


@settings(max_examples=3_000, **quiet)
@given(tables)
def test_table_is_read_or_refused(path, parts):
    separator, asked, heading, rows, encoding = parts
    lines = [["name", "ra", "dec", *heading] if asked else heading, *rows]
    text = "\n".join(separator.join(line) for line in lines)
    (file := path.with_name("a.csv")).write_bytes(text.encode(encoding, "surrogatepass"))
    check_sources(file)


@settings(max_examples=1_000, **quiet)
@given(st.sampled_from([(".csv", "ascii.csv"), (".ecsv", "ascii.ecsv"), (".fits", "fits"), (".vot", "votable")]),
       st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4), st.integers(0, 10**6) | st.none())
def test_damaged_table_is_read_or_refused(path, kind, flips, cut):
    file, form = path.with_name(f"b{kind[0]}"), kind[1]
    table = Table(dict(name=["a", "b"], ra=[10.5, 200.25], dec=[-1.5, 60.125]), units=dict(ra="deg", dec="deg"))
    table.write(file, format=form, overwrite=True)
    content = bytearray(file.read_bytes())
    for place, value in flips: content[place % len(content)] = value
    file.write_bytes(content[:cut % len(content)] if cut is not None else content)
    check_sources(file)
