"""How many are enough: the figures against plain loops, and nothing told that is not known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bundle.embedding import Embeddings
from bundle.run.seeds import numpy_stream
from bundle.selection import select
from bundle.selection.chance import random_orders
from bundle.selection.coverage import coverage_curve
from bundle.selection.sufficiency import Sufficiency, look_ahead, measure_sufficiency

from .pools import clustered_pool

IDS, VECTORS, _ = clustered_pool((30, 20, 10))
POOL = Embeddings(IDS, VECTORS)


def curve(mean: list[float], *, asked: int, random: list[float] | None = None) -> Sufficiency:
    values = np.array(mean)
    return Sufficiency(asked, values, values, np.stack([np.array(random or mean)] * 2), None, 60)


def test_gain_ahead_is_the_mean_fall_over_the_images_that_would_follow():
    mean = [1 / n for n in range(1, 41)]
    gain = curve(mean, asked=20, random=[2 / n for n in range(1, 41)]).gain
    assert gain.ahead and gain.images == 2
    assert gain.per_image == pytest.approx((1 / 20 - 1 / 22) / 2)
    assert gain.left == 1 / 20 and gain.share_of_left == pytest.approx((1 - 20 / 22) / 2)
    assert gain.share_of_first == pytest.approx((1 / 20 - 1 / 22) / (1 - 1 / 3))
    assert gain.random_per_image == pytest.approx(1 / 20 - 1 / 22)


def test_gain_without_a_look_ahead_is_that_of_the_last_images():
    found = curve([1 / n for n in range(1, 21)], asked=20)
    assert not found.gain.ahead and found.gain.per_image == pytest.approx((1 / 18 - 1 / 20) / 2)
    assert "each of the last 2 images lowered" in found.when_to_stop() and "more would" not in found.how_many()


def test_a_single_image_and_a_pool_of_equal_ones_have_their_sentences():
    assert curve([0.5], asked=1).gain is None and "not known" in curve([0.5], asked=1).when_to_stop()
    flat = curve([0.0, 0.0, 0.0], asked=2)
    assert flat.gain.share_of_first is None and flat.gain.share_of_left == 0
    assert "the curve has no bend" in flat.how_many() and "no image can add any" in flat.when_to_stop()


def test_the_last_images_are_held_against_the_distance_before_them():
    found = curve([1.0, 0.5, 0.051, 0.0], asked=4, random=[1.0, 0.6, 0.1, 0.0])
    assert found.gain.left == 0.051 and found.gain.share_of_left == 1
    assert "the last 1 image lowered the mean distance by 100.00%" in found.when_to_stop()


@pytest.mark.parametrize("seed", range(4))
def test_where_every_image_has_a_chosen_copy_nothing_is_left_to_gain(seed):
    originals = np.random.default_rng(seed).normal(size=(10, 64)).astype(np.float32)
    pool = Embeddings(IDS[:40], np.repeat(originals, 4, axis=0))
    selection = select(pool, strategy="coldstart", budget=10)
    found = measure_sufficiency(pool, selection.ids, further=look_ahead(pool, selection))
    assert found.mean[9] == 0 and found.gain.left == 0 and "no image can add any" in found.when_to_stop()


def nearest_by_loops(ids: list[str], chosen: set[str]) -> list[float]:
    """Distance of every image of ``ids`` to the nearest of ``chosen``, at length 1."""
    unit = {name: vector / np.linalg.norm(vector) for name, vector in zip(IDS, VECTORS.astype(float), strict=True)}
    return [min(float(np.linalg.norm(unit[one] - unit[other])) for other in chosen) for one in ids]


def test_a_large_pool_is_told_by_the_distances_of_a_random_sample_to_images_of_the_whole(monkeypatch):
    monkeypatch.setattr("bundle.selection.sufficiency.SAMPLE", 25)
    chosen, labelled = IDS[5:20], IDS[:5]
    found = measure_sufficiency(POOL, chosen, labelled=labelled, seed=3)
    sample = sorted(np.array(sorted(IDS))[numpy_stream(3, "sufficiency").choice(60, size=25, replace=False)].tolist())
    unit = np.stack([VECTORS[IDS.index(name)] for name in sample]).astype(float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    scale = np.linalg.norm(unit - unit.mean(axis=0), axis=1).mean()

    def by_loops(order: list[str]) -> list[float]:
        steps = range(1, len(order) + 1)
        return [np.mean(nearest_by_loops(sample, {*labelled, *order[:n]})) / scale for n in steps]

    assert found.pool == 25
    np.testing.assert_allclose(found.mean, by_loops(list(chosen)), atol=1e-6)
    draws = random_orders(set(IDS) - set(labelled), len(chosen), seed=3)
    np.testing.assert_allclose(found.random, [by_loops(draw) for draw in draws], atol=1e-6)


def test_a_sample_neither_over_nor_underrates_what_is_chosen(monkeypatch):
    whole = measure_sufficiency(POOL, IDS[:40]).mean[-1]
    monkeypatch.setattr("bundle.selection.sufficiency.SAMPLE", 20)
    told = [measure_sufficiency(POOL, IDS[:40], seed=seed).mean[-1] for seed in range(60)]
    assert abs(np.mean(told) - whole) < 3 * np.std(told, ddof=1) / np.sqrt(len(told))


@pytest.mark.parametrize("sample", [20, 60])
def test_a_labelled_image_outside_of_the_pool_plays_no_part(monkeypatch, sample):
    monkeypatch.setattr("bundle.selection.sufficiency.SAMPLE", sample)
    found, without = (
        measure_sufficiency(POOL, IDS[:6], labelled=labelled) for labelled in (["gone", IDS[9]], [IDS[9]])
    )
    np.testing.assert_array_equal(found.mean, without.mean)
    np.testing.assert_array_equal(found.random, without.random)


@pytest.mark.parametrize(("level", "expected"), [(0.6, 3), (0.5, 4), (0.05, None)])
def test_as_many_random_images_as_first_cover_as_well(level, expected):
    found = curve([1.0, level, level, level], asked=2, random=[1.0, 0.8, 0.6, 0.5])
    assert found.random_equivalent == expected


def test_what_would_follow_is_what_a_larger_budget_adds():
    steering = {"labelled": IDS[:3], "exclude": IDS[3:6]}
    selection = select(POOL, strategy="ca", budget=12, seed=4, **steering)
    further = look_ahead(POOL, selection, **steering)
    assert selection.ids + further == select(POOL, strategy="ca", budget=24, seed=4, **steering).ids


def test_it_looks_no_further_than_the_pool_reaches():
    selection = select(POOL, strategy="random", budget=50, labelled=IDS[:4])
    assert len(look_ahead(POOL, selection, labelled=IDS[:4])) == 6
    assert look_ahead(POOL, select(POOL, strategy="random", budget=60)) == ()


def test_nothing_is_told_beyond_the_budget_of_a_strategy_that_is_not_nested():
    assert look_ahead(POOL, select(POOL, strategy="kmeans", budget=5)) == ()


def test_the_curves_are_those_of_the_selection_and_of_random_draws_with_what_is_labelled():
    labelled = IDS[:5]
    chosen = select(POOL, strategy="saal", budget=8, labelled=labelled).ids
    found = measure_sufficiency(POOL, chosen[:6], further=chosen[6:], labelled=labelled, seed=2)
    expected = coverage_curve(POOL, chosen, labelled=labelled)
    assert found.asked == 6 and found.further == 2 and found.knee == expected.knee
    np.testing.assert_array_equal(found.mean, expected.mean)
    for values, draw in zip(found.random, random_orders(IDS[5:], 8, seed=2), strict=True):
        np.testing.assert_array_equal(values, coverage_curve(POOL, draw, labelled=labelled).mean)


def test_random_draws_are_nested_seeded_differ_and_do_not_depend_on_the_order_given():
    long, short = random_orders(IDS, 20, seed=1), random_orders(reversed(IDS), 7, seed=1)
    assert [draw[:7] for draw in long] == short
    assert len({tuple(draw) for draw in long}) == len(long)
    assert all(len(set(draw)) == 20 and set(draw) <= set(IDS) for draw in long)
    assert random_orders(IDS, 20, seed=2) != long


def test_the_summary_is_json_with_finite_figures_and_the_sentences():
    found = measure_sufficiency(POOL, IDS[:6], further=IDS[6:10])
    summary = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert summary["asked"] == 6 and summary["further"] == 4
    assert {len(summary[name]) for name in ("mean", "largest", "random_mean", "random_low", "random_high")} == {10}
    low, mean, high = (np.array(summary[f"random_{name}"]) for name in ("low", "mean", "high"))
    assert (low <= mean).all() and (mean <= high).all()
    assert summary["in_words"] == [found.how_many(), found.when_to_stop()]
