"Fuzzing: some cases of each kind of file; and, one by one, the files that once ended in a fault."
import bz2
import errno
import gzip
import io
import os

import fuzz
import fuzz_kinds
import h5py
import numpy as np
import pytest
from astropy.table import Table
from conftest import ROOT

from radiogal.config import ConfigError, Damaged, read_config, read_json
from radiogal.curation import _CurationError, _read_decisions
from radiogal.datasets import _PreparedError, read_prepared, sample_set, write_prepared
from radiogal.engines import _read_rows
from radiogal.inputs import read_positions, read_surveys
from radiogal.positions import (
    BadFile,
    BadImage,
    BadPositions,
    BadVotable,
    CatalogueError,
    check_names,
    open_fits,
    parse_votable,
    read_table,
    unpack,
)
from radiogal.preparation import Unusable
from radiogal.pretrained import WrongModel, _read_any, _read_manifest
from radiogal.scraping import _read_footprint, _read_plain
from radiogal.sources import _read_table_of

pytestmark = pytest.mark.filterwarnings("ignore")  # astropy says much of broken files


@pytest.mark.parametrize("name", [name for name in fuzz.KINDS if name != "weights"])
@pytest.mark.parametrize("n", [25, pytest.param(300, marks=pytest.mark.full)])
def test_malformed_files_end_in_a_reading_or_a_named_error(tmp_path, name, n):
    log = fuzz.try_cases(name, range(n), 1, tmp_path)
    assert not log.faults, log.faults
    assert sum(log.counts.values()) == n and log.counts["refused"]


@pytest.mark.full  # TensorFlow
def test_malformed_weights_end_in_a_reading_or_a_named_error(tmp_path):
    log = fuzz.try_cases("weights", range(300), 1, tmp_path)
    assert not log.faults and log.counts["accepted"] and log.counts["refused"], log.faults


PLAIN = fuzz_kinds.make_images()[0]


def set_card(content, key, value):
    "A FITS file with another value of a card, or with one more."
    card, end = f"{key:<8}= {value:>20}".encode().ljust(80), b"END".ljust(80)
    at = content.find(f"{key:<8}=".encode())
    if at >= 0: return content[:at] + card + content[at + 80:]
    at = content.index(end)
    return content[:at] + card + end + content[at + 160:]


@pytest.mark.parametrize(("key", "value", "told"), [
    ("NAXIS", "1000000000000", "NAXIS = '1000000000000': a whole number of 0 to 999 is needed"),
    ("NAXIS", "two", "NAXIS = 'two'"), ("NAXIS1", "1000000000000", "announce"), ("NAXIS1", "-16", "NAXIS1 = '-16'"),
    ("SIMPLE", "F", "SIMPLE is not T"), ("BITPIX", "7", "BITPIX = '7'"), ("GROUPS", "two", "GROUPS = 'two'")])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_what_a_header_announces_is_not_believed(tmp_path, key, value, told, pack):
    content = set_card(PLAIN, key, value)
    suffix = {bytes: "", gzip.compress: ".gz", bz2.compress: ".bz2"}[pack]
    (path := tmp_path/f"a.fits{suffix}").write_bytes(pack(content))
    for read in (_read_footprint, _read_plain):
        with pytest.raises(BadImage, match="a.fits") as error: read(path)
        assert told in str(error.value)
    with pytest.raises(Unusable): _read_any(path, "FIRST")


@pytest.mark.parametrize("suffix", [".gz", ".bz2"])
@pytest.mark.parametrize("kind", ["wide", "header"])
def test_a_packed_image_that_unpacks_to_hundreds_of_megabytes_is_refused(tmp_path, kind, suffix):
    (path := tmp_path/f"a.fits{suffix}").write_bytes(fuzz_kinds.make_bomb(kind, suffix))
    assert path.stat().st_size < 10**6
    with fuzz.limit_memory(), pytest.raises(BadImage, match="a.fits.*(announce|without an end)"): _read_footprint(path)
    with fuzz.limit_memory(), pytest.raises(Unusable): _read_any(path, "FIRST")


