"Settings that cannot be: each is refused with one line that names the key, its value, and what is allowed."
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import ROOT

from radiogal.config import (
    ConfigError,
    allow_name,
    list_asked,
    parse_config,
    read_config,
    rename_settings,
    write_atomic,
)
from radiogal.progress import StepProgress

MINIMAL = dict(kind="demo", surveys=["FIRST"], classes=["FRI", "FRII"], scraping=dict(cutout_arcmin=2.5),
               preparation=dict(field_arcmin=2.0))
CLASSES = dict(FRI=["FRI"], FRII=["FRII"])
TASK = dict(images="FIRST", classes=CLASSES, networks=dict(fields=[0, 1]))
THERE = dict(source="FIRST", target="VLASS")


def with_task(**changes):
    return dict(tasks=dict(fr=TASK | changes))


def with_transfer(pair=(), **more):
    return dict(surveys=["FIRST", "VLASS"], folds=[0, 1], transfer=dict(pairs=dict(there=THERE | dict(pair)), **more))


CROSSED = dict(FIRST=dict(images="FIRST", classes=CLASSES),
               VLASS=dict(images="VLASS", classes=dict(FRII=["FRII"], FRI=["FRI"])))
WRONG = [
    (dict(training=dict(epoch=3)), "training.epoch: unknown key; allowed are augmentation, backbone_lr_factor"),
    (dict(training=dict(averaging=0.9)), "training.averaging: this setting is called ema_decay now"),
    (dict(training=dict(epochs="3")), "training.epochs = '3': Input should be a valid integer"),
    (dict(scraping=dict(cutout_arcmin=2.5, min_covered=1.2)), "scraping.min_covered = 1.2: Input should be less than"),
    (dict(scraping=dict(cutout_arcmin=2.5, epoch="VLASS 3")), "scraping.epoch = 'VLASS 3'"),
    (dict(scraping=dict(archive="mine")), "'mine': Input should be 'loopback', 'registry', 'live' or a folder"),
    (dict(scraping=dict(archive="https://mine/")), "scraping.archive = 'https://mine/': Input should be 'loopback'"),
    (dict(scraping=dict(archive="mine/")), "scraping.archive = 'mine/': kind = 'demo' allows 'loopback'"),
    (dict(kind="real", targets=dict(catalogues=["frdeep"])), "'loopback': kind = 'real' allows 'registry' or a folder"),
    (dict(kind="real", targets=dict(catalogues=["frdeep"]), scraping=dict(archive="mine/")),
     "scraping.cutout_pixels: archive = 'mine/' needs it"),
    (dict(surveys=["FRIST"]), "surveys.0 = 'FRIST': Input should be 'FIRST', 'NVSS', 'VLASS' or 'TGSS'"),
    (dict(networks=["alhasan"]), "networks.0 = 'alhasan': Input should be 'alhassan', 'dense'"),
    (dict(preparation=dict(field_arcmin=3.0)), "field_arcmin = 3.0: allowed is at most scraping.cutout_arcmin = 2.5"),
    (dict(folds=[5]), "folds = 5: allowed is 0 to 4"),
    (dict(candidates=dict(isolation_arcsec=30.0)), "link_arcsec = 60.0: allowed is at most isolation_arcsec = 30.0"),
    (dict(targets=dict(catalogues=["frdeep"])), "'artificial' alone for kind = 'demo', and never for another kind"),
    (with_task(images="NVSS"), "tasks.fr.images = 'NVSS': allowed are ['FIRST'"),
    (with_task(images="../x"), "tasks.fr.images = '../x': allowed are ['FIRST'"),
    (with_task(classes=CLASSES | dict(Other=["Bent"])), "['Bent']: allowed are the run's classes"),
    (with_task(classes=CLASSES | dict(Both=["FRI"])), "a label is in two classes"),
    (dict(tasks=dict(fr=dict(image="FIRST", classes=CLASSES))), "tasks.fr.image: unknown key; allowed are classes,"),
    (dict(recipes=dict(fields=dict(epoch=3))), "recipes.fields: epoch: unknown key"),
    (with_task() | dict(kept_weights=["fr/fields", "fr/alhassan"]), "['fr/alhassan']: allowed are ['fr/fields']"),
    (with_transfer(dict(target="TGSS")), "names 'TGSS': allowed are ['FIRST', 'VLASS']"),
    (with_transfer(dict(target="FIRST")), "source and target must differ"),
    (with_transfer(dict(methods=["sratch"])), "['sratch']: allowed are ['retrain']"),
    (with_transfer(dict(source_fold="next")), "needs alhassan of fold 2"),
    (with_transfer(dict(sourse="FIRST")), "pairs.there.sourse: unknown key; allowed are counts, methods,"),
    (with_transfer(methods=dict(retrain=dict(training=dict(epoch=3)))), "methods.retrain.training: epoch: unknown key"),
    (with_transfer() | dict(tasks=CROSSED), "allowed are methods with head = 'new', not ['retrain']")]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_wrong_settings_are_refused(changes, message):
    with pytest.raises(ConfigError) as error: parse_config(MINIMAL | changes, "my.toml")
    assert message in str(error.value) and str(error.value).startswith("my.toml:\n")


