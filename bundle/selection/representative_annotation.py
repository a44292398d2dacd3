"""``representative``: the representative annotation that contrastive annotation was measured against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bundle.selection.birch import birch
from bundle.selection.cluster_draw import draw_from_clusters
from bundle.selection.options import require_choice, require_whole
from bundle.selection.quota import QUOTAS
from bundle.selection.strategy import Pick, Pool, Ranking, strategy

K_MAX = 500  # clusters in the notebook of Jin et al., for 518 of 2075 images
COMPARED = 2_000  # members with which each one of a larger cluster is compared
_DECIMALS = 9  # products are rounded in the last digits; cut off there, equal images have equal densities
_ROWS = 4096


@strategy(
    "representative",
    nested=False,
    summary="BIRCH clusters, the members with the greatest information density",
    good_for="typical images only; a baseline to compare with",
    cost="4000 N D, and 2000 N D",
    paper="Zheng et al. 2019, AAAI, as run by Jin et al. 2022",
)
def representative_annotation(pool: Pool, budget: int, *, k: int | None = None, quota: str = "equal") -> Ranking:
    """Of every cluster the members that are most like all others in it.

    Representative annotation (Zheng et al., AAAI 2019, doi:10.1609/aaai.v33i01.33015901) clusters latent features and
    takes what represents each cluster, by maximum coverage. This is the form of it in the released notebooks of Jin et
    al. 2022 (Knowledge-Based Systems 241:108278), whose tables it is the baseline of: BIRCH on the features, then in
    every cluster the information density (Settles and Craven 2008, as in modAL), which is the score:

        density(x) = mean over the members y of 1 / (1 + d(x, y)), d(x, y) = 1 - cos(x, y).

    Not nested unless ``k`` is given. Costs O(N D min(N, 4000)) for BIRCH and O(N D n) in clusters of n members.

    Where this departs from the notebook, and why:

    - there are labelled + budget clusters, 500 at most. The notebook has 500 at every budget, which at a small one
      leaves most without an image;
    - features are put at length 1 first, which the cosine sees anyway, and BIRCH's radius is fitted to the pool (see
      ``birch``); the notebook's clusters come from elsewhere, with a radius that is not told;
    - quotas sum to the budget; the notebook takes one of each cluster, or a share that is rounded down;
    - labelled images hold seats of their cluster;
    - in a cluster of more than 2000 members each is compared with a random 2000 of them.

    Args:
        k: number of clusters; labelled + budget by default, 500 at most.
        quota: ``"equal"`` as in the notebook, or ``"proportional"`` to the cluster's size, its alternative.
    """
    require_choice("quota", quota, QUOTAS)
    if k is None:
        k = min(int(pool.labelled.sum()) + budget, K_MAX)
    require_whole("k", k, least=1)
    clustering = birch(pool.unit, k, seed=pool.derive_seed("representative"))

    def within(cluster: int, rows: NDArray[np.intp], count: int) -> list[Pick]:
        free = rows[~pool.labelled[rows]]
        density = _information_density(pool, cluster, free, rows)
        best = np.argsort(-density, kind="stable")[:count]
        reason = f"most like the others of cluster {cluster + 1}"
        return [Pick(int(free[i]), float(density[i]), reason, cluster) for i in best]

    return draw_from_clusters(pool, clustering, budget, quota=quota, within=within)


def _information_density(
    pool: Pool, cluster: int, rows: NDArray[np.intp], members: NDArray[np.intp]
) -> NDArray[np.float64]:
    if len(members) > COMPARED:
        members = pool.stream("representative", cluster).choice(members, size=COMPARED, replace=False)
    others = pool.unit[members].astype(np.float64)
    density = np.empty(len(rows))
    for start in range(0, len(rows), _ROWS):
        cosines = pool.unit[rows[start : start + _ROWS]].astype(np.float64) @ others.T
        density[start : start + _ROWS] = (1 / (2 - cosines)).mean(axis=1)
    return np.round(density, _DECIMALS)
