"The networks of the package: opened only as they were written, asked of any kind of file, and alone without a clone."
import json
import re
import shutil
from importlib.resources import files

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from conftest import ROOT
from scipy.special import softmax

from radiogal.config import ConfigError, read_config
from radiogal.engines import adapt_config
from radiogal.models import build_network, load_network_weights
from radiogal.pages import list_flags
from radiogal.positions import clean_header
from radiogal.preparation import Unusable, prepare_image, read_image
from radiogal.pretrained import (
    UNLIKE,
    UnknownModel,
    WrongModel,
    _open_packed,
    classify,
    find_image_survey,
    list_models,
    load_model,
)

NETWORKS = ROOT/"radiogal"/"networks"
SAMPLES = files("radiogal")/"samples"
FIRST, NVSS = (SAMPLES/survey/"J135214.56+123401.7.fits" for survey in ("FIRST", "NVSS"))
NETWORK_BYTES = 1_000_000


def test_every_model_is_listed_and_small():
    listed = json.loads((NETWORKS/"models.json").read_text())
    assert {"first-4class", "first-4class-single"} <= set(listed["models"]) == set(list_models()["name"])
    assert {path.name for path in NETWORKS.iterdir()} == {"models.json", *listed["files"]}
    assert {p.name: p.stat().st_size for p in NETWORKS.iterdir() if p.stat().st_size > NETWORK_BYTES} == {}


def test_a_card_says_what_a_user_must_know():
    model = load_model("first-4class")
    for heading in ("Data and protocol", "Scores", "Calibration", "Where it fails", "What it was not trained on",
                    "Licence of the training images", "Files"):
        assert f"## {heading}\n" in model.card
    assert re.search(r"\| held-out +\| all together +\|", model.card) and "make package RUN=benchmark" in model.card
    assert all(member.weights[:16] in model.card for member in model.ensemble.members)


def test_another_name_is_refused():
    with pytest.raises(UnknownModel, match="no model 'fr': there are first-4class, first-4class-single"):
        load_model("fr")


def reverse_classes(path):
    "A list of models in which each has its classes in another order."
    listed = json.loads(path.read_text())
    for facts in listed["models"].values(): facts["ensemble"]["classes"].reverse()
    path.write_text(json.dumps(listed))


@pytest.mark.parametrize(("pattern", "change", "message"), [
    ("*.onnx", lambda path: path.write_bytes(b"another network"), "SHA-256 .*listed is"),
    ("*.npz", lambda path: path.unlink(), "npz is not there: write it again with radiogal finetune"),
    ("models.json", lambda path: path.unlink(), "models.json is not there"),
    ("models.json", lambda path: path.write_text("{"), "is damaged, not JSON"),
    ("models.json", lambda path: path.write_text('{"format": 7}'), "format 7, this version of radiogal reads 1"),
    ("models.json", lambda path: path.write_text(r'{"format": "\u0007"}'), "format \\?, this version"),
    ("models.json", lambda path: path.write_text('{"format": 1}'), "models.json is not what was written"),
    ("models.json", lambda path: path.write_text(path.read_text().replace('"survey": "FIRST"', '"survey": "NVSS"')),
     "models.json is not what was written: write it again with radiogal finetune"),
    ("models.json", reverse_classes, "models.json is not what was written: write it again with radiogal finetune"),
])
def test_other_files_than_those_listed_are_refused(pattern, change, message, tmp_path):
    folder = tmp_path/"networks"
    shutil.copytree(NETWORKS, folder)
    for path in folder.glob(pattern): change(path)
    with pytest.raises(WrongModel, match=message): _open_packed(folder, "first-4class-single")


def test_samples_are_classified_and_say_what_they_lack():
    rows = classify([FIRST, NVSS])
    assert rows["state"].tolist() == ["ok", "ok"] and rows["name"].tolist() == ["J135214.56+123401.7"]*2
    sums = sum(rows[f"p_{name}"] for name in load_model().classes)
    np.testing.assert_allclose(sums, 1)
    assert "field of 4.5′, the network needs 9.0′" in rows["flags"][0] and "this is NVSS" not in rows["flags"][0]
    assert "trained on FIRST, this is NVSS" in rows["flags"][1] and "beam of 45″" in rows["flags"][1]
    assert "image of 37.5′: only its middle 9.0′ was looked at" in rows["flags"][1]
    assert "only its middle" not in rows["flags"][0]
    assert abs(rows["ra"][0] - 208.0607*u.deg) < 1*u.arcsec and rows.meta["MODEL"] == "first-4class"


