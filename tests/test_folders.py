"A folder of any FITS images as a source of images, and surveys that a user describes in a TOML file."
import gzip
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from conftest import ROOT
from test_cli import ask
from test_learning import write_start

from radiogal import config, shards, surveys
from radiogal.catalogues import Labels, build_targets, tabulate_labels
from radiogal.config import ConfigError, Paths, find_root, read_config
from radiogal.cutouts import CutoutPlan, read_cutout
from radiogal.datasets import _prepare_survey
from radiogal.engines import prepare_cutouts
from radiogal.inputs import read_surveys
from radiogal.preparation import read_image
from radiogal.scraping import (
    FitsFolder,
    _scrape_survey,
    check_folder,
    fetch_cutouts,
    fetch_targets,
    open_archive,
    open_images,
)
from radiogal.shards import begin_job
from radiogal.sky import draw_population, observe, write_image
from radiogal.workflow import derive_run, plan_run

SMOKE = read_config(find_root()/"config"/"smoke.toml")
SOURCES = draw_population(SMOKE.sky, SMOKE.classes, SMOKE.surveys)
HERE = SkyCoord(SOURCES["ra"][0], SOURCES["dec"][0], unit="deg")
FAR = SkyCoord(200, -5, unit="deg")
RACS = """[RACS]
frequency = "1.37 GHz"
beam = "11.2 x 9.3 arcsec"
pixel = "2 arcsec"
folder = "mosaics"
"""


def see(survey, side, coord=HERE): return observe(SOURCES, survey, coord, side, seed=1)


def pack(path, hdu):
    "An image compressed as its name says."
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".fz"):
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(hdu.data.squeeze(), hdu.header)]).writeto(path)
    elif path.name.endswith(".gz"): path.write_bytes(gzip.compress(write_image(path.with_suffix(""), hdu).read_bytes()))
    else: write_image(path, hdu)


NAMES = "a.fits", "deep/er/b.fits", "c.fits.gz", "d.fits.fz", "FIRST/e.fits", "May/first/f.fit"


@pytest.mark.parametrize("name", NAMES)
def test_images_are_found_wherever_they_lie(tmp_path, name):
    pack(tmp_path/"images"/name, see("FIRST", 201))
    (tmp_path/"images"/"notes.txt").write_text("mine")
    if name == "c.fits.gz": (tmp_path/"images"/"c.fits").unlink()
    table = fetch_cutouts(SkyCoord([HERE, FAR]), "FIRST", 2.5*u.arcmin, FitsFolder(tmp_path/"images"), tmp_path/"out",
                          tmp_path)
    assert list(table["state"]) == ["ok", "not_covered"], list(table["reason"])
    assert read_cutout(tmp_path/table["path"][0], "FIRST").data.shape == (83, 83)


@pytest.mark.parametrize("survey, side", [("FIRST", 201), ("NVSS", 81), ("TGSS", 81), ("VLASS", 301)])
def test_a_position_that_a_folder_lacks_is_said_of_the_folder(tmp_path, survey, side):
    write_image(tmp_path/"images"/survey/"a.fits", see(survey, side))
    table = fetch_cutouts(SkyCoord([HERE, FAR]), survey, 2.5*u.arcmin, FitsFolder(tmp_path/"images"), tmp_path/"out",
                          tmp_path, min_covered=0.)
    assert list(table["state"]) == ["ok", "not_covered"], list(table["reason"])
    assert table["reason"][1] == f"no {survey} image in {tmp_path/'images'} holds this position"


@pytest.mark.parametrize("survey", ["NVSS", "VLASS"])
def test_a_survey_that_a_folder_has_no_image_of_is_not_covered_or_has_its_unusable_file(tmp_path, survey):
    write_image(tmp_path/"images"/"FIRST"/"a.fits", see("FIRST", 201))
    ask = lambda out: fetch_cutouts(SkyCoord([HERE]), survey, 2.5*u.arcmin, FitsFolder(tmp_path/"images"), tmp_path/out,
                                    tmp_path, min_covered=0.)[0]
    row = ask("out")
    told = f"no {survey} image in {tmp_path/'images'} holds this position"
    assert (row["state"], row["reason"]) == ("not_covered", told)
    (tmp_path/"images"/survey).mkdir()
    (tmp_path/"images"/survey/"b.fits").write_bytes(b"<html>")
    row = ask("again")
    assert row["state"] != "not_covered" and "b.fits" in row["reason"]


