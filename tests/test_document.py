"The report as a document: what it holds, what it says of odd results, and what it does without a PDF library."
import base64
import builtins
import re
from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from radiogal import document
from radiogal.config import Damaged, Paths, find_root, parse_config, read_config, read_json, write_atomic, write_json
from radiogal.diagnosis import _locate_points, save_figure
from radiogal.document import write_document, write_pdf
from radiogal.provenance import sign

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mP8/x8AAwMCAO+ip1sAAAAASUVORK5CYII=")
OUTLINE = document._read_outline()
PATHS = Paths(find_root())
CONFIGS = {run: read_config(PATHS.settings(run)) for run in ("benchmark", "transfer", "optimisers")}
PLACES = dict(benchmark="benchmark", optimisers="benchmark", transfer="report")


def make_place(folder, run, shown):
    "The kept tables of a run, and figures that are a pixel each."
    for path in (PATHS.kept(run)/PLACES[run]).glob("*.csv"): write_atomic(folder/path.name, path.read_bytes())
    record = dict(run=run, kind="real", settings="abc", commit="def", notebook="a notebook", code="0123", inputs={},
                  system="Linux", python="3.11", packages={}, parameters=dict(results_dir="none"))
    write_json(folder/"provenance.json", sign(record))
    for figure in shown: write_atomic(folder/run/figure["file"], PIXEL)
    write_json(folder/"figures.json", dict(figures=shown))
    return folder


def write_page(folder, run, shown=(), config=None):
    "The document's text."
    make_place(folder, run, list(shown))
    return write_document(config or CONFIGS[run], folder, folder/run, folder/"report.html").read_text()


def show(name, finding, **more):
    return dict(file=f"{name}.png", finding=finding, run="benchmark", kind="real") | more


@pytest.mark.parametrize("kind", ["report", "benchmark"])
def test_a_document_has_at_most_fifteen_figures_and_tables_that_are_known(kind):
    assert sum(most for section in OUTLINE[kind] for most in section["figures"].values()) <= 15
    asked = [name for section in OUTLINE[kind] for name in section["tables"]]
    assert len(set(asked)) == len(asked) and set(asked) <= OUTLINE["tables"].keys() & document._TOLD.keys()


def test_all_that_is_cited_is_a_reference():
    known = set(document._read_references().entries)
    texts = [path for path in (files("radiogal")/"templates").iterdir() if path.name.startswith("document_")]
    named = {key for path in texts for key in re.findall(r'cite\("([a-z]+\d{4})"\)', path.read_text())}
    assert named and named <= known and {key for keys in OUTLINE["cited"].values() for key in keys.split()} <= known


@pytest.mark.parametrize("run", CONFIGS)
def test_kept_results_make_a_document_with_three_numbers_and_whole_tables(run, tmp_path):
    text = write_page(tmp_path, run)
    assert len(re.findall(r"<div><strong>[+−]?\d", text)) == (2 if run == "optimisers" else 3)  # one network
    assert re.search(r"\w+ tasks?; networks on each: \d+( to \d+)?; folds of each network \(in brackets\): \d", text)
    assert ". Patience is in epochs; networks without one are trained to the last epoch." in text
    labels = re.findall(r"<figcaption><strong>(\w+ \d+)\.</strong> [^<]{20,}</figcaption>", text)
    assert labels == [f"Table {k + 1}" for k in range(len(labels))] and len(labels) >= 4
    body = text.split("</style>")[1]
    assert not re.search(r"\bnan\b|…|\.\.\.|<td[^>]*></td><td[^>]*></td><td[^>]*></td><td[^>]*></td>", body)
    assert "<script" not in text and not re.search(r'(src="(?!data:)|href="(?!#|https://doi\.org/))', text)
    for table in re.findall(r"<table>.*?</table>", body, re.DOTALL):
        rows = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall(r"<tr>.*?</tr>", table)]
        assert len(set(map(len, rows))) == 1 and all(map(any, zip(*rows[1:], strict=True)))
    captions = re.findall(r"<figcaption>.*?</strong>(.*?)</figcaption>", body)
    assert len(set(captions)) == len(captions) == len(labels)
    assert "Content-Security-Policy" in text and " and others" not in text and "et al.." not in text
    for section in ("methods", "limits", "references", "provenance"): assert f'<section id="{section}">' in text
    assert set(re.findall(r'href="#([\w-]+)"', text)) <= set(re.findall(r'id="([\w-]+)"', text))


