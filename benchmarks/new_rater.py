"""Dice with raters whom no training saw: their profile against the best existing style.

    python -m benchmarks.new_rater --data=cells_10_raters.npz runs/without0:0 runs/without1:1

Each RUN:RATER names a trained run and a rater of the data set, 0-based, who had no mask in its
training: a copy of the data set whose `rater_valid` is False for this rater was trained on. Some
test images of the run are drawn, a profile is fitted to the rater's masks on them, and the other
test images are scored. The best existing style is chosen on the same images as the profile. An
image's score is its mean over the draws in which it was not fitted. "As advised" takes the profile
where its own scores on images left out of the fit say that it helped, and the best style elsewhere.
The intervals resample raters and images.
"""

import argparse
import itertools
import pathlib
from collections.abc import Sequence

import numpy as np

from data_pipelines import cases, npz
from data_pipelines.cases import Case
from prosona_jax.evaluation import intervals, metrics
from prosona_jax.prediction.loading import load
from prosona_jax.prediction.model import Model

COLUMNS = ("profile", "as advised", "best style", "prior's mean")


def scores(
    model: Model, found: Sequence[Case], *, images: int, draws: int, seed: int = 0
) -> np.ndarray:
    """Returns the Dice f64 [n, 4] on each case of a profile of other cases, and of `COLUMNS`' rest.

    NaN: the case was in the fit of every draw.
    """
    total, count = np.zeros((len(found), len(COLUMNS))), np.zeros((len(found), 1))
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        fitted, scored = np.split(rng.permutation(len(found)), [images])
        profile = model.fit_style(
            [found[i].image for i in fitted], [found[i].mask for i in fitted], name="new rater"
        )
        asked = ((profile, 1.0), (profile.best_style, 1.0), (profile.best_style, 0.0))
        for i in scored:
            image, mask = found[i]
            drawn = [model.segment(image, style=style, strength=s) for style, s in asked]
            own, best, mean = (metrics.dice(each.mask, mask) for each in drawn)
            total[i] += own, own if profile.helped else best, best, mean
            count[i] += 1
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def of_test_patients(model: Model, data: pathlib.Path, rater: int) -> tuple[np.ndarray, list[Case]]:
    """Returns the indices and the cases of a rater on the run's test patients."""
    patients = npz.texts(data, "patient_id", npz.read(data, ("patient_id",))["patient_id"])
    found = [
        case
        for case in cases.read(data, rater=rater)
        if patients[case.image.slice_index] in model.run.patients["test"]
    ]
    return np.array([case.image.slice_index for case in found]), found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--images", type=int, default=5, help="to fit a profile to")
    parser.add_argument("--draws", type=int, default=20, help="of the images to fit")
    parser.add_argument("runs", nargs="+", metavar="RUN:RATER")
    asked = parser.parse_args()
    names, tables = [], []
    for run in asked.runs:
        folder, _, rater = run.rpartition(":")
        model = load(folder)
        index, found = of_test_patients(model, asked.data, int(rater))
        table = np.full((len(npz.read(asked.data, ("image",))["image"]), len(COLUMNS)), np.nan)
        table[index] = scores(model, found, images=asked.images, draws=asked.draws)
        names.append(f"rater {rater}")
        tables.append(table)
    print(f"| Dice, fitted to {asked.images} images | {' | '.join(COLUMNS)} |")
    print("|---|---|---|---|---|")
    for name, table in zip(names, tables, strict=True):
        print(f"| {name} | {' | '.join(f'{x:.3f}' for x in np.nanmean(table, axis=0))} |")
    by_rater = np.stack(tables)  # [r, n, 4]
    scored = ~np.isnan(by_rater).all(axis=(0, 2))
    for one, other in itertools.product(COLUMNS[:2], COLUMNS[2:]):
        columns = by_rater[:, scored, COLUMNS.index(one)], by_rater[:, scored, COLUMNS.index(other)]
        mean, *limits = intervals.bootstrap_crossed(columns[0] - columns[1], resamples=2000, seed=0)
        within = "" if None in limits else f" [{limits[0]:+.3f}, {limits[1]:+.3f}]"
        print(f"\n{one.capitalize()} minus {other}: {mean:+.3f}{within}")


if __name__ == "__main__":
    main()
