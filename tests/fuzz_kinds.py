"Malformed files, by kind: what they are made of, how they are changed, and what radiogal reads them with."
import bz2
import contextlib
import csv
import gzip
import io
import json
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pandas as pd
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from conftest import ROOT
from made import list_tiles, write_centred

from radiogal.archives import _name_image, _show_index
from radiogal.catalogues import CATALOGUES, Catalogue, Labels, _check_answer, read_catalogue
from radiogal.clients import _check_links, _check_siap, _parse_listing, _parse_tiles, _select_newest, find_tiles
from radiogal.config import _ALLOWED, read_config, read_json
from radiogal.curation import _read_decisions, _record_decision, merge_decisions
from radiogal.cutouts import read_cutout
from radiogal.datasets import _COLUMNS, digest_arrays, read_prepared, sample_set, write_prepared
from radiogal.engines import _read_predictions, _read_rows, _write_parquet
from radiogal.inputs import read_positions, read_surveys
from radiogal.models import load_network_weights
from radiogal.positions import BadFile, parse_votable, read_table
from radiogal.pretrained import _read_any, _read_manifest
from radiogal.provenance import read_signed
from radiogal.scraping import _cut_file, _read_footprint, _read_plain
from radiogal.sharing import _find_kind_of_file
from radiogal.sources import _read_table_of

PLACE = SkyCoord(162.53, 30.677, unit="deg")
NUMBERS = """-1 0 1 2 3 7 -32 -64 64 999 65537 2147483648 4294967296 1000000000000 99999999999999999999 1e400 -1e400
1e-300 nan inf two T F 0x10 1_000 1.5 +5 ++5""".split()


class Kind(NamedTuple):
    "A kind of file: draws a suffix and content from a generator; what reads it; whether errors must name the file."
    make: Callable
    readers: dict
    names_file: bool = True


def change_bytes(rng, content, others):
    "Content with a byte changed, or a part cut out, repeated or replaced by a part of another."
    at, n = rng.randrange(len(content) + 1), rng.choice((1, 2, 8, 80, 2880))
    part = content[at:at + n]
    other = rng.choice(others)
    start = rng.randrange(len(other) + 1)
    return rng.choice((
        lambda: content[:at] + bytes(b ^ rng.randrange(256) for b in part[:4]) + content[at + len(part[:4]):],
        lambda: content[:at], lambda: content[:at] + content[at + n:],
        lambda: content[:at] + part*rng.choice((2, 3, 50)) + content[at + n:],
        lambda: content[:at] + other[start:start + n] + content[at + n:],
        lambda: content[:at] + other[start:],
        lambda: content[:at] + rng.randbytes(min(n, 80)) + content[at + n:]))()


def change_number(rng, content, others):
    "Text with one of its numbers replaced."
    found = list(re.finditer(rb"[+-]?\d+\.?\d*", content[:20_000]))
    if not found: return content
    number = rng.choice(found)
    return content[:number.start()] + rng.choice(NUMBERS).encode() + content[number.end():]


def change_words(pieces, rng, content, others):
    "Text with a piece of its grammar put in, or in the place of a word."
    found = list(re.finditer(rb"[\w.:+-]+", content[:50_000]))
    place = rng.choice(found).span() if found and rng.random() < 0.5 else (rng.randrange(len(content) + 1),)*2
    return content[:place[0]] + rng.choice(pieces).encode() + content[place[1]:]


def change_lines(rng, content, others):
    "Text with lines left out, doubled, moved, or from another file."
    lines, other = content.split(b"\n"), rng.choice(others).split(b"\n")
    at, to = rng.randrange(len(lines)), rng.randrange(len(lines))
    line = lines[at]
    return b"\n".join(rng.choice((
        lines[:at] + lines[at + 1:], [*lines[:at], line, *lines[at:]], [*lines[:at], rng.choice(other), *lines[at:]],
        [*lines[:to], line, *lines[to:]], lines[:at] + [line*rng.choice((2, 100))] + lines[at + 1:])))


def damage(rng, content, others, changes):
    "Content after one to four changes."
    for _ in range(rng.randint(1, 4)): content = rng.choice(changes)(rng, content, others)
    return content


# FITS