@pytest.mark.parametrize("run", CONFIGS)
def test_no_table_is_wider_than_a_page_of_the_pdf(run, tmp_path):
    write_page(tmp_path, run)
    if reason := write_pdf(write_atomic(tmp_path/"page.html", "<p>said</p>")): pytest.skip(reason)
    from weasyprint import HTML
    for page in HTML(tmp_path/"report.html").render().pages:
        end = page.width - page._page_box.margin_right + 0.5
        for box in page._page_box.descendants():
            if box.element_tag in ("table", "td", "th"): assert box.position_x + box.width <= end, box
            if getattr(box, "text", ""): assert box.position_x + box.width <= end, box.text


@pytest.mark.parametrize("name", ["40_benchmark", "41_final_plots"])
def test_no_two_figures_of_a_run_have_the_same_caption_and_each_says_what_is_found(name):
    "As in the notebooks' stored outputs, which are those of the real runs."
    outputs = [out for cell in read_json(PATHS.root/"nbs"/f"{name}.ipynb")["cells"] for out in cell.get("outputs", ())]
    written = ["".join(out.get("data", {}).get("text/markdown", "")) for out in outputs]
    captions = [found[1] for text in written if (found := re.match(r"\*\*Figure \d+\*\* \(`[^`]+`\)\. (.*)", text))]
    assert len(captions) > 20 and len(set(captions)) == len(captions)
    assert min(map(len, captions)) > 30 and not re.search(r"\bnan\b|Of 1 ", " ".join(captions))


def test_figures_are_numbered_captioned_once_and_escaped(tmp_path):
    shown = [show("plot_confusion_a", "b"), show("plot_comparison_<i>", 'On <script>alert("x")</script>'),
             show("plot_left_out", "c", run="other"), show("plot_cost_a", "d", kind="simulated"), show("a", "e")]
    text = write_page(tmp_path, "benchmark", shown)
    captions = re.findall(r"<strong>Figure (\d)\.</strong> ([^<]*)</figcaption>", text)
    assert captions == [("1", "On &lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;"), ("2", "d Simulated."),
                        ("3", "b"), ("4", "c Of the run other.")]
    assert "<script" not in text and len(re.findall(r'<img [^>]*alt="Figure', text)) == 4
    assert "every figure, and 1 that are not shown here" in text


def test_points_of_a_figure_have_their_names_and_pictures_on_the_page(tmp_path):
    points = [[0.5, 0.25, "J1<b>", ""], [1, 1, "J2", "data:image/webp;base64,AAAA"]]
    figure = show("plot_left_out", "a", points=points, pictured=["A", "B"])
    text = write_page(tmp_path, "benchmark", [figure])
    width, height = map(int, re.search(r'<svg viewBox="0 0 (\d+) (\d+)"', text).groups())
    marks = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', text)
    assert [(float(x), float(y)) for x, y in marks] == [(width/2, height/4), (width, height)]
    assert "<title>J1&lt;b&gt;</title>" in text and text.count('class="seen"') == text.count("<image ") == 1
    assert 'href="data:image/webp;base64,AAAA"' in text
    assert "is named and, where there are images, shown: A, then B." in text
    assert "is named." in write_page(tmp_path, "benchmark", [show("plot_left_out", "a", points=points[:1])])


def test_points_that_an_older_version_saved_are_refused_with_the_way_out(tmp_path):
    with pytest.raises(Damaged, match=r"plot_left_out\.png was saved by an older version.*make figures RUN=benchmark"):
        write_page(tmp_path, "benchmark", [show("plot_left_out", "a", points=[[0.5, 0.25, "J1"]])])


def test_simulated_sources_of_transfers_say_so(tmp_path):
    text = write_page(tmp_path, "transfer")
    assert "sky-NVSS (simulated) to NVSS" in text and "4 of them learned on the artificial sky, simulated" in text
    assert text.count("sky-NVSS (simulated)</td>") == 2


