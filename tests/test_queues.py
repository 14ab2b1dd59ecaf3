"What keeps one host, one file or one text from spoiling the rest: pauses, files that open, reasons of one line, names."
import os
import subprocess
import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from conftest import ROOT
from faulty import Service, say
from made import OK, open_services, scrape, write_centred, write_votable

from radiogal.clients import ArchiveAccess, _describe_image
from radiogal.cutouts import CutoutPlan, Target, name_file, plot_coverage, to_ascii
from radiogal.fetch import AGAIN, Fetcher, FetchError, Limits, Manifest, fetch_all, hash_file, is_loopback, one_line
from radiogal.positions import read_table, write_table
from radiogal.scraping import _tabulate_outcomes, fetch_cutouts, fetch_targets
from radiogal.shards import _write_parquet, list_retries, name_shard
from radiogal.workflow import _find_retries

fault = pytest.mark.fault
HERE = SkyCoord(162.5303, 30.6771, unit="deg")
BODY = b"radio galaxy"


class Moods(Service):
    "A host that answers badly at first: with one status, so many times."
    def __init__(self, status, times, good):
        super().__init__(self.choose)
        self.status, self.left, self.good = status, times, good

    def choose(self, path):
        self.left -= 1
        return say(status=self.status) if self.left >= 0 else self.good


def fetch_many(case, n, **limits):
    "Outcomes of many files of one host, what the user was told, and the fetcher."
    fetcher = case.open_fetcher(**dict(tries=1, failures=5) | limits)
    said, wanted = [], [case.want(f"http://{case.server.host}/{i}") for i in range(n)]

    def get(one):
        fetcher.hosts.tell = said.append
        return fetcher.get_file(one)

    ends = fetch_all(fetcher, get, wanted)
    return [end.state if isinstance(end, FetchError) else "ok" for end in ends], said, fetcher, ends


@fault(67, "a host that fails five times or with one 403, for a while or for good",
       "its queue waits; not_asked at last")
@pytest.mark.parametrize("status, times, state", [
    ("500 Oops", 5, "retry"), ("403 Forbidden", 1, "reject"), ("503 Busy", 7, "retry")])
def test_queue_waits_until_the_host_is_well(case, saw, status, times, state):
    case.server.answers = Moods(status, times, say(BODY))
    states, said, *_ = fetch_many(case, 40, stop_s=0.2, connections=1)
    assert states.count(state) == times and states.count("ok") == 40 - times and len(case.server.requests) == 40
    assert said and all("is left alone for 0.2 s after" in line and "asked again at" in line for line in said)
    saw(f"{times} times {status}: {times} {state}, 35 and more ok after pauses that are told of")


@fault(67)
def test_files_behind_a_dead_host_are_not_asked(case, saw, tmp_path):
    case.server.answers = Moods("500 Oops", 10**6, say(BODY))
    states, said, fetcher, ends = fetch_many(case, 60, stop_s=1., give_up_s=1.5)
    asked = len(case.server.requests)
    assert set(states) == {"retry", "not_asked"} and states.count("retry") == asked < 40
    assert all("given up after 1.5 s without an answer" in end.reason for end in ends if end.state == "not_asked")
    assert fetcher.manifest.count_states() == dict(retry=asked)
    saw("dead for good: some tries, then not_asked, without a row in the manifest")


@fault(67)
def test_host_that_is_well_again_is_asked_by_the_same_fetcher(case, saw):
    "Also a missing page is an answer: the host is well."
    case.server.answers = moods = Moods("500 Oops", 6, say(status="404 Not Found"))
    states, _, fetcher, _ = fetch_many(case, 8, stop_s=0.1, connections=1)
    assert states.count("retry") == 6 and states.count("reject") == 2 and not fetcher.hosts.silent_since
    moods.good = say(BODY)
    case.get(fetcher, case.want(f"http://{case.server.host}/a"), BODY)
    with fetcher.manifest.connect() as db: assert db.execute("SELECT failures FROM hosts").fetchone() == (0,)
    saw("a page not found after the pause: the host is well")


