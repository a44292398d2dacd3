"""A mask with a geometry of its own lands where its millimetres say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bundle.data.annotations.annotation import Grid
from bundle.data.annotations.placement import place_mask

MASK = np.random.default_rng(0).integers(0, 3, (6, 9)).astype(np.uint8)


def image_affine(spacing: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """A picture's grid as ITK has it: (column, row) to RAS."""
    return np.diag([-spacing[0], -spacing[1], 1.0, 1.0])


def by_millimetres(mask: np.ndarray, affine: np.ndarray, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The value of the mask's pixel that lies on each pixel of the image, found by comparing all places."""
    whole = np.zeros(size, dtype=np.uint8)
    places = {
        tuple(np.round((affine @ [c, r, 0, 1])[:3], 3)): mask[r, c]
        for r, c in itertools.product(range(mask.shape[0]), range(mask.shape[1]))
    }
    for r, c in itertools.product(range(size[0]), range(size[1])):
        whole[r, c] = places.get(tuple(np.round((image @ [c, r, 0, 1])[:3], 3)), 0)
    return whole


def turned(exchange: bool, flip_x: bool, flip_y: bool, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An affine of the same grid, stored in another order."""
    columns, rows = (size[0], size[1]) if exchange else (size[1], size[0])
    order = np.eye(4)
    if exchange:
        order = order[:, [1, 0, 2, 3]]
    if flip_x:
        order = order @ np.array([[-1, 0, 0, columns - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    if flip_y:
        order = order @ np.array([[1, 0, 0, 0], [0, -1, 0, rows - 1], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    return image @ order


@pytest.mark.parametrize(("exchange", "flip_x", "flip_y"), itertools.product([False, True], repeat=3))
@pytest.mark.parametrize("known", [False, True])
def test_another_order_of_the_axes_is_undone(exchange, flip_x, flip_y, known):
    size = (6, 9)
    image = (
        np.array([[0.3, 0, 0, 5], [0, -0.3, 0, 7], [0, 0, 1, 2], [0, 0, 0, 1]]) if known else image_affine((0.3,) * 2)
    )
    affine = turned(exchange, flip_x, flip_y, image, size)
    mask = MASK.T if exchange else MASK
    grid = Grid(*size, image if known else None)
    found = place_mask(mask, affine, grid)
    np.testing.assert_array_equal(found, by_millimetres(mask, affine, image, size))
    assert found.any()


def test_a_mask_cut_down_to_what_was_drawn_is_put_back():
    affine = image_affine((0.5, 0.25))
    affine[:3, 3] = affine[:3, :3] @ [3, 2, 0]
    found = place_mask(MASK, affine, Grid(20, 30))
    np.testing.assert_array_equal(found[2:8, 3:12], MASK)
    assert found.sum() == MASK.sum()


@pytest.mark.parametrize(
    "affine",
    [
        None,
        np.eye(4),  # what a converter writes that knows of no geometry
        np.array([[-1, 0, 0, 4], [0, 1, 0, -2.5], [0, 0, 1, 0], [0, 0, 0, 1.0]]),  # NIfTI without codes
        np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
        np.full((4, 4), np.nan),
        np.zeros((4, 4)),
    ],
    ids=["none", "identity", "centred", "oblique", "not a number", "zero"],
)
def test_without_a_geometry_that_meets_the_image_a_mask_is_taken_as_stored(affine):
    np.testing.assert_array_equal(place_mask(MASK, affine, Grid(6, 9)), MASK)


def test_a_mask_that_reaches_beyond_the_image_keeps_its_own_size():
    affine = image_affine()
    affine[:3, 3] = affine[:3, :3] @ [25, 2, 0]
    assert place_mask(MASK, affine, Grid(20, 30)).shape == MASK.shape
