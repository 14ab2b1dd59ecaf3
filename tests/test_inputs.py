"Positions in every format that people have them in, and rows, columns and texts that are none."
import csv
import io
import warnings
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import FK4, SkyCoord
from astropy.table import Table
from pyarrow import parquet

from radiogal.inputs import parse_position, read_positions
from radiogal.positions import BadPositions


@pytest.fixture(scope="module")
def frdeep(mirror):
    "Names and positions of FRDEEP's 460 training sources."
    rows = list(csv.DictReader(next(mirror.rglob("FRDEEPv2_train.csv")).read_text().splitlines()))
    ra, dec = ([row[key] for row in rows] for key in ("RA(J2000)", "DEC(J2000)"))
    return [row["Object_ID"] for row in rows], SkyCoord(ra, dec, unit=("hourangle", "deg"))


def write_columns(separator, ra, dec, heading=("Name", "RA", "Dec")):
    "A writer of separated values."
    def write(path, names, coords):
        rows = zip(names, ra(coords), dec(coords), strict=True)
        path.write_text("\n".join(separator.join(cells) for cells in [heading, *rows]))
    return write


def write_table(form, **options):
    "A writer of a table in degrees, as astropy writes it."
    def write(path, names, coords):
        table = Table(dict(SOURCE_NAME=names, RAJ2000=coords.ra, DEJ2000=coords.dec))
        table.write(path, format=form, **options)
    return write


def write_parquet(path, names, coords):
    "Degrees under the names of another catalogue."
    Table(dict(Object_ID=names, ra_deg=coords.ra.deg, dec_deg=coords.dec.deg)).to_pandas().to_parquet(path)


def write_regions(path, names, coords):
    "Circles and points of DS9 in turn."
    shapes = "circle({},{},5\")", "point({},{}) # point=x", "ellipse({},{},9\",4\",30)"
    places = zip(sexagesimal(coords, "ra", ":"), sexagesimal(coords, "dec", ":"), strict=True)
    lines = [shapes[i % 3].format(*place) + (" #" if i % 3 != 1 else "") + f" text={{{name}}}"
             for i, (name, place) in enumerate(zip(names, places, strict=True))]
    path.write_text("\n".join(["# Region file format: DS9 version 4.1", "global color=green", "fk5", *lines]))


def sexagesimal(coords, key, sep):
    angle, unit = (coords.ra, u.hourangle) if key == "ra" else (coords.dec, u.deg)
    return angle.to_string(unit, sep=sep, precision=2, pad=True, alwayssign=key == "dec")


degrees = lambda key: lambda coords: [f"{value:.6f}" for value in getattr(coords, key).deg]
hours = lambda coords: [f"{value:.8f}" for value in coords.ra.hourangle]
parts = lambda key, sep: lambda coords: sexagesimal(coords, key, sep)
FORMATS = {
    "mine.csv": write_columns(";", degrees("ra"), degrees("dec")),
    "tabs.csv": write_columns("\t", degrees("ra"), degrees("dec")),
    "sexagesimal.csv": write_columns(",", parts("ra", ":"), parts("dec", ":")),
    "hours.csv": write_columns(",", hours, degrees("dec"), ("name", "ra_hours", "dec_deg")),
    "mine.ecsv": write_table("ascii.ecsv"), "mine.vot": write_table("votable"), "mine.fits": write_table("fits"),
    "mine.parquet": write_parquet, "mine.reg": write_regions,
    "pasted.txt": lambda path, names, coords: path.write_text("\n".join(
        f"{name}  {place}" for name, place in zip(names, coords.to_string("hmsdms", precision=2), strict=True)))}


@pytest.mark.parametrize("name", FORMATS)
def test_460_positions_are_the_same_in_ten_formats(frdeep, tmp_path, name):
    names, coords = frdeep
    FORMATS[name](tmp_path/name, names, coords)
    found = read_positions(tmp_path/name)
    assert found.meta["rejected"] == [] and list(found["name"]) == names
    assert SkyCoord(found["ra"], found["dec"], unit="deg").separation(coords).max() < 0.1*u.arcsec


def test_pasted_text_and_standard_input_are_read_as_files(monkeypatch):
    text = "NGC 315 00:57:48.9 +30:21:09\n3C 31, 16.854 32.412\nnothing here\n"
    for source in (text, "-"):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
        found = read_positions(source)
        assert list(found["name"]) == ["NGC 315", "3C 31"]
        assert found.meta["rejected"] == [(3, "not a position: 'nothing here'")]