@fault(67)
def test_positions_not_asked_are_asked_by_the_next_run(case, saw, tmp_path):
    coords = SkyCoord(162.5 + np.arange(12)/10, np.full(12, 30.), unit="deg")
    case.server.answers = moods = Moods("500 Oops", 10**6, None)
    services = open_services(case.server)

    def run(stop_s):
        fetcher = Fetcher(Manifest(tmp_path/"manifest.sqlite"), services.allowed_hosts,
                          Limits(tries=1, wait_s=0.01, stop_s=stop_s, give_up_s=0., failures=2), 0)
        return fetch_cutouts(coords, "FIRST", 2.4*u.arcmin, ArchiveAccess(fetcher, tmp_path/"raw", services),
                             tmp_path/"cutouts")

    table = run(stop_s=300.)
    states = list(table["state"])
    assert set(states) == set(AGAIN) and states.count("not_asked") >= 8
    assert dict(_tabulate_outcomes(table).iterrows("state", "n"))["not_asked"] == states.count("not_asked")
    plot_coverage(Table(dict(ra=coords.ra.deg, dec=coords.dec.deg)), table).figure.clear()
    write_table(table[table["state"] == "not_asked"], tmp_path/"scraping"/"FIRST"/"cutouts.ecsv")
    assert len(_find_retries(tmp_path, ("FIRST",))) == 1
    name_shard(tmp_path, "shards", 0, ".parquet").parent.mkdir()
    _write_parquet(table["state", "reason"].to_pandas(), name_shard(tmp_path, "shards", 0, ".parquet"), {})
    assert len(list_retries(tmp_path)) == 2
    moods.left, pages = 0, iter(range(10**6))
    moods.choose = moods.answer = lambda path: say(write_centred("FIRST", coords[next(pages) % 12]))
    assert "not_asked" not in set(run(stop_s=0.)["state"])
    saw("12 positions, then a new run: all asked")


def make_poison():
    "Images of FIRST that break their reader only when pixels are asked for, or coordinates are used."
    good = write_centred("FIRST", HERE)
    card = lambda key, text: put_card(good, key, text)
    return {"BITPIX -33": card("BITPIX", "BITPIX  =                  -33"), "BITPIX 0": card("BITPIX", "BITPIX  = 0"),
            "NAXIS1 a text": card("NAXIS1", "NAXIS1  = 'wide    '"), "RADESYS": card("RADESYS", "RADESYS = 'XYZ     '"),
            "CRVAL2 beyond the pole": card("CRVAL2", "CRVAL2  = 1E9"), "no image": card("NAXIS", "NAXIS   = 0")[:2880],
            "CTYPE1 of two kinds": card("CTYPE1", "CTYPE1  = 'GLON-SIN'")}


def put_card(content, key, text):
    "A FITS file with another card in place of one."
    at = content.index(f"{key:<8}=".encode())
    return content[:at] + text.encode().ljust(80) + content[at + 80:]


@fault(68, "an image that breaks its reader, new or kept by an older version", "reject, not kept, asked for again")
@pytest.mark.parametrize("kind", make_poison())
def test_what_does_not_open_is_not_kept(case, saw, kind):
    case.server.answers = Service(lambda path: say(make_poison()[kind]))
    services = open_services(case.server)
    for _ in range(2): table, rows = scrape(case, HERE, "FIRST", services)
    assert [str(s) for s in table["state"]] == ["reject"] == [r.state for r in rows] and len(case.server.requests) == 2
    assert table["reason"][0].isprintable() and not list((case.folder/"raw").glob("*.fits"))
    case.server.answers = Service(lambda path: say(write_centred("FIRST", HERE)))
    table, rows = scrape(case, HERE, "FIRST", services)
    assert (table["state"][0], rows[0].state) == ("ok", "ok")
    saw("reject with its reason; asked again by each run, ok when the archive has mended it")


@fault(68)
def test_poison_of_an_older_version_is_asked_for_again(case, saw):
    case.server.answers = Service(lambda path: say(write_centred("FIRST", HERE)))
    services = open_services(case.server)
    _, (row,) = scrape(case, HERE, "FIRST", services)
    (path,) = (case.folder/"raw").glob("*.fits")
    path.write_bytes(make_poison()["BITPIX -33"])
    manifest = Manifest(case.folder/"raw"/"manifest.sqlite")
    manifest.write(type(row)(**vars(row) | dict(sha256=hash_file(path), n_bytes=path.stat().st_size)))
    table, _ = scrape(case, HERE, "FIRST", services)
    assert table["state"][0] == "ok" and len(case.server.requests) == 2
    saw("recorded as ok with its hash, but does not open: asked for again")


@fault(68)
@pytest.mark.parametrize("error", [TypeError("a"), ZeroDivisionError("b"), MemoryError("c"), OSError(5, "d"),
                                   KeyError("e")])
def test_reader_that_breaks_rejects_its_file_alone(case, saw, error):
    def check(path): raise error
    wanted = case.want(case.server.answer("/a", say(BODY)), check=check)
    reason = case.fail(case.open_fetcher(), wanted)
    assert reason.startswith(f"reject: a cannot be read: {type(error).__name__}: ")
    saw("whatever a reader raises: reject, and not 'cannot write'")


TEXT = "down\n# %ECSV 1.0\r\n\x1b]0;owned\x07\x1b[31m\u202eleft\u2028 \x00\x9b, \"quoted\" "


@fault(69, "line ends, #, escape sequences, endless text of a service",
       "a reason of one printable line, a table that reads back")
