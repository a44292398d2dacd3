"""Dice of two masks of class indices, as people's masks and predictions are compared with each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def label_dice(a: NDArray[np.integer], b: NDArray[np.integer], *, labels: int) -> NDArray[np.float64]:
    """Dice (labels,) of two masks of one shape, of each label 1 to ``labels``; NaN for one that is in neither."""
    found = np.full(labels, np.nan)
    for label in range(1, labels + 1):
        in_a, in_b = a == label, b == label
        total = int(in_a.sum()) + int(in_b.sum())
        if total:
            found[label - 1] = 2 * int((in_a & in_b).sum()) / total
    return found


def mean_dice(a: NDArray[np.integer], b: NDArray[np.integer], *, labels: int) -> float:
    """Dice of two masks of one shape, averaged over the labels 1 to ``labels``; 0 is the background.

    A label that is in neither counts 1, one that is in one alone 0, as in the scores of the evaluation
    (``bundle.segmentation.metrics``).
    """
    return float(np.nan_to_num(label_dice(a, b, labels=labels), nan=1.0).mean())
