from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.embedding import unit_length
from bundle.selection import active_finetuning, select
from bundle.selection.active_finetuning import Centroids, _batches
from bundle.selection.strategy import Pool

from .pools import clustered_pool


def learner(unit: np.ndarray, start: np.ndarray, fixed: np.ndarray, temperature: float, threads: int = 1) -> Centroids:
    return Centroids(unit, start, fixed, temperature=temperature, workers=ThreadPoolExecutor(threads))


def draw(n: int, free: int, fixed: int, dimensions: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    unit = unit_length(np.random.default_rng(seed).normal(size=(n, dimensions)).astype(np.float32))
    return unit, unit[:free].copy(), unit[free : free + fixed].copy()


def plain_loops(unit: np.ndarray, points: np.ndarray, temperature: float) -> float:
    """The loss, one image and one centroid at a time."""
    total = 0.0
    for feature in unit.tolist():
        cosines = [sum(a * b for a, b in zip(feature, point, strict=True)) for point in points.tolist()]
        own = max(range(len(points)), key=lambda c: cosines[c])
        others = [float(points[k].astype(np.float64) @ points[own].astype(np.float64)) for k in range(len(points))]
        positive = math.exp(cosines[own] / temperature)
        total -= math.log(positive / (positive + sum(math.exp(cosine / temperature) for cosine in others)))
    return total / len(unit)


def published(unit: torch.Tensor, parameters: torch.Tensor, fixed: torch.Tensor, temperature: float) -> torch.Tensor:
    """The same by automatic differentiation, centroids as neighbours being constants."""
    points = torch.cat([torch.nn.functional.normalize(parameters, dim=1), fixed])
    best, own = (unit @ points.T / temperature).max(dim=1)
    crowding = torch.exp(points.detach() @ points.T / temperature).sum(dim=0)
    return -torch.log(best.exp() / (best.exp() + crowding[own])).mean()


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(3, 30),
    free=st.integers(1, 3),
    fixed=st.integers(0, 3),
    dimensions=st.integers(2, 6),
    temperature=st.sampled_from([0.07, 0.5]),
    seed=st.integers(0, 99),
)
def test_loss_and_gradient_are_those_of_the_published_formula(n, free, fixed, dimensions, temperature, seed):
    unit, start, held = draw(max(n, free + fixed), free, fixed, dimensions, seed)
    start = (start + np.random.default_rng(seed).normal(size=start.shape, scale=0.3)).astype(np.float32)
    found = learner(unit, start, held, temperature)
    loss, gradient = found.loss(np.arange(len(unit)))
    parameters = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    expected = published(
        torch.tensor(unit, dtype=torch.float64), parameters, torch.tensor(held, dtype=torch.float64), temperature
    )
    expected.backward()
    assert loss == pytest.approx(plain_loops(unit, found.points, temperature), rel=1e-4)
    assert loss == pytest.approx(expected.item(), rel=1e-4)
    assert np.allclose(gradient, parameters.grad.numpy(), rtol=1e-3, atol=2e-5)


def test_learns_as_adam_does():
    unit, start, held = draw(60, 5, 2, 8, 0)
    found = learner(unit, start, held, 0.07)
    parameters = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    adam = torch.optim.Adam([parameters], lr=1e-3)
    for _ in range(40):
        found.step(np.arange(60), 1e-3)
        adam.zero_grad()
        published(
            torch.tensor(unit, dtype=torch.float64), parameters, torch.tensor(held, dtype=torch.float64), 0.07
        ).backward()
        adam.step()
    assert np.allclose(found.parameters, parameters.detach().numpy(), atol=1e-4)
    assert np.abs(found.parameters - start).max() > 1e-2
    assert (found.points[5:] == held).all()


def test_blocks_and_threads_change_nothing(monkeypatch):
    unit, start, held = draw(400, 20, 5, 16, 1)
    ways = []
    for threads in (1, 3):
        found = learner(unit, start, held, 0.07, threads)
        for _ in range(5):
            found.step(np.arange(400), 1e-2)
        ways.append(found.parameters)
    assert (ways[0] == ways[1]).all()
    monkeypatch.setattr(active_finetuning, "_CELLS", 100)
    found = learner(unit, start, held, 0.07)
    for _ in range(5):
        found.step(np.arange(400), 1e-2)
    assert np.allclose(found.parameters, ways[0], atol=1e-4)


