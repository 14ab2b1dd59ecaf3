"Cutouts of one VLASS image: radiogal's, which opens it once and checks what it writes, against astropy's `Cutout2D`."
import numpy as np
from _pairs import Pair, run_pairs
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS

from radiogal.cutouts import CutoutPlan, RawImage, Target, cut_group

SIZE, QUICK_SIZE, SIDE, CENTRE = 3722, 500, 150, (180.0, 30.0)


def make_image(folder, n):
    "A made image as the archive writes it: four axes, 55 MB; noise alone."
    size = SIZE if n > 10 else QUICK_SIZE
    data = np.random.default_rng(1).normal(0, 1.5e-4, (1, 1, size, size)).astype("float32")
    cards = dict(BUNIT="Jy/beam ", BMAJ=2.6/3600, BMIN=2.4/3600, BPA=10.0, RADESYS="ICRS")
    for i, (kind, value, step) in enumerate([("RA---SIN", CENTRE[0], -1/3600), ("DEC--SIN", CENTRE[1], 1/3600),
                                             ("FREQ", 3e9, 2e9), ("STOKES", 1.0, 1.0)], 1):
        cards |= {f"CTYPE{i}": kind, f"CRVAL{i}": value, f"CDELT{i}": step, f"CRPIX{i}": (size + 1)/2 if i < 3 else 1.0}
    fits.PrimaryHDU(data, fits.Header(cards)).writeto(folder/"image.fits")
    return {}


def draw_positions(folder, n):
    "Positions whose cutouts lie in the image."
    reach = (fits.getheader(folder/"image.fits")["NAXIS1"] - 2*SIDE)/2/3600
    east, north = np.random.default_rng(2).uniform(-reach, reach, (2, n))
    return SkyCoord(CENTRE[0] + east/np.cos(np.radians(CENTRE[1])), CENTRE[1] + north, unit="deg")


def cut_ours(path, coords, folder):
    "Cut, normalised, judged, hashed and flushed to the disk."
    raw, places = RawImage(path, "https://archive/image.fits", ""), zip(coords.ra.deg, coords.dec.deg, strict=True)
    members = [(Target(f"target{i}", *place), [raw]) for i, place in enumerate(places)]
    return [cut.path for cut in cut_group(members, CutoutPlan("VLASS", SIDE, folder))]


def write_cutout(hdus, coord, path):
    "One cutout, as astropy's manual has it."
    cutout = Cutout2D(hdus[0].data.squeeze(), coord, SIDE, wcs=WCS(hdus[0].header).celestial)
    fits.writeto(path, cutout.data, cutout.wcs.to_header(), overwrite=True)
    return path


def cut_opened_each(path, coords, folder):
    "Cut and written; the image is opened for each position."
    folder.mkdir(exist_ok=True)
    written = []
    for i, coord in enumerate(coords):
        with fits.open(path) as hdus: written.append(write_cutout(hdus, coord, folder/f"target{i}.fits"))
    return written


def cut_opened_once(path, coords, folder):
    "The same with the image opened once."
    folder.mkdir(exist_ok=True)
    with fits.open(path) as hdus:
        return [write_cutout(hdus, coord, folder/f"target{i}.fits") for i, coord in enumerate(coords)]


def get_ready(cut, folder, n):
    "Some way of cutting, its first three cutouts done."
    coords, out = draw_positions(folder, n), folder/cut.__name__
    cut(folder/"image.fits", coords[:3], out)
    return lambda: cut(folder/"image.fits", coords, out)


def ours(folder, n): return get_ready(cut_ours, folder, n)
def opened_each(folder, n): return get_ready(cut_opened_each, folder, n)
def opened_once(folder, n): return get_ready(cut_opened_once, folder, n)


def check(folder, n):
    "Every way cuts the same pixels."
    coords = draw_positions(folder, min(n, 20))
    for files in zip(*(cut(folder/"image.fits", coords, folder/f"check-{cut.__name__}")
                       for cut in (cut_ours, cut_opened_each, cut_opened_once)), strict=True):
        first, *others = map(fits.getdata, files)
        for other in others: np.testing.assert_array_equal(first, other)
    return {}


if __name__ == "__main__":
    more = "ours also checks the pixels, normalises the header, hashes each file and flushes it to the disk"
    work = f"{{n}} cutouts of {SIDE} px from one image of {SIZE} px, on disk"
    run_pairs(Pair(work, 300, 4, ours, opened_each, "image opened once", "image opened for each, `Cutout2D`", more,
                   make_image, check),
              Pair(work, 300, 4, ours, opened_once, "image opened once", "`Cutout2D`, image opened once", more,
                   make_image, check))