KEYS = """SIMPLE BITPIX NAXIS NAXIS1 NAXIS2 NAXIS3 NAXIS4 BSCALE BZERO BLANK BUNIT BMAJ BMIN CTYPE1 CTYPE2 CRVAL1 CRPIX1
CDELT1 CD1_1 PV2_1 LONPOLE RADESYS EQUINOX EPOCH OBJECT SURVEY N_IMAGES EXTEND GROUPS PCOUNT GCOUNT XTENSION HISTORY
CONTINUE END TFIELDS TFORM1 TFORM2 TTYPE1 TTYPE2 TUNIT2 TNULL1 TSCAL2 TZERO2 TDIM2 TBCOL1 THEAP ZIMAGE ZTABLE ZBITPIX
ZNAXIS ZNAXIS1 ZNAXIS2 ZTILE1 ZTILE2 ZCMPTYPE ZNAME1 ZVAL1 ZSCALE ZZERO ZBLANK ZQUANTIZ ZDITHER0 ZSIMPLE ZEXTEND
ZTENSION""".split()
VALUES = [*NUMBERS, *"""'IMAGE' 'BINTABLE' 'TABLE' 'FK4' 'XYZ' 'RA---SIN' 'GLON-SIN' 'DEC--TAN' 'deg' 'JY/BEAM' 'K'
'1PB(0)' 'PE(999999999)' '99999D' '1QJ' 'A' '0A' 'rAD' '(1,2)' '(999999,999999)' 'RICE_1' 'GZIP_1' 'GZIP_2' 'PLIO_1'
'HCOMPRESS_1' 'NONE' 'SUBTRACTIVE_DITHER_1' 'BLOCKSIZE' 'BYTEPIX' 'ra' 'dec' 'name' '' '\xe9""".split()]


