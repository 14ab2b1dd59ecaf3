"Networks side by side: images per second in training and inference, and peak memory; and what the input pipeline costs."
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
    from radiogal.preparation import PreparedSet
    rng, n = np.random.default_rng(1), IMAGES
    return PreparedSet(rng.random((n, size, size, 1), dtype=np.float32), np.array([f"S{i}" for i in range(n)]),
                       np.arange(n) % CLASSES, tuple("ABCD"[:CLASSES]), np.arange(n), np.zeros(n, int), "FIRST", True,
                       np.transpose([np.linspace(0, 300, n), np.zeros(n)]), np.ones(n), np.ones(n), np.ones((n, 3)), 1.8, ())


def fill_rates(model, size):
    "Images per second of training and of inference, on a batch that stays in memory."
    images = np.random.default_rng(2).random((BATCH, size, size, 1), dtype=np.float32)
    truth, many = np.eye(CLASSES, dtype=np.float32)[np.arange(BATCH) % CLASSES], np.repeat(images, 8, axis=0)
    model.train_on_batch(images, truth), model.predict(many, batch_size=BATCH, verbose=0)
    began = time.perf_counter()
    for _ in range(STEPS): model.train_on_batch(images, truth)
    trained = time.perf_counter()
    for _ in range(2): model.predict(many, batch_size=BATCH, verbose=0)
    return STEPS*BATCH/(trained - began), 2*len(many)/(time.perf_counter() - trained)


def measure(name):
    "In a process of its own: rates and memory of one network."
    from radiogal.config import Training
    from radiogal.models import NETWORKS, build_network
    from radiogal.training import compile_network, start_keras
    start_keras(1)
    size = NETWORKS[name].image_size
    model = build_network(name, size, CLASSES, 1)
    compile_network(model, Training(batch_size=BATCH), IMAGES)
    training, inference = fill_rates(model, size)
    return dict(network=name, pixels=size, parameters=model.count_params(), training=training, inference=inference,
                MB=read_peak())


def measure_pipeline(name):
    "In a process of its own: seconds of an epoch whose batches are drawn, and of one that repeats a batch."
    from radiogal.config import Training
    from radiogal.models import NETWORKS, build_network
    from radiogal.training import Views, compile_network, draw_ahead, draw_epoch, split_network, start_keras
    start_keras(1)
    settings, size = Training(batch_size=BATCH, **PIPELINES[name]), NETWORKS[name].image_size
    sources = make_set(216 if settings.augmentation == "turns" else size)
    eye, trunk = split_network(build_network(name, size, CLASSES, 1))
    views = Views(sources.images, size, eye, settings, 1)
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


def call(function, name):
    "One measurement in a fresh process."
    done = subprocess.run([sys.executable, __file__, function, name], capture_output=True, text=True, check=True,
                          env=os.environ | dict(TF_CPP_MIN_LOG_LEVEL="3"))
    return json.loads(done.stdout.splitlines()[-1])


def main():
    from radiogal.models import NETWORKS
    rates = Table(rows=[call("measure", name) for name in NETWORKS])
    for column in ("training", "inference", "MB"): rates[column].format = ".0f"
    print(f"Batches of {BATCH}, {os.cpu_count()} cores; images per second, and memory at the peak")
    print("\n".join(rates.pformat()))
    costs = Table(rows=[call("measure_pipeline", name) for name in PIPELINES])
    for column in ("cost", "low", "high"): costs[column] = 100*costs[column]
    for column, form in dict(drawn=".2f", constant=".2f", cost=".1f", low=".1f", high=".1f").items(): costs[column].format = form
    print(f"Seconds of an epoch of {IMAGES} images: batches drawn and augmented, against one batch repeated.\n"
          f"Cost in per cent: median and quartiles of {EPOCHS} pairs of epochs")
    print("\n".join(costs.pformat()))


if __name__ == "__main__":
    if len(sys.argv) > 1: print(json.dumps(globals()[sys.argv[1]](sys.argv[2])))
    else: main()
