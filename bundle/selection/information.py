"""Entropy of pixels, as a share of the largest there can be, so that numbers of classes compare."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MEASURES = ("shannon", "jensen_shannon")


def pixel_entropy(probabilities: NDArray[np.float32], *, axis: int = 0) -> NDArray[np.float64]:
    """Shannon entropy over the class ``axis``, divided by the logarithm of the number of classes: 0 to 1."""
    p = probabilities.astype(np.float64)
    logs = np.log(np.where(p > 0, p, 1.0))  # p log p is 0 at 0
    return -(p * logs).sum(axis=axis) / np.log(p.shape[axis])


def mean_entropy(opinions: NDArray[np.float32]) -> float:
    """Entropy of the mean opinion, averaged over the pixels: 0 to 1. ``opinions`` is (P, classes, W, H)."""
    return float(pixel_entropy(opinions.mean(axis=0, dtype=np.float64)).mean())


def mean_divergence(opinions: NDArray[np.float32]) -> float:
    """Generalised Jensen-Shannon divergence of the opinions (Lin 1991, section V), averaged over the pixels: 0 to 1.

    The entropy of the mean less the mean of the entropies: 0 where all say the same, however unsure each of them is.
    It is also the mutual information of BALD. ``opinions`` is (P, classes, W, H).
    """
    return max(0.0, mean_entropy(opinions) - float(pixel_entropy(opinions, axis=1).mean()))


def measure(opinions: NDArray[np.float32], name: str) -> float:
    """One of ``MEASURES`` by its name."""
    return mean_entropy(opinions) if name == "shannon" else mean_divergence(opinions)
