"""Networks beside what the processor can do: operations, images a second, share of the peak; what drawing batches adds.

Nothing is learnt: some steps on noise, on one thread, as a step of a run has it.
"""
import time

import numpy as np
from _made import make_sources
from _pairs import ROOT, call, count_processor_s, run_script, time_work

BATCH, STEPS, CLASSES, EPOCHS, EPOCH_S, WHOLE = 32, 5, ("A", "B", "C", "D"), 5, 2., 2048
ONE_THREAD = dict(TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1", OMP_NUM_THREADS="1")
TURNED = ("fields", "twin", "branches")  # Their recipes turn images by any angle; the others' take the eight views
LIGHT = ("fields", "dense")  # Whose epochs are drawn, too: ours, and the one with the shortest steps


def count_products(model):
    "Multiply-adds of an image's way through a network: those of its convolutions and dense layers, nearly all."
    total = 0
    for layer in model.layers:
        kernel = layer.turn_kernel() if hasattr(layer, "turn_kernel") else getattr(layer, "kernel", None)
        if kernel is not None: total += int(np.prod(kernel.shape))*int(np.prod(layer.output.shape[1:-1]))
    return total


def time_best(work, n):
    "Least seconds of this process's processor time that some work takes: others on the machine do not count."
    def time_once():
        began = count_processor_s()
        work()
        return count_processor_s() - began
    work()
    return min(time_once() for _ in range(n))


def open_settings(name):
    from radiogal.config import Training
    return Training(batch_size=BATCH, **(dict(augmentation="turns", max_shift=2) if name in TURNED else {}))


def measure_peak(side):
    "Multiply-adds a second of a product of two large float32 matrices."
    import tensorflow as tf
    a = tf.random.stateless_normal((side, side), seed=(1, 2))
    return side**3/time_best(lambda: tf.matmul(a, a).numpy(), STEPS)


def measure_network(folder, batch, name):
    "Images per second of training and of prediction, on a batch that stays in memory, beside the peak."
    from radiogal.models import NETWORKS, build_network
    from radiogal.training import compile_network, start_keras
    start_keras(1)
    size, steps = NETWORKS[name].image_size, STEPS if batch == BATCH else 1
    model = build_network(name, size, len(CLASSES), 1)
    compile_network(model, open_settings(name), batch*steps)
    images = np.random.default_rng(2).random((batch, *model.input_shape[1:]), dtype=np.float32)
    truth = np.eye(len(CLASSES), dtype=np.float32)[np.arange(batch) % len(CLASSES)]
    peak = measure_peak(WHOLE if batch == BATCH else 64)
    training = batch/time_best(lambda: model.train_on_batch(images, truth, np.ones(batch, np.float32)), steps)
    prediction, products = batch/time_best(lambda: model.predict_on_batch(images), steps), count_products(model)
    return dict(network=name, pixels=size, parameters=model.count_params(), gflop=2e-9*products, training=training,
                prediction=prediction, training_share=3*products*training/peak,
                prediction_share=products*prediction/peak, peak_gflops=2e-9*peak, MB=time_work(int)["MB"])


def measure_drawing(folder, batch, name):
    "What drawing batches adds to an epoch that repeats one batch: the median of pairs of epochs, as a fraction."
    from radiogal.models import NETWORKS, build_network
    from radiogal.training import Views, compile_network, draw_ahead, draw_epoch, split_network, start_keras
    start_keras(1)
    size, settings, surveys = NETWORKS[name].image_size, open_settings(name), NETWORKS[name].surveys
    stem, trunk = split_network(build_network(name, size, len(CLASSES), 1))
    compile_network(trunk, settings, batch)

    def draw_noise(n):
        images = np.random.default_rng(1).random((n*batch, size, size, surveys), dtype=np.float32)
        sources = make_sources(images, CLASSES)
        return Views(images, size, stem, settings, 1), sources

    def time_epoch(batches):
        began = time.perf_counter()
        for images, truth, weights in batches: trunk.train_on_batch(images, truth, sample_weight=weights)
        return time.perf_counter() - began

    one = [tuple(np.copy(part) for part in next(draw_epoch(*draw_noise(1), 0)))]
    time_epoch(one)
    n, epochs = (max(2, round(EPOCH_S/time_epoch(one))), EPOCHS) if batch == BATCH else (2, 1)
    drawn = draw_noise(n)
    pairs = [(time_epoch(draw_ahead(draw_epoch(*drawn, epoch))), time_epoch(one*n)) for epoch in range(1, 1 + epochs)]
    return dict(drawing=float(np.median([a/b for a, b in pairs])) - 1)


def measure(name, quick):
    "A network's row."
    batch = 4 if quick else BATCH
    row = call(measure_network, ROOT, batch, name, quick=quick, **ONE_THREAD)
    if name not in LIGHT: return row
    return row | call(measure_drawing, ROOT, batch, name, quick=quick, **ONE_THREAD)


def collect(quick):
    "All networks; the first alone where it is quick."
    from radiogal.models import NETWORKS
    return dict(networks=[measure(name, quick) for name in (LIGHT[:1] if quick else NETWORKS)])


if __name__ == "__main__": run_script(collect)
