"""Fault injection: in rounds, the smoke run (simulated) is disturbed, or its files are corrupted, and made again.

    python tests/soak.py --minutes 60 --seed 1 docs/soak.md   # make soak MINUTES=60
    python tests/soak.py --files 300 --seed 1 docs/corrupt.md # make corrupt FILES=300

A seed draws the same rounds until a process is killed: what that leaves depends on the machine, and what follows on it.
"""
import argparse
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qs

import children
from astropy import units as u
from conftest import copy_project, find_processes, radiogal, read_numbers
from faulty import drip, reset, say, serve
from test_damage import damage_some, is_told, list_atomic_writes
from test_faults_kills import choose_coords, take_stock

from radiogal.archives import _answer_first
from radiogal.clients import ArchiveAccess
from radiogal.fetch import Fetcher, Limits, Manifest
from radiogal.positions import write_table
from radiogal.scraping import fetch_cutouts
from radiogal.surveys import LIVE_SERVICES
from radiogal.workflow import _clear_leftovers

ASK = ("classify", "--run", "smoke", "--task", "FIRST", "--survey", "FIRST", "--network", "alhassan", "--shard-size",
       "10", "--positions", "results/smoke/catalogues/targets.ecsv", "--out", "mine", "--keep", "cutouts", "downloads")
RUN = ("run", "smoke", "--cores", "2")
LIMITS = Limits(wait_s=0.01, tries=2, stop_s=0.2)  # A host is left alone for a moment only
STAGES = ("scraping", "preparation", "training", "transfer", "classify", "report")
TRIES = 20  # Of one round
BLOCK = 2880  # Bytes; a FITS file is filled up to a multiple of it, and losing padding alone is no fault
LONGEST_S = 120, 1800  # Of a set of cutouts, and of a command


class Wrong(Exception):
    "Something came out otherwise than undisturbed, or did not end, or ended in a traceback."


@dataclass
class Log:
    "What was done to each stage, and what came of it."
    done: dict = field(default_factory=lambda: defaultdict(Counter))
    wrong: list = field(default_factory=list)

    def count(self, stage, what, n=1): self.done[stage][what] += n


def finish(process):
    "Exit status and what was said; raises `Wrong` for a command that does not end."
    try: said = process.communicate(timeout=LONGEST_S[1])[0]
    except BaseException as e:
        os.killpg(process.pid, signal.SIGKILL)
        if isinstance(e, subprocess.TimeoutExpired): raise Wrong(f"still runs after {LONGEST_S[1]} s") from None
        raise
    return process.returncode, said


