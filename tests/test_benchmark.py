"A run with tasks, as a user meets it: networks on folds, compared, kept, drawn again from what was kept. Simulated."
import shutil

import pandas as pd
import pytest
from conftest import OF_SURVEYS, copy_project, finish, radiogal
from test_reruns import read_plan

from radiogal import training
from radiogal.config import HANDCRAFTED, list_asked, read_config
from radiogal.provenance import digest_code

SMALL = """
[recipes.fields]
schedule = "cosine"
ema_decay = 0.9
augmentation = "turns"

[tasks.fr]
images = "FIRST"
classes = { FRI = ["FRI"], FRII = ["FRII"] }
networks = { fields = [0, 1], alhassan = [0, 1], mcrgnet = [0] }
"""


@pytest.fixture(scope="module")
def finished(smoke_run, tmp_path_factory):
    "A smoke run whose settings became those of a small benchmark, up to its end."
    folder = shutil.copytree(smoke_run, tmp_path_factory.mktemp("benchmark")/"project", symlinks=True)
    smoke = (folder/"config"/"smoke.toml").read_text()
    smoke = smoke.replace("seeds = [1]", 'seeds = [1]\nhandcrafted = ["fr"]\nkept_weights = ["fr/fields"]')
    (folder/"config"/"smoke.toml").write_text(smoke[:smoke.index("[transfer.pairs]")] + SMALL)
    status, said = finish(radiogal(folder, "run", "smoke", "--cores", "2"))
    assert status == 0, said
    return folder


def read_table(folder, run="smoke"):
    return pd.read_csv(folder/"results"/run/"benchmark"/"comparison_simulated.csv")


def test_every_network_is_compared(finished):
    table = read_table(finished)
    assert {"fields", "alhassan", "mcrgnet", "handcrafted"} == set(table["network"])
    assert set(table["task"]) == {"fr"}
    trained = table.set_index("network")
    assert list(trained.loc[["fields", "alhassan", "mcrgnet", "handcrafted"], "runs"]) == [2, 2, 1, 2]
    assert trained["accuracy"].between(0, 1).all()
    figures = [path.name for path in (finished/"figures"/"smoke").glob("*.png")]
    assert figures and {name for name in figures if "simulated" not in name} <= OF_SURVEYS


@pytest.fixture(scope="module")
def kept(finished):
    "The same project, with its results kept."
    status, said = finish(radiogal(finished, "keep", "smoke"))
    assert status == 0, said
    return finished


def clone_kept(kept, folder):
    "A clone that has what was kept, and no results."
    copy_project(folder)
    shutil.copy(kept/"config"/"smoke.toml", folder/"config")
    shutil.copytree(kept/"docs"/"results", folder/"docs"/"results")
    return folder


def test_weights_that_the_settings_name_are_kept(kept):
    weights = [path.parents[2].name for path in (kept/"docs"/"results"/"smoke").rglob("*.h5")]
    assert weights == ["fields", "fields"]  # both folds, and no images


class Begun(Exception): "In place of a training."


def list_again(folder):
    "Networks and folds that a step would train again, as it asks itself of each of its cells."
    config, code = read_config(folder/"config"/"smoke.toml"), digest_code(folder/"nbs"/"22_modelling.ipynb",
                                                                          folder/"radiogal")
    for cell in (cell for cell in list_asked(config) if cell[1] != HANDCRAFTED):
        try: training.train_cell(folder/"results"/"smoke", config, "smoke", cell, code)
        except Begun: yield cell[1:3]


def test_another_recipe_trains_only_its_own_network_again(finished, tmp_path, monkeypatch):
    folder = shutil.copytree(finished, tmp_path/"project")
    monkeypatch.chdir(folder)
    def begin(*_): raise Begun
    monkeypatch.setattr(training, "clear_results", begin)
    assert list(list_again(folder)) == []
    config = folder/"config"/"smoke.toml"
    config.write_text(config.read_text().replace("ema_decay = 0.9", "ema_decay = 0.8"))
    status, said = finish(radiogal(folder, "plan", "smoke", "--cores", "2"))
    assert status == 0, said
    assert read_plan(said) == {"22_modelling-1of2", "22_modelling-2of2", "40_benchmark"}
    assert sorted(list_again(folder)) == [("fields", 0), ("fields", 1)]


def test_kept_results_draw_the_same_tables_beside_one_new_training_which_hides_none(kept, tmp_path):
    folder, one = clone_kept(kept, tmp_path/"clone"), "results/smoke/training/fr/fields/fold0/seed1"
    shutil.copytree(kept/one, folder/one)
    status, said = finish(radiogal(folder, "figures", "smoke"))
    assert status == 0, said
    pd.testing.assert_frame_equal(read_table(folder), read_table(kept))
    origins = pd.read_csv(folder/"results"/".joined"/"smoke"/"origins.csv")
    mine = origins[origins["place"].str.startswith("training/fr/")]
    assert mine["origin"].value_counts().to_dict() == dict(kept=6, new=1)
    assert [path.name for path in (folder/"results"/"smoke"/"training").rglob("fold*")] == ["fold0"]
    assert ", 1 new" in (folder/"results"/"smoke"/"notebooks"/"40_benchmark.ipynb").read_text()