@pytest.mark.parametrize("across, down", [(0, 0), (0.5, 0.4), (1, 1), (0.9, 0.55)])
def test_the_picture_of_a_source_is_inside_the_figure_and_beside_its_point(across, down):
    mark = document._place_mark(across, down, "J1", "", 480, 360)
    assert 0 <= mark["left"] <= 480 - document._BOX[0] and 0 <= mark["top"] <= 360 - document._BOX[1]
    assert mark["top"] > mark["y"] or mark["top"] + document._BOX[1] < mark["y"]


def test_points_are_found_where_they_are_drawn(tmp_path):
    table = pd.DataFrame(dict(x=[0.1, 0.9], y=[0.2, 0.8], name=["a", "b"]))
    figure, ax = plt.subplots(layout="constrained")
    ax.plot(table["x"], table["y"], "s", ms=9, color="#ff0000")
    path = save_figure(figure, tmp_path, "plot", dict(kind="real"))
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    for x, y, _, _ in _locate_points(figure, table):
        assert picture[round(y*picture.shape[0]), round(x*picture.shape[1])].tolist() == [255, 0, 0]
    plt.close(figure)


def test_a_lost_figure_or_list_of_figures_is_named(tmp_path):
    make_place(tmp_path, "benchmark", [show("plot_left_out", "a")])
    (tmp_path/"benchmark"/"plot_left_out.png").unlink()
    with pytest.raises(Damaged, match="plot_left_out.png is lost: make figures RUN=benchmark"):
        write_document(CONFIGS["benchmark"], tmp_path, tmp_path/"benchmark", tmp_path/"report.html")
    (tmp_path/"figures.json").unlink()
    with pytest.raises(Damaged, match=r"figures\.json"):
        write_document(CONFIGS["benchmark"], tmp_path, tmp_path/"benchmark", tmp_path/"report.html")
    assert not (tmp_path/"report.html").exists()


def test_a_run_of_few_results_still_has_a_document(tmp_path):
    "No transfers, missing runs, results that were joined."
    config = parse_config(read_config(PATHS.settings("smoke")).model_dump() | dict(transfer={}), "smoke")
    make_place(tmp_path, "transfer", [])
    for path in tmp_path.glob("*.csv"): path.unlink()
    write_atomic(tmp_path/"missing_runs_simulated.csv", "place,reason\na,b\nc,d\n")
    write_atomic(tmp_path/"claims_simulated.csv", "\n")
    text = write_document(config, tmp_path, tmp_path/"transfer", tmp_path/"report.html").read_text()
    assert "2 of the trainings" in text and "No transfer is compared" in text and "SIMULATED" in text
    assert "Networks trained on FIRST and VLASS" in text


def test_a_benchmark_of_one_network_without_scores_of_its_own_has_a_document(tmp_path):
    "Nothing to compare with, nothing of the first task, published scores that were not measured."
    make_place(tmp_path, "benchmark", [])
    comparison = pd.read_csv(tmp_path/"comparison_real.csv")
    comparison[comparison["task"] == "griese-fr"].to_csv(tmp_path/"comparison_real.csv", index=False)
    published = pd.read_csv(tmp_path/"published_real.csv")
    published.drop(columns=["ours", "ours_low", "ours_high"]).to_csv(tmp_path/"published_real.csv", index=False)
    (tmp_path/"paired_real.csv").unlink()
    write_document(CONFIGS["benchmark"], tmp_path, tmp_path/"benchmark", tmp_path/"report.html")
    text = (tmp_path/"report.html").read_text()
    assert "No two networks are compared" in text and "No published score is of what was measured" in text


def test_a_table_says_what_is_known_and_no_more():
    row = dict(gain=-0.5, p=2e-9, n=12345, nothing=float("nan"))
    forms = ("{gain_points:+.1f}", "{p:p}", "{n:,}", "{nothing:.1f}", "{x}")
    assert [document._write_cell(row, form) for form in forms] == ["−50.0", "< 0.001", "12,345", "", ""]


@pytest.mark.parametrize("error, said", [(ImportError, "pip install"), (OSError, "apt-get install libpango")])
def test_without_a_pdf_library_there_is_the_page_and_a_sentence(error, said, tmp_path, monkeypatch):
    page, imports = write_atomic(tmp_path/"report.html", "<p>said</p>"), builtins.__import__
    write_atomic(tmp_path/"report.pdf", "an older one")
    def refuse(name, *more, **named):
        if name == "weasyprint": raise error("no")
        return imports(name, *more, **named)
    monkeypatch.setattr(builtins, "__import__", refuse)
    assert said in write_pdf(page) and page.is_file() and not (tmp_path/"report.pdf").exists()


