"Kept networks are asked about panels that they have not seen: what is answered, what is refused, and what is no table."
import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from conftest import ROOT
from test_panels import TWO, VLASS, draw_figure, encode, write_notebook

from radiogal import panels
from radiogal.cli import main
from radiogal.config import ConfigError, Damaged, write_json
from radiogal.evaluation import score_predictions
from radiogal.models import build_network
from radiogal.packaging import ask_panels
from radiogal.panels import _build_set, build_asked, read_panel_rows, read_shown
from radiogal.positions import write_table
from radiogal.provenance import sign
from radiogal.training import save_weights

COLUMNS = read_shown().colnames
KNOWN = Table(rows=[(0, 0, "K0", 10., 0.), (2, 0, "K1", 12., 0.), (0, 1, "K2", 10., 1.)],
              names=("cell", "panel", "name", "ra", "dec"))


def list_row(cell, panel, **other):
    "A row of a table of panels that is as it should be, but for what is said."
    label = TWO.get(cell, ("FRI",))[0]
    return dict(cell=cell, panel=panel, name=f"S{cell}{panel}", ra=10 + cell, dec=panel, label=label,
                catalogue="FRICAT", posterior=0.97, position_confidence="A") | other


def write_listed(path, rows, columns=COLUMNS):
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return path


OTHERS = [list_row(0, k) for k in range(2, 9)] + [list_row(2, k) for k in range(1, 6)]


@pytest.fixture
def notebook(tmp_path):
    return write_notebook(tmp_path/"study.ipynb", {cell: [encode(draw_figure(n))] for cell, (_, n) in TWO.items()})


def test_panels_are_prepared_as_those_that_networks_were_trained_on(tmp_path, notebook):
    asked = read_panel_rows(write_listed(tmp_path/"a.csv", OTHERS), TWO)
    made = build_asked(notebook, asked, KNOWN, VLASS, TWO)
    read = panels.read_panels(notebook, asked, TWO)
    split = np.arange(len(asked)), np.zeros(len(asked), int)
    like = _build_set(asked, np.stack([read.levels[name] for name in asked["name"]]), "VLASS", VLASS, "", split)
    np.testing.assert_array_equal(made.prepared.images, like.images)
    assert made.prepared.images.shape == (12, 150, 150, 1) and made.reasons == {}
    assert list(made.prepared.names) == [row["name"] for row in OTHERS]
    assert [made.prepared.classes[k] for k in made.prepared.labels] == ["FRI"]*7 + ["FRII"]*5


REFUSED = {  # By panel: a row, and why it is refused
    "panel 0 of cell 0": (list_row(0, 0, ra=80.), "the networks were trained or validated on it"),
    "panel 9 of cell 0": (list_row(0, 9, name="K1", ra=80.), "the networks were trained or validated on it"),
    "panel 8 of cell 0": (list_row(0, 8, dec=1.1), "360 arcsec from K2 of those that the networks know"),
    "panel 6 of cell 2": (list_row(2, 6, dec=""), "its position is not known"),
    "panel 5 of cell 2": (list_row(2, 5, name="S21", posterior=0.6), "panel 1 of cell 2 more surely shows S21")}


def test_what_networks_may_know_is_refused_by_name_and_the_others_are_asked_about(tmp_path, notebook):
    rows = [row for row in OTHERS if (row["cell"], row["panel"]) not in [(0, 8), (2, 5)]]
    table = write_listed(tmp_path/"a.csv", [row for row, _ in REFUSED.values()] + rows)
    made = build_asked(notebook, read_panel_rows(table, TWO), KNOWN, VLASS, TWO)
    assert set(made.reasons) == set(REFUSED)
    for panel, (_, why) in REFUSED.items(): assert why in made.reasons[panel]
    assert list(made.prepared.names) == [row["name"] for row in rows]


