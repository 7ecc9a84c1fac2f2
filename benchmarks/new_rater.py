"""Dice with raters whom no training saw: a profile and a card against the best existing style.

    python -m benchmarks.new_rater --data=cells_10_raters.npz runs/without0:0 runs/without1:1

Each RUN:RATER names a trained run and a rater of the data set, 0-based, who had no mask in its
training: a copy of the data set whose `rater_valid` is False for this rater was trained on. Some
test images of the run are drawn. The rater's masks on them are used in two ways, and the other test
images are scored.

    profile   a query is fitted to the masks (`fit_style`)
    card      the rater's habits are measured on the masks, against the consensus of the raters whom
              the model knows, and one sentence that says them is drawn. Only models that read
              habits (`stage_two.query=habits`) know such sentences

The best existing style is chosen on the same images. An image's score is its mean over the draws in
which it was not drawn. "As advised" takes the profile where its own scores on images left out of
the fit say that it helped, and the best style elsewhere. The intervals resample raters and images.
"""

import argparse
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from data_pipelines import cases, habits, npz, prepared
from data_pipelines.cases import Case
from data_pipelines.settings import Settings
from prosona_jax.evaluation import intervals, metrics
from prosona_jax.experiments import cards
from prosona_jax.prediction.loading import load
from prosona_jax.prediction.model import Model
from prosona_jax.text.habits import parse_scale
from prosona_jax.types import Record

WAYS = ("profile", "as advised", "card")
COLUMNS = (*WAYS, "best style", "prior's mean")


class Image(NamedTuple):
    """A test image with the mask of the new rater."""

    name: str  # of its record in the data set
    case: Case
    record: Record  # with the masks of all raters on the model's pixels


def test_images(model: Model, data: pathlib.Path, rater: int) -> list[Image]:
    """Returns the images of the run's test patients that the rater has read."""
    changed = {**model.run.config["data"], "source": "npz", "path": str(data)}
    dataset = prepared.prepare(Settings.from_config(changed), changed["cache_dir"])
    place = {record_id: n for n, record_id in enumerate(dataset.record_ids)}
    ids = npz.texts(data, "record_id", npz.read(data, ("record_id",))["record_id"]).tolist()
    found = [(ids[case.image.slice_index], case) for case in cases.read(data, rater=rater)]
    images = [Image(name, case, dataset[place[name]]) for name, case in found if name in place]
    return [each for each in images if each.record.patient_id in model.run.patients["test"]]


def card(model: Model, images: Sequence[Image], rater: int, seed: int) -> str | None:
    """Returns the sentence that says the rater's habits on images; None: no habits are read."""
    described = model.run.prompts
    if described is None or "habit_reader" not in described["encoder"]:
        return None
    known = [k for k, style in enumerate(described["styles"]) if style.get("habits")]
    chosen = [*known, rater]
    measured = habits.measure(
        each.record._replace(
            masks=each.record.masks[chosen], rater_valid=each.record.rater_valid[chosen]
        )
        for each in images
    )
    scale = parse_scale(described["scale"], str(model.folder))
    return cards.sentence(measured, len(known), scale, seed=seed)


def scores(
    model: Model, found: Sequence[Image], rater: int, *, images: int, draws: int, seed: int = 0
) -> tuple[np.ndarray, list[str]]:
    """Returns the Dice f64 [n, 5] on each image by `COLUMNS`, and the sentence of each draw.

    NaN: the image was used in every draw, or the model reads no habits.
    """
    total, count = np.zeros((len(found), len(COLUMNS))), np.zeros((len(found), 1))
    rng, said = np.random.default_rng(seed), []
    for draw in range(draws):
        used, scored = np.split(rng.permutation(len(found)), [images])
        drawn = [found[i] for i in used]
        profile = model.fit_style(
            [each.case.image for each in drawn],
            [each.case.mask for each in drawn],
            name="new rater",
        )
        best = {"style": profile.best_style}
        asked: list[dict[str, Any]] = [{"style": profile}, best, {**best, "strength": 0.0}]
        if sentence := card(model, drawn, rater, seed=draw):
            asked.append({"prompts": sentence})
            said.append(sentence)
        for i in scored:
            image, mask = found[i].case
            dice = [metrics.dice(model.segment(image, **way).mask, mask) for way in asked]
            own, best_style, mean, *carded = dice
            advised = own if profile.helped else best_style
            total[i] += own, advised, *(carded or [np.nan]), best_style, mean
            count[i] += 1
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0), said


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--images", type=int, default=5, help="that the rater has outlined")
    parser.add_argument("--draws", type=int, default=20, help="of these images")
    parser.add_argument("runs", nargs="+", metavar="RUN:RATER")
    asked = parser.parse_args()
    tables, sentences = {}, {}
    for run in asked.runs:
        folder, _, rater = run.rpartition(":")
        model = load(folder)
        found = test_images(model, asked.data, int(rater))
        table, said = scores(model, found, int(rater), images=asked.images, draws=asked.draws)
        tables[run] = {each.name: row for each, row in zip(found, table, strict=True)}
        sentences[run] = said
    print("\n".join(lines(tables, asked.images)))
    for run, said in sentences.items():
        print(f"\n{run}: {' '.join(said) or 'reads no habits'}")


def lines(tables: Mapping[str, Mapping[str, np.ndarray]], images: int) -> list[str]:
    """Returns the table of raters, and the differences of each way from what exists.

    Args:
        tables: the scores f64 [5] of each run's new rater on each image.
        images: that were used.
    """
    names = sorted({name for table in tables.values() for name in table})
    nothing = np.full(len(COLUMNS), np.nan)
    found = np.array([[table.get(name, nothing) for name in names] for table in tables.values()])
    shown = [n for n in range(len(COLUMNS)) if np.isfinite(found[..., n]).any(axis=1).all()]
    header = [f"Dice, {images} images used", *(COLUMNS[n] for n in shown)]
    rows = [
        [name, *(f"{value:.3f}" for value in np.nanmean(scored[:, shown], axis=0))]
        for name, scored in zip(tables, found, strict=True)
    ]
    rows.append(["mean", *(f"{value:.3f}" for value in np.nanmean(found[..., shown], axis=(0, 1)))])
    table = [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
    for one, other in itertools.product(shown, shown):
        if COLUMNS[one] in WAYS and COLUMNS[other] not in WAYS:
            mean, *limits = intervals.bootstrap_crossed(
                found[..., one] - found[..., other], resamples=2000, seed=0
            )
            within = "" if None in limits else f" [{limits[0]:+.3f}, {limits[1]:+.3f}]"
            table += [
                "",
                f"{COLUMNS[one].capitalize()} minus {COLUMNS[other]}: {mean:+.3f}{within}",
            ]
    return table


if __name__ == "__main__":
    main()
