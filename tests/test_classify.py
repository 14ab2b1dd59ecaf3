"A catalogue of real positions, as a user makes it: whole, killed, shared between workers, and from bad tables."
import json
import os
import re
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.io.votable.ucd import check_ucd
from astropy.table import Table
from conftest import copy_project, finish, radiogal, stop_when

from radiogal.catalogues import CATALOGUES, find_registered, read_catalogue
from radiogal.config import read_config
from radiogal.datasets import PreparedSet, describe_steps, write_prepared
from radiogal.engines import describe_columns, list_engines, write_untrained
from radiogal.fetch import Fetcher, Manifest, get_registered, select_files, url_to_path
from radiogal.inputs import read_positions
from radiogal.positions import BadPositions
from radiogal.preparation import prepare_image, read_image
from radiogal.shards import ShardError, _write_parquet, claim_shard, merge_shards, name_shard

LEFT_OUT = slice(20, None, 60)  # Positions whose images the archive does not have
N = 230  # Positions: some more than the 200 that a quick look shows
SHARDS = 4  # Of ten positions each, where so many are not needed


def make_prepared(files, mirror, config, n=24):
    "A prepared set of the first images, as the run makes it; labels and folds are made up."
    ready = [prepare_image(read_image(mirror/url_to_path(f.url), "FIRST"), config) for f in files[:n]]
    number, known = np.arange(n), dict(pixel_arcsec=1.8, survey="FIRST", simulated=False)
    return PreparedSet(np.stack([r.image for r in ready])[..., None], np.array([f.object for f in files[:n]]),
                       number % 2, config.classes, number, number//2 % 2,
                       positions=np.transpose([number/10, number/10]), covered=np.ones(n),
                       rms=np.array([r.rms for r in ready]), beams=np.array([r.beam for r in ready]),
                       history=describe_steps(config, "FIRST"), **known)


@pytest.fixture(scope="module")
def project(mirror, tmp_path_factory):
    "A project with untrained networks of the real run, half of frdeep's training positions, and most of their images."
    folder = copy_project(tmp_path_factory.mktemp("project"))
    config, results = read_config(folder/"config"/"real.toml"), folder/"results"/"real"
    files = select_files("frdeep", "FIRST", "train")
    prepared = make_prepared(files, mirror, config)
    write_prepared(prepared, results/"preparation"/"FIRST"/"prepared.h5")
    write_untrained(results/"training"/"FIRST"/"mcrgnet", prepared, "FIRST", "mcrgnet")
    fetcher = Fetcher(Manifest(folder/"manifest.sqlite"), allowed_hosts=("nowhere.invalid",))
    table = read_catalogue(CATALOGUES["frdeep"], get_registered(fetcher, find_registered(CATALOGUES["frdeep"]), folder))
    table = table[:N]
    table["name", "ra", "dec"].write(folder/"positions.csv", format="ascii.csv")
    table["name", "ra", "dec"][:10*SHARDS].write(folder/"few.csv", format="ascii.csv")
    missing, archive = set(table["name"][LEFT_OUT]), folder/"archive"/"FIRST"
    archive.mkdir(parents=True)
    for f in files:
        if f.object not in missing: (archive/quote(f.name)).symlink_to(mirror/url_to_path(f.url))
    return folder, table, missing


def ask(folder, out, positions="few.csv", *more):
    "The command's process."
    named = ("--run", "real", "--task", "FIRST", "--survey", "FIRST", "--network", "mcrgnet", "--images", "archive")
    return radiogal(folder, "classify", *named, "--positions", positions, "--out", out, "--shard-size", "10", *more,
                    PYTHONPATH=os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))


def read_files(folder):
    "The catalogue in both formats."
    return [(folder/f"catalogue.{suffix}").read_bytes() for suffix in ("fits", "parquet")]


@pytest.fixture(scope="module")
def whole(project):
    "A catalogue of a few positions that nobody disturbed."
    folder, *_ = project
    status, said = finish(ask(folder, "whole"))
    assert status == 3 and f"{SHARDS} shards done here" in said, said
    return folder/"whole"


