"""From clusters to a ranking: seats decide which cluster is next, an order inside the cluster decides which member."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.selection.clustering import Clustering
from bundle.selection.quota import seat_sequence
from bundle.selection.strategy import Pick, Pool, Ranking

Within = Callable[[int, NDArray[np.intp], int], Sequence[Pick]]
"""(cluster, its rows ascending, number to pick) to that many picks out of the rows that are not labelled, in order."""


def draw_from_clusters(
    pool: Pool,
    clustering: Clustering,
    budget: int,
    *,
    quota: str = "equal",
    sequence: NDArray[np.intp] | None = None,
    within: Within,
    diagnostics: dict[str, Any] | None = None,
) -> Ranking:
    """Rank ``budget`` rows: one cluster after the other as ``seat_sequence`` says, inside each as ``within`` says.

    Labelled rows hold seats already, so a cluster that has some gets fewer.

    Args:
        quota: ``"equal"`` or ``"proportional"``, see ``seat_sequence``.
        sequence: the cluster of every rank (``budget``,), in place of that of ``quota``.
        within: picks inside one cluster; its first j picks must not depend on how many are asked for.
        diagnostics: what the strategy adds to sizes, quotas and seats held.
    """
    held = np.bincount(clustering.labels[pool.labelled], minlength=clustering.k)
    if sequence is None:
        sequence = seat_sequence(clustering.sizes, budget, quota=quota, held=held)
    quotas = np.bincount(sequence, minlength=clustering.k)
    queues = [
        iter(within(cluster, rows, int(count)) if count else ())
        for cluster, (rows, count) in enumerate(zip(clustering.members(), quotas, strict=True))
    ]
    return Ranking(
        [next(queues[cluster]) for cluster in sequence],
        clustering.labels,
        {
            "k": clustering.k,
            "cluster_sizes": _by_cluster(clustering.sizes),
            "quotas": _by_cluster(quotas),
            "held": _by_cluster(held),
            **(diagnostics or {}),
        },
    )


def nearest_to_centre(pool: Pool, distances: NDArray[np.floating]) -> Within:
    """Members by their distance to their own cluster's centre, nearest first; a tie goes to the smaller row.

    Args:
        distances: (N,) distance of every row to the centre of its own cluster.
    """

    def within(cluster: int, rows: NDArray[np.intp], count: int) -> list[Pick]:
        free = rows[~pool.labelled[rows]]
        nearest = free[np.argsort(distances[free], kind="stable")[:count]]
        return [
            Pick(int(row), float(distances[row]), f"nearest to the centre of cluster {cluster + 1}", cluster)
            for row in nearest
        ]

    return within


def _by_cluster(counts: NDArray[np.intp]) -> dict[int, int]:
    return {cluster + 1: int(count) for cluster, count in enumerate(counts)}