@pytest.mark.parametrize("kind", ["HCOMPRESS_1", "PLIO_1", "X"])
def test_tiles_whose_reader_overruns_its_memory_are_refused(tmp_path, kind):
    packed = set_card(fuzz_kinds.make_packed()[0], "ZCMPTYPE", f"'{kind}'")
    for content in (packed, packed.replace(b"ZCMPTYPE=", b"zcmptype=")):
        (path := tmp_path/"a.fits.fz").write_bytes(content)
        with pytest.raises(BadImage, match=f"a.fits.fz: its tiles are packed by '{kind}"):
            _read_footprint(path)


def test_packed_zeros_behind_an_image_are_not_read(tmp_path):
    (path := tmp_path/"a.fits.gz").write_bytes(fuzz_kinds.make_bomb("behind", ".gz"))
    with pytest.raises(BadImage, match="a.fits.gz: 4194305 bytes or more after the last part"): _read_footprint(path)
    with fuzz.limit_memory(), pytest.raises(BadPositions, match="a.fits.gz: .* packed bytes hold more than"):
        read_positions(path)


def test_what_follows_an_image_and_is_no_part_is_refused(tmp_path):
    (path := tmp_path/"a.fits.gz").write_bytes(gzip.compress(PLAIN + b"xtension= 'IMAGE  '".ljust(2880)))
    with pytest.raises(BadImage, match="2880 bytes or more after the last part belong"): _read_footprint(path)
    path.write_bytes(gzip.compress(PLAIN + bytes(2880)))
    assert _read_footprint(path)[2:] == (16, 16)


def test_images_packed_by_others_are_refused(tmp_path):
    (path := tmp_path/"a.fits").write_bytes(b"PK\x03\x04" + bytes(5000))
    with pytest.raises(BadFile, match="packed by zip, which is not read: unpack it"), open_fits(path): pass


