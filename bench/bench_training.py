"Networks side by side: operations, images per second, share of what the processor can do, memory; the pipeline's cost."
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from astropy.table import Table

BATCH, STEPS, IMAGES, CLASSES, EPOCHS = 32, 8, 1280, 4, 10
PIPELINES = {"fields": dict(augmentation="turns", max_shift=2), "alhassan": {}, "mcrgnet": {}}


def read_peak():
    "Largest resident memory of this process so far, MB."
    return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])/1024


def make_set(size):
    "A prepared set of noise, large enough for some batches."
    from radiogal.datasets import PreparedSet
    rng, n = np.random.default_rng(1), IMAGES
    return PreparedSet(rng.random((n, size, size, 1), dtype=np.float32), np.array([f"S{i}" for i in range(n)]),
                       np.arange(n) % CLASSES, tuple("ABCD"[:CLASSES]), np.arange(n), np.zeros(n, int), "FIRST", True,
                       np.transpose([np.linspace(0, 300, n), np.zeros(n)]), np.ones(n), np.ones(n), np.ones((n, 3)),
                       1.8, ())


def count_products(model):
    "Multiply-adds of an image's way through a network: those of its convolutions and dense layers, nearly all."
    total = 0
    for layer in model.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is None: continue
        n_in, places = layer.input.shape[-1], int(np.prod(layer.output.shape[1:-1]))
        size = layer.kernel_size if hasattr(layer, "kernel_size") else (3, 3) if hasattr(layer, "turn_kernel") else ()
        total += int(np.prod(size))*n_in*layer.output.shape[-1]*places
    return total


def time_best(work, n=STEPS):
    "Least seconds of this process's processor time that some work takes: others on the machine do not count."
    def time_once():
        began = time.process_time()
        work()
        return time.process_time() - began
    work()
    return min(time_once() for _ in range(n))


def measure_products(side=2048):
    "Multiply-adds a second of a product of two large float32 matrices."
    import tensorflow as tf
    a = tf.random.stateless_normal((side, side), seed=(1, 2))
    return side**3/time_best(lambda: tf.matmul(a, a).numpy())


def fill_rates(model, size):
    "Images per second of training and of prediction, on a batch that stays in memory."
    images = np.random.default_rng(2).random((BATCH, *model.input_shape[1:]), dtype=np.float32)
    truth, weights = np.eye(CLASSES, dtype=np.float32)[np.arange(BATCH) % CLASSES], np.ones(BATCH, np.float32)
    return (BATCH/time_best(lambda: model.train_on_batch(images, truth, weights)),
            BATCH/time_best(lambda: model.predict_on_batch(images)))


def measure(name):
    "In a process of its own, on one thread: rates and memory of one network."
    from radiogal.config import Training
    from radiogal.models import NETWORKS, build_network
    from radiogal.training import compile_network, start_keras
    start_keras(1)
    peak, size = measure_products(), NETWORKS[name].image_size
    model = build_network(name, size, CLASSES, 1)
    compile_network(model, Training(batch_size=BATCH), IMAGES)
    training, prediction = fill_rates(model, size)
    products = count_products(model)
    return dict(network=name, pixels=size, parameters=model.count_params(), products=products/1e6, training=training,
                prediction=prediction, training_share=300*products*training/peak,
                prediction_share=100*products*prediction/peak, peak=peak/1e9, MB=read_peak())


def measure_pipeline(name):
    "In a process of its own: seconds of an epoch whose batches are drawn, and of one that repeats a batch."
    from radiogal.config import Training
    from radiogal.models import NETWORKS, build_network
    from radiogal.training import Views, compile_network, draw_ahead, draw_epoch, split_network, start_keras
    start_keras(1)
    settings, size = Training(batch_size=BATCH, **PIPELINES[name]), NETWORKS[name].image_size
    sources = make_set(216 if settings.augmentation == "turns" else size)
    stem, trunk = split_network(build_network(name, size, CLASSES, 1))
    views = Views(sources.images, size, stem, settings, 1)
    compile_network(trunk, settings, len(sources))
    constant = next(draw_epoch(views, sources, 0))

    def time_epoch(batches):
        began = time.perf_counter()
        for images, truth, weights in batches: trunk.train_on_batch(images, truth, sample_weight=weights)
        return time.perf_counter() - began

    repeat = [tuple(np.copy(part) for part in constant)]*(IMAGES//BATCH)
    time_epoch(repeat)
    pairs = np.array([(time_epoch(draw_ahead(draw_epoch(views, sources, epoch))), time_epoch(repeat))
                      for epoch in range(1, 1 + EPOCHS)])
    cost = np.quantile(pairs[:, 0]/pairs[:, 1], [0.5, 0.25, 0.75]) - 1
    drawn, constant = np.median(pairs, axis=0)
    return dict(network=name, drawn=drawn, constant=constant, cost=cost[0], low=cost[1], high=cost[2])


ONE_THREAD = dict(TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1", OMP_NUM_THREADS="1",
                  TF_ENABLE_ONEDNN_OPTS="1")


def call(function, name):
    "One measurement in a fresh process, on one thread, as a step of a run has it."
    done = subprocess.run([sys.executable, __file__, function, name], capture_output=True, text=True, check=True,
                          env=os.environ | ONE_THREAD | dict(TF_CPP_MIN_LOG_LEVEL="3"))
    return json.loads(done.stdout.splitlines()[-1])


def main():
    from radiogal.models import NETWORKS
    rates = Table(rows=[call("measure", name) for name in NETWORKS])
    for column in rates.colnames[3:]: rates[column].format = ".0f"
    print(f"Batches of {BATCH}, one thread, best of {STEPS}: millions of multiply-adds an image, images per second of\n"
          "processor time, their share of the rate of a product of matrices in per cent "
          "(a training step is three passes),\n"
          "that rate in thousand millions of multiply-adds a second, and memory at the peak")
    print("\n".join(rates.pformat()))
    costs = Table(rows=[call("measure_pipeline", name) for name in PIPELINES])
    for column in ("cost", "low", "high"): costs[column] = 100*costs[column]
    for column, form in dict(drawn=".2f", constant=".2f", cost=".1f", low=".1f", high=".1f").items():
        costs[column].format = form
    print(f"Seconds of an epoch of {IMAGES} images: batches drawn and augmented, against one batch repeated.\n"
          f"Cost in per cent: median and quartiles of {EPOCHS} pairs of epochs")
    print("\n".join(costs.pformat()))


if __name__ == "__main__":
    if len(sys.argv) > 1: print(json.dumps(globals()[sys.argv[1]](sys.argv[2])))
    else: main()