def list_cards(content):
    "Where the cards of all headers begin."
    places, at, inside = [], 0, content.startswith(b"SIMPLE")
    while at < min(len(content), 200_000):
        if inside:
            places.append(at)
            inside = not content[at:at + 80].startswith(b"END ")
            at = at + 80 if inside else -(-(at + 80)//2880)*2880
        else:
            inside = content[at:at + 9] == b"XTENSION="
            if not inside: at += 2880
    return places or [0]


def change_cards(rng, content, others):
    "A FITS file with a card that is another, or has another value; or left out, doubled or put in."
    at, new = rng.choice(list_cards(content)), f"{rng.choice(KEYS):<8}= {rng.choice(VALUES)}"
    key = content[at:at + 8]
    value = key + f"= {rng.choice(VALUES)}".encode("latin-1")
    card = [part[:80].ljust(80) for part in (value, value, new.encode("latin-1"), b"", key + rng.randbytes(60))]
    return content[:at] + rng.choice(card) + content[at + 80*(rng.random() < 0.9):]


CHANGES_OF_FITS = (change_cards, change_cards, change_cards, change_bytes)


def write_hdus(*hdus):
    fits.HDUList(list(hdus)).writeto(kept := io.BytesIO())
    return kept.getvalue()


@cache
def make_images():
    "Plain images: floating, with four axes, of scaled integers, behind an empty part, with a table behind."
    plain = write_centred("FIRST", PLACE, 16)
    hdu = fits.open(io.BytesIO(plain))[0]
    whole = fits.PrimaryHDU((hdu.data*1e6).astype(np.int16), hdu.header)
    whole.header.update(BSCALE=1e-6, BZERO=0., BLANK=-1)
    table = fits.BinTableHDU(Table(dict(a=[1, 2])))
    return [plain, write_centred("FIRST", PLACE, 16, axes=4), write_hdus(whole),
            write_hdus(fits.PrimaryHDU(), fits.ImageHDU(hdu.data, hdu.header)), write_hdus(hdu, table)]


@cache
def make_packed():
    "Tile-compressed images of each algorithm."
    hdu = fits.open(io.BytesIO(write_centred("FIRST", PLACE, 32)))[0]
    counts = (hdu.data*1e6).clip(0).astype(np.int16)
    return [write_hdus(fits.PrimaryHDU(),
                       fits.CompImageHDU(data, hdu.header, compression_type=kind, tile_shape=(16, 32)))
            for data, kind in ((hdu.data, "RICE_1"), (hdu.data, "GZIP_1"), (hdu.data, "GZIP_2"), (counts, "RICE_1"),
                               (hdu.data, "HCOMPRESS_1"), (counts, "PLIO_1"))]


PACKERS = {".gz": partial(gzip.compress, compresslevel=1, mtime=0), ".bz2": partial(bz2.compress, compresslevel=1)}


@cache
def make_bomb(kind, suffix, n=330):
    "A small compressed file: an image of 330 MiB of zeros, an image before them, or a header without an end."
    plain, pack = write_centred("FIRST", PLACE, 16), partial(PACKERS[suffix], compresslevel=9)
    begin = dict(wide=plain.replace(b"NAXIS1  =                   16", b"NAXIS1  =              5000000"),
                 behind=plain, header=plain[:plain.index(b"END  ")])[kind]
    return pack(begin) + pack((b" " if kind == "header" else b"\0")*2**20)*n


def pack(rng, content, suffix, changes):
    "A file compressed as a whole, sometimes changed once more."
    packed = PACKERS[suffix](content)
    return damage(rng, packed, [packed], changes) if rng.random() < 0.3 else packed


def make_image(rng):
    seeds = make_images()
    return ".fits", damage(rng, rng.choice(seeds), seeds, CHANGES_OF_FITS)


def make_compressed(rng):
    "A compressed image: by tiles, or as a whole."
    if rng.random() < 1/500:
        suffix = rng.choice((".gz", ".bz2"))
        return f".fits{suffix}", make_bomb(rng.choice(("wide", "behind", "header")), suffix)
    seeds = make_packed()
    if rng.random() < 0.6: return ".fits.fz", damage(rng, rng.choice(seeds), seeds, CHANGES_OF_FITS)
    suffix = rng.choice((".gz", ".bz2"))
    return f".fits{suffix}", pack(rng, damage(rng, rng.choice(make_images()), seeds, CHANGES_OF_FITS), suffix,
                                  (change_bytes,))


def check_image_read(hdu):
    "What every image that is read has."
    h = hdu.header
    assert hdu.data.dtype == np.float32 and hdu.data.ndim == 2 and not np.isinf(hdu.data).any()
    assert h["BUNIT"] == "Jy/beam" and 0.5/3600 < h["BMAJ"] < 60/3600 and 1 <= h["N_IMAGES"] < 10
    hdu.writeto(io.BytesIO())


def cut_middle(path):
    "A cutout about an image's middle, as from a folder."
    _, wcs, nx, ny = _read_footprint(path)
    assert isinstance(_cut_file(path, wcs.pixel_to_world((nx - 1)/2, (ny - 1)/2).icrs, 10*u.arcsec), fits.PrimaryHDU)


def fuzz_images():
    readers = dict(cutout=lambda path: check_image_read(read_cutout(path, "FIRST")),
                   any=lambda path: check_image_read(_read_any(path, "FIRST")))
    return Kind(make_image, readers, names_file=False)  # The tables that they are in name it


def fuzz_folder():
    "Images of a folder."
    return Kind(lambda rng: (make_image if rng.random() < 0.3 else make_compressed)(rng),
                dict(cut=cut_middle, plain=_read_plain, send=_find_kind_of_file))


def fuzz_compressed():
    "Compressed images that are asked for by name."
    return Kind(make_compressed, dict(any=lambda path: check_image_read(_read_any(path, "FIRST"))), names_file=False)


# Positions

SOURCES = Table(dict(name=["a", "b", "c"], ra=[10.5, 200.25, 0.], dec=[-1.5, 60.125, 0.], flux=[1., np.nan, 3.]),
                units=dict(ra="deg", dec="deg", flux="mJy"), meta=dict(RADESYS="ICRS"))


def check_sources(path):
    "Positions on the sky with names of their own."
    found = read_positions(path)
    assert len(found) and len(set(found["name"])) == len(found) and all(found["name"])
    assert ((found["ra"] >= 0) & (found["ra"] <= 360) & (np.abs(found["dec"]) <= 90)).all()


@cache
def make_fits_tables():
    "Tables of positions in FITS: binary, of text, with cells of many numbers; and one as fpack writes tables."
    wide = SOURCES.copy()
    wide["spectrum"] = np.zeros((3, 4))
    packed = fits.BinTableHDU(SOURCES)
    packed.header.update(ZTABLE=True, ZNAXIS1=32, ZNAXIS2=3, ZPCOUNT=0, ZTILELEN=3)
    text = fits.TableHDU.from_columns([fits.Column("name", "A3", array=["a", "b"]),
                                       fits.Column("ra", "F8.3", array=[1, 2]),
                                       fits.Column("dec", "F8.3", array=[3, 4])])
    return [write_hdus(fits.PrimaryHDU(),
                       hdu) for hdu in (fits.BinTableHDU(SOURCES), fits.BinTableHDU(wide), text, packed)]


def make_fits_table(rng):
    if rng.random() < 1/500: return ".fits.gz", make_bomb("behind", ".gz")
    seeds = make_fits_tables()
    content = damage(rng, rng.choice(seeds), [*seeds, *make_packed()], CHANGES_OF_FITS)
    if rng.random() < 0.6: return rng.choice((".fits", ".fit", ".fits.fz")), content
    suffix = rng.choice((".gz", ".bz2"))
    return f".fits{suffix}", pack(rng, content, suffix, (change_bytes,))


def fuzz_fits_tables(): return Kind(make_fits_table, dict(positions=check_sources))


CELLS = ["10 50 60.0", "25 00 00", "+30°40′37″", "\u221230", "", '"', "''", "\0", *"""162.53 -9.3 10:50:07 nan inf 1e400
-- null deg hms 95 -181 0012 1E5 # A é 1;2 10h50m07s 60d FK4 B1950 XYZ ICRS name ra dec RA DEC _RAJ2000 _DEJ2000 RA1950
DE1950 frame equinox , ; | \t \r \n fk5 image circle(10,20,1") point(10h,20d) #%ECSV datatype: float64 string object
complex128 unit: [1,2] {a:1} &a *a !!python/object:os.system""".split()]
PARTS_OF_ECSV = ["# - {name: ra, unit: 'deg', datatype: float64, subtype: 'float64[999999]'}", "# meta: !!omap",
                 "# - {a: 1}", "# delimiter: ','", "# schema: astropy-2.0", "# rows: 3", "# sha256: 00", "# &a [*a,*a]",
                 "# - !!binary abc", "# __serialized_columns__: {ra: {__class__: os.system}}",
                 "# - {__class__: astropy.time.core.Time}", "# ["*300]


@cache
def make_tables():
    "Tables of positions as text: of every separator, ECSV, regions, lists."
    kept = []
    for form in ("ascii.csv", "ascii.ecsv", "ascii.tab", "ascii.commented_header"):
        SOURCES.write(text := io.StringIO(), format=form)
        kept.append(text.getvalue().encode())
    return [*kept, "name;ra;dec\na;10 50 07.3;+30 40 37\n".encode("utf-16"),
            b"10.5 -1.5\n200.25 60.125\nJ105007.3+304037\n",
            b"# Region file\nfk5\ncircle(10.5,-1.5,1\") # text={a}\npoint(10:50:07,+30:40:37)\n"]


def make_table(rng):
    seeds = make_tables()
    changes = (change_bytes, change_number, change_lines, partial(change_words, CELLS),
               partial(change_words, PARTS_OF_ECSV))
    content = damage(rng, rng.choice(seeds), seeds, changes)
    if rng.random() < 0.1: return ".csv.gz", pack(rng, content, ".gz", (change_bytes,))
    return rng.choice((".csv", ".ecsv", ".txt", ".reg")), content


def fuzz_tables():
    def read_ecsv(path):
        if path.suffix == ".ecsv": read_table(path)
    return Kind(make_table, dict(positions=check_sources, table=read_ecsv))


# VOTables and pages of archives

PARTS_OF_VOTABLES = ["<STREAM href='file:/etc/passwd'/>", " nrows='99999999999'", " arraysize='9x9x*'",
                     " datatype='bit'", "<TABLE>", "</TABLE>", "&#0;", " value='ERROR'", " ref='x'", "<FITS/>",
                     "<BINARY>", "]]>", "'", "<TR/>", "<TD>nan</TD>", "<!DOCTYPE a [<!ENTITY b 'c'>]>", " type='meta'",
                     "<RESOURCE>"*70, " arraysize='999999999'", " unit='m/s/s/(('", " ID='ra'", " ucd='pos.eq.ra'",
                     "<COOSYS ID='c' system='eq_FK4' equinox='B1950'/>", " encoding='base64'"]


@cache
def make_votables():
    "Tables of positions, of images and of links, in each serialization."
    from test_votables import SEEDS
    kept = []
    for form in ("tabledata", "binary", "binary2"):
        SOURCES.write(content := io.BytesIO(), format="votable", tabledata_format=form)
        kept += [content.getvalue()]*3
    return [*kept, *SEEDS]


def make_votable(rng):
    seeds = make_votables()
    changes = (change_bytes, change_number, partial(change_words, PARTS_OF_VOTABLES))
    return rng.choice((".vot", ".xml")), damage(rng, rng.choice(seeds), seeds, changes)


def fuzz_votables():
    "Answers of archives; their errors name the service."
    return Kind(make_votable, dict(
        siap=_check_siap, links=lambda path: _check_links(path.read_bytes(), "a.fits"),
        vizier=lambda path: _check_answer(path, CATALOGUES["FRIICAT"]),
        parsed=lambda path: parse_votable(path.read_bytes())), names_file=False)


def fuzz_votable_positions(): return Kind(make_votable, dict(positions=check_sources))


IMAGE = _name_image(PLACE, "VLASS2.1", 1)
LINKED = ['<a href="../../etc/passwd">', '<a href="', '">', "Index of", "\0", "%2e%2e/", "//x/", "<pre>", "</table>",
          IMAGE[:-1] + "9"*5000 + "/", "javascript:", "?C=N;O=D", "\u202e", '<a href="'*1000, " "*10_000, IMAGE]


@cache
def make_pages():
    entries = ["VLASS2.1/", f"{IMAGE}/", f"{IMAGE[:-1]}2/", "QA_REJECTED/", "a.txt"]
    tiles = list_tiles([(PLACE, "VLASS2.1", "2020-09-11", "100% imaged"), (PLACE, "VLASS3.1", "", "scheduled")])
    return [*(_show_index("/ql/", entries, style) for style in ("text", "table")), tiles.encode()]


def make_page(rng):
    changes = (change_bytes, change_number, change_lines, partial(change_words, LINKED))
    return ".html", damage(rng, rng.choice(make_pages()), make_pages(), changes)


def fuzz_pages():
    "Index pages, and the table of tiles."
    def read_index(path):
        found = _parse_listing(path.read_bytes().decode(errors="replace"), "https://archive/ql/")
        assert all("/" not in entry[:-1] and not entry.startswith(".") and entry.isprintable() for entry in found)
        _select_newest(found)
    return Kind(make_page, dict(index=read_index, tiles=lambda path: find_tiles(
        _parse_tiles(path.read_bytes().decode(errors="replace")), PLACE)), names_file=False)


# HDF5

SHAPES = (), (0,), (3,), (24, 2), (24, 32, 32, 1), (1, 1, 1, 1, 1)
ARRAYS = (lambda rng: np.zeros(SHAPES[rng.integers(len(SHAPES))]), lambda rng: rng.integers(-5, 99, 24),
          lambda rng: np.array([b"\xff\xfe", b"a"]), lambda rng: np.full(24, np.nan),
          lambda rng: np.array(["a", "b"], dtype=object), lambda rng: np.zeros(24, dtype=[("a", "f4")]),
          lambda rng: np.zeros((24, 2), ">f8"), lambda rng: np.zeros(24, bool), lambda rng: np.array(rng.normal()),
          lambda rng: np.zeros(24, complex))


def change_array(rng, f, key):
    "Put another thing in the place of a data set."
    del f[key]
    numbers = np.random.default_rng(rng.randrange(2**32))
    def put(): f[key] = rng.choice(ARRAYS)(numbers)
    rng.choice((put, put, lambda: None, lambda: f.create_group(key),
                lambda: f.__setitem__(key, h5py.SoftLink(rng.choice(("/names", "/nowhere", f"/{key}")))),
                lambda: f.__setitem__(key, h5py.ExternalLink("/etc/passwd", "/a")),
                lambda: f.create_dataset(key, (10**rng.choice((6, 10, 13)),), "f4", chunks=(1024,), compression="gzip"),
                lambda: f.create_dataset(key, (3,), dtype=h5py.ref_dtype),
                lambda: f.create_dataset(key, (24,), "f4", external=[("/etc/passwd", 0, 96)]),
                lambda: f.create_dataset(key, (3,), dtype=h5py.string_dtype())))()


def list_sets(f):
    "Names of the data sets of a file."
    found = []
    f.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


def sign_again(f):
    "Give a prepared set the digest of what it holds now, as far as that can be told."
    with contextlib.suppress(Exception): f.attrs["digest"] = np.bytes_(digest_arrays({k: f[k][()] for k in _COLUMNS}))


def change_structure(rng, content, sign=None):
    "An HDF5 file with other data sets or attributes."
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as f:
        for key in rng.sample(found := list_sets(f), rng.randint(0, min(2, len(found)))): change_array(rng, f, key)
        if rng.random() < 0.2: f.attrs["format"] = rng.choice((1, "x", np.zeros(3),
                                                               np.bytes_(b"radiogal prepared set 1")))
        if sign and rng.random() < 0.7: sign(f)
        if rng.random() < 0.1: f.attrs["digest"] = rng.choice((1, "\xe9", np.zeros(3), h5py.Empty("f4")))
    return buffer.getvalue()


def write_to(folder, write):
    "The bytes of what is written to a file."
    import tempfile
    with tempfile.TemporaryDirectory() as name:
        write(path := Path(name)/folder)
        return path.read_bytes()


def fuzz_prepared():
    prepared = sample_set(read_config(ROOT/"config"/"smoke.toml"), "FIRST")
    whole = write_to("a.h5", partial(write_prepared, prepared))
    def make(rng):
        if rng.random() < 0.6: return ".h5", change_structure(rng, whole, sign_again)
        return ".h5", damage(rng, whole, [whole], (change_bytes,))
    return Kind(make, dict(read=read_prepared))


def fuzz_weights():
    import keras
    layers = keras.layers
    model = keras.Sequential([layers.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.BatchNormalization(),
                              layers.Flatten(), layers.Dense(2)])
    whole, before = write_to("a.weights.h5", model.save_weights), model.get_weights()
    def make(rng):
        if rng.random() < 0.6: return ".weights.h5", change_structure(rng, whole)
        return ".weights.h5", damage(rng, whole, [whole], (change_bytes,))
    def load(path):
        try: load_network_weights(model, path)
        except BaseException:
            assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True)), "was changed"
            raise
        finally: model.set_weights(before)
    return Kind(make, dict(load=load))


