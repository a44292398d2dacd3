"""Outlines: on the edge, inside the structure, for each label, and never on what was passed in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bundle.report.overlays import PREDICTION_COLOUR, TRUTH_COLOUR, outline, overlay, to_rgb

MASKS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3))


def outline_by_loops(mask: np.ndarray) -> np.ndarray:
    """A labelled pixel is on the edge when one of its four neighbours is missing or has another label."""
    height, width = mask.shape
    line = np.zeros(mask.shape, dtype=bool)
    for y in range(height):
        for x in range(width):
            for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                inside = 0 <= y + dy < height and 0 <= x + dx < width
                if mask[y, x] and (not inside or mask[y + dy, x + dx] != mask[y, x]):
                    line[y, x] = True
    return line


@given(MASKS)
def test_outline_is_where_a_neighbour_differs(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(outline(mask), outline_by_loops(mask))


@given(MASKS)
def test_wider_line_contains_the_thinner_and_stays_inside(mask: np.ndarray) -> None:
    thin, wide = outline(mask, width=1), outline(mask, width=2)
    assert not (thin & ~wide).any()
    assert not (wide & (mask == 0)).any()


def test_border_between_touching_labels_is_drawn() -> None:
    mask = np.ones((7, 8), dtype=np.uint8)
    mask[:, 4:] = 2
    assert outline(mask)[3].tolist() == [True, False, False, True, True, False, False, True]


def test_overlay_colours_the_outlines_and_nothing_else() -> None:
    image = np.full((20, 20), 0.5, dtype=np.float32)
    truth, prediction = np.zeros((2, 20, 20), dtype=np.uint8)
    truth[2:10, 2:10] = 1
    prediction[11:19, 11:19] = 1
    drawn = overlay(image, truth, prediction)
    assert drawn.shape == (20, 20, 3) and drawn.dtype == np.uint8
    for mask, colour, width in ((truth, TRUTH_COLOUR, 2), (prediction, PREDICTION_COLOUR, 1)):
        assert (drawn[outline(mask, width=width)] == colour).all()
    rest = ~outline(truth, width=2) & ~outline(prediction)
    assert (drawn[rest] == 128).all()


def test_both_outlines_stay_visible_where_they_agree() -> None:
    mask = np.zeros((20, 20), dtype=np.uint8)
    mask[4:16, 4:16] = 1
    colours = {tuple(pixel) for pixel in overlay(np.zeros((20, 20, 3), np.uint8), mask, mask).reshape(-1, 3).tolist()}
    assert {TRUTH_COLOUR, PREDICTION_COLOUR} <= colours


def test_input_image_is_left_as_it_was() -> None:
    image = np.zeros((6, 6, 3), dtype=np.uint8)
    overlay(image, np.ones((6, 6), bool), None)
    assert not image.any()


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)])
def test_float_and_byte_images_look_the_same(shape: tuple[int, ...]) -> None:
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape) * 4
    np.testing.assert_array_equal(to_rgb(pixels), to_rgb(pixels.astype(np.float32) / 255))
    assert to_rgb(pixels).shape == (4, 5, 3)


def test_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"prediction must be as high and wide as the image, \(4, 5\), got \(5, 4\)"):
        overlay(np.zeros((4, 5)), None, np.zeros((5, 4), np.uint8))


def test_soft_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="whole numbers or booleans"):
        outline(np.full((4, 4), 0.5))


def test_lines_are_wider_on_a_large_picture() -> None:
    mask = np.zeros((1024, 600), dtype=np.uint8)
    mask[100:900, 100:500] = 1
    drawn = overlay(np.zeros((1024, 600)), None, mask)
    np.testing.assert_array_equal((drawn == PREDICTION_COLOUR).all(axis=-1), outline(mask, width=4))
