"""K-means with its chance and its threads under control, and the silhouette of many clusterings in one pass."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from tqdm import tqdm

from bundle.run.seeds import derive_seed, numpy_stream
from bundle.selection.threads import one_thread_each

logger = logging.getLogger(__name__)

N_INIT = 10  # restarts; k-means++ alone still lands in a poor optimum now and then
FULL_UP_TO = 50_000  # images; restarts over all of more take minutes on two cores
SAMPLE = 10_000  # images on which K-means starts in a larger pool: 500 a cluster at K = 20
SAMPLE_PER_CLUSTER = 50  # and at least; the steps over all images then settle the centres
FULL_STEPS = 10  # steps of Lloyd over all images of a larger pool; they start next to an optimum
FULL_COMPARISONS = 2_000_000_000  # of an image with a centre in these steps, about 10 s on one free core
SILHOUETTE_EXACT_UP_TO = 50_000  # images; all pairs of more take minutes on two cores
SILHOUETTE_SAMPLE = 20_000  # images scored in a larger pool; as exact as the curve of a pool of that size
TIE = 1e-6  # silhouettes that differ by less are equal; rounding changes them by some 1e-7
_TOLERANCE = 1e-4  # scikit-learn's: stop when the centres' shift is this part of the mean variance
_BLOCK_ROWS = 8192  # 8 MiB of rows with 256 features
_BLOCK_SIDE = 2048  # 16 MiB of float32 distances at a time
_CANCELS = 3e-4  # of the norms: a square below this part of them has lost too many digits in float32
_PROGRESS_AFTER = 5  # seconds


@dataclasses.dataclass(frozen=True, eq=False)
class Clustering:
    """A partition of N rows into K clusters, none empty, the largest first (ties: the one with the smallest row).

    Attributes:
        labels: (N,) cluster of every row, 0 to K - 1.
        centres: (K, D) mean of each cluster's members, float32 or, where the rows were clustered so, float64.
    """

    labels: NDArray[np.intp]
    centres: NDArray[np.floating]

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
        scored: number of rows that were scored, each against all of these.
    """

    k: tuple[int, ...]
    score: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    scored: int


def kmeans(
    vectors: NDArray[np.float32], k: int, *, seed: int, n_init: int = N_INIT, dtype: DTypeLike = np.float32
) -> Clustering:
    """Cluster the rows of ``vectors`` (N, D) by K-means with k-means++ seeding (scikit-learn, Lloyd).

    The same seed gives the same clusters for any number of threads: sums over threads would be rounded in the order in
    which the threads finish, so one thread does it. Costs O(N D k) an iteration, up to 300 of them ``n_init`` times.

    Above ``FULL_UP_TO`` rows the restarts run on a random sample of ``SAMPLE`` rows, or ``SAMPLE_PER_CLUSTER`` k where
    that is more; the best of them then goes on over all rows, for at most ``FULL_STEPS`` steps of
    Lloyd, and at least one, that compare ``FULL_COMPARISONS`` pairs of row and centre together.

    Args:
        vectors: (N, D) float32, finite.
        k: clusters wanted, at least 1; more than N means N. Fewer come back where fewer vectors differ.
        seed: of the k-means++ seeding.
        n_init: restarts; the one with the least inertia is kept.
        dtype: float32 will do for rows of length 1. Others take float64: beside a row of ten million times the others'
            length the distances between these vanish in float32, and with entries of 1e-20 all do.
    """
    return kmeans_for_each(vectors, [k], seed=seed, n_init=n_init, dtype=dtype)[0]


