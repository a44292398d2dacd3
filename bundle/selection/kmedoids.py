"""``kmedoids``: as many medoids as the budget, the K-median baseline of contrastive annotation (Jin et al. 2022)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bundle.selection.greedy_cover import SAMPLE, Sample, cover_greedily, labelled_cover
from bundle.selection.options import require_whole
from bundle.selection.similarity import ONE, lattice_points, proximity, similarity_matrix, squared_distances
from bundle.selection.strategy import Pick, Pool, Ranking, strategy

_CELLS = 1 << 21  # 16 MiB of float64 distances at a time


@strategy(
    "kmedoids",
    nested=False,
    summary="the images with the least summed distance of all images to the nearest of them",
    good_for="typical images, when the budget is final",
    cost="min(N, 20 000)² D and again a pass, then N D B",
    paper="Kaufman & Rousseeuw 1990 (PAM); the K-median of Jin et al. 2022",
)
def k_medoids(pool: Pool, budget: int, *, sample: int = SAMPLE) -> Ranking:
    """The medoids of k = budget + labelled clusters; labelled images are medoids that stay.

    The sum over the pool of the Euclidean distance to the nearest medoid, on vectors of length 1, is lowered by PAM
    (Kaufman and Rousseeuw 1990, "Finding Groups in Data", chapter 2): BUILD takes one image after the other, each the
    one that lowers it most; SWAP then exchanges a medoid for another image as long as that lowers it. The exchanges are
    tried in FasterPAM's order (Schubert and Rousseeuw 2021, arXiv 2008.05171): each image in turn against all medoids
    at once, the best exchange made at once where it is one. The result is a local optimum: no single exchange betters
    it. There is no chance in it.

    Ranks go by the size of the cluster, the largest first; the score is the number of its images.
    Not nested: every medoid depends on how many there are.

    Costs M² D / 2 for the distances of M = min(N, ``sample``) images, O(M²) for each pass of SWAP, of which there are
    a few, O(N D k) for the clusters, and 4 M² bytes of memory: 1.5 GiB for the default. In a larger pool, as in CLARA
    (Kaufman and Rousseeuw 1990, chapter 3), a random M of the N images stand for it, medoids are sought among these,
    and then every image goes to its nearest; a budget beyond M is filled up at random.

    CLARA draws five samples of 40 + 2 k images and keeps the best; here there is one, as large as memory allows.

    Args:
        sample: images, at most, whose distances are computed.
    """
    require_whole("sample", sample, least=1)
    drawn = Sample.draw(pool, sample)
    matrix = similarity_matrix(drawn.points, proximity)
    fixed = labelled_cover(pool, drawn, proximity)
    count = min(budget, int(drawn.free.sum()))
    built, _ = cover_greedily(matrix, count, covered=fixed, free=drawn.free)
    found, coverage, swaps = swap_medoids(matrix, built, fixed=fixed, free=drawn.free)
    chosen = np.concatenate([drawn.rows[found], drawn.spare(pool, budget - count)])
    # The proximity is 1 - d / 2.
    return _rank(pool, chosen, {"mean_distance": 2 * (1 - coverage), "swaps": swaps, "sample": len(drawn.rows)})


def swap_medoids(
    matrix: NDArray[np.float32], medoids: NDArray[np.intp], *, fixed: NDArray[np.float32], free: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], float, int]:
    """Exchange medoids for other images until no exchange of one for one raises the coverage.

    Coverage is the mean over M images of the similarity to the nearest medoid, or to the nearest fixed one.

    Args:
        matrix: (M, M) similarities from ``similarity_matrix``.
        medoids: (k,) images to start with.
        fixed: (M,) similarity to the nearest medoid that cannot be exchanged, 0 where there is none.
        free: (M,) bool, images that may become medoids.

    Returns:
        The medoids (k,), their coverage, 0 to 1, and how many exchanges were made.
    """
    state = _Medoids(matrix, medoids, fixed)
    candidates = np.flatnonzero(free)
    swaps = tried = position = 0
    while len(medoids) and tried < len(candidates):
        candidate = int(candidates[position])
        position = (position + 1) % len(candidates)
        tried += 1
        if not state.is_medoid[candidate] and state.try_swap(candidate):
            swaps += 1
            tried = 0
    return state.medoids, state.coverage, swaps


class _Medoids:
    """Medoids, and for every image the two nearest of them.

    ``nearest`` and ``second`` are positions in ``medoids``; position k stands for the fixed ones.
    """

    def __init__(self, matrix: NDArray[np.float32], medoids: NDArray[np.intp], fixed: NDArray[np.float32]) -> None:
        self.medoids = medoids.copy()
        self.is_medoid = np.zeros(len(matrix), dtype=bool)
        self.is_medoid[medoids] = True
        self._matrix = matrix
        self._fixed = fixed
        n = len(matrix)
        self._nearest, self._second = np.empty(n, dtype=np.intp), np.empty(n, dtype=np.intp)
        self._first_similarity, self._second_similarity = np.empty_like(fixed), np.empty_like(fixed)
        step = max(1, _CELLS // (len(medoids) + 1))
        for start in range(0, n, step):
            self._look_up(np.arange(start, min(start + step, n)))
        self._loss = self._losses()

    @property
    def coverage(self) -> float:
        """Mean similarity of the images to the nearest medoid, 0 to 1."""
        return float(self._first_similarity.mean(dtype=np.float64)) / ONE

    def try_swap(self, candidate: int) -> bool:
        """Exchange the medoid for which ``candidate`` raises the coverage most; False, and nothing, if none does.

        Sums are of whole numbers below 2^53, so a gain of 0 is exactly 0 and the search comes to an end.
        """
        similarity = self._matrix[candidate]
        near = np.flatnonzero(similarity > self._second_similarity)
        first, second = self._first_similarity[near], self._second_similarity[near]
        gained = np.maximum(similarity[near] - first, 0).sum(dtype=np.float64)
        # Those whose nearest medoid goes fall back to the candidate in place of their second nearest.
        caught = np.bincount(
            self._nearest[near], np.minimum(similarity[near], first) - second, minlength=len(self._loss)
        )
        gains = (gained + caught - self._loss)[:-1]
        out = int(np.argmax(gains))
        if gains[out] <= 0:
            return False
        self._exchange(out, candidate)
        return True

    def _exchange(self, out: int, candidate: int) -> None:
        self.is_medoid[[self.medoids[out], candidate]] = False, True
        self.medoids[out] = candidate
        lost = (self._nearest == out) | (self._second == out)
        similarity = self._matrix[candidate]
        nearer = ~lost & (similarity > self._first_similarity)
        between = ~lost & ~nearer & (similarity > self._second_similarity)
        self._second[nearer] = self._nearest[nearer]
        self._second_similarity[nearer] = self._first_similarity[nearer]
        self._nearest[nearer] = out
        self._first_similarity[nearer] = similarity[nearer]
        self._second[between] = out
        self._second_similarity[between] = similarity[between]
        self._look_up(np.flatnonzero(lost))
        self._loss = self._losses()

    def _look_up(self, images: NDArray[np.intp]) -> None:
        similarity = np.vstack([self._matrix[np.ix_(self.medoids, images)], self._fixed[images]])
        columns = np.arange(len(images))
        self._nearest[images] = similarity.argmax(axis=0)
        self._first_similarity[images] = similarity[self._nearest[images], columns]
        similarity[self._nearest[images], columns] = -1
        self._second[images] = similarity.argmax(axis=0)
        self._second_similarity[images] = similarity[self._second[images], columns]

    def _losses(self) -> NDArray[np.float64]:
        """Coverage that is lost (k + 1) without each medoid, all of its images going to their second nearest."""
        lost = self._first_similarity - self._second_similarity
        return np.bincount(self._nearest, lost, len(self.medoids) + 1)  # type: ignore[return-value]


def _rank(pool: Pool, chosen: NDArray[np.intp], diagnostics: dict[str, float | int]) -> Ranking:
    medoids = np.concatenate([np.flatnonzero(pool.labelled), chosen])
    found = _nearest_medoid(pool, medoids)
    found[medoids] = np.arange(len(medoids))  # of two equal medoids each has itself
    sizes = np.bincount(found, minlength=len(medoids))
    order = np.lexsort((medoids, -sizes))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    picks = [
        Pick(int(medoids[medoid]), float(sizes[medoid]), f"medoid of cluster {cluster + 1}", cluster)
        for cluster, medoid in enumerate(order)
        if not pool.labelled[medoids[medoid]]
    ]
    held = pool.labelled[medoids[order]]
    return Ranking(
        picks,
        rank[found],
        {
            "k": len(medoids),
            "cluster_sizes": {cluster + 1: int(size) for cluster, size in enumerate(sizes[order])},
            "quotas": {cluster + 1: int(not has) for cluster, has in enumerate(held)},
            "held": {cluster + 1: int(has) for cluster, has in enumerate(held)},
            **diagnostics,
        },
    )


def _nearest_medoid(pool: Pool, medoids: NDArray[np.intp]) -> NDArray[np.intp]:
    points = lattice_points(pool.unit_of(medoids))
    nearest = np.empty(len(pool), dtype=np.intp)
    step = max(1, _CELLS // len(medoids))
    for start in range(0, len(pool), step):
        rows = np.arange(start, min(start + step, len(pool)))
        squares = squared_distances(lattice_points(pool.unit_of(rows)), points)
        nearest[rows] = squares.argmin(axis=1)
    return nearest
