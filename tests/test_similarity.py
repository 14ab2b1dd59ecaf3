"Features of images: a turned source is found again, what to label comes in turn, and the estimator is scikit-learn's."
import copy
import shutil
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.io.votable.ucd import check_ucd
from astropy.table import QTable, Table, vstack
from scipy.ndimage import rotate
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

import radiogal
from radiogal import similarity
from radiogal.catalogues import CATALOGUES, find_registered, read_catalogue
from radiogal.config import ConfigError, Sky
from radiogal.engines import count_trained
from radiogal.fetch import Fetcher, get_registered, registry_hosts, select_files
from radiogal.preparation import normalise_observed
from radiogal.pretrained import classify, load_model
from radiogal.provenance import Manifest
from radiogal.similarity import GalaxyClassifier, read_features, similar_to, suggest_labels
from radiogal.sky import draw_population, observe

REAL = files("radiogal")/"samples"/"FIRST"/"J135214.56+123401.7.fits"


@pytest.fixture(scope="module")
def sources():
    "Simulated images, their classes, and their features."
    sky = draw_population(Sky(sources_per_class=3), ("FRI", "FRII"), ("FIRST",))
    known = sky[sky["label"] != ""]
    hdus = [normalise_observed(observe(known, "FIRST", SkyCoord(row["ra"], row["dec"], unit="deg"), 101, i), "FIRST")
            for i, row in enumerate(known)]
    for hdu, row in zip(hdus, known, strict=True): hdu.header["OBJECT"] = row["name"]
    return hdus, np.array(known["label"], str), read_features(hdus)


def test_a_turned_and_mirrored_source_is_found_first(sources):
    hdus, _, rows = sources
    for i in range(3):
        for data in (np.rot90(hdus[i].data), hdus[i].data[::-1]):
            found = similar_to(fits.PrimaryHDU(data.copy(), hdus[i].header), rows, 3)
            assert found["name"][0] == rows["name"][i] and (np.diff(found["distance"]) >= 0).all()


def test_without_a_table_it_is_compared_with_what_the_model_was_trained_on(sources):
    model = load_model("first-4class-single")
    found = similar_to(REAL, k=3)
    known = SkyCoord(model.ensemble.members[0].trained_on, unit="deg")
    assert found.colnames == ["name", "ra", "dec", "distance"] and len(found) == 3
    assert (SkyCoord(found["ra"], found["dec"]).match_to_catalog_sky(known)[1] < 1*u.arcsec).all()
    assert (np.diff(found["distance"]) >= 0).all() and found["ra"].info.meta["ucd"] == "pos.eq.ra;meta.main"
    with pytest.raises(ConfigError, match="real and simulated, it and the model's: give among"):
        similar_to(sources[0][0])
    with pytest.raises(ConfigError, match="nix: there is no such file"): similar_to("nix.fits")


def test_a_model_whose_start_was_trained_on_more_compares_what_it_has_features_of():
    model = load_model("first-fr")
    (member,) = model.ensemble.members
    more = replace(member, trained_on=np.concatenate([member.trained_on, [[1., 2.]]]))
    found = similar_to(REAL, k=3, model=replace(model, ensemble=replace(model.ensemble, members=(more,))))
    assert found["name"].tolist() == similar_to(REAL, k=3, model=model)["name"].tolist()


@pytest.mark.parametrize(("suffix", "form"), [(".fits", "fits"), (".ecsv", "ascii.ecsv"), (".vot", "votable")])
def test_a_table_that_was_saved_and_read_again_is_taken_as_it_was(sources, tmp_path, suffix, form):
    rows = vstack([read_features(tmp_path/"nix.fits"), sources[2]], metadata_conflicts="silent")  # one is not used
    rows.write(tmp_path/f"rows{suffix}", format=form)
    again = Table.read(tmp_path/f"rows{suffix}", format=form)
    assert not isinstance(again, QTable)
    if suffix == ".vot":
        with pytest.raises(ConfigError, match="the table has nothing in its meta: a .fits"):
            similar_to(sources[0][0], again)
        again.meta = dict(rows.meta)
    for ask in (lambda rows: similar_to(sources[2]["name"][1], rows, 3), lambda rows: suggest_labels(rows, 4)):
        assert ask(again)["name"].tolist() == ask(rows)["name"].tolist()
    assert suggest_labels(again, 1)["entropy"].unit == u.bit


def test_columns_have_units_descriptions_and_ucds(sources):
    rows = sources[2]
    for table in (rows, similar_to(rows["name"][0], rows, 2), suggest_labels(rows, 2)):
        for column in table.itercols():
            assert column.info.description, column.info.name
            assert check_ucd(column.info.meta["ucd"], check_controlled_vocabulary=True), column.info.name
        assert (table["ra"].unit, table["dec"].unit, table["entropy"].unit) == ("deg", "deg", "bit")


