"A figure from outside the package, in one file, drawn from the kept results as the report's own are."
import matplotlib.pyplot as plt
import pandas as pd
from conftest import ROOT
from extensions.margin import plot_margin
from PIL import Image

from radiogal.config import read_config
from radiogal.diagnosis import plot_grid, save_figure
from radiogal.provenance import describe_run


def test_a_figure_of_ones_own_is_drawn_side_by_side_and_kept_with_its_identity(tmp_path):
    trained = ROOT/"docs"/"results"/"benchmark"/"training"/"griese"
    places = {name: trained/name/"fold0"/"seed1" for name in ("fields", "alhassan")}
    tables = {name: pd.read_parquet(place/"predictions.parquet") for name, place in places.items()}
    with plt.style.context("radiogal.radiogal"): figure = plot_grid(tables, plot_margin, "Griese et al. (2023), fold 0")
    counts = [sum(patch.get_height() for patch in ax.patches) for ax in figure.axes]
    assert counts == [len(table) for table in tables.values()]
    identity = describe_run(read_config(ROOT/"config"/"benchmark.toml"), "benchmark", ROOT)
    saved = save_figure(figure, tmp_path, "plot_margin", identity)
    assert f"settings: {identity['settings']}" in Image.open(saved).text["Description"]


def test_the_example_is_short():
    assert len((ROOT/"tests"/"extensions"/"margin.py").read_text().splitlines()) <= 40