def test_every_position_has_a_row_and_every_missing_image_a_reason(project):
    folder, table, missing = project
    status, said = finish(ask(folder, "all", "positions.csv", "--shard-size", "100", "--workers", "2"))
    assert status == 3 and re.search(rf"\d+ of {N} classified: .* × ", said.splitlines()[-1]), said
    rows = pd.read_parquet(folder/"all"/"catalogue.parquet")
    assert len(rows) == N and rows.name.tolist() == list(table["name"])
    np.testing.assert_allclose(rows[["ra", "dec"]], np.transpose([table["ra"], table["dec"]]), atol=1e-9)
    good = rows.state == "ok"
    assert 200 < good.sum() < N and missing & set(rows.name[~good])
    assert (rows.reason[~good].str.len() > 10).all() and (rows.reason[good] == "").all()
    assert set(rows.state) <= {"ok", "not_covered", "reject"}
    np.testing.assert_allclose(rows.loc[good, ["p_FRI", "p_FRII"]].sum(axis=1), 1)
    numbers = ["p_FRI", "p_FRII", "entropy", "spread", "peak", "rms", "covered_fraction"]
    assert rows.loc[good, numbers].notna().all(axis=None) and rows.loc[~good, numbers].isna().all(axis=None)
    lost = rows[["flux_density", "flux_error", "extent"]].isna().any(axis=1)
    assert (good & lost).sum() < 5 and rows.measure_flags[good & lost].str.startswith("nothing above 7 sigma").all()
    assert lost[~good].all() and (rows.flux_density[~lost] > 0).all()
    assert (rows.sha256[good].str.len() == 64).all() and rows.model.nunique() == 1
    assert not list((folder/"all").rglob("*.fits"))[1:], "cutouts and downloads were to be thrown away"
    page = (folder/"all"/"quicklook.html").read_text()
    assert page.count("<img ") == good[:200].sum() + 4 and f"first 200 of {N}" in page
    assert "no FIRST image in archive holds this position" in page


def test_fits_and_parquet_say_the_same_and_what_it_means(whole):
    table, rows = (Table.read(whole/"catalogue.fits", character_as_bytes=False),
                   pd.read_parquet(whole/"catalogue.parquet"))
    facts = describe_columns(("FRI", "FRII"), bool(table.meta["CALIBRAT"]))
    assert table.colnames == list(rows) == list(facts)
    for key in ("p_FRI", "entropy", "ra", "flux_density"): np.testing.assert_array_equal(table[key], rows[key])
    assert list(table["reason"]) == rows.reason.tolist()
    with fits.open(whole/"catalogue.fits") as hdus:
        hdus.verify("exception")
        header = hdus[1].header
    for i, (key, each) in enumerate(facts.items(), 1):
        assert (header[f"TTYPE{i}"], header.get(f"TUNIT{i}", "")) == (key, each.unit)
        assert check_ucd(header[f"TUCD{i}"], check_controlled_vocabulary=True) and header[f"TCOMM{i}"]
    assert ((header["SURVEY"], header["RUN"], header["SIMULATE"], header["MODEL"])
            == ("FIRST", "real", False, rows.model[0]))
    assert header["SETTINGS"] and header["COMMIT"] and header["ENGINE"] in list_engines()


def test_killed_and_called_again_gives_the_same_bytes(project, whole):
    folder, out = project[0], project[0]/"killed"
    with claim_shard(out, SHARDS - 1):  # so that nobody can end before the kill
        for n in (1, 3):
            process = ask(folder, "killed")
            stop_when(lambda n=n: len(list(out.glob("shards/*.parquet"))) >= n, process)
            process.communicate()
    assert not (out/"catalogue.fits").exists()
    before = {path: path.stat().st_mtime_ns for path in out.glob("shards/*.parquet")}
    status, said = finish(ask(folder, "killed"))
    assert status == 3 and f"{SHARDS - len(before)} shards done here" in said, said
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    assert read_files(out) == read_files(whole)


def test_two_workers_do_no_shard_twice(project, whole):
    folder, out = project[0], project[0]/"shared"
    processes = [ask(folder, "shared") for _ in range(2)]
    ended = [finish(process) for process in processes]
    assert {status for status, _ in ended} <= {0, 3}, ended  # 3: some positions have no image
    assert sum(int(re.search(r"(\d+) shards done here", said)[1]) for _, said in ended) == SHARDS
    assert any("at a glance" in said for _, said in ended)
    assert read_files(out) == read_files(whole)