@pytest.fixture(scope="module")
def first():
    with fits.open(FIRST) as hdus: return fits.PrimaryHDU(hdus[0].data.copy(), clean_header(hdus[0].header.copy()))


@pytest.fixture(scope="module")
def single(): return load_model("first-4class-single")


def test_the_same_image_in_any_kind_of_file_gets_the_same_answer(first, single, tmp_path):
    first.writeto(tmp_path/"plain.fits")
    first.writeto(tmp_path/"packed.fits.gz")
    extension = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(first.data, first.header)])
    extension.writeto(tmp_path/"extension.fits")
    tiles = fits.CompImageHDU(first.data, first.header, compression_type="GZIP_1", quantize_level=0)
    fits.HDUList([fits.PrimaryHDU(), tiles]).writeto(tmp_path/"tiles.fits.fz")
    cube = first.data[None, None]
    asked = [*sorted(tmp_path.iterdir()), first, extension, fits.PrimaryHDU(cube, first.header)]
    rows = classify(asked, single)
    assert rows["reason"].tolist() == [""]*7
    assert rows["name"].tolist()[:4] == ["extension", "packed", "plain", "tiles"]
    assert np.ptp(rows["p_FRI"]) < 1e-6


def change_header(hdu, **cards):
    "A copy with other cards; None removes one."
    changed = fits.PrimaryHDU(hdu.data.copy(), hdu.header.copy())
    for key, value in cards.items():
        if value is None: changed.header.pop(key, None)
        else: changed.header[key] = value
    return changed


OPTICAL = dict(TELESCOP=None, SURVEY=None, BMAJ=None, BMIN=None, BPA=None, CDELT1=-0.396/3600, CDELT2=0.396/3600)


def add_stokes(hdu):
    "The same as Stokes Q."
    made = fits.PrimaryHDU(hdu.data[None], hdu.header)
    made.header.update(dict(CTYPE3="STOKES", CRVAL3=2.))
    return made


TABLE = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.zeros(3))])
ROWS = np.arange(150)
OF_ANOTHER_KIND = {  # How the reason begins: made of an image; how the reason ends
    "no image in it": (lambda hdu: fits.HDUList([fits.PrimaryHDU(), TABLE]),
                       "give an image, or a table with columns ra and dec"),
    "a cube of 4 planes": (lambda hdu: fits.PrimaryHDU(np.repeat(hdu.data[None], 4, axis=0), hdu.header),
                           "give one plane as a file of its own"),
    "its survey is not known": (lambda hdu: change_header(hdu, **OPTICAL, BUNIT="nanomaggy"),
                                r"say --survey NAME, or describe it in a TOML file \(known: .*\)"),
    "no celestial coordinates": (lambda hdu: change_header(hdu, CTYPE1=None),
                                 "write its celestial WCS into the header"),
    "unit is adu": (lambda hdu: change_header(hdu, BUNIT="adu"),
                    "mend BUNIT, if pixels are a radio brightness per beam"),
    "Stokes Q": (add_stokes, "give Stokes I"),
    "no pixel has data": (lambda hdu: fits.PrimaryHDU(np.full_like(hdu.data, np.nan), hdu.header),
                          "give another image, or ask another survey"),
    "the image spans 2.7′ × 4.5′ of 4.5′ × 4.5′": (
        lambda hdu: fits.PrimaryHDU(np.where(ROWS < 60, np.nan, hdu.data), hdu.header),
        r"covered fraction 0.600 is below 0.9 \(min_covered\)")}


@pytest.mark.parametrize("what", OF_ANOTHER_KIND)
def test_a_fits_file_of_another_kind_is_refused_with_the_way_out(first, single, what):
    make, way_out = OF_ANOTHER_KIND[what]
    (row,) = classify(make(first), single)
    assert row["state"] == "reject" and re.fullmatch(f"{what}.*[:;] {way_out}", row["reason"]), row["reason"]