def test_every_centroid_takes_its_nearest_unused_image_the_one_of_most_images_first():
    ids, vectors, _ = clustered_pool((30, 20, 10), spread=0.3)
    labelled = [ids[4], ids[9]]
    found = select((ids, vectors), strategy="activeft", budget=8, labelled=labelled, iterations=0)
    # Without a step the centroids are the images drawn first, and each takes itself.
    assert all(row.score == pytest.approx(1.0) for row in found.rows)
    unit = unit_length(vectors)
    chosen = [ids.index(i) for i in found.ids]
    centroids = [*chosen, 4, 9]
    nearest = [max(range(10), key=lambda c: float(unit[i] @ unit[centroids[c]])) for i in range(60)]
    sizes = [nearest.count(c) for c in range(8)]
    assert sizes == sorted(sizes, reverse=True)
    assert [row.reason for row in found.rows] == [f"nearest unused image to a centroid of {s} images" for s in sizes]


def test_two_centroids_of_one_place_take_two_images():
    vectors = np.array([[1, 0]] * 4 + [[0, 1]] * 2, dtype=np.float32)
    found = select((list("abcdef"), vectors), strategy="activeft", budget=6, iterations=3)
    assert sorted(found.ids) == list("abcdef")


def test_learning_lowers_the_loss_and_spreads_the_images_over_the_kinds():
    ids, vectors, cluster = clustered_pool((120, 60, 30, 20, 10), spread=0.1)
    kinds = dict(zip(ids, cluster, strict=True))
    before, after = (
        [
            select((ids, vectors), strategy="activeft", budget=10, seed=s, iterations=count, learning_rate=0.01)
            for s in range(4)
        ]
        for count in (0, 100)
    )
    assert all(found.diagnostics["last_loss"] < found.diagnostics["first_loss"] for found in after)
    reached = [sum(len({kinds[i] for i in found.ids}) for found in some) for some in (before, after)]
    assert reached[1] > reached[0]


def test_labelled_images_keep_the_centroids_away():
    angles = np.linspace(0, 1.5, 51)
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    ids = [f"{i:02d}" for i in range(51)]

    def place(**given) -> int:
        return int(select((ids, vectors), strategy="activeft", budget=1, learning_rate=0.01, **given).ids[0])

    for end, away in (("00", 1), ("50", -1)):
        assert (place(labelled=[end]) - place(exclude=[end])) * away > 3


def test_a_pool_larger_than_the_batch_is_seen_whole_before_an_image_comes_again():
    pool = Pool(np.ones((70, 2), np.float32), np.zeros(70, dtype=bool), 0)
    batches = _batches(pool, 16)
    seen = np.concatenate([batches(step) for step in range(35)])
    assert {len(batches(step)) for step in range(35)} == {16}
    for time in range(8):
        assert sorted(seen[70 * time : 70 * (time + 1)]) == list(range(70))
    assert sorted(_batches(pool, 70)(3)) == list(range(70))


def test_batches_learn_about_the_same_as_the_whole():
    ids, vectors, _ = clustered_pool((40, 20, 10), spread=0.1)
    found = select((ids, vectors), strategy="activeft", budget=6, batch=16, learning_rate=0.01)
    whole = select((ids, vectors), strategy="activeft", budget=6, learning_rate=0.01)
    assert (found.diagnostics["batch"], whole.diagnostics["batch"]) == (16, 70)
    assert len(set(found.ids) & set(whole.ids)) >= 3


@pytest.mark.parametrize("start", ["random", "fps"])
def test_starts_at_unlabelled_images(start):
    ids, vectors, _ = clustered_pool((12, 6))
    found = select((ids, vectors), strategy="activeft", budget=9, start=start, labelled=ids[:9], iterations=0)
    assert set(found.ids) == set(ids[9:])


def test_options_out_of_range_are_refused():
    ids, vectors, _ = clustered_pool((6, 6))
    wrong = [
        {"temperature": 0},
        {"temperature": "hot"},
        {"learning_rate": 2.0},
        {"iterations": -1},
        {"start": "middle"},
        {"batch": 0},
    ]
    for options in wrong:
        with pytest.raises(ValueError, match=f"option {next(iter(options))} must be"):
            select((ids, vectors), strategy="activeft", budget=3, **options)


@pytest.mark.parametrize("held", ["A", "B"])
def test_a_labelled_group_leaves_the_choice_to_the_other(held):
    noise = np.random.default_rng(0).normal(size=(50, 8)) * 0.02
    vectors = (np.repeat(np.eye(8)[:2], (30, 20), axis=0) + noise).astype(np.float32)
    ids = [f"A{n:02d}" for n in range(30)] + [f"B{n:02d}" for n in range(20)]
    for seed in range(5):
        found = select((ids, vectors), strategy="activeft", budget=1, seed=seed, labelled=[f"{held}03"])
        assert found.ids[0][0] != held
