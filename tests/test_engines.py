"Every network behind every engine that is installed, and ensembles opened again from their files."
import hashlib

import numpy as np
import pytest
from conftest import ROOT
from scipy import special

from radiogal.config import ConfigError, read_config, write_atomic
from radiogal.datasets import sample_set
from radiogal.engines import (
    _RUNTIMES,
    _measure_distance,
    _open_keras,
    _unit_vectors,
    ask_ensemble,
    list_engines,
    list_members,
    open_ensemble,
    write_untrained,
)
from radiogal.fetch import hash_file
from radiogal.graphs import write_onnx
from radiogal.models import NETWORKS, build_network

softmax = lambda answer: special.softmax(answer[1], axis=1)


def shake(model):
    "Weights, means and variances away from where they start."
    rng = np.random.default_rng(0)
    moved = [w*(0.8 + 0.2*rng.random(w.shape)) + 0.01*rng.normal(size=w.shape) for w in model.get_weights()]
    model.set_weights([w.astype("float32") for w in moved])
    return model


@pytest.mark.parametrize("name", ["fields", "branches", "twin", "alhassan", "dense", "mcrgnet", "convxpress",
                                  pytest.param("aniyan", marks=pytest.mark.full)])  # 54 million weights: ten seconds
def test_engines_give_the_same_features_and_logits(name, tmp_path):
    size = max(64, NETWORKS[name].smallest)
    images = np.random.default_rng(1).random((3, size, size, NETWORKS[name].surveys), dtype=np.float32)**4
    images[2, ..., 1:] = 0  # the image of a second survey is missing
    model = shake(build_network(name, size, 3, 1))
    expected = _open_keras(model)(images)
    np.testing.assert_allclose(softmax(expected), model.predict(images, verbose=0), atol=1e-5)
    assert softmax(expected).max() < 0.999
    path = write_atomic(tmp_path/f"{name}.onnx", write_onnx(model))
    assert hashlib.sha256(write_onnx(model)).hexdigest() == hash_file(path)
    for engine in list_engines()[:-1]:
        answer = _RUNTIMES[engine](path)(images)
        for a, b in zip(answer, expected, strict=True): np.testing.assert_allclose(a, b, atol=1e-4*np.abs(b).max())
        np.testing.assert_allclose(softmax(answer), softmax(expected), atol=1e-5)


ODD = dict(  # Layers between images (n, 16, 16, 2) and the last one, by what is said of them
    gaps=lambda keras, x: keras.layers.Conv2D(4, 3, dilation_rate=2)(x),
    groups=lambda keras, x: keras.layers.Conv2D(4, 3, groups=2)(x),
    bias=lambda keras, x: keras.layers.Conv2D(4, 3, use_bias=False)(x),
    side=lambda keras, x: keras.layers.Concatenate(axis=1)([x, x]),
    mean=lambda keras, x: keras.ops.mean(x, axis=(1, 2)),
    maximum=lambda keras, x: keras.ops.max(keras.layers.Flatten()(x), axis=1, keepdims=True),
    softplus=lambda keras, x: keras.layers.Conv2D(4, 3, activation="softplus")(x))


@pytest.mark.parametrize("said", ODD)
def test_a_layer_that_would_be_written_wrongly_is_refused(said):
    import keras
    images = keras.Input((16, 16, 2))
    features = keras.layers.Flatten()(ODD[said](keras, images))
    model = keras.Model(images, keras.layers.Dense(2, name="probabilities")(features))
    with pytest.raises(ConfigError, match=f"no engine but Keras knows .*{said}"): write_onnx(model)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    "Two untrained networks of the smoke run, and their sources."
    folder, sources = tmp_path_factory.mktemp("engines"), sample_set(read_config(ROOT/"config"/"smoke.toml"), "FIRST")
    return folder, write_untrained(folder/"training"/"FIRST"/"fields", sources, "FIRST", "fields"), sources


def test_ensembles_of_all_engines_agree_and_are_told_apart(trained):
    folder, folders, sources = trained
    ensembles = {engine: open_ensemble("smoke", folders, sources, folder/"engines", engine)
                 for engine in list_engines()}
    expected = ask_ensemble(ensembles["keras"], sources.images)
    for ensemble in ensembles.values():
        for a, b in zip(ask_ensemble(ensemble, sources.images)[:2], expected[:2], strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
    assert len({ensemble.identity for ensemble in ensembles.values()}) == len(ensembles)


def test_ensemble_opened_again_is_the_same(trained):
    folder, folders, sources = trained
    first, again = (open_ensemble("smoke", folders, sources, folder/"engines") for _ in range(2))
    assert again.identity == first.identity
    one, other = (ask_ensemble(ensemble, sources.images[:5]).probabilities for ensemble in (first, again))
    np.testing.assert_array_equal(one, other)
    alone = open_ensemble("smoke", folders[:1], sources, folder/"engines")
    assert np.isnan(ask_ensemble(alone, sources.images[:2]).spread).all() and alone.identity != again.identity


def test_members_are_listed_and_of_one_kind(trained, tmp_path):
    folder, folders, sources = trained
    assert list_members(folder, "FIRST", "fields") == folders
    with pytest.raises(ConfigError, match="there are fields of FIRST"): list_members(folder, "FIRST", "twin")
    other = write_untrained(tmp_path/"other", sources, "FIRST", "mcrgnet", folds=(0,))
    with pytest.raises(ConfigError, match="an ensemble of 2 kinds"):
        open_ensemble("smoke", folders + other, sources, tmp_path/"engines")


def test_distance_to_fewer_than_ten_is_to_the_farthest():
    known = _unit_vectors(np.array([[1., 0], [0, 1]]))
    np.testing.assert_allclose(_measure_distance(np.array([[3., 0]]), known), [np.sqrt(2)], atol=1e-6)
