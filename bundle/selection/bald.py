"""``bald``: Bayesian active learning by disagreement, with dropout for the posterior."""

from __future__ import annotations

from bundle.selection.criterion import Opinions, criterion
from bundle.selection.information import mean_divergence

PASSES = 20  # as Gorriz et al. 2017 (T = 20) for skin lesions


@criterion(
    "bald",
    opinions="dropout",
    count=PASSES,
    summary="mutual information of the pixels' classes and the weights",
    good_for="doubt that more labels can remove",
    paper="Houlsby et al. 2011, arXiv 1112.5745; Gal, Islam and Ghahramani 2017, ICML",
)
def bald(opinions: Opinions) -> float:
    """Entropy of the mean pass less the mean entropy of the passes, averaged over the pixels.

    A pixel that every pass finds undecided, as on a blurred border, counts nothing; one on which passes are sure of
    different classes counts most. The passes differ by dropout that was trained.
    """
    return mean_divergence(opinions)
