"Own labels: what can be used is used and counted; the model is packed as those of the package; exports answer as it."
import hashlib
import io
import json
import shutil
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner

import radiogal
from radiogal.answers import find_prior_factors
from radiogal.cli import commands
from radiogal.config import ConfigError, Sky
from radiogal.engines import ask_ensemble
from radiogal.graphs import write_onnx
from radiogal.learning import (
    Labelled,
    Recipe,
    _build_own,
    _choose_field,
    _draw_measured,
    _find_seen_before,
    _open_network,
    _order_classes,
    _quote_reasons,
    _read_graph,
    export_model,
    finetune,
    read_labels,
)
from radiogal.models import build_network
from radiogal.packaging import write_models
from radiogal.preparation import Unusable
from radiogal.pretrained import UnknownModel, WrongModel, _prepare_any, load_model
from radiogal.provenance import sign
from radiogal.sharing import read_ccddata
from radiogal.similarity import _measure_features
from radiogal.sky import draw_population, observe, write_image
from radiogal.training import start_keras_once

SIDE, SMALLER = 64, 48  # Pixels
OWN = dict(FRI="dark edges", FRII="bright edges")


def write_start(folder):
    "A model as the package has them, of one small network that has learned nothing."
    start_keras_once(1)
    model = build_network("fields", SIDE, 4, seed=3)
    graph, buffer, rng = write_onnx(model), io.BytesIO(), np.random.default_rng(0)
    features = rng.random((12, 128)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    np.savez(buffer, features=features, median=0.5, scatter=0.1, trained_on=np.array([[10., 20.]]))
    made = dict(grid="pixels", image_size=SIDE)
    plain = dict(run="test", task="tiny", network="fields", classes=["FRI", "FRII", "Compact", "Bent"],
                 engine="onnxruntime", simulated=False, temperature=1.)
    member = dict(files="tiny-net", facts=dict(place="fold0/seed1", weights=hashlib.sha256(graph).hexdigest(),
                                               temperature=1., size=SIDE))
    facts = dict(description="tiny", survey="FIRST", field_pixels=SIDE, preparation=made, min_covered=0.9,
                 ensemble=plain, members=[member])
    write_models(folder, dict(tiny=facts), {"tiny-net.onnx": graph, "tiny-net.npz": buffer.getvalue(),
                                            "tiny.md": b"# tiny\n"})
    return folder


def write_images(folder, survey="FIRST", per_class=6, side=SIDE, seed=1):
    "Simulated images of FR I and FR II sources, and a table of their labels."
    sky = draw_population(Sky(sources_per_class=per_class, seed=seed), tuple(OWN), (survey,))
    known, rows = sky[sky["label"] != ""], []
    for i, source in enumerate(known):
        hdu = observe(known, survey, SkyCoord(source["ra"], source["dec"], unit="deg"), side, seed=[seed, i])
        path = write_image(folder/f"s{i:02}.fits", hdu)
        rows.append((path.name, OWN[source["label"]]))
    return pd.DataFrame(rows, columns=["file", "label"])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    "A start, images, and labels of all but the last; one image is smaller, one class has one member."
    place = tmp_path_factory.mktemp("own")
    write_start(place/"tiny")
    labels = write_images(place/"images")
    with fits.open(place/"images"/"s02.fits") as hdus: small = hdus[0].copy()
    margin = (SIDE - SMALLER)//2
    small.data = small.data[..., margin:-margin, margin:-margin]
    for axis in (1, 2): small.header[f"CRPIX{axis}"] -= margin
    small.writeto(place/"images"/"s02.fits", overwrite=True)
    (place/"images"/"broken.fits").write_bytes(b"SIMPLE  =  broken")
    labels.loc[len(labels) - 2, "label"] = "rare"
    extra = pd.DataFrame([("broken.fits", "dark edges"), ("lost", "dark edges"), ("s00.fits", "")],
                         columns=["file", "label"])
    pd.concat([labels[:-1], extra]).to_csv(place/"labels.csv", index=False)
    return place


@pytest.fixture(scope="module")
def made(place):
    read = read_labels(place/"labels.csv", place/"images")
    return read, finetune(place/"tiny", read.images, read.labels, place/"mine", recipe=Recipe("convolutions", 1, 2),
                          read=read)


def test_what_cannot_be_used_is_a_row_with_its_reason(made):
    read, own = made
    assert read.left_out.values.tolist() == [
        [13, "lost", "no image of this name: give its file or its path"],
        [14, "s00.fits", "no label: give it one"], [0, "s11.fits", "no label in the table: add a row"]]
    told = dict(zip(own.left_out.name, own.left_out.reason, strict=True))
    assert told["broken"].startswith("broken FITS header")
    assert told["s10"].startswith("class rare: 1 usable source in one patch of sky: two patches are needed")
    assert len(own.predictions) == len(read.images) - 2
    assert dict(zip(own.left_out.name, own.left_out.row, strict=True)) == {
        "broken": 12, "lost": 13, "s00.fits": 14, "s10": 11, "s11.fits": 0}
    assert "| no image of this name" in own.model.card and "| no label in the table" in own.model.card


def test_the_model_is_used_as_those_of_the_package(made, place):
    own = made[1]
    assert own.model.classes == ("bright edges", "dark edges") and own.model.name == "mine"
    said = CliRunner().invoke(commands, ["classify", str(place/"images"/"s00.fits"), "--model", str(place/"mine"),
                                         "--json"])
    assert said.exit_code == 0 and '"p_dark edges"' in said.stdout and "trained on it" in said.stdout
    rows = radiogal.classify([place/"images"/"s00.fits", place/"images"/"s02.fits"], place/"mine")
    assert set(rows["class"]) <= set(own.model.classes) and rows["state"].tolist() == ["ok", "ok"]
    assert "field of 1.4′, the network needs 1.9′" in rows["flags"][1]


def test_the_card_has_scores_with_intervals_and_what_was_left_out(made):
    card, scores = made[1].model.card, made[1].scores
    assert scores["accuracy"].str.fullmatch(r"0\.\d{3} \[[01]\.\d{3}, [01]\.\d{3}\]").all()
    assert scores["accuracy"].iloc[0] in card and "| class rare: 1 usable source" in card
    assert f"1 of {SMALLER} px" in card and "**simulated**" in card and "frozen while it was retrained: conv" in card


def test_each_source_is_judged_once_by_a_network_that_saw_nothing_of_its_patch_of_sky(made):
    table = made[1].predictions
    assert table["name"].is_unique and table.groupby("sky_group").fold.nunique().max() == 1
    for fold, member in enumerate(made[1].model.ensemble.members):
        assert len(member.trained_on) == (table.fold != fold).sum() + 1  # its start saw one


def test_what_any_network_before_it_was_trained_on_is_not_called_unseen(made, place):
    start, own = load_model(place/"tiny"), made[1].model
    for member in own.ensemble.members:
        assert (member.trained_on == start.ensemble.members[0].trained_on[0]).all(axis=1).any()
    known = SimpleNamespace(positions=start.ensemble.members[0].trained_on)
    assert _find_seen_before(own, 1, known).all()


def test_frozen_convolutions_see_what_they_saw(made, place):
    start, model = load_model(place/"tiny"), made[1].model
    image = _prepare_any(place/"images"/"s00.fits", model, "", model.config).image[None, ..., None]
    features = _measure_features(start, image)
    np.testing.assert_allclose(_measure_features(model, image), np.tile(features, 2)/np.sqrt(2), atol=1e-5)


def test_a_changed_file_and_another_version_are_refused(made, place, tmp_path):
    shutil.copytree(place/"mine", tmp_path/"mine")
    (tmp_path/"mine"/"mine-fold1.onnx").write_bytes(b"another network")
    with pytest.raises(WrongModel, match="mine-fold1.onnx has SHA-256 .* write it again with radiogal finetune"):
        load_model(tmp_path/"mine")
    listed = tmp_path/"mine"/"models.json"
    listed.write_text(listed.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(WrongModel, match="models of format 9, this version of radiogal reads 1"):
        load_model(tmp_path/"mine")


def test_a_model_of_a_survey_that_is_not_known_here_says_so(made, place, tmp_path):
    shutil.copytree(place/"mine", tmp_path/"mine")
    listed = json.loads((tmp_path/"mine"/"models.json").read_text())
    listed["models"]["mine"]["survey"] = "RACS"
    (tmp_path/"mine"/"models.json").write_text(json.dumps(sign({k: v for k, v in listed.items() if k != "digest"})))
    with pytest.raises(UnknownModel, match="mine is of the survey RACS, which is not known: name the TOML file"):
        load_model(tmp_path/"mine")


def test_an_own_model_of_a_packaged_ones_name_has_no_known_mix(made):
    ensemble = replace(made[1].model.ensemble, task="griese", classes=("FRI", "FRII", "Compact", "Bent"))
    with pytest.raises(ConfigError, match="the mix that mine was trained on is not known"):
        find_prior_factors(replace(made[1].model, ensemble=ensemble), "balanced")


def test_simulated_and_real_are_not_mixed(made, place):
    with pytest.raises(Unusable, match="simulated, and the network was trained on the real sky"):
        start = load_model(place/"tiny")
        _prepare_any(place/"images"/"s00.fits", start, "", start.config)


def ask_export(path, images):
    "What an exported model says of images, and what it says of itself."
    if path.suffix == ".onnx":
        import onnxruntime
        session = onnxruntime.InferenceSession(path)
        return session.run(None, dict(images=images))[0], session.get_modelmeta().custom_metadata_map
    import keras
    with zipfile.ZipFile(path) as packed: facts = json.loads(packed.read("radiogal.json"))
    return keras.models.load_model(path).predict(images, verbose=0), facts


@pytest.mark.parametrize(("name", "side", "suffix"), [
    ("mine", SIDE, ".onnx"), ("first-4class-single", 300, ".onnx"), ("first-fr", 101, ".onnx"),
    ("first-fr", 181, ".onnx"), ("mine", SIDE, ".keras"), ("first-4class-single", 281, ".keras"),
    ("first-fr", 181, ".keras")])
def test_an_export_answers_as_the_model(made, tmp_path, name, side, suffix):
    model, rng = made[1].model if name == "mine" else load_model(name), np.random.default_rng(1)
    smaller = model.config.preparation.model_copy(update=dict(image_size=side))  # than a network takes, or larger
    model = replace(model, config=model.config.model_copy(update=dict(preparation=smaller)))
    assert (model.ensemble.temperature is None) == (name == "mine")
    images = rng.random((3, side, side, 1)).astype(np.float32)**6
    said, facts = ask_export(export_model(model, tmp_path/f"model{suffix}"), images)
    np.testing.assert_allclose(said, ask_ensemble(model.ensemble, images).probabilities, atol=1e-5)
    if suffix == ".onnx":  # which keeps texts only
        assert facts["classes"] == ", ".join(model.classes) and facts["field_pixels"] == str(model.field_pixels)
        facts |= dict(classes=facts["classes"].split(", "), preparation=json.loads(facts["preparation"]))
    assert facts["classes"] == list(model.classes) and facts["survey"] == "FIRST"
    assert facts["preparation"]["image_size"] == side


def test_labels_of_any_words_break_no_table_of_a_card():
    left = pd.DataFrame(dict(reason=["labelled a|b and <i>c: decide", "gone", "gone"]))
    assert _quote_reasons(left).to_numpy().tolist() == [["gone", 2], [r"labelled a\|b and &lt;i&gt;c: decide", 1]]


def test_a_packaged_network_opened_for_training_answers_as_before():
    start, rng = load_model("first-4class-single"), np.random.default_rng(2)
    images = rng.random((2, 300, 300, 1)).astype(np.float32)**6
    _, logits = start.ensemble.members[0].ask(images)
    model = _open_network(start, 0, start.classes, images, 1)
    said = np.log(model.predict_on_batch(images))
    np.testing.assert_allclose(said - said[:, :1], logits - logits[:, :1], atol=1e-3)


def test_normalisations_are_measured_on_images_of_every_class():
    ordered = np.repeat([0, 1], 100)[:, None]  # one class after the other
    drawn = _draw_measured(ordered, 1)
    assert len(drawn) == 64 and 0.3 < drawn.mean() < 0.7 and (drawn == _draw_measured(ordered, 1)).all()
    assert len(_draw_measured(ordered[:5], 1)) == 5


def test_a_graph_of_other_layers_is_refused():
    start_keras_once(1)
    with pytest.raises(ConfigError, match="only networks of field convolutions"):
        _read_graph(write_onnx(build_network("mcrgnet", 32, 2)))


def test_labels_are_found_by_file_or_name_and_doubt_is_told(tmp_path):
    for name in ("a.fits", "b/c.fits", "d/c.fits"):
        (tmp_path/name).parent.mkdir(exist_ok=True)
        (tmp_path/name).write_bytes(b"")
    rows = [("a", "X"), ("a", "X"), ("c.fits", "X"), ("b/c.fits", "Y"), ("d/c.fits", "Y"), ("d/c.fits", "X")]
    pd.DataFrame(rows, columns=["Source", "Class"]).to_csv(tmp_path/"t.csv", index=False)
    with pytest.raises(ConfigError, match="t.csv: no column file or path or .*: there are Source, Class"):
        read_labels(tmp_path/"t.csv", tmp_path)
    read = read_labels(tmp_path/"t.csv", tmp_path, name="source")
    assert [path.relative_to(tmp_path).as_posix() for path in read.images] == ["a.fits", "b/c.fits"]
    assert dict(zip(read.left_out.row, read.left_out.reason, strict=True)) == {
        2: "in the table twice: used once", 3: "2 images of this name: give the file with its folder",
        5: "labelled X and Y: decide", 6: "labelled X and Y: decide"}
    (tmp_path/"empty").mkdir()
    with pytest.raises(ConfigError, match="empty: no FITS file in this folder"):
        read_labels(tmp_path/"t.csv", tmp_path/"empty")
    with pytest.raises(ConfigError, match="nix.csv: not a CSV table"): read_labels(tmp_path/"nix.csv", tmp_path)


@pytest.mark.parametrize(("text", "told"), [
    ("", "t.csv: not a CSV table: Could not determine"),
    ("file,label\ns#1.fits,X,\nb,Y,\n", [("s#1.fits", "X"), ("b.fits", "Y")]),
    ("file,label\nb,Y,Z\ns#1,X,\n", "t.csv: rows have more values than the heading has names"),
    ("file,label\nb,Y\ns#1,X,Z\n", "t.csv: not a CSV table: Expected 2 fields"),
    ("# mine\nfile,label\ns#1\nb,Y\n", [("b.fits", "Y")]),
    ("file,label\nb.fits,X\nb,Y\ns#1,X\n", [("s#1.fits", "X")])])
def test_tables_as_people_write_them_are_read_or_refused(text, told, tmp_path):
    for name in ("s#1.fits", "b.fits"): (tmp_path/name).write_bytes(b"")
    (tmp_path/"t.csv").write_text(text)
    if isinstance(told, str):
        with pytest.raises(ConfigError, match=told): read_labels(tmp_path/"t.csv", tmp_path)
        return
    read = read_labels(tmp_path/"t.csv", tmp_path)
    assert [(path.name, label) for path, label in zip(read.images, read.labels, strict=True)] == told
    assert len(read.rows) == len(told)


def test_an_image_is_found_by_its_path_and_none_outside_the_folder_but_by_a_whole_one(tmp_path):
    folder, elsewhere = tmp_path/"fits", tmp_path/"elsewhere.fits"
    for path in (folder/"a.fits", folder/"b"/"c.fits", elsewhere):
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"")
    names = ["./a.fits", str(folder/"b"/".."/"b"/"c.fits"), str(elsewhere), "../elsewhere.fits", "b/../a.fits",
             str(tmp_path/"nix.fits"), str(tmp_path), "/a\0.fits", f"/{'x'*300}.fits"]
    pd.DataFrame(dict(path=names, label="X")).to_csv(tmp_path/"t.csv", index=False)
    read = read_labels(tmp_path/"t.csv", folder)
    assert read.images == [folder/"a.fits", folder/"b"/"c.fits", elsewhere]
    assert {row: reason.split(":")[0] for row, _, reason in read.left_out.itertuples(index=False)} == {
        4: "no image of this name", 5: "in the table twice", 6: "no image of this name", 7: "no image of this name",
        8: "no image of this name", 9: "no image of this name"}


@pytest.mark.parametrize(("text", "told"), [
    ("file,label\nx,A\ny,B\n", "none of 2 rows has one label, and an image in .*fits: row 1, 'x': no image of this "
     "name: give its file or its path"),
    ("file,label\na,\nx,B\n", "none of 2 rows has one label.*row 1, 'a': no label: give it one"),
    ("file,label\na,A\na,B\n", "none of 2 rows has one label.*row 1, 'a': labelled A and B: decide"),
    ("file,label\n", "t.csv: no row below its heading")])
def test_a_table_of_which_no_row_can_be_used_says_why(text, told, tmp_path):
    (tmp_path/"fits").mkdir()
    (tmp_path/"fits"/"a.fits").write_bytes(b"")
    (tmp_path/"t.csv").write_text(text)
    with pytest.raises(ConfigError, match=f"t.csv: {told}" if told.startswith("none") else told):
        read_labels(tmp_path/"t.csv", tmp_path/"fits")


@pytest.mark.parametrize(("images", "labels", "message"), [
    (["s00", "s01"], ["A", "A"], "1 class that can be used, a classifier needs two: one label"),
    (["s00", "s01", "s02", "s03"], ["A", "B", "A", "B"], "none of 4 images can be used: of another kind"),
    (["s00", "s00", "s01", "s01"], ["A", "B", "A", "B"], "0 classes that can be used")])
def test_an_error_says_what_the_table_left_out_before(place, tmp_path, monkeypatch, images, labels, message):
    if "another kind" in message:
        def refuse(own, field): raise Unusable("of another kind")
        monkeypatch.setattr("radiogal.learning._prepare_own", refuse)
    left = pd.DataFrame([(7, "x", "no label: give it one"), (8, "y", "gone"), (9, "z", "gone")],
                        columns=["row", "name", "reason"])
    read = Labelled([place/"images"/f"{name}.fits" for name in images], labels, left, list(range(1, 1 + len(images))))
    with pytest.raises(ConfigError, match=f"{message}.*; the table left out: gone × 2; no label: give it one × 1"):
        finetune(place/"tiny", read.images, read.labels, tmp_path/"new", recipe=Recipe(n_folds=2), read=read)


@pytest.mark.parametrize("sides", [[48, 64], [64, 48], [64, 48, 48, 64]])
def test_of_sizes_as_common_the_larger_is_the_field_whatever_their_order(place, sides):
    own = [SimpleNamespace(side=side, hdu=SimpleNamespace(header=dict(SURVEY="FIRST"))) for side in sides]
    assert _choose_field(own, load_model(place/"tiny")).side == 64
    assert _choose_field([*own, own[sides.index(48)]], load_model(place/"tiny")).side == 48


def test_images_of_one_source_with_different_labels_are_left_out(place, tmp_path):
    images = sorted((place/"images").glob("s0*.fits"))
    copied = shutil.copy(images[0], tmp_path/"copy.fits")
    labels = [OWN["FRI" if i % 2 else "FRII"] for i in range(len(images))]
    own = _build_own([*images, copied], [*labels, OWN["FRI"]], load_model(place/"tiny"), "", Recipe(n_folds=2))
    assert own.left_out.reason.tolist() == [
        "images within 30 arcsec are labelled bright edges and dark edges: decide"]*2
    assert own.left_out.name.tolist() == ["s00", "copy"]


def test_ccddata_is_learned_from(place):
    images = [read_ccddata(place/"images"/f"s0{i}.fits") for i in range(4)]
    own = _build_own(images, ["X", "X", "Y", "Y"], load_model(place/"tiny"), "", Recipe(n_folds=2))
    assert len(own.sources) == 4 and own.sources.simulated and not len(own.left_out)


def test_names_of_images_in_several_folders_differ(place, tmp_path):
    images = []
    for i, name in enumerate(["a", "a", "a (2)", "b"]):
        (tmp_path/str(i)).mkdir()
        images.append(shutil.copy(place/"images"/f"s0{i}.fits", tmp_path/str(i)/f"{name}.fits"))
    own = _build_own(images, ["X", "X", "Y", "Y"], load_model(place/"tiny"), "", Recipe(n_folds=2))
    assert sorted(own.sources.names) == ["a", "a (2)", "a (2) (2)", "b"]


@pytest.mark.parametrize(("change", "message"), [
    (dict(labels=["A", float("nan")]*6), "6 of 12 have no label, first image 2: leave them out"),
    (dict(labels=["A"]), "12 images and 1 labels: one of each"),
    (dict(labels=["A"]*12), "1 class that can be used, a classifier needs two: one label"),
    (dict(labels=["A", "<b>"]*6), "class '<b>': a name has at most 30 letters"),
    (dict(labels=["A"]*11 + ["B"]), "1 class that can be used, a classifier needs two: class B: 1 usable source"),
    (dict(recipe=Recipe("conv99", 1, 2)), "no depth named 'conv99' in fields: those that exist are nothing, conv1"),
    (dict(recipe=Recipe("everything")), "nothing would be learned"),
    (dict(recipe=Recipe(n_folds=1)), "folds = 1: at least 2"),
    (dict(recipe=Recipe(epochs=0)), "epochs = 0: at least 1"),
    (dict(survey="VLASS"), "none of 12 images can be used"),
    (dict(survey="WSRT"), "survey WSRT: allowed are FIRST"),
    (dict(model="nix"), "no model 'nix'"),
    (dict(out="images"), "images is not empty, and holds no model: choose another folder"),
    (dict(out="my model"), "folder of a model 'my model': a name is made of letters"),
])
def test_what_cannot_be_learned_is_refused_in_a_sentence(place, change, message):
    images = [place/"images"/f"s{i:02}.fits" for i in range(12)]
    given = dict(model=place/"tiny", images=images, labels=["A", "B"]*6, out="new") | change
    with pytest.raises(ConfigError, match=message): finetune(**given | dict(out=place/given["out"]))
    assert not (place/"new").exists()


def test_images_of_another_survey_are_left_out(place, tmp_path):
    from radiogal.learning import _read_all
    write_images(tmp_path, "VLASS", per_class=1, side=SIDE)
    read, reasons = _read_all([*(place/"images").glob("s0[0-3].fits"), tmp_path/"s00.fits"], "")
    assert [own is None for own in read] == [False]*4 + [True]
    assert reasons == {4: "of VLASS, the others are of FIRST"}


def test_anything_with_an_image_or_a_position_is_classified(place, tmp_path):
    images, tiny = place/"images", place/"mine"
    with fits.open(images/"s01.fits") as hdus:
        rows = radiogal.classify([images/"s00.fits", hdus, hdus[0], 7, tmp_path/"nix.fits"], tiny)
    assert rows["state"].tolist() == ["ok"]*3 + ["reject"]*2 and rows["ra"].unit == "deg"
    assert rows["reason"][3] == "a int is no image, position, table or name"
    place_of = SkyCoord(rows["ra"][:2], rows["dec"][:2])
    table = Table(dict(name=["one", "two"], pos=place_of))
    asked = dict(model=tiny, images=images, min_covered=0.5)
    for several in (place_of, table, Table(dict(ra=rows["ra"][:2], dec=rows["dec"][:2])).to_pandas()):
        answers = radiogal.classify(several, **asked)
        assert answers["state"].tolist() == ["ok", "ok"], answers["reason"].tolist()
    assert radiogal.classify(table, **asked)["name"].tolist() == ["one", "two"]
    assert len(radiogal.classify([], tiny)) == 0
    assert radiogal.classify(images/"s00.fits", load_model(tiny))["class"][0] == rows["class"][0]
    dated = Table(dict(ra=rows["ra"][:2], dec=rows["dec"][:2])).to_pandas()
    dated["seen"], dated["more"] = pd.to_datetime(["2020-01-01", "2021-01-01"]), [None, {}]
    assert radiogal.classify(dated, **asked)["state"].tolist() == ["ok", "ok"]
    mixed = Table(dict(name=np.array(["one", "two"], object), ra=rows["ra"][:2], dec=rows["dec"][:2]))
    mixed["more"] = np.array([{}, 3], object)
    assert radiogal.classify(mixed, **asked)["name"].tolist() == ["one", "two"]
    with pytest.raises(AttributeError, match="no attribute 'nix'"): radiogal.nix()


def test_the_command_says_what_was_learned_from_and_ends_in_three_where_something_was_not(made, place, monkeypatch):
    from radiogal import answers, learning
    asked = []
    monkeypatch.setattr(answers, "name_survey", lambda said: {"own.toml": "NVSS"}[said])
    monkeypatch.setattr(learning, "finetune", lambda *given: asked.append(given) or made[1])
    said = CliRunner().invoke(commands, ["finetune", str(place/"labels.csv"), "--images", str(place/"images"), "--out",
                                         str(place/"mine"), "--frozen", "conv2", "--folds", "3", "--survey",
                                         "own.toml"])
    assert said.exit_code == 3 and "out of fold" in said.stdout and made[1].scores["accuracy"].iloc[0] in said.stdout
    assert f"{len(made[1].predictions)} of {len(made[0].images) + 3} learned from" in said.stderr
    assert f"(rows are counted from 1 below the heading), is in {place/'mine'/'mine-left-out.csv'}\n" in said.stderr
    kept = pd.read_csv(place/"mine"/"mine-left-out.csv", keep_default_na=False)
    assert kept.values.tolist() == made[1].left_out.values.tolist()
    assert asked[0][0] == "first-4class" and asked[0][5] == Recipe("conv2", 20, 3, 1)
    assert asked[0][4] == "NVSS" and len(asked[0][6].rows) == len(made[0].images)
    assert CliRunner().invoke(commands, ["finetune", "labels.csv"]).exit_code == 2
    lost = CliRunner().invoke(commands, ["finetune", "nix.csv", "--images", str(place/"images"), "--out", "x"])
    assert lost.exit_code == 1 and "nix.csv: not a CSV table" in lost.output


def test_a_model_is_exported_by_the_command(made, place, tmp_path):
    said = CliRunner().invoke(commands, ["models", str(place/"mine"), "--export", str(tmp_path/"mine.onnx")])
    assert said.exit_code == 0 and (tmp_path/"mine.onnx").stat().st_size > 1e5
    wrong = CliRunner().invoke(commands, ["models", str(place/"mine"), "--export", str(tmp_path/"mine.h5")])
    assert wrong.exit_code == 1 and "mine.h5: a model is exported as .onnx or .keras" in wrong.output
    assert CliRunner().invoke(commands, ["models", "--export", "mine.onnx"]).exit_code == 2
    assert "## Scores" in CliRunner().invoke(commands, ["models", str(place/"mine")]).output


def test_classes_that_the_start_knows_keep_its_order_and_its_last_layer():
    start = load_model("first-4class-single")
    assert _order_classes(["new", "Bent", "FRI", "Bent"], start) == ("FRI", "Bent", "new")
    model = _open_network(start, 0, ("FRI", "Bent", "new"), np.empty((0,)), 1)
    images = np.random.default_rng(3).random((2, 300, 300, 1)).astype(np.float32)**6
    _, logits = start.ensemble.members[0].ask(images)
    said = np.log(model.predict_on_batch(images))
    np.testing.assert_allclose(said[:, 1] - said[:, 0], logits[:, 3] - logits[:, 0], atol=1e-3)
