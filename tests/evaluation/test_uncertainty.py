"""S_NCC: PHiSeg's loops in float64, closed forms of binary masks, and what does not matter."""

import numpy as np
import pytest

from prosona_jax.evaluation import uncertainty
from tests.masks import all_valid, boxes, random_masks


def s_ncc(probs, labels, valid=None):
    valid = all_valid(labels) if valid is None else valid
    return np.asarray(uncertainty.s_ncc(probs.astype(np.float32), labels, valid))


def loop(probs, labels):
    """Returns the definition, sample by sample and rater by rater, of one record."""
    p = probs.astype(np.float64)
    mean = p.mean(axis=0)

    def entropy(target, drawn):
        return -target * np.log(drawn + 1e-8) - (1 - target) * np.log(1 - drawn + 1e-8)  # PHiSeg's

    spread = np.mean([entropy(mean, own) for own in p], axis=0).ravel()
    errors = [
        np.mean([entropy(rater, own) for own in p], axis=0).ravel()
        for rater in labels.astype(float)
    ]
    return np.mean([np.corrcoef(spread, error)[0, 1] for error in errors])


@pytest.mark.parametrize(("samples", "raters"), [(2, 1), (5, 4), (16, 3)])
def test_it_is_the_correlation_of_a_loop_over_samples_and_raters(samples, raters):
    probs, labels, valid = random_masks(samples=samples, raters=raters)
    found = s_ncc(probs, labels, valid)
    for i in range(len(probs)):
        assert found[i] == pytest.approx(loop(probs[i], labels[i, valid[i]]), abs=1e-5)


def test_samples_that_disagree_where_they_are_wrong_correlate_fully():
    """m (1 - m) = 1/4 and |y - m| = 1/2 on columns 2 to 5, and both are 0 elsewhere."""
    labels = boxes((0, 2), (0, 6))
    assert s_ncc(labels, labels) == pytest.approx([1.0], abs=1e-6)


def test_binary_samples_have_the_correlation_of_variance_and_absolute_error():
    samples, labels = boxes((0, 3), (0, 5), (0, 5), (2, 6)), boxes((1, 4), (0, 8))
    mean = samples[0].mean(axis=0).ravel()
    errors = [np.abs(rater.ravel() - mean) for rater in labels[0]]
    expected = np.mean([np.corrcoef(mean * (1 - mean), error)[0, 1] for error in errors])
    assert s_ncc(samples, labels) == pytest.approx([expected], abs=1e-5)
    assert abs(expected) < 0.9


def test_samples_that_agree_where_they_are_wrong_correlate_negatively():
    """They differ on columns 0 to 3, but are wrong by 1/2 there, and by 1 on columns 4 to 7."""
    samples, labels = boxes((0, 2), (2, 4)), boxes((2, 8))
    assert s_ncc(samples, labels) == pytest.approx([-1.0], abs=1e-6)


def test_order_copies_and_missing_raters_do_not_matter():
    probs, labels, valid = random_masks(samples=5, raters=4)
    valid[:] = [True, False, True, True]
    expected = s_ncc(probs, labels, valid)
    labels[:, 1] = 255
    for same in (
        s_ncc(probs[:, [3, 0, 4, 2, 1]], labels[:, [2, 1, 3, 0]], valid),
        s_ncc(np.tile(probs, (1, 2, 1, 1)), labels, valid),
        s_ncc(probs, labels[:, [0, 2, 3]]),
        s_ncc(probs[:, :, ::-1], labels[:, :, ::-1], valid),
    ):
        np.testing.assert_allclose(same, expected, atol=1e-6)


def test_equal_binary_samples_and_records_without_a_rater_have_no_correlation():
    labels = np.concatenate([boxes((0, 3), (0, 5))] * 2)
    samples = np.concatenate([boxes((0, 3), (0, 3)), boxes((0, 3), (0, 4))])
    assert np.isnan(s_ncc(samples, labels)).tolist() == [True, False]
    nobody = np.array([[True, True], [False, False]])
    assert np.isnan(s_ncc(samples[::-1], labels, nobody)).tolist() == [False, True]
