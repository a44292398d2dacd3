"""The images that cover all others best: each one taken adds most to the sum of similarities to the nearest taken.

With S the images taken and s a similarity of 0 to 1, the coverage of M images is

    C(S) = 1 / M  sum over i  of  max over j in S of s(i, j),    0 where S is empty.

It is monotone and submodular: an image adds less, the more there are. So the greedy order reaches 1 - 1/e of the best
coverage of any budget (Nemhauser, Wolsey and Fisher 1978, doi:10.1007/BF01588971), and the search for it may be lazy.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bundle.selection.lazy_greedy import greatest_gain
from bundle.selection.similarity import ONE, Kernel, lattice_points, similarity, similarity_matrix
from bundle.selection.strategy import Pick, Pool, Ranking

SAMPLE = 20_000  # images; their similarities take 1.5 GiB, and the authors of MaxHerding draw 35 000 for a large GPU
_CHUNK = 64  # images looked at again together
_BLOCK = 1024  # labelled images whose similarities are held together
_PROGRESS_AFTER = 5  # seconds


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """The images whose similarities are computed: all of the pool, or a random sample of a larger one.

    Attributes:
        rows: (M,) rows of the pool, ascending.
        points: (M, D) their vectors at length 1, from ``lattice_points``.
        free: (M,) bool, those that may be chosen.
        others: (N - M,) the pool's other rows in random order.
    """

    rows: NDArray[np.intp]
    points: NDArray[np.float64]
    free: NDArray[np.bool_]
    others: NDArray[np.intp]

    @classmethod
    def draw(cls, pool: Pool, size: int) -> Sample:
        """``size`` images of ``pool``, the same ones for any budget and any labels, or all where it has no more."""
        order = pool.stream("sample").permutation(len(pool)) if len(pool) > size else np.arange(len(pool))
        rows = np.sort(order[:size])
        points = lattice_points(pool.unit_of(rows))
        return cls(rows, points, pool.candidates[rows], order[size:])

    def spare(self, pool: Pool, count: int) -> NDArray[np.intp]:
        """The first ``count`` of the other rows that may be chosen: what a budget beyond the sample is filled with."""
        return self.others[pool.candidates[self.others]][:count]


def labelled_cover(pool: Pool, sample: Sample, kernel: Kernel) -> NDArray[np.float32]:
    """Similarity (M,) of every image of ``sample`` to the nearest labelled one of the pool, in units of 1 / ONE."""
    covered = np.zeros(len(sample.rows), dtype=np.float32)
    labelled = np.flatnonzero(pool.labelled)
    for start in range(0, len(labelled), _BLOCK):
        points = lattice_points(pool.unit_of(labelled[start : start + _BLOCK]))
        for begin in range(0, len(covered), _BLOCK):
            part = slice(begin, begin + _BLOCK)
            nearest = similarity(points, sample.points[part], kernel).max(axis=0)
            covered[part] = np.maximum(covered[part], nearest)
    return covered


def cover_greedily(
    matrix: NDArray[np.float32], count: int, *, covered: NDArray[np.float32], free: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Take ``count`` images one by one, each the one that adds most to the coverage; a tie goes to the smaller index.

    The first k of n are the k, and a search that starts with these covered goes on with the others. Costs O(M²) for the
    first image and for the second, where most bounds fall, and little for each of the others.

    Args:
        matrix: (M, M) similarities from ``similarity_matrix``.
        count: at most the number of those ``free``.
        covered: (M,) similarity to the nearest image taken before, in units of 1 / ONE.
        free: (M,) bool, those that may be taken.

    Returns:
        The images taken, (count,), and what each added to the coverage, (count,), 0 to 1.
    """
    bounds = np.full(len(matrix), float(ONE) * len(matrix))
    bounds[~free] = -1
    covered = covered.copy()
    taken = np.empty(count, dtype=np.intp)
    added = np.empty(count)
    for rank in tqdm(range(count), desc="coverage", delay=_PROGRESS_AFTER, disable=None, leave=False):
        best = greatest_gain(bounds, functools.partial(_gains, matrix, covered), at_once=_CHUNK)
        taken[rank] = best
        added[rank] = bounds[best] / (float(ONE) * len(matrix))
        covered = np.maximum(covered, matrix[best])
        bounds[best] = -1
    return taken, added


def _gains(matrix: NDArray[np.float32], covered: NDArray[np.float32], images: NDArray[np.intp]) -> NDArray[np.float64]:
    """What each of ``images`` adds to the sum of similarities, in units of 1 / ONE."""
    found: NDArray[np.float64] = np.maximum(matrix[images], covered).sum(axis=1, dtype=np.float64)
    return found - covered.sum(dtype=np.float64)


def rank_by_cover(pool: Pool, budget: int, sample: Sample, kernel: Kernel, diagnostics: dict[str, Any]) -> Ranking:
    """Rank ``budget`` rows by what they add to the coverage of ``sample``; labelled images of the pool cover first.

    What is beyond the sample follows at random, with score 0.
    """
    covered = labelled_cover(pool, sample, kernel)
    count = min(budget, int(sample.free.sum()))
    start = float(covered.mean(dtype=np.float64)) / ONE
    taken, added = cover_greedily(similarity_matrix(sample.points, kernel), count, covered=covered, free=sample.free)
    reason = "adds most to the coverage of the pool"
    picks = [Pick(int(sample.rows[i]), float(gain), reason) for i, gain in zip(taken, added, strict=True)]
    picks += [
        Pick(int(row), 0.0, "drawn at random beyond the sample that was covered")
        for row in sample.spare(pool, budget - count)
    ]
    found = {"coverage_before": start, "coverage": start + float(added.sum()), "sample": len(sample.rows)}
    return Ranking(picks, diagnostics={**found, **diagnostics})
