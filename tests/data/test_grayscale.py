"""A table over the levels shows what the pixels one by one show."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from bundle.data.grayscale import presented


@settings(max_examples=40)
@given(
    bits=st.sampled_from([8, 10, 12, 16]),
    signed=st.booleans(),
    order=st.sampled_from("<>"),
    window=st.none() | st.tuples(st.floats(-100, 3000), st.sampled_from([0.0, 1.0, 2.0, 50.0, 2000.0])),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    slope=st.sampled_from([0.5, 1.0, 2.0]),
    padded=st.booleans(),
    constant=st.booleans(),
    sense=st.sampled_from(["MONOCHROME1", "MONOCHROME2"]),
)
def test_large_images_of_few_levels_are_shown_as_pixel_by_pixel(
    bits, signed, order, window, function, slope, padded, constant, sense
):
    low, high = (-(1 << (bits - 1)), 1 << (bits - 1)) if signed else (0, 1 << bits)
    dataset = Dataset()
    dataset.BitsStored, dataset.PixelRepresentation = bits, int(signed)
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, -100.0
    dataset.PhotometricInterpretation = sense
    if window is not None:
        dataset.WindowCenter, dataset.WindowWidth = window
        dataset.VOILUTFunction = function
    if padded:
        dataset.add_new("PixelPaddingValue", "US", low % 65536)
    values = np.random.default_rng(bits).integers(low, high, (260, 270))
    values = np.full_like(values, values[0, 0]) if constant else values
    values[:20] = low
    stored = values.astype(f"{order}{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    found = presented(stored, dataset)
    one_by_one = presented(stored.astype(np.int64), dataset)  # 64 bits have too many levels for a table
    np.testing.assert_allclose(found, one_by_one, atol=2e-7)
    assert found.dtype == np.float32 and 0 <= found.min() <= found.max() <= 1
