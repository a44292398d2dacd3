"""The likeliest class is what argmax says, ties included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bundle.likeliest import likeliest_class

SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6))


@given(arrays.arrays(np.float32, SHAPES, elements=st.sampled_from([-2.0, -1.0, 0.0, 0.25, 0.5, 1.0])))
def test_it_is_the_first_of_the_largest(planes):
    found = likeliest_class(planes)
    assert found.dtype == np.uint8 and found.shape == planes.shape[1:]
    for place in np.ndindex(found.shape):
        values = [planes[(label, *place)] for label in range(len(planes))]
        assert found[place] == values.index(max(values))


@pytest.mark.parametrize("classes", [2, 4])
def test_the_planes_are_left_as_they_were(classes):
    planes = np.random.default_rng(0).random((classes, 5, 5))
    before = planes.copy()
    likeliest_class(planes)
    np.testing.assert_array_equal(planes, before)