def test_headers_tell_the_survey_and_mosaics_are_cut(tmp_path):
    for survey, side in dict(FIRST=400, NVSS=81, VLASS=400).items():
        write_image(tmp_path/f"{survey[0]}.fits", see(survey, side))
    (fine := see("FIRST", 9)).header.update(dict(CDELT1=-1e-4, CDELT2=1e-4))
    write_image(tmp_path/"o.fits", fine)
    folder = FitsFolder(tmp_path)
    assert {name: [f[0].name for f in found] for name, found in folder.footprints.items() if found} == {
        "FIRST": ["F.fits"], "NVSS": ["N.fits"], "VLASS": ["V.fits"]}
    assert folder.unusable[""][0].startswith("o.fits: pixels of 0.36″")
    assert folder.cut_image("FIRST", HERE, 1*u.arcmin).data.squeeze().shape == (33, 33)


def test_the_image_that_shows_most_is_chosen(tmp_path):
    west = HERE.directional_offset_by(270*u.deg, 2*u.arcmin)
    write_image(tmp_path/"a.fits", see("FIRST", 167, west))
    write_image(tmp_path/"b.fits", see("FIRST", 167))
    assert FitsFolder(tmp_path).find_file("FIRST", HERE).name == "b.fits"


def test_a_folder_without_a_match_says_what_it_has(tmp_path):
    write_image(tmp_path/"n.fits", see("NVSS", 81))
    folder = FitsFolder(tmp_path)
    with pytest.raises(ConfigError, match=r"wanted are images of FIRST.*1 files, such as n.fits; images of NVSS: 1"):
        check_folder(folder, "FIRST")
    with pytest.raises(ConfigError, match=r"none of 2 positions is in an image: the nearest of 1 of NVSS is [\d.]+°"):
        check_folder(folder, "NVSS", SkyCoord([FAR, FAR]))
    check_folder(folder, "NVSS", SkyCoord([FAR, HERE]))


def test_results_in_the_folder_are_no_images(tmp_path):
    write_image(tmp_path/"a.fits", see("FIRST", 101))
    write_image(tmp_path/"out"/"b.fits", see("FIRST", 101))
    with open_images(SMOKE, str(tmp_path), "", "FIRST", None, tmp_path/"out") as services:
        assert [path.name for path in services.images.paths] == ["a.fits"]


def test_images_written_again_are_new_images(tmp_path):
    path = write_image(tmp_path/"a.fits", see("FIRST", 101, FAR))
    ask = lambda: fetch_cutouts(HERE, "FIRST", 2.5*u.arcmin, FitsFolder(tmp_path), tmp_path/"out", tmp_path)
    assert ask()["state"][0] == "not_covered"
    size = path.stat().st_size
    write_image(path, see("FIRST", 101))
    assert path.stat().st_size == size and ask()["state"][0] == "ok"


def test_a_small_image_is_refused_in_arcminutes_or_padded_and_flagged(tmp_path):
    write_image(tmp_path/"a.fits", see("FIRST", 150))
    ask = lambda least: fetch_cutouts(HERE, "FIRST", 9*u.arcmin, FitsFolder(tmp_path), tmp_path/f"out{least}", tmp_path,
                                      min_covered=least)
    (row,) = ask(0.9)
    assert row["reason"] == ("the image spans 4.5′ × 4.5′ of 9.0′ × 9.0′; 0.250 of the cutout has data, 0.9 is the "
                             "least allowed (min_covered)")
    loose = SMOKE.model_copy(update=dict(scraping=SMOKE.scraping.model_copy(update=dict(min_covered=0.2))))
    padded = prepare_cutouts(ask(0.2), tmp_path, "FIRST", loose)
    assert padded.facts["state"][0] == "ok" and padded.images.max() == 1
    assert padded.facts["measure_flags"][0].startswith("padded: the image spans 4.5′ × 4.5′ of 9.0′ × 9.0′")
    refused = prepare_cutouts(ask(0.2), tmp_path, "FIRST", SMOKE)
    assert refused.facts["reason"][0] == ("the image spans 4.5′ × 4.5′ of 9.0′ × 9.0′; covered fraction 0.250 is below "
                                          "0.9 (min_covered)")


