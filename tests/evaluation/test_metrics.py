"""Every score, compared with D-Persona's values, loops over pairs, closed forms, symmetries."""

import itertools
import json
import pathlib

import numpy as np
import pytest

from benchmarks.metrics import loop_scores
from prosona_jax.evaluation import metrics
from tests.masks import all_valid, assert_equal_scores, boxes, random_masks, score

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
REFERENCE = json.loads((GOLDEN / "metric_reference.json").read_text())
NAMES = {
    "GED": "ged_dpersona",
    "dice_max_over_samples_per_label": "dice_max_samples_per_rater",
    "dice_max_over_labels_per_sample": "dice_max_raters_per_sample",
    "dice_match": "dice_match",
    "dice_soft": "dice_soft",
    "dice_each_diagonal": "dice_style",
}


def pop_errors(scores):
    """Takes the calibration errors out, which are 0 where an overlap is 1, and returns them."""
    return [scores.pop(name)[0] for name in ("ece_10_all", "ece_10_union")]


@pytest.fixture(scope="module")
def cases():
    with np.load(GOLDEN / "metric_cases.npz") as file:
        return dict(file)


@pytest.mark.parametrize("case", REFERENCE)
def test_dpersona_reference(cases, case):
    probs, labels = cases[f"{case}/probs"][None], cases[f"{case}/labels"][None]
    scores = score(probs, labels, all_valid(labels))
    for theirs, ours in NAMES.items():
        assert (theirs in REFERENCE[case]) == (ours in scores)
        if theirs in REFERENCE[case]:
            np.testing.assert_allclose(
                scores[ours][0], REFERENCE[case][theirs], rtol=0, atol=1e-6, err_msg=theirs
            )


@pytest.mark.parametrize(("samples", "raters"), [(1, 4), (3, 4), (4, 4), (9, 2), (5, 1), (10, 10)])
def test_loops_over_pairs_with_missing_raters(samples, raters):
    probs, labels, valid = random_masks(samples=samples, raters=raters)
    scores = score(probs, labels, valid)
    for i in range(len(probs)):
        expected = loop_scores(probs[i], labels[i, valid[i]])
        np.testing.assert_allclose(
            [scores[name][i] for name in expected], list(expected.values()), rtol=0, atol=1e-9
        )


def test_perfect_samples():
    labels = boxes((0, 2), (0, 3), (1, 5), (0, 0))
    scores = score(labels.astype(np.float32), labels, all_valid(labels))
    assert pop_errors(scores) == [0, 0]
    assert 0 <= scores.pop("ged")[0] < 1e-15
    assert 0 <= scores.pop("ged_dpersona")[0] < 1e-8
    for name, value in scores.items():
        np.testing.assert_allclose(value, 1.0, rtol=1e-12, err_msg=name)


def test_disjoint_samples():
    # A sample and a rater have distance 1. Of the pairs of two samples, or of two raters, half have
    # distance 0 and half 1/2.
    labels, samples = boxes((0, 1), (0, 2)), boxes((4, 5), (4, 6))
    scores = score(samples.astype(np.float32), labels, all_valid(labels))
    assert pop_errors(scores) == [3 / 8, 3 / 4]  # of 8 columns, 4 differ: by 1, 1/2, 1 and 1/2
    np.testing.assert_allclose(scores.pop("ged"), 2 - 0.25 - 0.25, rtol=1e-12)
    np.testing.assert_allclose(scores.pop("ged_dpersona"), 1.5, rtol=1e-8)
    for name, value in scores.items():
        np.testing.assert_allclose(value, 0.0, atol=1e-9, err_msg=name)


def test_partial_overlap():
    labels, samples = boxes((0, 4)), boxes((2, 6))  # IoU 2/6, Dice 4/8
    scores = score(samples.astype(np.float32), labels, all_valid(labels))
    pop_errors(scores)
    np.testing.assert_allclose(scores.pop("ged"), 2 * (1 - 1 / 3), rtol=1e-12)
    np.testing.assert_allclose(scores.pop("ged_dpersona"), 4 / 3, rtol=1e-8)
    np.testing.assert_allclose(scores.pop("iou_match"), 1 / 3, rtol=1e-12)
    for name, value in scores.items():
        np.testing.assert_allclose(value.ravel(), [0.5], rtol=1e-8, err_msg=name)


