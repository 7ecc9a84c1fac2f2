"""Records scored per second by `prosona_jax.metrics.score_batch`, against loops over mask pairs.

    python benchmarks/metrics.py

Each row runs in a process of its own, so that its peak memory is its own: the high-water mark of
resident memory less what the process held once inputs and JAX were there. Both sides compute the
same scores, which every row checks.
"""

import itertools
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterable

import numpy as np
from scipy.optimize import linear_sum_assignment

from prosona_jax import metrics

RECORDS = 16
RATERS = 4
SAMPLES = (4, 16, 50, 100)
SIZES = (64, 128)
SECONDS = 2.0  # timed per row and side, at least one call


def main() -> None:
    """Prints the table."""
    print(f"{RECORDS} records, {RATERS} raters, every score of score_batch, jitted on a batch")
    print(f"{'S':>4} {'pixels':>8} {'records/s':>10} {'loops':>8} {'ratio':>7} {'peak MiB':>9}")
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        for size, samples in itertools.product(SIZES, SAMPLES):
            jitted, loops, peak = pool.apply(measure, (samples, size))
            pixels = f"{size}x{size}"
            print(
                f"{samples:>4} {pixels:>8} {jitted:>10.0f} {loops:>8.1f} {jitted / loops:>6.0f}x "
                f"{peak:>9.0f}",
                flush=True,
            )


def measure(samples: int, size: int) -> tuple[float, float, float]:
    """Returns records/s of score_batch, records/s of the loops, and score_batch's peak MiB."""
    probs, labels = noisy_discs(samples, size)
    valid = np.ones((RECORDS, RATERS), bool)
    metrics.score_batch(probs[:1, :1], labels[:1], valid[:1])  # starts JAX
    held = _peak_mib()
    scores = metrics.score_batch(probs, labels, valid)  # compiles
    jitted = RECORDS / _seconds(lambda: metrics.score_batch(probs, labels, valid))
    peak = _peak_mib() - held
    loops = 1 / _seconds(lambda: loop_scores(probs[0], labels[0]))
    for name, value in loop_scores(probs[0], labels[0]).items():
        np.testing.assert_allclose(scores[name][0], value, atol=1e-9, err_msg=name)
    return jitted, loops, peak


def loop_scores(probs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Scores one record, f32 [S, H, W] against u8 [R, H, W], the straightforward way."""
    samples, raters = list(probs > 0.5), list(labels > 0)
    table = np.array([[_dice(s, y) for y in raters] for s in samples])  # [S, R]
    thresholds = (0.1, 0.3, 0.5, 0.7, 0.9)
    mean_sample, mean_rater = probs.mean(axis=0), labels.astype(np.float32).mean(axis=0)
    return {
        "ged": _ged(samples, raters, _distance),
        "ged_dpersona": _ged(samples, raters, _distance_dpersona),
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


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    union = np.logical_or(a, b).sum()
    return 1 - np.logical_and(a, b).sum() / union if union else 0.0


def _distance_dpersona(a: np.ndarray, b: np.ndarray) -> float:
    return 1 - np.logical_and(a, b).sum() / (np.logical_or(a, b).sum() + 1e-8)


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return (2 * np.logical_and(a, b).sum() + 1e-8) / (a.sum() + b.sum() + 1e-8)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def noisy_discs(samples: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns probs f32 [b, s, h, w] and labels u8 [b, r, h, w]: discs of differing radius."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    distance = np.hypot(rows, columns)
    probs = np.empty((RECORDS, samples, size, size), np.float32)
    labels = np.empty((RECORDS, RATERS, size, size), np.uint8)
    # Mask by mask: drawing all at once would set the memory mark that is to be measured.
    for i in range(RECORDS):
        for k, radius in enumerate(rng.uniform(0.1, 0.3, samples + RATERS)):
            noise = rng.standard_normal((size, size), np.float32)
            logits = 20 * (np.float32(radius) - distance) + noise
            if k < samples:
                probs[i, k] = 1 / (1 + np.exp(-logits))
            else:
                labels[i, k - samples] = logits > 0
    return probs, labels


def _seconds(call: Callable[[], object]) -> float:
    """Returns seconds per call."""
    start, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - start < SECONDS:
        call()
        calls += 1
    return (time.perf_counter() - start) / calls


def _peak_mib() -> float:
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


if __name__ == "__main__":
    main()