# Parquet

PARTS_OF_PARQUET = [b"PAR1", b"PARE", b"pandas", b"ARROW:schema", b"radiogal", b"rows", b"name", b"unit", b"ucd",
                    b"\xff\xff\xff\xff\x0f", b"\xff"*8 + b"\x7f", b"\x00", b"\x15", b"\x16", b"\x19", b"\x1c"]
VALUES_OF_COLUMNS = (
    lambda n: [1.5]*n, lambda n: list(range(n)), lambda n: [None]*n, lambda n: ["x\u202e\x1b"]*n,
    lambda n: [b"\xff"]*n, lambda n: [[1., 2.]]*n, lambda n: [["a"]]*n, lambda n: [dict(a=1)]*n,
    lambda n: [True]*n, lambda n: [float("nan")]*n,
    lambda n: ["y"*10**4]*n, lambda n: np.zeros(n, "datetime64[ns]"), lambda n: np.full(n, 2**63, np.uint64),
    lambda n: np.zeros(n, np.float16), lambda n: [str(i) for i in range(n)])


def write_columns(columns, metadata=None, **how):
    "A Parquet file of some columns, units in their metadata."
    import pyarrow as pa
    from pyarrow import parquet
    table = pa.table(columns)
    fields = [field.with_metadata(dict(unit="deg", ucd="pos.eq.ra")) for field in table.schema]
    parquet.write_table(table.cast(pa.schema(fields, metadata)), kept := io.BytesIO(), **how)
    return kept.getvalue()


