"""``stratified_random``: random images of every cluster."""

from __future__ import annotations

from bundle.selection.clustering import N_INIT
from bundle.selection.contrastive_annotation import contrastive_annotation
from bundle.selection.strategy import Pool, Ranking, strategy


@strategy(
    "stratified_random",
    nested=True,
    summary="at random inside K-means clusters, K by silhouette",
    good_for="an unbiased sample that misses no kind of image",
    cost="N² (D + sum K) up to 50 000 images, then N D sum K",
    paper="Cochran 1977, Sampling Techniques, chapter 5; an ablation of Jin et al. 2022",
)
def stratified_random(
    pool: Pool,
    budget: int,
    *,
    k: int | None = None,
    k_min: int = 5,
    k_max: int = 20,
    quota: str = "proportional",
    n_init: int = N_INIT,
) -> Ranking:
    """Strata are the clusters of ``ca``; inside each, every image is as likely as any other. The score is 0.

    The ablation of Jin et al. 2022 (random inside clusters), which lost 0.8 (dermoscopy) and 1.5 (chest X-ray) Dice
    points to farthest points, with proportional seats for its default. With these, means over the sample estimate those
    of the pool, with no more variance than ``random`` has (Cochran, theorem 5.8); equal seats show more of what is
    rare. Clusters and draws are those of ``ca`` with ``within=random`` and the same seed, so the strategies differ in
    nothing but the draw.

    The search of K costs O(N D sum K) an iteration of K-means and O(N² (D + sum K)) for the silhouettes, exact up to
    50 000 images and sampled above; the draw costs O(N).

    Args:
        k: number of clusters, in place of the search.
        k_min: least K of the search, see ``ca``.
        k_max: largest K of the search.
        quota: ``"proportional"`` to the cluster's size, or ``"equal"``.
        n_init: restarts of K-means; of more than 50 000 images on a sample of them, see ``kmeans``.
    """
    return contrastive_annotation(
        pool, budget, k=k, k_min=k_min, k_max=k_max, quota=quota, within="random", n_init=n_init
    )
