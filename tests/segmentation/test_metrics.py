"""Scores of one image against plain loops, and the rules for what is absent."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.segmentation.metrics import SCORES, score_image, summarise


def overlap_by_hand(prediction: torch.Tensor, truth: torch.Tensor, classes: int) -> tuple[float, float]:
    """Dice and Jaccard, each the mean over the foreground labels."""
    dice, jaccard = [], []
    for label in range(1, classes):
        both = predicted = true = 0
        for x in range(truth.shape[0]):
            for y in range(truth.shape[1]):
                p, t = int(prediction[x, y]) == label, int(truth[x, y]) == label
                both, predicted, true = both + (p and t), predicted + p, true + t
        either = predicted + true - both
        dice.append(1.0 if not either else 2 * both / (predicted + true))
        jaccard.append(1.0 if not either else both / either)
    return sum(dice) / len(dice), sum(jaccard) / len(jaccard)


def border(mask: np.ndarray) -> list[tuple[int, int]]:
    """Pixels of a mask with a 4-neighbour outside of it."""
    padded = np.pad(mask, 1)
    return [
        (x, y)
        for x, y in np.argwhere(mask)
        if not all(padded[x + 1 + dx, y + 1 + dy] for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)))
    ]


def hausdorff_by_hand(a: np.ndarray, b: np.ndarray, step: tuple[float, float]) -> float:
    """The larger of the two directed 95th percentiles of the distances between the borders."""
    one, other = border(a), border(b)

    def directed(sources: list[tuple[int, int]], targets: list[tuple[int, int]]) -> float:
        nearest = [min(math.hypot((x - u) * step[0], (y - v) * step[1]) for u, v in targets) for x, y in sources]
        return float(np.percentile(nearest, 95))

    return max(directed(one, other), directed(other, one))


@given(st.integers(0, 2**31), st.integers(2, 4), st.sampled_from([0.0, 0.2, 0.9]))
def test_dice_and_jaccard_are_those_of_plain_loops(seed, classes, empty):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.randint(0, classes, (2, 5, 7), generator=generator)
    masks[torch.rand(2, 5, 7, generator=generator) < empty] = 0
    scores = score_image(masks[0], masks[1], classes)
    assert (scores["dice"], scores["jaccard"]) == pytest.approx(overlap_by_hand(masks[0], masks[1], classes), abs=1e-5)


def test_absent_from_both_is_perfect_and_absent_from_one_is_worst():
    empty, full = torch.zeros(6, 8, dtype=torch.long), torch.zeros(6, 8, dtype=torch.long)
    full[2:4, 2:4] = 1
    assert score_image(empty, empty, 2) == {"dice": 1.0, "jaccard": 1.0, "hd95": 0.0}
    for prediction, truth in ((empty, full), (full, empty)):
        assert score_image(prediction, truth, 2) == {"dice": 0.0, "jaccard": 0.0, "hd95": 10.0}
    assert score_image(full, empty, 2, spacing=(0.5, 0.5))["hd95"] == 5.0
    assert score_image(full, full, 2) == {"dice": 1.0, "jaccard": 1.0, "hd95": 0.0}
    assert score_image(full, full, 3) == {"dice": 1.0, "jaccard": 1.0, "hd95": 0.0}  # label 2 is in neither


def test_a_label_taken_for_another_scores_nothing():
    one, two = torch.ones(4, 4, dtype=torch.long), torch.full((4, 4), 2)
    assert score_image(one, two, 3)["dice"] == 0


@pytest.mark.parametrize("spacing", [None, (1.0, 1.0), (0.5, 2.0)])
def test_the_hausdorff_distance_is_in_the_unit_of_the_spacing(spacing):
    rng = np.random.default_rng(0)
    for _ in range(5):
        masks = np.zeros((2, 20, 16), dtype=int)
        for mask in masks:
            x, y = rng.integers(0, 10), rng.integers(0, 8)
            mask[x : x + rng.integers(3, 9), y : y + rng.integers(3, 7)] = 1
        wanted = hausdorff_by_hand(masks[0] == 1, masks[1] == 1, spacing or (1.0, 1.0))
        scores = score_image(torch.from_numpy(masks[0]), torch.from_numpy(masks[1]), 2, spacing)
        assert scores["hd95"] == pytest.approx(wanted, abs=1e-4)


def test_a_shift_by_three_pixels_is_three_pixels_along_its_axis():
    truth = torch.zeros(30, 30, dtype=torch.long)
    truth[5:15, 5:15] = 1
    assert score_image(truth.roll(3, dims=0), truth, 2)["hd95"] == pytest.approx(3)
    assert score_image(truth.roll(3, dims=0), truth, 2, (0.1, 7.0))["hd95"] == pytest.approx(0.3)


def rows(values: list[float]) -> list[dict[str, float]]:
    return [{"dice": v, "jaccard": v / 2, "hd95": 10 * v} for v in values]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_the_interval_contains_the_mean_and_lies_in_the_range(values):
    summary = summarise(rows(values))
    assert summary["n"] == len(values)
    for name in SCORES:
        figures = summary[name]
        assert figures["low"] - 1e-4 <= figures["mean"] <= figures["high"] + 1e-4
    assert min(values) - 1e-4 <= summary["dice"]["low"] and summary["dice"]["high"] <= max(values) + 1e-4
    assert summary["dice"]["mean"] == pytest.approx(sum(values) / len(values), abs=1e-5)
    assert summary["dice"]["median"] == pytest.approx(float(np.median(values)), abs=1e-5)


def test_the_interval_has_the_width_of_the_standard_error():
    values = np.random.default_rng(0).random(400)
    dice = summarise(rows(values.tolist()))["dice"]
    assert dice["high"] - dice["low"] == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_the_bootstrap_follows_its_seed():
    values = rows([0.1, 0.5, 0.9, 0.3])
    assert summarise(values, seed=1) == summarise(values, seed=1)
    assert any(summarise(values, seed=1)["dice"] != summarise(values, seed=s)["dice"] for s in range(2, 6))


def test_no_image_at_all_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        summarise([])
