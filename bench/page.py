"""The page of all measurements, docs/bench.md, and its figure: from docs/bench/*.json and the kept benchmark.

    python bench/page.py

Nothing is measured. A file of accuracies, {"accuracy": [{"task", "network", "accuracy", "accuracy_low",
"accuracy_high", "minutes", "parameters"}]}, adds lines to the last table and points to the figure.
"""
import ast
import json
from pathlib import Path

import pandas as pd
from _pairs import ROOT

KEPT = ROOT/"docs"/"results"/"benchmark"/"benchmark"/"comparison_real.csv"
FOLDER, PAGE, FIGURE = ROOT/"docs"/"bench", ROOT/"docs"/"bench.md", ROOT/"docs"/"images"/"bench_cost.png"
TEXT = Path(__file__).with_suffix(".md")  # What is said around the numbers
BUSY = 0.25  # Share of the cores that others may use in the second before
SHOWN = {"griese": "four classes", "griese-compact": "compact or extended"}  # Tasks of the figure
OURS = ("`fields`", "`twin`")  # Networks of our own design
NOT_YET = "*Not measured yet: `make bench` does.*"


def read_measured(folder):
    "What scripts wrote, by the script's name. A quick try is none."
    found = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    if quick := [name for name, told in found.items() if told.get("quick")]:
        raise SystemExit(f"{folder}: {', '.join(quick)} is a quick try, which says nothing of speed: make bench")
    return found


def gather(measured, key): return [row for told in measured.values() for row in told.get(key, [])]


def write_table(heads, rows):
    "Markdown; numbers are written by those who call."
    lines = [heads, ["---"]*len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) if rows else NOT_YET


def tell_seconds(value): return f"{value:.3g}" if value < 100 else f"{value:,.0f}"
def tell_count(value): return f"{value:,.0f}"
def tell_rate(value): return f"{value/1e9:.3g}"


def tell_ratio(row):
    "How many times as long the alternative takes, with its range."
    told = f"{row['ratio']:.3g}"
    return f"**{told}**" if row["pairs"] < 2 else f"**{told}** ({row['lowest']:.3g} to {row['highest']:.3g})"


def tabulate_pairs(rows):
    "Ours beside alternatives; raises `ValueError` for a row that is slower and does not say why."
    silent = [row["work"] for row in rows if row["ratio"] < 1 and not row["differs"]]
    if silent: raise ValueError(f"slower, and no reason is given: {'; '.join(silent)}")
    heads = "work", "ours", "alternative", "seconds", "ratio", "peak memory, MiB", "pairs", "beside it"
    return write_table(heads, [
        (row["work"], row["ours"], row["other"], " against ".join(map(tell_seconds, row["seconds"])), tell_ratio(row),
         " against ".join(map(tell_count, row["MB"])), row["pairs"], row["differs"]) for row in rows])


def tabulate_scaling(rows):
    heads = "stage", "n", "processor time, s", "exponent", "of the last decade", "why"
    return write_table(heads, [
        (row["stage"], ", ".join(map(tell_count, row["n"])), ", ".join(map(tell_seconds, row["cpu"])),
         f"**{row['exponent']:.2f}**", f"{row['last']:.2f}", row["why"]) for row in rows])


def tabulate_moved(measured):
    "Two tables: what the machine can move, and what stages do."
    limits = {name: rate for told in measured.values() for name, rate in told.get("limits", {}).items()}
    most = write_table(("limit", "GB/s"), [(name, tell_rate(rate)) for name, rate in limits.items()])
    heads = "stage", "n", "GB/s", "limit", "share of it", "why not more"
    return most, write_table(heads, [
        (row["stage"], tell_count(row["n"]), tell_rate(row["rate"]), row["limit"], f"**{row['share']:.1%}**",
         row["why"]) for row in gather(measured, "moved")])


def tabulate_networks(rows):
    heads = ("network", "pixels", "parameters", "GFLOP an image", "training, images/s", "share of the peak",
             "prediction, images/s", "share of the peak", "drawing batches adds", "memory, MiB")
    return write_table(heads, [
        (f"`{row['network']}`", row["pixels"], tell_count(row["parameters"]), f"{row['gflop']:.3g}",
         tell_seconds(row["training"]), f"{row['training_share']:.0%}", tell_seconds(row["prediction"]),
         f"{row['prediction_share']:.0%}", f"{row['drawing']:.1%}" if "drawing" in row else "–", tell_count(row["MB"]))
        for row in rows])


def tell_peak(rows):
    if not rows: return ""
    peaks = [row["peak_gflops"] for row in rows]
    return f" In these processes the peak was {min(peaks):.0f} to {max(peaks):.0f} GFLOP/s."


def read_accuracy(measured, path=KEPT):
    "Networks on validation images, as kept, and what else is measured of the same folds."
    kept = pd.read_csv(path).query("split == 'validation' and runs > 0")
    kept = kept.assign(network="`" + kept["network"] + "`")
    columns = ["task", "network", "accuracy", "accuracy_low", "accuracy_high", "minutes", "parameters"]
    return pd.concat([kept[columns], pd.DataFrame(gather(measured, "accuracy"), columns=columns)], ignore_index=True)


