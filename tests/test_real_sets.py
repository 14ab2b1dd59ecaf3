"The published image sets of the mirror: their readers, their splits, and what the splits leak."
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.stats import sigma_clipped_stats
from astropy.table import Table, vstack
from astropy.wcs import WCS
from conftest import ROOT

from radiogal.candidates import find_group_radius, find_leaks, find_widest, group_sky, split_folds
from radiogal.catalogues import _get_catalogue, find_registered, read_catalogue, translate_mirabest
from radiogal.config import read_config
from radiogal.datasets import (
    _GRIESE_CLASSES,
    _build_griese_set,
    _read_griese_folds,
    read_prepared,
    write_prepared,
)
from radiogal.fetch import select_files, url_to_path
from radiogal.positions import locate
from radiogal.preparation import crop_or_pad, estimate_background, match_survey, read_image

FIRST_WIDTH, GRIESE_WIDTH = 150*1.8*u.arcsec, 300*1.8*u.arcsec  # FRDEEP's and Griese's cutouts


@pytest.fixture(scope="module")
def griese(mirror):
    "Images and table of the five folds, read once."
    return _read_griese_folds([mirror/url_to_path(select_files("griese", "FIRST", f"fold{k}")[0].url)
                               for k in range(5)])


def read_mirabest(path):
    "Name, position and label of a MiraBest image, as its file name tells them; it is centred there, within a beam."
    digits, ra, dec = re.fullmatch(r"(\d{3})_(\d{3}\.\d+)([+-]\d{3}\.\d+)_\d+\.\d+_\d+\.\d+\.fits", path.name).groups()
    hdu, coord = read_image(path, "FIRST"), SkyCoord(float(ra), float(dec), unit="deg")
    centre = WCS(hdu.header).pixel_to_world(*((n - 1)/2 for n in hdu.data.shape[::-1]))
    assert hdu.data.shape == (300, 300) and centre.separation(coord) < 5.4*u.arcsec
    return dict(name=f"MiraBest {ra}{dec}", ra=coord.ra.deg, dec=coord.dec.deg, label=translate_mirabest(int(digits)))


def read_pairs(mirror, n=None):
    "FRDEEP's cutouts, FIRST and NVSS of the same sources."
    files = [select_files("frdeep", survey, "train")[:n] for survey in ("FIRST", "NVSS")]
    for pair in zip(*files, strict=True):
        assert pair[0].object == pair[1].object
        yield [read_image(mirror/url_to_path(f.url), survey) for f, survey in zip(pair, ("FIRST", "NVSS"), strict=True)]


@pytest.mark.filterwarnings("ignore")  # SkyView's COMMENT cards
@pytest.mark.parametrize("n_sources", [60, pytest.param(460, marks=pytest.mark.long)])  # 460: all of them
def test_the_background_of_real_images_is_astropys(mirror, n_sources):
    images = np.stack([hdu.data for pair in read_pairs(mirror, n_sources) for hdu in pair])
    assert images.shape == (2*n_sources, 150, 150) and np.isfinite(images).all()
    expected = [sigma_clipped_stats(image.astype(float), sigma=3, maxiters=None)[1:] for image in images]
    np.testing.assert_allclose(np.transpose(estimate_background(images)), expected, rtol=1e-6, atol=0)


@pytest.mark.filterwarnings("ignore")
def test_first_brought_to_the_beam_and_pixels_of_nvss_looks_as_nvss(mirror):
    alike, peaks = [], []
    for first, nvss in read_pairs(mirror, 40):
        matched = match_survey(first, "NVSS").data
        seen = crop_or_pad(nvss.data[None], len(matched))[0]
        alike.append(np.corrcoef(matched.ravel(), seen.ravel())[0, 1])
        peaks.append(matched.max()/seen.max())
    assert np.median(alike) > 0.9 and abs(np.median(peaks) - 1) < 0.05


def list_cutouts(name, sources, splits, width):
    "A set's cutouts as `find_leaks` wants them."
    table = Table({column: sources[column] for column in ("name", "ra", "dec")})
    table["set"], table["split"], table["width"] = name, splits, width.to_value(u.arcmin)
    return table


def test_griese_folds_have_their_published_sizes(griese):
    images, table = griese
    assert images.shape == (1758, 300, 300) and images.dtype == np.uint8
    assert Counter(table["label"]) == dict(FRI=395, FRII=824, Compact=291, Bent=248)
    assert np.bincount(table["fold"]).tolist() == [353, 353, 353, 353, 346]  # the last one unlike its README
    per_class = {label: np.bincount(table["fold"][table["label"] == label]).tolist() for label in _GRIESE_CLASSES}
    assert per_class == dict(FRI=[79]*5, FRII=[165]*4 + [164], Compact=[59]*4 + [55], Bent=[50]*4 + [48])


def test_griese_becomes_a_prepared_set_in_one_file(griese, tmp_path):
    images, table = griese
    used, empty = _build_griese_set(images, table, 128, np.arange(len(table)), table["fold"])
    assert (len(used), len(empty)) == (1758, 0)
    again = read_prepared(write_prepared(used, tmp_path/"griese.h5"))
    assert np.array_equal(again.images, used.images) and again.history == used.history


