"Kept networks become files of the package, and the package is enough: without a clone, a network or the other extras."
import importlib.metadata
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from test_offline import BRING_UP, WITHOUT_NETWORK, can

from radiogal import packaging
from radiogal.config import ConfigError, read_config, write_json
from radiogal.datasets import sample_set, write_prepared
from radiogal.engines import ask_ensemble, list_members, open_ensemble, write_untrained
from radiogal.evaluation import average_predictions, score_predictions
from radiogal.packaging import (
    _PROPERTY,
    _answer_heldout,
    _ask_unseen,
    _judge_unseen,
    _list_old,
    _name_unknown,
    _Plan,
    _Said,
    _tabulate_card_scores,
    _take_columns,
    pack_models,
)
from radiogal.pretrained import _open_packed, load_model

WHEEL_BYTES, INSTALLED_BYTES = 8_000_000, 700_000_000


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    "A project with two kept networks of the smoke run, and the images that they belong to."
    root = tmp_path_factory.mktemp("kept")
    shutil.copytree(ROOT/"config", root/"config")
    sources = sample_set(read_config(root/"config"/"smoke.toml"), "FIRST")
    write_prepared(sources, root/"results"/"smoke"/"preparation"/"FIRST"/"prepared.h5")
    write_untrained(root/"docs"/"results"/"smoke"/"training"/"FIRST"/"mcrgnet", sources, "FIRST", "mcrgnet")
    return root, sources


@pytest.fixture
def planned(kept, monkeypatch):
    "That project as the one worked in, with three models planned."
    monkeypatch.chdir(kept[0])
    monkeypatch.setenv("RADIOGAL_HOME", str(kept[0]))
    plans = dict(both=_Plan("FIRST", "mcrgnet", False, "two networks"), one=_Plan("FIRST", "mcrgnet", True, "the best"),
                 other=_Plan("FIRST", "alhassan", False, "none is kept"))
    monkeypatch.setattr(packaging, "_PLANS", plans)
    return kept


@pytest.mark.full
def test_packed_networks_answer_as_the_kept_ones_and_bytes_are_the_same_again(planned, tmp_path):
    root, sources = planned
    told = pack_models("smoke", tmp_path/"a")
    assert told["left_out"].tolist() == ["", "", "no weights of alhassan of task FIRST are kept"]
    (tmp_path/"b").mkdir()
    (tmp_path/"b"/"old.onnx").write_bytes(b"of an older run")
    (tmp_path/"b"/"mine.txt").write_text("of somebody else")
    write_json(tmp_path/"b"/"models.json", dict(files={"old.onnx": "", "one.md": ""}))
    pack_models("smoke", tmp_path/"b")
    assert (tmp_path/"b"/"mine.txt").read_text() == "of somebody else"
    (tmp_path/"b"/"mine.txt").unlink()
    assert {p.name: p.read_bytes() for p in (tmp_path/"a").iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path/"b").iterdir()}
    packed = _open_packed(tmp_path/"a", "both")
    folders = list_members(root/"docs"/"results"/"smoke", "FIRST", "mcrgnet")
    expected = ask_ensemble(open_ensemble("smoke", folders, sources, tmp_path/"engines", "onnxruntime"), sources.images)
    said = ask_ensemble(packed.ensemble, sources.images)
    np.testing.assert_allclose(said.probabilities, expected.probabilities, atol=1e-5)
    np.testing.assert_allclose(said.ood_score, expected.ood_score, atol=0.02)
    assert len(_open_packed(tmp_path/"a", "one").ensemble.members) == 1
    assert packed.ensemble.identity != _open_packed(tmp_path/"a", "one").ensemble.identity