def kmeans_for_each(
    vectors: NDArray[np.float32], ks: Sequence[int], *, seed: int, n_init: int = N_INIT, dtype: DTypeLike = np.float32
) -> list[Clustering]:
    """``kmeans`` for every k of ``ks``, one a core at a time; each has the result it has alone."""
    fit = functools.partial(_fit, vectors, seed=seed, n_init=n_init, dtype=dtype)
    bar = tqdm(total=len(ks), desc="K-means", delay=_PROGRESS_AFTER, disable=None, leave=False)
    with one_thread_each() as limit_thread, warnings.catch_warnings(), bar as progress:
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer vectors differ than k: said by Clustering.k
        if len(ks) == 1:
            return [fit(ks[0])]
        found = []
        with ThreadPoolExecutor(os.cpu_count(), initializer=limit_thread) as workers:
            for clustering in workers.map(fit, ks):
                found.append(clustering)
                progress.update()
        return found


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
    a block of distances times the one-hot labels of all M side by side gives the sums over every cluster at once, and
    serves both its rows and its columns. Costs O(N² (D + sum K)) time and a few blocks of memory.

    Above ``exact_up_to`` rows a random ``sample`` of them makes the score, each of these against the others, as in
    scikit-learn's ``sample_size``: the cost stops growing with N. A row of the sample enters twice, as the one scored
    and as a neighbour of the others; as for a U-statistic of degree two (Hoeffding 1948,
    doi:10.1214/aoms/1177730196) that makes the standard error twice that of the mean.

    Args:
        vectors: (N, D) float32.
        labels: M arrays (N,), clusters from 0 without gaps.
        seed: of the sample.
    """
    return _curve(*_silhouettes(vectors, labels, seed=seed, exact_up_to=exact_up_to, sample=sample), len(vectors))


def silhouette_sample(n: int, *, seed: int, sample: int = SILHOUETTE_SAMPLE) -> NDArray[np.intp]:
    """The rows, ascending, that are scored in a pool of ``n`` rows that is too large to be scored whole."""
    return np.sort(numpy_stream(seed, "silhouette").choice(n, size=min(sample, n), replace=False))


def choose_k(
    vectors: NDArray[np.float32], *, k_min: int, k_max: int, seed: int, n_init: int = N_INIT
) -> tuple[Clustering, SilhouetteCurve | None]:
    """The clustering with the greatest mean silhouette for K from ``k_min`` to ``k_max``; the smaller K in a tie.

    In a pool that is scored whole, scores tie that rounding cannot tell apart (``TIE``). In a sampled one the smallest
    K is taken that is within one standard error of the best, row by row on the same sample (the rule of Breiman et al.
    1984, "Classification and Regression Trees", section 3.4.3): a K that another sample would not confirm is not
    worth more clusters, and K stays the same over more seeds.

    Returns:
        The clustering, and the curve over 2 to ``k_max``: what lies below ``k_min`` is shown, not chosen. A pool of n
        rows has no more than n - 1 clusters worth a silhouette, which lowers the bounds; with one or two rows there is
        one cluster and no curve.
    """
    k_max = min(k_max, len(vectors) - 1)
    k_min = min(k_min, k_max)
    if k_max < 2:
        return kmeans(vectors, 1, seed=seed), None
    ks = range(2, k_max + 1)
    clusterings = kmeans_for_each(vectors, ks, seed=seed, n_init=n_init)
    ks_found, values = _silhouettes(vectors, [found.labels for found in clusterings], seed=seed)
    curve = _curve(ks_found, values, len(vectors))
    eligible = np.where(np.asarray(ks) >= k_min, np.nan_to_num(curve.score, nan=-2.0), -np.inf)
    best = int(np.argmax(eligible))
    margin = TIE + _standard_error(np.nan_to_num(values[best] - values), len(vectors))
    return clusterings[int(np.argmax(eligible >= eligible[best] - margin))], curve


def distance_to_centre(vectors: NDArray[np.float32], clustering: Clustering) -> NDArray[np.floating]:
    """Euclidean distance (N,) of every row to the centre of its own cluster, in the precision of the centres."""
    found = np.empty(len(vectors), dtype=clustering.centres.dtype)
    for rows in _blocks(len(vectors), _BLOCK_ROWS):
        difference = vectors[rows] - clustering.centres[clustering.labels[rows]]
        np.sqrt(np.einsum("ij,ij->i", difference, difference), out=found[rows])
    return found


def _fit(vectors: NDArray[np.float32], k: int, *, seed: int, n_init: int, dtype: DTypeLike) -> Clustering:
    k = min(k, len(vectors))
    state = derive_seed(seed, "kmeans", k) % 2**32  # scikit-learn takes 32 bits
    search = KMeans(k, init="k-means++", n_init=n_init, random_state=state, copy_x=True)
    size = max(SAMPLE, SAMPLE_PER_CLUSTER * k)
    if len(vectors) <= max(FULL_UP_TO, size):
        return clustering_of(vectors, search.fit(vectors.astype(dtype, copy=False)).labels_, dtype=dtype)
    rows = np.sort(numpy_stream(seed, "kmeans", "sample").choice(len(vectors), size=size, replace=False))
    centres = search.fit(vectors[rows].astype(dtype, copy=False)).cluster_centers_
    return clustering_of(vectors, _lloyd(vectors, centres), dtype=dtype)


def _lloyd(vectors: NDArray[np.float32], centres: NDArray[np.floating]) -> NDArray[np.intp]:
    """Labels (N,) after at most ``FULL_STEPS`` steps over all rows, in blocks, so that no copy of them is made.

    Every step is computed in the precision of ``centres``.
    """
    variance = _variance(vectors, centres.dtype)
    steps = FULL_COMPARISONS // (len(vectors) * len(centres))
    for _ in range(max(1, min(FULL_STEPS, steps))):
        labels = _nearest(vectors, centres)
        sums, sizes = _sums(vectors, labels, len(centres))
        # A centre that lost its rows stays where it is.
        moved = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres).astype(centres.dtype)
        shift = float(((moved - centres) ** 2).sum(dtype=np.float64))
        centres = moved
        if shift <= _TOLERANCE * variance:
            break
    return _nearest(vectors, centres)


def _nearest(vectors: NDArray[np.float32], centres: NDArray[np.floating]) -> NDArray[np.intp]:
    """The nearest of ``centres`` (K, D) for every row, the first of equals."""
    middle = centres.mean(axis=0)  # about it the expanded square loses the fewest digits
    about = centres - middle
    half_norms = np.einsum("ij,ij->i", about, about) / 2
    labels = np.empty(len(vectors), dtype=np.intp)
    for rows in _blocks(len(vectors), _BLOCK_ROWS):
        labels[rows] = np.argmin(half_norms - (vectors[rows] - middle) @ about.T, axis=1)
    return labels


def _sums(
    vectors: NDArray[np.float32], labels: NDArray[np.intp], k: int
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Sum (K, D) and number (K,) of every cluster's rows."""
    sums = np.zeros((k, vectors.shape[1]))
    for rows in _blocks(len(vectors), _BLOCK_ROWS):
        order = np.argsort(labels[rows], kind="stable")
        present, first = np.unique(labels[rows][order], return_index=True)
        sums[present] += np.add.reduceat(vectors[rows][order], first, axis=0, dtype=np.float64)
    return sums, np.bincount(labels, minlength=k)