def test_leaks_within_griese_are_listed(griese):
    _, table = griese
    leaks = find_leaks(list_cutouts("griese", table, [f"fold {k}" for k in table["fold"]], GRIESE_WIDTH))
    assert len(leaks) == 46
    close = leaks[leaks["separation"] < 135]
    assert len(close) == 6 and len({*close["name"], *close["other_name"]}) == 12
    for fold, n in enumerate((17, 25, 16, 17, 17)):
        splits = np.where(table["fold"] == fold, "valid", "train")
        assert len(find_leaks(list_cutouts("griese", table, splits, GRIESE_WIDTH))) == n


def test_folds_by_sky_group_leak_nothing(griese):
    _, table = griese
    groups = group_sky(SkyCoord(table["ra"], table["dec"], unit="deg"), np.sqrt(2)*GRIESE_WIDTH)
    folds = split_folds(table["label"], groups, 5, seed=1)
    assert len(find_leaks(list_cutouts("griese", table, folds, GRIESE_WIDTH))) == 0


@pytest.mark.parametrize("run", ["real", "benchmark", "transfer"])
def test_no_fold_of_a_run_shares_pixels_with_another(run, mirror):
    config, catalogue = read_config(ROOT/"config"/f"{run}.toml"), _get_catalogue("frdeep")
    frdeep = read_catalogue(catalogue, mirror/url_to_path(find_registered(catalogue).url))
    coords, width = SkyCoord(frdeep["ra"], frdeep["dec"], unit="deg"), find_widest(config)
    assert width.to_value(u.arcmin) == 37.5  # of NVSS
    prep, apart = config.preparation, lambda radius: split_folds(
        frdeep["label"], group_sky(coords, radius), prep.n_folds, prep.split_seed)
    assert len(find_leaks(list_cutouts("frdeep", frdeep, apart(width), width))) > 0  # one width is not enough
    assert len(find_leaks(list_cutouts("frdeep", frdeep, apart(find_group_radius(config)), width))) == 0


@pytest.mark.filterwarnings("ignore")
def test_leaks_between_sets_are_listed(griese, mirror):
    catalogue = _get_catalogue("frdeep")
    frdeep = read_catalogue(catalogue, mirror/url_to_path(find_registered(catalogue).url))
    mirabest = Table([read_mirabest(mirror/url_to_path(f.url)) for f in select_files("mirabest", "FIRST", "archive")])
    assert Counter(mirabest["label"].tolist()) == dict(FRI=57, FRII=67, Bent=26)
    leaks = find_leaks(vstack([list_cutouts("griese", griese[1], "griese", GRIESE_WIDTH),
                               list_cutouts("frdeep", frdeep, "frdeep", FIRST_WIDTH),
                               list_cutouts("mirabest", mirabest, "mirabest", GRIESE_WIDTH)]))
    count = lambda t: dict(Counter(zip(t["set"].tolist(), t["other_set"].tolist(), strict=True)))
    assert count(leaks) == {("griese", "frdeep"): 410, ("griese", "mirabest"): 130, ("frdeep", "mirabest"): 10}
    same = leaks[leaks["separation"] < 30]
    assert count(same) == {("griese", "frdeep"): 384, ("griese", "mirabest"): 125, ("frdeep", "mirabest"): 10}


DRAWN = {"benchmark": ["frdeep-FIRST", "frdeep-NVSS", "frdeep-both"], "transfer": ["FIRST", "NVSS"],
         "vlass": ["FIRST", "VLASS", "both"]}  # Tasks of kept runs whose folds are this project's own


def find_place(name, targets):
    "Where a source is: as the targets say, or its name."
    if name in targets["name"]: return locate(targets[targets["name"] == name])[0]
    return SkyCoord(re.sub(r"J(..)(..)(.*)([+-]..)(..)(.*)", r"\1h\2m\3s \4d\5m\6s", name))


def read_folds(kept, task):
    "In which fold each source was validated, as the kept answers have it."
    tables = [pd.read_parquet(path) for path in kept.glob(f"training/{task}/*/fold*/seed*/predictions.parquet")]
    return pd.concat(tables)[["name", "fold"]].drop_duplicates()


@pytest.mark.parametrize("run", DRAWN)
def test_no_two_folds_of_kept_results_share_pixels(run):
    kept, config = ROOT/"docs"/"results"/run, read_config(ROOT/"config"/f"{run}.toml")
    targets = Table.read(kept/"catalogues"/"targets.ecsv")
    for task in DRAWN[run]:
        folds = read_folds(kept, task)
        places = SkyCoord([find_place(name, targets) for name in folds["name"]])
        sources = Table(dict(name=folds["name"].to_numpy(), ra=places.ra.deg, dec=places.dec.deg))
        leaks = find_leaks(list_cutouts(task, sources, folds["fold"], find_widest(config)))
        assert not len(leaks), leaks


def test_no_two_left_out_catalogues_share_pixels():
    folds = read_folds(ROOT/"docs"/"results"/"benchmark", "catalogues-fr")
    places = np.array([re.split("(?=[+-])", name) for name in folds["name"]], float)
    sources = Table(dict(name=folds["name"].to_numpy(), ra=places[:, 0], dec=places[:, 1]))
    assert not len(find_leaks(list_cutouts("catalogues-fr", sources, folds["fold"], GRIESE_WIDTH)))
