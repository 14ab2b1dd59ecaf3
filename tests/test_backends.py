"Every network builds, trains a step, predicts and keeps its weights on jax too, where that is installed."
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from radiogal.models import NETWORKS

pytestmark = pytest.mark.full
ROOT = Path(__file__).parent.parent
N_CLASSES, N_IMAGES = 3, 4

CHILD = """
import json, sys
from pathlib import Path
import keras, numpy as np
from radiogal.models import NETWORKS, build_network, load_network_weights
path, n_classes, n_images = Path(sys.argv[1])/"network.weights.h5", int(sys.argv[2]), int(sys.argv[3])
truth = keras.utils.to_categorical(np.arange(n_images) % n_classes, n_classes)

def train_a_step(name, network):
    shape = (n_images, network.smallest, network.smallest, network.surveys)
    images = np.random.default_rng(1).random(shape, dtype="float32")
    model = build_network(name, network.smallest, n_classes, 1)
    first = [weight.copy() for weight in model.get_weights()]
    model.compile(keras.optimizers.get(network.optimiser), "categorical_crossentropy")
    loss = float(model.train_on_batch(images, truth))
    moved = sum(not np.array_equal(a, b) for a, b in zip(first, model.get_weights()))
    probabilities = model.predict(images, verbose=0)
    model.save_weights(path)
    again = build_network(name, network.smallest, n_classes, 2)
    load_network_weights(again, path)
    path.unlink()
    return dict(loss=loss, moved=moved/len(first), probabilities=probabilities.tolist(),
                same=bool(np.array_equal(again.predict(images, verbose=0), probabilities)))

print(json.dumps(dict(backend=keras.backend.backend(),
                      steps={name: train_a_step(name, n) for name, n in NETWORKS.items()})))
"""


@pytest.fixture(scope="module", params=["jax"])
def steps(request, tmp_path_factory):
    "One step of each network, in a child process with that backend."
    if importlib.util.find_spec(request.param) is None: pytest.skip(f"{request.param} is not installed")
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | dict(KERAS_BACKEND=request.param, JAX_PLATFORMS="cpu", CUDA_VISIBLE_DEVICES="-1",
                                    TF_CPP_MIN_LOG_LEVEL="3", PYTHONPATH=path)
    done = subprocess.run([sys.executable, "-c", CHILD, tmp_path_factory.mktemp("weights"), str(N_CLASSES),
                           str(N_IMAGES)],
                          env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["backend"] == request.param
    return said["steps"]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_on_each_backend(name, steps):
    said = steps[name]
    assert 0 < said["loss"] < 100
    assert said["moved"] > 0.5
    assert said["same"]
    assert len(said["probabilities"]) == N_IMAGES
    for row in said["probabilities"]:
        assert len(row) == N_CLASSES and min(row) >= 0
        assert sum(row) == pytest.approx(1, abs=1e-5)
