"Faults of servers and networks, done to the one download path: the end, the manifest's row and the files on disk."
import gzip
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache

import numpy as np
import pytest
from astropy.io import fits
from faulty import drip, hang, reset, say, serve

from radiogal.cutouts import check_image
from radiogal.fetch import FetchError, RegisteredFile, get_registered

fault = pytest.mark.fault
BODY = bytes(range(256))*40  # 10,240 bytes


def chunk(*pieces):
    "A chunked answer, without its last chunk."
    return say(b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces), Content_Length=None,
               Transfer_Encoding="chunked")


@pytest.fixture
def image(tmp_path):
    "A FITS file that is an image of FIRST."
    header = fits.Header(dict(BUNIT="JY/BEAM", CTYPE1="RA---SIN", CTYPE2="DEC--SIN", CRVAL1=162.5, CRVAL2=30.7,
                              CRPIX1=17., CRPIX2=17., CDELT1=-5e-4, CDELT2=5e-4))
    noise = np.random.default_rng(3).normal(0, 1e-4, (33, 33)).astype(np.float32)
    fits.PrimaryHDU(noise, header).writeto(tmp_path/"image")
    return (tmp_path/"image").read_bytes()


def check_first(part): check_image(part, "FIRST")


@fault(1, "body shorter than Content-Length", "retry")
def test_short_body_is_asked_again(case, saw):
    fetcher, short = case.open_fetcher(), say(BODY[:5000], Content_Length=len(BODY))
    case.get(fetcher, case.want(case.server.answer("/once", short, say(BODY))), BODY)
    always = case.server.answer("/always", short)
    reason = case.fail(fetcher, case.want(always))
    assert "retry: given up after 3 of 3 tries" in reason and "5000 bytes read, 5240 more expected" in reason
    assert (case.server.hits("/once"), case.server.hits("/always")) == (2, 3)
    saw("once: ok after 2 requests; always: retry, given up after 3 tries: 5000 bytes read, 5240 more expected")


@fault(2, "truncated, no length given", "reject by FITS size")
def test_truncated_fits_without_a_length_is_refused_by_its_size(case, saw, image):
    url = case.server.answer("/a.fits", say(image[:-2000], Content_Length=None))
    reason = case.fail(case.open_fetcher(), case.want(url, check=check_first))
    assert reason.startswith("reject: the header announces 4356 bytes of pixels, ") and case.server.hits("/a.fits") == 1
    saw(reason)


@fault(3, "chunk cut, or no final chunk", "retry")
@pytest.mark.parametrize("cut", ["in a chunk", "before the last chunk"])
def test_cut_chunks_are_asked_again(case, saw, cut):
    whole = chunk(BODY[:6000], BODY[6000:])
    broken = whole[:-500] if cut == "in a chunk" else whole
    fetcher = case.open_fetcher()
    case.get(fetcher, case.want(case.server.answer("/once", broken, whole + b"0\r\n\r\n")), BODY)
    reason = case.fail(fetcher, case.want(case.server.answer("/always", broken)))
    assert reason.startswith("retry: given up after 3 of 3 tries")
    assert (case.server.hits("/once"), case.server.hits("/always")) == (2, 3)
    saw(f"cut {cut}, once: ok after 2 requests; always: retry")


@fault(3)
def test_compressed_body_that_breaks_off_is_asked_again(case, saw):
    cut = say(gzip.compress(BODY)[:-6], Content_Encoding="gzip")
    fetcher = case.open_fetcher()
    case.get(fetcher, case.want(case.server.answer("/once", cut, say(gzip.compress(BODY), Content_Encoding="gzip"))),
             BODY)
    assert "retry: given up after 3 of 3 tries" in case.fail(fetcher, case.want(case.server.answer("/always", cut)))
    saw("compressed body cut: the same")


@fault(4, "body longer than its length", "reject by size or hash")
def test_body_longer_than_its_length_is_refused(case, saw, image):
    fetcher = case.open_fetcher()
    url = case.server.answer("/registered", say(BODY, Content_Length=len(BODY) - 10))
    file = RegisteredFile("made", "", "", "", url, len(BODY), "0"*64)
    with pytest.raises(FetchError, match="reject: registered: expected 10240 bytes, found 10230"):
        get_registered(fetcher, file, case.folder/"files")
    assert fetcher.manifest.read("http://loopback/registered").state == "reject" and case.list_files() == []
    saw("shorter length, registered file: reject: expected 10240 bytes, found 10230")
    url = case.server.answer("/a.fits", say(image + b"<html>", Content_Length=None))
    reason = case.fail(fetcher, case.want(url, check=check_first))
    assert reason.startswith("reject: ") and "follow the image that belong to nothing" in reason
    saw(f"bytes after a FITS image: {reason}")


