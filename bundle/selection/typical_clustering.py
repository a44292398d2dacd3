"""``typiclust``: typical images of as many clusters as there will be labels (Hacohen et al., ICML 2022)."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from bundle.selection.cluster_draw import draw_from_clusters
from bundle.selection.clustering import kmeans
from bundle.selection.neighbours import nearest_neighbours
from bundle.selection.options import require_whole
from bundle.selection.quota import seat_sequence
from bundle.selection.strategy import Pick, Pool, Ranking, strategy

N_INIT = 1  # with a cluster for every image of the budget, restarts differ little and cost the most
EXACT_UP_TO = 10_000  # members of a cluster, all pairs of which are compared
_CLOSEST = 1e-5  # added to distances of at most 2, so that equal images have a finite typicality


@strategy(
    "typiclust",
    nested=False,
    summary="K-means with one cluster per label, the most typical member of each",
    good_for="very few labels, when the budget is final",
    cost="N D B an iteration, then N D min(N / B, 10 000)",
    paper="Hacohen et al. 2022, ICML, arXiv 2202.02794",
)
def typical_clustering(
    pool: Pool,
    budget: int,
    *,
    k_max: int = 500,
    neighbours: int = 20,
    smallest: int = 6,
    n_init: int = N_INIT,
) -> Ranking:
    """The most typical images of the largest clusters that have no label yet.

    K-means with K = min(labelled + budget, ``k_max``) on vectors of length 1. The clusters are gone round, those with
    the fewest labels first and the larger ones of these (algorithm 1 of the paper), and each gives its member of the
    greatest typicality, which is the score:

        typicality(x) = 1 / (mean distance of x to its k nearest neighbours in the cluster), k = min(20, members / 2).

    Not nested: K, and with it every cluster, changes with the budget. Costs O(N D K) an iteration of K-means and, in
    clusters of n members, O(N D n) for the typicalities.

    Where this departs from the authors' code, and why:

    - distances are Euclidean as in the paper; theirs are squared, which the library they search with gives;
    - theirs drops clusters of 5 members or fewer and fails where none is left. Here these come last, and where the mean
      cluster has fewer than 12 members, only those below half the mean count as small;
    - typicality is taken once in a cluster, among all members. Theirs leaves out those labelled and chosen, at the cost
      of a new search after every pick; it matters only to the second pick of a cluster;
    - where clusters have different numbers of labels, the next image always goes to one with the fewest;
    - in a cluster of more than 10 000 members neighbours are sought among a random 10 000 of them;
    - K-means takes all images for any K; theirs goes over to mini-batches above K = 50.

    Args:
        k_max: most clusters; 500 as published.
        neighbours: most neighbours of the typicality; 20 as published.
        smallest: members from which on a cluster is no small one; 6 as in the authors' code.
        n_init: restarts of K-means; of more than 50 000 images on a sample of them, see ``kmeans``.
    """
    require_whole("k_max", k_max, least=1)
    require_whole("neighbours", neighbours, least=1)
    require_whole("smallest", smallest, least=1)
    require_whole("n_init", n_init, least=1)
    k = min(int(pool.labelled.sum()) + budget, k_max)
    clustering = kmeans(pool.unit, k, seed=pool.derive_seed("typiclust"), n_init=n_init)
    held = np.bincount(clustering.labels[pool.labelled], minlength=clustering.k)
    sequence = _sequence(clustering.sizes, held, budget, min(smallest, len(pool) / (2 * clustering.k)))
    within = functools.partial(_most_typical, pool, neighbours)
    return draw_from_clusters(pool, clustering, budget, sequence=sequence, within=within)


def _sequence(sizes: NDArray[np.intp], held: NDArray[np.intp], budget: int, smallest: float) -> NDArray[np.intp]:
    """The cluster of every rank: the large ones in turn, and the small ones once those are used up."""
    ranks = []
    for clusters in (np.flatnonzero(sizes >= smallest), np.flatnonzero(sizes < smallest)):
        seats = min(budget, int((sizes - held)[clusters].sum()))
        ranks.append(clusters[seat_sequence(sizes[clusters], seats, quota="equal", held=held[clusters])])
        budget -= seats
    return np.concatenate(ranks)


def _most_typical(pool: Pool, neighbours: int, cluster: int, rows: NDArray[np.intp], count: int) -> list[Pick]:
    searched = rows
    if len(rows) > EXACT_UP_TO:
        searched = pool.stream("typiclust", "searched", cluster).choice(rows, size=EXACT_UP_TO, replace=False)
    free = rows[~pool.labelled[rows]]
    nearest = min(neighbours, len(rows) // 2, len(searched) - 1)
    _, distances = nearest_neighbours(pool.unit, nearest, rows=free, among=searched)
    # A cluster of one has no neighbours; its member is the most typical there is.
    mean = distances.mean(axis=1, dtype=np.float64) if nearest else np.zeros(len(free))
    best = np.argsort(mean, kind="stable")[:count]
    return [
        Pick(int(free[i]), 1 / (float(mean[i]) + _CLOSEST), f"most typical of cluster {cluster + 1}", cluster)
        for i in best
    ]
