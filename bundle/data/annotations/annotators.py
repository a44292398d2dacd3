"""Several people's masks of one image: how far they agree, and one mask to learn from."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from bundle.overlap import mean_dice

RULES = ("consensus", "first", "staple", "union")


def agreement(masks: Mapping[str, np.ndarray], classes: int) -> dict[tuple[str, str], float]:
    """Dice of every two annotators of one image, the mean over the labels.

    Args:
        masks: annotator to (H, W) class indices, all of one size.
        classes: number of classes, background included.
    """
    pairs = itertools.combinations(sorted(masks), 2)
    return {(a, b): mean_dice(masks[a], masks[b], labels=classes - 1) for a, b in pairs}


def combine(masks: Mapping[str, np.ndarray], classes: int, rule: str) -> np.ndarray:
    """One mask of one image, (H, W) uint8.

    Args:
        masks: annotator to (H, W) class indices, all of one size; one at least. One alone is taken as it is.
        classes: number of classes, background included.
        rule: ``first``, the annotator whose name comes first; ``consensus``, the class that more than half have at a
            pixel, background where there is none; ``union``, whatever any of them drew, of several classes at a pixel
            the last one, for structures that lie in a folder each; ``staple``, every label against the rest by STAPLE
            (Warfield, Zou and Wells, IEEE TMI 23:903, 2004), which weighs annotators by their estimated sensitivity
            and specificity.

    Raises:
        ValueError: an unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"the rule for several annotators must be one of {', '.join(RULES)}, got {rule!r}")
    ordered = [masks[name] for name in sorted(masks)]
    if rule == "first" or len(ordered) == 1:
        return ordered[0]
    if rule == "union":
        return functools.reduce(np.maximum, ordered)
    shares = np.stack([_share(ordered, label, rule) for label in range(1, classes)])
    best = shares.argmax(axis=0)
    chosen = np.take_along_axis(shares, best[None], axis=0)[0] > 0.5
    return np.where(chosen, best + 1, 0).astype(np.uint8)


def _share(masks: Sequence[np.ndarray], label: int, rule: str) -> np.ndarray:
    """(H, W) in 0..1: the part of the annotators, or STAPLE's probability, that has ``label``."""
    drawn = np.stack([mask == label for mask in masks])
    share = drawn.mean(axis=0)
    if rule == "consensus" or (drawn == drawn[0]).all():  # STAPLE has nothing to weigh where all are one
        return share
    return _staple(drawn)


def _staple(drawn: np.ndarray) -> np.ndarray:
    """(annotators, H, W) bool to the probability of the hidden truth, (H, W) in 0..1."""
    import itk  # takes seconds, and few data sets have several annotators

    kind = itk.Image[itk.F, 2]
    staple = itk.STAPLEImageFilter[kind, kind].New(ForegroundValue=1.0)
    for number, mask in enumerate(drawn):
        staple.SetInput(number, itk.image_from_array(np.ascontiguousarray(mask, dtype=np.float32)))
    staple.Update()
    return np.asarray(itk.array_from_image(staple.GetOutput()))