@fault(4)
def test_bytes_beyond_a_right_length_are_not_taken(case, saw):
    url = case.server.answer("/whole", say(BODY + b"more", Content_Length=len(BODY)))
    case.get(case.open_fetcher(), case.want(url), BODY)
    saw("bytes after the right length: not taken, file whole")


@fault(5, "reset mid-body", "retry, no temporary file left")
def test_reset_is_asked_again(case, saw):
    broken = reset(say(BODY[:5000], Content_Length=len(BODY)))
    fetcher = case.open_fetcher()
    case.get(fetcher, case.want(case.server.answer("/once", broken, say(BODY))), BODY)
    reason = case.fail(fetcher, case.want(case.server.answer("/always", broken)))
    assert reason.startswith("retry: given up after 3 of 3 tries") and case.list_files() == ["once"]
    assert (case.server.hits("/once"), case.server.hits("/always")) == (2, 3)
    saw("once: ok after 2 requests; always: retry, given up after 3 tries; no temporary file")


@fault(6, "500 then 200, for GET and POST", "ok after 2 hits")
@pytest.mark.parametrize("form", [None, b"RA=10+50+07.270+%2B30+40+37.52"])
def test_passing_error_costs_one_more_request(case, saw, form):
    url = case.server.answer("/a", say(status="500 Internal Server Error"), say(BODY))
    case.get(case.open_fetcher(), case.want(url, form=form), BODY)
    method = "GET" if form is None else "POST"
    assert [(r.method, r.body) for r in case.server.requests] == [(method, form or b"")]*2
    saw(f"{method}: ok after 2 requests")


@fault(7, "500 always", "fails after N, reason kept")
def test_lasting_error_is_given_up_and_its_reason_kept(case, saw):
    url = case.server.answer("/a", say(status="500 Internal Server Error"))
    reason = case.fail(case.open_fetcher(), case.want(url))
    assert reason == "retry: given up after 3 of 3 tries: HTTP 500 Internal Server Error from loopback"
    assert case.server.hits("/a") == 3
    saw(reason)


@fault(8, "429/503 with Retry-After: seconds, date, absurd", "obeyed, capped")
@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
@pytest.mark.parametrize("kind, longest, least",
                         [("seconds", 10, 1), ("date", 10, 1), ("absurd", 0.7, 0.7), ("nonsense", 10, 0)])
def test_retry_after_is_obeyed_and_capped(case, saw, status, kind, longest, least):
    def ask_for_patience(conn, request, over):
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=2.5), usegmt=True)
        text = dict(seconds="1", date=date, absurd="99999999999", nonsense="next week")[kind]
        conn.sendall(say(status=status, Retry_After=text))
    url = case.server.answer("/a", ask_for_patience, say(BODY))
    case.get(case.open_fetcher(max_wait_s=longest), case.want(url), BODY)
    first, second = case.server.times("/a")
    assert second - first >= 0.95*least
    saw({"seconds": "seconds and date: waited as asked, then ok", "date": "seconds and date: waited as asked, then ok",
         "absurd": "absurd: capped at the longest wait, then ok", "nonsense": "no date: counts as nothing, ok"}[kind])


@fault(8)
def test_retry_after_holds_for_every_file_of_the_host(case, saw):
    busy = case.server.answer("/busy", say(status="503 Service Unavailable", Retry_After="1"))
    fetcher = case.open_fetcher(tries=1, max_wait_s=10)
    case.fail(fetcher, case.want(busy))
    case.get(fetcher, case.want(case.server.answer("/other", say(BODY))), BODY)
    assert case.server.times("/other")[0] - case.server.times("/busy")[0] >= 0.95
    saw("other files of the host wait too")


