"""Small made-up masks of samples and of raters, and their scores."""

import numpy as np

from prosona_jax.evaluation import metrics


def overlapping(generator, records, samples, raters, size):
    """Returns blocky samples [N, S, H, W] and masks of raters [N, R, H, W] with real overlap."""
    base = generator.random((records, 1, size, size))
    probs = 0.6 * base + 0.4 * generator.random((records, samples, size, size))
    labels = 0.6 * base + 0.4 * generator.random((records, raters, size, size)) > 0.5
    return probs.astype(np.float32), labels.astype(np.uint8)


def random_masks(*, samples, raters, records=5, size=12):
    """Returns samples, raters' masks and which raters are there; some masks are empty."""
    generator = np.random.default_rng([samples, raters])
    probs, labels = overlapping(generator, records, samples, raters, size)
    probs[0, 0] = 0.0
    labels[0, -1] = 0
    valid = generator.random((records, raters)) > 0.3
    valid[:, 0] = True
    valid[1] = True
    return probs, labels, valid


def boxes(*columns, size=8):
    """One record of masks [1, m, size, size], each the half-open column range (start, stop)."""
    masks = np.zeros((1, len(columns), size, size), np.uint8)
    for mask, (start, stop) in zip(masks[0], columns, strict=True):
        mask[:, start:stop] = 1
    return masks


def all_valid(labels):
    """Returns `rater_valid` [N, R] in which no rater is missing."""
    return np.ones(labels.shape[:2], bool)


def file_arrays(*, records=6, samples=5, raters=4, size=8):
    """Returns what a file of masks to score holds: the records of four patients."""
    probs, labels = overlapping(np.random.default_rng(0), records, samples, raters, size)
    return {
        "labels": labels,
        "probs": probs,
        "patient_id": np.array(["a", "a", "b", "c", "c", "d"])[:records],
        "rater_valid": np.ones((records, raters), bool),
    }


def score(probs, labels, valid):
    """Returns the scores of `score_batch`."""
    return metrics.score_batch(metrics.count_overlaps(probs, labels, valid), valid)


def assert_equal_scores(actual, expected, **tolerance):
    """Asserts that both hold the same scores, by name."""
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        np.testing.assert_allclose(value, expected[name], err_msg=name, **tolerance)