def test_an_optical_image_is_refused_in_words_whatever_it_says_of_itself(first, single):
    optical = change_header(first, **OPTICAL, BUNIT="nanomaggy")
    (forced,) = classify(optical, single, survey="FIRST")
    assert forced["reason"] == "unit is nanomaggy, not Jy/beam: mend BUNIT, if pixels are a radio brightness per beam"
    (bare,) = classify(change_header(optical, BUNIT=None, SURVEY="DSS2 Red", TELESCOP="UK Schmidt"), single)
    assert bare["reason"].startswith("its survey is not known: pixels of 0.396″ from UK Schmidt: say --survey NAME")
    (scaled,) = classify(change_header(optical, BUNIT="Jy/beam"), single, survey="FIRST")
    assert scaled["reason"] == ("pixels of 0.396″ × 0.396″, FIRST has 1.8″: name the image's own survey, or describe "
                                "it in a TOML file (--survey)")


def test_a_beam_that_nobody_stated_is_said_to_be_assumed(first, single):
    beam = dict(BMAJ=5.4/3600, BMIN=5.4/3600, BPA=0.)
    stated, unnamed = change_header(first, SURVEY=None, **beam), change_header(first, SURVEY=None)
    kinds = [first, stated, unnamed, NVSS, change_header(first, SURVEY="Mine", BMAJ=None)]
    said = [re.findall("no beam [^;]*", flags) for flags in classify(kinds[:4], single)["flags"]]
    said += [re.findall("no beam [^;]*", classify(kinds[4], single, survey="FIRST")["flags"][0])]
    assumed = "no beam (BMAJ, BMIN, BPA) in its header: {} assumed"
    assert said == [[], [], [assumed.format("FIRST's 5.4″")], [assumed.format("NVSS's 45″")],
                    [assumed.format("FIRST's 5.4″")]]


def test_what_costs_resolution_is_said(first, single):
    sharp = change_header(first, SURVEY="VLASS", CDELT1=-1/3600, CDELT2=1/3600, BMAJ=3.1/3600, BMIN=2/3600, BPA=20.)
    (row,) = classify(sharp, single)
    assert "trained on FIRST, this is VLASS; smoothed from 2.5″ to 5.4″" in row["flags"]
    (wide,) = classify(change_header(sharp, BMAJ=5.4/3600, BMIN=5.4/3600), single)
    assert "trained on FIRST, this is VLASS" in wide["flags"] and "smoothed" not in wide["flags"]


def test_what_cannot_be_used_is_a_row_with_its_reason(first, single, tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.zeros(3))])
    stokes = fits.PrimaryHDU(first.data[None], first.header)
    stokes.header.update(dict(CTYPE3="STOKES", CRVAL3=2.))
    (tmp_path/"text.fits").write_text("no image at all")
    (tmp_path/"short.fits").write_bytes(FIRST.read_bytes()[:20000])
    empty = fits.PrimaryHDU(np.full_like(first.data, np.nan), first.header)
    torn = fits.PrimaryHDU(np.where(np.arange(150) < 60, np.nan, first.data), first.header)
    wrong = {
        "there is no such file": tmp_path/"nothing.fits", "not FITS": tmp_path/"text.fits",
        "pixels, ": tmp_path/"short.fits", "no image in it": fits.HDUList([fits.PrimaryHDU(), table]),
        "cube of 4 planes": fits.PrimaryHDU(np.repeat(first.data[None], 4, axis=0), first.header),
        "Stokes Q": stokes, "unit is adu, not Jy/beam": change_header(first, BUNIT="adu"),
        "unit is not given": change_header(first, BUNIT=None), "no celestial": change_header(first, CTYPE1=None),
        "its survey is not known: pixels of 3.6″": change_header(first, SURVEY=None, CDELT1=-0.001, CDELT2=0.001),
        "simulated": change_header(first, SIMULATE=True), "no pixel has data": empty,
        "covered fraction 0.600 is below 0.9": torn}
    rows = classify([first, *wrong.values()], single)
    assert rows["state"].tolist() == ["ok"] + ["reject"]*len(wrong)
    assert {said: reason for said, reason in zip(wrong, rows["reason"][1:], strict=True) if said not in reason} == {}
    assert np.isnan(rows["p_FRI"][1:]).all() and set(rows["class"][1:]) == {""}
    assert classify(torn, single, min_covered=0.5)["state"].tolist() == ["ok"]


