"Pieces of report and benchmark on kept results of real runs: what is missing, what is compared with what, verdicts."
import base64
import io
import re
from dataclasses import replace
from operator import ge, le

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.table import Table
from conftest import ROOT
from PIL import Image

from radiogal import benchmark, candidates, catalogues, diagnosis, figures, fusion, preparation
from radiogal.config import read_config, read_json
from radiogal.datasets import sample_set
from radiogal.diagnosis import _count_confusion, read_trainings, read_transfers, save_figure
from radiogal.evaluation import score_predictions, summarise_tables

KEPT = ROOT/"docs"/"results"
ROW = ["pair", "method", "sources", "network"]


@pytest.fixture(scope="module")
def story():
    "Settings, trainings, and some transfers, as kept."
    config = read_config(ROOT/"config"/"transfer.toml")
    transfers = {cell: run for cell, run in read_transfers(KEPT/"transfer", config).items() if cell.network == "fields"
                 and cell.pair in ("FIRST-NVSS", "NVSS-FIRST") and cell.method in ("retrain", "scratch")}
    return config, read_trainings(KEPT/"transfer", config), transfers


@pytest.fixture(scope="module")
def table(story):
    config, trainings, transfers = story
    return figures._tabulate_transfers(trainings, transfers, config)


@pytest.fixture(scope="module")
def judged():
    found = benchmark._read_validation(KEPT/"benchmark", read_config(ROOT/"config"/"benchmark.toml"))
    return [j for j in found if j.task == "griese-fr"]


def test_a_figure_is_drawn_once_for_each_format(tmp_path, monkeypatch):
    drawn, draw = [], plt.Axes.draw
    monkeypatch.setattr(plt.Axes, "draw", lambda ax, *given: drawn.append(ax) or draw(ax, *given))
    with plt.style.context("radiogal.radiogal"):
        figure, ax = plt.subplots()
        ax.set_ylabel("Accuracy")
        save_figure(figure, tmp_path, "plot", dict(kind="real"), ("png", "pdf"))
    plt.close(figure)
    assert len(drawn) == 2 and {path.name for path in tmp_path.iterdir()} == {"plot.png", "plot.pdf"}


def test_confusion_of_a_panel_is_the_score_s(judged):
    table = judged[0].predictions
    counts, classes = _count_confusion(table)
    scored = score_predictions(table)
    assert (counts.tolist(), classes) == (scored["confusion"], scored["classes"])


def test_missing_runs_have_a_reason_and_are_gathered(story, tmp_path):
    config, trainings, _ = story
    never = figures._find_missing_runs(tmp_path, config, trainings, {})
    assert set(never["reason"]) == {"not run"} and len(never) == len(config.list_transfers())
    assert figures._gather_missing_runs(never)["runs"].sum() == len(never)
    assert len(figures._gather_missing_runs(never[:0])) == 0
    folder = tmp_path/"transfer"/config.list_transfers()[0].place
    folder.mkdir(parents=True)
    assert "killed, or still running" in figures._tell_reason(folder)
    (folder/"error.txt").write_text("the loss is not a number\n\nTraceback\n")
    assert figures._tell_reason(folder) == "the loss is not a number"


def test_both_accuracies_of_a_row_are_of_the_same_sources(story, table):
    config, trainings, transfers = story
    assert (table["p_holm"].dropna() >= table["p_value"].dropna()).all()
    assert len(figures._tabulate_transfers(trainings, {}, config)) == 0
    fresh = table[table["way"] == figures._FROM_SCRATCH]
    assert len(fresh) and fresh[["gain", "p_holm"]].isna().all(axis=None)
    lacking = {key: trained for key, trained in trainings.items() if key[:2] != ("NVSS", "fields") or key[2] == 0}
    row = figures._tabulate_transfers(lacking, transfers, config).set_index(ROW)
    row = row.loc[("FIRST-NVSS", "retrain", "all", "fields")]
    assert row["runs"] == 3 and row["gain"] == pytest.approx(row["accuracy"] - row["scratch"])