def list_kept_networks(folder):
    "Exported networks, and when they were."
    return {path: path.stat().st_mtime_ns for path in (folder/"results"/"real"/"engines").glob("*")}


def test_rows_that_are_no_position_are_counted_and_networks_exported_once(project, whole):
    folder, kept = project[0], list_kept_networks(project[0])
    lines = (folder/"few.csv").read_text().splitlines()
    (folder/"odd.csv").write_text("\n".join([*lines[:3], "odd,north,1", *lines[3:12]]) + "\n")
    status, said = finish(ask(folder, "odd", "odd.csv"))
    assert status == 3 and "row 3 of odd.csv: ra is not an angle: 'north'" in said.splitlines(), said
    rows = pd.read_parquet(folder/"odd"/"catalogue.parquet")
    assert re.search(r"\d+ of 12 classified: .*ra is not an angle: 'north' × 1", said.splitlines()[-1])
    assert len(rows) == 12 and rows.state[2] == "reject" and (rows.state == "ok").sum() > 8
    same = pd.read_parquet(whole/"catalogue.parquet").set_index("name")
    good = rows[rows.state == "ok"].set_index("name")
    assert same["class"][good.index].tolist() == good["class"].tolist()
    assert kept and list_kept_networks(folder) == kept and not (folder/"odd"/"engines").exists()


def test_shard_of_another_model_is_refused(whole):
    job, path = json.loads((whole/"job.json").read_text()), name_shard(whole, "shards", 3, ".parquet")
    before, rows = path.read_bytes(), pd.read_parquet(path)
    try:
        _write_parquet(rows.assign(model="0123456789abcdef"), path, job | dict(model="0123456789abcdef"))
        with pytest.raises(ShardError, match="shard 3 was classified by model 0123456789abcdef"):
            merge_shards(whole, job)
    finally: path.write_bytes(before)


def test_folder_of_other_networks_is_refused(project, whole):
    status, said = finish(ask(project[0], "whole", "few.csv", "--shard-size", "20"))
    assert status == 1 and "shard_size was 10, is 20" in said and "Traceback" not in said


BAD = {"name,ra,dec\na,,2\nb,,3\nc,inf,4\n": "rows 1, 2, 3: the position is missing",
       "name,ra,dec\na,1,2\nb,10:20:30,4\n": "row 2: ra is in other units",
       "name,ra,dec,frame\na,1,2,ICRS\nb,3,4,FK5\n": "row 2: mixed frames",
       "name,ra,dec,frame\na,1,2,ecliptic\n": "row 1: unknown frame",
       "name,ra,dec\n": "it has no rows", "name,ra\na,1\n": "no column dec"}


@pytest.mark.parametrize("text, told", BAD.items())
def test_bad_positions_are_named(tmp_path, text, told):
    (tmp_path/"table.csv").write_text(text)
    with pytest.raises(BadPositions, match=re.escape(told)): read_positions(tmp_path/"table.csv")


@pytest.mark.parametrize("suffix, form", [(".ecsv", "ascii.ecsv"), (".fits", "fits"), (".vot", "votable")])
def test_positions_of_every_format_are_the_same(tmp_path, suffix, form):
    table = Table(dict(name=["a", "b"], ra=[10.5, 200.25], dec=[-1.5, 60.125]), units=dict(ra="deg", dec="deg"))
    table.write(tmp_path/f"table{suffix}", format=form)
    found = read_positions(tmp_path/f"table{suffix}")
    assert list(found["name"]) == ["a", "b"]
    np.testing.assert_allclose(found["ra"], table["ra"], atol=1e-12)
    table["ra"].unit = "Jy"
    table.write(tmp_path/f"bad{suffix}", format=form)
    with pytest.raises(BadPositions, match="column ra: its unit Jy is unknown"): read_positions(tmp_path/f"bad{suffix}")


def test_bad_table_is_one_line(project):
    (project[0]/"bad.csv").write_text("name,ra,dec\nb,,3\n")
    status, said = finish(ask(project[0], "bad", "bad.csv"))
    assert status == 1 and "bad.csv: row 1: the position is missing" in said and "Traceback" not in said