@fault(9, "403", "stop that host")
def test_forbidden_pauses_the_host_and_no_other(case, saw):
    briefly = case.open_fetcher(stop_s=1.)
    forbidden = case.want(case.server.answer("/a", say(status="403 Forbidden")))
    reason = case.fail(briefly, forbidden)
    case.get(briefly, case.want(case.server.answer("/b", say(BODY))), BODY)
    assert (reason == "reject: HTTP 403 Forbidden from loopback"
            and (case.server.hits("/a"), case.server.hits("/b")) == (1, 1))
    assert case.server.times("/b")[0] - case.server.times("/a")[0] > 0.9
    with serve() as other:
        fetcher = case.open_fetcher(other.host, stop_s=300., give_up_s=200.)
        case.fail(fetcher, forbidden)
        case.get(fetcher, case.want(other.answer("/c", say(BODY))), BODY)
        with pytest.raises(FetchError, match="not_asked: loopback is left alone for 300 s"):
            fetcher.get_file(case.want(case.server.answer("/d", say(BODY))))
    saw(f"{reason}; next file of that host: ok after the pause; another host: ok at once")


@fault(9)
def test_host_that_fails_again_and_again_is_left_alone(case, saw):
    fetcher, told = case.open_fetcher(tries=1, failures=5, give_up_s=200.), []
    fetcher.hosts.tell = told.append
    for name in "abcde": case.fail(fetcher, case.want(case.server.answer(f"/{name}", say(status="500 Oops"))))
    wanted = case.want(case.server.answer("/f", say(BODY)))
    with pytest.raises(FetchError,
                       match="not_asked: loopback is left alone for 300 s after 5 failures in a row, the last:"):
        fetcher.get_file(wanted)
    assert len(case.server.requests) == 5 and fetcher.manifest.read(wanted.key) is None and told == []
    saw("5 failures in a row: left alone too; a pause longer than one may wait: not_asked, no row in the manifest")


@fault(10, "hang before or after the headers", "timeout")
@pytest.mark.parametrize("sent", [b"", say(BODY[:5000], Content_Length=len(BODY))], ids=["before", "after"])
def test_silence_is_not_waited_out(case, saw, sent):
    patient = case.open_fetcher(read_s=1, tries=20)  # a busy machine may be silent for a second, too
    case.get(patient, case.want(case.server.answer("/once", hang(sent), say(BODY))), BODY)
    reason = case.fail(case.open_fetcher(read_s=1, tries=2), case.want(case.server.answer("/always", hang(sent))))
    assert reason.startswith("retry: given up after 2 of 2 tries") and "Read timed out" in reason
    assert case.server.hits("/once") >= 2 == case.server.hits("/always")
    saw(f"{'after' if sent else 'before'} the headers, once: ok after 2 requests; always: retry: Read timed out")


@fault(11, "trickle", "total deadline")
@pytest.mark.parametrize("place, sent", [
    ("body", say(Content_Length=10**6)), ("body without a length", say(Content_Length=None)),
    ("headers", b"HTTP/1.1 200 OK\r\nX-Slow: ")])
def test_trickle_ends_at_the_deadline(case, saw, place, sent):
    url = case.server.answer("/a", drip(sent, [b"x"]*1000, 0.05))
    reason = case.fail(case.open_fetcher(read_s=5, total_s=0.6), case.want(url))
    assert reason == "retry: given up after 1 of 3 tries: not whole after 0.6 s"
    saw(f"{place}: not whole after 0.6 s")


@fault(20, "redirect off the allowlist or to a private address; redirect loop", "reject")
def test_redirect_off_the_allowlist_is_refused(case, saw):
    with serve() as other:
        target = other.answer("/secret", say(BODY))
        url = case.server.answer("/a", say(status="302 Found", Location=target))
        reason = case.fail(case.open_fetcher(), case.want(url))
        assert reason == "reject: host 'loopback' is not one of loopback" and other.requests == []  # their ports differ
    saw("off the allowlist: reject, not asked")


@fault(20)
@pytest.mark.parametrize("location",
                         ["file:///etc/passwd", "//elsewhere.invalid/x", "http://[::1/", "ftp://127.0.0.1/x"])
def test_redirect_to_no_web_address_is_refused(case, saw, location):
    url = case.server.answer("/a", say(status="302 Found", Location=location))
    assert case.fail(case.open_fetcher(), case.want(url)).startswith("reject: ") and len(case.server.requests) == 1
    saw("to what is no web address: reject")


@fault(20)
@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect"])
def test_name_that_leads_to_a_private_address_is_refused(case, saw, status):
    port = case.server.host.partition(":")[2]
    case.server.answer("/secret", say(BODY))
    url = case.server.answer("/a", say(status=status, Location=f"http://localhost:{port}/secret"))
    reason = case.fail(case.open_fetcher(f"localhost:{port}"), case.want(url))
    assert reason.startswith("reject: localhost leads to the private address ") and case.server.hits("/secret") == 0
    saw("allowed name of a private address: reject, not asked")


