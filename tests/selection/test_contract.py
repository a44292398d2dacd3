"""What every registered strategy promises, for any pool. A new strategy is tested here by being registered."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundle.embedding import Embeddings
from bundle.selection import available_strategies, select

from .pools import awkward_pools, clustered_pool

STRATEGIES = sorted(available_strategies())
NESTED = [name for name, found in available_strategies().items() if found.nested]
FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# One restart of K-means keeps the suite fast; the promises do not depend on how good the clusters are.
FAST = {
    "activeft": {"iterations": 20},
    "ca": {"n_init": 1, "k_max": 8},
    "probcover": {"n_init": 1},
    "saal": {"n_init": 1},
    "stratified_random": {"n_init": 1, "k_max": 8},
}


def options(name: str) -> dict:
    return FAST.get(name, {})


@pytest.mark.parametrize("name", STRATEGIES)
@FEW
@given(data=st.data(), pool=awkward_pools(), seed=st.integers(0, 3))
def test_gives_exactly_the_budget_of_images_that_are_left(name, data, pool, seed):
    ids, _ = pool
    labelled = data.draw(st.sets(st.sampled_from(ids)))
    exclude = data.draw(st.sets(st.sampled_from(ids)))
    left = set(ids) - labelled - exclude
    if not left:
        with pytest.raises(ValueError, match="budget must be"):
            select(pool, strategy=name, budget=1, labelled=labelled, exclude=exclude)
        return
    budget = data.draw(st.sampled_from([1, len(left), (len(left) + 1) // 2]))
    found = select(pool, strategy=name, budget=budget, seed=seed, labelled=labelled, exclude=exclude, **options(name))
    assert len(found.ids) == len(set(found.ids)) == budget
    assert set(found.ids) <= left
    assert [row.rank for row in found.rows] == list(range(1, budget + 1))
    assert all(row.reason and np.isfinite(row.score) for row in found.rows)
    clusters = found.diagnostics.get("clusters")
    if clusters is not None:
        assert set(clusters) == set(ids) - exclude
        assert all(row.cluster == clusters[row.id] for row in found.rows)


@pytest.mark.parametrize("name", STRATEGIES)
@FEW
@given(data=st.data(), pool=awkward_pools())
def test_order_of_the_rows_plays_no_part(name, data, pool):
    ids, vectors = pool
    order = data.draw(st.permutations(range(len(ids))))
    shuffled = [ids[i] for i in order], vectors[list(order)]
    budget = (len(ids) + 1) // 2
    first = select(pool, strategy=name, budget=budget, seed=1, **options(name))
    assert select(shuffled, strategy=name, budget=budget, seed=1, **options(name)) == first


@pytest.mark.parametrize("name", NESTED)
@FEW
@given(data=st.data(), pool=awkward_pools(), seed=st.integers(0, 3))
def test_a_nested_selection_starts_with_the_smaller_one_and_goes_on_from_it(name, data, pool, seed):
    n = len(pool[0])
    k = data.draw(st.integers(1, n))
    whole = select(pool, strategy=name, budget=n, seed=seed, **options(name)).ids
    first = select(pool, strategy=name, budget=k, seed=seed, **options(name)).ids
    assert first == whole[:k]
    if k < n:
        assert select(pool, strategy=name, budget=n - k, seed=seed, labelled=first, **options(name)).ids == whole[k:]


@pytest.mark.parametrize("name", STRATEGIES)
def test_same_seed_gives_the_same_answer_on_a_larger_pool(name):
    ids, vectors, _ = clustered_pool((120, 60, 30, 20, 10))
    first = select((ids, vectors), strategy=name, budget=40, seed=3)
    assert select(Embeddings(ids, vectors), strategy=name, budget=40, seed=3) == first


@pytest.mark.parametrize("name", STRATEGIES)
def test_excluded_images_are_not_looked_at(name):
    ids, vectors, _ = clustered_pool((40, 20, 10))
    kept = [i for i in range(len(ids)) if i % 3]
    without = [ids[i] for i in kept], vectors[kept]
    exclude = set(ids) - set(without[0])
    found = select((ids, vectors), strategy=name, budget=12, exclude=exclude)
    assert found.ids == select(without, strategy=name, budget=12).ids


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_vector_that_is_not_finite_is_refused_by_its_id(name):
    ids, vectors, _ = clustered_pool((6, 6))
    vectors[7, 2] = np.nan
    with pytest.raises(ValueError, match=ids[7]):
        select((ids, vectors), strategy=name, budget=3)


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("budget", [0, -1, 8, 2.0, True, "3"])
def test_a_budget_that_cannot_be_kept_is_refused_with_the_numbers(name, budget):
    ids, vectors, _ = clustered_pool((10,))
    with pytest.raises(ValueError, match=r"from 1 to 7.*10 embedded, 2 of them labelled already, 1 excluded"):
        select((ids, vectors), strategy=name, budget=budget, labelled=ids[:2], exclude=ids[9:])


@pytest.mark.parametrize("name", STRATEGIES)
def test_an_option_that_does_not_exist_is_refused(name):
    ids, vectors, _ = clustered_pool((10,))
    with pytest.raises(ValueError, match="no option 'colour'"):
        select((ids, vectors), strategy=name, budget=3, colour="red")


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_selection_tells_every_option_it_was_made_with(name):
    ids, vectors, _ = clustered_pool((10, 5))
    found = select((ids, vectors), strategy=name, budget=3)
    assert found.options == dict(available_strategies()[name].options)


def test_an_unknown_strategy_is_refused_with_a_suggestion():
    with pytest.raises(ValueError, match="did you mean 'random'"):
        select((("a",), np.ones((1, 2), np.float32)), strategy="randon", budget=1)


def test_a_label_without_an_embedding_is_counted(caplog):
    ids, vectors, _ = clustered_pool((10,))
    found = select((ids, vectors), strategy="random", budget=3, labelled=[ids[0], "elsewhere"])
    assert found.diagnostics["labelled"] == 1
    assert found.diagnostics["labelled_without_embedding"] == 1
    assert "1 labelled images have no embedding" in caplog.text


@pytest.mark.parametrize("name", STRATEGIES)
def test_half_precision_that_is_infinite_or_hidden_by_a_mask_is_refused_by_its_id(name):
    vectors = np.ones((4, 3), dtype=np.float16)
    vectors[2, 1] = np.inf
    masked = np.ma.masked_invalid(np.where(np.isinf(vectors), np.nan, vectors).astype(np.float32))
    for found in (vectors, masked):
        with pytest.raises(ValueError, match="'i2' has an entry that is NaN, infinite"):
            select(([f"i{n}" for n in range(4)], found), strategy=name, budget=1)


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64])
def test_a_budget_may_be_a_whole_number_of_numpy(name, kind):
    vectors = np.random.default_rng(0).normal(size=(140, 3)).astype(np.float32)
    pool, labelled = ([f"i{n:03d}" for n in range(140)], vectors), [f"i{n:03d}" for n in range(70)]
    wanted = select(pool, strategy=name, budget=60, labelled=labelled, **options(name))
    assert select(pool, strategy=name, budget=kind(60), labelled=labelled, **options(name)).ids == wanted.ids


def test_one_text_is_no_collection_of_ids():
    pool = (["A1", "B2"], np.eye(2, dtype=np.float32))
    for name in ("labelled", "exclude"):
        with pytest.raises(ValueError, match=f"{name} must be a collection of ids"):
            select(pool, strategy="random", budget=1, **{name: "A1"})
    with pytest.raises(ValueError, match="and none is: 2 embedded, 1 of them labelled already, 1 excl"):
        select(pool, strategy="random", budget=1, labelled=["A1"], exclude=["B2"])