def test_few_sources_are_compared_with_as_few(story, table):
    config, trainings, transfers = story
    few = next(cell for cell in transfers if cell.count and cell.method != "scratch" and "seen" not in cell.pair)
    fresh = [figures._find_control(replace(few, fold=fold), trainings | transfers, config) for fold in config.folds]
    assert all(fresh)
    row = table.set_index(ROW).loc[(few.pair, few.method, str(few.count), few.network)]
    assert row["scratch"] == pytest.approx(summarise_tables([run.predictions for run in fresh])["accuracy"])


@pytest.mark.parametrize("low, high, p, verdict", [
    (.1, .2, .01, "helps"), (-.2, -.1, .01, "hurts"), (-.1, .1, .01, "not shown"), (0, .1, .01, "not shown"),
    (.1, .2, .12, "not shown"), (.1, .2, np.nan, "not shown")])
def test_a_gain_is_shown_by_interval_and_test_together(low, high, p, verdict):
    assert figures._judge_gain(dict(gain_low=low, gain_high=high, p_holm=p)) == verdict


def test_published_claims_are_judged_by_real_honest_rows_alone(story, table):
    config, trainings, transfers = story
    claims, nothing = fusion._judge_claims(trainings, transfers, config), pd.DataFrame()
    assert claims["claim"].tolist() == ["FIRST → NVSS helps", "NVSS → FIRST hurts"]
    row = table.set_index(ROW).loc[[(pair, "retrain", "all", "fields") for pair in ("FIRST-NVSS", "NVSS-FIRST")]]
    assert claims["gain"].tolist() == row["gain"].tolist() and set(claims["holds"]) <= {"yes", "no", "not shown"}
    none = fusion._judge_claims({}, {}, config)
    assert set(none["holds"]) == {"not tested"} and len(figures._compare_study(nothing)) == 0
    text = figures._write_rows(none).to_markdown()
    assert "nan" not in text and "| not tested: 0 of 15 networks of FIRST → NVSS, retrain (15 not there);" in text


def test_surveys_of_other_classes_share_no_judgement(story):
    one = story[1]["FIRST", "fields", 0, 1].predictions
    with pytest.raises(ValueError, match="classes differ"):
        figures._match_sources(one, one.rename(columns=dict(p_FRI="p_Bent")))
    disputed = figures._find_disputes(figures._match_sources(one, one.assign(p_FRII=0., p_FRI=1.)))
    assert disputed["apart"].is_monotonic_decreasing and disputed["apart"][0] == one["p_FRII"].max()


def test_what_was_not_seen_is_not_compared_with_what_was(story):
    config, _, transfers = story
    assert len(figures._compare_seen(transfers, config)) == 0


def test_a_network_without_mistakes_has_no_temperature(judged):
    one = [j for j in judged if j.network == "fields"]
    know = lambda t: t.assign(**{f"p_{c}": 1.*(t["label"] == c) for c in ("FRI", "FRII")})
    table = benchmark._tabulate_calibration([replace(j, predictions=know(j.predictions)) for j in one])
    assert "0 mistakes" in table["reason"][0] and np.isnan(table["temperature"][0]) and table["ece_before"][0] == 0
    assert table.columns.to_list() == benchmark._tabulate_calibration(one).columns.to_list()


def test_times_on_a_gpu_do_not_count(judged):
    one = [j for j in judged if j.network == "fields"]
    fast = replace(one[0], timing=one[0].timing | dict(gpus=["gpu:0"], seconds=1))
    assert benchmark._measure_cost([fast, *one[1:]]) == benchmark._measure_cost(one[1:])
    for unknown in ([fast], [replace(j, timing={}) for j in one]):
        cost = benchmark._measure_cost(unknown)
        assert np.isnan(cost["minutes"]) and cost["threads"] == 0