def answer_badly(body, rng):
    "The announced answer, or what archives were seen to send instead; and what it is called."
    page = b"<html><body>Service temporarily unavailable</body></html>"
    bad = {"HTTP 500": say(status="500 Internal Server Error"), "HTTP 503": say(status="503 Service Unavailable"),
           "HTTP 429": say(status="429 Too Many Requests", Retry_After=0), "a page instead of an image": say(page),
           "nothing": say(), "no answer": reset(b""), "reset amid the image": reset(say(body)[:len(body)//2]),
           "an image that is cut": say(body[:rng.randrange(1, len(body))], Content_Length=len(body)),
           "a cut image of honest length": say(body[:rng.randrange(1, max(2, len(body) - BLOCK))]),
           "more than was announced": say(body + page, Content_Length=len(body) + len(page)),
           "an image in slow pieces": drip(say(body)[:1000], [say(body)[1000:]], 0.2)}
    return rng.choice(sorted(bad.items()))


def answer_well(sky, request):
    "The body of FIRST's answer to a form."
    return _answer_first(sky, {key: values[-1] for key, values in parse_qs(request.body.decode()).items()}).body


def make_archive(sky, rng, log, badly):
    "FIRST's cutout form, of which a part of the answers is bad."
    def answer(conn, request, over):
        body = answer_well(sky, request)
        if rng.random() >= badly: return conn.sendall(say(body))
        name, bad = answer_badly(body, rng)
        log.count("scrape", name)
        return bad(conn, request, over) if callable(bad) else conn.sendall(bad)
    return answer


def scrape_once(number, folder, services, coords):
    "A set of cutouts, as the workflow makes it: what a killed process left half-written is removed first."
    _clear_leftovers([folder])
    fetcher = Fetcher(Manifest(folder/"raw"/"manifest.sqlite"), services.allowed_hosts, LIMITS, 0)
    access = ArchiveAccess(fetcher, folder/"raw", services)
    write_table(fetch_cutouts(coords, "FIRST", 2.5*u.arcmin, access, folder/"cutouts", root=folder),
                folder/"cutouts.ecsv")


@contextmanager
def open_archive(sky, rng, log, badly):
    "Services of which FIRST's cutout form is on loopback."
    own = random.Random(rng.random())  # noqa: S311 (its threads would draw from the rounds' in any order)
    with serve() as server:
        yield replace(LIVE_SERVICES, first_cutout=server.answer("/form", make_archive(sky, own, log, badly)),
                      seconds_between_requests=0., allowed_hosts=(server.host,))


def list_states(files):
    "How each request ended: one that was answered badly may be rejected, beside an older cutout."
    return re.findall(rb"^\S+ FIRST (\w+) ", files["cutouts.ecsv"], re.MULTILINE)


def disturb_scrape(rng, folder, sky, coords, expected, log):
    "A set of cutouts from an archive with faulty answers, by processes that are killed, among corrupted files."
    with open_archive(sky, rng, log, badly=1/3) as services:
        for _ in range(TRIES):
            kill = rng.random() < 0.5
            with children.run(1, scrape_once, folder, services, coords) as (process,):
                process.join(rng.uniform(0, 4) if kill else LONGEST_S[0])
                status = process.exitcode
            if status is None and not kill: raise Wrong(f"still runs after {LONGEST_S[0]} s")
            if status is None: log.count("scrape", "SIGKILL")
            elif status: raise Wrong(f"a process ended with status {status}")
            elif (files := take_stock(folder)[0]) == expected: return
            elif set(files) == set(expected) and list_states(files) == list_states(expected):
                raise Wrong(f"other content: {[name for name in expected if files[name] != expected[name]]}")
            corrupt(rng, folder, "scrape", log)
    raise Wrong(f"not finished after {TRIES} tries")


def corrupt(rng, folder, stage, log):
    "Flip a byte of some files below a folder, cut or remove others."
    files = [path for path in list_atomic_writes(folder) if not path.name.startswith("manifest.sqlite")]
    hit = damage_some(rng, files, min(len(files), rng.randrange(4)))
    log.count(stage, "files corrupted", len(hit))
    for path in rng.sample(files, min(len(files), rng.randrange(2))):
        path.unlink(missing_ok=True)
        log.count(stage, "files removed")


def interrupt(rng, process, folder, stage, log):
    "Wait for a command, or stop it or one of its processes at some moment; status (None if stopped) and what it said."
    if rng.random() < 0.4: return finish(process)
    try: said = process.communicate(timeout=rng.uniform(0, 40))[0]
    except subprocess.TimeoutExpired: pass
    else: return process.returncode, said
    kind = rng.choice(("SIGKILL to all", "SIGTERM", "SIGKILL to one process"))
    if kind == "SIGTERM": process.terminate()
    elif kind == "SIGKILL to all": os.killpg(process.pid, signal.SIGKILL)
    else:
        try: os.kill(rng.choice(find_processes(folder) or [process.pid]), signal.SIGKILL)
        except ProcessLookupError: pass  # it ended meanwhile
    log.count(stage, kind)
    return None, finish(process)[1]


def insist(rng, folder, place, stage, command, is_expected, log):
    "Give a command until what it leaves is as undisturbed."
    failed = 0
    for _ in range(TRIES):
        status, said = interrupt(rng, radiogal(folder, *command), folder, stage, log)
        if status is not None and "Traceback" in said: raise Wrong(f"{command[0]}: a traceback:\n{said[-3000:]}")
        failed = failed + 1 if status else 0
        if failed: log.count(stage, "stopped with a message")
        if failed > 2: raise Wrong(f"{command[0]} does not recover:\n{said[-3000:]}")
        if status == 0:
            if is_expected(): return
            raise Wrong(f"{command[0]}: other results than undisturbed:\n{said[-3000:]}")
        corrupt(rng, folder/place, stage, log)
    raise Wrong(f"{command[0]}: not finished after {TRIES} tries")


def disturb_run(rng, folder, expected, log):
    "The run from some stage on: what is later is removed, or some of it is corrupted."
    for stage in rng.sample(STAGES, rng.randrange(1, 4)):
        shutil.rmtree(folder/"results"/"smoke"/stage, ignore_errors=True)
        log.count("run", "stages removed")
    corrupt(rng, folder/"results", "run", log)
    insist(rng, folder, "results", "run", RUN, lambda: read_numbers(folder) == expected, log)


def disturb_classify(rng, folder, expected, log):
    "A catalogue of classes in shards."
    def is_expected(): return (folder/"mine"/"catalogue.fits").read_bytes() == expected
    shutil.rmtree(folder/"mine")
    insist(rng, folder, "mine", "classify", ASK, is_expected, log)


def run_undisturbed(work):
    "The smoke run and a catalogue of it."
    folder = copy_project(work/"undisturbed")
    for command in (RUN, ASK):
        status, said = finish(radiogal(folder, *command))
        if status: raise SystemExit(said)
    return folder


def scrape_undisturbed(work, sky, coords):
    "What an undisturbed set of cutouts has on disk."
    with (open_archive(sky, random.Random(0), Log(), badly=0) as services,  # noqa: S311
          children.run(1, scrape_once, work/"scraped", services, coords) as (process,)):
        process.join(LONGEST_S[0])
        if process.exitcode != 0: raise SystemExit(f"undisturbed scraping ended with status {process.exitcode}")
    return take_stock(work/"scraped")[0]


def soak(minutes, rng, work):
    "Rounds until the time is over, or something comes out wrong; the folder of that round stays, to be looked at."
    log, (sky, coords) = Log(), choose_coords()
    cutouts, project = scrape_undisturbed(work, sky, coords), run_undisturbed(work)
    numbers, catalogue = read_numbers(project), (project/"mine"/"catalogue.fits").read_bytes()
    rounds = {"scrape": lambda folder: disturb_scrape(rng, folder, sky, coords, cutouts, log),
              "run": lambda folder: disturb_run(rng, copy(project, folder), numbers, log),
              "classify": lambda folder: disturb_classify(rng, copy(project, folder), catalogue, log)}
    until = time.monotonic() + 60*minutes
    while time.monotonic() < until and not log.wrong:
        stage = rng.choice(sorted(rounds))
        log.count(stage, "rounds")
        try: rounds[stage](work/"round")
        except Wrong as e: log.wrong.append(f"{stage}: {e}")
        else: shutil.rmtree(work/"round")
    return log


def copy(project, folder): return shutil.copytree(project, folder, symlinks=True)


def corrupt_files(n, rng, work):
    "By kind of file: how many were corrupted, and what became of them, though every number is as before."
    project, log = run_undisturbed(work), Log()
    numbers, catalogue = read_numbers(project), (project/"mine"/"catalogue.fits").read_bytes()
    while sum(count["corrupted"] for count in log.done.values()) < n and not log.wrong:
        try: corrupt_once(rng, copy(project, work/"round"), numbers, catalogue, log)
        except Wrong as e: log.wrong.append(str(e))
        else: shutil.rmtree(work/"round")
    return log


def tell_fate(path, content, told, folder):
    "What became of a corrupted file; told: what the commands said."
    if not path.is_file(): return "removed"
    if path.read_bytes() != content: return "made again"
    catalogue = folder/"mine"
    return "named" if is_told(path, content, told, catalogue if catalogue in path.parents else folder) else "neither"


def corrupt_once(rng, folder, numbers, catalogue, log, n=30):
    "Some files of a run, its data and a catalogue, then the commands that made them."
    summary = folder/"results"/"smoke"/"provenance.json"  # written anew at each call
    parts = "results", "data", "mine"
    files = [path for part in parts for path in list_atomic_writes(folder/part) if path != summary]
    hit, told = damage_some(rng, [path for path in files if path.suffix != ".sqlite"], n), ""
    for command in (RUN, ASK):
        status, said = finish(radiogal(folder, *command))
        if status or "Traceback" in said: raise Wrong(f"{command[0]} ended with status {status}:\n{said[-3000:]}")
        told += said
    if read_numbers(folder) != numbers or (folder/"mine"/"catalogue.fits").read_bytes() != catalogue:
        raise Wrong(f"other numbers after damage to {sorted(str(path) for path in hit)}")
    for path, content in hit.items():
        log.count(kind := path.suffix or path.name, "corrupted")
        log.count(kind, tell_fate(path, content, told, folder))


def tabulate(done):
    "Markdown: a row for each stage or kind of file and one for all, a column for each thing that was done or seen."
    columns = list(dict.fromkeys(name for counts in done.values() for name in sorted(counts)))
    rows = [*sorted(done.items()), ("all", sum(done.values(), Counter()))]
    return [f"| | {' | '.join(columns)} |", "|---"*(len(columns) + 1) + "|",
            *(f"| {' | '.join([name, *(str(counts[column]) for column in columns)])} |" for name, counts in rows)]


ABOUT = {"Fault injection": """\
The smoke run (simulated) scrapes, prepares, trains and classifies in rounds in which the archive sends faulty answers,
processes are killed at random moments, and files are corrupted, cut or removed. In the end a round has to leave what an
undisturbed run leaves. Compared are, byte for byte, cutouts and downloads without their manifest, the numbers of a run
(`read_numbers` in `tests/conftest.py`; of its catalogue the rows), and the FITS file of a catalogue. Records of what
was done, reports and figures are not compared.""", "Corrupted files": """\
Bytes of files of the smoke run (simulated), its data and a catalogue of classes are changed, or the files are cut;
then the commands that made them are given again. A file is made again, removed, named in what the commands say, or
neither: then it was harmless, as no number depends on it. Compared with before are, byte for byte, the numbers of the
run (`read_numbers` in `tests/conftest.py`; of its catalogue the rows), and the FITS file of the catalogue."""}


def write_report(path, title, log, seconds):
    "What was done and what came of it, and on what machine."
    n, alike = sum(count["corrupted"] for count in log.done.values()), "All that is compared is as undisturbed."
    good = f"{n} of {n} corrupted files were detected, or harmless. {alike}" if n else alike
    verdict = "**Something went wrong.**" if log.wrong else good
    took = f"{seconds/60:.0f} minutes on {os.cpu_count()} cores, Python {platform.python_version()}."
    path.write_text("\n".join([f"# {title}", "", ABOUT[title], "",
                               f"{verdict} {took}", "", *tabulate(log.done), "", *log.wrong]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="Markdown file to write")
    parser.add_argument("--minutes", type=float, default=60, help="after them the round that runs is finished")
    parser.add_argument("--files", type=int, help="corrupt so many files instead, and tell what came of each kind")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    rng, begun = random.Random(asked.seed), time.monotonic()  # noqa: S311
    work = Path(tempfile.mkdtemp(prefix="soak-"))
    log = corrupt_files(asked.files, rng, work) if asked.files else soak(asked.minutes, rng, work)
    title = "Corrupted files" if asked.files else "Fault injection"
    write_report(asked.report, title, log, time.monotonic() - begun)
    if log.wrong: sys.exit(f"{log.wrong[0]}\n(what it left is in {work})")
    shutil.rmtree(work)


if __name__ == "__main__": main()
