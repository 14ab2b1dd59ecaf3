"Answers and cutouts in other programs: what a file says of its columns, and files sent to a hub on this machine."
import csv
import gzip
import json
import shutil
import time

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.io.votable import parse, validate
from astropy.io.votable.ucd import check_ucd
from astropy.nddata import CCDData
from astropy.table import Table
from conftest import ROOT
from pyarrow.parquet import read_schema
from pyvo.samp import SAMPHubServer, SAMPIntegratedClient
from test_cli import ask

import radiogal
from radiogal import answers, pretrained
from radiogal.cutouts import read_cutout
from radiogal.inputs import read_positions
from radiogal.preparation import Unusable
from radiogal.sharing import CannotSend, read_ccddata, send_file

SAMPLE = ROOT/"radiogal"/"samples"/"FIRST"/"J135214.56+123401.7.fits"


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    "What is said of an image, of one whose name is hostile, and of a position without an image; and what answered."
    folder = tmp_path_factory.mktemp("answered")
    shutil.copy(SAMPLE, folder/"a {b} \u03b1 <c>.fits")
    question = answers.Question(images=str(ROOT/"radiogal"/"samples"))
    asked = answers.read_asked([str(SAMPLE), str(folder/"a {b} \u03b1 <c>.fits"), "1h2m3s -4d5m6s"])
    rows, _ = answers.answer_targets(asked, question, folder)
    assert rows.state.tolist() == ["ok", "ok", "not_covered"]
    return rows, answers.describe_question(question)


def write(answered, path):
    "A file of these answers."
    return answers.write_answers(answered[0], path, answered[1])


def list_described(path):
    "Unit, UCD and description of each column of a file, as its own readers give them."
    if path.suffix == ".json":
        return {key: tuple(said.values()) for key, said in json.loads(path.read_text())["columns"].items()}
    if path.suffix == ".parquet":
        return {each.name: tuple(each.metadata[key].decode() for key in (b"unit", b"ucd", b"description"))
                for each in read_schema(path)}
    if path.suffix == ".vot":
        return {each.name: (str(each.unit or ""), each.ucd, each.description)
                for each in parse(path).get_first_table().fields}
    if path.suffix == ".fits":
        head = fits.getheader(path, 1)
        return {head[f"TTYPE{i}"]: tuple(head.get(f"{key}{i}", "") for key in ("TUNIT", "TUCD", "TCOMM"))
                for i in range(1, head["TFIELDS"] + 1)}
    return {c.name: (str(c.unit or ""), c.meta["ucd"], c.description)
            for c in Table.read(path, format="ascii.ecsv").itercols()}


@pytest.mark.parametrize("suffix", [".fits", ".vot", ".ecsv", ".parquet", ".json"])
def test_every_column_has_unit_ucd_and_description(answered, tmp_path, suffix):
    told = list_described(write(answered, tmp_path/f"out{suffix}"))
    assert list(told) == list(answered[0])
    assert {key for key, (unit, _, _) in told.items() if unit} == {"ra", "dec", "entropy"}
    for unit, ucd, description in told.values():
        u.Unit(unit)
        assert check_ucd(ucd, check_controlled_vocabulary=True) and description, ucd


@pytest.mark.parametrize("suffix", [".fits", ".vot", ".ecsv", ".parquet", ".csv", ".reg"])
def test_positions_come_back_from_every_kind_of_file(answered, tmp_path, suffix):
    rows = answered[0]
    back = read_positions(write(answered, tmp_path/f"out{suffix}"))
    here, there = (SkyCoord(t["ra"], t["dec"], unit="deg") for t in (rows.iloc[[0, 2]], back[[0, -1]]))
    assert here.separation(there).max() < 1*u.mas and back["name"][0] == "J135214.56+123401.7.fits"


def test_what_answered_is_in_every_kind_of_file(answered, tmp_path):
    facts = answered[1]
    assert set(facts) == set(answers._FACTS)
    read = lambda suffix: write(answered, tmp_path/f"out{suffix}")
    head = fits.getheader(read(".fits"), 1)
    assert [head[key.upper()[:8]] for key in facts] == [*facts.values()]
    table = parse(read(".vot")).get_first_table()
    assert {param.name: param.value for param in table.params} == facts
    assert all(check_ucd(p.ucd, check_controlled_vocabulary=True) and p.description for p in table.params)
    assert Table.read(read(".ecsv"), format="ascii.ecsv").meta == facts
    metadata = read_schema(read(".parquet")).metadata
    assert {key: metadata[key.encode()].decode() for key in facts} == facts
    assert json.loads(read(".json").read_text())["facts"] == facts
    assert all(f"# {key}: {value}\n" in read(".reg").read_text() for key, value in facts.items())


