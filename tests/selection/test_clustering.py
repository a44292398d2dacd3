from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

from bundle.selection.clustering import (
    Clustering,
    choose_k,
    distance_to_centre,
    kmeans,
    kmeans_for_each,
    silhouette_curve,
    silhouette_sample,
)

from .pools import awkward_pools, clustered_pool


@pytest.mark.parametrize("offset", [0.0, 5.0])
def test_silhouettes_of_all_k_agree_with_scikit_learn(offset):
    _, vectors, _ = clustered_pool((300, 200, 100, 50, 5), spread=0.2)
    vectors[:40] = vectors[40:80]  # duplicates
    vectors += np.float32(offset)
    labels = [found.labels for found in kmeans_for_each(vectors, range(2, 15), seed=0, n_init=1)]
    curve = silhouette_curve(vectors, labels)
    expected = [silhouette_score(vectors.astype(np.float64), found) for found in labels]
    np.testing.assert_allclose(curve.score, expected, atol=1e-5)
    assert curve.k == tuple(range(2, 15))
    assert curve.scored == len(vectors)
    assert not curve.standard_error.any()


def test_silhouettes_over_several_blocks_agree_with_scikit_learn(monkeypatch):
    monkeypatch.setattr("bundle.selection.clustering._BLOCK_SIDE", 37)
    _, vectors, cluster = clustered_pool((90, 60, 31), spread=0.3)
    curve = silhouette_curve(vectors, [cluster, cluster % 2])
    np.testing.assert_allclose(
        curve.score, [silhouette_score(vectors, cluster), silhouette_score(vectors, cluster % 2)], atol=1e-5
    )


@settings(max_examples=40, deadline=None)
@given(data=st.data(), pool=awkward_pools())
def test_silhouettes_of_awkward_pools_agree_with_scikit_learn(data, pool):
    vectors = pool[1]
    k = data.draw(st.integers(1, 5))
    _, labels = np.unique(
        data.draw(st.lists(st.integers(0, k - 1), min_size=len(vectors), max_size=len(vectors))), return_inverse=True
    )
    score = silhouette_curve(vectors, [labels]).score[0]
    if labels.max() == 0:
        assert np.isnan(score)
    elif labels.max() == len(vectors) - 1:
        assert score == 0  # clusters of one count 0; scikit-learn does not define this case
    else:
        assert score == pytest.approx(silhouette_score(vectors.astype(np.float64), labels), abs=1e-5)


def test_a_sampled_silhouette_lies_within_its_standard_error():
    _, vectors, cluster = clustered_pool((800, 500, 300, 100), spread=0.3)
    exact = silhouette_curve(vectors, [cluster]).score[0]
    estimates = [silhouette_curve(vectors, [cluster], seed=s, exact_up_to=1000, sample=200) for s in range(30)]
    errors = np.array([(found.score[0] - exact) / found.standard_error[0] for found in estimates])
    assert all(found.scored == 200 for found in estimates)
    assert 0.6 < errors.std() < 1.5
    assert abs(errors.mean()) < 0.6


def test_clusters_come_largest_first_with_their_means():
    _, vectors, cluster = clustered_pool((50, 30, 20))
    found = kmeans(vectors, 3, seed=0)
    assert found.sizes.tolist() == [50, 30, 20]
    np.testing.assert_array_equal(found.labels, cluster)
    for label, rows in enumerate(found.members()):
        np.testing.assert_array_equal(rows, np.flatnonzero(cluster == label))
        np.testing.assert_allclose(found.centres[label], vectors[rows].mean(axis=0), atol=1e-6)
    expected = np.linalg.norm(vectors - found.centres[cluster], axis=1)
    np.testing.assert_allclose(distance_to_centre(vectors, found), expected, atol=1e-6)


def test_no_more_clusters_than_different_vectors():
    vectors = np.repeat(np.eye(3, dtype=np.float32), [5, 3, 2], axis=0)
    assert kmeans(vectors, 8, seed=0).sizes.tolist() == [5, 3, 2]
    assert kmeans(vectors[:5], 4, seed=0).sizes.tolist() == [5]


def test_each_k_has_the_clusters_it_has_alone():
    _, vectors, _ = clustered_pool((60, 40, 30, 20), spread=0.4)
    for k, found in zip(range(2, 7), kmeans_for_each(vectors, range(2, 7), seed=5, n_init=2), strict=True):
        np.testing.assert_array_equal(found.labels, kmeans(vectors, k, seed=5, n_init=2).labels)


