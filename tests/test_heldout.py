"Held-out files as they will come: here training files play their part, under the others' names in the registry."
import csv
import hashlib
from dataclasses import replace

import numpy as np
import pytest

from radiogal import catalogues, fetch
from radiogal.catalogues import CATALOGUES
from radiogal.config import read_config
from radiogal.datasets import _read_held
from radiogal.fetch import Fetcher, Manifest, read_registry, registry_hosts, select_files, url_to_path
from radiogal.preparation import prepare_image, read_image

N = CATALOGUES["frdeep-test"].n_rows


def stand_in(held, sources, names):
    "The training file that plays a held-out one."
    if held.dataset == "griese": return sources["FIRST", "fold0", ""]
    return sources[held.survey, "train", next(names[held.survey])]


@pytest.fixture
def mirror(mirror, tmp_path, monkeypatch):
    "A mirror with held-out files, made of a table's first rows, their images and a fold's zip; and the registry of it."
    real, known = mirror, read_registry()
    head, *rows = csv.reader((real/url_to_path(select_files("frdeep", "", "train")[0].url)).read_text().splitlines())
    names = [row[head.index("Object_ID")] for row in rows[:N]]
    sources = {(f.survey, f.split, f.object): f for f in known}
    images = {survey: iter(names) for survey in ("FIRST", "NVSS")}
    registry = [f for f in known if f.split != "test"]
    for f in (f for f in known if f.split == "test"):
        place = tmp_path/url_to_path(f.url)
        place.parent.mkdir(parents=True, exist_ok=True)
        if f.survey:
            source = stand_in(f, sources, images)
            place.symlink_to(real/url_to_path(source.url))
            registry.append(replace(f, object=source.object, n_bytes=source.n_bytes, sha256=source.sha256))
        else:
            with open(place, "w", newline="") as out: csv.writer(out).writerows([head, *rows[:N]])
            content = place.read_bytes()
            registry.append(replace(f, n_bytes=len(content), sha256=hashlib.sha256(content).hexdigest()))
    for module in (fetch, catalogues): monkeypatch.setattr(module, "read_registry", lambda: tuple(registry))
    monkeypatch.setenv("RADIOGAL_MIRROR", str(tmp_path))
    return tmp_path, names


def hold(tmp_path, images):
    "The held-out sources of a set, as the benchmark's run asks for them."
    config = read_config("config/benchmark.toml")
    return config, *_read_held(images, Fetcher(Manifest(tmp_path/"m.sqlite"), registry_hosts()), tmp_path/"raw", config)


@pytest.mark.parametrize("survey", ["FIRST", "NVSS"])
def test_frdeep_is_prepared_as_its_training_sources_are(mirror, tmp_path, survey):
    folder, names = mirror
    config, held, why = hold(tmp_path, survey)
    assert held, why
    assert sorted([*held.prepared.names, *held.quarantine["name"]]) == sorted(names)
    assert len(held.quarantine) < N/10
    first = held.prepared.names[0]
    file = next(f for f in fetch.select_files("frdeep", survey, "test") if f.object == first)
    expected = prepare_image(read_image(folder/url_to_path(file.url), survey), config).image
    np.testing.assert_array_equal(held.prepared.images[0, :, :, 0], expected)
    assert held.prepared.classes == ("FRI", "FRII") == tuple(sorted(set(held.facts["label"])))


def test_griese_is_prepared_as_its_folds_are(mirror, tmp_path):
    _, held, why = hold(tmp_path, "griese")
    assert held, why
    assert len(held.prepared) + len(held.quarantine) == len(held.facts) == 1758
    assert held.prepared.images.shape[1:3] == (300, 300)


def test_a_file_of_another_hash_is_not_held_out(mirror, tmp_path):
    folder, _ = mirror
    zipped, = fetch.select_files("griese", "FIRST", "test")
    (folder/url_to_path(zipped.url)).unlink()
    (folder/url_to_path(zipped.url)).write_bytes(b"something else")
    _, held, why = hold(tmp_path, "griese")
    assert held is None and zipped.name in why