def test_names_of_images_in_several_folders_differ(tmp_path):
    for i in range(2): shutil.copy(str(REAL), (tmp_path/str(i)).mkdir() or tmp_path/str(i)/"a.fits")
    rows = read_features([tmp_path/"0"/"a.fits", tmp_path/"1"/"a.fits"])
    assert rows["name"].tolist() == ["a", "a (2)"] and similar_to("a (2)", rows, 2)["distance"].max() < 1e-3


def test_a_source_is_asked_for_by_name_and_images_are_read_where_no_table_is_given(sources):
    hdus, _, rows = sources
    found = similar_to(rows["name"][1], hdus[:3], k=9)
    assert len(found) == 3 and found["name"][0] == rows["name"][1] and found["distance"][0] < 1e-3


def test_what_cannot_be_used_has_its_reason_and_the_rest_goes_on(sources, tmp_path):
    rows = read_features([sources[0][0], tmp_path/"nix.fits"])
    assert rows["state"].tolist() == ["ok", "reject"] and rows["reason"][1] == "there is no such file"
    assert similar_to(sources[0][0], rows)["name"].tolist() == [rows["name"][0]]


@pytest.mark.parametrize(("ask", "message"), [
    (lambda hdus, rows: read_features([hdus[0], REAL]), "real and simulated images: give one kind"),
    (lambda hdus, rows: similar_to(REAL, rows), "features of another sky: real and simulated"),
    (lambda hdus, rows: similar_to(hdus[0], rows, model="first-4class"), "features of another model"),
    (lambda hdus, rows: similar_to("nix.fits", rows), "nix: there is no such file"),
    (lambda hdus, rows: similar_to(hdus[0], ["nix.fits"]), "none of 1 images can be used: there is no such file"),
    (lambda hdus, rows: similar_to(hdus[0], []), "none of 0 images can be used"),
    (lambda hdus, rows: similar_to(hdus[0], QTable(dict(name=["a"]))), "a table without features: make it with read"),
    (lambda hdus, rows: similar_to(hdus[0], rows, 0), "k = 0: at least 1"),
    (lambda hdus, rows: suggest_labels(rows, 0), "n = 0: at least 1"),
])
def test_what_cannot_be_compared_is_refused(sources, ask, message):
    with pytest.raises(ConfigError, match=message): ask(sources[0], sources[2])


def test_the_most_uncertain_and_the_most_unusual_come_in_turn(sources):
    rows = sources[2]
    found = suggest_labels(rows, 99)
    assert sorted(found["name"]) == sorted(rows["name"])
    assert found["name"][0] == rows["name"][rows["entropy"].argmax()] and found["why"][0] == "uncertain"
    rest = rows[rows["name"] != found["name"][0]]
    assert found["name"][1] == rest["name"][rest["ood_score"].argmax()] or found["why"][1] == "uncertain"
    left = suggest_labels(rows, 2, labelled=(str(found["name"][0]),))
    assert len(left) == 2 and found["name"][0] not in left["name"]


def test_the_estimator_passes_every_check_of_scikit_learn():
    check_estimator(GalaxyClassifier(), expected_failed_checks={})  # none that cannot apply: X may be any numbers


def test_the_estimator_learns_from_images_and_from_features_alike(sources):
    hdus, labels, rows = sources
    by_image, by_number = GalaxyClassifier(C=0.1).fit(hdus, labels), GalaxyClassifier(C=0.1)
    by_number.fit(np.asarray(rows["features"]), labels)
    said = by_number.predict_proba(np.asarray(rows["features"][:2]))
    np.testing.assert_allclose(by_image.predict_proba(hdus[:2]), said, atol=1e-6)
    assert by_image.classes_.tolist() == ["FRI", "FRII"]
    assert (by_number.predict(np.asarray(rows["features"])) == labels).all()


def test_from_pretrained_answers_as_the_model():
    model, told = GalaxyClassifier.from_pretrained("first-4class-single"), classify(REAL, "first-4class-single")
    said = model.predict_proba([REAL])
    np.testing.assert_allclose(said[0], [told[f"p_{name}"][0] for name in model.classes_], atol=1e-6)
    assert model.predict([REAL])[0] == told["class"][0]
    with pytest.raises(ValueError, match="wants images: fit it to features first"): model.predict(np.zeros((1, 128)))


@pytest.mark.parametrize(("images", "message"), [
    (["nix.fits", "nox.fits"], "2 of 2 images cannot be used: nix: there is no such file; nox"),
    (np.full((1, 40, 40), 7.), "values outside 0–1: prepare them first"),
    (np.zeros((1, 40, 30)), r"images of shape \(1, 40, 30\): \(n, side, side\) is needed"),
])
def test_images_that_an_estimator_cannot_use_are_named(images, message):
    model = GalaxyClassifier.from_pretrained("first-4class-single")
    with pytest.raises(ValueError, match=message): model.predict(images)


