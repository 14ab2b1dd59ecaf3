"Cutouts from one VLASS image: radiogal's, which opens it once for all, against astropy's, opened for each; one core."
import os
import re
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.table import Table
from astropy.wcs import WCS

from radiogal.cutouts import CutoutPlan, RawImage, Target, cut_group

N, SIZE, SIDE, CENTRE = 300, 3722, 150, (180.0, 30.0)


def make_image(path):
    "A made image as the archive writes it: four axes, 55 MB; noise alone."
    data = np.random.default_rng(1).normal(0, 1.5e-4, (1, 1, SIZE, SIZE)).astype("float32")
    cards = dict(BUNIT="Jy/beam ", BMAJ=2.6/3600, BMIN=2.4/3600, BPA=10.0, RADESYS="ICRS")
    for i, (kind, value, step) in enumerate([("RA---SIN", CENTRE[0], -1/3600), ("DEC--SIN", CENTRE[1], 1/3600),
                                             ("FREQ", 3e9, 2e9), ("STOKES", 1.0, 1.0)], 1):
        cards |= {f"CTYPE{i}": kind, f"CRVAL{i}": value, f"CDELT{i}": step, f"CRPIX{i}": (SIZE + 1)/2 if i < 3 else 1.0}
    fits.PrimaryHDU(data, fits.Header(cards)).writeto(path)


def draw_positions():
    "Positions whose cutouts lie in the image."
    reach = (SIZE - 2*SIDE)/2/3600
    east, north = np.random.default_rng(2).uniform(-reach, reach, (2, N))
    return SkyCoord(CENTRE[0] + east/np.cos(np.radians(CENTRE[1])), CENTRE[1] + north, unit="deg")


def cut_ours(path, coords, folder):
    "Cut, normalised, judged, hashed and flushed to the disk."
    raw, places = RawImage(path, "https://archive/image.fits", ""), zip(coords.ra.deg, coords.dec.deg, strict=True)
    members = [(Target(f"target{i}", *place), [raw]) for i, place in enumerate(places)]
    return [cut.path for cut in cut_group(members, CutoutPlan("VLASS", SIDE, folder))]


def cut_naively(path, coords, folder):
    "Cut and written."
    folder.mkdir()
    written = []
    for i, coord in enumerate(coords):
        with fits.open(path) as hdus:
            cutout = Cutout2D(hdus[0].data.squeeze(), coord, SIDE, wcs=WCS(hdus[0].header).celestial)
            written.append(folder/f"target{i}.fits")
            fits.writeto(written[-1], cutout.data, cutout.wcs.to_header())
    return written


def read_peak():
    "Largest resident memory of this process so far, MB; getrusage would count the parent's."
    return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])/1024


def measure(function, path, folder):
    "In a process of its own, on one core: seconds, memory before and at its peak in MB, and the files."
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    coords = draw_positions()
    before = read_peak()
    function(path, coords[:3], folder.with_name(f"{folder.name}-warm"))
    start = time.perf_counter()
    written = function(path, coords, folder)
    return time.perf_counter() - start, before, read_peak(), written


def main():
    results = {}
    with tempfile.TemporaryDirectory() as name:
        make_image(path := Path(name)/"image.fits")
        for label, function in {"astropy, opened for each": cut_naively, "radiogal, opened once": cut_ours}.items():
            with ProcessPoolExecutor(1, get_context("spawn")) as own:
                results[label] = own.submit(measure, function, path, Path(name)/label).result()
        for files in zip(*(result[3] for result in results.values()), strict=True):
            np.testing.assert_array_equal(*map(fits.getdata, files))
    slow = max(seconds for seconds, *_ in results.values())
    rows = [(label, N/seconds, slow/seconds, before, peak) for label, (seconds, before, peak, _) in results.items()]
    table = Table(rows=rows, names=("cutouts", "per second", "ratio", "MB before", "MB at peak"))
    for column, form in zip(table.colnames[1:], (".0f", ".1f", ".0f", ".0f"), strict=True): table[column].format = form
    print(f"{N} cutouts of {SIDE} px from one image of {SIZE} x {SIZE} px, one core")
    print("\n".join(table.pformat()))


if __name__ == "__main__":
    main()