def write_shards(folder, job, *states):
    "A shard for each two states in which its rows ended, all prepared; the last row is no position."
    rows = pd.DataFrame(dict(name=["s0", "s1", "s2", "row 4"], ra=[1., 2., 3., np.nan], model="m"))
    for number, two in enumerate(states):
        shard = rows[2*number:2*number + 2].assign(state=two)
        shards._write_parquet(shard, shards.name_shard(folder, "shards", number, ".parquet"), job)
        for name in ("prepared", "cutouts"): (folder/name/f"{number:06}.npz").parent.mkdir(exist_ok=True)
        (folder/"prepared"/f"{number:06}.npz").touch()
        (folder/"cutouts"/f"{number:06}").mkdir()


def list_stems(folder): return [sorted(p.stem for p in (folder/n).glob("*")) for n in ("shards", "prepared", "cutouts")]


@pytest.mark.parametrize("survey, told", [(None, "assumed"), ("Mine", "assumed"), ("FIRST", "survey")])
def test_a_cutout_says_where_its_beam_is_from(tmp_path, survey, told):
    made = draw_double(HERE, 1.8, 5.4, 320)
    for key in ("BMAJ", "BMIN", "BPA"): del made.header[key]
    if survey: made.header["SURVEY"] = survey
    write_image(tmp_path/"images"/"FIRST"/"a.fits", made)
    (row,) = fetch_cutouts(HERE, "FIRST", 2.5*u.arcmin, FitsFolder(tmp_path/"images"), tmp_path/"out", tmp_path)
    assert read_cutout(tmp_path/row["path"], "FIRST").header["BEAMFROM"] == told, row["reason"]


def test_the_users_home_is_found_in_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config._check_source("~/mosaics/") == f"{tmp_path}/mosaics/"


BLOCK = Table(dict(name=["s0", "s1", "s2", "row 4"], ra=[1., 2., 3., np.nan], dec=[3., 4., 5., np.nan],
                   crowding=[0]*4, reason=["", "", "", "no position"]))
JOB = dict(model="m", shard_size=2, images="folder a")


def begin(folder, images="folder a", **more): return begin_job(folder, JOB | dict(images=images) | more, lambda: BLOCK)


def list_aside(folder): return sorted(path.stem for path in (folder/"earlier").glob("*.parquet"))


@pytest.mark.parametrize("states, kept, aside", [
    ((["not_covered", "reject"], ["retry", "reject"]), [], ["000000", "000001"]),
    ((["ok", "not_covered"], ["ok", "reject"]), ["000001"], ["000000"]),
    ((["ok", "ok"], ["not_covered", "reject"]), ["000000"], ["000001"])])
def test_shards_with_a_position_without_a_class_are_set_aside_when_images_changed(tmp_path, states, kept, aside):
    write_shards(tmp_path, begin(tmp_path), *states)
    with ThreadPoolExecutor(2) as pool:  # as two workers do
        first, second = pool.map(lambda _: begin(tmp_path, "folder b"), range(2))
    assert first == second == shards.read_job(tmp_path) and first["images"] == "folder b"
    assert first.get("earlier_images", "") == "folder a"*bool(kept) and list_stems(tmp_path) == [kept]*3
    assert list_aside(tmp_path) == aside
    for stem in kept: assert len(shards._read_shard(tmp_path, first, int(stem))) == 2
    with pytest.raises(shards.JobMismatch, match="model was"): begin(tmp_path, model="n")
    again = begin(tmp_path)
    assert again["images"] == "folder a" and "earlier_images" not in again and list_stems(tmp_path) == [kept]*3


def answer_nobody(asked):
    "As `fetch_targets` where no image holds a position; who is asked for is added to `asked`."
    def fetch(targets, *_):
        asked.extend(targets["name"])
        n = len(targets)
        return Table(dict(name=list(targets["name"]), state=["not_covered"]*n, reason=["none"]*n, path=[""]*n,
                          sha256=[""]*n))
    return fetch