def test_a_network_that_was_never_trained_has_an_empty_row(judged):
    config = read_config(ROOT/"config"/"benchmark.toml")
    some = [j for j in judged if j.network != "fields"]
    table = benchmark._tabulate_comparison(some, benchmark._tabulate_calibration(some),
                                           benchmark._list_missing_runs(config, some)).set_index(["task", "network"])
    row = table.loc[[("griese-fr", "fields")]].iloc[0]
    assert row["runs"] == 0 and np.isnan(row["accuracy"]) and row["missing"].startswith("fold 0 seed 1 not trained; ")


def test_recall_averages_to_balanced_accuracy_and_precision_may_be_undefined(judged):
    one = [j for j in judged if j.network == "fields"]
    recall = benchmark._tabulate_class_scores(one)["recall"].mean()
    assert recall == pytest.approx(np.mean([j.scores["balanced_accuracy"] for j in one]))
    never = replace(one[0], predictions=one[0].predictions.assign(p_FRI=1., p_FRII=0.))
    scores = benchmark._tabulate_class_scores([never, *one[1:]]).set_index("class")
    assert np.isnan(scores.loc["FRII", "precision"])


def test_a_value_on_the_mark_reaches_it_but_not_with_its_interval(judged):
    line = pd.DataFrame([dict(split="validation", accuracy=.9, low=.8, high=.95)])
    goal = lambda wanted, test: benchmark._judge_goal("made", "", wanted, test, line, "accuracy", ("low", "high"))
    found = [goal(*mark) for mark in ((0, ge), (.9, ge), (1.1, ge), (.9, le), (1.1, le))]
    assert [(g["reached"], g["ci_beyond_target"]) for g in found] == [
        ("yes", "yes"), ("yes", "no"), ("no", "no"), ("yes", "no"), ("yes", "yes")]


def test_a_transfer_that_is_trained_for_other_epochs_than_its_control_is_not_judged(story, table):
    config, trainings, transfers = story
    shorter = config.model_copy(update=dict(transfer=config.transfer.model_copy(update=dict(epochs_part=0.5))))
    rows = figures._tabulate_transfers(trainings, transfers, shorter)
    whole = (rows["method"] == "retrain") & (rows["sources"] == "all")
    assert whole.any() and rows.loc[whole, "gain"].notna().all() and rows.loc[whole, "p_holm"].isna().all()
    for row in rows[whole].to_dict("records"):
        assert "not judged" in figures._write_verdict(row) and figures._judge_gain(row) == "not shown"
    few = (rows["method"] == "retrain") & (rows["sources"] == "30")
    assert rows.loc[few, "p_value"].to_list() == table.loc[few, "p_value"].to_list()


COST = dict(minutes=2.5, parameters=1000, accuracy=0.9)


@pytest.mark.parametrize("others, told", [
    ([], "fields has an accuracy of 0.900 with 1,000 parameters and 2.5 minutes a training."),
    ([dict(network="dense", parameters=2000, accuracy=0.8)], "fields is most accurate, with 1,000 parameters and 2.5 "
     "minutes a training; no other is smaller."),
    ([dict(network="dense", parameters=500, accuracy=0.8)], "fields is most accurate, with 1,000 parameters and 2.5 "
     "minutes a training; the smallest, dense, has 500 and an accuracy of 0.800.")])
def test_the_most_accurate_and_the_smallest_network_may_be_the_same(others, told):
    rows = pd.DataFrame([COST | dict(network="fields"), *(COST | other for other in others)])
    assert benchmark._tell_cost(rows) == told


