"A label table from outside: one file, from rows of its own to the targets of a run."
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from radiogal import catalogues
from radiogal.catalogues import Catalogue, Labels, add_catalogue, build_targets, read_catalogue
from radiogal.positions import CatalogueError

CLASSES = {"WAT": "Bent", "FR I": "FRI", "FR II": "FRII"}


def parse_tails(columns):
    "Columns of the table, by its own names, as labels: one value for each row."
    coords = SkyCoord(columns["RA"], columns["DEC"], unit="deg")
    return Labels(columns["ID"], coords, [CLASSES[t] for t in columns["type"]], [np.nan]*len(coords))


def test_a_label_table_from_outside(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogues, "CATALOGUES", catalogues.CATALOGUES.copy())
    file = tmp_path/"tails.csv"
    file.write_text("ID,RA,DEC,type\nA 1,150.2,12.0,WAT\nA 2,187.7,12.4,FR II\nA 3,187.701,12.4,FR II\n")

    tails = Catalogue("tails", 3, ("ID", "RA", "DEC", "type"), parse_tails, path=str(file))
    add_catalogue(tails)
    table = read_catalogue(tails, file)
    targets, merged = build_targets([table], ("FRI", "FRII", "Bent"), 5*u.arcsec, 4.5*u.arcmin)

    assert list(targets["label"]) == ["Bent", "FRII"] and list(merged["other_name"]) == ["A 3"]
    with pytest.raises(CatalogueError, match="a catalogue named 'tails' exists already"): add_catalogue(tails)
    short = replace(tails, parse=lambda columns: replace(parse_tails(columns), labels=["FRI"]))
    with pytest.raises(CatalogueError, match="tails: its reader returns 1 labels for 3 rows"):
        read_catalogue(short, file)
