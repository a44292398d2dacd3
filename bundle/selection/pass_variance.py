"""``variance`` and the map it is the mean of: how far the passes with dropout part at every pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bundle.selection.bald import PASSES
from bundle.selection.criterion import Opinions, criterion


@criterion(
    "variance",
    opinions="dropout",
    count=PASSES,
    summary="mean variance of the pixels over the passes",
    good_for="as bald, and cheaper to explain",
    paper="Kendall, Badrinarayanan and Cipolla 2017, BMVC, arXiv 1511.02680",
)
def variance(opinions: Opinions) -> float:
    """Variance of the probabilities over passes with dropout, summed over the classes, averaged over the pixels."""
    return float(variance_map(opinions).mean())


def variance_map(opinions: Opinions) -> NDArray[np.float64]:
    """(W, H): variance over the passes (divided by their number), summed over the classes: 0 to below 1."""
    return opinions.astype(np.float64).var(axis=0).sum(axis=0)