def test_a_panel_as_far_as_images_that_share_no_pixel_is_asked_about(tmp_path, notebook):
    rows = [list_row(0, 3, dec=1 + 383/3600), *OTHERS[5:]]  # 270 arcsec × √2 are 381.8
    asked = read_panel_rows(write_listed(tmp_path/"a.csv", rows), TWO)
    assert build_asked(notebook, asked, KNOWN, VLASS, TWO).reasons == {}


def test_a_panel_that_does_not_invert_is_refused(tmp_path):
    figures = {cell: draw_figure(n) for cell, (_, n) in TWO.items()}
    figures[0][40:60, 400:420, :3] = (0, 255, 0)  # the third panel
    path = write_notebook(tmp_path/"study.ipynb", {cell: [encode(figure)] for cell, figure in figures.items()})
    made = build_asked(path, read_panel_rows(write_listed(tmp_path/"a.csv", OTHERS), TWO), KNOWN, VLASS, TWO)
    assert made.reasons == {"panel 2 of cell 0": "400 pixels are off the colour map, by up to 196 of 255"}


@pytest.mark.parametrize(("rows", "told"), [
    ([list_row(0, 0)], "none of 1 panels can be asked about: panel 0 of cell 0: the networks were trained"),
    ([list_row(0, 3), list_row(0, 4, dec=3.01)], "2 of 2 panels are left, of one patch of sky")])
def test_where_nothing_can_be_scored_nothing_is_asked(tmp_path, notebook, rows, told):
    asked = read_panel_rows(write_listed(tmp_path/"a.csv", rows), TWO)
    with pytest.raises(ConfigError, match=told): build_asked(notebook, asked, KNOWN, VLASS, TWO)


@pytest.mark.parametrize(("rows", "told"), [
    ([list_row(0, 10)], "row 1: there is no panel 10 of cell 0 in the study's notebook: it has panels 0 to 9 in"),
    ([list_row(0, 2), list_row(1, 2)], "row 2: there is no panel 2 of cell 1"),
    ([list_row(0, -1)], "there is no panel -1"), ([list_row(0, 2), list_row(0, 3), list_row(0, 2)],
                                                "panel 2 of cell 0 is in rows 1 and 3: name it once"),
    ([list_row(0, 2, label="FRII")], "panel 2 of cell 0 is 'FRII', and FRI in the study"),
    ([list_row(0, 2, label="")], "panel 2 of cell 0 is '', and FRI in the study"),
    ([list_row(0, 2, name=" ")], "panel 2 of cell 0 has no name"),
    ([list_row(0, 2) | dict(cell="x")], "cell = 'x' is no whole number"),
    ([list_row(0, 2) | dict(panel=2.5)], "panel = '2.5' is no whole number"),
    ([list_row(0, 2, ra="12h")], "ra = '12h' is no number"),
    ([list_row(0, 2, ra=400)], "is at 400, 2, which is no position in degrees"),
    ([list_row(0, 2, posterior="inf")], "has posterior inf"),
    ([list_row(0, 2) | dict(cell="x"*999)], "cell = 'x{20,200}[^x]"),
    ([list_row(0, 2, dec="inf")], "no position in degrees"), ([], "no panel is in it")])
def test_a_table_that_is_wrong_is_refused_as_a_whole(tmp_path, rows, told):
    with pytest.raises(ConfigError, match=told): read_panel_rows(write_listed(tmp_path/"a.csv", rows), TWO)


@pytest.mark.parametrize(("columns", "told"), [
    (COLUMNS[:-1], "wanted are cell, panel, name"), ([*COLUMNS, "class"], "position_confidence, class: wanted are"),
    (["RA", "DEC"], "columns RA, DEC: wanted are")])
def test_another_set_of_columns_is_refused(tmp_path, columns, told):
    rows = [{key: row.get(key, 1) for key in columns} for row in OTHERS]
    with pytest.raises(ConfigError, match=told): read_panel_rows(write_listed(tmp_path/"a.csv", rows, columns))