@pytest.mark.full
def test_what_lacks_for_packing_is_named(planned, monkeypatch, tmp_path):
    root, _ = planned
    with pytest.raises(ConfigError, match="no weights of run demo are kept in .*demo"): pack_models("demo", tmp_path)
    images = root/"results"/"smoke"/"preparation"
    images.rename(root/"elsewhere")
    try:
        with pytest.raises(ConfigError, match="no prepared images .*FIRST: make prepare RUN=smoke"):
            pack_models("smoke", tmp_path)
    finally: (root/"elsewhere").rename(images)


def test_only_files_that_an_older_list_names_are_removed(tmp_path):
    folder = tmp_path/"networks"
    assert _list_old(folder) == set()
    write_json(folder/"models.json", dict(files={"old.onnx": "", "../mine.txt": "", str(tmp_path/"mine.txt"): ""}))
    assert _list_old(folder) == {folder/"old.onnx"}
    (folder/"models.json").write_text("{")
    assert _list_old(folder) == set()


def predict(seed, sharp):
    "What a network may say of 200 sources."
    names = np.array([f"s{i}" for i in range(200)])
    label = np.arange(200)%2
    p = 1/(1 + np.exp(-sharp*(2*label - 1 + np.random.default_rng(seed).normal(0, 1.5, 200))))
    return pd.DataFrame(dict(name=names, label=np.array(["FRI", "FRII"])[label], sky_group=np.arange(200)//4,
                             p_FRI=1 - p, p_FRII=p))


def test_a_card_scores_the_answers_that_a_user_gets():
    one = _Said([predict(0, 1)], [predict(1, 1)], [0.6], 2., [])
    held = _tabulate_card_scores(one).iloc[1]
    assert held["after"] == f"{score_predictions(_answer_heldout(one))['ece']:.3f}"
    assert held["after"] != f"{score_predictions(_answer_heldout(one._replace(together=None)))['ece']:.3f}"
    five = _Said([predict(k, 3) for k in range(5)], [predict(k, 3) for k in range(5, 10)], [.05, 20., 1., 1., 1.], None,
                 [])
    plain, given = average_predictions(five.heldout), _answer_heldout(five)
    assert (plain["p_FRI"] > 0.5).ne(given["p_FRI"] > 0.5).any()
    both = _tabulate_card_scores(five).set_index(["split", "of"]).loc[("held-out", "all together")]
    assert both["accuracy"].startswith(f"{score_predictions(given)['accuracy']:.3f} ")
    assert both["accuracy"][:5] != f"{score_predictions(plain)['accuracy']:.3f}"
    assert both["calibration error"] == f"{score_predictions(plain)['ece']:.3f}"
    assert both["after"] == f"{score_predictions(given)['ece']:.3f}"


def test_the_row_of_sources_whose_property_is_not_known_says_so_in_words():
    rows = pd.DataFrame(dict(property="Redshift", low=[0.1, np.nan], high=[0.2, np.nan], n=[1200, 3], accuracy=0.5,
                             accuracy_low=0.25, accuracy_high=0.75))
    first, last = _take_columns(_name_unknown(rows), _PROPERTY).splitlines()[2:]
    assert [cell.strip() for cell in first.split("|")[1:5]] == ["Redshift", "0.100", "0.200", "1,200"]
    assert [cell.strip() for cell in last.split("|")[1:5]] == ["Redshift not known", "", "", "3"]


@pytest.fixture
def elsewhere(monkeypatch):
    "A plan, its model, and a set whose last source is in an image of the model's own task, as the one before is not."
    config, model = read_config(ROOT/"config"/"smoke.toml"), load_model("first-fr")
    sources = replace(sample_set(config, "FIRST"), pixel_arcsec=1.8)  # the diagonal of 150 of them is 6.36 arcmin
    sources.positions[:] = np.stack([np.arange(len(sources)), np.full(len(sources), 40.)], axis=1)
    sources.positions[-2:] = [[10 + arcmin/60/np.cos(np.radians(10)), 10] for arcmin in (6.45, 6.3)]
    facts = pd.DataFrame(dict(label=[sources.classes[k] for k in sources.labels], sky_group=np.arange(len(sources))//2,
                              catalogue=["seen"] + ["new"]*(len(sources) - 1)), index=sources.names)
    monkeypatch.setattr(packaging, "_open_sources", lambda *_: sources)
    monkeypatch.setattr(packaging, "read_facts", lambda _: facts)
    plan = _Plan("FIRST", "fields", True, "", "FIRST", ("new",))
    return plan, model.ensemble, sources, config, np.array([[10., 10.]])


