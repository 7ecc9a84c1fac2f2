"""Scores a model: runs the evaluation steps over batches and makes a row per record and method."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from prosona_jax.evaluation import calibration, contours, metrics, packed
from prosona_jax.evaluation.calibration import Bins
from prosona_jax.evaluation.catalogue import ACTIVE_NATS
from prosona_jax.evaluation.contours import InMm
from prosona_jax.evaluation.sample_steps import Prediction
from prosona_jax.evaluation.style_steps import Personalised
from prosona_jax.models.query import LEVELS
from prosona_jax.runtime.parallel import Parallel, gather_rows
from prosona_jax.types import Batch, Params

Row = dict[str, Any]
_RETRIEVAL = tuple(
    f"{level}_{way}" for way in ("text_to_visual", "visual_to_text") for level in LEVELS
)
# Scores that mean nothing unless the masks of an image are sorted by area.
OF_ORDER = ("ordered", "rank_correlation")


class Evaluation(NamedTuple):
    """Scores of a set of records.

    rows: each {"index", "method", metric: value}. The methods are "samples" (S draws from the
        prior), "prior_mean" (f(x, mu_p) alone) and "raters" (each rater against the others).
    latent_kl: mean KL(q || p) of each latent dimension over the records, nats.
    bins: the pixels of all records by the share of samples that include them.
    """

    rows: list[Row]
    latent_kl: Float[np.ndarray, " d"]
    bins: Bins


def predict(
    params: Params,
    batches: Iterable[Batch],
    *,
    eval_step: Callable[[Params, Batch, jax.Array], Any],
    parallel: Parallel,
    root: jax.Array,
) -> Iterable[tuple[Batch, Any]]:
    """Yields each host batch with its prediction, both without the padding."""
    for batch in batches:
        prediction = parallel.gather(eval_step(params, parallel.shard(batch), root))
        real = np.flatnonzero(batch.valid)
        yield jax.tree.map(lambda x: x[real], (batch, prediction))  # noqa: B023 - used within the iteration


def evaluate(predictions: Iterable[tuple[Batch, Prediction]]) -> Evaluation:
    """Returns the scores of the predictions of all processes; every record counts once."""
    rows: list[Row] = []
    for batch, prediction in predictions:
        rows += _score(batch, prediction)
    rows = gather_rows(rows)
    kl, bins = ([row.pop(name) for row in rows if name in row] for name in ("kl", "bins"))
    return Evaluation(rows, np.mean(kl, axis=0), Bins(*np.sum(bins, axis=0)))


def evaluate_styles(
    predictions: Iterable[tuple[Batch, Sequence[Personalised]]],
    methods: Sequence[str],
    *,
    by_area: bool,
    in_mm: InMm | None = None,
) -> list[Row]:
    """Returns one row per record and method, for the records of all processes.

    Each score is a mean over the sets of prompts. A row holds:

        the metrics of K masks against K raters
        dice_<i>_<j>            Dice of prompt i's mask with rater j
        area_<i>                area of prompt i's mask, pixels
        <level>_text_to_visual  share of styles whose text finds its own rater
        <level>_visual_to_text  share of styles whose rater finds its own text

    With `in_mm` a row also holds

        area_mm2_<i>            the same area in mm², NaN if the size of a pixel is unknown

    and, of styles' own contours, the measures of `contours.of_styles`.

    Args:
        predictions: batches, each with one prediction per method.
        methods: the methods' names, in the order of a batch's predictions.
        by_area: the masks of an image are sorted by area. If not, the order of the areas means
            nothing, and the scores of this order are NaN.
        in_mm: None leaves out what is measured in mm, which takes a few milliseconds a record.
    """
    rows: dict[str, list[Row]] = {method: [] for method in methods}
    for batch, by_method in predictions:
        for method, prediction in zip(methods, by_method, strict=True):
            scores = _style_scores(batch, prediction)
            if not by_area:
                scores |= dict.fromkeys(OF_ORDER, np.full(len(batch.index), np.nan))
            found = rows_of(batch, method, scores)
            if in_mm is not None:
                added = _in_mm(batch, prediction, scores, in_mm)
                found = [row | own for row, own in zip(found, added, strict=True)]
            rows[method] += found
    return [row for own in rows.values() for row in gather_rows(own)]


def _in_mm(
    batch: Batch, prediction: Personalised, scores: metrics.Scores, in_mm: InMm
) -> Iterator[dict[str, float]]:
    """Yields what the row of each record also holds, see `evaluate_styles`."""
    styles, *size = batch.masks.shape[1:]
    drawn = None if prediction.packed is None else packed.unpack(prediction.packed[:, 0], size)
    for i, index in enumerate(batch.index.tolist()):
        pixel_mm = in_mm.pixel_mm(index)
        mm2 = float(np.prod(pixel_mm, dtype=np.float64))
        found = {f"area_mm2_{k}": float(mm2 * scores[f"area_{k}"][i]) for k in range(1, styles + 1)}
        if drawn is not None:
            seen = drawn[i], batch.masks[i], batch.rater_valid[i]
            found |= contours.of_styles(*seen, pixel_mm, in_mm.tolerance_mm)
        yield found


def summarise_styles(rows: Sequence[Row]) -> dict[str, float]:
    """Returns the scores that a validation of stage two logs: means over the rows."""
    names = ("dice_mean", "ged", "dice_match", "style_gain", "own_best", "ordered", *_RETRIEVAL)
    # A mean is NaN if the method reads no text, or if the order of the areas means nothing. It is
    # not logged, because JSON has no NaN.
    means = {name: float(np.mean([row[name] for row in rows])) for name in names}
    return {name: value for name, value in means.items() if not np.isnan(value)}


def summarise(evaluation: Evaluation) -> dict[str, float]:
    """Returns what a validation of stage one logs: mean scores of the samples, KL, active units."""
    rows = [row for row in evaluation.rows if row["method"] == "samples"]
    names = ("ged", "dice_match", "dice_soft")
    kl = evaluation.latent_kl
    return {
        **{name: float(np.mean([row[name] for row in rows])) for name in names},
        "active_units": float(np.sum(kl > ACTIVE_NATS)),
        **{f"kl_z{dimension}": float(value) for dimension, value in enumerate(kl)},
    }


def spread_by_score(rows: Sequence[Row], count: int) -> list[int]:
    """Returns record indices evenly spread from the lowest to the highest GED of the samples."""
    ranked = sorted((row for row in rows if row["method"] == "samples"), key=lambda r: r["ged"])
    ranks = np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)
    return [ranked[rank]["index"] for rank in ranks]


def _score(batch: Batch, prediction: Prediction) -> list[Row]:
    """Returns the rows of one batch; those of "samples" also have "kl" and "bins"."""
    by_method = sample_scores(prediction.samples, prediction.prior_mean, batch.rater_valid)
    for method, values in zip(("samples", "prior_mean"), prediction.s_ncc.T, strict=True):
        by_method[method]["s_ncc"] = np.asarray(values, np.float64)
    rows = [row for method, scores in by_method.items() for row in rows_of(batch, method, scores)]
    bins = np.stack(calibration.bins(prediction.samples.votes, batch.rater_valid), axis=1)
    of_record = {
        index: {"kl": kl, "bins": own}
        for index, kl, own in zip(
            batch.index.tolist(), prediction.kl.tolist(), bins.tolist(), strict=True
        )
    }
    return [row | of_record[row["index"]] if row["method"] == "samples" else row for row in rows]


def sample_scores(
    samples: metrics.Overlaps, prior_mean: metrics.Overlaps, rater_valid: Bool[np.ndarray, "b r"]
) -> dict[str, metrics.Scores]:
    """Returns the scores [b] of "raters", "samples" and "prior_mean", see `Evaluation`.

    The arguments are as in `Prediction`.
    """
    # Both counts hold the overlaps among the raters.
    raters = metrics.raters_leave_one_out(prior_mean, rater_valid)
    by_method = {"raters": _leave_one_out(raters)}
    for method, overlaps in {"samples": samples, "prior_mean": prior_mean}.items():
        scores = metrics.score_batch(overlaps, rater_valid)
        scores |= _leave_one_out(metrics.samples_leave_one_out(overlaps, rater_valid))
        by_method[method] = {name: value for name, value in scores.items() if value.ndim == 1}
    return by_method


def rows_of(batch: Batch, method: str, scores: metrics.Scores) -> list[Row]:
    """Returns one row per record of the batch, from scores of shape [b]."""
    return [
        {"index": int(index), "method": method}
        | {name: float(value[i]) for name, value in scores.items()}
        for i, index in enumerate(batch.index)
    ]


def _style_scores(batch: Batch, prediction: Personalised) -> metrics.Scores:
    """Returns every score of one batch, each of shape [b]."""
    means = set_scores(prediction.overlaps, batch.rater_valid)
    found = np.stack([prediction.text_to_visual, prediction.visual_to_text])  # [2, b, p, levels, k]
    known, over = ~np.isnan(found), (2, 4)
    shares = np.where(known, found, 0).sum(axis=over) / np.maximum(known.sum(axis=over), 1)
    shares[~known.any(axis=over)] = np.nan  # [2, b, levels]
    by_name = np.moveaxis(shares, 1, 2).reshape(len(_RETRIEVAL), -1)  # [2 levels, b]
    return means | dict(zip(_RETRIEVAL, by_name, strict=True))


def set_scores(overlaps: metrics.Overlaps, rater_valid: Bool[np.ndarray, "b k"]) -> metrics.Scores:
    """Returns the scores [b] of K masks against K raters, as means over the P sets of prompts.

    Args:
        overlaps: the pixel counts, [b, p, ...].
        rater_valid: the same for all sets.
    """
    b, p = overlaps.pairs.shape[:2]
    # Each set of prompts is scored like a record of its own.
    sets = metrics.Overlaps(*(x.reshape(b * p, *x.shape[2:]) for x in overlaps))
    valid = np.repeat(rater_valid, p, axis=0)
    scores = metrics.score_batch(sets, valid) | metrics.style_scores(sets, valid)
    del scores["dice_style"]  # it is the diagonal of dice_table
    means = {name: x.reshape(b, p, *x.shape[1:]).mean(axis=1) for name, x in scores.items()}
    table, area = means.pop("dice_table"), means.pop("area")
    k = range(area.shape[1])
    means |= {f"dice_{i + 1}_{j + 1}": table[:, i, j] for i in k for j in k}
    return means | {f"area_{i + 1}": area[:, i] for i in k}


def _leave_one_out(scores: metrics.Scores) -> metrics.Scores:
    return {f"loo_{name}": value for name, value in scores.items()}