@pytest.mark.parametrize("content", [b"", b"\x89PNG\xff\xfe", b'a,b\n"1,2\n3'])
def test_what_is_no_table_is_refused(tmp_path, content):
    (tmp_path/"a.csv").write_bytes(content)
    with pytest.raises(ConfigError, match="a.csv: "): read_panel_rows(tmp_path/"a.csv")


@pytest.mark.parametrize("suffix", [".zip", ".xz", ".gz"])
def test_the_name_of_a_table_says_nothing_of_its_content(tmp_path, suffix):
    plain = read_panel_rows(write_listed(tmp_path/"a.csv", OTHERS), TWO)
    (tmp_path/"a.csv").rename(tmp_path/f"a{suffix}")
    assert read_panel_rows(tmp_path/f"a{suffix}", TWO).pformat() == plain.pformat()


def test_a_panel_that_is_refused_keeps_out_no_other_of_its_source(tmp_path, notebook):
    rows = [list_row(0, 8, name="S21", dec="", posterior=0.9) if (row["cell"], row["panel"]) == (0, 8) else
            row | dict(name="S21", posterior=0.6) if (row["cell"], row["panel"]) == (2, 5) else row for row in OTHERS]
    rows = [row for row in rows if (row["cell"], row["panel"]) != (2, 1)]
    made = build_asked(notebook, read_panel_rows(write_listed(tmp_path/"a.csv", rows), TWO), KNOWN, VLASS, TWO)
    assert [*made.reasons] == ["panel 8 of cell 0"]


def test_the_order_of_columns_and_a_byte_order_mark_say_nothing(tmp_path):
    plain = read_panel_rows(write_listed(tmp_path/"a.csv", OTHERS), TWO)
    turned = pd.DataFrame(OTHERS)[COLUMNS[::-1]].to_csv(index=False)
    (tmp_path/"b.csv").write_text("\ufeff" + turned, encoding="utf-8")
    assert read_panel_rows(tmp_path/"b.csv", TWO).pformat() == plain.pformat()


def imagine_member(folder, fold, seed, sources):
    "What a kept network says of validation sources, and the weights of the first seed, which were never trained."
    facts = dict(task="VLASS", survey="VLASS", network="alhassan", fold=fold, seed=seed, simulated=False)
    rng, n = np.random.default_rng([fold, seed]), len(sources)
    p = np.clip(0.25 + sources.labels/2 + rng.normal(size=n)/5, 0.02, 0.98)
    table = pd.DataFrame(dict(name=[f"V{fold}{k}" for k in range(n)], label=np.array(sources.classes)[sources.labels],
                              sky_group=range(n), p_FRI=1 - p, p_FRII=p)).assign(split="validation", **facts)
    folder.mkdir(parents=True)
    table.to_parquet(folder/"predictions.parquet")
    write_json(folder/"metrics.json", facts)
    if seed == 1: save_weights(build_network("alhassan", 150, 2, fold), folder/"network.weights.h5")


@pytest.fixture
def clone(tmp_path, notebook, monkeypatch):
    "A clone with kept results of three seeds and two folds, and the weights of one seed."
    asked = read_panel_rows(write_listed(tmp_path/"others.csv", OTHERS), TWO)
    sources = build_asked(notebook, asked, KNOWN, VLASS, TWO).prepared
    (tmp_path/"settings.ini").write_text("lib_name = radiogal\n")
    text = (ROOT/"config"/"vlass.toml").read_text()
    (tmp_path/"config").mkdir()
    (tmp_path/"config"/"vlass.toml").write_text(text)
    kept = tmp_path/"docs"/"results"/"vlass"
    write_table(KNOWN, kept/"preparation"/"panels"/"facts.ecsv")
    for fold in range(2):
        for seed in (1, 2, 3):
            folder = kept/"training"/"VLASS"/"alhassan"/f"fold{fold}"/f"seed{seed}"
            imagine_member(folder, fold, seed, sources)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(panels, "get_registered", lambda *given: notebook)
    for do in (read_panel_rows, build_asked): monkeypatch.setattr(panels, do.__name__, partial(do, figures=TWO))
    return kept


