"""Lazy search finds what a look at every image finds, and looks at few."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.selection.lazy_greedy import greatest_gain


@settings(max_examples=200, deadline=None)
@given(data=st.data(), n=st.integers(1, 30), at_once=st.integers(1, 8))
def test_finds_the_first_of_the_greatest_and_keeps_every_bound_above_its_gain(data, n, at_once):
    few = st.integers(0, 4)  # so that many tie
    gains = np.array(data.draw(st.lists(few, min_size=n, max_size=n)))
    bounds = gains + np.array(data.draw(st.lists(few, min_size=n, max_size=n)))
    free = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    free[data.draw(st.integers(0, n - 1))] = True
    bounds[~free] = -1
    looked: list[int] = []

    def gains_of(images):
        looked.extend(images.tolist())
        return gains[images]

    found = greatest_gain(bounds, gains_of, at_once=at_once)
    best = max(gains[i] for i in range(n) if free[i])
    assert found == next(i for i in range(n) if free[i] and gains[i] == best)
    assert bounds[found] == best and (bounds[free] >= gains[free]).all() and (bounds[~free] == -1).all()
    assert len(looked) == len(set(looked)) and free[looked].all()


def test_looks_at_none_whose_bound_is_below_the_best():
    bounds, looked = np.arange(1000.0), []

    def gains_of(images):
        looked.extend(images.tolist())
        return bounds[images]

    assert greatest_gain(bounds, gains_of, at_once=4) == 999
    assert len(looked) == 4 and min(looked) == 996


def test_equal_images_are_not_looked_at_one_by_one():
    bounds, looked = np.full(1000, 7.0), []

    def gains_of(images):
        looked.extend(images.tolist())
        return bounds[images]

    assert greatest_gain(bounds, gains_of, at_once=4) == 0
    assert len(looked) <= 100


def test_where_none_may_be_taken_it_says_so():
    with pytest.raises(ValueError, match="may be taken"):
        greatest_gain(np.full(3, -1.0), lambda images: np.zeros(len(images)), at_once=2)


def test_of_equal_bounds_the_first_are_looked_at_and_rule_the_others_out():
    bounds, looked = np.repeat([3, 9, 5], 500), []

    def gains_of(images):
        looked.extend(images.tolist())
        return bounds[images]

    assert greatest_gain(bounds, gains_of, at_once=16) == 500
    assert sorted(looked) == list(range(500, 516))