def test_the_search_finds_the_true_number_of_clusters_and_shows_the_curve_from_two():
    _, vectors, _ = clustered_pool((60, 50, 40, 30, 20, 20, 20))
    clustering, curve = choose_k(vectors, k_min=5, k_max=12, seed=0)
    assert clustering.k == 7
    assert curve is not None and curve.k == tuple(range(2, 13))


def test_the_search_keeps_its_lower_bound_where_two_would_win():
    _, vectors, _ = clustered_pool((60, 40))
    clustering, curve = choose_k(vectors, k_min=5, k_max=12, seed=0)
    assert clustering.k >= 5
    assert curve is not None and int(np.argmax(curve.score)) == 0


@pytest.mark.parametrize(("n", "most"), [(1, 1), (2, 1), (3, 2), (6, 5)])
def test_the_search_fits_its_bounds_to_a_small_pool(n, most):
    vectors = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    assert choose_k(vectors, k_min=5, k_max=20, seed=0)[0].k == most


@pytest.mark.parametrize("spread", [0.0, 1e-5, 1e-3])
@pytest.mark.parametrize("whole_blocks", [True, False])
def test_silhouettes_of_near_duplicates_agree_with_scikit_learn(spread, whole_blocks):
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(6 if whole_blocks else 150, 32))
    cluster = np.sort(rng.integers(len(centres), size=300))
    vectors = (centres[cluster] + spread * rng.normal(size=(300, 32)) + 3).astype(np.float32)
    _, labels = np.unique(cluster, return_inverse=True)
    halves = np.arange(300) % 2  # a and b are both means over all clusters
    curve = silhouette_curve(vectors, [labels, halves])
    expected = [silhouette_score(vectors.astype(np.float64), found) for found in (labels, halves)]
    np.testing.assert_allclose(curve.score, expected, atol=1e-5)


def test_equal_vectors_have_silhouette_zero():
    vectors = np.tile(np.random.default_rng(0).normal(size=16).astype(np.float32), (40, 1))
    assert silhouette_curve(vectors, [np.arange(40) % 4]).score[0] == 0.0


def test_a_sampled_silhouette_is_that_of_scikit_learn_on_the_same_rows():
    _, vectors, cluster = clustered_pool((300, 200, 100), spread=0.3)
    rows = silhouette_sample(600, seed=3, sample=150)
    found = silhouette_curve(vectors, [cluster], seed=3, exact_up_to=500, sample=150)
    assert found.score[0] == pytest.approx(silhouette_score(vectors[rows], cluster[rows]), abs=1e-5)


def test_a_cluster_that_the_sample_missed_does_no_harm():
    _, vectors, cluster = clustered_pool((500, 400, 1), spread=0.3)
    found = silhouette_curve(vectors, [cluster], seed=0, exact_up_to=100, sample=50)
    assert np.isfinite(found.score[0]) and found.score[0] > 0


@pytest.fixture
def large_from_400(monkeypatch):
    """Pools of more than 400 rows are clustered as the large ones are."""
    for name, value in {"FULL_UP_TO": 400, "SAMPLE": 100, "SAMPLE_PER_CLUSTER": 10, "_BLOCK_ROWS": 128}.items():
        monkeypatch.setattr(f"bundle.selection.clustering.{name}", value)


@pytest.mark.usefixtures("large_from_400")
def test_a_large_pool_has_the_clusters_that_are_there():
    _, vectors, cluster = clustered_pool((300, 200, 100, 50), spread=0.1)
    found = kmeans(vectors + np.float32(5), 4, seed=0)
    np.testing.assert_array_equal(found.labels, cluster)
    for label, centre in enumerate(found.centres):
        np.testing.assert_allclose(centre, vectors[cluster == label].mean(axis=0) + 5, atol=1e-5)


@pytest.mark.usefixtures("large_from_400")
def test_a_large_pool_is_nearly_as_well_clustered_from_a_sample():
    _, vectors, _ = clustered_pool((300, 200, 100, 50), spread=0.5)
    sampled, full = kmeans(vectors, 6, seed=0), kmeans(vectors[:400], 6, seed=0)
    spread = np.square(distance_to_centre(vectors, sampled)).mean()
    assert spread < 1.1 * np.square(distance_to_centre(vectors[:400], full)).mean()


