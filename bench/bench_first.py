"Cutouts from FIRST's form, as this machine serves it: radiogal's client against astroquery's."
import atexit
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from _pairs import ROOT, Pair, run_pairs
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table

from radiogal.archives import serve_archives
from radiogal.config import read_config
from radiogal.cutouts import CutoutPlan
from radiogal.scraping import fetch_targets, open_archive
from radiogal.sky import ArtificialSky, draw_population
from radiogal.surveys import get_survey

SIDE, MARGIN = 83, 4  # Of a cutout, pixels, and by how much more radiogal asks for, because servers round
ASKED = (SIDE + MARGIN)*get_survey("FIRST").pixel_scale
CONFIG = read_config(ROOT/"config"/"smoke.toml")


def open_sky():
    "Archives of an artificial sky, and its labelled sources."
    population = draw_population(CONFIG.sky, CONFIG.classes, CONFIG.surveys)
    return serve_archives(ArtificialSky(population, CONFIG.sky)), population[population["label"] != ""]


def choose_targets(sources, n):
    "Positions around sources, none of them twice."
    rng = np.random.default_rng(1)
    north, east = rng.uniform(-20, 20, (2, n))*u.arcsec
    row = np.arange(n) % len(sources)
    coords = SkyCoord(sources["ra"][row], sources["dec"][row], unit="deg").spherical_offsets_by(east, north)
    return Table(dict(name=[f"target{i}" for i in range(n)], ra=coords.ra.deg, dec=coords.dec.deg))


def fetch_ours(services, targets, folder):
    "Each asked for, checked, recorded, kept as it came, cut and written."
    archive = open_archive(services, folder/"raw", "FIRST")
    cutouts = fetch_targets(targets, archive, CutoutPlan("FIRST", SIDE, folder/"cutouts"), folder)
    assert set(cutouts["state"]) == {"ok"}, cutouts
    return [folder/path for path in cutouts["path"]]


def define_astroquery():
    "astroquery's client, which writes positions as sexagesimal numbers: the only ones that this machine's form reads."
    from astroquery.image_cutouts.first import FirstClass

    class Sexagesimal(FirstClass):
        def _args_to_payload(self, coordinates, **settings):
            return super()._args_to_payload(coordinates, **settings) | dict(
                RA=coordinates.to_string("hmsdms", sep=" ", precision=3))

    return Sexagesimal


def fetch_astroquery(services, targets, folder):
    "Each asked for, as astroquery's manual has it, and written."
    first = define_astroquery()()
    first.URL, first.cache_location = services.first_cutout, folder/"cache"
    paths = []
    for row in targets:
        coord = SkyCoord(row["ra"], row["dec"], unit="deg")
        paths.append(folder/f"{row['name']}.fits")
        first.get_images(coord, image_size=ASKED).writeto(paths[-1])
    return paths


def get_ready(fetch, folder, n):
    "Some client, ready to ask archives that run as long as this process, from a folder where it asked for nothing yet."
    archives, sources = open_sky()
    running, targets = ExitStack(), choose_targets(sources, n)
    services = running.enter_context(archives)
    atexit.register(running.close)
    place = lambda: Path(tempfile.mkdtemp(dir=folder))
    fetch(services, targets[:1], place())
    return lambda: fetch(services, targets, place())


def ours(folder, n): return get_ready(fetch_ours, folder, n)
def astroquery(folder, n): return get_ready(fetch_astroquery, folder, n)


def check(folder, n):
    "Both fetch the same pixels."
    archives, sources = open_sky()
    with archives as services:
        targets = choose_targets(sources, min(n, 5))
        pairs = zip(*(fetch(services, targets, Path(tempfile.mkdtemp(dir=folder)))
                      for fetch in (fetch_ours, fetch_astroquery)), strict=True)
        for a, b in pairs:
            edge = slice(MARGIN//2, -(MARGIN//2))
            np.testing.assert_allclose(fits.getdata(a), fits.getdata(b).squeeze()[edge, edge], rtol=1e-5)
    return {}


if __name__ == "__main__":
    run_pairs(Pair(f"{{n}} cutouts of {SIDE} px from FIRST's form, served by this machine", 100, 3, ours, astroquery,
                   "two connections", "astroquery's `First.get_images` in a loop",
                   "ours also records each request, keeps and checks what came, hashes it and flushes it to the disk; "
                   "either waits for the same archive, which draws the images. A real host is asked once a second",
                   check=check))
