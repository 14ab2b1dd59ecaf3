"""Bad weather: the smoke run (simulated) scrapes, prepares, trains and classifies while archives misbehave, processes
are killed at random moments, and files are spoilt, cut or lost. Whatever comes out in the end has to be, byte for byte,
what comes out on a calm day.

    python tests/soak.py --minutes 60 --seed 1 docs/soak.md    # make soak MINUTES=60
    python tests/soak.py --files 300 --seed 1 docs/spoilt.md   # make spoilt
"""
import argparse
import os
import platform
import random
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
from conftest import copy_project, find_processes, finish, radiogal, read_numbers
from faulty import drip, reset, say, serve
from test_damage import damage_some, list_atomic_writes
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
PATIENCE = 20  # Tries of one storm; a storm that needs more has lost


class Wrong(Exception):
    "Something came out otherwise than on a calm day, or was lost, or ended in a traceback."


@dataclass
class Log:
    "What was done to each stage, and what came of it."
    done: dict = field(default_factory=lambda: defaultdict(Counter))
    wrong: list = field(default_factory=list)

    def count(self, stage, what, n=1): self.done[stage][what] += n


def answer_badly(body, rng):
    "The announced answer, or what archives were seen to send instead; and what it is called."
    page = b"<html><body>Service temporarily unavailable</body></html>"
    bad = {"HTTP 500": say(status="500 Internal Server Error"), "HTTP 503": say(status="503 Service Unavailable"),
           "HTTP 429": say(status="429 Too Many Requests", Retry_After=0), "a page instead of an image": say(page),
           "nothing": say(), "no answer": reset(b""), "reset amid the image": reset(say(body)[:len(body)//2]),
           "an image that is cut": say(body[:rng.randrange(1, len(body))], Content_Length=len(body)),
           "a cut image of honest length": say(body[:rng.randrange(1, len(body))]),
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
    with serve() as server:
        yield replace(LIVE_SERVICES, first_cutout=server.answer("/form", make_archive(sky, rng, log, badly)),
                      seconds_between_requests=0., allowed_hosts=(server.host,))


def storm_scrape(rng, folder, sky, coords, calm, log):
    "One set of cutouts from an archive that misbehaves, by processes that are killed, among files that are spoilt."
    with open_archive(sky, rng, log, badly=1/3) as services:
        for _ in range(PATIENCE):
            with children.run(1, scrape_once, folder, services, coords) as (process,):
                process.join(rng.uniform(0, 4) if rng.random() < 0.5 else 120)
                status = process.exitcode
            if status is None: log.count("scrape", "SIGKILL")
            elif status: raise Wrong(f"a process ended with status {status}")
            elif (files := take_stock(folder)[0]) == calm: return
            elif set(files) == set(calm): raise Wrong(f"other files: {[k for k in calm if files[k] != calm[k]]}")
            spoil(rng, folder, "scrape", log)
    raise Wrong(f"not finished after {PATIENCE} tries")


def spoil(rng, folder, stage, log):
    "Flip, cut or lose some files below a folder."
    files = [path for path in list_atomic_writes(folder) if not path.name.startswith("manifest.sqlite")]
    hit = damage_some(rng, files, min(len(files), rng.randrange(4)))
    log.count(stage, "files flipped or cut", len(hit))
    for path in rng.sample(files, min(len(files), rng.randrange(2))):
        path.unlink(missing_ok=True)
        log.count(stage, "files lost")


def disturb(rng, process, folder, stage, log):
    "Wait for a command, or stop it or one of its processes at some moment; status (None if stopped) and what it said."
    if rng.random() < 0.4: return finish(process)
    try: process.wait(rng.uniform(0, 40))
    except subprocess.TimeoutExpired: pass
    else: return finish(process)
    kind = rng.choice(("SIGKILL to all", "SIGTERM", "SIGKILL to one process"))
    if kind == "SIGTERM": process.terminate()
    elif kind == "SIGKILL to all": os.killpg(process.pid, signal.SIGKILL)
    else:
        try: os.kill(rng.choice(find_processes(folder) or [process.pid]), signal.SIGKILL)
        except ProcessLookupError: pass  # it ended meanwhile
    log.count(stage, kind)
    return None, finish(process)[1]


def insist(rng, folder, place, stage, command, is_calm, log):
    "Give a command until what it leaves is as on a calm day."
    failed = 0
    for _ in range(PATIENCE):
        status, said = disturb(rng, radiogal(folder, *command), folder, stage, log)
        if status is not None and "Traceback" in said: raise Wrong(f"{command[0]}: a traceback:\n{said[-3000:]}")
        failed = failed + 1 if status else 0
        if failed: log.count(stage, "stopped with a message")
        if failed > 2: raise Wrong(f"{command[0]} does not recover:\n{said[-3000:]}")
        if status == 0:
            if is_calm(): return
            raise Wrong(f"{command[0]}: other results than on a calm day:\n{said[-3000:]}")
        spoil(rng, folder/place, stage, log)
    raise Wrong(f"{command[0]}: not finished after {PATIENCE} tries")


def storm_run(rng, folder, calm, log):
    "The run from some stage on: what is later is forgotten, or some of it is spoilt."
    for stage in rng.sample(STAGES, rng.randrange(1, 4)):
        shutil.rmtree(folder/"results"/"smoke"/stage, ignore_errors=True)
        log.count("run", "stages forgotten")
    spoil(rng, folder/"results", "run", log)
    insist(rng, folder, "results", "run", RUN, lambda: read_numbers(folder) == calm, log)


def storm_classify(rng, folder, calm, log):
    "A catalogue of classes in shards."
    def is_calm(): return (folder/"mine"/"catalogue.fits").read_bytes() == calm
    shutil.rmtree(folder/"mine")
    insist(rng, folder, "mine", "classify", ASK, is_calm, log)


def make_calm(work):
    "The smoke run, a catalogue of it and a set of cutouts, undisturbed."
    folder = copy_project(work/"calm")
    for command in (RUN, ASK):
        status, said = finish(radiogal(folder, *command))
        if status: raise SystemExit(said)
    return folder


def scrape_calmly(work, sky, coords):
    "What an undisturbed set of cutouts has on disk."
    with (open_archive(sky, random.Random(), Log(), badly=0) as services,  # noqa: S311
          children.run(1, scrape_once, work/"scraped", services, coords) as (process,)): process.join()
    return take_stock(work/"scraped")[0]


def soak(minutes, rng, work):
    "Storms until the time is over, or something comes out wrong; that storm's folder stays, to be looked at."
    log, (sky, coords) = Log(), choose_coords()
    cutouts, project = scrape_calmly(work, sky, coords), make_calm(work)
    numbers, catalogue = read_numbers(project), (project/"mine"/"catalogue.fits").read_bytes()
    storms = {"scrape": lambda folder: storm_scrape(rng, folder, sky, coords, cutouts, log),
              "run": lambda folder: storm_run(rng, copy(project, folder), numbers, log),
              "classify": lambda folder: storm_classify(rng, copy(project, folder), catalogue, log)}
    until = time.monotonic() + 60*minutes
    while time.monotonic() < until and not log.wrong:
        stage = rng.choice(sorted(storms))
        log.count(stage, "storms")
        try: storms[stage](work/"storm")
        except Wrong as e: log.wrong.append(f"{stage}: {e}")
        else: shutil.rmtree(work/"storm")
    return log


def copy(project, folder): return shutil.copytree(project, folder, symlinks=True)


def spoil_files(n, rng, work):
    "By kind of file: how many were spoilt, made again, named, or neither, though every number is as before."
    project, log = make_calm(work), Log()
    numbers, catalogue = read_numbers(project), (project/"mine"/"catalogue.fits").read_bytes()
    while sum(count["spoilt"] for count in log.done.values()) < n and not log.wrong:
        try: spoil_one_round(rng, copy(project, work/"round"), numbers, catalogue, log)
        except Wrong as e: log.wrong.append(str(e))
        else: shutil.rmtree(work/"round")
    return log


def spoil_one_round(rng, folder, numbers, catalogue, log, n=30):
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
        kind = path.suffix or path.name
        log.count(kind, "spoilt")
        named = str(path.relative_to(folder)) in told or path.name in told
        log.count(kind, "made again" if path.read_bytes() != content else "named" if named else "harmless")


def tabulate(done):
    "Markdown: a row for each stage or kind of file and one for all, a column for each thing that was done or seen."
    columns = list(dict.fromkeys(name for counts in done.values() for name in sorted(counts)))
    rows = [*sorted(done.items()), ("all", sum(done.values(), Counter()))]
    return [f"| | {' | '.join(columns)} |", "|---"*(len(columns) + 1) + "|",
            *(f"| {' | '.join([name, *(str(counts[column]) for column in columns)])} |" for name, counts in rows)]


def write_report(path, title, log, seconds):
    "What was done and what came of it, and on what machine."
    verdict = "**Something went wrong.**" if log.wrong else "Every result is, byte for byte, that of a calm day."
    took = f"{seconds/60:.0f} minutes on {os.cpu_count()} cores, Python {platform.python_version()}."
    path.write_text("\n".join([f"# {title}", "", __doc__.split("\n\n")[0], "", f"{verdict} {took}", "",
                               *tabulate(log.done), "", *log.wrong]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="Markdown file to write")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--files", type=int, help="spoil so many files instead, and tell what came of each kind")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    rng, begun = random.Random(asked.seed), time.monotonic()  # noqa: S311
    work = Path(tempfile.mkdtemp(prefix="soak-"))
    log = spoil_files(asked.files, rng, work) if asked.files else soak(asked.minutes, rng, work)
    title = "Spoilt files" if asked.files else "Bad weather"
    write_report(asked.report, title, log, time.monotonic() - begun)
    if log.wrong: sys.exit(f"{log.wrong[0]}\n(what it left is in {work})")
    shutil.rmtree(work)


if __name__ == "__main__": main()
