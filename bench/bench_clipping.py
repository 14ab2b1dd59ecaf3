"Background of images: radiogal's sigma clip of a stack against a loop of astropy's; real images where mirrored."
import numpy as np
from _pairs import Pair, run_pairs
from astropy.io import fits
from astropy.stats import sigma_clipped_stats

from radiogal.fetch import find_mirror, select_files, url_to_path
from radiogal.preparation import estimate_background

SIDE = 150
MIRROR = find_mirror()


def make_images(n):
    "Noise with a patch of bright pixels."
    rng = np.random.default_rng(1)
    images = rng.normal(size=(n, SIDE, SIDE)).astype("float32")
    images[:, 60:90, 60:90] += rng.exponential(20, size=(n, 30, 30))
    return images


def read_images(n):
    "Images of FRDEEP's training half, FIRST and NVSS; where there is no mirror, ones that are made up."
    if MIRROR is None: return make_images(n)
    files = [f for survey in ("FIRST", "NVSS") for f in select_files("frdeep", survey, "train")][::920//n]
    return np.stack([fits.getdata(MIRROR/url_to_path(f.url), output_verify="ignore") for f in files[:n]])


def loop_over(images): return np.array([sigma_clipped_stats(i, sigma=3.0, maxiters=None)[1:] for i in images])


def ours(folder, n):
    images = read_images(n)
    estimate_background(images[:2], sigma=3.0)
    return lambda: estimate_background(images, sigma=3.0)


def loop(folder, n):
    images = read_images(n)
    loop_over(images[:2])
    return lambda: loop_over(images)


def check(folder, n):
    images = read_images(n)
    found = np.column_stack(estimate_background(images, sigma=3.0))
    np.testing.assert_allclose(found, loop_over(images), rtol=1e-6, atol=1e-12)
    return {}


if __name__ == "__main__":
    kind = "made up" if MIRROR is None else "real, FRDEEP"
    run_pairs(Pair(f"median and standard deviation of {{n}} images of {SIDE} px ({kind}), clipped at 3 σ", 400, 4, ours,
                   loop, "stack, an image at a time", "loop of astropy's `sigma_clipped_stats`",
                   "the same numbers to six digits", check=check))