def test_each_kept_network_and_their_mean_answer_and_are_scored(clone, tmp_path):
    scores, refused, out = ask_panels("vlass", tmp_path/"others.csv")
    assert refused == {} and out == tmp_path/"results"/"vlass"/"asked"/"others"
    told = scores["answers"].tolist()
    assert told[:3] == ["alhassan, fold 0, seed 1", "alhassan, fold 1, seed 1", "alhassan, mean of 2"]
    assert told[3].startswith("alhassan, mean of 2, scaled by ") and len(told) == 4 and set(scores["n"]) == {12}
    single = [pd.read_parquet(out/"heldout"/"VLASS"/"alhassan"/f"fold{fold}"/"seed1.parquet") for fold in (0, 1)]
    mean = pd.read_csv(out/"answers.csv").query("answers == 'alhassan, mean of 2'")
    np.testing.assert_allclose(mean["p_FRII"], (single[0]["p_FRII"] + single[1]["p_FRII"])/2)
    assert list(mean["cell"]) == [row["cell"] for row in OTHERS] and set(single[0]["split"]) == {"held-out"}
    by_hand = score_predictions(single[1])
    for key in ("accuracy", "macro_f1", "brier", "ece"): assert scores[key][1] == pytest.approx(by_hand[key], abs=1e-12)
    for key in ("accuracy", "macro_f1", "ece"):
        assert (scores[f"{key}_low"] <= scores[key]).all() and (scores[key] <= scores[f"{key}_high"]).all()
    facts = json.loads((out/"metrics.json").read_text())
    assert {place: digest[:16] for place, digest in facts["weights"].items()} == {
        f"VLASS/alhassan/fold{fold}/seed1": single[fold]["weights"].iloc[0] for fold in (0, 1)}


def test_the_command_names_what_it_refused(clone, tmp_path, capsys):
    write_listed(tmp_path/"some.csv", [list_row(0, 1), *OTHERS])
    assert main(["ask", "vlass", str(tmp_path/"some.csv"), "--out", str(tmp_path/"out")]) == 3
    said = capsys.readouterr()
    assert "panel 1 of cell 0 is refused: the networks were trained or validated on it" in said.err
    assert "alhassan, mean of 2" in said.out and (tmp_path/"out"/"scores_real.md").is_file()
    assert "panel 1 of cell 0,the networks" in (tmp_path/"out"/"refused.csv").read_text()


def test_networks_that_are_not_there_or_were_changed_are_not_asked(clone, tmp_path):
    folder = clone/"training"/"VLASS"/"alhassan"/"fold1"/"seed1"
    record = dict(outputs={"results/vlass/network.weights.h5": "0"*64})
    write_json(folder/"provenance.json", sign(record))
    with pytest.raises(Damaged, match="network.weights.h5 is not what was written"):
        ask_panels("vlass", tmp_path/"others.csv")
    for path in clone.rglob("network.weights.h5"): path.unlink()
    with pytest.raises(ConfigError, match="no weights of a network of panels-VLASS in"):
        ask_panels("vlass", tmp_path/"others.csv")
    assert main(["ask", "vlass", str(tmp_path/"others.csv")]) == 1


@pytest.mark.full
def test_answers_to_a_table_of_the_same_name_are_not_written_over(clone, tmp_path):
    _, _, out = ask_panels("vlass", tmp_path/"others.csv")
    before = (out/"answers.csv").read_bytes()
    (tmp_path/"b").mkdir()
    other = write_listed(tmp_path/"b"/"others.csv", OTHERS[::-1])
    with pytest.raises(ConfigError, match="others holds answers to another table.*give --out FOLDER"):
        ask_panels("vlass", other)
    assert (out/"answers.csv").read_bytes() == before
    assert ask_panels("vlass", other, tmp_path/"mine")[2] == tmp_path/"mine"
    assert ask_panels("vlass", tmp_path/"others.csv")[2] == out
