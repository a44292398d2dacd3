"""Scores of one image at its own size, and their summary over a set of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou

from bundle.run.seeds import numpy_stream

SCORES = ("dice", "jaccard", "hd95")
BOOTSTRAP_DRAWS = 2000  # the ends of a 95 % interval then have a standard error of 1.5 % of its width


def score_image(
    prediction: torch.Tensor,
    truth: torch.Tensor,
    classes: int,
    spacing: Sequence[float] | None = None,
) -> dict[str, float]:
    """Dice, Jaccard and 95 % Hausdorff distance, each the mean over the foreground labels.

    Where a label is in neither mask, Dice and Jaccard are 1 and the distance is 0: the absence was seen. Where it is in
    one of them, Dice and Jaccard are 0 and the distance is the image's diagonal, the largest there can be.

    Args:
        prediction: (W, H) class indices.
        truth: (W, H) class indices.
        classes: number of classes, background included.
        spacing: pixel size along the two axes; distances are in its unit, or in pixels where None.
    """
    predicted, true = _one_hot(prediction, classes), _one_hot(truth, classes)
    dice = compute_dice(predicted, true, include_background=False, ignore_empty=False)[0]
    jaccard = compute_iou(predicted, true, include_background=False, ignore_empty=False)[0]
    step = (1.0, 1.0) if spacing is None else tuple(float(s) for s in spacing)
    diagonal = math.hypot(truth.shape[0] * step[0], truth.shape[1] * step[1])
    distances = []
    for label in range(1, classes):
        there, expected = bool(predicted[0, label].any()), bool(true[0, label].any())
        if there and expected:
            pair = predicted[:, label : label + 1], true[:, label : label + 1]
            distance = compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=list(step))
            distances.append(float(distance))
        else:
            distances.append(0.0 if there == expected else diagonal)
    return {"dice": float(dice.mean()), "jaccard": float(jaccard.mean()), "hd95": sum(distances) / len(distances)}


def summarise(rows: Sequence[dict[str, Any]], *, seed: int = 0) -> dict[str, Any]:
    """Mean, median and a bootstrap interval of the mean for every score.

    Args:
        rows: one per image, with the keys of ``SCORES``; at least one.
        seed: seed of the bootstrap.

    Returns:
        ``n`` and for each score ``mean``, ``median``, ``low`` and ``high``: the percentile interval (95 %) of the mean
        when images are drawn again with replacement.
    """
    if not rows:
        raise ValueError("a summary needs at least one scored image, got none")
    summary: dict[str, Any] = {"n": len(rows)}
    draws = numpy_stream(seed, "bootstrap").integers(0, len(rows), (BOOTSTRAP_DRAWS, len(rows)))
    for name in SCORES:
        values = np.array([row[name] for row in rows], dtype=float)
        means = values[draws].mean(axis=1)
        low, high = np.percentile(means, [2.5, 97.5])
        figures = {"mean": values.mean(), "median": np.median(values), "low": low, "high": high}
        summary[name] = {key: round(float(value), 5) for key, value in figures.items()}
    return summary


def _one_hot(mask: torch.Tensor, classes: int) -> torch.Tensor:
    """(W, H) class indices to (1, classes, W, H) float of 0 and 1."""
    return torch.nn.functional.one_hot(mask.long(), classes).permute(2, 0, 1)[None].float()
