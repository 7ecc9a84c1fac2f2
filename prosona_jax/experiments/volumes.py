"""Scores the volumes of a split: all slices of a volume count together."""

import itertools
from collections.abc import Iterable, Iterator, Mapping

import jax
import numpy as np

from data_pipelines.prepared import Dataset
from prosona_jax.evaluation import volume_latents, volumes
from prosona_jax.evaluation.scoring import Row
from prosona_jax.evaluation.volume_latents import Slice
from prosona_jax.evaluation.volume_steps import OWN, Asked, Drawn, Placed
from prosona_jax.experiments import build, inputs, predictions
from prosona_jax.experiments.build import Config
from prosona_jax.experiments.inputs import Data
from prosona_jax.experiments.predictions import StageTwo
from prosona_jax.types import Batch, InputError, Params

_RECORDS = 512  # that are located before they are drawn; hundreds of sentences take 26 KB for each


def score(
    config: Config,
    stage_one: Params,
    second: StageTwo | None,
    data: Data,
    split: str,
    *,
    samples: int,
) -> list[Row]:
    """Returns one row per volume and method, see `volumes.evaluate`, on every process.

    Each row also has the patient and, if the data name any, the site. Records that are no slices of
    a volume are left out. There are no rows without volumes.
    """
    dataset = data.dataset
    place_of = places(dataset, data.indices[split].tolist())
    if not place_of:
        return []
    locate = predictions.step(config, build.locate_step, styles=second.styles if second else 0)
    draw = predictions.step(config, build.volume_draw_step, samples=samples)
    asked = Asked(stage_one, second and second.params, _text(second))
    latent = config.evaluate.get("latent", "draw")  # workdirs from before this field have none

    def batches(indices: list[int]) -> Iterator[Batch]:
        # A process needs all slices of a volume, so each one draws all volumes.
        return inputs.eval_batches(config, dataset, np.array(indices), everywhere=True)

    def drawn() -> Iterator[tuple[Placed, Drawn]]:
        for indices in _parts(place_of):
            found = [each for _, each in predictions.run(config, asked, batches(indices), locate)]
            located = jax.tree.map(lambda *each: np.concatenate(each), *found)
            place = volume_latents.share(located, indices, place_of, latent)
            yield from predictions.run(config, stage_one, map(place, batches(indices)), draw)

    rows = volumes.evaluate(drawn(), place_of, by_area=config.data.raters == "by_area")
    record_of = {place.volume: index for index, place in place_of.items()}
    return [
        {"volume": row["volume"], **inputs.origin(dataset, record_of[row["volume"]])} | row
        for row in rows
    ]


def _parts(place_of: Mapping[int, Slice]) -> Iterator[list[int]]:
    """Yields whole volumes, so many that their queries take little memory, slices in order."""
    part: list[int] = []
    for own in volume_latents.by_volume(place_of, place_of):
        part += own
        if len(part) >= _RECORDS:
            yield part
            part = []
    if part:
        yield part


def _text(second: StageTwo | None) -> dict[str, np.ndarray | None]:
    """Returns what each method asks, see `Asked.text`."""
    if second is None:
        return {}
    if not second.text:
        return {OWN: None}
    train, held_out = (np.moveaxis(second.text[split], 1, 0) for split in ("train", "held_out"))
    return {OWN: train, "prompts_train": train, "prompts_held_out": held_out}


def places(dataset: Dataset, indices: Iterable[int]) -> dict[int, Slice]:
    """Returns the place of each record that is a slice of a volume, by its index.

    Slices are numbered by their positions in units of the distance from slice to slice. If one of
    these is unknown, they are numbered in the order of the positions or of the data set.

    Raises:
        InputError: two slices of a volume lie nearer than the distance from slice to slice.
    """
    own = sorted(
        (i for i in indices if dataset.volumes[i]),
        key=lambda i: (dataset.volumes[i], dataset.slice_mm[i], i),
    )
    found: dict[int, Slice] = {}
    for volume, group in itertools.groupby(own, key=lambda i: dataset.volumes[i]):
        slices = list(group)
        spacing_mm = dataset.slice_spacings_mm[slices[0]]
        at = np.array([dataset.slice_mm[i] for i in slices])
        numbers = np.arange(len(slices))
        if not np.isnan(at / spacing_mm).any():
            numbers = np.round((at - at.min()) / spacing_mm).astype(int)
        if len(set(numbers.tolist())) < len(slices):
            raise InputError(
                f"volume {volume!r}: its slices lie nearer than slice_spacing_mm = {spacing_mm:g}; "
                "correct their positions (slice_mm) or the distance"
            )
        size = np.array([spacing_mm, *dataset[slices[0]].spacing_mm], np.float32)
        found |= {
            i: Slice(volume, int(number), size) for i, number in zip(slices, numbers, strict=True)
        }
    return found
