"Classes of prepared images: the engine that `radiogal classify` takes against `predict` of Keras, the same network."
import numpy as np
from _made import FIELD, draw_images, open_network, write_network
from _pairs import Pair, run_pairs


def make_network(folder, n):
    "A network nobody trained, and images."
    write_network(folder)
    np.save(folder/"images.npy", draw_images(n, seed=2))
    return {}


def ask_ours(folder, images, engine="onnxruntime"):
    from radiogal.engines import ask_ensemble
    ensemble = open_network(folder, engine)
    ask = lambda: ask_ensemble(ensemble, images).probabilities
    ask_ensemble(ensemble, images[:2])
    return ask


def ours(folder, n): return ask_ours(folder, np.load(folder/"images.npy"))


def keras_predict(folder, n):
    import keras

    from radiogal.models import build_network, load_network_weights
    from radiogal.training import start_keras
    start_keras(1)
    network = build_network("fields", FIELD, 2, 0)
    load_network_weights(network, folder/"training"/"FIRST"/"fields"/"fold0"/"seed1"/"network.weights.h5")
    images = np.load(folder/"images.npy")
    network.predict(images[:32], verbose=0)
    return lambda: keras.ops.softmax(network.predict(images, verbose=0))


def check(folder, n):
    "Both engines say the same."
    images = np.load(folder/"images.npy")[:50]
    first, second = (ask_ours(folder, images, engine)() for engine in ("onnxruntime", "keras"))
    np.testing.assert_allclose(first, second, atol=1e-4)
    return {}


if __name__ == "__main__":
    run_pairs(Pair(f"probabilities of {{n}} images of {FIELD} px, network `fields`, loaded before", 2000, 8, ours,
                   keras_predict, "ONNX Runtime, with a score of how far each is from training sources",
                   "Keras `predict`", "the same to four digits", make_network, check))
