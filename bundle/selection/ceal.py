"""``ceal``: doubt weighed by its depth inside the lesion (Gorriz et al. 2017, arXiv 1711.09168)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bundle.likeliest import likeliest_class
from bundle.selection.bald import PASSES
from bundle.selection.criterion import Opinions, criterion
from bundle.selection.pass_variance import variance_map


@criterion(
    "ceal",
    opinions="dropout",
    count=PASSES,
    summary="variance over the passes, weighed by the distance to the border",
    good_for="structures whose border is always a little soft",
    paper="Gorriz et al. 2017, arXiv 1711.09168",
)
def ceal(opinions: Opinions) -> float:
    """Variance over passes with dropout times the distance to the border of the predicted mask, averaged over pixels.

    Every border is uncertain, and says little. The distance of a foreground pixel to the nearest one of another class,
    divided by the largest in the image, weighs what lies deep inside; background weighs nothing. The paper sums over
    the pixels, which ranks images of one size alike.

    Where this departs from the authors' code, and why: there the distance transform ran on the soft prediction, which
    has no border to be distant from, and dropout was off in training, so that its passes were of an untrained noise.
    """
    depth = border_distance(likeliest_class(opinions.mean(axis=0)))
    largest = depth.max()
    return float((variance_map(opinions) * (depth / largest if largest > 0 else depth)).mean())


def border_distance(mask: NDArray[np.integer]) -> NDArray[np.float64]:
    """(W, H): Euclidean distance in pixels of every foreground pixel to the nearest pixel of another class; else 0.

    What lies outside the image is of another class: a mask that fills the image has its border there.
    """
    from scipy.ndimage import distance_transform_edt  # half a second, which `help` does without

    depth = np.zeros(mask.shape)
    for label in np.unique(mask[mask > 0]):
        depth += distance_transform_edt(np.pad(mask == label, 1))[1:-1, 1:-1]
    return depth
