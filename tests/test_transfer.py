"Transfer as a grid, across modules: what is refused, what is resumed, what only its own ends may change. Simulated."
import json

import numpy as np
import pytest

from radiogal.config import Method, Training, parse_config, read_config
from radiogal.datasets import sample_set
from radiogal.engines import write_untrained
from radiogal.models import BadWeights, build_network
from radiogal.training import start_keras
from radiogal.transfer import _add_epochs, _carry_weights, _draw_subset, _join_sets, _retrain_network

BRIEF = Training(epochs=3, batch_size=8)


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    "The artificial sky in two surveys, and the folder of a network as training of the first begins."
    config = read_config("config/smoke.toml")
    first, vlass = (sample_set(config, survey) for survey in ("FIRST", "VLASS"))
    (folder,) = write_untrained(tmp_path_factory.mktemp("source"), first, "FIRST", "fields", folds=(0,))
    return first, vlass, folder


def begin(folder, vlass, network="fields"):
    start_keras(1)
    model = build_network(network, 32, 2, seed=5)
    _carry_weights(model, folder, vlass.classes, "kept")
    return model


def equal(a, b): return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


@pytest.mark.full
def test_gradual_unfreezing_goes_on_to_the_same_weights(ends, tmp_path):
    first, vlass, _ = ends
    (folder,) = write_untrained(tmp_path/"source", first, "FIRST", "alhassan", folds=(0,))  # its steps are traced soon
    how, sides = Method(frozen="conv2", unfreeze_every=1), (vlass.training(0), vlass.validation(0))
    whole = begin(folder, vlass, "alhassan")
    _retrain_network(whole, how, *sides, BRIEF, seed=1, checkpoints=tmp_path/"whole")
    stopped = begin(folder, vlass, "alhassan")  # the first stage alone, as a killed run leaves it
    first_stage = Method(frozen="conv2")
    _retrain_network(stopped, first_stage, *sides, BRIEF.model_copy(update=dict(epochs=1)), 1, tmp_path/"stopped")
    checkpoint = next((tmp_path/"stopped"/"stage0").glob("*.npz"))
    written, again = checkpoint.stat().st_mtime_ns, begin(folder, vlass, "alhassan")
    curve = _retrain_network(again, how, *sides, BRIEF, seed=1, checkpoints=tmp_path/"stopped")
    assert equal(whole, again) and len(curve) == 3
    assert checkpoint.stat().st_mtime_ns == written


def test_running_means_of_frozen_fields_rest(ends):
    _, vlass, folder = ends
    model, source = begin(folder, vlass), begin(folder, vlass)
    once = BRIEF.model_copy(update=dict(epochs=1))
    _retrain_network(model, Method(frozen="conv4"), vlass.training(0), vlass.validation(0), once, seed=1)
    for name in ("conv1", "conv4"):
        assert all(map(np.array_equal, *(m.get_layer(name).get_weights() for m in (model, source))))
    assert not np.array_equal(*(m.get_layer("conv5").get_weights()[-1] for m in (model, source)))


def test_joint_training_takes_few_of_the_target_and_all_of_the_source(ends):
    first, vlass, _ = ends
    few = _draw_subset(vlass.training(0), 6, seed=1)
    both, settings = _join_sets(first.training(0), few), _add_epochs(BRIEF, 6, least_steps=4)
    model = build_network("alhassan", 32, 2, seed=1)
    curve = _retrain_network(model, Method(start="new", images="both"), both, vlass.validation(0), settings, seed=1)
    assert len(both) == len(first.training(0)) + 6 and curve["val_loss"].notna().all()


@pytest.mark.parametrize("change, said", [
    (dict(classes=["FRII", "FRI"]), "the target's ['FRI', 'FRII']"),
    (dict(classes=["FRI", "FRII", "Bent"]), "['FRI', 'FRII', 'Bent']"),
])
def test_weights_of_other_classes_are_refused(ends, tmp_path, change, said):
    _, vlass, folder = ends
    (tmp_path/"network.weights.h5").write_bytes((folder/"network.weights.h5").read_bytes())
    (tmp_path/"metrics.json").write_text(json.dumps(json.loads((folder/"metrics.json").read_text()) | change))
    model = build_network("fields", 32, 2, seed=5)
    before = model.get_weights()
    with pytest.raises(BadWeights) as refused: _carry_weights(model, tmp_path, vlass.classes, "kept")
    assert said in str(refused.value)
    assert all(map(np.array_equal, before, model.get_weights()))


def test_a_pair_of_sources_that_were_seen_needs_its_folds():
    smoke = read_config("config/smoke.toml").model_dump() | dict(folds=[0, 1, 2])
    seen = dict(pairs=dict(seen=dict(source="FIRST", target="VLASS", source_fold="next")))
    config = parse_config(smoke | dict(transfer=seen), "seen")
    assert [config.find_source_fold("seen", fold) for fold in (0, 1, 2)] == [1, 2, 0]