def test_wrong_settings_of_a_question_are_refused(first, single):
    with pytest.raises(ConfigError, match="survey = 'Nvss': allowed are FIRST, NVSS"): classify(first, single, "Nvss")
    with pytest.raises(ConfigError, match="min_covered = 90: allowed is 0 to 1"): classify(first, single, "", 90)
    rows = classify(first, single, "NVSS")
    assert "NVSS has 15″" in rows["reason"][0]
    assert len(classify([], single)) == 0


def surround(hdu, side):
    "The same image in the middle of a larger one, the rest noise; of the same noise for each side."
    data = np.random.default_rng(0).normal(0, 1.5e-4, (600, 600)).astype("f4")
    low, n = 300 - side//2, len(hdu.data)
    data[300 - n//2:300 - n//2 + n, 300 - n//2:300 - n//2 + n] = hdu.data
    shift = side//2 - n//2
    return change_header(fits.PrimaryHDU(data[low:low + side, low:low + side], hdu.header),
                         CRPIX1=hdu.header["CRPIX1"] + shift, CRPIX2=hdu.header["CRPIX2"] + shift)


def test_a_larger_image_is_told_which_part_was_looked_at(first, single):
    rows = classify([surround(first, side) for side in (300, 302, 400)], single)
    assert ["only its middle" in flags for flags in rows["flags"]] == [False, False, True]
    assert "image of 12.0′: only its middle 9.0′ was looked at" in rows["flags"][2]
    assert np.ptp(rows["p_FRI"]) < 1e-5


def test_an_image_unlike_the_training_images_is_flagged(first, single):
    y, x = np.mgrid[-150:150, -150:150]
    ring = np.exp(-(np.hypot(x, y) - 60)**2/200) + np.random.default_rng(0).normal(0, 1e-3, (300, 300))
    rows = classify([first, fits.PrimaryHDU(ring.astype("f4"), first.header)], single)
    said = f"unlike the training images ({rows['ood_score'][1]:.1f} σ)"
    assert rows["ood_score"][0] < UNLIKE < rows["ood_score"][1]
    assert said in rows["flags"][1].split("; ") and "unlike" not in rows["flags"][0]
    assert list_flags(dict(zip(rows.colnames, rows[1], strict=True))).count(said) == 1
    assert f"(above {UNLIKE:g}, where `flags` says: unlike the training images)" in single.card


def test_a_survey_is_told_by_pixels_and_telescope(first):
    assert find_image_survey(change_header(first, SURVEY=None).header) == "FIRST"
    with pytest.raises(Unusable, match="1.8″ from LOFAR"):
        find_image_survey(change_header(first, SURVEY=None, TELESCOP="LOFAR").header)


def test_answers_are_those_of_the_kept_networks(mirror):
    paths = sorted(mirror.glob("raw.githubusercontent.com/fmporter/MiraBest/*/FITS/*.fits"))[:6]
    config = adapt_config(read_config(ROOT/"config"/"benchmark.toml"), "griese")
    images = np.stack([prepare_image(read_image(path, "FIRST"), config).image for path in paths])[..., None]
    model, each = load_model("first-4class"), []
    for member in model.ensemble.members:
        network = build_network("fields", 300, 4)
        load_network_weights(network, ROOT/"docs"/"results"/"benchmark"/"training"/"griese"/"fields"/member.place
                             /"network.weights.h5")
        each.append(network.predict(images, verbose=0))
    rows = classify(paths, model)
    np.testing.assert_allclose(np.transpose([rows[f"p_{name}"] for name in model.classes]),
                               softmax(np.log(np.mean(each, axis=0))/model.ensemble.temperature, axis=1), atol=1e-5)
    assert set(rows["flags"]) <= {"", *(f"{n} of 5 networks were trained on it" for n in range(1, 6))}