@cache
def make_parquets():
    "Tables of positions, packed in each way; rows of a catalogue, and predictions."
    rows = pd.DataFrame(dict(name=["a", "b", "c"], ra=[10.5, 200.25, 0.], dec=[-1.5, 60.125, 0.], state="ok"))
    said = pd.DataFrame(dict(name=["a", "b"], label=["FRI", "FRII"], p_FRI=[0.75, 0.25], p_FRII=[0.25, 0.75]))
    plain = [write_columns({key: SOURCES[key].tolist() for key in SOURCES.colnames}, compression=packer, **how)
             for packer in ("NONE", "snappy", "gzip", "zstd", "brotli", "lz4")
             for how in ({}, dict(use_dictionary=False, data_page_version="2.0"))]
    shard = write_to("a.parquet", lambda path: _write_parquet(rows, path, dict(model="x")))
    return [*plain, *[shard]*6, *[said.to_parquet(index=False)]*4]


def change_columns(rng):
    "A Parquet file with other columns."
    n, columns = rng.choice((0, 1, 3, 1000)), dict(name=2, ra=0, dec=0, state=3, label=3, p_FRI=0)
    columns = {key: VALUES_OF_COLUMNS[-1](n) if key == "name" else [1.5]*n for key in columns}
    for key in rng.sample(sorted(columns), rng.randint(0, 3)): columns[key] = rng.choice(VALUES_OF_COLUMNS)(n)
    for key in rng.sample(sorted(columns), rng.randint(0, 2)): del columns[key]
    said = None, dict(pandas="{"), *(dict(radiogal=text, rows=b"\xff") for text in ("[]", "["*100_000, "{}"))
    return write_columns(columns, rng.choice(said))