@pytest.mark.usefixtures("large_from_400")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_large_pool_has_the_same_clusters_for_any_number_of_threads(threads):
    _, vectors, _ = clustered_pool((300, 200, 100, 50), spread=0.5)
    with threadpool_limits(threads):
        found = kmeans_for_each(vectors, range(2, 8), seed=1)
    alone = [kmeans(vectors, k, seed=1) for k in range(2, 8)]
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.centres, other.centres)


@pytest.mark.usefixtures("large_from_400")
def test_a_large_pool_of_few_different_vectors_has_no_empty_cluster():
    vectors = np.repeat(np.eye(3, dtype=np.float32), [300, 150, 50], axis=0)
    assert kmeans(vectors, 8, seed=0).sizes.tolist() == [300, 150, 50]


def test_equal_scores_go_to_the_smaller_k():
    vectors = np.zeros((30, 4), dtype=np.float32)
    vectors[:, 0] = np.repeat([0, 1], 15)
    clustering, curve = choose_k(vectors, k_min=2, k_max=6, seed=0)
    assert curve is not None and clustering.k == 2
    np.testing.assert_allclose(curve.score, 1.0)


def test_a_sampled_search_takes_the_smallest_k_within_a_standard_error(monkeypatch):
    monkeypatch.setattr("bundle.selection.clustering._silhouettes", lambda *_, **__: ((2, 3, 4), values))
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(1000, 3)).astype(np.float32)
    steady = rng.normal(0.3, 0.1, size=50)
    # Against K = 4: K = 3 is apart by less than chance, K = 2 by more.
    values = np.stack([steady - 0.1, steady + rng.normal(0, 0.05, size=50), steady + 0.001])
    values[1] += steady.mean() - values[1].mean()
    assert choose_k(vectors, k_min=2, k_max=4, seed=0, n_init=1)[0].k == 3


def blobs(n: int = 600, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of five groups, and the group of each."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 5, n)
    return (5 * rng.normal(size=(5, 16))[group] + 0.1 * rng.normal(size=(n, 16))).astype(np.float32), group


@pytest.mark.parametrize("full_up_to", [50_000, 100])
@pytest.mark.parametrize("far", [1e5, 1e8])
def test_in_float64_one_far_outlier_does_not_merge_the_others(monkeypatch, full_up_to, far):
    monkeypatch.setattr("bundle.selection.clustering.FULL_UP_TO", full_up_to)
    monkeypatch.setattr("bundle.selection.clustering.SAMPLE", 500)
    vectors, group = blobs()
    vectors[:20] = far  # so many that a sample has one
    found = kmeans(vectors, 12, seed=0, dtype=np.float64)
    for label in range(found.k):
        rows = np.flatnonzero(found.labels == label)
        assert len({*group[rows[rows >= 20]]}) + (rows < 20).any() == 1


@pytest.mark.parametrize("full_up_to", [50_000, 100])
@pytest.mark.parametrize("scale", [1e-23, 1e-36])
def test_in_float64_tiny_vectors_have_the_clusters_of_large_ones(monkeypatch, full_up_to, scale):
    monkeypatch.setattr("bundle.selection.clustering.FULL_UP_TO", full_up_to)
    monkeypatch.setattr("bundle.selection.clustering.SAMPLE", 500)
    vectors, _ = blobs()
    vectors = np.round(vectors * 64)  # so that float32 holds both alike
    factor = np.float32(2.0 ** round(np.log2(scale)))
    large, small = (kmeans(some, 5, seed=0, dtype=np.float64) for some in (vectors, vectors * factor))
    np.testing.assert_array_equal(small.labels, large.labels)
    np.testing.assert_array_equal(
        distance_to_centre(vectors * factor, small), distance_to_centre(vectors, large) * float(factor)
    )


def test_distances_to_a_centre_are_in_its_precision_and_agree_with_plain_loops():
    vectors, _ = blobs(60)
    vectors[7] = 1e9
    mean = vectors.mean(axis=0, dtype=np.float64, keepdims=True)
    found = distance_to_centre(vectors, Clustering(np.zeros(60, dtype=np.intp), mean))
    expected = [math.sqrt(sum((float(x) - m) ** 2 for x, m in zip(v, mean[0], strict=True))) for v in vectors]
    np.testing.assert_allclose(found, expected, rtol=1e-14)
