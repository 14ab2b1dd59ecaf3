"""Draw the picture on the project's first page: real sources with their classes, and how often networks are right.

    make front

Images are those of Griese et al. (2023), from FIRST, fetched by SHA-256 or taken from RADIOGAL_MIRROR; scores are the
kept ones.
"""
import matplotlib.pyplot as plt
import pandas as pd

from radiogal.config import Paths, find_root
from radiogal.datasets import read_prepared

CLASSES = {"FRI": "FR I", "FRII": "FR II", "Bent": "bent", "Compact": "compact"}
CENTRE_ARCMIN = 4.0
FOLDS = 5


def choose_shown(predictions):
    "Two rightly classified sources of each class, a third and two thirds up the order of confidence: no best cases."
    found = predictions.assign(confidence=predictions[[f"p_{name}" for name in CLASSES]].max(axis=1))
    right = [row[f"p_{row['label']}"] == row["confidence"] for _, row in found.iterrows()]
    ordered = found[right].sort_values(["confidence", "name"])
    return {name: [some.iloc[len(some)*k//3] for k in (1, 2)] for name, some in ordered.groupby("label")}


def draw_sources(axes, shown, sources):
    "A column of images per class, with the probability that a network which had not seen the source gave its class."
    half = round(CENTRE_ARCMIN*30/sources.pixel_arcsec)
    rows = {name: i for i, name in enumerate(sources.names)}
    for column, (name, said) in zip(axes.T, CLASSES.items(), strict=True):
        for ax, row in zip(column, shown[name], strict=True):
            image, middle = sources.images[rows[row["name"]], ..., 0], sources.images.shape[1]//2
            ax.imshow(image[middle - half:middle + half, middle - half:middle + half]**0.5)
            ax.set(xticks=[], yticks=[], xlabel=f"{said}: {row['confidence']:.2f}")
            ax.grid(False)
    axes[1, 0].plot([0.08, 0.08 + 1/CENTRE_ARCMIN], [0.08, 0.08], color="w", transform=axes[1, 0].transAxes)
    axes[1, 0].text(0.08, 0.11, "1′", color="w", transform=axes[1, 0].transAxes)


def draw_scores(ax, kept):
    "Accuracy on the 399 held-out images: ours, and what is published for the same images."
    read = lambda name: (pd.read_csv(kept/"benchmark"/f"{name}_real.csv")
                         .query("task == 'griese' and split == 'held-out'"))
    published = read("published").query("score == 'accuracy'").sort_values("value")
    lines = [(row.who.replace("Rustige 2023, ", ""), row.value, row.spread, row.spread, "0.45")
             for row in published.itertuples()]
    for name, table in (("fields", read("comparison")), ("fields, five together", read("ensembles"))):
        row = table.iloc[0]
        lines.append((name, row["accuracy"], row["accuracy"] - row["accuracy_low"],
                      row["accuracy_high"] - row["accuracy"], "C0"))
    for y, (_, value, below, above, colour) in enumerate(lines):
        ax.errorbar(value, y, xerr=[[below], [above]], fmt="o", color=colour, capsize=2)
    ax.set(yticks=range(len(lines)), yticklabels=[line[0] for line in lines],
           xlabel="Accuracy on held-out images, four classes", ylim=(-0.6, len(lines) - 0.4))
    ax.grid(axis="y", visible=False)


def main():
    paths = Paths(find_root())
    kept, sources = (paths.kept("benchmark"),
                     read_prepared(paths.results("benchmark")/"preparation"/"griese"/"prepared.h5"))
    tables = [kept/"training"/"griese"/"fields"/f"fold{k}"/"seed1"/"predictions.parquet" for k in range(FOLDS)]
    shown = choose_shown(pd.concat([pd.read_parquet(table) for table in tables]))
    with plt.style.context("radiogal.radiogal"):
        fig = plt.figure(figsize=(9.2, 2.9))
        left, right = fig.subfigures(1, 2, width_ratios=(1.15, 1))
        draw_sources(left.subplots(2, 4), shown, sources)
        draw_scores(right.subplots(), kept)
        (paths.root/"docs"/"images").mkdir(exist_ok=True)
        fig.savefig(paths.root/"docs"/"images"/"front.png", dpi=130, metadata={"Software": None})


if __name__ == "__main__": main()