def test_rows_with_a_class_keep_it_and_the_others_are_asked_of_new_images(tmp_path, monkeypatch):
    write_shards(tmp_path, begin(tmp_path), ["ok", "not_covered"], ["ok", "reject"])
    monkeypatch.setattr(shards, "fetch_targets", answer_nobody(asked := []))
    monkeypatch.setattr(shards, "classify_shard", lambda block, prepared, *_: pd.DataFrame(dict(
        name=np.array(block["name"]), ra=np.array(block["ra"]), model="m", state=list(prepared.facts.state))))
    untouched = (tmp_path/"shards"/"000001.parquet").read_bytes()
    for images, earlier in (("folder b", "folder a"), ("folder c", "folder a; folder b")):
        job = begin(tmp_path, images)
        worker = shards.Worker(tmp_path, job | dict(survey="FIRST"), SMOKE, None, None, ("cutouts",))
        assert shards.work_through(worker) == [0] and asked == ["s1"] and job["earlier_images"] == earlier
        rows = [shards._read_shard(tmp_path, job, number) for number in (0, 1)]
        assert [list(each.state) for each in rows] == [["ok", "not_covered"], ["ok", "reject"]]
        assert (tmp_path/"shards"/"000001.parquet").read_bytes() == untouched
        asked.clear()
    assert begin(tmp_path, "folder c")["images"] == "folder c" and list_stems(tmp_path)[0] == ["000000", "000001"]


def list_bytes(folder): return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_images_are_not_changed_below_a_process_at_work(tmp_path):
    write_shards(tmp_path, job := begin(tmp_path), ["ok", "not_covered"])
    with shards.claim_shard(tmp_path, 1):
        before = list_bytes(tmp_path)
        with pytest.raises(shards.JobMismatch, match="another process is at work in it with other images: wait for"):
            begin(tmp_path, "folder b")
        assert list_bytes(tmp_path) == before
    begin(tmp_path, "folder b")
    worker = shards.Worker(tmp_path, job | dict(survey="FIRST"), SMOKE, None, None, ())  # still on the earlier images
    with pytest.raises(shards.JobMismatch, match="another process has begun to ask other images"):
        shards.work_through(worker)


def test_a_shard_that_came_late_of_earlier_images_is_set_aside(tmp_path):
    job = begin(tmp_path)
    begin(tmp_path, "folder b")
    write_shards(tmp_path, job, ["ok", "not_covered"])
    assert begin(tmp_path, "folder b")["earlier_images"] == "folder a"
    assert list_stems(tmp_path)[0] == [] and list_aside(tmp_path) == ["000000"]


@pytest.mark.parametrize("was, told", [("folder a", "its images were folder a: give --images FOLDER again, or choose"),
                                       ("registry", "its images were registry: give --images registry again, or")])
def test_images_that_a_user_forgets_to_name_again_are_refused_in_words(tmp_path, was, told):
    write_shards(tmp_path, begin(tmp_path, was), ["ok", "not_covered"])
    before = list_bytes(tmp_path)
    with pytest.raises(shards.JobMismatch, match=told): begin(tmp_path, "archive")
    assert list_bytes(tmp_path) == before


@pytest.mark.parametrize("name", ["job.json", "positions.parquet"])
def test_a_damaged_job_still_says_of_which_earlier_images_there_are_classes(tmp_path, name):
    write_shards(tmp_path, begin(tmp_path), ["ok", "ok"], ["ok", "not"])
    job = begin(tmp_path, "folder b")
    (tmp_path/name).write_bytes(b"damaged")
    assert begin(tmp_path, "folder b") == job and job["earlier_images"] == "folder a"


def test_a_folder_begun_before_rows_had_reasons_goes_on(tmp_path):
    begin(tmp_path)
    shards._write_parquet(BLOCK["name", "ra", "dec", "crowding"].to_pandas(), tmp_path/"positions.parquet", {}, 2)
    assert list(shards._read_block(tmp_path, 1)["reason"]) == ["", ""]


def list_made(folder): return {path: path.read_bytes() for path in folder.glob("shards/*")}


