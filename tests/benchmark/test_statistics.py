"""Areas, intervals, tests and crossings are those one computes by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.benchmark.statistics import (
    area_under_budget_curve,
    bootstrap_interval,
    error_cut,
    holm,
    labels_to_reach,
    percentile_within,
    signed_rank_p,
)

scores = st.floats(0, 1)
curves = st.dictionaries(st.integers(1, 3000), scores, min_size=2, max_size=7)


def test_the_area_is_that_of_trapezoids_over_doublings():
    # Two doublings from 5 to 20, then one to 40: (.6 + .8) / 2 * 2 + (.8 + .9) / 2 * 1, over 3 doublings.
    assert area_under_budget_curve({40: 0.9, 5: 0.6, 20: 0.8}) == pytest.approx((1.4 + 0.85) / 3)
    with pytest.raises(ValueError, match="two budgets"):
        area_under_budget_curve({5: 0.5})


@given(curves)
def test_the_area_lies_within_the_curve_and_moves_with_it(dice):
    area = area_under_budget_curve(dice)
    assert min(dice.values()) - 1e-9 <= area <= max(dice.values()) + 1e-9
    assert area_under_budget_curve({b: v / 2 + 0.5 for b, v in dice.items()}) == pytest.approx(area / 2 + 0.5)
    assert area_under_budget_curve({2 * b: v for b, v in dice.items()}) == pytest.approx(area)


def test_the_interval_is_that_of_all_resamples():
    values = [0.1, 0.3, 0.4, 0.45, 0.7, 0.9]
    means = [np.mean(drawn) for drawn in itertools.product(values, repeat=6)]
    found = bootstrap_interval(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.low == pytest.approx(np.percentile(means, 2.5), abs=0.01)
    assert found.high == pytest.approx(np.percentile(means, 97.5), abs=0.01)
    assert bootstrap_interval(values) == found
    # Of three values the least is drawn thrice in 1 of 27 resamples, more than 2.5 %.
    assert bootstrap_interval([0.1, 0.4, 0.7]).low == pytest.approx(0.1)
    assert math.isnan(bootstrap_interval([0.5]).low)


def slow_signed_rank_p(differences):
    """Share of all signs of the ranks whose sum of positive ranks is as far from its mean as the one seen."""
    order = sorted(range(len(differences)), key=lambda i: abs(differences[i]))
    rank = {place: position + 1 for position, place in enumerate(order)}
    mean = len(differences) * (len(differences) + 1) / 4
    seen = abs(sum(rank[i] for i, d in enumerate(differences) if d > 0) - mean)
    signs = list(itertools.product((False, True), repeat=len(differences)))
    return sum(abs(sum(rank[i] for i, s in enumerate(sign) if s) - mean) >= seen for sign in signs) / len(signs)


@pytest.mark.parametrize("seed", range(5))
def test_the_signed_rank_test_counts_all_signs(seed):
    differences = np.random.default_rng(seed).normal(0.3, 1, 8)
    assert signed_rank_p(differences) == pytest.approx(slow_signed_rank_p(differences))


def test_the_smallest_p_there_can_be_is_that_of_all_seeds_on_one_side():
    assert signed_rank_p([0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx(0.0625)
    assert signed_rank_p([0.01 * i for i in range(1, 11)]) == pytest.approx(2 / 2**10)
    assert signed_rank_p([0.0, 0.0, 0.0]) == 1.0


def test_differences_that_rounding_alone_tells_apart_are_ties():
    rounded = [0.3 - 0.2, 0.2 - 0.1, 0.5 - 0.6, 0.4 - 0.3, 0.9 - 0.8]
    assert len(set(map(abs, rounded))) > 1
    assert signed_rank_p(rounded) == signed_rank_p([0.1, 0.1, -0.1, 0.1, 0.1])


def test_holm_is_the_published_example():
    # .01 * 4, .02 * 3 (not below the former), .03 * 2, .04 * 1 raised to the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    with pytest.raises(ValueError, match="at most 5"):
        holm([0.5] * 6)


@given(st.lists(scores, min_size=1, max_size=5))
def test_holm_never_lowers_a_p_and_keeps_their_order(p_values):
    corrected = holm(p_values)
    assert all(p - 1e-12 <= c <= 1 for p, c in zip(p_values, corrected, strict=True))
    for i, j in itertools.combinations(range(len(p_values)), 2):
        if p_values[i] < p_values[j]:
            assert corrected[i] <= corrected[j]
    least = min(p_values)
    assert min(corrected) == pytest.approx(min(1, least * len(p_values)))


def test_the_percentile_counts_the_draws_that_are_beaten():
    assert percentile_within([0.5], [0.1, 0.4, 0.5, 0.9]) == 62.5
    assert percentile_within([0.0], [0.1]) == 0 and percentile_within([1.0, 0.05], [0.1]) == 50


@given(st.lists(scores, min_size=1, max_size=9))
def test_random_draws_are_at_chance_among_themselves(draws):
    assert percentile_within(draws, draws) == pytest.approx(50)


def test_labels_to_reach_a_target_are_interpolated_on_doublings():
    curve = {5: 0.6, 20: 0.8, 80: 0.84}
    assert labels_to_reach(0.7, curve).labels == pytest.approx(10)
    assert labels_to_reach(0.8, curve).labels == pytest.approx(20)
    assert str(labels_to_reach(0.82, curve)) == "40"
    assert str(labels_to_reach(0.5, curve)) == "5 or fewer"
    assert str(labels_to_reach(0.9, curve)) == "not reached with 80" and labels_to_reach(0.9, curve).labels is None


@given(curves, scores)
def test_the_first_budget_at_or_after_the_crossing_is_the_first_that_reaches_the_target(dice, target):
    found = labels_to_reach(target, dice)
    reaching = [budget for budget in sorted(dice) if dice[budget] >= target]
    if not reaching:
        assert found.labels is None
    else:
        assert found.labels is not None and found.labels <= reaching[0] + 1e-6
        assert all(dice[budget] < target for budget in dice if budget < found.labels - 1e-6)


def test_the_error_cut_is_relative_to_the_error():
    assert error_cut(0.97, 0.96) == pytest.approx(0.25)
    assert error_cut(0.95, 0.96) == pytest.approx(-0.25)
    assert error_cut(1.0, 1.0) == 0
