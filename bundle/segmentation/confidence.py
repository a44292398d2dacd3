"""How sure the network is of its mask, read from the probabilities of one forward pass.

An image in which nothing is found gets the least certain value there is: a missed structure is the worst error, and the
agreement of several heads on nothing says little.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bundle.likeliest import likeliest_class
from bundle.selection.disagreement import dsal


def head_agreement(heads: NDArray[np.float32]) -> float:
    """Agreement of the side heads with the main head, the mean Dice of their masks: M-DSC of the criterion ``dsal``.

    Args:
        heads: (heads, classes, W, H) probabilities, the main head first, two heads or more; background is class 0.

    Returns:
        0 to 1, 1 is full agreement; 0 where the main head has no label at all.
    """
    if heads.ndim != 4 or len(heads) < 2:
        raise ValueError(f"heads must be (heads, classes, W, H) of two heads or more, got {heads.shape}")
    return 1.0 - dsal(heads) if likeliest_class(heads[0]).any() else 0.0


def soft_dice_confidence(probabilities: NDArray[np.float32]) -> float:
    """The Dice that the network itself expects of its mask: that of the mask with the probabilities.

    ``2 Σ p m / (Σ p + Σ m)`` over the pixels, with ``p`` a label's probability and ``m`` its mask; close to the best
    estimate of the Dice that calibrated probabilities allow (Borges et al., Soft Dice Confidence, arXiv:2402.10665).

    Args:
        probabilities: (classes, W, H) of the main head.

    Returns:
        0 to 1, the mean over the labels that the mask has; 0 where it has none.
    """
    mask = likeliest_class(probabilities)
    found = []
    for label in range(1, len(probabilities)):
        p, m = probabilities[label].astype(np.float64), mask == label
        if m.any():
            found.append(2.0 * p[m].sum() / (p.sum() + m.sum()))
    return float(np.mean(found)) if found else 0.0