def test_a_page_becomes_a_pdf(tmp_path):
    page = write_atomic(tmp_path/"report.html", "<h1>A</h1><p>said</p>")
    if reason := write_pdf(page): pytest.skip(reason)
    assert (tmp_path/"report.pdf").read_bytes().startswith(b"%PDF")


CLAIMS = pd.DataFrame(dict(claim=["A → B helps", "B → A hurts", "A reaches B"], holds=["yes", "no", "not shown"],
                           network="alhassan"))


def test_claims_are_told_once_each():
    assert document._tell_claims(CLAIMS) == (
        "Of three published claims, tested with alhassan, 1 holds, 1 does not and 1 is not shown.")
    several = pd.concat([CLAIMS, CLAIMS[2:], CLAIMS[:1].assign(holds="not tested")])
    assert document._tell_claims(several).endswith("1 holds, 1 does not, 2 are not shown and 1 is not tested.")
    assert document._sum_up_claims(CLAIMS) == ["Published claims, each judged once by alhassan. A → B helps: it holds; "
                                               "B → A hurts: it does not hold; A reaches B: not shown."]
    assert document._sum_up_claims(several)[0].endswith("; A → B helps: not tested.")
    assert document._sum_up_claims(None) == []
    assert document._sum_up_claims(CLAIMS.assign(holds="not shown")) == [
        "Of three published claims, tested with alhassan, 3 are not shown."]


def test_claims_of_which_none_is_tested_are_no_test_and_no_limit(tmp_path):
    make_place(tmp_path, "transfer", [])
    why = "0 of 0 networks of A → B, retrain (the settings ask for none)"
    claims = pd.DataFrame(dict(claim=["A → B helps", "B → A hurts"], who="X 2019", first="A → B, retrain", why=why,
                               second="B from scratch", network="alhassan", n=0, folds=0, seeds=0, holds="not tested"))
    claims.to_csv(tmp_path/"claims_real.csv", index=False)
    text = write_document(CONFIGS["transfer"], tmp_path, tmp_path/"transfer", tmp_path/"report.html").read_text()
    assert "Published claims: 2; none is tested, because" in text and "0; 0 × 0" not in text
    assert f'<td class="text">{why}</td>' in text  # begins with a digit, and is no number
    assert "The published claims" not in text


def test_the_study_beside_a_run_and_unused_panels_are_counted():
    study = pd.DataFrame(dict(study=[0.93, 0.7, 0.93], accuracy_high=[0.9, 0.8, 0.5],
                              network=["alhassan", "alhassan", "fields"]))
    said = "which had alhassan alone, above the whole interval of alhassan here: 1 of 2."
    assert said in document._tell_study(study)
    told = document._tell_panels(pd.DataFrame(dict(reason=["a", "b"], panels=[140, 29])))
    assert told.startswith("Panels of the study that are not used, for the reasons below: 169. ")


def test_the_three_numbers_are_of_the_network_of_the_headline():
    row = gain(2) | dict(pair="FIRST-VLASS", source="FIRST", target="VLASS", network="alhassan")
    scores = dict(task="VLASS", network="alhassan", n=257, accuracy=0.8, accuracy_low=0.7, accuracy_high=0.9,
                  majority=0.7)
    tables = dict(transfers=pd.DataFrame([row, row | dict(network="fields", gain=0.5)]),
                  scores=pd.DataFrame([scores, scores | dict(network="fields")]))
    numbers = document._number_transfer(read_config(PATHS.settings("vlass")), tables)
    assert [number.value for number in numbers] == ["0.800", "+2.0 points"]
    assert all("alhassan" in number.words for number in numbers)


WAY = dict(method="retrain", network="fields", source="A", target="B", sources="all")


def gain(points, p=0.01, low=None, high=None):
    "A row of the table of transfers."
    value = points/100
    return WAY | dict(gain=value, gain_low=value - 0.01 if low is None else low,
                      gain_high=value + 0.01 if high is None else high, p_holm=p)


@pytest.mark.parametrize("points, high, low", [
    ([2, 5], "largest gain", "smallest gain"), ([-2, -5], "smallest loss", "largest loss"),
    ([2, -5], "largest gain", "largest loss")])
