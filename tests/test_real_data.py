"Real files of the mirror, through the library: catalogues with their known rows, and FITS of both surveys."
import numpy as np
import pytest
from astropy import units as u
from astropy.stats import sigma_clipped_stats

from radiogal.catalogues import CATALOGUES, _crossmatch_labels, _gather_labels, _get_catalogue
from radiogal.cutouts import read_cutout
from radiogal.fetch import Fetcher, FetchError, Manifest, check_sources, get_registered, select_files, url_to_path
from radiogal.preparation import estimate_background

TABLES = tuple(name for name, c in CATALOGUES.items() if c.file and not name.endswith("-test"))


@pytest.fixture
def fetcher(mirror, tmp_path):
    "A fetcher that may ask no host: what it gets comes from the mirror."
    return Fetcher(Manifest(tmp_path/"manifest.sqlite"), allowed_hosts=("nowhere.invalid",))


def test_all_files_of_the_real_run_are_mirrored(mirror, tmp_path):
    needed = select_files("frdeep", "FIRST", "train") + select_files("frdeep", "NVSS", "train")
    assert len(needed) == 920
    assert check_sources(needed, tmp_path, timeout_s=0.1) == 0


def test_catalogues_have_their_known_rows_and_labels(fetcher, tmp_path):
    tables = dict(zip(TABLES, _gather_labels(TABLES, fetcher, tmp_path), strict=True))
    assert {name: len(t) for name, t in tables.items()} == {name: _get_catalogue(name).n_rows for name in TABLES}
    labels, counts = np.unique(tables["frdeep"]["label"], return_counts=True)
    assert dict(zip(labels.tolist(), counts.tolist(), strict=True)) == {"FRI": 188, "FRII": 272}
    verdicts = _crossmatch_labels(tables["frdeep"], tables["CoNFIG"], 30*u.arcsec)["verdict"]
    assert (verdicts == "agree").sum() > (verdicts == "conflict").sum()


@pytest.mark.parametrize("survey", ["FIRST", "NVSS"])
def test_real_images_are_normalised_and_clipped_as_astropy_does(fetcher, tmp_path, survey):
    images = []
    for file in select_files("frdeep", survey, "train")[:12]:
        hdu = read_cutout(get_registered(fetcher, file, tmp_path), survey)
        assert hdu.data.shape == (150, 150) and hdu.header["BMAJ"] > 0 and hdu.header["SIMULATE"] is False
        images.append(hdu.data)
    median, std = estimate_background(np.stack(images), sigma=3.0)[:2]
    for i, image in enumerate(images):
        _, expected_median, expected_std = sigma_clipped_stats(image, sigma=3.0, maxiters=None)
        np.testing.assert_allclose([median[i], std[i]], [expected_median, expected_std], rtol=1e-6, atol=1e-12)


def test_held_out_files_are_absent_and_said_to_be(mirror, fetcher, tmp_path):
    file = select_files("frdeep", "FIRST", "test")[0]
    if (mirror/url_to_path(file.url)).is_file(): pytest.skip("the held-out files are here")
    with pytest.raises(FetchError, match="nowhere.invalid"): get_registered(fetcher, file, tmp_path)
