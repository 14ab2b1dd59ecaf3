"VOTables of services and users: read in all forms of the standards; what opens addresses or takes memory is refused."
import io
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io.votable import from_table
from astropy.table import Table
from faulty import Service, say
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made import ERROR, FIELDS, OK, OVERFLOW, open_services, scrape, write_centred
from made import write_votable as write

from radiogal.archives import _name_image, _show_index
from radiogal.catalogues import CATALOGUES, _check_answer
from radiogal.clients import (
    _VLASS_SUFFIX,
    _check_links,
    _check_siap,
    _count_results,
    _is_fits,
    _parse_listing,
    _select_newest,
)
from radiogal.fetch import FetchError
from radiogal.inputs import read_positions
from radiogal.positions import BadPositions, BadVotable, HostileVotable, parse_votable

fault = pytest.mark.fault
HERE = SkyCoord(162.5303, 30.6771, unit="deg")
ROW = "<TR><TD>http://{host}/product.fits</TD><TD>{kind}</TD></TR>"


def ask_siap(case, kind="image/fits", rows=1, **parts):
    "The end of a search for an image of TGSS, when the service answers with such a VOTable."
    answer = write("<TABLEDATA>" + ROW.format(host=case.server.host, kind=kind)*rows + "</TABLEDATA>", **parts)
    content = say(answer, Content_Type="text/xml")
    product = say(write_centred("TGSS", HERE, 93))
    case.server.answers = Service(lambda path: content if path.startswith("/siap") else product)
    (row,), _ = scrape(case, HERE, "TGSS", open_services(case.server))
    return f"{row['state']}: {row['reason']}"


@fault(62, "FITS under another media type; QUERY_STATUS OVERFLOW; results after another RESOURCE, status above them",
       "ok")
@pytest.mark.parametrize("kind", ["application/fits", "image/x-fits", "IMAGE/FITS", "image/fits; charset=binary", ""])
def test_fits_has_many_names(case, saw, kind):
    assert ask_siap(case, kind).startswith("ok") and not _is_fits("image/jpeg") and not _is_fits("application/fits-x")
    saw("other media types, capitals and parameters: ok")


META = '<RESOURCE type="meta"><PARAM name="a" datatype="char" arraysize="*" value="x"/></RESOURCE>'
LAYOUTS = {
    "overflow instead of ok": dict(status=OVERFLOW), "overflow after the table": dict(after=OVERFLOW),
    "meta first": dict(before=META), "status on top": dict(before=OK, status=""), "VOTable 1.1": dict(version="1.1"),
    "status in small letters": dict(status='<INFO name="query_status" value="ok"/>'),
    "status in the table": dict(status="", fields=OK + FIELDS)}


@fault(62)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_results_are_found_in_any_layout(case, saw, layout):
    assert ask_siap(case, **LAYOUTS[layout]).startswith("ok")
    saw(f"{layout}: ok")


@fault(62)
def test_failure_is_no_empty_sky(tmp_path, saw):
    "Neither an error after the table, nor a limit that left no row, nor silence about the status is an empty answer."
    for parts in (dict(after=ERROR), dict(status=OVERFLOW), dict(status=""), dict(before=META, status="")):
        (tmp_path/"a").write_bytes(write(**parts))
        with pytest.raises(FetchError, match="^retry: SIAP: QUERY_STATUS is"): _check_siap(tmp_path/"a")
    (tmp_path/"a").write_bytes(write(before=OK, status=""))
    with pytest.raises(FetchError, match="^not_covered"): _check_siap(tmp_path/"a")
    saw("error after the table, overflow without a row, no status: retry")


def list_rows(form, n=CATALOGUES["FRIICAT"].n_rows, more=b""):
    "A catalogue as VizieR may send it."
    number = np.arange(n)
    table = Table(dict(_RAJ2000=10. + number, _DEJ2000=number/9, SDSS=[f"J{i:04}" for i in number], z=number/5e3))
    tree, out = from_table(table), io.BytesIO()
    tree.resources[0].tables[0].name, tree.resources[0].type = CATALOGUES["FRIICAT"].table, "results"
    tree.to_xml(out, tabledata_format=form)
    return out.getvalue()


