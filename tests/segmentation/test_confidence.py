"""Certainty of a mask: plain loops say the same."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.segmentation.confidence import head_agreement, soft_dice_confidence


def drawn(seed: int, *, heads: int = 3, classes: int = 3) -> np.ndarray:
    """(heads, classes, 6, 5) probabilities."""
    raw = np.exp(np.random.default_rng(seed).normal(size=(heads, classes, 6, 5)))
    return (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)


def pixels_of(probabilities: np.ndarray, label: int) -> set[tuple[int, int]]:
    """The pixels at which ``label`` is the likeliest of (classes, W, H)."""
    _, width, height = probabilities.shape
    return {(x, y) for x in range(width) for y in range(height) if int(probabilities[:, x, y].argmax()) == label}


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_agreement_is_the_mean_dice_of_the_side_heads_with_the_main_head(classes):
    heads = drawn(0, classes=classes)
    pairs = []
    for side in heads[1:]:
        for label in range(1, classes):
            a, b = pixels_of(heads[0], label), pixels_of(side, label)
            pairs.append(2 * len(a & b) / (len(a) + len(b)))
    assert head_agreement(heads) == pytest.approx(sum(pairs) / len(pairs))


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_confidence_is_the_dice_of_the_mask_with_the_probabilities(classes):
    p = drawn(1, classes=classes)[0]
    terms = []
    for label in range(1, classes):
        mask = pixels_of(p, label)
        if mask:
            terms.append(2 * sum(float(p[label, x, y]) for x, y in mask) / (float(p[label].sum()) + len(mask)))
    assert soft_dice_confidence(p) == pytest.approx(sum(terms) / len(terms), abs=1e-6)


def sure(mask: np.ndarray) -> np.ndarray:
    """(3, 2, W, H) of three heads that all have no doubt of ``mask``."""
    return np.stack([np.stack([1 - mask, mask])] * 3).astype(np.float32)


def test_a_sure_network_whose_heads_agree_has_full_certainty():
    mask = np.zeros((4, 4))
    mask[1:3, 1:3] = 1
    assert head_agreement(sure(mask)) == soft_dice_confidence(sure(mask)[0]) == 1.0


def test_an_empty_mask_is_the_least_certain_also_where_all_heads_agree_on_it():
    assert head_agreement(sure(np.zeros((4, 4)))) == soft_dice_confidence(sure(np.zeros((4, 4)))[0]) == 0.0


@pytest.mark.parametrize("shape", [(1, 2, 4, 4), (2, 4, 4)])
def test_what_is_not_of_several_heads_is_refused(shape):
    with pytest.raises(ValueError, match="two heads or more"):
        head_agreement(np.zeros(shape, np.float32))