def make_parquet(rng):
    if rng.random() < 0.4: return ".parquet", change_columns(rng)
    seeds = make_parquets()
    content = rng.choice(seeds)
    def put(rng, content, others):
        "Its end, which says where all is, with a piece of its grammar in the place of another."
        at, part = rng.randrange(max(len(content) - 1500, 0), len(content) + 1), rng.choice(PARTS_OF_PARQUET)
        return content[:at] + part + content[at + len(part)*(rng.random() < 0.8):]
    return ".parquet", damage(rng, content, seeds, (change_bytes, put, put))


class Placed(NamedTuple):
    "A folder in which each name is that of one file."
    path: Path
    def __truediv__(self, name): return self.path


def fuzz_parquets():
    "Tables of positions, of labels, of a catalogue and of predictions."
    labels = Catalogue("case.parquet", 0, ("name",), lambda columns: Labels(
        [str(name) for name in columns["name"]], SkyCoord([1.]*len(columns["name"]), 2., unit="deg"),
        ["FRI"]*len(columns["name"]), [np.nan]*len(columns["name"])), n_more=10**9)
    def read_facts(path):
        if _read_table_of(path) is None: raise BadFile(f"{path.name}: it is left to others to say what is wrong")
    return Kind(make_parquet, dict(
        positions=check_sources, rows=_read_rows, facts=read_facts,
        predictions=lambda path: _read_predictions(Placed(path)), labels=lambda path: read_catalogue(labels, path)))