def test_real_and_simulated_are_not_mixed_by_the_estimator(sources):
    hdus, labels, _ = sources
    for model in ("first-4class-single", "first-4class"):
        opened = GalaxyClassifier.from_pretrained(model)
        with pytest.raises(ValueError, match="simulated images, and the classifier learned from real ones"):
            opened.predict_proba([hdus[0]])
    with pytest.raises(ValueError, match="real and simulated images: give one kind"):
        GalaxyClassifier().fit([*hdus[:3], REAL], labels[:4])
    fitted = GalaxyClassifier().fit(hdus, labels)
    with pytest.raises(ValueError, match="real images, and the classifier learned from simulated ones"):
        fitted.predict([REAL])


def test_a_column_of_files_is_one_of_images():
    paths = pd.Series([str(REAL)], index=[7])
    assert GalaxyClassifier.from_pretrained("first-4class-single").predict_proba(paths).shape == (1, 4)
    assert not similarity._are_images(pd.DataFrame(dict(a=[1.], b=[2.])))


def test_sources_that_a_network_was_trained_on_are_counted(sources):
    assert sources[2]["n_trained"].sum() == 0
    place = load_model("first-4class-single").ensemble.members[0].trained_on[0]
    with fits.open(REAL) as hdus: known = hdus[0].copy()
    known.header["CRVAL1"], known.header["CRVAL2"] = place
    known.header["CRPIX1"], known.header["CRPIX2"] = (n//2 + 1 for n in known.data.shape[:-3:-1])
    assert read_features([known])["n_trained"][0] == 1


@pytest.fixture(scope="module")
def unseen(mirror, tmp_path_factory):
    "Features and labels of FRDEEP's sources that the network was not trained on, ten of each class; and their images."
    tmp_path = tmp_path_factory.mktemp("unseen")
    catalogue, fetcher = CATALOGUES["frdeep"], Fetcher(Manifest(tmp_path/"m.sqlite"), registry_hosts())
    table = read_catalogue(catalogue, get_registered(fetcher, find_registered(catalogue), tmp_path))
    files = {f.object: f for f in select_files("frdeep", "FIRST", "train")}
    apart = table[count_trained(SkyCoord(table["ra"], table["dec"], unit="deg"),
                                 load_model("first-4class-single").ensemble, 5*u.arcsec) == 0]
    label = {str(row["name"]): str(row["label"]) for row in apart if str(row["name"]) in files}
    chosen = [name for c in ("FRI", "FRII") for name in [n for n in label if label[n] == c][:10]]
    paths = [get_registered(fetcher, files[name], tmp_path) for name in chosen]
    rows = read_features(paths, survey="FIRST")
    assert rows["n_trained"].sum() == 0 and len(rows) == 20
    return rows, dict(zip(rows["name"].tolist(), [label[name] for name in chosen], strict=True)), paths


def test_real_sources_that_the_network_was_not_trained_on_agree_more_often_than_chance(unseen):
    rows, of, _ = unseen
    nearest = [similar_to(name, rows, k=2)["name"][1] for name in rows["name"]]
    assert np.mean([of[one] == of[other] for one, other in zip(rows["name"], nearest, strict=True)]) > 0.65


@pytest.mark.parametrize("number", [0, 10])
@pytest.mark.parametrize("angle", [10, 37, 80])  # deg; none is one of the views that features are means of
def test_a_real_source_that_was_turned_is_found_first(unseen, number, angle):
    rows, _, paths = unseen
    with fits.open(paths[number]) as hdus: hdu = hdus[0].copy()
    whole = np.nan_to_num(hdu.data)
    turned = rotate(whole, angle, reshape=False, order=1, mode="reflect")  # a corner of zeros would be no data
    found = similar_to(fits.PrimaryHDU(turned.astype(np.float32), hdu.header), rows, 3, survey="FIRST")
    assert found["name"][0] == rows["name"][number]


def test_an_estimator_is_copied_and_other_processes_find_its_class():
    numbers = np.random.default_rng(0).random((12, 5))
    fitted = radiogal.GalaxyClassifier(C=2.).fit(numbers, ["a", "b"]*6)
    assert clone(fitted).get_params() == dict(model="first-4class-single", survey="", C=2., class_weight=None)
    again = copy.deepcopy(fitted)
    assert (again.predict(numbers) == fitted.predict(numbers)).all()
    assert getattr(similarity, type(fitted).__qualname__) is type(fitted) is GalaxyClassifier
