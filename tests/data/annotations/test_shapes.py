"""Outlines and run lengths become the pixels that a plain loop over all pixels finds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.data.annotations.coco import decode_counts
from bundle.data.annotations.shapes import (
    Shape,
    draw_shapes,
    ellipse_outline,
    place_pixels,
    polygon_pixels,
    run_length_pixels,
)

SIZE = (9, 7)
# Quarters, so that corners and edges meet pixel centres often.
coordinates = st.tuples(st.integers(-8, 40), st.integers(-8, 44)).map(lambda p: (p[0] / 4, p[1] / 4))


def inside(x: float, y: float, corners: list[tuple[float, float]]) -> bool:
    """Whether a ray to the left from (x, y) crosses the outline an odd number of times."""
    crossings = 0
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        if min(y0, y1) <= y < max(y0, y1) and x0 + (y - y0) * ((x1 - x0) / (y1 - y0)) <= x:
            crossings += 1
    return crossings % 2 == 1


@given(st.lists(coordinates, min_size=3, max_size=9))
def test_a_polygon_has_the_pixels_whose_centre_it_encloses(corners):
    found = polygon_pixels(corners, SIZE)
    for row in range(SIZE[0]):
        for column in range(SIZE[1]):
            assert found[row, column] == inside(column + 0.5, row + 0.5, corners)


@given(st.integers(1, 6), st.integers(0, 5), st.integers(1, 8), st.integers(0, 7))
def test_a_rectangle_on_pixel_borders_has_its_area(width, left, height, top):
    corners = [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]
    expected = np.zeros(SIZE, dtype=bool)
    expected[top : top + height, left : left + width] = True
    np.testing.assert_array_equal(polygon_pixels(corners, SIZE), expected)


def test_polygons_that_share_an_edge_share_no_pixel_and_leave_none_out():
    left, right = [(0, 0), (3.3, 0), (4.5, 9), (0, 9)], [(3.3, 0), (7, 0), (7, 9), (4.5, 9)]
    a, b = polygon_pixels(left, SIZE), polygon_pixels(right, SIZE)
    assert not (a & b).any() and (a | b).all()


@pytest.mark.parametrize("points", [[(0, 0), (1, 1)], [(0, 0), (1, 1), (float("nan"), 2)], [(0, 0, 0)] * 3])
def test_what_is_no_polygon_is_refused(points):
    with pytest.raises(ValueError, match="three corners or more"):
        polygon_pixels(points, SIZE)


def test_a_polygon_far_beyond_the_picture_covers_it():
    far = 1e12
    assert polygon_pixels([(-far, -far), (far, -far), (far, far), (-far, far)], SIZE).all()


def test_an_ellipse_is_turned_and_has_its_area():
    centre, radii = (50.0, 40.0), (30.0, 10.0)
    found = polygon_pixels(ellipse_outline(centre, radii, 30.0), (80, 100))
    for row in range(80):
        for column in range(100):
            x, y = column + 0.5 - centre[0], row + 0.5 - centre[1]
            turn = math.radians(30)
            u, v = x * math.cos(turn) + y * math.sin(turn), -x * math.sin(turn) + y * math.cos(turn)
            distance = (u / radii[0]) ** 2 + (v / radii[1]) ** 2
            if abs(distance - 1) > 1e-3:
                assert found[row, column] == (distance < 1)


@pytest.mark.parametrize("by_column", [False, True])
@given(bits=st.lists(st.booleans(), min_size=12, max_size=12))
def test_run_lengths_give_back_what_was_coded(by_column, bits):
    picture = np.array(bits).reshape(3, 4)
    runs, last = [0], False
    for column_or_row in picture.T if by_column else picture:
        for pixel in column_or_row:
            if pixel == last:
                runs[-1] += 1
            else:
                runs.append(1)
                last = pixel
    np.testing.assert_array_equal(run_length_pixels(runs, (3, 4), by_column=by_column), picture)


@pytest.mark.parametrize("runs", [[5], [20], [-1, 13], []])
def test_runs_that_do_not_fill_their_size_are_refused(runs):
    with pytest.raises(ValueError, match="sum to"):
        run_length_pixels(runs, (3, 4))


def encoded(runs: list[int]) -> str:
    """COCO's text form, written from the description of the format alone."""
    text = ""
    for number, run in enumerate(runs):
        value = run - runs[number - 2] if number > 2 else run
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != -1 if bits & 16 else value != 0
            text += chr(48 + (bits | 32 if more else bits))
    return text


@given(st.lists(st.integers(0, 10**7), max_size=30))
def test_coco_s_text_form_is_read_back(runs):
    assert decode_counts(encoded(runs)) == runs


@pytest.mark.parametrize("text", [" ", "P", "é", "p" * 99])
def test_a_broken_text_form_is_refused(text):
    with pytest.raises(ValueError, match="compressed run lengths"):
        decode_counts(text)


def test_a_part_is_put_at_its_place_and_refused_beyond_the_picture():
    part = np.ones((2, 3), dtype=bool)
    expected = np.zeros(SIZE, dtype=bool)
    expected[4:6, 1:4] = True
    np.testing.assert_array_equal(place_pixels(part, 1, 4, SIZE), expected)
    with pytest.raises(ValueError, match="within its image"):
        place_pixels(part, 5, 4, SIZE)


def test_the_later_shape_is_on_top_and_background_erases():
    whole = Shape(1, lambda size: np.ones(size, dtype=bool))
    upper = Shape(2, lambda size: np.arange(size[0])[:, None] < np.full(size[1], 4))
    corner = Shape(0, lambda size: (np.arange(size[0])[:, None] < 2) & (np.arange(size[1]) < 2))
    mask = draw_shapes([whole, upper, corner], SIZE)
    assert mask[0, 0] == 0 and mask[3, 3] == 2 and mask[8, 3] == 1
    assert draw_shapes([upper, whole], SIZE).tolist() == np.ones(SIZE).tolist()
