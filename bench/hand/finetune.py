"""Own labels as a user has them: accuracy of `finetune` on FRDEEP's images in NVSS, and the seconds that it takes.

hand/finetune.py [START …]: networks to start from, first-4class if none is named. Five folds of 125 sources train on
100 each: as many as retrain in docs/results/transfer/report/learning_real.csv, where n_target is 100.
"""
import os
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

from sklearn.model_selection import train_test_split

SOURCES, DRAWS = 125, 2
WORDS = dict(FRI="dark edges", FRII="bright edges")


def fetch_sources(folder):
    "Images of FRDEEP's training sources in NVSS, and labels in words of one's own."
    from radiogal.catalogues import CATALOGUES, find_registered, read_catalogue
    from radiogal.fetch import Fetcher, get_registered, registry_hosts, select_files
    from radiogal.provenance import Manifest
    catalogue, fetcher = CATALOGUES["frdeep"], Fetcher(Manifest(folder/"manifest.sqlite"), registry_hosts())
    table = read_catalogue(catalogue, get_registered(fetcher, find_registered(catalogue), folder))
    label = dict(zip(table["name"].tolist(), table["label"].tolist(), strict=True))
    files = select_files("frdeep", "NVSS", "train")
    return [get_registered(fetcher, f, folder) for f in files], [WORDS[label[f.object]] for f in files]


def measure(start, images, labels, draw, out):
    "Scores out of fold of one draw of sources, as many of each class as among all, with the seconds it took."
    from radiogal.learning import finetune
    chosen, _, words, _ = train_test_split(images, labels, train_size=SOURCES, stratify=labels, random_state=draw)
    clocks = time.perf_counter, time.process_time  # the second does not count what others on the machine do
    began = [clock() for clock in clocks]
    scores = finetune(start, chosen, words, out, survey="NVSS").scores
    seconds, of_cores = (clock() - first for clock, first in zip(clocks, began, strict=True))
    return scores[["split", "of", "sources", "accuracy"]].assign(start=start, draw=draw, seconds=seconds,
                                                                 of_cores=of_cores)


def main():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with tempfile.TemporaryDirectory() as scratch:
        images, labels = fetch_sources(Path(scratch))
        print(f"finetune on {SOURCES} of {len(images)} sources, {len(os.sched_getaffinity(0))} cores: accuracy out of "
              "fold with its 95 % interval, seconds, and seconds of all cores together")
        for start, draw in product(sys.argv[1:] or ["first-4class"], range(1, 1 + DRAWS)):
            scores = measure(start, images, labels, draw, Path(scratch)/f"{Path(start).name}-{draw}")
            print(scores.to_string(index=False, float_format="%.0f"), flush=True)


if __name__ == "__main__": main()
