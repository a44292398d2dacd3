"""Dice of two masks of class indices, as people's masks and predictions are compared with each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mean_dice(a: NDArray[np.integer], b: NDArray[np.integer], *, labels: int) -> float:
    """Dice of two masks of one shape, averaged over the labels 1 to ``labels``; 0 is the background.

    A label that is in neither counts 1, one that is in one alone 0, as in the scores of the evaluation
    (``bundle.segmentation.metrics``).
    """
    found = []
    for label in range(1, labels + 1):
        in_a, in_b = a == label, b == label
        total = int(in_a.sum()) + int(in_b.sum())
        found.append(2 * int((in_a & in_b).sum()) / total if total else 1.0)
    return float(np.mean(found))