def test_gains_and_losses_are_called_by_their_sign(points, high, low):
    told = document._tell_transfers(pd.DataFrame(map(gain, points)))
    assert f"The {high} against" in told and f"; the {low} is" in told
    assert told.count("it helps") == sum(p > 0 for p in points) and told.count("it hurts") == sum(p < 0 for p in points)


def test_one_transfer_is_told_with_what_is_judged_of_it():
    told = document._tell_transfers(pd.DataFrame([gain(5, p=0.2)]))
    assert told == ("One transfer is compared with training from scratch: retrain of fields from A to B, +5.0 points "
                    "(+4.0 to +6.0): neither a gain nor a loss has been shown.")


def test_one_score_and_equal_scores_are_told():
    row = dict(network="dense", task="adam", accuracy=0.91, majority=0.5, n=2500, split="validation")
    one, two, worse = ([row], [row, row | dict(task="sgd")], [row, row | dict(task="sgd", accuracy=0.8)])
    alone = "The accuracy of dense on adam is 0.910."
    assert document._tell_scores(pd.DataFrame(one)) == alone
    assert document._tell_scores(pd.DataFrame(two)) == "All accuracies are 0.910."
    assert document._tell_comparison(pd.DataFrame(worse)).startswith("Accuracies are between 0.800 (dense, sgd)")
    assert document._tell_comparison(pd.DataFrame([row | dict(split="held-out")])) == alone
    assert document._range_sources(pd.DataFrame([row, row | dict(split="held-out", n=3)])) == "2,500"


@pytest.mark.parametrize("reached, told", [([], "0; reached: 0."), (["no"], "1; reached: 0."),
                                           (["yes", "yes", "unknown"], "2; reached: 2.")])
def test_goals_are_counted(reached, told):
    table = pd.DataFrame(dict(reached=pd.Series(reached, dtype=str)))
    assert document._tell_goals(table) == f"Goals set beforehand and measured: {told}"


def test_a_difference_needs_its_interval_and_its_corrected_test():
    pair = lambda low, high, p: dict(network="fields", accuracy_low=low, accuracy_high=high, p_holm=p)
    rows = [pair(.01, .03, .001), pair(.01, .03, .06), pair(-.01, .03, .001), pair(-.03, -.01, .001)]
    told = document._sum_up_benchmark(CONFIGS["benchmark"], dict(paired=pd.DataFrame(rows)))[1]
    assert told.startswith("Comparisons of fields, this project's own, with another network on the same sources: 4; "
                           "better: 1; worse: 1; not shown: 2 (")
    assert document._judge_transfers({}) == ["No transfer is compared with training from scratch in this run."]
    *_, left = document._judge_transfers(dict(transfers=pd.DataFrame([gain(2), gain(2, p=np.nan)])))
    assert left == "Not judged, because they were trained for other epochs: 1."
    few = [gain(n) | dict(sources="10") for n in (3, 9)] + [gain(20, p=0.2) | dict(sources="30")]
    _, told = document._judge_transfers(dict(transfers=pd.DataFrame([gain(2), *few])))
    assert told == ("With fewer of them: 3; helped: 2; hurt: 0; not shown: 1. What helped most: retrain of fields from "
                    "A to B with 10 sources, +9.0 points (+8.0 to +10.0).")
    (told,) = document._judge_transfers(dict(transfers=pd.DataFrame(map(gain, [2, -2]))))
    assert told.startswith("Ways to carry weights over with all training sources of the target: 2; "
                           "helped: 1; hurt: 1; not shown: 0 (")


def test_tables_of_methods_say_how_far_tasks_and_trainings_differ(tmp_path):
    text = write_page(tmp_path, "optimisers")
    assert "Three tasks; networks on each: 1; folds of each network" in text and "networks are trained for" in text
    rows = [dict(network="a", rate=0.1), dict(network="b", rate=0.01)]
    assert document._tell_span(rows, "rate") == "0.01 (b) to 0.1 (a)" and document._tell_span(rows[:1], "rate") == "0.1"