# Settings, decisions, records

PARTS_OF_TOML = ["[", "]", "[[a]]", "[a.b]", "= ", "'''", '"""', "true", "1979-05-27T07:32:00Z", "inf", "nan", "-nan",
                 "1e400", "{}", "[1, 'a']", "{ a = 1 }", "['FIRST', 'FIRST']", "9"*400, "9"*5000, "['a', ['b', ['c']]]",
                 "'../../x'", "''", "'\u202e'", "0x" + "f"*300, "0x" + "f"*5000, "["*5000 + "]"*5000,
                 "{a="*3000 + "1" + "}"*3000, ".".join("a"*3000), "\\u0000", "[" + ".".join("a"*3000) + "]\n",
                 "'loopback'", "'$(touch pwn)'", "'1 GHz'", "'-1 arcsec'", "'1 x 2 arcsec'", "'nan Jy'", "'x'*9", "2.5",
                 "-1", "0", "false"]
SURVEY = """[RACS]
frequency = "1.37 GHz"
beam = "11.2 x 9.3 arcsec"
pixel = "2 arcsec"
folder = "."
rms = "0.2 mJy/beam"
n_sources = 100
"""


@cache
def make_settings():
    return [*(path.read_bytes() for path in sorted((ROOT/"config").glob("*.toml"))), SURVEY.encode(), SURVEY.encode()]


def make_setting(rng):
    changes = (change_bytes, change_number, change_lines, *[partial(change_words, PARTS_OF_TOML)]*2, change_value)
    return ".toml", damage(rng, rng.choice(make_settings()), make_settings(), changes)