@fault(63, "a catalogue in BINARY or BINARY2, whole, short and cut", "read; retry")
@pytest.mark.parametrize("form", ["tabledata", "binary", "binary2"])
def test_catalogue_is_counted_in_every_form(tmp_path, saw, form):
    (path := tmp_path/"a").write_bytes(list_rows(form))
    _check_answer(path, CATALOGUES["FRIICAT"])
    path.write_bytes(list_rows(form, 100))
    with pytest.raises(FetchError, match="^retry: .*100 rows, expected 122"): _check_answer(path, CATALOGUES["FRIICAT"])
    path.write_bytes(list_rows(form)[:-300])
    with pytest.raises(FetchError, match="^retry: .*breaks off"): _check_answer(path, CATALOGUES["FRIICAT"])
    saw(f"{form}: whole: read; short and cut: retry")


NAME = _name_image(HERE, "VLASS2.1", 1)
LINKS = ("ID", "access_url", "service_def", "error_message", "semantics")


def link(*faults, cutter=False):
    "DataLink's answer: rows that failed, and one with a service that cuts."
    fields = "".join(f'<FIELD name="{name}" datatype="char" arraysize="*"/>' for name in LINKS)
    rows = "".join(f"<TR><TD>x</TD><TD/><TD/><TD>{fault}</TD><TD>#this</TD></TR>" for fault in faults)
    rows += "<TR><TD>x</TD><TD/><TD>s</TD><TD/><TD>#cutout</TD></TR>"*cutter
    param = '<PARAM name="{}" datatype="char" arraysize="*" value="{}"/>'.format
    standard = param("standardID", "ivo://ivoa.net/std/SODA#sync-1.0")
    soda = (f'<RESOURCE type="meta" ID="s" utype="adhoc:service">{standard}'
            f'{param("accessURL", "http://x/soda")}<GROUP name="inputParams">'
            f'{param("ID", f"nrao:VLASS/{NAME}{_VLASS_SUFFIX}")}</GROUP></RESOURCE>')
    return write(f"<TABLEDATA>{rows}</TABLEDATA>", fields).replace(b"</VOTABLE>", (soda*cutter + "</VOTABLE>").encode())


@fault(64, "DataLink rows of TransientFault, FatalFault and others with status 200",
       "retry or reject, in its words, not kept")
@pytest.mark.parametrize("words, state", [
    ("TransientFault: try later", "retry"), ("FatalFault", "retry"), ("DefaultFault: ?", "retry"),
    ("AuthorizationFault: embargoed", "reject"), ("NotFoundFault: no such ID", "reject")])
def test_faults_of_datalink_are_told(saw, words, state):
    with pytest.raises(FetchError) as told: _check_links(link(words), NAME + _VLASS_SUFFIX)
    assert told.value.state == state and words in told.value.reason
    _check_links(link(words, cutter=True), NAME + _VLASS_SUFFIX)
    saw(f"{words.partition(':')[0]}: {state}")


HREFS = ["file:{path}", "file://{path}", "http://127.0.0.1:9/inside", "ftp://127.0.0.1/x", ""]
SERIAL = {"BINARY": "<BINARY>{}</BINARY>", "BINARY2": "<BINARY2>{}</BINARY2>", "FITS": "<FITS>{}</FITS>",
          "PARQUET": '<PARQUET type="VOTable-remote-file">{}</PARQUET>'}


@fault(65, "a VOTable whose STREAM is at another address, or that announces what it has not",
       "refused before it is read")