PACKED = gzip.compress(PLAIN)
NOT_WHOLE = {  # What is left of a packed image, and what is said of it
    "gzip, cut": (".gz", PACKED[:len(PACKED)//2], "cannot be unpacked: Compressed file ended"),
    "gzip, changed": (".gz", PACKED[:-6] + bytes([PACKED[-6] ^ 255]) + PACKED[-5:], "cannot be unpacked: CRC check"),
    "bzip2, cut": (".bz2", bz2.compress(PLAIN)[:-20], "cannot be unpacked: Compressed file ended"),
    "tiles, cut": (".fz", fuzz_kinds.make_packed()[0][:-2880], "a header announces [0-9]+ bytes, fewer follow"),
    "a page": (".gz", gzip.compress(b"<html>no such image</html>"*200), "not FITS")}


@pytest.mark.parametrize("what", NOT_WHOLE)
def test_a_packed_image_that_is_not_whole_is_named_with_the_way_out(tmp_path, what):
    suffix, content, told = NOT_WHOLE[what]
    (path := tmp_path/f"a.fits{suffix}").write_bytes(content)
    for read in (_read_footprint, _read_plain):
        with pytest.raises(BadImage, match=f"a.fits{suffix}: {told}.*: copy or download it again"): read(path)
    with pytest.raises(Unusable, match=f"{told}.*: copy or download it again"): _read_any(path, "FIRST")


def test_a_disk_that_fails_is_not_taken_for_a_packed_image_that_is_cut(tmp_path, monkeypatch):
    (path := tmp_path/"a.fits.gz").write_bytes(PACKED)
    def fail(*_): raise OSError(errno.EIO, os.strerror(errno.EIO))
    monkeypatch.setattr(gzip.GzipFile, "read", fail)
    with pytest.raises(OSError, match="Input/output error"), open_fits(path): pass


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
@pytest.mark.parametrize("number", [0, 2])
def test_packed_tables_of_positions_are_read(tmp_path, monkeypatch, number, pack):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    suffix = ".gz" if pack is gzip.compress else ".bz2"
    (path := tmp_path/f"a.fits{suffix}").write_bytes(pack(fuzz_kinds.make_fits_tables()[number]))
    assert len(read_positions(path)) >= 2
    (text := tmp_path/f"a.csv{suffix}").write_bytes(pack(b"name,ra,dec\na,10.5,-1.5\n"))
    assert list(read_positions(text)["name"]) == ["a"]
    assert sorted(tmp_path.iterdir()) == [text, path]


def test_a_table_that_fpack_packed_is_refused_by_name(tmp_path):
    (path := tmp_path/"a.fits.fz").write_bytes(fuzz_kinds.make_fits_tables()[3])
    with pytest.raises(BadPositions, match=r"a\.fits\.fz: a table that fpack packed: unpack it with funpack"):
        read_positions(path)


def test_packed_bytes_that_break_off_are_told():
    with pytest.raises(BadFile, match="cannot be unpacked"): unpack(gzip.compress(bytes(1000))[:-9])
    assert unpack(b"plain") == b"plain"


@pytest.mark.parametrize("text", ["ra,dec\n1,x\n", "ra,dec\n1,95\n", "a,b\n1,2\n", ""])
def test_an_error_of_positions_names_the_file(tmp_path, text):
    (path := tmp_path/"mine.csv").write_text(text)
    with pytest.raises(BadPositions, match="mine.csv"): read_positions(path)


def test_a_table_of_ones_own_that_lacks_a_key_is_told(tmp_path):
    (path := tmp_path/"a.ecsv").write_text("# %ECSV 1.0\n# ---\n# datatype:\n# - {datatype: float64}\nra\n1\n")
    with pytest.raises(CatalogueError, match="a.ecsv: not an ECSV table"): read_table(path)


def test_facts_of_a_votable_open_no_address(tmp_path):
    (tmp_path/"secret").write_text("")
    (path := tmp_path/"a.vot").write_bytes(fuzz_kinds.make_votables()[0])
    assert len(_read_table_of(path)) == 3
    path.write_text(f'<VOTABLE version="1.3"><RESOURCE><TABLE><FIELD name="a" datatype="int"/><DATA><BINARY>'
                    f'<STREAM href="file://{tmp_path}/secret"/></BINARY></DATA></TABLE></RESOURCE></VOTABLE>')
    assert _read_table_of(path) is None


def test_a_votable_in_an_encoding_that_no_parser_has_is_told():
    with pytest.raises(BadVotable, match="multi-byte"):
        parse_votable(b'<?xml version="1.0" encoding="utf-7"?><VOTABLE version="1.3"/>')


def test_a_table_of_one_line_names_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/"ra").write_text("# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int64}\na\n1\n")
    (path := tmp_path/"a.ecsv").write_text("ra")
    with pytest.raises(CatalogueError, match="a.ecsv: not an ECSV table"): read_table(path)


def test_units_are_shown_in_print(tmp_path):
    (path := tmp_path/"a.csv").write_text("name,ra (J\x1b),dec\n" )
    with pytest.raises(BadPositions) as error: read_positions(path)
    assert str(error.value).isprintable()


SMOKE = (ROOT/"config"/"smoke.toml").read_text()


@pytest.mark.parametrize("value", ["["*5000 + "]"*5000, "{a="*3000 + "1" + "}"*3000, "9"*5000, "0x" + "f"*5000,
                                   "9"*400, f"'{'x'*5000}'"])
def test_settings_that_break_their_parser_are_told(tmp_path, value):
    (path := tmp_path/"run.toml").write_text(SMOKE.replace("epochs = 2", f"epochs = {value}"))
    with pytest.raises(ConfigError, match="run.toml") as error: read_config(path)
    assert len(str(error.value)) < 1500
    with pytest.raises(ConfigError, match="run.toml"): read_surveys(path)


def test_settings_of_keys_within_keys_are_told(tmp_path):
    (path := tmp_path/"run.toml").write_text(f"{'.'.join('a'*3000)} = 1\n{SMOKE}")
    with pytest.raises(ConfigError, match="run.toml"): read_config(path)


def test_a_headline_that_is_no_section_is_told_with_a_seed_too(tmp_path):
    (path := tmp_path/"run.toml").write_text(f"headline = 1\n{SMOKE}")
    with pytest.raises(ConfigError, match="headline"): read_config(path, 2)


@pytest.mark.parametrize("content", ["["*100_000, '{"a":'*50_000])
def test_records_nested_too_deeply_are_told(tmp_path, content):
    (path := tmp_path/"models.json").write_text(content)
    with pytest.raises(Damaged, match="models.json is damaged, not JSON"): read_json(path)
    with pytest.raises(WrongModel, match="models.json is damaged, not JSON"): _read_manifest(tmp_path)


def test_a_heading_of_decisions_is_shown_in_part_and_in_print(tmp_path):
    (path := tmp_path/"a.csv").write_bytes(b"name,\x80\x1b[2J" + b"x"*200_000 + b"\n")
    with pytest.raises(_CurationError, match="a.csv: columns are name,") as error: _read_decisions(path, set())
    assert len(str(error.value)) < 500 and str(error.value).isprintable()


def huge(f):
    del f["rms"]
    f.create_dataset("rms", (10**11,), "f4", chunks=(1024,), compression="gzip")


def relabel(f):
    f["labels"][...] = 99
    fuzz_kinds.sign_again(f)


def reshape(f):
    del f["survey"]
    f["survey"] = np.zeros((3, 2))
    fuzz_kinds.sign_again(f)


@pytest.mark.parametrize("change", [huge, relabel, reshape, lambda f: f.attrs.update(digest=1),
                                    lambda f: f.attrs.update(digest=h5py.Empty("f4"))])
def test_a_prepared_set_with_other_content_is_named(tmp_path, change):
    path = write_prepared(sample_set(read_config(ROOT/"config"/"smoke.toml"), "FIRST"), tmp_path/"a.h5")
    with h5py.File(path, "r+") as f: change(f)
    with fuzz.limit_memory(), pytest.raises(_PreparedError, match="a.h5: not a prepared set"): read_prepared(path)


def test_fuzzing_tells_faults_apart(tmp_path, monkeypatch):
    "An error that is no sentence about the file, a leak, a loop and a file left behind are faults; a refusal is none."
    path = tmp_path/"case.csv"
    def raise_it(error): raise error
    ends = {name: fuzz.read_once(lambda _, error=error: raise_it(error), path, True).kind for name, error in dict(
        refused=ConfigError("case.csv: no"), nameless=ConfigError("no"), bare=ValueError("case.csv"),
        memory=ConfigError("case.csv: MemoryError"), torn=ConfigError("case.csv: \x1b[2J")).items()}
    assert ends == dict(refused="refused", nameless="fault", bare="fault", memory="fault", torn="fault")
    monkeypatch.setattr(fuzz, "SECONDS", 0.05)
    def loop(path):
        while True: pass
    assert fuzz.read_once(loop, path, True).place.startswith("TooLong")
    assert fuzz.judge(dict(a=fuzz.End("refused"), b=fuzz.End("accepted"))) == "accepted"
    kind = fuzz_kinds.Kind(lambda rng: (".txt", b"x"), dict(leave=lambda path: (path.parent/"left").touch()))
    monkeypatch.setattr(fuzz, "open_kind", lambda name: kind)
    assert fuzz.judge(fuzz.try_case("any", 1, 1, tmp_path)) == "fault"


def write_repeated(text, n):
    "A Parquet file of a column of texts, each the same, which is in it once."
    import pyarrow as pa
    from pyarrow import parquet
    same = pa.DictionaryArray.from_arrays(pa.array([0]*n, pa.int32()), [text])
    parquet.write_table(pa.table(dict(name=same)), kept := io.BytesIO(), store_schema=False)
    return kept.getvalue()


def test_a_text_that_a_small_file_holds_for_each_of_many_rows_is_not_copied(tmp_path):
    (path := tmp_path/"a.parquet").write_bytes(write_repeated("x"*10**6, 10**4))
    assert path.stat().st_size < 10**6
    with fuzz.limit_memory(), pytest.raises(BadPositions, match="a.parquet: its texts would take 9.31 GiB"):
        read_positions(path)
    with fuzz.limit_memory(), pytest.raises(Damaged, match="a.parquet cannot be read: its texts would take"):
        _read_rows(path)


def test_names_that_occur_often_are_told_in_part_and_in_print():
    table = Table(dict(name=[f"{i % 40}\u202e" + "x"*1000 for i in range(80)]))
    with pytest.raises(CatalogueError, match="mine: named more than once: .* and 30 more") as error:
        check_names(table, "mine")
    assert len(str(error.value)) < 1000 and str(error.value).isprintable()


def test_the_same_seed_draws_the_same_cases(tmp_path):
    draw = lambda seed: [fuzz.draw_case("settings", number, seed, tmp_path)[1].read_bytes() for number in range(20)]
    assert draw(1) == draw(1) != draw(2)


def test_a_report_counts_and_names_faults():
    log = fuzz.Log(fuzz.Counter(accepted=1, refused=2, fault=1), {"settings, run: KeyError": (7, "words")}, 1.2, 90)
    text = fuzz.format_report(dict(settings=log), 4, 1)
    assert "| settings | 4 | 1 | 2 | 1 | 1 | 90 |" in text and "* settings, run: KeyError, case 7" in text