def predict(n_classes, n=60):
    "A table of predictions that are somewhat right."
    rng, labels = np.random.default_rng(1), np.arange(n) % n_classes
    p = (rng.dirichlet(np.ones(n_classes), n) + np.eye(n_classes)[labels]/4)/1.25
    columns = {f"p_{'ABC'[k]}": p[:, k] for k in range(n_classes)}
    facts = dict(name=[f"S{k}" for k in range(n)], label=[*map("ABC".__getitem__, labels)], sky_group=range(n))
    return pd.DataFrame(facts | columns)


def test_two_classes_have_one_area_and_one_network_is_no_range():
    two, three = predict(2), predict(3)
    assert re.fullmatch(r"The area under the curve is 0\.\d{3} \(x\)\.", diagnosis._tell_areas(dict(x=two)))
    assert re.fullmatch(r"The area .* is between 0\.\d+ \([xy]\) and 0\.\d+ \([xy]\)\.",
                        diagnosis._tell_areas(dict(x=two, y=two[:40])))
    assert re.fullmatch(r"The area .* is between 0\.\d+ \([ABC] by x\) and 0\.\d+ \([ABC] by x\)\.",
                        diagnosis._tell_areas(dict(x=three)))
    assert "no area" in diagnosis._tell_areas(dict(x=two[two["label"] == "A"]))
    assert "between" not in diagnosis._tell_reliability(dict(x=two))


def test_the_words_of_a_reliability_diagram_lie_over_no_bar():
    ax = diagnosis.plot_reliability(predict(3))
    assert ax.get_legend() is None and not ax.texts and "n = 60" in ax.get_xlabel()
    plt.close(ax.figure)


def test_ways_are_told_with_their_ends_and_one_way_without(table):
    few = table[table["gain"].notna()]
    (told,) = diagnosis._tell_ways("Retrained", few)
    assert told.startswith("Retrained: gains are between −") and f"from scratch: {len(few)}; shown to help: 0;" in told
    (unjudged,) = diagnosis._tell_ways("Retrained", few.assign(p_holm=[np.nan, *few["p_holm"][1:]]))
    assert unjudged.endswith("; not judged: 1.") and "not judged" not in told
    (alone,) = diagnosis._tell_ways("Retrained", few[:1])
    assert alone.startswith("Retrained: the gain is ")
    assert alone.endswith("from scratch: 1; shown to help: 0; to hurt: 0.")
    assert diagnosis._tell_ways("Retrained", few[:0]) == figures._tell_memory(few[:0]) == []


def test_findings_begin_with_at_most_ten_sentences_and_have_tables_of_the_rest(story, table, tmp_path):
    scores = figures._tabulate_scores(story[1])
    told = figures._tell_range("The accuracy", scores)*12
    gains = figures._write_rows(table[table["gain"].notna()])
    found = dict(Scores=(told, figures._write_rows(scores)), Gains=([], gains), Nothing=([], pd.DataFrame()))
    written = diagnosis._write_findings(tmp_path/"findings.md", found, dict(run="a", kind="real", settings="b"))
    text = written.read_text()
    assert text.count("\n* The accuracy is between 0.") == 10 and "## Nothing" not in text
    assert "\n\nIn the tables: 2 more.\n\n## Scores" in text
    assert text.count("\n| ") == len(scores) + len(gains) + 2
    assert "| FIRST" in text and "Gain (95 %)" in text and "nan" not in text.lower()


def test_kept_findings_are_ten_sentences_with_intervals_and_those_of_the_site():
    text = (ROOT/"docs"/"findings.md").read_text()
    told = [line for line in text.splitlines() if line.startswith("* ")]
    tested = [line for line in told if ": not tested: " not in line]
    assert 5 <= len(told) <= 10 and all(re.search(r"\([−+]?[\d.]+ to [−+]?[\d.]+\)", line) for line in tested)
    leading = next(path for run in ("vlass", "transfer") if (path := KEPT/run/"report"/"findings.md").is_file())
    assert told == [line for line in leading.read_text().splitlines() if line.startswith("* ")]
    assert text.count("\n## ") == leading.read_text().count("\n## ")