def _variance(vectors: NDArray[np.float32], dtype: DTypeLike) -> float:
    """Mean over the features of the variance over the rows."""
    blocks = _blocks(len(vectors), _BLOCK_ROWS)
    mean = np.sum([vectors[rows].sum(axis=0, dtype=np.float64) for rows in blocks], axis=0) / len(vectors)
    near = mean.astype(dtype)
    squares = sum(float(np.square(vectors[rows] - near).sum(dtype=np.float64)) for rows in blocks)
    return squares / vectors.size


def clustering_of(vectors: NDArray[np.float32], found: NDArray[Any], *, dtype: DTypeLike = np.float32) -> Clustering:
    """The ``Clustering`` of ``vectors`` (N, D) by any labels (N,), in the order and with the centres that it has."""
    _, first_row, labels, sizes = np.unique(found, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first_row, -sizes))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    labels = rank[labels.reshape(-1)]
    sums, sizes = _sums(vectors, labels, len(order))
    return Clustering(labels, (sums / sizes[:, None]).astype(dtype))


def _silhouettes(
    vectors: NDArray[np.float32],
    labels: Sequence[NDArray[np.intp]],
    *,
    seed: int,
    exact_up_to: int = SILHOUETTE_EXACT_UP_TO,
    sample: int = SILHOUETTE_SAMPLE,
) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Number of clusters of each of the M clusterings, and the silhouette (M, scored) of every row that is scored."""
    ks = tuple(int(found.max()) + 1 for found in labels)
    if len(vectors) > exact_up_to:
        scored = silhouette_sample(len(vectors), seed=seed, sample=sample)
        vectors, labels = vectors[scored], [found[scored] for found in labels]
    starts = np.cumsum([0, *ks])
    one_hot = np.zeros((len(vectors), starts[-1]), dtype=np.float32)
    for found, start in zip(labels, starts[:-1], strict=True):
        one_hot[np.arange(len(found)), start + found] = 1.0
    sums = _summed_distances(vectors, one_hot)
    values = [
        _coefficients(sums[:, start:stop], found, np.bincount(found, minlength=stop - start))
        for found, start, stop in zip(labels, starts[:-1], starts[1:], strict=True)
    ]
    return ks, np.stack(values)


def _summed_distances(vectors: NDArray[np.float32], one_hot: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sum of each row's distances to the rows of every cluster (N, sum K), every block serving twice."""
    n = len(vectors)
    centred = vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    norms = np.einsum("ij,ij->i", centred, centred, dtype=np.float64)
    sums = np.zeros(one_hot.shape)
    blocks = _blocks(n, _BLOCK_SIDE)
    pairs = [(a, b) for i, a in enumerate(blocks) for b in blocks[i:]]
    for a, b in tqdm(pairs, desc="silhouettes", delay=_PROGRESS_AFTER, disable=None, leave=False):
        distances = _distances(centred, norms, a, b)
        sums[a] += distances @ one_hot[b]
        if a != b:
            sums[b] += distances.T @ one_hot[a]
    return sums


