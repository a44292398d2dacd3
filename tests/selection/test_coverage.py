from __future__ import annotations

import numpy as np
import pytest

from bundle.embedding import Embeddings
from bundle.selection.coverage import CoverageCurve, coverage_curve

from .pools import clustered_pool


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("n_labelled", [0, 3])
def test_agrees_with_plain_loops(normalise, n_labelled):
    ids, vectors, _ = clustered_pool((30, 20, 10), spread=0.4)
    points = vectors.astype(np.float64)
    if normalise:
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    labelled, selected = ids[:n_labelled], ids[10:20]
    scale = np.mean([np.linalg.norm(p - points.mean(axis=0)) for p in points])
    mean, largest = [], []
    for budget in range(1, 11):
        chosen = [*range(n_labelled), *range(10, 10 + budget)]
        nearest = [min(np.linalg.norm(p - points[c]) for c in chosen) for p in points]
        mean.append(np.mean(nearest) / scale)
        largest.append(max(nearest) / scale)
    curve = coverage_curve(
        Embeddings(ids, vectors), selected, labelled=[*labelled, "without embedding"], normalise=normalise
    )
    np.testing.assert_allclose(curve.mean, mean, atol=1e-6)
    np.testing.assert_allclose(curve.largest, largest, atol=1e-6)
    assert curve.scale == pytest.approx(scale, rel=1e-6)
    assert curve.budget.tolist() == list(range(1, 11))


def test_many_picks_and_rows_are_one_curve_that_only_falls():
    ids, vectors, _ = clustered_pool((4000, 600), dimensions=4, spread=0.3)
    whole = coverage_curve(Embeddings(ids, vectors), ids[:300])
    assert (np.diff(whole.mean) <= 1e-12).all() and (np.diff(whole.largest) <= 1e-12).all()
    np.testing.assert_allclose(coverage_curve(Embeddings(ids, vectors), ids[:200]).mean, whole.mean[:200])


def test_a_pool_of_equal_images_is_covered_by_one():
    curve = coverage_curve(Embeddings(("a", "b"), np.ones((2, 3), np.float32)), ["b"])
    assert curve.mean.tolist() == curve.largest.tolist() == [0.0]
    assert curve.knee is None


def test_the_knee_is_where_the_curve_bends():
    mean = np.array([1.0, 0.7, 0.4, 0.1, 0.08, 0.06, 0.04, 0.02])
    budget = np.arange(1, 9)
    assert CoverageCurve(budget, mean, mean, 1.0).knee == 4
    assert CoverageCurve(budget, np.linspace(1, 0, 8), mean, 1.0).knee is None


def test_refuses_an_empty_selection_and_an_unknown_id():
    embeddings = Embeddings(("a", "b"), np.eye(2, dtype=np.float32))
    with pytest.raises(ValueError, match="at least"):
        coverage_curve(embeddings, [])
    with pytest.raises(ValueError, match="'c'"):
        coverage_curve(embeddings, ["c"])


@pytest.mark.parametrize("normalise", [True, False])
def test_a_copy_of_a_chosen_image_is_at_distance_0_and_a_near_one_is_not(normalise):
    ids, vectors, _ = clustered_pool((30, 20, 10), dimensions=64, spread=0.4)
    copies = Embeddings((*ids, *(f"copy of {name}" for name in ids)), np.concatenate([vectors, vectors]))
    assert coverage_curve(copies, ids, normalise=normalise).mean[-1] == 0
    moved = vectors.copy()
    moved[:, 0] += 1e-4
    near = Embeddings(copies.ids, np.concatenate([vectors, moved]))
    assert coverage_curve(near, ids, normalise=normalise).mean[-1] > 0