def test_kept_findings_do_not_mix_simulated_sources_with_real_ones():
    told, *tables = (KEPT/"transfer"/"report"/"findings.md").read_text().split("\n## ")
    sky = [line for line in told.splitlines() if "sky-" in line]
    assert len(sky) == 2 and all("simulated" in line for line in sky)
    (transfers,) = [table for table in tables if table.startswith("Does one survey help another?")]
    assert transfers.count("| sky-") == transfers.count(" (simulated) ") == 4
    (asked,) = [line for line in told.splitlines() if "survey, without retraining" in line]
    assert "between −33.3 points (−41.0 to −25.7), zero-shot of fields from FIRST to NVSS" in asked
    first, *claims = [line for line in told.splitlines() if line.startswith("* ")][:3]
    assert first.startswith("* What fields has learned in FIRST, carried to NVSS, is judged by a claim below: ")
    assert [line.split(" (")[0] for line in claims] == ["* FIRST → NVSS helps", "* NVSS → FIRST hurts"]


def test_a_source_on_the_artificial_sky_has_a_sentence_of_its_own(story, table):
    config, few = story[0], table[table["gain"].notna()]
    assert set(diagnosis._name_simulated(config).values()) == {"sky-FIRST (simulated)", "sky-NVSS (simulated)"}
    assert diagnosis._name_simulated(read_config(ROOT/"config"/"smoke.toml")) == {}
    mixed = diagnosis._mark_simulated(few.assign(source=["sky-NVSS", *few["source"][1:]]), config)
    real, made = diagnosis._tell_by_sky("Retrained", mixed)
    assert made.startswith("Weights learned on the artificial sky (simulated): the gain is ") and "sky-NVSS" not in real
    assert diagnosis._tell_by_sky("Retrained", mixed[1:]) == diagnosis._tell_ways("Retrained", mixed[1:])
    assert diagnosis._tell_by_sky("Retrained", pd.DataFrame()) == []
    ax = figures._plot_matrix(mixed, "real", 0.2).axes[0]
    plt.close(ax.figure)
    labels = [tick.get_text() for tick in ax.get_xticklabels()]
    assert labels[0].startswith("sky-NVSS (simulated)\n→ ") and len(set(labels)) == len(labels)
    assert ax.get_xticklabels()[0].get_rotation() == 25


def test_the_matrix_has_the_numbers_of_the_table(table):
    few = table[table["gain"].notna()]
    ax = figures._plot_matrix(few, "simulated", 0.2).axes[0]
    plt.close(ax.figure)
    assert sorted(text.get_text().replace("\n", " points ") for text in ax.texts) == sorted(
        diagnosis._tell_gain(row) for row in few.to_dict("records"))
    assert {tick.get_rotation() for tick in ax.get_xticklabels()} == {0}  # there is room for these


def test_published_scores_of_other_images_or_without_an_interval_compare_nothing():
    row = dict(value=0.9, ours=0.8, ours_low=0.7, ours_high=0.85, same_images=False)
    rows = [row, row | dict(same_images=True), row | dict(same_images=True, value=0.6),
            row | dict(same_images=True, ours_low=np.nan)]
    assert diagnosis._tell_published(pd.DataFrame(rows)) == (
        "Published scores of the same images: 2; below the whole interval here: 1, above it: 1. Of other images, "
        "which compare nothing: 1; without an interval here: 1.")


def test_having_seen_the_sources_is_told_with_its_sign():
    row = dict(source="A", target="B", network="fields", method="retrain", n=9, gain=-0.022, gain_low=-0.049,
               gain_high=0.002, p_holm=0.2)
    (told,) = figures._tell_memory(pd.DataFrame([row, row | dict(method="zero-shot", gain=0.002)]))
    assert told.startswith("Having been trained on the validated sources themselves changes accuracy most in retrain "
                           "of fields from A to B, by −2.2 points (−4.9 to +0.2), on 9 sources. Comparisons: 2;")


