"""Networks side by side: operations, images a second, share of what the processor can do, memory; the pipeline's cost.

    python bench/bench_training.py [NETWORK …]

All networks if none is named; each takes about a minute. What is printed last is a table in Markdown.
"""
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

BATCH, STEPS, CLASSES, EPOCHS, EPOCH_S = 32, 8, 4, 6, 4.
TURNED = ("fields", "twin", "branches")  # Their recipes turn images by any angle; the others' take the eight views


def read_peak():
    "Largest resident memory of this process so far, MB."
    return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])/1024


def make_set(n, size, surveys):
    "A prepared set of noise."
    from radiogal.datasets import PreparedSet
    rng = np.random.default_rng(1)
    return PreparedSet(rng.random((n, size, size, surveys), dtype=np.float32), np.array([f"S{i}" for i in range(n)]),
                       np.arange(n) % CLASSES, tuple("ABCD"[:CLASSES]), np.arange(n), np.zeros(n, int), "FIRST", True,
                       np.transpose([np.linspace(0, 300, n), np.zeros(n)]), np.ones(n), np.ones(n), np.ones((n, 3)),
                       1.8, ())


def count_products(model):
    "Multiply-adds of an image's way through a network: those of its convolutions and dense layers, nearly all."
    total = 0
    for layer in model.layers:
        kernel = layer.turn_kernel() if hasattr(layer, "turn_kernel") else getattr(layer, "kernel", None)
        if kernel is not None: total += int(np.prod(kernel.shape))*int(np.prod(layer.output.shape[1:-1]))
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


def fill_rates(model):
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
    compile_network(model, Training(batch_size=BATCH), BATCH*STEPS)
    training, prediction = fill_rates(model)
    products = count_products(model)
    return dict(network=name, pixels=size, parameters=model.count_params(), products=products/1e6, training=training,
                prediction=prediction, training_share=300*products*training/peak,
                prediction_share=100*products*prediction/peak, peak=peak/1e9, MB=read_peak())


def measure_pipeline(name, rate):
    "In a process of its own: what drawing batches costs of an epoch of some seconds, beside one that repeats a batch."
    from radiogal.config import Training
    from radiogal.models import NETWORKS, build_network
    from radiogal.training import Views, compile_network, draw_ahead, draw_epoch, split_network, start_keras
    start_keras(1)
    settings = Training(batch_size=BATCH, **(dict(augmentation="turns", max_shift=2) if name in TURNED else {}))
    size, n_batches = NETWORKS[name].image_size, max(2, round(float(rate)*EPOCH_S/BATCH))
    sources = make_set(n_batches*BATCH, size, NETWORKS[name].surveys)
    stem, trunk = split_network(build_network(name, size, CLASSES, 1))
    views = Views(sources.images, size, stem, settings, 1)
    compile_network(trunk, settings, len(sources))
    constant = next(draw_epoch(views, sources, 0))

    def time_epoch(batches):
        began = time.perf_counter()
        for images, truth, weights in batches: trunk.train_on_batch(images, truth, sample_weight=weights)
        return time.perf_counter() - began

    repeat = [tuple(np.copy(part) for part in constant)]*n_batches
    time_epoch(repeat)
    pairs = np.array([(time_epoch(draw_ahead(draw_epoch(views, sources, epoch))), time_epoch(repeat))
                      for epoch in range(1, 1 + EPOCHS)])
    cost = np.quantile(pairs[:, 0]/pairs[:, 1], [0.5, 0.25, 0.75]) - 1
    return dict(zip(("cost", "cost_low", "cost_high"), 100*cost, strict=True))


ONE_THREAD = dict(TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1", OMP_NUM_THREADS="1",
                  TF_ENABLE_ONEDNN_OPTS="1")


def call(function, *words):
    "One measurement in a fresh process, on one thread, as a step of a run has it."
    done = subprocess.run([sys.executable, __file__, function.__name__, *words], capture_output=True, text=True,
                          check=True, env=os.environ | ONE_THREAD | dict(TF_CPP_MIN_LOG_LEVEL="3"))
    return json.loads(done.stdout.splitlines()[-1])


COLUMNS = {  # Of the table: what is written of a row
    "network": "{network}", "pixels": "{pixels}", "parameters": "{parameters:,}",
    "multiply-adds an image, millions": "{products:,.0f}", "training, images/s": "{training:,.0f}",
    "share of the peak": "{training_share:.0f} %", "prediction, images/s": "{prediction:,.0f}",
    "share of the peak ": "{prediction_share:.0f} %",
    "input pipeline (quartiles)": "{cost:.1f} % ({cost_low:.1f} to {cost_high:.1f})", "memory, MB": "{MB:,.0f}"}

LEGEND = f"""\
Batches of {BATCH}, one thread, best of {STEPS}: images per second of processor time. The peak is the rate of a product
of matrices, {{peak:.0f}} thousand millions of multiply-adds a second; a training step is three passes. The input
pipeline is what drawing and augmenting batches adds to an epoch that repeats one batch: median and quartiles of
{EPOCHS} pairs of epochs.
"""


def main(names):
    rows = []
    for name in names:
        rates = call(measure, name)
        rows.append(rates | call(measure_pipeline, name, str(rates["training"])))
        print(name, "measured", file=sys.stderr)
    print(LEGEND.format(peak=np.median([row["peak"] for row in rows])))
    print(f"| {' | '.join(key.strip() for key in COLUMNS)} |\n|{'---|'*len(COLUMNS)}")
    for row in rows: print(f"| {' | '.join(COLUMNS.values())} |".format(**row))


if __name__ == "__main__":
    alone = {function.__name__: function for function in (measure, measure_pipeline)}
    if sys.argv[1:] and sys.argv[1] in alone: print(json.dumps(alone[sys.argv[1]](*sys.argv[2:])))
    else:
        from radiogal.models import NETWORKS
        if odd := set(sys.argv[1:]) - set(NETWORKS): sys.exit(f"no network {odd}: there are {', '.join(NETWORKS)}")
        main(sys.argv[1:] or NETWORKS)
