"What a prepared set, its file, and the tables that it is made from are refused for. Simulated."
import zipfile
from dataclasses import replace

import h5py
import numpy as np
import pytest
from astropy import units as u
from conftest import ROOT

from radiogal.config import read_config
from radiogal.datasets import (
    _ArchiveError,
    _check_leaks,
    _prepare_survey,
    _PreparedError,
    _read_griese,
    make_sample,
    read_prepared,
    sample_set,
    write_prepared,
)

SMOKE = read_config(ROOT/"config"/"smoke.toml")


@pytest.fixture(scope="module")
def sample():
    return sample_set(SMOKE, "FIRST")


@pytest.fixture(scope="module")
def parts():
    "Targets, cutouts and decisions, and how an image is read."
    return make_sample(SMOKE, "FIRST")


@pytest.mark.parametrize("change, message", [
    (lambda s: dict(images=s.images*np.float32(1.5)), "its image has values outside 0–1"),
    (lambda s: dict(images=s.images[1:]), "images has .* rows for .* names"),
    (lambda s: dict(images=s.images.astype(float)), "images are float64"),
    (lambda s: dict(labels=s.labels*2), "its label is none of the 2 classes"),
    (lambda s: dict(beams=s.beams[:, :2]), "beams are .*, not "),
    (lambda s: dict(names=np.repeat("S", len(s))), "S: named .* times")])
def test_an_invalid_set_is_refused(sample, change, message):
    fields = {key: getattr(sample, key) for key in sample.__dataclass_fields__}
    with pytest.raises(ValueError, match=message): type(sample)(**fields | change(sample))


def relink(f): del f["rms"]; f["rms"] = h5py.ExternalLink("prepared.h5", "rms")
def put_objects(f): n = len(f["rms"]); del f["rms"]; f.create_dataset("rms", data=[b"a"]*n, dtype=h5py.string_dtype())
def move_source(f): f["positions"][3, 0] += 1e-9


@pytest.mark.parametrize("change, message", [
    (lambda f: f.pop("folds"), "no data set 'folds'"), (relink, "no data set 'rms'"),
    (put_objects, "'rms' holds object objects"), (move_source, "damaged one: its content is not what was written")])
def test_a_changed_file_is_refused(sample, tmp_path, change, message):
    path = write_prepared(sample, tmp_path/"prepared.h5")
    with h5py.File(path, "r+") as f: change(f)
    with pytest.raises(_PreparedError, match=message): read_prepared(path)


@pytest.mark.parametrize("content, message", [(None, "not a prepared set"), (b"<html>", "file signature not found")])
def test_another_file_is_refused(sample, tmp_path, content, message):
    path = write_prepared(sample, tmp_path/"prepared.h5")
    path.write_bytes(path.read_bytes()[:1000] if content is None else content)
    with pytest.raises(_PreparedError, match=message): read_prepared(path)
    path.unlink()
    with pytest.raises(FileNotFoundError): read_prepared(path)


def change_label(targets, label, rows):
    targets = targets.copy()
    targets["label"][rows] = label
    return targets


def call_real(targets):
    targets = targets.copy()
    targets.meta["SIMULATE"] = False
    return targets


@pytest.mark.parametrize("change, message", [
    (lambda t, c, d: (t, c[[0, *range(len(c))]], d), "cutouts: a name occurs twice"),
    (lambda t, c, d: (t[[0, *range(len(t))]], c, d), "targets: named more than once"),
    (lambda t, c, d: (change_label(t, "FRI", slice(None)), c, d), "class FRII: 0 targets"),
    (lambda t, c, d: (call_real(t), c, d), "SIMULATE = False in a run of kind 'demo'")])
def test_tables_that_do_not_belong_together_are_refused(parts, change, message):
    *tables, read = parts
    with pytest.raises(ValueError, match=message): _prepare_survey(*change(*tables), read, SMOKE, "FIRST")


def test_a_target_without_a_label_is_in_quarantine(parts):
    targets, *rest = parts
    prepared, quarantine = _prepare_survey(change_label(targets, "", 3), *rest, SMOKE, "FIRST")
    assert list(quarantine["name", "reason"].iterrows()) == [(targets["name"][3], "no label among the run's classes")]
    assert targets["name"][3] not in prepared.names


def write_archive(path, member="galaxies.h5", label=1.):
    "One image in the published form of Griese et al. (2023)."
    with h5py.File(path.with_suffix(".h5"), "w") as f:
        image = f.create_group("data_0")
        image["Img"], image["Label_literature"], image["Split_literature"] = np.ones((300, 300), "u1"), label, "train"
        image["Img"].attrs.update(RA=10., DEC=20., Source="made")
    with zipfile.ZipFile(path, "w") as archive: archive.write(path.with_suffix(".h5"), member)
    return path


@pytest.mark.parametrize("how, message", [
    (dict(member="../galaxies.h5"), "a member named '../galaxies.h5'"), (dict(member="galaxies.txt"), "0 members end"),
    (dict(label=7.), "label 7 or split")])
def test_an_archive_of_another_form_is_refused(how, message, tmp_path):
    with pytest.raises(_ArchiveError, match=message): _read_griese(write_archive(tmp_path/"one.zip", **how))


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path/"page.zip").write_text("<html>")
    with pytest.raises(_ArchiveError, match="not a zip file"): _read_griese(tmp_path/"page.zip")


def test_folds_that_share_pixels_are_refused(sample):
    _check_leaks(sample, 2.5*u.arcmin)
    near = replace(sample, positions=np.tile([10., 20.], (len(sample), 1)))
    with pytest.raises(ValueError, match="FIRST: .* pairs of sources in different folds share pixels, such as J"):
        _check_leaks(near, 2.5*u.arcmin)
