"""``saal``: the query of suggestive annotation by latent clustering (Zhao, Lu et al., EMBC 2022, arXiv 2205.07021)."""

from __future__ import annotations

import numpy as np

from bundle.selection.cluster_draw import draw_from_clusters, nearest_to_centre
from bundle.selection.clustering import N_INIT, distance_to_centre, kmeans
from bundle.selection.options import require_choice, require_whole
from bundle.selection.quota import QUOTAS
from bundle.selection.strategy import Pool, Ranking, strategy


@strategy(
    "saal",
    nested=True,
    summary="K-means with 10 clusters, quota by cluster size, nearest to each centre",
    good_for="typical images only, as published",
    cost="N D K an iteration",
    paper="Zhao, Lu et al. 2022, arXiv 2205.07021",
)
def latent_clustering(
    pool: Pool, budget: int, *, k: int = 10, quota: str = "proportional", normalise: bool = False, n_init: int = N_INIT
) -> Ranking:
    """Of every cluster its most central members, as many as its share of the pool.

    The score is the Euclidean distance to the centre of the image's own cluster. Costs O(N D k) an iteration of
    K-means and O(N D) for the rest.

    Where this departs from the authors' code, and why:

    - the nearest are sought among the cluster's own members; theirs, sought in the whole pool, can be one image twice;
    - quotas come seat by seat (Sainte-Laguë), not by rounding each share: they sum to the budget, and a larger budget
      or a next round only adds images, so none that is annotated leaves the set;
    - labelled images hold seats of their cluster, so a next round goes on where the last one ended.

    Args:
        k: clusters; 10 in the paper.
        quota: ``"proportional"`` to the cluster's size as in the paper, or ``"equal"``.
        normalise: at length 1 (L2) first; the paper clusters the descriptors as they are.
        n_init: restarts of K-means; of more than 50 000 images on a sample of them, see ``kmeans``.
    """
    require_whole("k", k, least=1)
    require_whole("n_init", n_init, least=1)
    require_choice("quota", quota, QUOTAS)
    vectors, dtype = (pool.unit, np.float32) if normalise else (pool.vectors, np.float64)
    clustering = kmeans(vectors, k, seed=pool.derive_seed("saal"), n_init=n_init, dtype=dtype)
    within = nearest_to_centre(pool, distance_to_centre(vectors, clustering))
    return draw_from_clusters(pool, clustering, budget, quota=quota, within=within)
