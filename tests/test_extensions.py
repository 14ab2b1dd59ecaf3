"What a user adds from outside the package, each in one file of tests/extensions: docs/extend.md shows the same files."
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from conftest import ROOT

from radiogal import config, surveys
from radiogal.cutouts import read_cutout
from radiogal.preparation import prepare_image
from radiogal.scraping import _scrape_survey, choose_targets
from radiogal.sky import draw_population, observe, write_image

EXTENSIONS = Path(__file__).parent/"extensions"


@pytest.mark.parametrize("path", sorted(EXTENSIONS.glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_an_extension_is_a_file_of_at_most_40_lines_and_stands_in_the_docs(path):
    assert len(path.read_text().splitlines()) <= 40
    assert f"{{literalinclude}} ../tests/extensions/{path.name}\n" in (ROOT/"docs"/"extend.md").read_text()


@pytest.fixture
def racs(monkeypatch):
    "What tests/extensions/racs.py defines; the survey is known in this test alone."
    monkeypatch.setattr(surveys, "SURVEYS", dict(surveys.SURVEYS))
    monkeypatch.setitem(config._ALLOWED, "survey", [*config._ALLOWED["survey"]])
    return runpy.run_path(str(EXTENSIONS/"racs.py"))


SETTINGS = dict(kind="demo", surveys=["RACS"], classes=["FRI", "FRII"], scraping=dict(cutout_arcmin=4.0),
                preparation=dict(field_arcmin=3.5, match_survey="RACS"))


def test_a_survey_from_outside_is_observed_cut_out_and_prepared(racs, tmp_path):
    sky = config.Sky(seed=1, sources_per_class=2, extended_mjy=(200.0, 400.0))
    sources = draw_population(sky, ("FRI", "FRII"), ("RACS",))
    centre = SkyCoord(sky.ra_deg, sky.dec_deg, unit="deg")
    write_image(tmp_path/"images"/"RACS"/"field.fits", observe(sources, "RACS", centre, 360, seed=1))

    labelled = sources[sources["label"] != ""]
    asked = SkyCoord([*labelled["ra"], 10.0], [*labelled["dec"], 10.0], unit="deg")
    table = racs["fetch_racs"](asked, tmp_path/"images", tmp_path/"out")
    assert list(table["state"]) == ["ok"]*4 + ["not_covered"]

    cutout = read_cutout(tmp_path/"out"/table["path"][0], "RACS")
    assert cutout.data.shape == (120, 120) and cutout.header["SIMULATE"] and cutout.header["BUNIT"] == "Jy/beam"
    np.testing.assert_allclose([cutout.header[key]*3600 for key in ("BMAJ", "BMIN")], [11.2, 9.3])
    ready = prepare_image(cutout, config.parse_config(SETTINGS, "racs.toml"))
    assert ready.image.shape == (64, 64) and ready.image.max() == 1 and ready.beam[0] == pytest.approx(11.2)


def test_a_simulated_run_of_a_survey_from_outside_is_scraped(racs, tmp_path):
    run = config.parse_config(SETTINGS | dict(sky=dict(sources_per_class=2)), "racs.toml")
    table = _scrape_survey(run, "RACS", choose_targets(run, ""), "", tmp_path/"raw", tmp_path/"out")
    assert list(table["state"]) == ["ok"]*4


@pytest.mark.parametrize(("changes", "message"), [
    (dict(), "survey RACS exists"),
    (dict(name="RACS2", rms=0.2*u.mJy), "survey RACS2: rms = 0.2 mJy: give it as a positive quantity in Jy / beam"),
    (dict(name="RACS2", cards={}), "survey RACS2: cards = {}: add BUNIT"),
    (dict(name="RACS2", bmaj=1*u.arcsec), "survey RACS2: bmaj = 1.0 arcsec: give at least bmin = 9.3 arcsec"),
    (dict(name="RACS 2"), "survey 'RACS 2'")])
def test_a_record_that_cannot_be_is_refused(racs, changes, message):
    with pytest.raises(config.ConfigError) as error: surveys.add_survey(replace(racs["RACS"], **changes))
    assert message in str(error.value)


def test_a_survey_is_known_only_once_it_was_added():
    allowed = "'FIRST', 'NVSS', 'VLASS' or 'TGSS'"
    with pytest.raises(config.ConfigError, match=f"surveys.0 = 'RACS': Input should be {allowed}"):
        config.parse_config(SETTINGS, "racs.toml")
