"""``kcenter``: the core-set of Sener and Savarese (ICLR 2018, arXiv 1708.00489), greedy."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bundle.selection.clustering import Clustering, distance_to_centre
from bundle.selection.farthest_point import farthest_point_sampling
from bundle.selection.options import require_choice
from bundle.selection.strategy import Pick, Pool, Ranking, strategy

STARTS = ("medoid", "random")


@strategy(
    "kcenter",
    nested=True,
    summary="farthest points of the whole pool",
    good_for="covering rare images, outliers included",
    cost="N D B",
    paper="Sener & Savarese 2018, ICLR, arXiv 1708.00489",
)
def k_center(pool: Pool, budget: int, *, start: str = "medoid", normalise: bool = True) -> Ranking:
    """Always the image that is farthest from everything chosen or labelled: the greedy solution of k-center.

    Their algorithm 1, u = argmax over the unlabelled i of min over the chosen j of d(i, j), keeps the largest distance
    of any image to its nearest chosen one within twice the least that is possible. That distance is the score. Costs
    O(N D (budget + labelled)) at most and O(N) memory beside the vectors.

    Where this departs from the authors' code, and why:

    - theirs starts from labelled images; a cold start has none, so one image is the first by ``start``, with its
      distance to the centre of the pool as its score;
    - features are put at length 1 (L2) first: a contrastive loss sees only their angle. Theirs are the activations
      before the classifier, as they are (``normalise=False``);
    - the greedy solution stands alone. Theirs can refine it with a mixed integer program, which takes a commercial
      solver, and allows for outliers.

    Args:
        start: ``"medoid"``, the image with the least sum of squared distances to all others, which is the one nearest
            to their centre; or ``"random"``. Without effect where there are labels.
        normalise: at length 1 (L2) first.
    """
    require_choice("start", start, STARTS)
    vectors, dtype = (pool.unit, np.float32) if normalise else (pool.vectors, np.float64)
    labelled = np.flatnonzero(pool.labelled)
    if len(labelled):
        rows, distances = farthest_point_sampling(vectors, budget, start_from=labelled)
        return Ranking(_picks(rows, distances))
    eccentricity = _distance_to_mean(vectors, dtype)
    first = int(np.argmin(eccentricity) if start == "medoid" else pool.stream("kcenter", "first").integers(len(pool)))
    rows, distances = farthest_point_sampling(vectors, budget, first=first)
    name = "medoid of the pool" if start == "medoid" else "drawn at random"
    return Ranking([Pick(first, float(eccentricity[first]), name), *_picks(rows[1:], distances[1:])])


def _picks(rows: NDArray[np.intp], distances: NDArray[np.float32]) -> list[Pick]:
    return [Pick(int(row), float(far), "farthest point") for row, far in zip(rows, distances, strict=True)]


def _distance_to_mean(vectors: NDArray[np.float32], dtype: DTypeLike) -> NDArray[np.floating]:
    mean = vectors.mean(axis=0, dtype=np.float64, keepdims=True).astype(dtype)
    return distance_to_centre(vectors, Clustering(np.zeros(len(vectors), dtype=np.intp), mean))
