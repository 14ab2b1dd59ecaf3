"Label catalogues: their notations, what is compared, and which archives a run may query."
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

from radiogal import catalogues
from radiogal.catalogues import (
    _CONFIG_CLASSES,
    Catalogue,
    Labels,
    _crossmatch_labels,
    _gather_labels,
    _parse_friicat,
    _parse_mirabest,
    _read_artificial,
    _sample_labels,
    _translate,
    add_catalogue,
    choose_services,
    find_registered,
    list_registered,
    tabulate_labels,
    translate_mirabest,
)
from radiogal.config import read_config
from radiogal.positions import CatalogueError, write_table
from radiogal.surveys import LIVE_SERVICES

SMOKE = Path(__file__).parent.parent/"config"/"smoke.toml"


def test_an_unknown_redshift_is_nan():
    table = Table(dict(SDSS=["J012101.23+005100.3"], _RAJ2000=[20.25514], _DEJ2000=[0.85008],
                       z=np.ma.array([0.], mask=[True])))
    read = _parse_friicat(table)
    assert read.labels == ["FRII"] and np.isnan(read.redshifts[0])


def test_notations_are_translated_or_refused():
    digits = {100: "FRI", 112: "Bent", 200: "FRII", 201: "FRII", 310: "", 400: "", 402: ""}
    assert {d: translate_mirabest(d) for d in digits} == digits
    bent = _parse_mirabest(dict(ra=[0.001, 150.2], dec=[-0.887, 12.0], z=[0.1, 0.2], label=[104, 210]))
    assert [bent.labels, bent.confidences] == [["Bent", "FRII"], ("confident", "uncertain")]
    assert _translate(["C*", "U"], _CONFIG_CLASSES, "CoNFIG") == ["Compact", ""]
    with pytest.raises(CatalogueError, match="MiraBest: unknown class 500"): translate_mirabest(500)
    with pytest.raises(CatalogueError, match="frdeep: unknown class III; known are I, II"):
        _translate(["I", "III"], {"I": "FRI", "II": "FRII"}, "frdeep")


def test_a_comparison_with_nothing_has_no_rows():
    read = Labels(["a"], SkyCoord([10], [0], unit="deg"), ["FRI"], [np.nan], ("confident",))
    table = tabulate_labels(read, "ours", True)
    assert list(_crossmatch_labels(table, table, 1*u.arcsec)["other_confidence"]) == ["confident"]
    assert len(_crossmatch_labels(table, table[:0], 30*u.arcsec)) == 0


def test_artificial_labels_are_read_back_or_refused(tmp_path):
    sample = _sample_labels(read_config(SMOKE))
    back = _read_artificial(write_table(sample["name", "ra", "dec", "label"], tmp_path/"labels.ecsv"))
    assert list(back["label"]) == list(sample["label"])
    with pytest.raises(CatalogueError, match="labels.ecsv: no column label"):
        _read_artificial(write_table(sample["name", "ra", "dec"], tmp_path/"labels.ecsv"))


@pytest.mark.parametrize("archive, services", [("live", LIVE_SERVICES), ("registry", None), ("loopback", None)])
def test_only_a_live_run_queries_archives(archive, services):
    config = read_config(SMOKE)
    scraping = config.scraping.model_copy(update=dict(archive=archive))
    assert choose_services(config.model_copy(update=dict(scraping=scraping))) == services


def parse_one(columns): return Labels(columns["ID"], SkyCoord([1.], [2.], unit="deg"), ["FRI"], [np.nan])


def test_a_file_of_your_own_needs_no_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogues, "CATALOGUES", catalogues.CATALOGUES.copy())
    (tmp_path/"mine.csv").write_text("ID\nA 1\n")
    mine = add_catalogue(Catalogue("mine", 1, ("ID",), parse_one, path=str(tmp_path/"mine.csv")))
    (table,) = _gather_labels(("mine",), None, tmp_path)
    assert list(table["name"]) == ["A 1"] and list_registered(("mine",), None) == []
    with pytest.raises(CatalogueError, match="mine is not in the registry"): find_registered(mine)


@pytest.mark.parametrize("origin, told", [({}, "no origin: give one of path"),
                                          (dict(file="a.csv", table="J/x"), "file and table: give one of path")])
def test_a_label_table_has_one_origin(origin, told):
    with pytest.raises(CatalogueError, match=told): add_catalogue(Catalogue("odd", 1, ("ID",), parse_one, **origin))
