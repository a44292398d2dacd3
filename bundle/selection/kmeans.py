"""``kmeans``: as many clusters as the budget, and of each cluster the member nearest to its centre."""

from __future__ import annotations

import numpy as np

from bundle.selection.cluster_draw import draw_from_clusters, nearest_to_centre
from bundle.selection.clustering import distance_to_centre, kmeans
from bundle.selection.options import require_whole
from bundle.selection.strategy import Pool, Ranking, strategy

N_INIT = 1  # with a cluster for every image of the budget, restarts differ little and cost the most


@strategy(
    "kmeans",
    nested=False,
    summary="K-means with one cluster per image of the budget, nearest to each centre",
    good_for="few labels, when the budget is final",
    cost="N D B an iteration",
    paper="a baseline of Hacohen et al. 2022 (TypiClust), arXiv 2202.02794",
)
def kmeans_draw(pool: Pool, budget: int, *, normalise: bool = True, n_init: int = N_INIT) -> Ranking:
    """The members nearest to the centres of K = budget + labelled clusters, the largest clusters first.

    A cluster with labelled images gives none while one without any is left. Centres stand for no image, so the nearest
    is sought among the cluster's own members: no image comes twice. Where fewer vectors differ than K, the seats left
    over go round the clusters again, to the second nearest and so on. The score is the distance to the centre.

    Not nested: K, and with it every cluster, changes with the budget. Costs O(N D K) an iteration.

    Args:
        normalise: at length 1 (L2) first, as TypiClust does; contrastive features carry their meaning in the angle.
        n_init: restarts of K-means; of more than 50 000 images on a sample of them, see ``kmeans``.
    """
    require_whole("n_init", n_init, least=1)
    vectors, dtype = (pool.unit, np.float32) if normalise else (pool.vectors, np.float64)
    k = budget + int(pool.labelled.sum())
    clustering = kmeans(vectors, k, seed=pool.derive_seed("kmeans"), n_init=n_init, dtype=dtype)
    within = nearest_to_centre(pool, distance_to_centre(vectors, clustering))
    return draw_from_clusters(pool, clustering, budget, quota="equal", within=within)
