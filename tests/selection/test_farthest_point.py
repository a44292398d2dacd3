from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.selection.farthest_point import farthest_point_sampling


def plain_loops(points: list[list[int]], count: int, start_from: list[int], first: int) -> list[int]:
    """Farthest point sampling in whole numbers; the smaller index wins a tie."""
    chosen, picks = list(start_from), []
    for _ in range(count):
        best, best_distance = None, -1
        for candidate, point in enumerate(points):
            if candidate in chosen:
                continue
            nearest = min(sum((a - b) ** 2 for a, b in zip(point, points[c], strict=True)) for c in chosen or [first])
            if not chosen:
                nearest = 1 if candidate == first else 0
            if nearest > best_distance:
                best, best_distance = candidate, nearest
        chosen.append(best)
        picks.append(best)
    return picks


@settings(max_examples=150, deadline=None)
@given(data=st.data(), n=st.integers(1, 12), dimensions=st.integers(1, 3))
def test_agrees_with_plain_loops_also_where_distances_tie(data, n, dimensions):
    cell = st.integers(-2, 2)  # small whole numbers are exact in float32 and tie often
    points = data.draw(st.lists(st.lists(cell, min_size=dimensions, max_size=dimensions), min_size=n, max_size=n))
    start_from = sorted(data.draw(st.sets(st.integers(0, n - 1))))
    first = data.draw(st.integers(0, n - 1))
    count = data.draw(st.integers(0, n - len(start_from)))
    picks, distances = farthest_point_sampling(
        np.array(points, dtype=np.float32), count, start_from=start_from, first=first
    )
    assert picks.tolist() == plain_loops(points, count, start_from, first)
    assert (np.diff(distances) <= 0).all() if not np.isinf(distances).any() else (np.diff(distances[1:]) <= 0).all()


def test_covers_many_blocks_of_rows_as_one():
    points = np.random.default_rng(0).integers(-30, 30, size=(3000, 300)).astype(np.float32)
    picks, _ = farthest_point_sampling(points, 4, first=5)
    chosen = [5]
    for _ in range(3):
        squares = ((points[:, None].astype(np.int64) - points[chosen].astype(np.int64)) ** 2).sum(axis=2)
        chosen.append(int(squares.min(axis=1).argmax()))
    assert picks.tolist() == chosen


def test_distances_are_to_the_nearest_one_chosen_before():
    line = np.array([[0.0], [10.0], [4.0], [7.0]], dtype=np.float32)
    picks, distances = farthest_point_sampling(line, 4, first=0)
    assert picks.tolist() == [0, 1, 2, 3]
    assert distances.tolist() == [np.inf, 10.0, 4.0, 3.0]


@pytest.mark.parametrize("start_from", [[], [7, 900]])
def test_among_some_rows_the_picks_are_those_of_a_table_of_these_alone(start_from):
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(1000, 5)).astype(np.float32) + np.float32(50)
    rows = np.union1d(rng.choice(1000, 400, replace=False), [7, 20, 900])
    picks, distances = farthest_point_sampling(vectors, 60, among=rows, start_from=start_from, first=20)
    places = [int(np.searchsorted(rows, row)) for row in start_from]
    first = int(np.searchsorted(rows, 20))
    alone, expected = farthest_point_sampling(vectors[rows], 60, start_from=places, first=first)
    assert picks.tolist() == rows[alone].tolist() and distances.tolist() == expected.tolist()
    assert bool(start_from) == (picks[0] != 20)


def test_refuses_more_than_there_are():
    with pytest.raises(ValueError, match="0 to 2"):
        farthest_point_sampling(np.zeros((3, 2), np.float32), 3, start_from=[1])


def float64_loop(vectors: np.ndarray, count: int, first: int) -> list[int]:
    """The same in float64, a difference at a time."""
    points = vectors.astype(np.float64)
    nearest = np.full(len(points), np.inf)
    picks = [first]
    while len(picks) < count:
        nearest = np.minimum(nearest, ((points - points[picks[-1]]) ** 2).sum(axis=1))
        nearest[picks] = -1
        picks.append(int(nearest.argmax()))
    return picks


@pytest.mark.parametrize("leaders", [3, 50, 2048])
@pytest.mark.parametrize("shape", ["one cloud", "tight clusters", "far from the origin", "an outlier", "tiny", "grid"])
def test_picks_are_those_of_a_loop_in_float64_however_many_rows_lead(monkeypatch, leaders, shape):
    monkeypatch.setattr("bundle.selection.farthest_point._LEADERS", leaders)
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(600, 6)).astype(np.float32)
    if shape == "tight clusters":
        vectors = (rng.normal(size=(8, 6))[rng.integers(8, size=600)] + 1e-3 * vectors).astype(np.float32)
    elif shape == "far from the origin":
        vectors += np.float32(300)
    elif shape == "an outlier":
        vectors[7] = 1e15
    elif shape == "tiny":
        vectors *= np.float32(1e-25)
    elif shape == "grid":  # ties everywhere, exact in every precision
        vectors = rng.integers(0, 3, size=(600, 6)).astype(np.float32)
    vectors[100:140] = vectors[200:240]
    picks, distances = farthest_point_sampling(vectors, 300, first=5)
    assert picks.tolist() == float64_loop(vectors, 300, 5)
    assert (np.diff(distances[1:]) <= 0).all()


def test_equal_vectors_come_last_in_their_order():
    vectors = np.repeat(np.random.default_rng(0).normal(size=(4, 5)), 30, axis=0).astype(np.float32)
    picks, distances = farthest_point_sampling(vectors, 120, first=60)
    assert sorted(picks[:4].tolist()) == [0, 30, 60, 90]
    assert picks[4:].tolist() == sorted(set(range(120)) - {0, 30, 60, 90})
    assert not distances[4:].any()


@pytest.mark.parametrize("spread", [3e-3, 1e-4, 1e-6])
def test_in_tight_groups_few_pairs_are_left_to_differences(monkeypatch, spread):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, 64))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    vectors = (centres[rng.integers(10, size=1000)] + spread * rng.normal(size=(1000, 64)) / 8).astype(np.float32)
    settled, argwhere = [], np.argwhere
    monkeypatch.setattr(np, "argwhere", lambda mask: settled.append(int(mask.sum())) or argwhere(mask))
    picks, _ = farthest_point_sampling(vectors, 100, first=3)
    assert picks.tolist() == float64_loop(vectors, 100, 3)
    assert sum(settled) < 20 * 100, "20 for every pick, of 1000 rows and 50 chosen ones on average"
