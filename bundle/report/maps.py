"""The pool seen from above: its embedding in two dimensions, its clusters and what was chosen from each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bundle.embedding import unit_length
from bundle.report.style import BLUE, CYCLE, FAINT, INK, LARGE, MARKERS, MUTED, Numbers, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RANKS_WRITTEN = 80  # beyond this many the numbers hide the map
CLUSTERS_WRITTEN = 40
NO_CLUSTER = 0  # clusters count from 1


def project(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of L2-normalised vectors.

    Args:
        vectors: (N, D), N at least 2 and D at least 2.

    Returns:
        The (N, 2) coordinates and the share of the variance on each axis, 0 to 1.
    """
    from sklearn.decomposition import PCA

    # The randomised solver of large pools is seeded: the same vectors are the same map.
    components = PCA(n_components=2, random_state=0)
    points = components.fit_transform(unit_length(np.asarray(vectors)))
    return points, components.explained_variance_ratio_


def cluster_colours(clusters: Iterable[int]) -> dict[int, str]:
    """Cluster to its colour, the same in every figure and montage of a selection; images of no cluster are grey."""
    found = sorted(set(clusters))
    numbered = [cluster for cluster in found if cluster != NO_CLUSTER]
    return {c: MUTED if c == NO_CLUSTER else CYCLE[numbered.index(c) % len(CYCLE)] for c in found}


@styled
def embedding_map(
    points: np.ndarray,
    *,
    ranks: Mapping[int, int],
    clusters: Sequence[int] | None = None,
    explained: Numbers | None = None,
) -> Figure:
    """Every image of the pool as a dot, coloured by cluster; the selected ones as discs with their rank.

    Args:
        points: (N, 2).
        ranks: row of a selected image to its rank, counted from 1.
        clusters: (N,) cluster of every row from 1, 0 for none; or None without clusters.
        explained: share of the variance on each axis, 0 to 1.
    """
    figure, (panel,) = new_figure(width=LARGE, height=6.4)
    groups = np.full(len(points), NO_CLUSTER) if clusters is None else np.asarray(clusters)
    colours = cluster_colours(groups.tolist())
    size = float(np.clip(9000 / max(len(points), 1), 4, 26))
    for number, cluster in enumerate(colours):
        # Six colours times six markers; the cluster's own number at its centre tells the rest.
        members = points[groups == cluster]
        panel.scatter(
            members[:, 0],
            members[:, 1],
            s=size,
            color=colours[cluster],
            marker=MARKERS[number // len(CYCLE) % len(MARKERS)],
            alpha=0.5,
            linewidths=0,
            rasterized=True,  # thousands of dots as pixels keep the page small
        )
        if cluster != NO_CLUSTER and len(colours) <= CLUSTERS_WRITTEN:
            middle = np.median(members, axis=0)
            panel.annotate(
                str(cluster),
                (float(middle[0]), float(middle[1])),
                ha="center",
                va="center",
                color=MUTED,
                fontsize=17,
                fontweight="bold",
                alpha=0.55,
                zorder=2,
            )
    written = len(ranks) <= RANKS_WRITTEN
    for row, rank in sorted(ranks.items(), key=lambda pair: -pair[1]):  # the first ranks end on top
        panel.plot(
            [points[row, 0]],
            [points[row, 1]],
            "o",
            markersize=12.5 if written else 5,
            color="white",
            markeredgecolor=colours[int(groups[row])] if groups[row] != NO_CLUSTER else BLUE,
            markeredgewidth=1.6,
            zorder=3 + 1 / rank,
        )
        if written:
            panel.annotate(
                str(rank), points[row], ha="center", va="center_baseline", fontsize=6.5, color=INK, zorder=3 + 1 / rank
            )
    shares = ["", ""] if explained is None else [f" ({share:.0%} of the variance)" for share in explained]
    panel.set(
        title=f"{len(points)} images, {len(ranks)} of them selected" + (" (discs with their rank)" if written else ""),
        xlabel=f"first principal component{shares[0]}",
        ylabel=f"second principal component{shares[1]}",
    )
    panel.set_aspect("equal", adjustable="datalim")
    panel.grid(visible=False)
    panel.set_xticks([])
    panel.set_yticks([])
    return figure


@styled
def cluster_sizes(names: Sequence[str], sizes: Sequence[int], taken: Sequence[int]) -> Figure:
    """Images of the pool in every cluster, and above each bar how many of them were selected.

    Args:
        names: (K,) of the clusters.
        sizes: (K,) images of the pool.
        taken: (K,) images selected.
    """
    figure, (panel,) = new_figure()
    places = np.arange(len(sizes))
    panel.bar(places, sizes, color=FAINT, width=0.72)
    if len(places) <= CLUSTERS_WRITTEN:
        fontsize = 8.5 if len(places) <= 20 else 5.5
        panel.set_xticks(places, names, fontsize=fontsize)
        for place, size, count in zip(places, sizes, taken, strict=True):
            text = panel.annotate(str(count), (place, size), xytext=(0, 3), textcoords="offset points", ha="center")
            text.set(color=BLUE, fontweight="bold", fontsize=fontsize)
    else:
        panel.bar(places, taken, color=BLUE, width=0.72)
        panel.set_xticks([])
    panel.grid(axis="x", visible=False)
    panel.margins(y=0.12)
    panel.set(title="Clusters; in blue: selected", xlabel="cluster", ylabel="images")
    return figure