def test_unseen_sources_are_of_other_catalogues_and_in_no_image_of_the_model(elsewhere):
    plan, ensemble, sources, config, positions = elsewhere
    asked = _ask_unseen(Path(), config, plan, ensemble, positions)
    assert asked["name"].tolist() == list(sources.names[1:-1])
    middle = sources.images[1:-1]/sources.images[1:-1].max(axis=(1, 2), keepdims=True)
    given = ask_ensemble(ensemble, middle).probabilities
    np.testing.assert_allclose(asked[["p_FRI", "p_FRII"]], given, atol=1e-6)
    told = _judge_unseen(asked.assign(catalogue=["a"]*3 + ["b"]*(len(asked) - 3)))
    assert told["catalogue"].tolist() == ["b", "a"] and told["n"].tolist() == [len(asked) - 3, 3]
    right = asked.loc[:2, ["p_FRI", "p_FRII"]].idxmax(axis=1).str[2:] == asked.loc[:2, "label"]
    assert told["accuracy"].iloc[1] == pytest.approx(right.mean())
    assert told["guess"].iloc[1] == pytest.approx(max((asked.loc[:2, "label"] == c).mean() for c in sources.classes))


def test_entropy_that_tells_wrong_from_right_has_an_area_of_one_and_no_mistake_none():
    p = np.array([0.9, 0.8, 0.95, 0.6])
    asked = pd.DataFrame(dict(name=list("abcd"), label=["FRI", "FRI", "FRI", "FRII"], sky_group=range(4), p_FRI=p,
                              p_FRII=1 - p, catalogue="x"))
    told = _judge_unseen(asked).iloc[0]
    assert (told["n"], told["guess"], told["accuracy"], told["entropy_area"]) == (4, 0.75, 0.75, 1)
    assert told["ece"] == pytest.approx((0.1 + 0.2 + 0.05 + 0.6)/4)
    assert pd.isna(_judge_unseen(asked[:3])["entropy_area"].iloc[0])


def test_unseen_sources_of_other_classes_are_an_error_and_none_planned_is_no_row(elsewhere, monkeypatch):
    plan, ensemble, sources, config, positions = elsewhere
    assert _judge_unseen(_ask_unseen(Path(), config, plan._replace(unseen=()), ensemble, positions)).empty
    with pytest.raises(ConfigError, match="FIRST has no source of gone outside the images of FIRST"):
        _ask_unseen(Path(), config, plan._replace(unseen=("new", "gone")), ensemble, positions)
    monkeypatch.setattr(packaging, "_open_sources", lambda *_: replace(sources, classes=("FRII", "FRI")))
    with pytest.raises(ConfigError, match=r"FIRST has the classes .'FRII', 'FRI'., FIRST has .'FRI', 'FRII'."):
        _ask_unseen(Path(), config, plan, ensemble, positions)


def test_images_of_unseen_sources_that_are_not_prepared_are_named(tmp_path):
    model, config = load_model("first-fr"), read_config(ROOT/"config"/"smoke.toml")
    plan = _Plan("FIRST", "fields", True, "", "VLASS", ("new",))
    with pytest.raises(ConfigError, match="no prepared images .*VLASS: make prepare RUN=smoke"):
        _ask_unseen(tmp_path/"smoke", config, plan, model.ensemble, np.zeros((1, 2)))