def _distances(centred: NDArray[np.float32], norms: NDArray[np.float64], a: slice, b: slice) -> NDArray[np.float32]:
    """Distances between the rows ``a`` and ``b``: in float32, and in float64 where near neighbours cancel in it."""
    squares = centred[a] @ centred[b].T
    squares *= -2
    squares += norms[a, None].astype(np.float32)
    squares += norms[b].astype(np.float32)
    if a == b:
        np.fill_diagonal(squares, np.inf)
    if squares.min() <= _CANCELS * (norms[a].max() + norms[b].max()):
        _repair(squares, centred, norms, a, b)
    if a == b:
        np.fill_diagonal(squares, 0)
    return np.sqrt(squares, out=squares)


def _repair(
    squares: NDArray[np.float32], centred: NDArray[np.float32], norms: NDArray[np.float64], a: slice, b: slice
) -> None:
    """Replace the squares that lost their digits: a few by differences, many by products in float64."""
    lost = squares <= _CANCELS * (norms[a, None] + norms[b]).astype(np.float32)
    rows, columns = np.nonzero(lost)
    if len(rows) * centred.shape[1] <= 4 * squares.size:
        for part in _blocks(len(rows), _BLOCK_ROWS):
            difference = centred[a][rows[part]] - centred[b][columns[part]]
            squares[rows[part], columns[part]] = np.einsum("ij,ij->i", difference, difference)
        return
    both = norms[a, None] + norms[b]
    wide = both - 2 * (centred[a].astype(np.float64) @ centred[b].astype(np.float64).T)
    wide[wide <= 1e-13 * both] = 0.0  # nearer than float32 can tell vectors apart: they are equal
    squares[rows, columns] = wide[rows, columns]


def _curve(ks: tuple[int, ...], values: NDArray[np.float64], n: int) -> SilhouetteCurve:
    return SilhouetteCurve(ks, values.mean(axis=1), _standard_error(values, n), values.shape[1])


def _standard_error(values: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Of the means over the last axis, whose entries are drawn from ``n`` without replacement and enter twice."""
    scored = values.shape[-1]
    if not 1 < scored < n:
        return np.zeros(values.shape[:-1])
    error: NDArray[np.float64] = 2 * values.std(axis=-1, ddof=1) * np.sqrt((1 - scored / n) / scored)
    return error


def _coefficients(sums: NDArray[np.float64], own: NDArray[np.intp], sizes: NDArray[np.intp]) -> NDArray[np.float64]:
    if len(sizes) < 2:
        return np.full(len(own), np.nan)
    rows = np.arange(len(own))
    others = sizes[own] - 1
    inside = sums[rows, own] / np.maximum(others, 1)
    # A cluster that the sample missed is nobody's nearest.
    means = np.divide(sums, sizes, out=np.full(sums.shape, np.inf), where=sizes > 0)
    means[rows, own] = np.inf
    outside = means.min(axis=1)
    outside[np.isinf(outside)] = 0.0
    largest = np.maximum(inside, outside)
    # All distances 0 (equal vectors in two clusters) and clusters of one count 0.
    return np.where((others > 0) & (largest > 0), (outside - inside) / np.where(largest > 0, largest, 1.0), 0.0)


def _blocks(n: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]
