"""``usl``: unsupervised selective labelling, dense images that keep apart (Wang et al., ECCV 2022)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bundle.selection.cluster_draw import draw_from_clusters
from bundle.selection.clustering import Clustering, kmeans
from bundle.selection.neighbours import nearest_neighbours
from bundle.selection.options import require_number, require_whole
from bundle.selection.quota import seat_sequence
from bundle.selection.strategy import Pick, Pool, Ranking, strategy

N_INIT = 1  # with a cluster for every image of the budget, restarts differ little and cost the most
EXACT_UP_TO = 50_000  # images; all pairs of more take minutes on two cores
SEARCHED = 10_000  # images among which neighbours are sought in a larger pool
_CLOSEST = 1e-5  # a squared distance counts as this at least, so that equal images have finite figures
_DECIMALS = 6  # products are rounded in the last digits; cut off there, equal images have equal figures
_ENTRIES = 1 << 22  # 32 MiB of float64


@strategy(
    "usl",
    nested=False,
    summary="K-means with one cluster per label, the densest member that keeps apart from the others",
    good_for="few labels, when the budget is final",
    cost="N² D up to 50 000 images, then 10 000 N D; and 10 N D B",
    paper="Wang, Lian and Yu 2022, ECCV, arXiv 2110.03006",
)
def selective_labelling(
    pool: Pool,
    budget: int,
    *,
    neighbours: int = 20,
    weight: float = 0.5,
    alpha: float = 0.5,
    momentum: float = 0.9,
    iterations: int = 10,
    n_init: int = N_INIT,
) -> Ranking:
    """Of every cluster the member that is dense and far from the members chosen in the others.

    The training-free USL; USL-T, which learns the clusters, is left out. K-means with K = labelled + budget clusters on
    vectors x of length 1. A member's utility, which is the score, is its density less what the choice in the other
    clusters takes away (the paper's local constraint and its regularisation, with the constants of the authors' code):

        density(x) = 1 / (mean squared distance of x to its k nearest neighbours in the pool)
        regulariser(x, t) = sum over the images v chosen in round t in other clusters of 1 / (|x - v|²)^alpha
        mean(x, t) = momentum mean(x, t - 1) + (1 - momentum) regulariser(x, t), mean(x, 0) = 0
        utility(x, t) = density(x) - weight mean(x, t - 1)

    In each of ``iterations`` rounds every cluster chooses its member of the greatest utility; the last round counts.

    Not nested: K, and with it every cluster, changes with the budget. Costs O(N² D) for the density and O(N D K) an
    iteration, of K-means as of the regulariser.

    Where this departs from the authors' code, and why:

    - k = 20, theirs for ImageNet. Their 400 for CIFAR is 0.8 % of 50 000 images, and half of a pool of 800;
    - the image itself is no neighbour of its own. Theirs counts it, at distance 0, among the k;
    - labelled images count as chosen throughout, in their own cluster as well, and a cluster that has one gives none
      while another without any is left;
    - equal images count as 1e-5 apart (squared); theirs stops at them with a failed assertion;
    - the horizon beyond which a chosen image takes nothing away is left out: theirs for CIFAR-10, a squared distance of
      4, holds all vectors of length 1;
    - above 50 000 images neighbours are sought among a random 10 000 of the pool.

    Args:
        neighbours: k; those of a small pool are all other images.
        weight: of the regulariser; 0.5 in the authors' code, 1.0 for CIFAR-100 and 1.5 for ImageNet.
        alpha: power of the squared distance, so 0.5 is the plain distance; 0.5 in the authors' code, 1.0 for CIFAR-100.
        momentum: 0.9 in the authors' code, 0 for ImageNet.
        iterations: 10 in the authors' code, 2 for ImageNet; 1 leaves the regulariser out.
        n_init: restarts of K-means; of more than 50 000 images on a sample of them, see ``kmeans``.
    """
    require_whole("neighbours", neighbours, least=1)
    require_whole("iterations", iterations, least=1)
    require_whole("n_init", n_init, least=1)
    require_number("weight", weight)
    require_number("alpha", alpha, most=10)
    require_number("momentum", momentum, most=1)
    k = int(pool.labelled.sum()) + budget
    clustering = kmeans(pool.unit, k, seed=pool.derive_seed("usl"), n_init=n_init)
    density = _density(pool, neighbours)
    free = [rows[~pool.labelled[rows]] for rows in clustering.members()]
    held = np.bincount(clustering.labels[pool.labelled], minlength=clustering.k)
    choosing = np.unique(seat_sequence(clustering.sizes, budget, quota="equal", held=held))

    utility, mean = density, np.zeros(len(pool))
    for _ in range(iterations - 1):
        chosen = np.array([_best(free[cluster], utility) for cluster in choosing], dtype=np.intp)
        mean = momentum * mean + (1 - momentum) * _regulariser(pool, clustering, chosen, alpha)
        utility = np.round(density - weight * mean, _DECIMALS)

    def within(cluster: int, rows: NDArray[np.intp], count: int) -> list[Pick]:
        rows = rows[~pool.labelled[rows]]
        best = rows[np.argsort(-utility[rows], kind="stable")[:count]]
        reason = f"dense in cluster {cluster + 1} and apart from the others chosen"
        return [Pick(int(row), float(utility[row]), reason, cluster) for row in best]

    return draw_from_clusters(pool, clustering, budget, quota="equal", within=within)


def _density(pool: Pool, neighbours: int) -> NDArray[np.float64]:
    """1 / mean squared distance (N,) to the nearest ``neighbours``."""
    among = np.arange(len(pool))
    if len(pool) > EXACT_UP_TO:
        among = pool.stream("usl", "searched").choice(len(pool), size=SEARCHED, replace=False)
    k = min(neighbours, len(among) - 1)
    if k == 0:
        return np.zeros(len(pool))  # a pool of one
    _, distances = nearest_neighbours(pool.unit, k, among=among)
    return 1 / np.maximum(np.square(distances, dtype=np.float64).mean(axis=1), _CLOSEST)


def _regulariser(pool: Pool, clustering: Clustering, chosen: NDArray[np.intp], alpha: float) -> NDArray[np.float64]:
    """Sum (N,) of 1 / |x - v|^(2 alpha) over the images v chosen in other clusters, and over the labelled ones."""
    labelled = np.flatnonzero(pool.labelled)
    points = pool.unit[np.concatenate([chosen, labelled])].astype(np.float64)
    lengths = np.einsum("ij,ij->i", points, points)
    column_of = np.full(clustering.k, -1)
    column_of[clustering.labels[chosen]] = np.arange(len(chosen))
    sums = np.empty(len(pool))
    step = max(1, _ENTRIES // max(points.shape))
    for start in range(0, len(pool), step):
        block = pool.unit[start : start + step].astype(np.float64)
        squares = np.einsum("ij,ij->i", block, block)[:, None] + lengths - 2 * (block @ points.T)
        taken = 1 / np.maximum(squares, _CLOSEST) ** alpha
        own = column_of[clustering.labels[start : start + step]]
        row = np.flatnonzero(own >= 0)
        taken[row, own[row]] = 0.0
        sums[start : start + step] = taken.sum(axis=1)
    return sums


def _best(rows: NDArray[np.intp], utility: NDArray[np.float64]) -> np.intp:
    return rows[np.argmax(utility[rows])]  # argmax takes the first of equals
