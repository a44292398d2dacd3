"""K-means with its chance and its threads under control, and the silhouette of many clusterings in one pass."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import ThreadpoolController

from bundle.run.seeds import derive_seed, numpy_stream
from bundle.selection.farthest_point import squared_distances

logger = logging.getLogger(__name__)

N_INIT = 10  # restarts; k-means++ alone still lands in a poor optimum now and then
SILHOUETTE_EXACT_UP_TO = 50_000  # images; all pairs of more take minutes on two cores
SILHOUETTE_SAMPLE = 10_000  # images scored in a larger pool; standard error about 0.002
_BLOCK_PAIRS = 1 << 22  # 32 MiB of float64 distances at a time


@dataclasses.dataclass(frozen=True, eq=False)
class Clustering:
    """A partition of N rows into K clusters, none empty, the largest first (ties: the one with the smallest row).

    Attributes:
        labels: (N,) cluster of every row, 0 to K - 1.
        centres: (K, D) float32 mean of each cluster's members.
    """

    labels: NDArray[np.intp]
    centres: NDArray[np.float32]

    @property
    def k(self) -> int:
        """Number of clusters, which is less than asked for where there are fewer different vectors."""
        return len(self.centres)

    @property
    def sizes(self) -> NDArray[np.intp]:
        """Members of each cluster (K,)."""
        return np.bincount(self.labels, minlength=self.k)

    def members(self) -> list[NDArray[np.intp]]:
        """Rows of each cluster, ascending."""
        order = np.argsort(self.labels, kind="stable")
        return np.split(order, np.cumsum(self.sizes)[:-1])


@dataclasses.dataclass(frozen=True, eq=False)
class SilhouetteCurve:
    """Mean silhouette coefficient of several clusterings of the same rows.

    Attributes:
        k: (M,) number of clusters in each clustering.
        score: (M,) mean silhouette, -1 to 1; NaN for a single cluster, where it is not defined.
        standard_error: (M,) of the score, 0 where every row was scored.
        scored: number of rows that were scored; each against all rows.
    """

    k: tuple[int, ...]
    score: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    scored: int


def kmeans(vectors: NDArray[np.float32], k: int, *, seed: int, n_init: int = N_INIT) -> Clustering:
    """Cluster the rows of ``vectors`` (N, D) by K-means with k-means++ seeding (scikit-learn, Lloyd).

    The same seed gives the same clusters for any number of threads: sums over threads would be rounded in the order in
    which the threads finish, so one thread does it. Costs O(N D k) an iteration, up to 300 of them ``n_init`` times.

    Args:
        vectors: (N, D) float32, finite.
        k: clusters wanted, at least 1; more than N means N. Fewer come back where fewer vectors differ.
        seed: of the k-means++ seeding.
        n_init: restarts; the one with the least inertia is kept.
    """
    return kmeans_for_each(vectors, [k], seed=seed, n_init=n_init)[0]


def kmeans_for_each(
    vectors: NDArray[np.float32], ks: Sequence[int], *, seed: int, n_init: int = N_INIT
) -> list[Clustering]:
    """``kmeans`` for every k of ``ks``, one a core at a time; each has the result it has alone."""
    fit = functools.partial(_fit, vectors, seed=seed, n_init=n_init)
    with _one_thread_each() as limit_thread, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer vectors differ than k: said by Clustering.k
        if len(ks) == 1:
            return [fit(ks[0])]
        with ThreadPoolExecutor(os.cpu_count(), initializer=limit_thread) as workers:
            return list(workers.map(fit, ks))


def silhouette_curve(
    vectors: NDArray[np.float32],
    labels: Sequence[NDArray[np.intp]],
    *,
    seed: int = 0,
    exact_up_to: int = SILHOUETTE_EXACT_UP_TO,
    sample: int = SILHOUETTE_SAMPLE,
) -> SilhouetteCurve:
    """Mean silhouette (Rousseeuw 1987, doi:10.1016/0377-0427(87)90125-7) of M clusterings of the same rows.

    For row i, a is the mean Euclidean distance to the others of its cluster, b the least mean distance to another
    cluster, s = (b - a) / max(a, b), and 0 in a cluster of one. Every distance is computed once for all clusterings:
    a block of distances times the one-hot labels of all M side by side gives the sums over every cluster at once.
    Costs O(N² (D + sum K)) time and a few blocks of memory. Above ``exact_up_to`` rows a random ``sample`` of them is
    scored against all rows, which is unbiased; its standard error is reported.

    Args:
        vectors: (N, D) float32.
        labels: M arrays (N,), clusters from 0 without gaps.
        seed: of the sample.
    """
    n = len(vectors)
    ks = tuple(int(found.max()) + 1 for found in labels)
    scored = np.arange(n)
    if n > exact_up_to:
        scored = np.sort(numpy_stream(seed, "silhouette").choice(n, size=min(sample, n), replace=False))
    columns = np.split(np.arange(sum(ks)), np.cumsum(ks)[:-1])
    sizes = [np.bincount(found, minlength=k) for found, k in zip(labels, ks, strict=True)]
    values = np.empty((len(ks), len(scored)))
    norms = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    step = max(1, int(_BLOCK_PAIRS**0.5))
    for start in range(0, len(scored), step):
        rows = scored[start : start + step]
        sums = np.zeros((len(rows), sum(ks)))
        for begin in range(0, n, step):
            block = slice(begin, min(begin + step, n))
            distances = _distances(vectors, norms, rows, block)
            one_hot = np.zeros((block.stop - begin, sum(ks)), dtype=np.float32)
            for found, offset in zip(labels, columns, strict=True):
                one_hot[np.arange(len(one_hot)), offset[0] + found[block]] = 1.0
            sums += distances @ one_hot
        for m, (found, size, offset) in enumerate(zip(labels, sizes, columns, strict=True)):
            values[m, start : start + len(rows)] = _silhouettes(sums[:, offset], found[rows], size)
    error = np.zeros(len(ks))
    if 1 < len(scored) < n:
        without_replacement = 1 - len(scored) / n
        error = values.std(axis=1, ddof=1) * np.sqrt(without_replacement / len(scored))
    return SilhouetteCurve(ks, values.mean(axis=1), error, len(scored))


def choose_k(
    vectors: NDArray[np.float32], *, k_min: int, k_max: int, report_from: int, seed: int, n_init: int = N_INIT
) -> tuple[Clustering, SilhouetteCurve | None]:
    """The clustering with the greatest mean silhouette for K from ``k_min`` to ``k_max``; the smaller K in a tie.

    Args:
        report_from: smallest K on the curve, which may lie below ``k_min``: it is shown, not chosen.

    Returns:
        The clustering, and the curve over ``report_from`` to ``k_max``. A pool of n rows has no more than n - 1
        clusters worth a silhouette, which lowers the bounds; with one or two rows there is one cluster and no curve.
    """
    k_max = min(k_max, len(vectors) - 1)
    k_min = min(k_min, k_max)
    if k_max < 2:
        return kmeans(vectors, 1, seed=seed), None
    ks = range(min(report_from, k_min), k_max + 1)
    clusterings = kmeans_for_each(vectors, ks, seed=seed, n_init=n_init)
    curve = silhouette_curve(vectors, [found.labels for found in clusterings], seed=seed)
    eligible = np.where(np.asarray(ks) >= k_min, np.nan_to_num(curve.score, nan=-2.0), -np.inf)
    best = int(np.argmax(eligible))
    return clusterings[best], curve


def distance_to_centre(vectors: NDArray[np.float32], clustering: Clustering) -> NDArray[np.float32]:
    """Euclidean distance (N,) of every row to the centre of its own cluster."""
    found = np.empty(len(vectors), dtype=np.float32)
    for centre, rows in zip(clustering.centres, clustering.members(), strict=True):
        found[rows] = np.sqrt(squared_distances(vectors[rows], centre))
    return found


def _fit(vectors: NDArray[np.float32], k: int, *, seed: int, n_init: int) -> Clustering:
    k = min(k, len(vectors))
    state = derive_seed(seed, "kmeans", k) % 2**32  # scikit-learn takes 32 bits
    found = KMeans(k, init="k-means++", n_init=n_init, random_state=state, copy_x=True).fit(vectors).labels_
    return _canonical(vectors, found)


def _canonical(vectors: NDArray[np.float32], found: NDArray[Any]) -> Clustering:
    _, first_row, labels, sizes = np.unique(found, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first_row, -sizes))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    labels = rank[labels.reshape(-1)]
    sizes = sizes[order]
    together = vectors[np.argsort(labels, kind="stable")]
    sums = np.add.reduceat(together, np.cumsum(sizes) - sizes, axis=0, dtype=np.float64)
    return Clustering(labels, (sums / sizes[:, None]).astype(np.float32))


def _distances(
    vectors: NDArray[np.float32], norms: NDArray[np.float64], rows: NDArray[np.intp], block: slice
) -> NDArray[np.float32]:
    # In float64, since near neighbours cancel in the expanded square; their sums are safe in float32.
    products = vectors[rows].astype(np.float64) @ vectors[block].astype(np.float64).T
    squares = norms[rows, None] + norms[None, block] - 2 * products
    own = (rows >= block.start) & (rows < block.stop)
    squares[own, rows[own] - block.start] = 0.0
    return np.sqrt(np.maximum(squares, 0.0)).astype(np.float32)


def _silhouettes(sums: NDArray[np.float64], own: NDArray[np.intp], sizes: NDArray[np.intp]) -> NDArray[np.float64]:
    if len(sizes) < 2:
        return np.full(len(own), np.nan)
    rows = np.arange(len(own))
    others = sizes[own] - 1
    inside = sums[rows, own] / np.maximum(others, 1)
    means = sums / sizes
    means[rows, own] = np.inf
    outside = means.min(axis=1)
    largest = np.maximum(inside, outside)
    # All distances 0 (equal vectors in two clusters) and clusters of one count 0.
    return np.where((others > 0) & (largest > 0), (outside - inside) / np.where(largest > 0, largest, 1.0), 0.0)


@functools.cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


@contextlib.contextmanager
def _one_thread_each() -> Iterator[Any]:
    """Hold the numerical libraries to one thread; OpenMP counts per caller, so a new thread must be told as well."""
    with _threads().limit(limits=1):
        yield functools.partial(_threads().limit, limits=1, user_api="openmp")