def test_foreign_text_is_one_line(case, saw, tmp_path):
    status = OK.replace('"OK"/>', f'"ERROR">{"".join(c for c in TEXT if c.isprintable() or c in chr(10))}'
                                  f'{"x"*10**5}</INFO>')
    case.server.answers = Service(lambda path: say(write_votable(status=status), Content_Type="text/xml"))
    table, rows = scrape(case, HERE, "TGSS", open_services(case.server))
    assert table["state"][0] == "retry" and table["reason"][0].isprintable() and len(table["reason"][0]) < 700
    for reason in (one_line(TEXT), FetchError("retry", TEXT).reason):
        assert reason.isprintable() and len(reason.splitlines()) == 1 and "# %ECSV 1.0 ?]0;owned??[31m?left" in reason
    table["reason"] = [FetchError("retry", TEXT).reason]
    write_table(table, tmp_path/"a.ecsv")
    assert read_table(tmp_path/"a.ecsv")["reason"][0] == table["reason"][0]
    saw("one printable line of 500 characters at most; the table reads back")


@fault(69)
def test_address_with_line_ends_makes_no_table_unreadable(case, saw, tmp_path):
    case.server.answers = Service(lambda path: say(b"x"*10, status="302 Found", Location="/a\tb\x1b[0m#c"))
    table, _ = scrape(case, HERE, "FIRST", open_services(case.server))
    assert table["reason"][0].isprintable()
    write_table(table, tmp_path/"a.ecsv")
    assert len(read_table(tmp_path/"a.ecsv")) == 1
    saw("odd addresses: one printable line")


@fault(70, "a target named as another one's file", "two files")
@pytest.mark.parametrize("name", ["3C 31", "a/b", "x"*70, "naïve", "", "..", "a_b_0a1b2c"])
def test_names_never_share_a_file(case, saw, name):
    stem, fetched = name_file(name), []
    assert name_file(stem) != stem != name_file(name_file(stem)) != name_file(stem)
    case.server.answers = Service(lambda path: fetched.append(path) or say(write_centred("FIRST", HERE)))
    services = open_services(case.server)
    archive = ArchiveAccess(case.open_fetcher(), case.folder/"raw", services)
    targets = Table(dict(name=[name or "-", stem], ra=[HERE.ra.deg]*2, dec=[HERE.dec.deg]*2))
    table = fetch_targets(targets, archive, CutoutPlan("FIRST", 83, case.folder/"cutouts"), case.folder)
    assert list(table["state"]) == ["ok"]*2 and len(set(table["path"])) == 2
    assert [fits.getheader(case.folder/row["path"])["OBJECT"] for row in table] == list(map(to_ascii, table["name"]))
    assert _describe_image(archive, Target(name, 0., 0.), "http://x", "x", "83px").path.parent == case.folder/"raw"
    saw("a name, and its file's stem as a name: two files")


PROXIES = {"plain": dict(http_proxy="http://127.0.0.1:9"),
           "others excepted": dict(HTTP_PROXY="http://proxy.invalid:3128", NO_PROXY=".x.org"),
           "for all": dict(ALL_PROXY="socks5://127.0.0.1:9", https_proxy="http://127.0.0.1:9")}


@fault(71, "a proxy in the environment; a native library that reports home", "nothing but this machine is asked")
@pytest.mark.parametrize("kind", PROXIES)
def test_no_proxy_is_asked_for_what_is_here(case, saw, monkeypatch, kind):
    for name in os.environ:
        if name.upper().endswith("_PROXY"): monkeypatch.delenv(name)
    for name, value in PROXIES[kind].items(): monkeypatch.setenv(name, value)
    case.get(case.open_fetcher(), case.want(case.server.answer("/a", say(BODY))), BODY)
    assert [r.target for r in case.server.requests] == ["/a"]
    saw(f"{kind}: ok")


def test_this_machine_is_known_by_its_address():
    assert all(map(is_loopback, ("http://127.0.0.1:8/x", "https://127.9.9.9", "http://[::1]:80/")))
    assert not any(map(is_loopback,
                       ("http://127.0.0.1.evil.org/", "http://localhost/", "http://10.0.0.1/", "http:///x", "x")))


def test_runtime_is_told_before_it_is_loaded():
    "In a process of its own: the library reads the word when it is loaded."
    code = ("import sys, os; os.environ['ORT_DISABLE_TELEMETRY'] = '0'; "
            "from radiogal.engines import _load_runtime, _RUNTIMES; "
            "assert not {*_RUNTIMES} & {*sys.modules}; sys.modules['onnxruntime'] = None\n"
            "try: _load_runtime('onnxruntime')\nexcept ImportError: print(os.environ['ORT_DISABLE_TELEMETRY'])")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "1", done.stderr
    for path in (ROOT/"radiogal").glob("*.py"): assert "import onnxruntime" not in path.read_text(), path