def test_equal_accuracies_are_a_sentence_and_so_is_one():
    row = dict(task="a", network="fields", accuracy=0.9, accuracy_low=0.8, accuracy_high=0.95, majority=0.5)
    tell = lambda *rows: figures._tell_range("The accuracy", pd.DataFrame(rows))[0].split("; naming")[0]
    assert tell(row) == "The accuracy is 0.900 (0.800 to 0.950), fields on a"
    assert tell(row, row) == "The accuracy is 0.900 (0.800 to 0.950), fields on a; all 2 have this accuracy"


def test_no_kept_table_has_an_old_name_or_names_a_figure_that_is_not_drawn():
    assert not [*KEPT.glob("**/holes*")]
    cells = read_json(ROOT/"nbs"/"41_final_plots.ipynb")["cells"]
    known = set(re.findall(r"plot_\w+|describe_", " ".join("".join(cell["source"]) for cell in cells)))
    drawn = re.findall(r"\(`([^`]+)`\)", (KEPT/"transfer"/"report"/"captions.md").read_text())
    assert len(drawn) > 20 and not [name for name in drawn if not name.startswith(tuple(known))]


@pytest.mark.parametrize("link, said", [
    (60, "the length is longer, and of the 7 pairs from 40 to 60 arcsec 8 are expected"),
    (40, "up to 40 arcsec, which is the length"),
    (20, "the length is shorter, and of the 20 pairs from 20 to 40 arcsec")])
def test_a_linking_length_is_told_from_the_line_of_chance(link, said):
    low = np.arange(0., 120, 20)
    pairs, expected = np.array([30, 20, 7, 8, 9, 10]), np.array([1., 4, 8, 20, 25, 30])
    rows = Table(dict(low=low*u.arcsec, high=(low + 20)*u.arcsec, pairs=pairs, expected=expected))
    told = candidates._tell_separations(rows, link*u.arcsec)
    assert said in told and "there it is the line that is wrong, too high" in told
    rows["pairs"] = np.append(pairs[:2], [8, 20, 25, 30])
    assert candidates._tell_separations(rows, link*u.arcsec).endswith(": the line holds.")


def test_sources_have_pictures_where_images_are_at_hand():
    sample = sample_set(read_config(ROOT/"config"/"smoke.toml"), "FIRST")
    names = [*sample.names[:2], "unheard of"]
    matched = pd.DataFrame(dict(name=names, first=[0.1, 0.2, 0.3], second=[0.9, 0.1, 0.4]))
    pictures = figures._picture_sources(matched, [sample, sample])["picture"].to_list()
    assert [picture[:10] for picture in pictures] == ["data:image"]*2 + [""] and max(map(len, pictures)) < 4000
    small = Image.open(io.BytesIO(base64.b64decode(pictures[0].split(",")[1])))
    assert small.size == (128, 64)
    assert not any(figures._picture_sources(matched, [])["picture"])
    fewer = replace(sample, names=np.where(sample.names == names[0], "another", sample.names))
    one = figures._picture_sources(matched, [fewer, sample])["picture"][0]
    left, right = np.split(np.asarray(Image.open(io.BytesIO(base64.b64decode(one.split(",")[1]))).convert("L")), 2, 1)
    assert np.ptp(left[:, :56]) < 20 < np.ptp(right[:, 8:])  # blank where a survey has none


@pytest.mark.parametrize("n, across", [(1, 1), (3, 3), (4, 2), (5, 3), (7, 3)])
def test_of_four_panels_none_stands_alone(n, across, judged):
    tables = {f"{k}": judged[0].predictions for k in range(n)}
    fig = diagnosis.plot_grid(tables, lambda table, ax: ax, "real")
    plt.close(fig)
    assert fig.axes[0].get_gridspec().ncols == across and len([ax for ax in fig.axes if ax.get_title()]) == n