TEXTS = {"08 12 40.8 +48 46 02": (123.17, 48.767222), "08h12m40.8s+48d46m02s": (123.17, 48.767222),
         "J081240.8+484602": (123.17, 48.767222),
         "123.17 +48.767": (123.17, 48.767), "08:12:40.8,+48:46:02": (123.17, 48.767222),
         "8h12m40.8s +48d46m02s": (123.17, 48.767222), "123.17, 48.767": (123.17, 48.767),
         "SDSS J081240.80+484602.0": (123.17, 48.767222), "10 50 07 \u221200 30 00": (162.529167, -0.5)}


@pytest.mark.parametrize("text", TEXTS)
def test_one_position_is_read(text):
    coord = parse_position(text)
    np.testing.assert_allclose([coord.ra.deg, coord.dec.deg], TEXTS[text], atol=1e-5)
    assert len(read_positions(text)) == 1


@pytest.mark.parametrize("text, told", [
    ("B0812+487", "a name with B is of 1950"), ("J0812+4846", "one without seconds is too coarse"),
    ("3C 31", "'3C 31' is not a position"), ("12 95", "not on the sky"), ("25 00 00 +10 00 00", "'25 00 00'"),
    ("400 10", "not on the sky"), ("", "is not a position")])
def test_what_is_no_position_is_told(text, told):
    with pytest.raises(BadPositions) as error: parse_position(text)
    assert told in str(error.value) and "\n" not in str(error.value)


COLUMNS = {"RAJ2000,DEJ2000": (), "_RA,_DE": (), "ra_deg,dec_deg": (), "alpha,delta": (), "ALPHA_J2000,DELTA_J2000": (),
           "RA(2000),DEC(2000)": (), "Right_Ascension,Declination": (), "RA_ICRS,DE_ICRS": (),
           "x,y": ("x", "y"), "RA_1,DEC_1,RA_2,DEC_2": ("RA_2", "DEC_2")}


@pytest.mark.parametrize("heading", COLUMNS)
def test_columns_are_found_or_named(tmp_path, heading):
    n = heading.count(",") + 1
    (tmp_path/"a.csv").write_text(f"{heading},note\n{','.join(['10.5', '-1.5', '10.5', '-1.5'][:n])},x\n")
    found = read_positions(tmp_path/"a.csv", *COLUMNS[heading])
    np.testing.assert_allclose([found["ra"][0], found["dec"][0]], [10.5, -1.5])
    if COLUMNS[heading]:
        with pytest.raises(BadPositions, match=r"it has .*: say which hold the position \(ra="):
            read_positions(tmp_path/"a.csv")


@pytest.mark.parametrize("asked, told", [
    (dict(ra="RA_9", dec="b"), "no column 'RA_9' for ra: it has 'a', 'b'"), (dict(ra="a"), "name both columns"),
    (dict(ra="a", dec="b", name="c"), "no column 'c' for name")])