def test_the_document_of_one_network_names_only_what_its_tasks_use(tmp_path):
    make_place(tmp_path, "optimisers", [])
    config = read_config(PATHS.settings("optimisers"))
    text = write_document(config, tmp_path, tmp_path/"optimisers", tmp_path/"report.html").read_text()
    assert "frdeep" not in text and "with labels and images as their authors published them: Griese" in text
    assert "Surveys: FIRST" in text and "highest validation accuracy" not in text
    assert "each with the image size" not in text
    assert "One network and three tasks, with 1,059 real validation sources." in text


def test_comparisons_of_two_surveys_say_what_is_shown_and_how_much_is_not():
    test = dict(kind="branches, both", against="fields, NVSS", accuracy_difference=0.049, accuracy_low=0.025,
                accuracy_high=0.072, p_holm=0.02)
    less = dict(kind="a", against="b", accuracy_difference=-0.02, accuracy_low=-0.03, accuracy_high=-0.01)
    told = document._tell_surveys(pd.DataFrame([test, test | less, test | dict(p_holm=0.3)]))
    assert told == ("branches, both is more accurate than fields, NVSS, +4.9 points (+2.5 to +7.2); a is less accurate "
                    "than b, −2.0 points (−3.0 to −1.0). Comparisons that show no difference: 1 of 3.")
    pair = dict(network="fields", first="FIRST", second="NVSS", gain=0.05, gain_low=0.01, gain_high=0.1, p_holm=0.2)
    assert document._tell_survey_pairs(pd.DataFrame([pair])) == "Comparisons that show no difference: 1 of 1."
    assert document._tell_survey_pairs(pd.DataFrame([pair | dict(p_holm=0.01)])).startswith(
        "On the same sources fields is more accurate in FIRST than in NVSS, +5.0 points (+1.0 to +10.0). ")


def test_limits_are_those_of_the_run(tmp_path):
    said = {run: write_page(tmp_path/run, run).split('<section id="limits">')[1].split("</section>")[0]
            for run in ("transfer", "benchmark")}
    assert re.search(r"Half of the intervals of \d+ differences are wider than ± \d+\.\d points", said["transfer"])
    assert "griese, sky-FIRST and sky-NVSS have one fold" in said["transfer"] and "one fold" not in said["benchmark"]
    assert "published catalogues" in said["benchmark"]
    smoke = read_config(PATHS.settings("smoke"))
    made = make_place(tmp_path/"smoke", "transfer", [])
    for path in made.glob("*.csv"): path.unlink()
    text = write_document(smoke, made, made/"transfer", made/"report.html").read_text()
    assert "nothing about real radio galaxies" in text and "published catalogues" not in text


def test_a_run_of_one_fold_and_one_seed_has_no_spread_and_says_what_it_was_drawn_from(tmp_path):
    real = read_config(PATHS.settings("real"))
    limits = write_page(tmp_path, "transfer", config=real).split('<section id="limits">')[1].split("</section>")[0]
    assert "Each network is trained once, on one fold" in limits and "spread over folds" not in limits
    assert "--mixed" not in limits
    record = read_json(tmp_path/"provenance.json")
    record = {key: value for key, value in record.items() if key != "digest"} | dict(parameters=dict(
        results_dir="none", mixed=True))
    write_json(tmp_path/"provenance.json", sign(record))
    text = write_document(real, tmp_path, tmp_path/"transfer", tmp_path/"report.html").read_text()
    assert "were let into this report (<code>--mixed</code>)" in text and "with labels of FRDEEP" in text


def test_a_network_that_is_carried_over_as_it_is_has_been_trained_on_no_source_of_the_target(tmp_path):
    text = write_page(tmp_path, "transfer")
    rows = re.findall(r"<tr>.*?</tr>", text)
    as_is = [row for row in rows if ">zero-shot<" in row and row.count("points") == 0 and ">alhassan<" in row]
    assert as_is and all('">none</td>' in row and '">all</td>' not in row for row in as_is)
    assert "Ways to carry weights over as they are, or with all training sources of the target: " in text


def test_the_abstract_of_a_benchmark_says_what_to_expect_of_another_catalogue(tmp_path):
    abstract = write_page(tmp_path, "benchmark").split('<section id="abstract">')[1].split("</section>")[0]
    assert "Of the sources of a catalogue that it was not trained on, fields gets" in abstract
    assert "at the last epoch the mean is" in abstract and "alhassan gets" not in abstract