def test_examples_are_the_same_sources_in_all_surveys_where_they_have_any(story):
    config = read_config(ROOT/"config"/"smoke.toml")
    first, second = (sample_set(config, survey) for survey in config.surveys[:2])
    order = np.arange(len(second))[::-1]
    second = replace(second, **{name: getattr(second, name)[order] if isinstance(value, np.ndarray)
                                else [value[k] for k in order]
                                for name, value in vars(second).items()
                                if isinstance(value, list | np.ndarray) and len(value) == len(order)})
    chosen, others = fusion._choose_examples([first, second])
    assert chosen == others and fusion._tell_examples([first, second]).startswith("The same sources, ")
    fig = fusion._plot_examples([first, second])
    plt.close(fig)
    titles = [ax.get_title().split("\n")[0] for ax in fig.axes]
    assert titles == [*chosen.values()]*2 and fig.get_suptitle().endswith("arcmin wide, simulated")
    apart = replace(second, names=[f"other {name}" for name in second.names])
    assert fusion._tell_examples([first, apart]).startswith("Sources of the same classes, ")
    wide = replace(second, pixel_arcsec=7*second.pixel_arcsec)
    assert "not equal angles" in fusion._tell_examples([first, wide])
    assert fusion._tell_frames([first, wide]).count("arcmin wide") == 2


def test_pictures_of_mistakes_and_of_disputes_name_their_sources():
    sample = sample_set(read_config(ROOT/"config"/"smoke.toml"), "FIRST")
    name, label = sample.names[0], sample.classes[0]
    wrong = pd.DataFrame(dict(name=[name], label=label, predicted="other", confidence=0.9))
    fig = diagnosis.plot_mistakes(wrong, sample)
    apart = figures._plot_disputes(pd.DataFrame(dict(name=[name], label=label, first=0.1, second=0.9)),
                                   [sample, sample], label)
    for each in (fig, apart): plt.close(each)
    assert {ax.get_title().split("\n")[0] for ax in (*fig.axes, *apart.axes)} - {""} == {name}


def test_no_target_hides_an_hour_of_right_ascension():
    targets = Table(dict(ra=[240.], dec=[0.], label=["FRI"]), meta=dict(SIMULATE=False))
    ax = catalogues.plot_targets(targets)
    plt.close(ax.figure)
    points, = ax.collections
    assert ax.xaxis.get_zorder() > points.get_zorder()


def test_the_scale_bar_of_a_clipped_image_is_round():
    fig = preparation.plot_clipping(np.eye(150), np.eye(150), 1.8*u.arcsec, "real")
    plt.close(fig)
    assert [text.get_text() for text in fig.axes[0].texts] == ["60″"]


def test_the_last_epoch_of_a_left_out_catalogue_is_that_of_the_kept_histories():
    kept = ROOT/"docs"/"results"/"benchmark"
    table = pd.read_csv(kept/"benchmark"/"left_out_real.csv").query("network == 'fields'")
    ends = [pd.read_csv(path)["val_accuracy"].iloc[-1]
            for path in sorted((kept/"training"/"catalogues-fr"/"fields").glob("fold*/seed*/history.csv"))]
    assert table["last_epoch"].to_list() == pytest.approx(ends) and len(ends) == 3
    told = fusion._tell_unknown(table)
    assert f"at the last epoch the mean is {np.mean(ends):.3f} ({min(ends):.3f} to {max(ends):.3f})." in told
    short = fusion._tell_unknown(table.assign(last_epoch=np.nan))
    assert short == told.split(" The catalogue that was left out")[0]
    poor = table[table["accuracy"] < table["guess"]]
    assert len(poor) and all(f"source of {row.catalogues} would get {row.guess:.3f} right" in told
                             for row in poor.itertuples())
    assert "Naming the commonest" not in fusion._tell_unknown(table.assign(guess=0.5))
