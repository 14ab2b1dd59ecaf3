"""What tells the catalogues of the published set apart: docs/levers/catalogues.json, which is shown in docs/levers.md.

    python bench/measure_catalogues.py     # after `radiogal prepare benchmark`; one minute of a core

Shape is measured in the images that networks are given, whose brightest pixel is 1: they hold neither brightness nor
noise in physical units. Those are of registered FITS images of FIRST that show the same source, redshifts of registered
catalogues; how many sources have them is told. Of FRDEEP, files of the training part alone.
"""
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
from _pairs import ROOT, round_numbers, write_result
from astropy.coordinates import SkyCoord
from astropy.table import vstack
from astropy.wcs import WCS
from scipy import ndimage
from try_levers import FOLDER, RESULTS, read_settings

from radiogal.candidates import draw_split
from radiogal.catalogues import CATALOGUES, find_registered, read_catalogue
from radiogal.config import find_images
from radiogal.cutouts import estimate_noise, read_cutout
from radiogal.datasets import read_task
from radiogal.diagnosis import read_facts
from radiogal.evaluation import score_pooled
from radiogal.fetch import Fetcher, get_registered, registry_hosts, select_files
from radiogal.handcrafted import _CENTRE_SIDE, _fit_cell, _keep_source, measure_features
from radiogal.measures import _REACH_ARCSEC, measure_span
from radiogal.positions import locate
from radiogal.preparation import crop_or_pad
from radiogal.provenance import Manifest
from radiogal.surveys import beam_area, get_survey

DOWNLOADS = ROOT/"data"/"raw"/"levers"
SAME_ARCSEC = 30.  # Positions of one source in two catalogues are nearer
IMAGES = (("frdeep", "FIRST", "train"), ("mirabest", "FIRST", "archive"))
FEWEST = 20  # Sources of a catalogue that a classifier can be taught to know
FOLDS = 5
SHARES = 0.16, 0.5, 0.84  # Median, and one standard deviation to each side


def measure_shape(image, pixel, pixels_per_beam):
    "Extent of the source in the middle, arcsec; brightness in units of the peak; islands above 3 % of the peak."
    source = _keep_source(image, _REACH_ARCSEC/pixel)
    return dict(size=pixel*measure_span(np.argwhere(source >= 0.1)), total=source.sum()/pixels_per_beam,
                islands=ndimage.label(source > 0, np.ones((3, 3)))[1])


def measure_shapes(sources):
    "A row per source."
    survey, pixel = get_survey(sources.survey), sources.pixel_arcsec
    pixels_per_beam = beam_area(survey.bmaj, survey.bmin).to_value("arcsec2")/pixel**2
    return pd.DataFrame([measure_shape(crop_or_pad(image[None], _CENTRE_SIDE)[0, :, :, 0].astype(float), pixel,
                                       pixels_per_beam) for image in sources.images], index=sources.names)


def match(places, others, values):
    "Values of the nearest of the others; NaN where none is near."
    nearest, apart, _ = places.match_to_catalog_sky(others)
    return np.where(apart.arcsec < SAME_ARCSEC, np.asarray(values, float)[nearest], np.nan)


def measure_fits(path):
    "Middle, deg; brightest pixel within an arcminute of it, and noise, mJy/beam."
    hdu = read_cutout(path, "FIRST")
    row, column = (side // 2 for side in hdu.shape)
    rows, columns = np.indices(hdu.shape)
    near = np.hypot(rows - row, columns - column) < _REACH_ARCSEC/get_survey("FIRST").pixel_scale.value
    ra, dec = WCS(hdu.header).pixel_to_world_values(column, row)
    return ra, dec, 1e3*np.nanmax(hdu.data[near]), 1e3*estimate_noise(hdu.data)


def look_up(places, fetcher):
    "Brightness, noise, three times the noise in percent of the brightness, and redshift, where they are known."
    files = [get_registered(fetcher, file, DOWNLOADS) for those in IMAGES for file in select_files(*those)]
    ra, dec, peak, noise = np.transpose([measure_fits(path) for path in files])
    tables = [read_catalogue(c, get_registered(fetcher, find_registered(c), DOWNLOADS))
              for c in map(CATALOGUES.get, ("FRICAT", "CoNFIG", "MiraBest"))]
    known = vstack([table["ra", "dec", "redshift"] for table in tables], metadata_conflicts="silent")
    known = known[np.isfinite(known["redshift"])]
    shown = SkyCoord(ra, dec, unit="deg")
    return dict(peak=match(places, shown, peak), noise=match(places, shown, noise),
                threshold=match(places, shown, 300*noise/peak),
                redshift=match(places, locate(known), known["redshift"]))


def describe(values):
    "How many are known, their median, and the 16th and 84th percentile; only the number where fewer than three are."
    known = values.dropna()
    return dict(n=len(known)) | (dict(zip(("low", "median", "high"), known.quantile(SHARES).tolist(), strict=True))
                                 if len(known) > 2 else {})


def tell_apart(sources, features, facts, label):
    "How well a linear classifier names the catalogue of sources of one class, in folds of sky groups."
    counts = facts["catalogue"][facts["label"] == label].value_counts()
    keep = ((facts["label"] == label) & facts["catalogue"].isin(counts.index[counts >= FEWEST])).to_numpy()
    names, labels = np.unique(facts["catalogue"][keep], return_inverse=True)
    groups = facts["sky_group"][keep].to_numpy()
    chosen = replace(sources.select(keep), labels=labels, classes=tuple(names), groups=groups,
                     folds=draw_split(labels, groups, FOLDS, 0))
    tables = [_fit_cell(chosen, features[keep], fold, 0.)[1] for fold in range(FOLDS)]
    accuracy, ends = score_pooled(tables, "accuracy")
    return dict(label=label, n=int(keep.sum()), catalogues=len(names), commonest=np.bincount(labels).max()/len(labels),
                accuracy=accuracy, low=ends.low, high=ends.high)


def main():
    config = read_settings()
    sources, facts = (read_task(RESULTS, config, "griese"),
                      read_facts(find_images(RESULTS, config.list_tasks()["griese"].images)))
    facts = facts.loc[sources.names]
    table = measure_shapes(sources).assign(**look_up(SkyCoord(*sources.positions.T, unit="deg"), Fetcher(
        Manifest(DOWNLOADS/"manifest.sqlite"), registry_hosts())))
    parts = table.groupby([facts["label"].to_numpy(), facts["catalogue"].to_numpy()])
    rows = [dict(label=label, catalogue=catalogue, n=len(part), **{key: describe(part[key]) for key in part})
            for (label, catalogue), part in parts]
    features = measure_features(sources.images, sources.pixel_arcsec)
    told = [tell_apart(sources, features, facts, label) for label in sources.classes]
    FOLDER.mkdir(exist_ok=True)
    write_result(round_numbers(dict(rows=rows, told=told)), FOLDER/"catalogues.json")


if __name__ == "__main__": sys.exit(main())