def test_the_network_that_did_not_see_a_catalogue_says_how_it_does_there():
    first, second = load_model("first-fr").card.split("What to expect of sources")[1].split("\n\n")[1].splitlines()[2:]
    name, n, guess, accuracy, *_, error, _, area, _ = (cell.strip() for cell in first.split("|")[1:])
    assert name == "MiraBest" and int(n) > 500 and float(guess) < 0.7
    assert float(accuracy) >= 0.85 and float(error) <= 0.05
    assert float(area) >= 0.75 and "Capetti2017b" in second


@pytest.mark.parametrize("name", ["first-fr", "nvss-fr"])
def test_a_card_says_of_which_networks_its_scores_by_property_are(name):
    card = load_model(name).card
    assert "in parts of equal number" in card and "these are the scores of five networks, of which this is one" in card
    assert "Redshift not known" in card and "nan" not in card and "thirds" not in card


def list_needed(requirements):
    "Names of all distributions that some requirements lead to."
    needed, waiting = {}, [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        marked = wanted.marker is None or any(wanted.marker.evaluate(dict(extra=e)) for e in ("", *wanted.extras))
        if not marked or (wanted.name, *sorted(wanted.extras)) in needed: continue
        try: found = importlib.metadata.distribution(wanted.name)
        except importlib.metadata.PackageNotFoundError: continue  # asked for and used by nothing, see pyproject.toml
        needed[(wanted.name, *sorted(wanted.extras))] = found
        for text in found.requires or ():
            inner = Requirement(text)
            if inner.marker is None or any(inner.marker.evaluate(dict(extra=e)) for e in ("", *wanted.extras)):
                inner.marker = None
                waiting.append(inner)
    return {found.name: found for found in needed.values()}


def link_packages(site, wheel):
    "A folder of packages with the wheel's content and links to no more than it requires; their size in bytes."
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        told = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        asked = re.findall(r"^Requires-Dist: (.+)$", archive.read(told).decode(), re.MULTILINE)
    needed = list_needed(text for text in asked if "extra ==" not in text)
    files = [file for found in needed.values() for file in found.files or () if ".." not in file.parts
             and file.suffix != ".pyc"]
    for top in {file.parts[0]: file.locate().parents[len(file.parts) - 2] if len(file.parts) > 1 else file.locate()
                for file in files}.values():
        if not (site/top.name).exists(): (site/top.name).symlink_to(top)
    return sum(p.stat().st_size for file in files if (p := Path(file.locate())).is_file()), set(needed)


ALONE = """
import sys
from importlib.resources import files
from pathlib import Path
import radiogal
from radiogal.config import NoClone, Paths, find_root, read_config
from radiogal.engines import count_neighbours
from radiogal.pretrained import classify, list_models
from radiogal.scraping import find_home, fetch_cutouts
assert Path(radiogal.__file__).is_relative_to(sys.argv[1]), radiogal.__file__
asked = [Path(name) for name in sys.argv[2:]] + sorted((files("radiogal")/"samples").glob("*/*.fits"))
rows = classify(asked)
print(*rows["name", "class", "flags", "reason"], sep="\\n")
assert set(rows["state"]) == {"ok"}
try: find_root()
except NoClone as e: print(e)
assert find_home() == Path.home()/".local"/"share"/"radiogal"
assert read_config(Paths(find_home()).settings("benchmark")).kind == "real"
assert "size : u.arcmin\\n        Side of a cutout" in fetch_cutouts.__doc__, fetch_cutouts.__doc__
print("heavy:", [m for m in ("tensorflow", "keras", "sklearn", "onnx", "matplotlib.pyplot") if m in sys.modules])
"""


COMMANDS = """
import json
import sys
from radiogal.cli import main
wide, small, nvss, vlass, folder = sys.argv[2:]
for asked in (["classify", wide], ["classify", small], ["classify", small, "--model", "first-fr"],
              ["classify", nvss], ["classify", vlass], ["classify", nvss, "--model", "nvss-fr"], ["models"],
              ["cutout", "13 52 14.56 +12 34 01.7", "--images", folder, "--size", "4"], ["doctor"]):
    print("<<<", *asked)
    print("status", main([*asked, "--json"] if asked[0] == "classify" else asked), flush=True)
"""


def run_alone(site, folder, *images, code=ALONE):
    "What a Python says that has the wheel and what it requires, in an empty folder, without a network."
    home = folder/"home"
    home.mkdir()
    program = folder/"alone.py"
    program.write_text(f"import sys; sys.path.insert(0, {str(site)!r})\n" + code)
    command = [sys._base_executable, "-I", "-S", program, site, *images]
    alone = (*WITHOUT_NETWORK, "sh", "-c", BRING_UP, "sh")
    env = dict(HOME=str(home), PATH="/usr/bin:/bin", PYTHONDONTWRITEBYTECODE="1")
    return subprocess.run([*alone, *command] if can(*alone, "true") else command, cwd=home, env=env, text=True,
                          capture_output=True)


@pytest.mark.full
def test_the_wheel_is_enough_without_clone_network_or_extras(wheel, tmp_path):
    site = tmp_path/"site"
    assert wheel.stat().st_size < WHEEL_BYTES
    size, needed = link_packages(site, wheel)
    assert size < INSTALLED_BYTES
    assert not needed & {"tensorflow", "tensorflow_cpu", "keras", "scikit-learn", "papermill", "snakemake", "onnx"}
    done = run_alone(site, tmp_path)
    assert not done.returncode, done.stderr[-3000:]
    assert "heavy: []" in done.stdout and "the network needs 9.0′" in done.stdout and "this is NVSS" in done.stdout
    assert "no radiogal project at" in done.stdout and "need a clone" in done.stdout


def test_the_wheel_alone_answers_on_real_images(wheel, tmp_path, mirror):
    link_packages(tmp_path/"site", wheel)
    places = ("fmporter/MiraBest/*/FITS", "HongmingTang060313/*/*/2_Source_raw_fits_image/FIRST")
    images = [sorted(mirror.glob(f"raw.githubusercontent.com/{place}/*.fits"))[0] for place in places]
    done = run_alone(tmp_path/"site", tmp_path, *images)
    assert not done.returncode, done.stderr[-3000:]
    assert done.stdout.count("the network needs 9.0′") == 2  # FRDEEP's image and the sample


def test_the_commands_of_the_wheel_alone_answer_on_real_images(wheel, tmp_path, mirror):
    samples = mirror.parent/"fits_samples"
    if not samples.is_dir(): pytest.skip("no samples of NVSS and VLASS beside the mirror")
    link_packages(tmp_path/"site", wheel)
    places = ("fmporter/MiraBest/*/FITS", "HongmingTang060313/*/*/2_Source_raw_fits_image/FIRST")
    images = [sorted(mirror.glob(f"raw.githubusercontent.com/{place}/*.fits"))[0] for place in places]
    images += [next(samples.glob(f"{name}*.fits")) for name in ("NVSS_J001357", "VLASS__3.1")]
    done = run_alone(tmp_path/"site", tmp_path, *images, tmp_path/"site"/"radiogal"/"samples", code=COMMANDS)
    assert not done.returncode, done.stderr[-3000:]
    wide, small, fitting, nvss, vlass, own, models, cut, doctor = done.stdout.split("<<< ")[1:]
    ended = ["\nstatus 0\n" in said for said in (wide, small, fitting, nvss, vlass, own, models, cut)]
    assert all(ended), (ended, done.stderr[-3000:])
    assert "the network needs" not in wide + fitting + own and "field of 4.5′, the network needs 9.0′" in small
    assert "trained on FIRST, this is NVSS" in nvss and "trained on FIRST" not in own
    assert "trained on FIRST, this is VLASS; smoothed from" in vlass and "field of 4.0′" in vlass
    assert ".fits" in cut and "problem" in doctor and "Traceback" not in done.stderr
