"""Neighbours and groups: radiogal's tree on the sphere against the O(n²) loop over a flat sky of the 2020 study.

First at equal n, both in one run, with the error of the flat sky by declination; then radiogal alone, on one core, on a
simulated catalogue of 946,432 rows on FIRST's footprint, clustered as FIRST is: time and peak memory. All simulated."""
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from radiogal import candidates, positions, surveys
from radiogal.config import Candidates
from radiogal.surveys import get_survey

FIRST = get_survey("FIRST")
REPEATS = 3
ONE_CORE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# Two blocks with the areas of FIRST's northern and southern part, 8,444 and 2,131 deg²: RA and Dec limits in degrees
FOOTPRINT = {"north": (110, 263, -8, 55.5), "south": (318.9, 401.1, -10.5, 15.7)}


def measure(function, repeats=REPEATS):
    "Best wall time in seconds, and the result."
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return min(times), result


def loop_flat(ra_hour, dec_deg):
    "The study's nearest neighbours, sqrt(dRA² + dDec²) with RA in hours, row by row; numpy within a row."
    nearest = np.empty(len(ra_hour), dtype=int)
    for i in range(len(ra_hour)):
        distance = np.sqrt((ra_hour - ra_hour[i])**2 + (dec_deg - dec_deg[i])**2)
        distance[i] = np.inf
        nearest[i] = distance.argmin()
    return nearest


def loop_flat_python(ra_hour, dec_deg):
    "The same, row by row within a row too, as the study had it."
    rows = list(zip(ra_hour.tolist(), dec_deg.tolist(), strict=True))
    nearest = []
    for i, (ra, dec) in enumerate(rows):
        best, which = float("inf"), -1
        for j, (other_ra, other_dec) in enumerate(rows):
            distance = ((ra - other_ra)**2 + (dec - other_dec)**2)**0.5
            if j != i and distance < best: best, which = distance, j
        nearest.append(which)
    return nearest


def find_both(coords):
    "What radiogal does in the same time: neighbours within 60 arcsec, nearest first, and groups."
    pairs = candidates.find_pairs(coords, 60*u.arcsec)
    return candidates.find_nearest(pairs), candidates.group_pairs(pairs)


def draw_field(n, dec, seed=1):
    "A simulated field as dense and as clustered as FIRST, n rows, away from RA 0 h, which the flat sky tears apart."
    radius = np.degrees(np.sqrt(1.1*n/FIRST.density.value/np.pi)/57.2958)*u.deg
    field = surveys.draw_clustered(FIRST.density, surveys.FIRST_MEMBERS, surveys.FIRST_SCATTER,
                                   SkyCoord(180*u.deg, dec*u.deg), radius, np.random.default_rng(seed))
    return field[:n]


def compare(n, loop):
    "Time both at the same n."
    coords = draw_field(n, 30)
    flat, _ = measure(lambda: loop(coords.ra.hour, coords.dec.deg), 1)
    ours, _ = measure(lambda: find_both(coords))
    print(f"  {n:>6,} rows: {loop.__name__} {flat:.2f} s, radiogal {ours*1e3:.1f} ms, ratio {flat/ours:,.0f}")
    return flat


def report_errors(n=10_000):
    "How wrong the flat sky is, by declination."
    print(f"flat sky against the sphere, {n:,} rows (simulated): wrong neighbours; "
          "medians of the separation of the neighbour it gives and of what it says that is")
    for dec in (0, 15, 30, 45, 60):
        coords = draw_field(n, dec)
        wrong = loop_flat(coords.ra.hour, coords.dec.deg)
        stated = np.hypot(coords.ra.hour - coords.ra.hour[wrong], coords.dec.deg - coords.dec.deg[wrong])*3600
        true = coords.separation(coords[wrong]).arcsec
        right = coords.match_to_catalog_sky(coords, nthneighbor=2)[0]
        print(f"  Dec {dec:2}°: {np.mean(wrong != right):6.1%} wrong; "
              f"{np.median(true):4.0f}″, said to be {np.median(stated):.0f}″; "
              f"error {np.median(true - stated):.0f}″; factor up to {np.max(true/stated):.1f}")


def draw_footprint(n, seed=1):
    "A simulated catalogue of n rows on the footprint; positions clustered, columns made up."
    rng, kept = np.random.default_rng(seed), []
    for ra_low, ra_high, dec_low, dec_high in FOOTPRINT.values():
        centre = SkyCoord((ra_low + ra_high)/2*u.deg, (dec_low + dec_high)/2*u.deg)
        corners = SkyCoord([ra_low, ra_low, ra_low]*u.deg, [dec_low, 0, dec_high]*u.deg)
        block = surveys.draw_clustered(1.1*FIRST.density, surveys.FIRST_MEMBERS, surveys.FIRST_SCATTER, centre,
                                       centre.separation(corners).max() + 1*u.deg, rng)
        east, dec = (block.ra.deg - ra_low) % 360, block.dec.deg
        kept.append(block[(east < ra_high - ra_low) & (dec > dec_low) & (dec < dec_high)])
    coords = SkyCoord(np.concatenate([k.ra.deg for k in kept]), np.concatenate([k.dec.deg for k in kept]), unit="deg")
    table = candidates.draw_components(coords[rng.permutation(len(coords))], rng)[:n]
    if len(table) < n: raise ValueError(f"drew {len(table)} rows, fewer than {n}")
    return table


def read_peak():
    "Peak resident memory of this process in GiB (ru_maxrss would count the parent's)."
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])/2**20


def run_full(path):
    "In a process of its own: neighbours within 60 arcsec and groups of all rows, then the whole search."
    with np.load(path) as columns:
        table = candidates.tabulate_first(dict(columns), SIMULATE=True, area_deg2=FIRST.area.value)
    before = read_peak()
    coords = positions.locate(table)
    seconds, ((_, separation), group) = measure(lambda: find_both(coords), 1)
    after = read_peak()
    members = np.bincount(group)
    print(f"  neighbours within 60″ and groups: {seconds:.2f} s, peak memory {after:.2f} GiB ({before:.2f} before); "
          f"{np.isfinite(separation).mean():.1%} of the rows have a neighbour, "
          f"{(members > 1).sum():,} groups of two or more")
    seconds, (found, _) = measure(lambda: candidates.find_candidates(table, Candidates()), 1)
    print(f"  the whole search, from rows to candidates: {seconds:.2f} s, peak memory {read_peak():.2f} GiB; "
          f"{len(found):,} candidates")
    print(f"  rows by reason: {candidates.meta['rows']}")


def main():
    print("nearest neighbours and groups at equal n (simulated fields)")
    compare(1_000, loop_flat_python)
    minutes = compare(20_000, loop_flat)*(FIRST.n_sources/20_000)**2/60
    print(f"  {FIRST.n_sources:,} rows: loop_flat would take {minutes:.0f} min, if n² holds")
    report_errors()
    with tempfile.TemporaryDirectory() as folder:
        table = draw_footprint(FIRST.n_sources)
        path = Path(folder)/"first.npz"
        np.savez(path, **{name: np.asarray(table[name]) for name in table.colnames})
        print(f"{len(table):,} rows on FIRST's footprint (simulated), one core", flush=True)
        subprocess.run([sys.executable, __file__, str(path)], check=True, env=os.environ | ONE_CORE,
                       preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}))


if __name__ == "__main__":
    run_full(sys.argv[1]) if len(sys.argv) > 1 else main()
