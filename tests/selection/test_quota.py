from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.selection.quota import QUOTAS, seat_sequence

clusters = st.lists(st.integers(1, 40), min_size=1, max_size=8)


@given(sizes=clusters, quota=st.sampled_from(QUOTAS), data=st.data())
def test_seats_sum_to_the_budget_fit_their_cluster_and_only_grow(sizes, quota, data):
    held = [data.draw(st.integers(0, size)) for size in sizes]
    free = sum(sizes) - sum(held)
    budget = data.draw(st.integers(0, free))
    whole = seat_sequence(sizes, free, quota=quota, held=held)
    found = seat_sequence(sizes, budget, quota=quota, held=held)
    assert found.tolist() == whole[:budget].tolist()
    assert (np.bincount(whole, minlength=len(sizes)) + held == sizes).all()


@given(sizes=clusters, data=st.data())
def test_equal_quotas_differ_by_one_at_most_unless_a_cluster_is_full(sizes, data):
    budget = data.draw(st.integers(0, sum(sizes)))
    seats = np.bincount(seat_sequence(sizes, budget, quota="equal"), minlength=len(sizes))
    open_seats = [count for count, size in zip(seats, sizes, strict=True) if count < size]
    assert not open_seats or max(seats) - min(open_seats) <= 1


@given(sizes=clusters, data=st.data())
def test_proportional_seats_are_those_of_the_divisor_method_in_plain_loops(sizes, data):
    budget = data.draw(st.integers(0, sum(sizes)))
    seats = [0] * len(sizes)
    for _ in range(budget):
        free = [c for c in range(len(sizes)) if seats[c] < sizes[c]]
        seats[max(free, key=lambda c: (sizes[c] / (2 * seats[c] + 1), sizes[c], -c))] += 1
    found = seat_sequence(sizes, budget, quota="proportional")
    assert np.bincount(found, minlength=len(sizes)).tolist() == seats


def test_proportional_seats_match_shares_that_come_out_even():
    found = seat_sequence([500, 300, 200], 100, quota="proportional")
    assert np.bincount(found).tolist() == [50, 30, 20]


def test_a_small_cluster_gives_its_surplus_to_the_others():
    found = seat_sequence([10, 10, 1], 9, quota="equal")
    assert np.bincount(found).tolist() == [4, 4, 1]


def test_seats_held_already_count():
    found = seat_sequence([10, 10, 10], 5, quota="equal", held=[4, 0, 1])
    assert np.bincount(found).tolist() == [0, 3, 2]


def test_early_seats_reach_every_cluster_largest_first():
    assert seat_sequence([5, 9, 7], 4, quota="equal").tolist() == [1, 2, 0, 1]


def test_refuses_an_unknown_rule_and_a_budget_out_of_range():
    with pytest.raises(ValueError, match="equal, proportional"):
        seat_sequence([1], 1, quota="fair")
    with pytest.raises(ValueError, match="0 to 3"):
        seat_sequence([2, 1], 4, quota="equal")
