"Bytes that each stage has to move against what memory and disk can move, all measured here, on one core."
import os
import tempfile
from pathlib import Path

import numpy as np
from _made import FIELD, draw_field, draw_images, make_sources
from _pairs import call, run_script, time_work
from bench_clipping import make_images
from bench_cutouts import SIDE, cut_ours, get_ready, make_image

OFTEN, LARGE, SMALL = 3, 2**28, 95_000  # Times; bytes of a large file or array, and of a cutout
ONE_THREAD = dict(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", TF_NUM_INTRAOP_THREADS="1",
                  TF_NUM_INTEROP_THREADS="1")


def time_best(work): return min(time_work(work)["seconds"] for _ in range(OFTEN))


def measure_memory(folder, n_bytes):
    "Bytes a second that are read and written by a copy of an array."
    a = np.ones(n_bytes//4, np.float32)  # zeros would be one page of memory, read from the cache
    b = np.zeros_like(a)
    return dict(rate=2*n_bytes/time_best(lambda: np.copyto(b, a)))


def write_flushed(path, content):
    "A file that is on the disk afterwards, and is no longer held in memory."
    with open(path, "wb") as f:
        f.write(content)
        f.flush()
        os.fsync(f.fileno())
        if hasattr(os, "posix_fadvise"): os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure_writing(folder, n_bytes):
    "Bytes a second of one large file, flushed."
    content = np.random.default_rng(1).bytes(n_bytes)
    return dict(rate=n_bytes/time_best(lambda: write_flushed(folder/"large", content)))


def measure_reading(folder, n_bytes):
    "Bytes a second of one large file that was not in memory, where the system lets it go."
    def read():
        write_flushed(folder/"large", content)
        return time_work((folder/"large").read_bytes)["seconds"]
    content = np.random.default_rng(1).bytes(n_bytes)
    return dict(rate=n_bytes/min(read() for _ in range(OFTEN)))


def measure_small(folder, n):
    "Bytes a second of small files, each flushed and put in its place, as radiogal writes them."
    content = np.random.default_rng(1).bytes(SMALL)

    def write_all():
        for i in range(n):
            write_flushed(folder/"part", content)
            os.replace(folder/"part", folder/f"{i}")
    return dict(rate=n*SMALL/time_best(write_all))


def clip(folder, n):
    from radiogal.preparation import estimate_background
    images = make_images(n)
    estimate_background(images[:2], 3.0)
    return dict(rate=images.nbytes/time_best(lambda: estimate_background(images, 3.0)))


def cut(folder, n):
    "Data of cutouts on the disk."
    make_image(folder, n)
    return dict(rate=n*SIDE**2*4/time_best(get_ready(cut_ours, folder, n)))


def find(folder, n):
    "Positions as three coordinates."
    from astropy import units as u

    from radiogal.candidates import find_pairs
    coords = draw_field(n)
    return dict(rate=n*3*8/time_best(lambda: find_pairs(coords, 60*u.arcsec)))


def draw(folder, n):
    "Images of batches, each read and written."
    from radiogal.config import Training
    from radiogal.training import Views, draw_epoch, start_keras
    start_keras(1)
    sources = make_sources(draw_images(n))
    views = Views(sources.images, FIELD, None, Training(batch_size=32, max_shift=2), 1)

    def draw_all():
        for _ in draw_epoch(views, sources, 0): pass
    draw_all()
    return dict(rate=2*sources.images.nbytes/time_best(draw_all))


def read_set(folder, n):
    "A prepared set, from a file that was not in memory."
    from radiogal.datasets import read_prepared, write_prepared
    path = folder/"prepared.h5"
    write_prepared(make_sources(np.random.default_rng(1).random((n, FIELD, FIELD, 1), np.float32)), path)
    content = path.read_bytes()

    def read():
        write_flushed(path, content)
        return time_work(lambda: read_prepared(path))["seconds"]
    return dict(rate=len(content)/min(read() for _ in range(OFTEN)))


LIMITS = {"memory: an array copied": (measure_memory, LARGE, 2**20),
          "disk: one large file, written": (measure_writing, LARGE, 2**20),
          "disk: one large file, read": (measure_reading, LARGE, 2**20),
          f"disk: files of {SMALL//1000} kB, each flushed": (measure_small, 300, 3)}
MEMORY, _, READING, FLUSHING = LIMITS
STAGES = [  # Name, function, how many, how many in a test, what limits it, and why it is slower than that
    ("sigma clip, images read once", clip, 400, 4, MEMORY,
     "an image is sorted once, which is comparisons and no transfer"),
    ("cutouts, written", cut, 300, 4, FLUSHING,
     "each is checked, given a header of its own and hashed before it is written"),
    ("neighbours, positions read once", find, 200_000, 300, MEMORY,
     "a tree is built and searched: few bytes, in no order"),
    ("drawing batches, read and written", draw, 1000, 32, MEMORY,
     "an image at a time, in one of eight views, so that rows are read backwards, too"),
    ("reading a prepared set", read_set, 1000, 4, READING,
     "its images are unpacked, which gzip does slowly; then all arrays are hashed with SHA-256 and checked"),
]


def collect(quick):
    "What the machine can move, and what each stage moves, in bytes a second."
    def measure(function, n):
        with tempfile.TemporaryDirectory() as folder:
            return call(function, Path(folder), n, quick=quick, **ONE_THREAD)["rate"]
    limits = {name: measure(function, few if quick else n) for name, (function, n, few) in LIMITS.items()}
    moved = [dict(stage=name, n=few if quick else n, rate=measure(function, few if quick else n), limit=limit, why=why)
             for name, function, n, few, limit, why in STAGES]
    return dict(limits=limits, moved=[row | dict(share=row["rate"]/limits[row["limit"]]) for row in moved])


if __name__ == "__main__": run_script(collect)