def test_csv_is_read_by_readers_that_know_no_comments(answered, tmp_path):
    rows, facts = answered
    path = write(answered, tmp_path/"out.csv")
    with open(path, newline="") as f: plain = list(csv.DictReader(f))
    assert [row["name"] for row in plain] == rows.name.tolist()
    assert all(row[key] == value for row in plain for key, value in facts.items())
    assert pd.read_csv(path).p_FRI[0] == rows.p_FRI[0] and Table.read(path)["model"][0] == "first-4class"


def test_a_count_that_is_not_known_is_missing_and_not_zero(answered, tmp_path):
    for suffix, form in ((".fits", "fits"), (".vot", "votable"), (".ecsv", "ascii.ecsv")):
        column = Table.read(write(answered, tmp_path/f"out{suffix}"), format=form)["n_trained"]
        assert column.dtype.kind == "i" and column[0] == answered[0].n_trained[0] and column[2] is np.ma.masked
    plain = json.loads(write(answered, tmp_path/"out.json").read_text())["rows"]
    with open(write(answered, tmp_path/"out.csv"), newline="") as f:
        texts = [row["n_trained"] for row in csv.DictReader(f)]
    assert (texts[0], texts[2], str(plain[0]["n_trained"]), plain[2]["n_trained"]) == ("4", "", "4", None)


def test_the_votable_is_valid_and_in_icrs(answered, tmp_path):
    path = write(answered, tmp_path/"out.vot")
    out = tmp_path/"said.txt"
    with open(out, "w") as f: assert validate(path, f), out.read_text()
    table = parse(path)
    assert [c.system for c in table.iter_coosys()] == ["ICRS"]
    assert table.get_first_table().get_field_by_id_or_name("ra").ref == "ICRS"


def test_regions_are_grouped_and_coloured_by_class(answered, tmp_path):
    rows, _ = answered
    text = write(answered, tmp_path/"out.reg").read_text()
    first, second, third = text.split("icrs\n")[1].splitlines()
    assert f"tag={{{rows['class'][0]}}}" in first and f"# cyan: {rows['class'][0]}\n" in text and "color=cyan" in first
    assert "text={a b \u03b1 <c>.fits}" in second and "color=white tag={not_covered}" in third