@pytest.mark.parametrize("serial", SERIAL)
@pytest.mark.parametrize("href", HREFS)
def test_stream_elsewhere_is_never_opened(tmp_path, saw, monkeypatch, serial, href):
    (tmp_path/"secret").write_text("of this machine")
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_: pytest.fail("an address was opened"))
    content = write(SERIAL[serial].format(f'<STREAM href="{href.format(path=tmp_path/"secret")}"/>'))
    (path := tmp_path/"answer").write_bytes(content)
    for check in (lambda: _count_results(content, "CADC TAP"), lambda: _check_links(content, "a.fits"),
                  lambda: _check_siap(path), lambda: _check_answer(path, CATALOGUES["FRIICAT"])):
        with pytest.raises(FetchError, match="^reject: .*data are elsewhere"): check()
    for suffix in (".vot", ".xml"):
        path.with_suffix(suffix).write_bytes(content)
        with pytest.raises(BadPositions, match="data are elsewhere"): read_positions(path.with_suffix(suffix))
    saw("STREAM href in answers of SIAP, TAP, DataLink and VizieR, and in a user's file: refused, nothing opened")


@fault(65)
@pytest.mark.parametrize("spelt", ['<vot:STREAM xmlns:vot="y" href="file:/x"/>', "<STREAM href='file:/x'>AAAA</STREAM>",
                                   '<STREAM xmlns:x="y" x:href="file:/x"/>',
                                   '<STREAM actuate="onLoad" HREF="file:/x"/>'])
def test_other_spellings_are_refused_too(saw, spelt):
    with pytest.raises(HostileVotable, match="elsewhere"): parse_votable(write(f"<BINARY>{spelt}</BINARY>"))
    saw("with a prefix, in other letters: refused too")


def make_bombs():
    "Small files that announce much."
    field, row = '<FIELD name="a" datatype="{}" arraysize="{}"/>'.format, "<TABLEDATA><TR><TD/></TR></TABLEDATA>"
    stream = f'<BINARY><STREAM encoding="base64">{"A"*40_000}</STREAM></BINARY>'
    other = '<TABLE ref="t" nrows="9000"><DATA/></TABLE>' + " "*9000
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};"*20}">' for i in range(1, 9))
    document = write("<TABLEDATA><TR><TD>&a8;</TD></TR></TABLEDATA>").partition(b"?>")[2]
    return {"nrows": write(row, nrows=' nrows="1000000000"'),
            "nrows of a stream": write(stream, nrows=' nrows="99999999"'),
            "long text": write(row, field("char", "999999999")), "an array": write(row, field("double", "30000x30000")),
            "many digits": write(row, field("int", "9"*5000)), "bounded text": write(stream, field("char", "400000*")),
            "a parameter": write(row, before=META.replace('"*"', '"2000000000"')),
            "rows times columns": write("<TABLEDATA>" + "<TR/>"*1000 + "</TABLEDATA>", field("double", "300000")),
            "columns of another table": write(row, field("double", "40000"), after=other),
            "depth": write(before="<RESOURCE>"*5000, after="</RESOURCE>"*5000),
            "entities": f'<!DOCTYPE VOTABLE [<!ENTITY a0 "lol">{entities}]>'.encode() + document}


