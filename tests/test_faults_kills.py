"A download-and-cutout run, killed at random moments: what it leaves is what an uninterrupted run leaves."
import os
import random
import signal
import threading
import time
from dataclasses import astuple, fields, replace
from pathlib import Path
from urllib.parse import parse_qs

import children
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from children import fork
from faulty import say
from tqdm import tqdm

from radiogal.archives import _answer_first
from radiogal.clients import ArchiveAccess
from radiogal.config import read_config
from radiogal.fetch import Fetcher, Limits
from radiogal.positions import write_table
from radiogal.provenance import Manifest, _Record
from radiogal.scraping import fetch_cutouts
from radiogal.sky import ArtificialSky, draw_population
from radiogal.surveys import LIVE_SERVICES
from radiogal.workflow import _clear_leftovers

N_TARGETS, PIECE = 8, 6000


def choose_coords():
    "Sources of the artificial sky, one position that it does not cover, and one whose file will be broken."
    config = read_config(Path(__file__).parent.parent/"config"/"smoke.toml")
    sky = ArtificialSky(draw_population(config.sky, config.classes, config.surveys), config.sky)
    known = sky.sources[sky.sources["label"] != ""][:N_TARGETS]
    field = sky.sources.meta
    return sky, SkyCoord([*known["ra"], field["field_ra"]], [*known["dec"], field["field_dec"] + 20], unit="deg")


def answer_slowly(sky):
    "FIRST's form, with every answer in pieces: whole images, one that is cut, and the page that says there is none."
    kept, broken = {}, []
    def answer(conn, request, over):
        fields = {key: values[-1] for key, values in parse_qs(request.body.decode()).items()}
        key = fields["RA"]
        if key not in kept: kept[key] = _answer_first(sky, fields).body
        if not broken: broken.append(key)
        body = say(kept[key][:-PIECE] if key == broken[0] else kept[key])
        for i in range(0, len(body), PIECE):
            conn.sendall(body[i:i + PIECE])
            if over.wait(random.uniform(0.001, 0.003)): return  # noqa: S311
    return answer


def scrape(folder, services, coords):
    "One run, as the workflow does it: what a killed one left half-written is removed first."
    _clear_leftovers([folder])
    fetcher = Fetcher(Manifest(folder/"raw"/"manifest.sqlite"), services.allowed_hosts, Limits(wait_s=0.01), 0)
    table = fetch_cutouts(coords, "FIRST", 2.5*u.arcmin, ArchiveAccess(fetcher, folder/"raw", services),
                          folder/"cutouts", root=folder)
    write_table(table, folder/"cutouts.ecsv")


def take_stock(folder):
    "All files but the manifest, byte for byte, and the manifest's rows without their times."
    kept = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*"))
            if p.is_file() and ".manifest" not in p.parts and not p.name.startswith("manifest.sqlite")}
    no_time = [i for i, f in enumerate(fields(_Record)) if f.name != "time"]
    return kept, [[astuple(row)[i] for i in no_time] for row in Manifest(folder/"raw"/"manifest.sqlite").read_all()]


def run_and_kill(number, n_kills, folder, services, coords, sender):
    "In a process without threads: two uninterrupted runs, then runs that are killed, each folder until it is finished."
    # Its own is shared between processes: every killed one would leave a semaphore behind
    tqdm.set_lock(threading.RLock())
    rng, kills, finished, statuses, took = random.Random(1), 0, 0, set(), []  # noqa: S311
    for name in ("whole", "again"):
        begun = time.monotonic()
        statuses.add(os.waitpid(fork(scrape, folder/name, services, coords), 0)[1])
        took.append(time.monotonic() - begun)
    usual = min(took)  # of two: one stall of the machine would stretch all that follow
    while kills < n_kills and statuses == {0}:
        pid = fork(scrape, folder/f"{finished:03d}", services, coords)
        time.sleep(rng.uniform(0, 0.6*usual))
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        if os.WIFSIGNALED(status): kills += 1
        else:
            finished += 1
            statuses.add(status)
    statuses.add(os.waitpid(fork(scrape, folder/f"{finished:03d}", services, coords), 0)[1])
    sender.send((kills, statuses))


@pytest.mark.parametrize("n_kills", [20, pytest.param(200, marks=[pytest.mark.full, pytest.mark.fault(36)])])
def test_kills_leave_what_an_uninterrupted_run_leaves(case, saw, n_kills):
    sky, coords = choose_coords()
    services = replace(LIVE_SERVICES, first_cutout=case.server.answer("/form", answer_slowly(sky)),
                       seconds_between_requests=0., allowed_hosts=(case.server.host,))
    receiver, sender = children.CONTEXT.Pipe(duplex=False)
    with children.run(1, run_and_kill, n_kills, case.folder, services, coords, sender) as driver:
        while not receiver.poll(1): assert driver[0].is_alive()
        kills, statuses = receiver.recv()
    assert (kills, statuses) == (n_kills, {0})
    files, rows = take_stock(case.folder/"whole")
    names = sorted(Path(name).parts[0] for name in files)
    assert names.count("cutouts") == N_TARGETS - 1 and names.count("cutouts.ecsv") == 1
    assert sorted({row[2] for row in rows}) == ["not_covered", "ok", "reject"] and len(rows) == N_TARGETS + 1
    folders = [path for path in case.folder.iterdir() if path.is_dir()]
    assert len(folders) >= 3
    for folder in folders:
        assert take_stock(folder) == (files, rows), folder.name
        assert not list(folder.rglob("*.part*"))
    saw(f"{n_kills} kills of a download-and-cutout run: manifest and files byte for byte as of an uninterrupted run")
