"""The exponent of growth is that of the power law a cost follows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.benchmark.power_law import fitted_exponent


@given(power=st.floats(0.1, 4), factor=st.floats(1e-6, 1e3))
def test_the_exponent_is_that_of_a_power_law(power, factor):
    sizes = [1000, 4000, 20000]
    assert fitted_exponent(sizes, [factor * size**power for size in sizes]) == pytest.approx(power)


@pytest.mark.parametrize("sizes", [[], [9], [9, 9]])
def test_one_size_tells_no_exponent(sizes):
    assert fitted_exponent(sizes, [1.5] * len(sizes)) is None
