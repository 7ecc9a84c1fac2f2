"""The habits that are measured on the phantom's slices are those of its observers."""

import numpy as np

from benchmarks import phantom_habits
from data_pipelines import habits


def test_margins_and_ends_come_back_in_the_true_order():
    measured = habits.measure(phantom_habits.records(seed=0, cases=4))
    for habit, wrong in {"margin": 0, "first": 1, "last": 0}.items():
        found = phantom_habits.means(measured, habit, 4)
        order, sign = phantom_habits.agreement(found, np.array(phantom_habits.TRUTH[habit], float))
        assert order.count(False) <= wrong
        assert habit == "first" or all(sign)


def test_agreement_counts_pairs_that_differ_and_signs_against_the_others():
    truth = np.array([0.0, 1.0, 1.0])
    order, sign = phantom_habits.agreement(np.array([0.5, 0.2, 3.0]), truth)
    assert order == [False, True]  # the second and the third are equal in truth
    assert sign == [False, True, True]
