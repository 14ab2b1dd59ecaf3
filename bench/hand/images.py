"""Whole images of a survey: requests, bytes moved and the most that was on the disk, by the order of work. Simulated.

A loopback archive of 200 images, VLASS at a tenth of its size in every direction: images of 372 px on a grid of 360 px,
cutouts of 15 px, ten images' positions in a shard. Cutting is all that is done with them. Then VLASS itself, on paper:
where 3.4 million positions lie, in which order they are worked through, and how many images are needed at a time."""
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT/"tests"))

from made import Mosaic, draw_in_images  # noqa: E402

from radiogal import clients, shards  # noqa: E402
from radiogal.archives import serve_archives  # noqa: E402
from radiogal.config import read_config  # noqa: E402
from radiogal.scraping import open_archive  # noqa: E402

TENTH, SIDE, CUTOUT, PER_IMAGE = 0.1, 372, 0.25, 3  # Degrees between images; pixels; arcmin; positions
WIDE, HIGH, QUICK = 20, 10, 2  # Images in right ascension, and in declination; with `quick`, rows of them
IMAGE_MB, PER_SHARD, N_VLASS = 55, 1000, 3_400_000
ORDERS = {"the table's": (), "by image": ("VLASS",)}  # As before, when images stayed; and as it is


def shrink():
    "Everything that is measured in images of VLASS, at a tenth; names are exact, as centres lie on whole seconds."
    sizes, stack = dict(_HALF_IMAGE=SIDE/2*u.arcsec, _NAME_ROUNDING=1.5*u.arcsec), ExitStack()
    stack.enter_context(patch.multiple(clients, **sizes))
    stack.enter_context(patch.multiple(shards, **sizes, _ROW_DEG=TENTH, _BLOCK_DEG=10*TENTH))
    return stack


def list_images(worker): return list(worker.archive.folder.glob("VLASS*.fits"))


def work(worker, n):
    "Cut all positions; the most whole images on the disk, and their MB."
    most = [0, 0.]
    for number in range(n):
        cutouts = shards._fetch_shard(worker, number)
        assert set(cutouts["state"]) == {"ok"}, set(cutouts["reason"])
        there = list_images(worker)
        most = max(most, [len(there), sum(path.stat().st_size for path in there)/1e6])
        path = shards.name_shard(worker.folder, "prepared", number, ".npz")
        path.parent.mkdir(exist_ok=True)
        path.touch()
        shards._delete_cutouts(worker, number)
    return most


def run_order(mosaic, sources, order, folder):
    "One order of work, over the loopback archive."
    config = read_config(ROOT/"config"/"smoke.toml")
    scraping = config.scraping.model_copy(update=dict(cutout_arcmin=CUTOUT, vlass_route="images"))
    job = dict(model="none", survey="VLASS", shard_size=10*PER_IMAGE)
    with serve_archives(mosaic, requests := []) as services, shrink(), patch.object(shards, "_BY_IMAGE", ORDERS[order]):
        job = shards.begin_job(folder, job, lambda: sources)
        worker = shards.Worker(folder, job, config.model_copy(update=dict(scraping=scraping)), None,
                               open_archive(services, folder/"raw", "VLASS"), ("cutouts", "downloads"))
        most, most_mb = work(worker, shards._count_shards(job))
    asked = pd.Series([request for request in requests if request.endswith(".fits")]).value_counts()
    size = len(mosaic.read_vlass(0, ""))
    return dict(order=order, images=len(mosaic.vlass_centres), positions=len(sources), requests=len(requests),
                of_images=int(asked.sum()), most_of_one=int(asked.max()), moved_MB=asked.sum()*size/1e6,
                most_images=most, most_MB=most_mb, left=len(list_images(worker)))


def measure(quick=False):
    "A row for each order of work; `quick`: a strip of 40 images instead of 200."
    rows = QUICK if quick else HIGH
    centres = [SkyCoord((i + 0.5)*TENTH, (j + 0.5)*TENTH, unit="deg") for j in range(rows) for i in range(WIDE)]
    coords = draw_in_images(centres, PER_IMAGE, 0.495*TENTH)
    mosaic = Mosaic(centres, SIDE, coords)
    sources = Table(dict(name=[f"S{i}" for i in range(len(coords))], ra=coords.ra.deg, dec=coords.dec.deg,
                         crowding=np.zeros(len(coords), int)))
    with tempfile.TemporaryDirectory() as folder:
        return [run_order(mosaic, sources, order, Path(folder)/str(i)) for i, order in enumerate(ORDERS)]


def find_image(ra, dec):
    "The number of the image whose cell of about a square degree holds a position, in rows of equal declination."
    row = np.clip(np.floor(dec), -41, 89)
    across = np.ceil(360*np.cos(np.radians(row + 0.5)))
    return ((row + 41)*361 + np.floor(ra % 360/360*across)).astype(int)


def plan_vlass(order):
    "How many images of VLASS are on the disk at most, where each stays from its first shard to its last."
    rng = np.random.default_rng(1)
    rows = pd.DataFrame(dict(ra=rng.uniform(0, 360, N_VLASS), dec=np.degrees(np.arcsin(rng.uniform(
        np.sin(np.radians(-40)), 1, N_VLASS)))))
    if order == "by image": rows = rows.iloc[shards._order_by_image(rows)]
    shard, reach = np.arange(N_VLASS)//PER_SHARD, (75 + 15 + 61)/3600  # Half a cutout, rounded names, half the overlap
    first, last = np.full((2, 131*361), -1)
    for east, north in ((0, 0), (reach, 0), (-reach, 0), (0, reach), (0, -reach)):
        image = find_image(rows.ra + east/np.cos(np.radians(rows.dec)), rows.dec + north)
        unseen = first[image] < 0
        first[image[unseen]] = N_VLASS
        np.minimum.at(first, image, shard)
        np.maximum.at(last, image, shard)
    there = first >= 0
    change = np.bincount(first[there], minlength=shard[-1] + 2) - np.bincount(last[there] + 1, minlength=shard[-1] + 2)
    most = int(change.cumsum().max())
    return dict(order=order, images=int(there.sum()), most_images=most, most_GB=most*IMAGE_MB/1e3)


def show(rows):
    "A small table."
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format=lambda value: f"{value:.1f}"), end="\n\n")


def main():
    print("Loopback, VLASS at a tenth of its size (simulated)")
    show(measure(quick="quick" in sys.argv[1:]))
    print("VLASS on paper: where each image stays from the first shard that needs it to the last")
    show([plan_vlass(order) for order in ORDERS])


if __name__ == "__main__":
    main()
