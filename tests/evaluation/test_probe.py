"""Scores of the probe, in closed form."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from prosona_jax.evaluation import probe
from prosona_jax.evaluation.intervals import Interval


def test_scores_by_hand():
    categories = ["plain"] * 4 + ["offtopic"] * 2 + ["typos"] * 3
    degree = np.array([-2, -1, 1, 2, np.nan, np.nan, -1, 0, 1.0])
    area = np.array([1, 2, 4, 3, 9, 9, 3, 2, 1.0])
    answerable = np.array([0.9, 0.8, 0.7, 0.6, 0.65, 0.1, 0.9, 0.9, 0.9])
    plain, offtopic, typos = probe.scores(categories, degree, area, answerable)
    assert plain[:2] == ("plain", 4)
    assert plain.spearman.mean == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert plain.pairs == pytest.approx(5 / 6)
    assert np.isnan(plain.auroc.mean)
    assert (typos.spearman.mean, typos.pairs) == (pytest.approx(-1), 0)
    assert offtopic.sentences == 2
    # Of 7 x 2 pairs with a sentence that can be answered, one is in the wrong order.
    assert offtopic.auroc.mean == pytest.approx(13 / 14)
    assert np.isnan(offtopic.spearman.mean)


def test_equal_areas_count_half_and_equal_degrees_not():
    area, degree = np.array([1, 1, 2.0]), np.array([0, 1, 1.0])
    assert probe.pairs_in_order(area, degree) == pytest.approx(0.75)


def test_intervals_are_over_sentences():
    """Against Spearman's standard error (1 - rho^2) / sqrt(n) and that of an AUROC by Hanley."""
    rng = np.random.default_rng(0)
    degree = rng.normal(size=400)
    area = degree + 0.75 * rng.normal(size=400)
    answerable = np.concatenate([rng.normal(1, 1, 400), rng.normal(0, 1, 300)])
    plain, offtopic = probe.scores(
        ["plain"] * 400 + ["offtopic"] * 300,
        np.append(degree, np.full(300, np.nan)),
        np.append(area, np.zeros(300)),
        answerable,
    )
    rho, low, high = plain.spearman
    assert rho == pytest.approx(spearmanr(area, degree)[0])
    assert (high - low) / 3.92 == pytest.approx((1 - rho**2) / 20, rel=0.25)
    auc, low, high = offtopic.auroc
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + 399 * (q1 - auc**2) + 299 * (q2 - auc**2)
    assert (high - low) / 3.92 == pytest.approx((variance / 400 / 300) ** 0.5, rel=0.15)


def test_the_table_has_a_line_per_category():
    none = Interval(np.nan, None, None)
    lines = probe.table(
        [
            probe.Score("plain", 30, Interval(0.95, 0.9, 0.98), 0.9, none),
            probe.Score("offtopic", 7, none, np.nan, Interval(1.0, 1.0, 1.0)),
        ]
    )
    assert lines == [
        "category       sentences             Spearman   pairs                AUROC",
        "plain                 30 0.950 [0.900, 0.980]   0.900",
        "offtopic               7                              1.000 [1.000, 1.000]",
    ]
