"""Scores of the probe, in closed form."""

import numpy as np
import pytest

from prosona_jax.evaluation import probe


def test_scores_by_hand():
    categories = ["plain"] * 4 + ["offtopic"] * 2 + ["typos"] * 3
    degree = np.array([-2, -1, 1, 2, np.nan, np.nan, -1, 0, 1.0])
    area = np.array([1, 2, 4, 3, 9, 9, 3, 2, 1.0])
    answerable = np.array([0.9, 0.8, 0.7, 0.6, 0.65, 0.1, 0.9, 0.9, 0.9])
    plain, offtopic, typos = probe.scores(categories, degree, area, answerable)
    assert plain[:2] == ("plain", 4)
    assert plain.spearman == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert plain.pairs == pytest.approx(5 / 6)
    assert np.isnan(plain.auroc)
    assert (typos.spearman, typos.pairs) == (pytest.approx(-1), 0)
    assert offtopic.sentences == 2
    # Of 7 x 2 pairs with a sentence that can be answered, one is in the wrong order.
    assert offtopic.auroc == pytest.approx(13 / 14)
    assert np.isnan(offtopic.spearman)


def test_equal_areas_count_half_and_equal_degrees_not():
    area, degree = np.array([1, 1, 2.0]), np.array([0, 1, 1.0])
    assert probe.pairs_in_order(area, degree) == pytest.approx(0.75)


def test_the_table_has_a_line_per_category():
    lines = probe.table(
        [
            probe.Score("plain", 30, 0.95, 0.9, np.nan),
            probe.Score("offtopic", 7, np.nan, np.nan, 1.0),
        ]
    )
    assert lines == [
        "category       sentences  Spearman   pairs   AUROC",
        "plain                 30     0.950   0.900",
        "offtopic               7                     1.000",
    ]