@pytest.mark.parametrize(
    ("sample", "label", "ged", "dpersona", "dice"),
    [
        ((0, 0), (0, 0), 0.0, 0.0, 1.0),  # D-Persona: 2 - 1 - 1
        ((0, 0), (0, 4), 2.0, 1.0, 0.0),  # the empty sample has distance 1 to itself: 2 - 1 - 0
        ((0, 4), (0, 0), 2.0, 1.0, 0.0),
    ],
)
def test_empty_masks_in_both_conventions(sample, label, ged, dpersona, dice):
    labels = boxes(label)
    scores = score(boxes(sample).astype(np.float32), labels, all_valid(labels))
    assert pop_errors(scores) == [(sample != label) / 2, sample != label]
    np.testing.assert_allclose(scores.pop("ged"), ged, rtol=1e-12)
    np.testing.assert_allclose(scores.pop("ged_dpersona"), dpersona, rtol=1e-8)
    for name, value in scores.items():
        np.testing.assert_allclose(value.ravel(), [dice], atol=1e-9, err_msg=name)


def test_a_probability_of_one_half_is_background():
    labels = boxes((0, 4))
    probs = np.where(labels, np.float32(0.5), np.float32(0.0))
    assert score(probs, labels, all_valid(labels))["dice_match"][0] < 1e-9
    above = np.where(labels, np.nextafter(np.float32(0.5), np.float32(1)), np.float32(0))
    assert score(above, labels, all_valid(labels))["dice_match"][0] == 1


def test_soft_dice_takes_values_above_a_threshold_not_at_it():
    # 3 of 10 raters and 3 of 10 samples draw the left half: 0.3 is above the threshold 0.1 only.
    # At the other thresholds both masks are empty. With one more sample, 0.4 is also above 0.3,
    # where the raters' mask is still empty.
    labels = boxes(*[(0, 4)] * 3, *[(0, 0)] * 7)
    four = boxes(*[(0, 4)] * 4, *[(0, 0)] * 6)
    for samples, expected in ((labels, 1.0), (four, 0.8)):
        scores = score(samples.astype(np.float32), labels, all_valid(labels))
        np.testing.assert_allclose(scores["dice_soft"], expected, rtol=1e-9)


def test_missing_raters_do_not_count():
    probs, labels, valid = random_masks(samples=6, raters=4)
    valid[:] = [True, False, True, True]
    kept = score(probs, labels[:, [0, 2, 3]], np.ones((5, 3), bool))
    assert_equal_scores(score(probs, labels, valid), kept, rtol=1e-12)
    labels[:, 1] = 255  # the content of a missing rater's mask
    assert_equal_scores(score(probs, labels, valid), kept, rtol=1e-12)


def test_dice_style_keeps_its_column_if_a_rater_is_missing():
    labels = boxes((0, 2), (0, 4), (0, 6))
    samples = boxes((0, 2), (0, 4), (0, 2)).astype(np.float32)
    scores = score(samples, labels, np.array([[True, False, True]]))
    np.testing.assert_allclose(scores["dice_style"], [[1.0, np.nan, 0.5]], rtol=1e-9)
    np.testing.assert_allclose(scores["dice_mean"], [0.75], rtol=1e-9)


def test_dice_style_does_not_match_masks():
    labels = boxes((0, 2), (0, 6))
    samples = labels[:, ::-1].astype(np.float32)
    scores = score(samples, labels, all_valid(labels))
    np.testing.assert_allclose(scores["dice_style"], [[0.5, 0.5]], rtol=1e-9)
    np.testing.assert_allclose(scores["dice_match"], [1.0], rtol=1e-9)


def test_dice_style_needs_as_many_samples_as_raters():
    probs, labels, valid = random_masks(samples=3, raters=4)
    assert not {"dice_style", "dice_mean"} & score(probs, labels, valid).keys()


