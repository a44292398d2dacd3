"""What each strategy does beyond the contract of all."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bundle.embedding import Embeddings
from bundle.selection import select
from bundle.selection.coverage import coverage_curve

from .pools import clustered_pool, per_cluster

SIZES = (400, 150, 80, 40, 30, 20, 12, 8)  # one common kind of image and rare ones, as in a clinic


@pytest.fixture(scope="module")
def pool():
    return clustered_pool(SIZES)


def test_ca_finds_the_clusters_and_takes_as_many_of_each(pool):
    ids, vectors, cluster = pool
    found = select((ids, vectors), strategy="ca", budget=27)
    assert found.diagnostics["k"] == len(SIZES)
    assert per_cluster(found, ids, cluster) == [4, 4, 4, 3, 3, 3, 3, 3]
    assert found.diagnostics["silhouette"]["k"] == list(range(2, 21))


def test_ca_shows_every_cluster_in_its_first_ranks_medoid_first(pool):
    ids, vectors, _ = pool
    found = select((ids, vectors), strategy="ca", budget=20)
    assert [row.cluster for row in found.rows[:8]] == list(range(1, 9))
    assert all(row.reason.startswith("medoid") for row in found.rows[:8])
    assert all(row.reason == f"farthest point in cluster {row.cluster}" for row in found.rows[8:])


def test_ca_starts_at_the_member_nearest_to_or_farthest_from_the_centre(pool):
    ids, vectors, cluster = pool
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    members = np.flatnonzero(cluster == 0)
    distance = np.linalg.norm(unit[members] - unit[members].mean(axis=0), axis=1)
    for start, expected in (("medoid", distance.argmin()), ("farthest", distance.argmax())):
        found = select((ids, vectors), strategy="ca", budget=8, start=start)
        assert found.ids[0] == ids[members[expected]]


def test_ca_ignores_the_length_of_the_vectors(pool):
    ids, vectors, _ = pool
    lengths = np.random.default_rng(0).choice([0.25, 1.0, 4.0], size=(len(ids), 1)).astype(np.float32)
    assert select((ids, vectors * lengths), strategy="ca", budget=30).ids == (
        select((ids, vectors), strategy="ca", budget=30).ids
    )


def test_ca_passes_by_a_cluster_that_is_labelled_already(pool):
    ids, vectors, cluster = pool
    labelled = [ids[i] for i in np.flatnonzero(cluster == 2)[:5]]
    found = select((ids, vectors), strategy="ca", budget=21, labelled=labelled)
    assert per_cluster(found, ids, cluster) == [3, 3, 0, 3, 3, 3, 3, 3]


def test_ca_goes_to_the_far_side_of_what_is_labelled():
    angles = np.linspace(0, 1, 50)
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    ids = [f"{i:02d}" for i in range(50)]
    found = select((ids, vectors), strategy="ca", budget=1, k=1, labelled=["00"])
    assert found.ids == ("49",)


def test_a_small_cluster_gives_its_surplus_to_the_others(pool):
    ids, vectors, cluster = pool
    found = select((ids, vectors), strategy="ca", budget=100)
    counts = per_cluster(found, ids, cluster)
    assert counts[-2:] == [12, 8]
    assert max(counts[:-2]) - min(counts[:-2]) <= 1


@pytest.mark.parametrize("options", [{"quota": "proportional"}, {"within": "random"}, {"start": "farthest"}, {"k": 5}])
def test_ca_stays_nested_with_any_option(pool, options):
    ids, vectors, _ = pool
    whole = select((ids, vectors), strategy="ca", budget=60, **options).ids
    first = select((ids, vectors), strategy="ca", budget=25, **options).ids
    assert whole[:25] == first
    assert select((ids, vectors), strategy="ca", budget=35, labelled=first, **options).ids == whole[25:]


def test_ca_refuses_options_out_of_range(pool):
    ids, vectors, _ = pool
    wrong = [
        {"k": 0},
        {"k": "8"},
        {"k_min": 1},
        {"k_max": 4},
        {"k": True},
        {"n_init": 0},
        {"start": "x"},
        {"within": 1},
        {"quota": "?"},
    ]
    for options in wrong:
        with pytest.raises(ValueError, match=next(iter(options))):
            select((ids, vectors), strategy="ca", budget=3, **options)


def test_ca_covers_better_than_random_and_no_better_once_ids_are_shuffled(pool):
    ids, vectors, _ = pool
    truth = Embeddings(ids, vectors)

    def left(selected) -> float:
        return float(coverage_curve(truth, selected).mean[-1])

    budget = 16
    chance = np.array([left(select(truth, strategy="random", budget=budget, seed=s).ids) for s in range(20)])
    matched = left(select(truth, strategy="ca", budget=budget).ids)
    mixed = np.array(
        [
            left(
                select((np.random.default_rng(s).permutation(ids).tolist(), vectors), strategy="ca", budget=budget).ids
            )
            for s in range(6)
        ]
    )
    assert matched < chance.min()
    assert chance.min() <= mixed.mean() <= chance.max()


def test_saal_takes_the_most_central_members_in_proportion(pool):
    ids, vectors, cluster = pool
    found = select((ids, vectors), strategy="saal", budget=74, k=8)
    assert per_cluster(found, ids, cluster) == [40, 15, 8, 4, 3, 2, 1, 1]
    members = np.flatnonzero(cluster == 1)
    distance = np.linalg.norm(vectors[members] - vectors[members].mean(axis=0), axis=1)
    expected = [ids[i] for i in members[np.argsort(distance)[:15]]]
    assert [row.id for row in found.rows if row.cluster == 2] == expected


def test_kmeans_takes_one_of_each_cluster_and_none_of_a_labelled_one(pool):
    ids, vectors, cluster = pool
    assert per_cluster(select((ids, vectors), strategy="kmeans", budget=8, n_init=10), ids, cluster) == [1] * 8
    labelled = [ids[np.flatnonzero(cluster == c)[0]] for c in (0, 3)]
    found = select((ids, vectors), strategy="kmeans", budget=6, n_init=10, labelled=labelled)
    assert per_cluster(found, ids, cluster) == [0, 1, 1, 0, 1, 1, 1, 1]


def test_kmeans_fills_its_budget_among_duplicates():
    vectors = np.repeat(np.eye(3, dtype=np.float32), [5, 3, 2], axis=0)
    found = select(([f"{i}" for i in range(10)], vectors), strategy="kmeans", budget=7)
    assert found.diagnostics["quotas"] == {1: 3, 2: 2, 3: 2}


def test_random_draws_every_image_as_often():
    ids = [f"{i}" for i in range(10)]
    vectors = np.ones((10, 2), dtype=np.float32)
    draws = [select((ids, vectors), strategy="random", budget=3, seed=s).ids for s in range(600)]
    counts = np.array(list(Counter(i for drawn in draws for i in drawn).values()))
    assert len(counts) == 10
    assert ((counts - 180) ** 2 / 180).sum() < 27.9  # chi-squared with 9 degrees of freedom, 0.1 %


@pytest.mark.parametrize(("name", "options"), [("saal", {}), ("kmeans", {"normalise": False})])
@pytest.mark.parametrize("far", [1e4, 1e8])
def test_one_far_outlier_costs_no_more_than_its_own_cluster(name, options, far):
    rng = np.random.default_rng(0)
    group = rng.integers(0, 5, 600)
    vectors = (5 * rng.normal(size=(5, 16))[group] + 0.1 * rng.normal(size=(600, 16))).astype(np.float32)
    vectors[7] = far
    ids = tuple(f"image_{i:03d}" for i in range(600))
    found = select((ids, vectors), strategy=name, budget=12, **options)
    taken = [int(group[ids.index(name)]) for name in found.ids if name != ids[7]]
    assert set(taken) == set(range(5)) and max(map(taken.count, taken)) <= 4