def test_columns_that_are_not_there_are_told(tmp_path, asked, told):
    (tmp_path/"a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadPositions, match=told): read_positions(tmp_path/"a.csv", **asked)


def test_ucds_say_which_columns_hold_the_position(tmp_path):
    table = Table(dict(source=["a"], x=[10.5]*u.deg, y=[-1.5]*u.deg, z=[1.]*u.deg))
    kinds = dict(x="pos.eq.ra;meta.main", y="pos.eq.dec;meta.main", z="pos.eq.ra")
    for name, ucd in kinds.items(): table[name].meta["ucd"] = ucd
    table.write(tmp_path/"a.vot", format="votable")
    assert read_positions(tmp_path/"a.vot")["ra"][0] == 10.5
    for name, ucd in kinds.items(): table.meta[f"TUCD{table.colnames.index(name) + 1}"] = ucd
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table.write(tmp_path/"a.fits")
    assert read_positions(tmp_path/"a.fits")["dec"][0] == -1.5


def test_columns_of_1950_are_converted(tmp_path):
    old = SkyCoord(10.5, -1.5, unit="deg").transform_to(FK4(equinox="B1950"))
    (tmp_path/"a.csv").write_text(f"RAB1950,DEB1950\n{old.ra.deg},{old.dec.deg}\n")
    found = read_positions(tmp_path/"a.csv")
    np.testing.assert_allclose([found["ra"][0], found["dec"][0]], [10.5, -1.5], atol=1e-6)


def test_rows_that_are_no_positions_are_listed_and_the_others_read(tmp_path):
    (tmp_path/"a.csv").write_text("name,ra,dec\na,1,2\nb,,3\nc,north,4\nd,5,6,7\na,8,9\ne,10,95\nf,11,12\n")
    found = read_positions(tmp_path/"a.csv")
    assert list(found["name"]) == ["a", "f"]
    assert dict(found.meta["rejected"]) == {
        2: "the position is missing, not finite, or not on the sky", 3: "ra is not an angle: 'north'",
        4: "it has 4 cells, the heading 3: ['d', '5', '6', '7']", 5: "a name of a row above",
        6: "the position is missing, not finite, or not on the sky"}


REGIONS = """# Region file format: DS9
fk5; circle(10:00:00,+10:00:00,5") # text={one}
-circle(10:00:00,+10:00:00,5")
polygon(1,2,3,4,5,6)
image
point(100,200)
icrs
box(20.5,-3,10",10",0) # color=red text={two}
point 30.5 -4
"""


@pytest.mark.parametrize("units, ra, found", [
    ("d:m:s,d:m:s", "12:30:00", 12.5), ("dms,dms", "12 30 00", 12.5), ("h:m:s,d:m:s", "12:30:00", 187.5),
    ("hms,dms", "12.5", 187.5), ("deg,deg", "12.5", 12.5), ("deg,deg", "12h30m00s", 187.5),
    ("hourangle,deg", "12:30:00", 187.5), ("--,--", "12:30:00", 187.5), ("deg,deg", "12:30:00", "write degrees, or"),
    ("hms,hms", "12:30:00", "column dec: its unit is hms, an hour angle")])
def test_a_stated_unit_is_that_of_sexagesimal_text_too(tmp_path, units, ra, found):
    (tmp_path/"a.csv").write_text(f"name,ra,dec\n,{units}\na,{ra},10:00:00\n")
    if isinstance(found, float): assert read_positions(tmp_path/"a.csv")["ra"][0] == pytest.approx(found)
    else:
        with pytest.raises(BadPositions, match=found): read_positions(tmp_path/"a.csv")


def test_regions_have_centres_or_reasons(tmp_path):
    (tmp_path/"a.reg").write_text(REGIONS)
    found = read_positions(tmp_path/"a.reg")
    np.testing.assert_allclose(found["ra"], [150, 20.5, 30.5], atol=1e-5)
    assert list(found["name"][:2]) == ["one", "two"]
    assert [reason for _, reason in found.meta["rejected"]] == [
        "an excluded region", "a polygon has no centre", "it is in image: save it as fk5 or icrs"]


def test_columns_parted_by_spaces_may_hold_spaces(tmp_path):
    (tmp_path/"a.txt").write_text("id RA DEC flux\n1 10 50 07.27 +30 40 37.5 3\n2 00 13 57 -09 19 51 4\n")
    np.testing.assert_allclose(read_positions(tmp_path/"a.txt")["ra"], [162.530292, 3.4875], atol=1e-5)


@pytest.mark.parametrize("content, told", [
    (b"", "it is empty"), (b"PAR1xxxx", "not a Parquet table"), (b"\x00\x01", "not UTF-8"),
    (b"what is this\nno idea\n", "no column")])
def test_files_of_another_kind_are_told(tmp_path, content, told):
    (tmp_path/"a.dat").write_bytes(content)
    with pytest.raises(BadPositions, match=told): read_positions(tmp_path/"a.dat")


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(BadPositions, match="there is no such file"): read_positions(tmp_path/"a.csv")
    with pytest.raises(BadPositions, match="there is no such file"): read_positions("nowhere.csv")
    with pytest.raises(BadPositions, match="is not a position"): read_positions("3C 31")
    with pytest.raises(BadPositions, match="cannot be read"): read_positions(tmp_path)


REAL = {"AGN 201 Radio.csv": 201, "catalog_first_VLA_1.csv": 7394, "Veron_MaNGA_VLAF.fits": 107, "test_first.fits": 998,
        "test_nvss.fits": 562, "test_components.csv": 1255, "test_hosts.csv": "'RA_Source', 'DEC_Source'",
        "julia_406_VLASS.fits": "'_RAJ2000_1', '_DEJ2000_1'"}


@pytest.mark.parametrize("name", REAL)
def test_real_tables_are_read_or_refused_in_words(mirror, name):
    path = mirror.parent/"tables"/name
    if not path.is_file(): pytest.skip("no real tables beside the mirror")
    if isinstance(REAL[name], int): found = read_positions(path)
    else:
        with pytest.raises(BadPositions, match=f"it has .*{REAL[name]}"): read_positions(path)
        ra, dec = REAL[name].replace("'", "").split(", ")
        found = read_positions(path, ra, dec)
    n = len(found) + len(found.meta["rejected"])
    assert n == (REAL[name] if isinstance(REAL[name], int) else n) and len(found) > 0.8*n


def test_a_small_parquet_file_of_very_many_rows(tmp_path):
    "Its header says how many; nothing is read."
    n = 20*10**6
    group = pa.table({key: pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, "i1")), pa.array([1.]))
                      for key in ("ra", "dec")})
    parquet.write_table(group, tmp_path/"a.parquet", compression="zstd", store_schema=False)
    assert (tmp_path/"a.parquet").stat().st_size < 10**6
    with pytest.raises(BadPositions, match="20000000 rows of 2 columns"): read_positions(tmp_path/"a.parquet")
