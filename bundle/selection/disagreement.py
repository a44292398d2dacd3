"""``dsal``: where the heads of one network part (Zhao, Zeng et al., IEEE JBHI 2021, arXiv 2101.09057)."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from bundle.likeliest import likeliest_class
from bundle.overlap import label_dice
from bundle.selection.criterion import Opinions, criterion
from bundle.selection.options import require_choice

PAIRS = ("main", "all")


@criterion(
    "dsal",
    opinions="heads",
    summary="one less the Dice between the main head and each side head",
    good_for="the default of rounds: one pass, no dropout, no second model",
    paper="Zhao, Zeng et al. 2021, IEEE JBHI, arXiv 2101.09057",
)
def dsal(opinions: Opinions, *, pairs: str = "main") -> float:
    """Disagreement of the deeply supervised heads, 1 - M-DSC.

    M-DSC is the mean Dice of the main head's mask with those of the heads at 1/2 and 1/4 scale, all at full resolution;
    of several labels the mean of those that one of the two masks has. A mask is the likeliest class, which with one
    label is the paper's .5.

    Where this departs from the authors' code: there two empty masks agree, so a lesion that all heads missed went to
    the weak labeller as the surest of all. Here an empty prediction is the most uncertain (``bundle.selection.score``),
    and of several labels one that both heads miss is no agreement: the others alone decide.

    Args:
        pairs: ``"main"``, as published; or ``"all"``, also that of the two side heads.
    """
    require_choice("pairs", pairs, PAIRS)
    masks = [likeliest_class(opinion) for opinion in opinions]
    chosen = itertools.combinations(masks, 2) if pairs == "all" else ((masks[0], other) for other in masks[1:])
    return 1.0 - float(np.mean([_agreement(a, b, labels=opinions.shape[1] - 1) for a, b in chosen]))


def _agreement(a: NDArray[np.uint8], b: NDArray[np.uint8], *, labels: int) -> float:
    """Mean Dice of the labels that are in either mask; 1 where none is, since neither contradicts the other."""
    found = label_dice(a, b, labels=labels)
    seen = found[~np.isnan(found)]
    return float(seen.mean()) if len(seen) else 1.0