@pytest.mark.full
@pytest.mark.parametrize("size", ["1", "1000"])
def test_a_mended_folder_is_asked_by_the_same_command(first_of_two, tmp_path, size):
    asked = ("classify", "two.csv", "--out", "out", "--shard-size", size, "--images")
    said = ask(*asked, "images")
    assert said.exit_code == 3 and "1 of 2 classified: 1 not covered" in said.stderr, said.output
    first = pd.read_parquet("out/catalogue.parquet").iloc[0]
    made = list_made(tmp_path/"out")
    (tmp_path/"empty").mkdir()
    for wrong in (["nowhere"], ["empty"]):
        said = ask(*asked, *wrong)
        assert said.exit_code == 1 and list_made(tmp_path/"out") == made, said.output
    said = ask(*asked[:-1])
    assert said.exit_code == 1 and "give --images FOLDER again" in said.stderr, said.output
    assert list_made(tmp_path/"out") == made
    first_of_two("b", FAR)
    (tmp_path/"images"/"a.fits").unlink()
    said = ask(*asked, "images")
    told = said.stderr.splitlines()
    assert said.exit_code == 0 and told[0] == "1 shards done here" and told[-1] == "2 of 2 classified", said.output
    assert told[-2].startswith("The images changed: positions that had a class still come from the earlier images (f")
    rows = pd.read_parquet("out/catalogue.parquet")
    assert list(rows.state) == ["ok", "ok"]
    pd.testing.assert_series_equal(rows.iloc[0], first)
    assert (tmp_path/"out"/"quicklook.html").read_text().count("data:image/png") >= 2
    assert fits.getheader("out/catalogue.fits", 1)["OLDIMAGE"].startswith("folder ")


