"A network from outside the package is one file: once added, settings accept its name and it is trained like others."
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from radiogal.config import ConfigError, parse_config, read_config

ROOT = Path(__file__).parent.parent
FILE = ROOT/"tests"/"extensions"/"three_layers.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    "What the file says, and the folder that it trained in."
    folder = tmp_path_factory.mktemp("three-layers")
    done = subprocess.run([sys.executable, FILE, folder], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout, folder/"training"/"FIRST"/"three-layers"/"fold0"/"seed1"


@pytest.mark.full
def test_the_file_is_short_and_its_network_is_trained(trained):
    said, folder = trained
    predictions = pd.read_parquet(folder/"predictions.parquet")
    assert len(FILE.read_text().splitlines()) <= 40
    assert np.allclose(predictions.filter(like="p_").sum(axis=1), 1, atol=1e-6)
    assert len(pd.read_csv(folder/"history.csv")) == 1 and predictions.name[0] in said
    assert sorted(path.name for path in folder.iterdir()) == [
        "history.csv", "metrics.json", "network.weights.h5", "predictions.parquet", "provenance.json", "timing.json"]


def test_a_name_that_was_not_added_is_refused():
    settings = read_config(ROOT/"config"/"smoke.toml").model_dump()
    with pytest.raises(ConfigError, match="networks.*three-layers.*Input should be 'alhassan', .* or 'twin'"):
        parse_config(settings | dict(networks=["three-layers"]), "three layers")