def change_value(rng, content, others):
    "Settings with another value behind a key."
    found = list(re.finditer(rb"(?m)= *(.*)$", content))
    if not found: return content
    value = rng.choice(found)
    return content[:value.start(1)] + rng.choice(PARTS_OF_TOML).encode() + content[value.end(1):]


def fuzz_settings():
    import radiogal.surveys as known
    def read_own(path):
        before, allowed = dict(known.SURVEYS), list(_ALLOWED["survey"])
        try: read_surveys(path)
        finally:
            known.SURVEYS.clear()
            known.SURVEYS.update(before)
            _ALLOWED["survey"][:] = allowed
    return Kind(make_setting, dict(run=read_config, seed=lambda path: read_config(path, 2), surveys=read_own))


COLUMNS = "name,survey,decision,reason,who,when"
IMAGES = {("3C 31", "FIRST"), ("3C 31", "VLASS"), ("a,b", "FIRST")}
PARTS_OF_DECISIONS = ['"', '""', ",", ",,,,,,", "good", "bad", "unsure", "undo", "\r", "\n", "\0", "\u202e", "\ufeff",
                      "é", "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00", "9999-12-31T23:59:59+00:00",
                      "0001-01-01T00:00Z", "0001-01-01T00:00:00-00:00", "3C 31", "FIRST", COLUMNS, "x"*200_000,
                      '"a\nb"', "2026-W01-1", "20260101"]


def make_decision(rng):
    rows = [["3C 31", "FIRST", "good", "", "ann", "2026-01-01T00:00:00.000+00:00"],
            ["3C 31", "VLASS", "bad", "noise, stripes", "bob", "2026-01-02T00:00:00.000+00:00"],
            ["3C 31", "VLASS", "undo", "", "bob", "2026-01-03T00:00:00.000+00:00"],
            ["a,b", "FIRST", "unsure", "", "ann", "2026-01-04T00:00:00.000+00:00"]]
    csv.writer(text := io.StringIO(), lineterminator="\n").writerows([COLUMNS.split(","), *rows])
    changes = (change_bytes, change_number, change_lines, partial(change_words, PARTS_OF_DECISIONS))
    whole = text.getvalue().encode()
    return ".csv", damage(rng, whole, [whole], changes)


def fuzz_decisions():
    def merge(path):
        try: merge_decisions([path, path], out := path.with_name("merged.csv"))
        finally: out.unlink(missing_ok=True)
    def append(path):
        _record_decision(path, "3C 31", "FIRST", "good", "", "ann")
        _read_decisions(path, IMAGES)
    return Kind(make_decision, dict(read=lambda path: _read_decisions(path, IMAGES), merge=merge, append=append))


PARTS_OF_JSON = ["[", "]", "{", "}", "null", "NaN", "-Infinity", "1e999", "9"*5000, '"\\ud800"', '"\\u0000"', "[]",
                 "{}", '""', "["*100_000, '{"a":'*50_000, '"format"', '"models"', '"files"', "true", '{"a":1,"a":2}',
                 ","]


@cache
def make_records():
    kept = sorted((ROOT/"docs"/"results").rglob("metrics.json"))[:2]
    return [json.dumps(dict(format=1, models=[dict(name="a", files=["a.onnx"])], files={"a.onnx": "0"*64},
                            digest="0"*64),
                       indent=1).encode(), *(path.read_bytes() for path in kept)]


def make_record(rng):
    changes = (change_bytes, change_number, change_lines, *[partial(change_words, PARTS_OF_JSON)]*2)
    return ".json", damage(rng, rng.choice(make_records()), make_records(), changes)


def fuzz_records():
    "JSON of results, and of the networks of a package."
    return Kind(make_record, dict(json=read_json, signed=read_signed, models=lambda path: _read_manifest(Placed(path))))


KINDS = {"FITS images": fuzz_images, "FITS images of a folder": fuzz_folder, "compressed FITS images": fuzz_compressed,
         "FITS tables": fuzz_fits_tables, "tables of positions": fuzz_tables, "VOTables of archives": fuzz_votables,
         "VOTables of positions": fuzz_votable_positions, "index pages": fuzz_pages, "prepared sets": fuzz_prepared,
         "weights": fuzz_weights, "Parquet tables": fuzz_parquets, "settings": fuzz_settings,
         "decisions": fuzz_decisions, "records": fuzz_records}