def tabulate_accuracy(rows):
    heads = "task", "network", "accuracy, 95 % interval", "minutes of a training", "parameters"
    minutes = [f"{spent:.2g}" if pd.notna(spent) else "not timed on a processor" for spent in rows["minutes"]]
    return write_table(heads, [
        (f"`{row.task}`", row.network, f"{row.accuracy:.3f} [{row.accuracy_low:.3f}, {row.accuracy_high:.3f}]", told,
         "–" if pd.isna(row.parameters) else tell_count(row.parameters))
        for row, told in zip(rows.itertuples(), minutes, strict=True)])


def plot_points(ax, rows, column):
    "Accuracy against what one of the columns says; names are above and below the points in turn."
    from matplotlib import ticker
    for k, row in enumerate(rows[rows[column].notna()].sort_values(column).itertuples()):
        bars, place = [[row.accuracy - row.accuracy_low], [row.accuracy_high - row.accuracy]], getattr(row, column)
        ax.errorbar(place, row.accuracy, yerr=bars, fmt="o", ms=4, capsize=2, color=f"C{row.network not in OURS:d}")
        ax.annotate(row.network.strip("`"), (place, row.accuracy), xytext=(4, (4, -9)[k % 2]),
                    textcoords="offset points", fontsize=7)
    ax.set(xscale="log", xlabel="Minutes of a training" if column == "minutes" else "Parameters")
    ax.margins(x=0.25)
    ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1,) if column == "parameters" else (1, 2, 5), numticks=9))
    ax.xaxis.set_major_formatter(ticker.EngFormatter(sep="") if column == "parameters"
                                 else ticker.StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_formatter(ticker.NullFormatter())


def plot_cost(rows, tasks=SHOWN):
    "Accuracy against minutes of training and against parameters, a row of charts per task."
    import matplotlib.pyplot as plt
    fig, axes = plt.subplots(len(tasks), 2, figsize=(6.4, 2.6*len(tasks)), sharey="row", layout="constrained",
                             squeeze=False)
    for pair, (task, said) in zip(axes, tasks.items(), strict=True):
        for ax, column in zip(pair, ("minutes", "parameters"), strict=True):
            plot_points(ax, rows[rows["task"] == task], column)
        pair[0].set_ylabel(f"Accuracy, {said}")
    return fig


def describe_cost(rows):
    "The figure in words."
    told = []
    for task, said in SHOWN.items():
        mine = rows[rows["task"] == task].sort_values("accuracy", ascending=False)
        told.append(f"{said}: " + ", ".join(f"{row.network.strip('`')} {row.accuracy:.2f} with "
                                            f"{tell_count(row.parameters)}" for row in mine.itertuples()
                                            if pd.notna(row.parameters)))
    return f"Accuracy against minutes of a training and against parameters. {'. '.join(told)} parameters."


def draw_figure(rows, path):
    import matplotlib.pyplot as plt
    with plt.style.context("radiogal.radiogal"):
        plot_cost(rows).savefig(path, dpi=130, metadata={"Software": None})


def tabulate_machines(measured):
    "Where and when each part was measured."
    heads = "part", "date", "commit", "processor", "cores", "memory, GiB", "cores in use before", "minutes"
    parts = {name: told for name, told in measured.items() if "machine" in told}
    return write_table(heads, [
        (f"`{name}`", m["date"], m["commit"], m["processor"], m["cores"], m["GiB"], m["busy"], f"{told['minutes']:.1f}")
        for name, told in parts.items() for m in [told["machine"]]])


def tell_machines(measured):
    "Versions, the time of all, and whether others were at work."
    machines = [told["machine"] for told in measured.values() if "machine" in told]
    if not machines: return ""
    last = max(machines, key=lambda each: each["date"])
    versions = ", ".join(f"{name} {told}" for name, told in last["versions"].items())
    told = (f"{last['system']}, Python {last['python']}; {versions}. All together took "
            f"{sum(each.get('minutes', 0) for each in measured.values()):.0f} minutes.")
    busy = [name for name, each in measured.items()
            if "machine" in each and each["machine"]["busy"] > BUSY*each["machine"]["cores"]]
    if not busy: return f"{told}\n\n"
    return f"{told} **Others were at work on the machine before {', '.join(busy)}: take no time from there.**\n\n"


def list_by_hand():
    "Scripts that take long or compare nothing, with what they say of themselves."
    paths = sorted((ROOT/"bench"/"hand").glob("*.py"))
    said = {path: ast.get_docstring(ast.parse(path.read_text())).split("\n")[0] for path in paths}
    return "\n".join(f"* `bench/hand/{path.name}`: {text}" for path, text in said.items())


def write_page(measured, accuracy):
    "The page as text."
    (most, moved), networks = tabulate_moved(measured), gather(measured, "networks")
    return TEXT.read_text().format(
        pairs=tabulate_pairs(gather(measured, "rows")), scaling=tabulate_scaling(gather(measured, "scaling")),
        most=most, moved=moved, peak=tell_peak(networks), networks=tabulate_networks(networks),
        words=describe_cost(accuracy), figure=FIGURE.name, accuracy=tabulate_accuracy(accuracy),
        machines=tabulate_machines(measured), versions=tell_machines(measured), by_hand=list_by_hand())


def main():
    measured = read_measured(FOLDER)
    accuracy = read_accuracy(measured)
    draw_figure(accuracy, FIGURE)
    PAGE.write_text(write_page(measured, accuracy))


if __name__ == "__main__": main()
