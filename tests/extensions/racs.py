"RACS-mid (Duchesne et al. 2024), added from outside: one record, and FITS images in a folder."
from pathlib import Path

from astropy import units as u

from radiogal.scraping import FitsFolder, fetch_cutouts
from radiogal.surveys import Survey, add_survey

RACS = Survey(
    name="RACS", label="RACS-mid", frequency=1.37*u.GHz, bmaj=11.2*u.arcsec, bmin=9.3*u.arcsec,
    pixel_scale=2*u.arcsec, rms=0.2*u.mJy/u.beam, n_sources=3_105_668, area=36_200*u.deg**2,
    reference="Duchesne et al. 2024", unverified=("rms", "pixel_scale"),
    projection="SIN", n_axes=3, cards=dict(
        TELESCOP="ASKAP", BUNIT="Jy/beam", RADESYS="ICRS", EQUINOX=2000.0,
        CTYPE3="STOKES", CRVAL3=1.0, CDELT3=1.0, CRPIX3=1.0))  # 1 is Stokes I
add_survey(RACS)


def fetch_racs(coords, folder, out):
    "Cutouts of 4 arcmin out of the images in folder/RACS/*.fits: a table, with a row for each position."
    return fetch_cutouts(coords, "RACS", 4*u.arcmin, FitsFolder(Path(folder)), folder=out, root=out)
