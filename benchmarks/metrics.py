"""Records scored per second by `evaluation.metrics.score_batch`, against loops over mask pairs.

    python -m benchmarks.metrics

Both sides compute the same scores; every row checks this. Peak memory is the peak of the process
minus its memory after the inputs were made and JAX was started.
"""

import itertools
from collections.abc import Callable, Iterable

import numpy as np
from scipy.optimize import linear_sum_assignment

from benchmarks.common import RATERS, discs, each_in_own_process, hardware, peak_mib, seconds
from prosona_jax.evaluation import metrics

RECORDS = 16
SAMPLES = (4, 16, 50, 100)
SIZES = (64, 128)


def main() -> None:
    """Prints the table."""
    print(f"{RECORDS} records, {RATERS} raters, every score of score_batch; {hardware()}")
    print(f"{'pixels':>8} {'S':>4} {'records/s':>10} {'loops':>8} {'ratio':>7} {'peak MiB':>9}")
    cases = list(itertools.product(SIZES, SAMPLES))
    results = each_in_own_process(measure, cases)
    for (size, samples), (jitted, loops, peak) in zip(cases, results, strict=True):
        print(
            f"{size:>4}x{size:<3} {samples:>4} {jitted:>10.0f} {loops:>8.1f} "
            f"{jitted / loops:>6.0f}x {peak:>9.0f}",
            flush=True,
        )


def measure(size: int, samples: int) -> tuple[float, float, float]:
    """Returns records/s of score_batch, records/s of the loops, and score_batch's peak MiB."""
    probs, labels = discs(RECORDS, samples, size)
    valid = np.ones((RECORDS, RATERS), bool)
    _score(probs[:1, :1], labels[:1], valid[:1])  # starts JAX
    held = peak_mib()
    scores = _score(probs, labels, valid)  # compiles
    jitted = RECORDS / seconds(lambda: _score(probs, labels, valid))
    peak = peak_mib() - held
    loops = 1 / seconds(lambda: loop_scores(probs[0], labels[0]))
    for name, value in loop_scores(probs[0], labels[0]).items():
        np.testing.assert_allclose(scores[name][0], value, atol=1e-9, err_msg=name)
    return jitted, loops, peak


def _score(probs: np.ndarray, labels: np.ndarray, valid: np.ndarray) -> metrics.Scores:
    return metrics.score_batch(metrics.count_overlaps(probs, labels, valid), valid)


def loop_scores(probs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Scores one record, f32 [S, H, W] against u8 [R, H, W], the straightforward way."""
    samples, raters = list(probs > 0.5), list(labels > 0)
    table = np.array([[_dice(s, y) for y in raters] for s in samples])  # [S, R]
    thresholds = (0.1, 0.3, 0.5, 0.7, 0.9)
    mean_sample, mean_rater = probs.mean(axis=0), labels.astype(np.float32).mean(axis=0)
    return {
        "ged": _ged(samples, raters, _distance),
        "ged_dpersona": _ged(samples, raters, _distance_dpersona),
        "iou_match": _match_all(samples, raters),
        "dice_match": float(table[linear_sum_assignment(-table)].mean()),
        "dice_soft": _mean(_dice(mean_sample > t, mean_rater > t) for t in thresholds),
        "dice_max_samples_per_rater": float(table.max(axis=0).mean()),
        "dice_max_raters_per_sample": float(table.max(axis=1).mean()),
    }


def _ged(samples: list, raters: list, distance: Callable[..., float]) -> float:
    def expected(ones: list, others: list) -> float:
        return _mean(distance(one, other) for one in ones for other in others)

    across = expected(samples, raters)
    return 2 * across - expected(samples, samples) - expected(raters, raters)


def _match_all(samples: list, raters: list) -> float:
    """Mean IoU of the best pairs of R copies of the samples and S copies of the raters."""
    iou = np.array([[1 - _distance(s, y) for y in raters] for s in samples])
    copies = np.tile(iou, (len(raters), len(samples)))
    return float(copies[linear_sum_assignment(-copies)].mean())


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    union = np.logical_or(a, b).sum()
    return 1 - np.logical_and(a, b).sum() / union if union else 0.0


def _distance_dpersona(a: np.ndarray, b: np.ndarray) -> float:
    return 1 - np.logical_and(a, b).sum() / (np.logical_or(a, b).sum() + 1e-8)


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return (2 * np.logical_and(a, b).sum() + 1e-8) / (a.sum() + b.sum() + 1e-8)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


if __name__ == "__main__":
    main()