def test_all_that_is_missing_is_named_at_once():
    with pytest.raises(ConfigError) as error: parse_config({}, "my.toml")
    assert "kind: missing" in str(error.value) and "classes: missing" in str(error.value)


def list_grid(**transfer):
    "Pair, method, count and network of each transfer, fold 0."
    run = with_transfer(**transfer) | dict(networks=["alhassan", "fields"])
    return {cell.place.split("/fold")[0] for cell in parse_config(MINIMAL | run, "my.toml").list_transfers()}


def test_the_grid_of_transfers():
    few = dict(scratch=dict(start="new", counts=[10]), retrain=dict(counts=[10]))
    rows = {f"there/{part}/{network}" for network in ("alhassan", "fields")
            for part in ("scratch/10", "retrain/all", "retrain/10")}
    assert list_grid(methods=few) == rows
    assert list_grid(pair=dict(counts=[]), methods=few) == {row for row in rows if row.startswith("there/retrain/all")}
    assert list_grid(pair=dict(networks=["fields"])) == {"there/retrain/all/fields"}
    assert list_grid(methods=dict(retrain=dict(counts=[10], count_networks=["fields"]))) == {
        "there/retrain/all/alhassan", "there/retrain/all/fields", "there/retrain/10/fields"}


def test_a_choice_of_cells_changes_no_result_of_a_transfer():
    plain, chosen = (parse_config(MINIMAL | with_transfer(methods=dict(retrain=dict(counts=[10], **how))), "my.toml")
                     for how in ({}, dict(count_networks=["alhassan"])))
    cell = plain.list_transfers()[0]
    assert plain.describe_transfer(cell) == chosen.describe_transfer(cell)


def test_recipes_of_networks_tasks_and_transfers():
    few = dict(scratch=dict(start="new", counts=[10]), retrain=dict(counts=[10]))
    run = parse_config(MINIMAL | with_task() | dict(recipes=dict(fields=dict(epochs=3))), "my.toml")
    assert [run.choose_recipe(network).epochs for network in ("fields", "alhassan")] == [3, 12]
    assert run.list_tasks()["fr"].networks == {"fields": (0, 1)}
    assert (run.list_labels("FIRST"), run.list_labels("NVSS")) == (("FRI", "FRII"), ())
    crossed = parse_config(MINIMAL | with_transfer(methods=few), "my.toml")
    assert [crossed.choose_retraining("alhassan", "VLASS", name).epochs for name in ("retrain", "scratch")] == [6, 12]
    assert crossed.find_source_fold("there", 1) == 1


def test_settings_of_older_versions_are_read_with_their_new_names():
    old = dict(training=dict(averaging=0.9), methods=[dict(few=("a",))], targets=dict(group_arcmin=37.5))
    assert rename_settings(old) == dict(training=dict(ema_decay=0.9), methods=[dict(count_networks=["a"])], targets={})
    with pytest.raises(ConfigError, match="targets.group_arcmin: this follows from the images' width now"):
        parse_config(MINIMAL | dict(targets=dict(group_arcmin=37.5)), "my.toml")


def test_what_is_judged_has_more_seeds_than_the_rest():
    told = dict(pairs=["there"], methods=["scratch"], counts=[10], networks=["alhassan"], seeds=[1, 2])
    few = dict(scratch=dict(start="new", counts=[10]), retrain=dict(counts=[10]))
    settings = MINIMAL | with_transfer(methods=few) | dict(headline=told)
    run = parse_config(settings, "my.toml")
    seeds = {(c.method, c.count, c.seed) for c in run.list_transfers()}
    assert seeds == {("scratch", 10, 1), ("scratch", 10, 2), ("retrain", None, 1), ("retrain", 10, 1)}
    assert {seed for _, network, _, seed in list_asked(run) if network == "alhassan"} == {1, 2}
    for key, wrong in dict(methods=["retrian"], pairs=["her"], tasks=["fr"], seeds=[2]).items():
        with pytest.raises(ConfigError, match=f"headline.{key}"):
            parse_config(settings | dict(headline=told | {key: wrong}), "my.toml")


def test_one_seed_for_all_replaces_those_of_the_headline():
    assert {seed for *_, seed in list_asked(read_config(ROOT/"config"/"benchmark.toml", seed=7))} == {7}


def test_a_name_that_is_unsafe_in_paths_is_not_allowed():
    with pytest.raises(ConfigError, match="network '../x': a name is made of letters and digits"):
        allow_name("network", "../x")


def test_threads_may_write_the_same_file(tmp_path):
    step = StepProgress(tmp_path/"told.json", 9)
    def write(i):
        write_atomic(tmp_path/"a", str(i))
        step.write(f"{i}/100 [00:01<00:01, 1.0it/s]")
        step.tell()
    with ThreadPoolExecutor(8) as pool: list(pool.map(write, range(100)))
    assert {path.name for path in tmp_path.iterdir()} == {"a", "told.json"}
