"""``entropy``: the plainest look at what a model does not know."""

from __future__ import annotations

from bundle.selection.criterion import Opinions, criterion
from bundle.selection.information import mean_entropy


@criterion(
    "entropy",
    opinions="single",
    summary="mean entropy of the pixels",
    good_for="the control among criteria; one pass",
    paper="Settles 2009, Active Learning Literature Survey, section 3.1",
)
def entropy(opinions: Opinions) -> float:
    """Shannon entropy of each pixel's class, averaged over the image.

    Sees a soft border and a soft region alike, so images with long borders, that is large or ragged structures, come
    first.
    """
    return mean_entropy(opinions)
