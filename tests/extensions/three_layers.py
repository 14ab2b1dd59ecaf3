"A network of three layers, added from outside the package and trained for an epoch on a few simulated sources."
import sys
from functools import partial
from pathlib import Path

import pandas as pd

from radiogal.config import Paths, find_images, find_place, find_root, parse_config, read_config
from radiogal.datasets import sample_set, write_prepared
from radiogal.models import Network, add_network, chain_layers
from radiogal.training import train_cell

add_network(Network(
    name="three-layers",
    build=partial(chain_layers, layers=dict(conv1=(8, 5), pool1=(), conv2=(16, 3), pool2=(), flatten=())),
    reference="this file",
    image_size=150,
    smallest=12,
    optimiser=dict(class_name="Adam", config=dict(learning_rate=1e-3)),
    left_open="nothing"))


def train(results):
    "Predictions for the validation sources of one fold."
    settings = read_config(Paths(find_root()).settings("smoke")).model_dump()
    own = dict(networks=["three-layers"], training=dict(epochs=1, batch_size=8))
    config = parse_config(settings | own, "three layers")
    write_prepared(sample_set(config, "FIRST"), find_images(results, "FIRST")/"prepared.h5")
    cell = ("FIRST", "three-layers", 0, 1)
    train_cell(results, config, "three-layers", cell, code="")
    return pd.read_parquet(results/"training"/find_place(*cell)/"predictions.parquet")


if __name__ == "__main__": print(train(Path(sys.argv[1])).filter(regex="name|label|p_"))