@fault(20)
def test_redirect_loop_is_left(case, saw):
    reason = case.fail(case.open_fetcher(), case.want(case.server.answer("/a", say(status="302 Found", Location="/a"))))
    assert reason.startswith("reject: more than 5 redirects") and case.server.hits("/a") == 6
    saw("loop: reject: more than 5 redirects")


@fault(20)
def test_redirect_within_the_allowlist_is_followed(case, saw):
    with serve() as other:
        url = case.server.answer("/a", say(status="302 Found", Location=other.answer("/b", say(BODY))))
        case.get(case.open_fetcher(other.host), case.want(url), BODY)
    saw("within the allowlist: ok")


MEASURE = """
import resource, sys
from pathlib import Path
from radiogal.fetch import Fetcher, FetchError, Limits, Manifest, Wanted
from radiogal.cutouts import check_image
host, folder = sys.argv[1], Path(sys.argv[2])
fetcher = Fetcher(Manifest(folder/"manifest.sqlite"), (host,), Limits(tries=1), 0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try: fetcher.get_file(Wanted(f"http://{host}/a.fits", folder/"files"/"a.fits",
                             check=lambda part: check_image(part, "VLASS")))
except FetchError as e: print(e)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, "KiB")
"""


@cache
def make_bomb(): return gzip.compress(bytes(400_000_000), 1)


@fault(33, "huge NAXIS, gzip bomb", "reject before memory is taken")
@pytest.mark.parametrize("what", ["gzip bomb", "gzip in gzip", "huge NAXIS"])
def test_memory_is_not_taken(case, saw, what):
    header = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", 200_000), ("NAXIS2", 200_000)])
    answer = {"gzip bomb": say(make_bomb(), Content_Encoding="gzip"), "gzip in gzip": say(make_bomb()),
              "huge NAXIS": say(header.tostring().encode())}[what]
    case.server.answer("/a.fits", answer)
    told = subprocess.run([sys.executable, "-c", MEASURE, case.server.host, str(case.folder)], capture_output=True,
                          text=True, timeout=300, check=True).stdout.splitlines()
    assert int(told[-1].removesuffix(" KiB")) < 50_000
    ends = {"gzip bomb": "reject: more than 20000000 bytes",
            "gzip in gzip": r"reject: not FITS: begins with b'\x1f\x8b",
            "huge NAXIS": "reject: the header announces 160000000000 bytes of pixels, 0 follow it"}
    assert told[0].startswith(ends[what]) and case.list_files() == []
    saw(f"{what}: {told[0].partition(': begins')[0]}, less than 50 MB taken")


@fault(34, "a bit flipped in the cache", "found by hash, fetched again")
def test_flipped_bit_is_found_and_repaired(case, saw):
    fetcher, wanted = case.open_fetcher(), case.want(case.server.answer("/a", say(BODY)))
    case.get(fetcher, wanted, BODY)
    wanted.path.write_bytes(bytes([BODY[0] ^ 1]) + BODY[1:])
    case.get(fetcher, wanted, BODY)
    case.get(fetcher, wanted, BODY)
    assert case.server.hits("/a") == 2
    saw("ok again after 1 more request")


@fault(34)
def test_flipped_bit_is_not_passed_off_when_the_host_is_down(case, saw):
    down = say(status="500 Oops")
    fetcher, wanted = case.open_fetcher(), case.want(case.server.answer("/a", say(BODY), down))
    case.get(fetcher, wanted, BODY)
    flipped = bytes([BODY[0] ^ 1]) + BODY[1:]
    wanted.path.write_bytes(flipped)
    assert case.fail(fetcher, wanted).startswith("retry: given up")
    assert fetcher.find_current(wanted) is None
    saw("host down: retry, the flipped file is not passed off")


@pytest.mark.parametrize("host, why", [("nowhere.invalid", "no address is known for it"),
                                       ("127.0.0.1:9", "cannot be reached: Connection refused")])
def test_a_host_that_cannot_be_reached_is_told_in_words(case, monkeypatch, host, why):
    known = socket.getaddrinfo
    def find(name, *args, **named):
        if name == "nowhere.invalid": raise socket.gaierror(-2, "Name or service not known")
        return known(name, *args, **named)
    monkeypatch.setattr(socket, "getaddrinfo", find)
    reason = case.fail(case.open_fetcher(host, tries=1), case.want(f"http://{host}/a"))
    assert why in reason and reason.endswith("is there a network?") and "HTTPConnection" not in reason