def test_only_the_record_without_a_rater_is_nan():
    probs, labels, valid = random_masks(samples=4, raters=4)
    expected = score(probs, labels, valid)
    valid[2] = False
    for name, value in score(probs, labels, valid).items():
        assert np.isnan(value[2]).all()
        rest = [0, 1, 3, 4]
        np.testing.assert_array_equal(value[rest], expected[name][rest])


@pytest.mark.parametrize(("samples", "raters"), [(2, 4), (4, 4), (5, 3)])
def test_match_is_the_best_of_all_assignments(samples, raters):
    probs, labels, _ = random_masks(samples=samples, raters=raters)
    found = score(probs, labels, all_valid(labels))["dice_match"]
    for i in range(len(probs)):
        one = probs[i, :, None] > 0.5
        both = (one & (labels[i] > 0)).sum((2, 3))
        dice = (2 * both + 1e-8) / (one.sum((2, 3)) + labels[i].sum((1, 2)) + 1e-8)  # [s, r]
        wide = dice if samples <= raters else dice.T
        best = max(
            np.mean([row[column] for row, column in zip(wide, order, strict=True)])
            for order in itertools.permutations(range(wide.shape[1]), len(wide))
        )
        np.testing.assert_allclose(found[i], best, rtol=1e-12)


def test_scores_do_not_depend_on_the_order_of_samples_and_raters():
    probs, labels, valid = random_masks(samples=5, raters=4)
    order, raters = [3, 0, 4, 2, 1], [2, 0, 3, 1]
    permuted = score(probs[:, order], labels[:, raters], valid[:, raters])
    assert_equal_scores(permuted, score(probs, labels, valid), rtol=1e-9, atol=1e-15)


def test_dice_style_follows_a_common_order_of_samples_and_raters():
    probs, labels, valid = random_masks(samples=4, raters=4)
    scores = score(probs, labels, valid)
    order = [2, 0, 3, 1]
    permuted = score(probs[:, order], labels[:, order], valid[:, order])
    np.testing.assert_array_equal(permuted["dice_style"], scores["dice_style"][:, order])
    np.testing.assert_allclose(permuted["dice_mean"], scores["dice_mean"], rtol=1e-12)


def test_more_background_changes_no_score_but_the_calibration_over_all_pixels():
    probs, labels, valid = random_masks(samples=4, raters=4)
    margin = ((0, 0), (0, 0), (3, 1), (0, 5))
    padded = score(np.pad(probs, margin), np.pad(labels, margin), valid)
    expected = score(probs, labels, valid)
    assert (padded.pop("ece_10_all") < expected.pop("ece_10_all")).all()
    assert_equal_scores(padded, expected, rtol=1e-12)


def test_a_record_has_the_same_scores_alone_and_in_a_batch():
    probs, labels, valid = random_masks(samples=4, raters=4)
    together = score(probs, labels, valid)
    for i in range(len(probs)):
        one = slice(i, i + 1)
        alone = score(probs[one], labels[one], valid[one])
        assert_equal_scores(alone, {name: value[one] for name, value in together.items()}, rtol=0)


def test_the_dice_of_two_masks_is_that_of_the_counts():
    rng = np.random.default_rng(5)
    masks = (rng.random((4, 9, 7)) < 0.4).astype(np.uint8)
    masks[0] = 0
    overlaps = metrics.count_overlaps(
        masks[None].astype(np.float32), masks[None], np.ones((1, 4), bool)
    )
    table = metrics.style_scores(overlaps, np.ones((1, 4), bool))["dice_table"][0]
    for (i, a), (j, b) in itertools.product(enumerate(masks), repeat=2):
        assert metrics.dice(a, b) == pytest.approx(table[i, j], abs=1e-7)
        assert metrics.dice(a > 0, b) == metrics.dice(a, b)
    assert metrics.dice(masks[0], masks[0]) == 1
    assert metrics.dice(masks[0], masks[1]) < 1e-8