def draw_double(coord, pixel, beam, side):
    "An image of a double source, real by its header."
    y, x = np.mgrid[:side, :side]
    blob = lambda column: 0.02*np.exp(-((x - column)**2 + (y - side//2)**2)/(2*(beam/pixel/2.355)**2))
    data = np.random.default_rng(1).normal(0, 2e-4, (side, side)) + blob(side//2 - 10) + blob(side//2 + 10)
    header = fits.Header(dict(CTYPE1="RA---SIN", CTYPE2="DEC--SIN", CRVAL1=coord.ra.deg, CRVAL2=coord.dec.deg,
                              CRPIX1=side//2 + 1., CRPIX2=side//2 + 1., CDELT1=-pixel/3600, CDELT2=pixel/3600,
                              CUNIT1="deg", CUNIT2="deg", RADESYS="ICRS", BUNIT="Jy/beam", BMAJ=beam/3600,
                              BMIN=beam/3600, BPA=0.))
    return fits.PrimaryHDU(data.astype("f4"), header)


@pytest.fixture
def first_of_two(tmp_path, monkeypatch):
    "A folder to work in, with two positions, images of one of them, and a function that makes others."
    monkeypatch.chdir(tmp_path)
    make = lambda name, coord: write_image(tmp_path/"images"/f"{name}.fits", draw_double(coord, 1.8, 5.4, 320))
    make("a", HERE)
    (tmp_path/"two.csv").write_text(f"name,ra,dec\nhere,{HERE.ra.deg},{HERE.dec.deg}\nfar,200,-5\n")
    return make


@pytest.fixture
def known(monkeypatch):
    "Surveys are made known in one test alone."
    monkeypatch.setattr(surveys, "SURVEYS", dict(surveys.SURVEYS))
    monkeypatch.setitem(config._ALLOWED, "survey", [*config._ALLOWED["survey"]])


def test_a_survey_of_a_toml_file_has_its_images_cut_from_its_folder(known, tmp_path):
    (tmp_path/"mine.toml").write_text(RACS)
    (tmp_path/"mosaics").mkdir()
    assert read_surveys(tmp_path/"mine.toml") == ("RACS",)
    racs = surveys.get_survey("RACS")
    assert (racs.frequency, racs.bmaj, racs.bmin, racs.pixel_scale) == (1.37*u.GHz, 11.2*u.arcsec, 9.3*u.arcsec,
                                                                        2*u.arcsec)
    made = see("FIRST", 300)
    header = made.header.copy()
    header.update(dict(CDELT1=-2/3600, CDELT2=2/3600, BMAJ=11.2/3600, BMIN=9.3/3600, BPA=0.))
    write_image(tmp_path/"mosaics"/"tile"/"mosaic.fits", fits.PrimaryHDU(made.data, header))
    targets = Table(dict(name=["here", "far"], ra=[HERE.ra.deg, FAR.ra.deg], dec=[HERE.dec.deg, FAR.dec.deg]))
    plan = CutoutPlan("RACS", 120, tmp_path/"out")
    table = fetch_targets(targets, open_archive(surveys.LIVE_SERVICES, tmp_path/"raw", "RACS"), plan, tmp_path)
    assert list(table["state"]) == ["ok", "not_covered"], list(table["reason"])
    cutout = read_cutout(tmp_path/table["path"][0], "RACS")
    np.testing.assert_allclose([cutout.header[key]*3600 for key in ("BMAJ", "BMIN")], [11.2, 9.3])
    assert cutout.data.shape == (120, 120)


@pytest.fixture
def racs(known, tmp_path, monkeypatch):
    "A folder to work in, with a survey in a file of the user's, and its mosaic of one double source."
    monkeypatch.chdir(tmp_path)
    (tmp_path/"racs.toml").write_text(RACS)
    made = draw_double(HERE, 2., 10.25, 400)
    made.header.update(dict(BMAJ=11.2/3600, BMIN=9.3/3600))
    write_image(tmp_path/"mosaics"/"tile.fits", made)
    (tmp_path/"mine.csv").write_text(f"name,ra,dec\nhere,{HERE.ra.deg},{HERE.dec.deg}\nfar,200,-5\n")


@pytest.fixture
def clone(first_of_two, tmp_path):
    "The same folder as a clone, with its settings; some of its images lie deeper, compressed, or have other names."
    (tmp_path/"settings.ini").write_text("lib_name = radiogal")
    shutil.copytree(ROOT/"config", tmp_path/"config")
    for k, name in enumerate(("deep/b", "c")): first_of_two(name, HERE.directional_offset_by(0*u.deg, (k + 1)*u.deg))
    pack(tmp_path/"images"/"d.fits.gz", draw_double(HERE.directional_offset_by(0*u.deg, 3*u.deg), 1.8, 5.4, 320))
    (tmp_path/"images"/"notes.txt").write_text("mine")
    return tmp_path


def test_a_runs_images_may_be_a_folders(clone):
    assert (derive_run("real-short", clone/"images", ["FIRST"]) == derive_run("real-short", Path("images"), ["FIRST"])
            == "real-short-images")
    config = read_config("config/real-short-images.toml")
    assert config.scraping.folder == f"{clone}/images/" and config.scraping.cutout_pixels == 150
    coords = [HERE.directional_offset_by(0*u.deg, k*u.deg) for k in range(4)] + [FAR]
    labels = Labels([*"abcde"], SkyCoord(coords), ["FRI", "FRII"]*2 + ["FRI"], [np.nan]*5)
    targets, _ = build_targets([tabulate_labels(labels, "mine", simulated=False)], ("FRI", "FRII"), 30*u.arcsec,
                               1*u.arcmin)
    cutouts = _scrape_survey(config, "FIRST", targets, "", clone/"raw", clone/"out")
    assert list(cutouts["state"]) == ["ok"]*4 + ["not_covered"], list(cutouts["reason"])
    curated = Table(dict(name=[*"abcde"], survey=["FIRST"]*5, used=[True]*5, decision=[""]*5, reason=[""]*5))
    two = config.model_copy(update=dict(preparation=config.preparation.model_copy(update=dict(n_folds=2))))
    read = lambda path: read_image(clone/path, "FIRST")
    prepared, left = _prepare_survey(targets, cutouts, curated, read, two, "FIRST")
    assert prepared.images.shape == (4, 64, 64, 1) and not prepared.simulated and list(left["name"]) == ["e"]
    assert left["reason"][0] == f"not_covered: no FIRST image in {clone}/images holds this position"
    before = plan_run(config, Paths(clone), "real-short-images").settings
    write_image(clone/"images"/"sim.fits", see("FIRST", 320, FAR))
    after = plan_run(config, Paths(clone), "real-short-images").settings
    assert [rule for rule in before if before[rule] != after[rule]] == ["scraping"]
    with pytest.raises(ConfigError, match=r"e\.fits: simulated: leave it out of the folder"):
        _scrape_survey(config, "FIRST", targets, "", clone/"raw", clone/"again")
    shutil.rmtree("images")
    with pytest.raises(ConfigError, match="^scraping.archive = .* neither registry nor a"):
        plan_run(config, Paths(clone), "x")


@pytest.mark.parametrize("run, images, told", [
    ("smoke", "images", "kind = 'demo' allows 'loopback'"), ("vlass", "images", "vlass is of published images alone"),
    ("real", "nowhere", "neither registry nor a folder of FITS files"), ("real", "config", "no image that can be used"),
    ("real", "images", "wanted are images of NVSS"), ("real", "images", "alone that it has: radiogal prepare real SET"),
    ("nix FIRST", "images", "the runs there are: benchmark, demo"), ("real FRIST", "images", "no images FRIST in real"),
    ("real-short FIRST", "images", "differ from those of real-short: rename or delete it, or go on with it: radiogal"),
    ("real-short FIRST", "other/images", "it has images from \"/a/images/\": rename that file, or the folder")])
def test_a_folder_that_a_run_cannot_have_is_told(clone, run, images, told):
    shutil.copytree(clone/"images", clone/"other"/"images")
    from_there = '# mine\n[scraping]\narchive = "/a/images/"\n'
    (clone/"config"/"real-short-images.toml").write_text(from_there if "other" in images else "# mine")
    before = sorted(clone.rglob("*"))
    said = ask("prepare", *run.split(), "--images", images)
    assert said.exit_code == 1 and told in said.stderr and sorted(clone.rglob("*")) == before, said.output


def test_commands_take_a_survey_of_a_toml_file(racs):
    said = ask("cutout", "mine.csv", "--survey", "racs.toml", "--size", "4", "--out", "cuts")
    assert said.exit_code == 3 and said.stderr.splitlines()[-1].startswith("1 of 2 cut out: 1 not covered"), said.output
    cut = read_cutout(said.stdout.split()[0], "RACS")
    assert cut.data.shape == (120, 120) and cut.header["SURVEY"] == "RACS"


@pytest.mark.parametrize("target", ["mine.csv", "mosaics/tile.fits"])
def test_positions_and_images_of_such_a_survey_are_classified(racs, target):
    said = ask("classify", target, "--survey", "racs.toml:RACS", "--json")
    first, *_ = json.loads(said.stdout)["rows"]
    assert first["class"] and "trained on FIRST, this is RACS" in first["flags"], said.output


def draw_pair(number, far):
    "An image as RACS may have it: two blobs, near to each other or far apart, at a place of its own."
    y, x = np.mgrid[:64, :64]
    blob = lambda column: 0.02*np.exp(-((x - column)**2 + (y - 32)**2)/(2*(10.25/2/2.355)**2))
    data = np.random.default_rng(number).normal(0, 2e-4, (64, 64)) + blob(32 - far) + blob(32 + far)
    cards = dict(CTYPE1="RA---SIN", CTYPE2="DEC--SIN", CRVAL1=180. + number, CRVAL2=30., CRPIX1=33., CRPIX2=33.,
                 CDELT1=-2/3600, CDELT2=2/3600, CUNIT1="deg", CUNIT2="deg", RADESYS="ICRS", BUNIT="Jy/beam",
                 BMAJ=11.2/3600, BMIN=9.3/3600, BPA=0.)
    return fits.PrimaryHDU(data.astype("f4"), fits.Header(cards))


@pytest.mark.full
def test_a_network_is_taught_such_a_survey_and_asked_about_it(known, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/"racs.toml").write_text(RACS)
    write_start(tmp_path/"tiny")
    labels = ["near", "far"]*6
    for i, label in enumerate(labels):
        write_image(tmp_path/"mosaics"/f"s{i:02}.fits", draw_pair(i, dict(near=4, far=16)[label]))
    rows = "".join(f"s{i:02}.fits,{label}\n" for i, label in enumerate(labels))
    (tmp_path/"labels.csv").write_text(f"file,label\n{rows}")
    said = ask("finetune", "labels.csv", "--images", "mosaics", "--out", "mine", "--model", "tiny", "--survey",
               "racs.toml", "--epochs", "1", "--folds", "2", "--frozen", "convolutions")
    assert said.exit_code == 0 and "12 of 12 learned from" in said.stderr, said.output
    assert "| Images | RACS, 2.1" in ask("models", "mine").output
    (row,) = json.loads(ask("classify", "mosaics/s00.fits", "--model", "mine", "--json").stdout)["rows"]
    assert row["class"] in ("near", "far") and "trained on FIRST" not in row["flags"]


@pytest.mark.parametrize("asked, told", [
    ("two.toml", "it has RACS, EMU: name one, as two.toml:RACS"), ("two.toml:NIX", "name one, as two.toml:RACS"),
    ("none.toml", "has no survey in it"), ("nowhere.toml", "nowhere.toml: cannot be read"),
    ("odd.toml", "survey RACS: beam is missing")])
def test_a_file_that_names_no_survey_or_several_is_told(racs, tmp_path, asked, told):
    (tmp_path/"two.toml").write_text(RACS + RACS.replace("RACS", "EMU"))
    (tmp_path/"none.toml").write_text("# nothing yet\n")
    (tmp_path/"odd.toml").write_text(RACS.replace("beam", "beem"))
    said = ask("cutout", "mine.csv", "--survey", asked)
    assert said.exit_code == 1 and told in said.stderr and said.stderr.count("\n") == 1, said.output


@pytest.mark.parametrize("change, told", [
    (("beam", "beem"), "RACS: beam is missing"), (("folder =", "colour = 1\nfolder ="), "RACS: colour is unknown"),
    (("1.37 GHz", "1.37"), "RACS: frequency = '1.37': give a number and a unit"),
    (("2 arcsec", "2 GHz"), "RACS: pixel = '2 GHz'"), (("mosaics", "nowhere"), "RACS: folder = 'nowhere'"),
    (("11.2 x 9.3 arcsec", "1 x 2 x 3 arcsec"), "RACS: beam = "), (("[RACS]", "[FIRST]"), "survey FIRST exists"),
    (("[RACS]\n", ""), "is outside a section"), (("[RACS]", "[RACS"), "cannot be read"),
    (("folder =", "service = 'x'\nfolder ="), "archives of other surveys cannot be asked"),
    (("2 arcsec", "-2 arcsec"), "survey RACS: pixel_scale = -2.0 arcsec"),
    (("2 arcsec", "nan arcsec"), "pixel_scale = nan"), (("2 arcsec", "0 arcsec"), "pixel_scale = 0.0 arcsec"),
    (("1.37 GHz", "-1 GHz"), "frequency = -1.0 GHz"),
    (("folder =", "n_sources = 'many'\nfolder ="), "RACS: n_sources = 'many': give a positive number"),
    (("folder =", "n_sources = nan\nfolder ="), "RACS: n_sources = nan: give a positive number"),
    (("folder =", "n_axes = 'x'\nfolder ="), "RACS: n_axes = 'x': give a positive whole number"),
    (("folder =", "n_axes = 2.5\nfolder ="), "RACS: n_axes = 2.5: give a positive whole number")])
def test_a_section_that_is_no_survey_is_refused_in_words(known, tmp_path, change, told):
    (tmp_path/"mosaics").mkdir()
    (tmp_path/"mine.toml").write_text(RACS.replace(*change))
    with pytest.raises(ConfigError) as error: read_surveys(tmp_path/"mine.toml")
    assert told in str(error.value)


def test_shards_without_their_job_and_positions_are_joined_with_no_other_list(tmp_path):
    write_shards(tmp_path, begin(tmp_path), ["ok", "ok"], ["ok", "reject"])
    for name in ("job.json", "positions.parquet"): (tmp_path/name).unlink()
    with pytest.raises(ConfigError, match=r"job\.json and positions\.parquet are missing.*another folder, or"):
        begin(tmp_path)
    shutil.rmtree(tmp_path/"shards")
    assert begin(tmp_path)["n"] == 4
