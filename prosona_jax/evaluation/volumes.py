"""Scores volumes: adds the overlaps of their slices, and measures the distances of surfaces.

Only the slices that are records are seen. On slices between them no mask has a voxel.

Intersections and areas add over slices, so every score that is computed from them needs no volume
in memory:

    |a & b| = sum over slices i of |a_i & b_i|

The distances of surfaces need the masks, of one volume at a time.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, UInt8

from prosona_jax.evaluation import measures, metrics, packed, scoring, surfaces
from prosona_jax.evaluation.metrics import Overlaps
from prosona_jax.evaluation.scoring import Row
from prosona_jax.evaluation.volume_latents import Slice
from prosona_jax.evaluation.volume_steps import OWN, Drawn, Placed

_MEASURES = ("hd95_max_mm", "assd_mm", "difference_ml", "bias_ml")
METHODS = ("samples", "prior_mean", "raters", OWN, "prompts_train", "prompts_held_out")


def evaluate(
    predictions: Iterable[tuple[Placed, Drawn]],
    place_of: Mapping[int, Slice],
    *,
    by_area: bool,
) -> list[Row]:
    """Returns one row per volume and method, as {"volume", "slices", "method", metric: value}.

    The methods and their metrics are those of the records, see `scoring.evaluate` and
    `scoring.evaluate_styles`, from the voxels of the whole volume; "area_<i>" becomes
    "voxels_<i>". "prior_mean" and `OWN` also have, as means over the raters, and "raters" has, as
    means over the pairs of raters:

        hd95_max_mm, assd_mm    see `surfaces.Distances`
        difference_ml           |volume - rater's volume|
        bias_ml                 volume - rater's volume; not of "raters", where it means nothing

    and `OWN` the same for each style, with "_<i>" after the name. A distance is NaN if a mask is
    empty or the size of a voxel is unknown, and the measures of a style whose rater is missing are
    NaN too. The means are over the raters whose distance is known,
    and "undefined" is the number of the others.

    Args:
        predictions: batches of slices, in the order of `order`.
        place_of: the place of each record.
        by_area: as in `scoring.evaluate_styles`.
    """
    rows: list[Row] = []
    drawn = _slices(predictions)
    for volume, own in itertools.groupby(drawn, lambda each: place_of[each.record].volume):
        total, masks, last = None, [], None
        for last in own:
            total = _add(total, last.drawn)
            masks.append((place_of[last.record], last.masks, np.asarray(last.drawn.packed[0])))
        assert total is not None
        assert last is not None
        scores = _scores(total, last.rater_valid, by_area=by_area)
        for method, found in _geometry(masks, last.rater_valid).items():
            if method in scores:
                scores[method] |= found
        base = {"volume": volume, "slices": len(masks)}
        rows += [
            base | {"method": method} | scores[method] for method in METHODS if method in scores
        ]
    return rows


class _Masks(NamedTuple):
    record: int
    masks: UInt8[np.ndarray, "r h w"]
    rater_valid: Bool[np.ndarray, " r"]
    drawn: Drawn  # with a leading axis of 1


def _slices(predictions: Iterable[tuple[Placed, Drawn]]) -> Iterator[_Masks]:
    for placed, drawn in predictions:
        batch = placed.batch
        for i, index in enumerate(batch.index.tolist()):
            own = jax.tree.map(lambda x: np.asarray(x[i : i + 1]), drawn)  # noqa: B023 - used at once
            yield _Masks(index, batch.masks[i], np.asarray(batch.rater_valid[i], bool), own)


def _add(total: Any, drawn: Drawn) -> Any:
    """Returns the sum of the pixel counts, exact in float64."""
    counts = (drawn.samples, drawn.prior_mean, drawn.styles)
    counts = jax.tree.map(lambda x: x.astype(np.float64), counts)
    return counts if total is None else jax.tree.map(np.add, total, counts)


def _scores(
    counts: tuple[Overlaps, Overlaps, dict[str, Overlaps]],
    rater_valid: Bool[np.ndarray, " r"],
    *,
    by_area: bool,
) -> dict[str, dict[str, float]]:
    """Returns {method: {metric: value}} of one volume."""
    samples, prior_mean, styles = counts
    valid = rater_valid[None]
    by_method: dict[str, metrics.Scores] = scoring.sample_scores(samples, prior_mean, valid)
    for method, overlaps in styles.items():
        found = scoring.set_scores(overlaps, valid)
        if not by_area:
            found |= dict.fromkeys(scoring.OF_ORDER, np.full(1, np.nan))
        by_method[method] = {
            name.replace("area_", "voxels_"): value for name, value in found.items()
        }
    return {
        method: {name: float(value[0]) for name, value in found.items()}
        for method, found in by_method.items()
    }


def _geometry(
    masks: Sequence[tuple[Slice, UInt8[np.ndarray, "r h w"], UInt8[np.ndarray, "m n"]]],
    rater_valid: Bool[np.ndarray, " r"],
) -> dict[str, dict[str, float]]:
    """Returns distances and volumes of one volume by method, see `evaluate`."""
    raters, size = masks[0][1].shape[0], masks[0][1].shape[1:]
    numbers = [place.number for place, *_ in masks]
    first, depth = min(numbers), max(numbers) - min(numbers) + 1
    spacing_mm = np.asarray(masks[0][0].spacing_mm, float)
    drawn = len(masks[0][2])
    volume = np.zeros((drawn + raters, depth, *size), bool)
    for place, of_raters, bits in masks:
        volume[:drawn, place.number - first] = packed.unpack(bits, size)
        volume[drawn:, place.number - first] = of_raters
    known = not np.isnan(spacing_mm).any()
    found = surfaces.of_masks(volume, spacing_mm) if known else [None] * len(volume)
    ml = volume.sum(axis=(1, 2, 3)) * np.prod(spacing_mm) / 1000
    valid = (np.flatnonzero(rater_valid) + drawn).tolist()

    def pair(a: int, b: int) -> dict[str, float]:
        apart = surfaces.between(found[a], found[b])
        return {
            "hd95_max_mm": apart.hd95_max,
            "assd_mm": apart.assd,
            "difference_ml": float(abs(ml[a] - ml[b])),
            "bias_ml": float(ml[a] - ml[b]),
        }

    among = [pair(a, b) for a, b in itertools.combinations(valid, 2)]
    among_raters = measures.means(among, _MEASURES)
    among_raters.pop("bias_ml")
    of_mean = measures.means([pair(0, rater) for rater in valid], _MEASURES)
    result = {"raters": among_raters, "prior_mean": of_mean}
    if drawn > 1:  # a second stage: mask k is of style k, counted from 1
        own = {k: pair(k, drawn + k - 1) for k in range(1, drawn) if rater_valid[k - 1]}
        result[OWN] = measures.of_styles(own, drawn - 1, _MEASURES)
    return result