def test_a_cutout_is_ccddata_and_comes_back(tmp_path):
    ccd, hdu = read_ccddata(SAMPLE), read_cutout(SAMPLE, "FIRST")
    assert ccd.unit == u.Jy/u.beam and np.array_equal(ccd.data, hdu.data, equal_nan=True)
    assert np.array_equal(ccd.mask, np.isnan(hdu.data)) and ccd.header["BMAJ"] == hdu.header["BMAJ"]
    middle = ccd.wcs.pixel_to_world(*(n//2 for n in ccd.shape[::-1]))
    assert middle.separation(SkyCoord("13h52m14.56s +12d34m01.7s")) < 2*u.arcsec
    ccd.write(tmp_path/"ccd.fits")
    back = CCDData.read(tmp_path/"ccd.fits")
    assert back.unit == ccd.unit and np.array_equal(back.data, ccd.data, equal_nan=True)
    assert back.wcs.wcs.compare(ccd.wcs.wcs, tolerance=1e-9) and back.header["BMAJ"] == ccd.header["BMAJ"]
    np.testing.assert_array_equal(read_ccddata(tmp_path/"ccd.fits").data, ccd.data)


def test_ccddata_is_an_image_wherever_one_is_asked_about():
    ccd = read_ccddata(SAMPLE)
    told, said = radiogal.classify(SAMPLE, "first-fr"), radiogal.classify(ccd, "first-fr")
    assert said["state"][0] == "ok" and said["class"][0] == told["class"][0]
    np.testing.assert_allclose(said["entropy"].value, told["entropy"].value, rtol=1e-5)
    several = [classify([ccd, SAMPLE], "first-fr") for classify in (pretrained.classify, radiogal.classify)]
    assert all(np.ptp(rows["entropy"].value) < 1e-5 for rows in several)
    rows = radiogal.read_features(ccd, "first-fr")
    assert rows["state"].tolist() == ["ok"] and radiogal.similar_to(ccd, rows, 1, "first-fr")["distance"][0] < 1e-3
    model = radiogal.GalaxyClassifier.from_pretrained("first-fr")
    np.testing.assert_allclose(model.predict_proba(ccd), model.predict_proba([SAMPLE]), atol=1e-6)


def test_ccddata_of_another_unit_and_without_one():
    ccd = read_ccddata(SAMPLE)
    faint = CCDData(ccd.data*1e3, unit="mJy/beam", wcs=ccd.wcs, meta=ccd.meta)
    np.testing.assert_allclose(read_ccddata(faint).data, ccd.data, rtol=1e-5)
    with pytest.raises(Unusable, match="unit"): read_ccddata(CCDData(ccd.data, unit="adu", wcs=ccd.wcs, meta=ccd.meta))


def test_masked_pixels_have_no_data():
    ccd = read_ccddata(SAMPLE)
    ccd.mask = ccd.mask | (np.hypot(*np.indices(ccd.shape) - 75) < 20)
    held = read_ccddata(ccd)
    assert np.isnan(held.data[75, 75]) and np.array_equal(held.mask, ccd.mask) and np.isfinite(ccd.data[75, 75])
    ccd.mask = np.ones(ccd.shape, bool)
    assert radiogal.classify([ccd], "first-fr")["state"].tolist() == ["reject"]


def test_a_file_that_is_no_image_is_no_ccddata(tmp_path):
    (tmp_path/"a.fits").write_text("nothing")
    for path, told in ((tmp_path/"a.fits", "cannot be read"), (tmp_path/"b.fits", "no such file")):
        with pytest.raises(Unusable, match=told): read_ccddata(path)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    "A hub on this machine, which no other program sees."
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{(tmp_path/'samp').as_uri()}")
    server = SAMPHubServer(addr="127.0.0.1", lockfile=str(tmp_path/"samp"), web_profile=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def program(hub):
    "A program that loads tables and images, and the messages that it got; it refuses those named refuse."
    client, got = SAMPIntegratedClient(name="Charts", addr="127.0.0.1"), []
    client.connect(hub)

    def load(key, sender, number, kind, params, extra):
        got.append((kind, params))
        refused = {"samp.status": "samp.error", "samp.error": {"samp.errortxt": "too dull"}}
        done = {"samp.status": "samp.ok", "samp.result": {}}
        # An answer that comes before pyvo's hub waits for it is dropped by the hub
        while number not in hub._sync_msg_ids_heap: time.sleep(0.001)
        client.reply(number, refused if params["name"].startswith("refuse") else done)
    for kind in ("table.load.votable", "image.load.fits"): client.bind_receive_call(kind, load)
    yield got
    client.disconnect()


def test_a_table_and_a_cutout_are_sent_to_programs_that_listen(answered, program, tmp_path):
    path = write(answered, tmp_path/"my classes.vot")
    shutil.copy(path, tmp_path/"refuse.vot")
    (tmp_path/"image.fits.gz").write_bytes(gzip.compress(SAMPLE.read_bytes()))
    said = ask("send", path, tmp_path/"image.fits.gz")
    assert said.exit_code == 0 and said.stdout.count("loaded\n") == 2 and "Charts" in said.stdout, said.output
    (first, table), (second, image) = program
    assert (first, second) == ("table.load.votable", "image.load.fits")
    assert table["url"] == path.as_uri() and table["name"] == "my classes.vot" and image["image-id"] == image["url"]
    assert len(Table.read(path)) == 3
    said = ask("send", tmp_path/"refuse.vot")
    assert said.exit_code == 1 and said.stdout.endswith(": too dull\n")


def test_what_cannot_be_sent_is_told(answered, program, tmp_path):
    with pytest.raises(CannotSend, match="listens to table.load.fits: start TOPCAT"):
        send_file(write(answered, tmp_path/"a.fits"))
    (tmp_path/"b.fits").write_text("SIMPLE, but no FITS")
    for path, told in ((write(answered, tmp_path/"a.csv"), "neither FITS nor a VOTable"), (tmp_path/"no", "No such"),
                       (tmp_path/"b.fits", "neither FITS"), (tmp_path, "Is a directory")):
        said = ask("send", path)
        assert said.exit_code == 1 and told in said.stderr and said.stderr.count("\n") == 1


def test_without_a_hub_the_way_out_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{(tmp_path/'none').as_uri()}")
    with pytest.raises(CannotSend, match="no SAMP hub is running: start TOPCAT"): send_file(SAMPLE)