MEASURE = """
import resource, sys
from radiogal.positions import BadVotable, parse_votable
import astropy.io.votable
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for content in sys.stdin.buffer.read().split(b"\\0"):
    try: parse_votable(content)
    except BadVotable as e: print(type(e).__name__, e)
    else: print("read")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@fault(65)
def test_memory_is_not_taken_by_announcement(saw):
    bombs = make_bombs()
    told = subprocess.run([sys.executable, "-c", MEASURE], input=b"\0".join(bombs.values()), capture_output=True,
                          check=True, timeout=600)
    *ends, kib = told.stdout.decode().splitlines()
    assert (dict(zip(bombs, (end.partition(" ")[0] for end in ends), strict=True))
            == dict.fromkeys(bombs, "HostileVotable")), ends
    assert int(kib) < 60_000
    saw(f"{len(bombs)} small files that announce much: refused, less than 60 MB taken")


@fault(65)
def test_large_tables_of_users_are_read(tmp_path, saw):
    "What is refused is out of proportion, not large."
    n = 5000
    table = Table(dict(name=[f"a source of a long name {i}" for i in range(n)], ra=np.linspace(0, 359, n),
                       dec=np.zeros(n)))
    for form in ("tabledata", "binary2"):
        table.write(tmp_path/"a.vot", format="votable", tabledata_format=form, overwrite=True)
        assert len(read_positions(tmp_path/"a.vot")) == n
    saw("5000 rows of a user: read")


CUT = dict(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
SEEDS = [write("<TABLEDATA>" + ROW.format(host="x", kind="image/fits")*3 + "</TABLEDATA>"),
         link("TransientFault: x", cutter=True), *(list_rows(form, 3) for form in ("tabledata", "binary", "binary2")),
         *make_bombs().values()]
PIECES = [b"<STREAM href='file:/etc/passwd'/>", b" nrows='99999999999'", b" arraysize='9x9x*'", b" datatype='bit'",
          b"<TABLE>",
          b"</TABLE>", b"&#0;", b"\xff\xfe", b" value='ERROR'", b" ref='x'", b"<FITS/>", b"<BINARY>", b"]]>", b"'",
          b"<TR/>", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"<TD>nan</TD>", b" type='meta'", b""]


@st.composite
def damaged(draw, seeds, pieces):
    "One of some contents, with a few pieces put in, taken out or turned over."
    content = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        place, length = draw(st.integers(0, len(content))), draw(st.integers(0, 40))
        content = content[:place] + draw(st.sampled_from(pieces) | st.binary(max_size=8)) + content[place + length:]
    return content


def test_an_encoding_that_nobody_knows_is_refused():
    with pytest.raises(BadVotable, match="unknown encoding"):
        parse_votable(b'<?xml version="1.0" encoding="tf-8"?><VOTABLE version="1.3"></VOTABLE>')


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # what astropy thinks of such tables
@fault(66, "some thousand damaged VOTables and index pages", "read, or refused in words")
def test_damaged_votables_end_in_words(tmp_path, saw, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_: pytest.fail("an address was opened"))
    path = tmp_path/"a.vot"

    @settings(max_examples=3500, **CUT)
    @given(damaged(SEEDS, PIECES))
    def check(content):
        path.write_bytes(content)
        for read in (lambda: _check_siap(path), lambda: _check_links(content, "a.fits"),
                     lambda: _check_answer(path, CATALOGUES["FRIICAT"])):
            try: read()
            except FetchError as e: assert e.reason.isprintable()
        try: parse_votable(content)
        except BadVotable: pass

    check()
    saw("3500 VOTables")


LONG_VERSION = NAME[:-1] + "9"*5000
ENTRIES = ["VLASS2.1/", f"{NAME}/", f"{LONG_VERSION}/", "QA_REJECTED/", "a.txt"]
PAGES = [_show_index("/ql/", ENTRIES, style) for style in ("text", "table")]
LINKED = [b'<a href="../../etc/passwd">', b'<a href="', b'">', b"Index of", b"\0", b"%2e%2e/", b"//x/", b"<pre>",
          b"</table>", b"VLASS9.9.ql.T99t99.J999999-999999.10.2048.v" + b"9"*5000 + b"/", b"\xc3\x28", b"javascript:",
          b"?C=N;O=D", b""]


@pytest.mark.full
@fault(66)
def test_damaged_index_pages_end_in_words(saw):
    @settings(max_examples=3500, **CUT)
    @given(damaged(PAGES, LINKED))
    def check(content):
        try: entries = _parse_listing(content.decode(errors="replace"), "https://archive/ql/")
        except FetchError: return
        assert all("/" not in entry[:-1] and not entry.startswith(".") and entry.isprintable() for entry in entries)
        _select_newest(entries)

    check()
    saw("3500 index pages")
