"""``ca``: the query of contrastive annotation (Jin et al., Knowledge-Based Systems 241:108278, 2022)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.selection.cluster_draw import Within, draw_from_clusters
from bundle.selection.clustering import N_INIT, Clustering, SilhouetteCurve, choose_k, distance_to_centre, kmeans
from bundle.selection.farthest_point import farthest_point_sampling
from bundle.selection.options import require_choice, require_whole
from bundle.selection.quota import QUOTAS
from bundle.selection.strategy import Pick, Pool, Ranking, strategy

STARTS = ("medoid", "farthest")
WITHIN = ("fps", "random")


@strategy(
    "ca",
    nested=True,
    summary="K-means with K by silhouette, farthest points inside each cluster",
    good_for="a tenth of the pool and more, as published",
    cost="N² (D + sum K) up to 50 000 images, then N (D sum K + B D / K)",
    paper="Jin et al. 2022, Knowledge-Based Systems 241:108278",
)
def contrastive_annotation(
    pool: Pool,
    budget: int,
    *,
    k: int | None = None,
    k_min: int = 5,
    k_max: int = 20,
    quota: str = "equal",
    start: str = "medoid",
    within: str = "fps",
    n_init: int = N_INIT,
) -> Ranking:
    """Different parts of the data (clusters of contrastive features) and different images in each (farthest points).

    K-means with k-means++ seeding and Euclidean distance; K* = argmax over K of the mean silhouette; then farthest
    point sampling takes delta = ceil(r N / K*) images of each cluster, r N being the budget. Ranks go round the
    clusters, largest first, so that the first K* images show one of each. The score is the distance to the nearest
    image chosen before in the cluster; for the first of a cluster it is the distance to the cluster's centre.

    The search of K costs O(N D sum K) an iteration of K-means and O(N² (D + sum K)) for the silhouettes, exact up to
    50 000 images and sampled above; the farthest points cost O(N D budget / K) when clusters are of a size.

    Where this departs from the authors' code, and why:

    - features are put at length 1 (L2): the contrastive loss sees only their angle;
    - quotas are the paper's delta, or one less in the smaller clusters, so that they sum to the budget exactly; what
      a small cluster cannot give, the others do. Rounding up alone overshoots, and a small cluster repeated images;
    - the first image of a cluster is its medoid. Theirs is the one farthest from the centre (``start="farthest"``),
      often an outlier: a ruler, a hair, an artefact;
    - K is sought from 5 up: the silhouette of contrastive features of ISIC peaks at K = 2, which splits the pool in two
      and says little. The paper found 11 (ISIC) and 8 (chest X-ray). The curve is reported from 2 to ``k_max``;
    - labelled images repel the farthest points of their cluster and count towards its quota;
    - everything random has a seed.

    Args:
        k: number of clusters, in place of the search.
        k_min: least K of the search; below the published 8 and 11, above the trivial 2.
        k_max: largest K of the search; at K = 20 the paper loses 0.3 to 0.6 Dice points to K*, at K = 200 1.2 to 2.
        quota: ``"equal"`` as published, or ``"proportional"`` to the cluster's size.
        start: first image of a cluster without labels: ``"medoid"``, the member with the least sum of squared distances
            to the others, which is the one nearest to the centre; or ``"farthest"`` from the centre, as published.
        within: ``"fps"`` as published, or ``"random"``, the paper's ablation (-0.8 and -1.5 Dice points).
        n_init: restarts of K-means, of more than 50 000 images on a sample of them, see ``kmeans``; 10 was
            scikit-learn's default when the paper was written.
    """
    require_whole("n_init", n_init, least=1)
    require_choice("quota", quota, QUOTAS)
    require_choice("start", start, STARTS)
    require_choice("within", within, WITHIN)
    require_whole("k_min", k_min, least=2)
    require_whole("k_max", k_max, least=k_min)

    seed = pool.derive_seed("ca")
    curve: SilhouetteCurve | None = None
    if k is not None:
        require_whole("k", k, least=1)
        clustering = kmeans(pool.unit, k, seed=seed, n_init=n_init)
    else:
        clustering, curve = choose_k(pool.unit, k_min=k_min, k_max=k_max, seed=seed, n_init=n_init)
    draw = _farthest(pool, clustering, start) if within == "fps" else _random(pool)
    found = {"silhouette": _describe(curve, k_min, k_max)} if curve is not None else {}
    return draw_from_clusters(pool, clustering, budget, quota=quota, within=draw, diagnostics=found)


def _farthest(pool: Pool, clustering: Clustering, start: str) -> Within:
    centrality = distance_to_centre(pool.unit, clustering)

    def within(cluster: int, rows: NDArray[np.intp], count: int) -> list[Pick]:
        labelled = rows[pool.labelled[rows]]
        first = int(rows[(np.argmin if start == "medoid" else np.argmax)(centrality[rows])])
        found, distances = farthest_point_sampling(pool.unit, count, among=rows, start_from=labelled, first=first)
        picks = [
            Pick(int(row), float(distance), f"farthest point in cluster {cluster + 1}", cluster)
            for row, distance in zip(found, distances, strict=True)
        ]
        if not len(labelled):
            name = "medoid of" if start == "medoid" else "farthest from the centre of"
            picks[0] = Pick(first, float(centrality[first]), f"{name} cluster {cluster + 1}", cluster)
        return picks

    return within


def _random(pool: Pool) -> Within:
    def within(cluster: int, rows: NDArray[np.intp], count: int) -> list[Pick]:
        order = pool.stream("ca", "within", cluster).permutation(rows)
        chosen = order[pool.candidates[order]][:count]
        return [Pick(int(row), 0.0, f"drawn at random from cluster {cluster + 1}", cluster) for row in chosen]

    return within


def _describe(curve: SilhouetteCurve, k_min: int, k_max: int) -> dict[str, Any]:
    return {
        "k": list(curve.k),
        "score": [None if np.isnan(score) else round(float(score), 6) for score in curve.score],
        "standard_error": [None if np.isnan(error) else round(float(error), 6) for error in curve.standard_error],
        "scored": curve.scored,
        "k_min": k_min,
        "k_max": k_max,
    }
