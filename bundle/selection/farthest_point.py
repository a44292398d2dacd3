"""Farthest point sampling: always the point that lies farthest from everything chosen so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bundle.selection.threads import one_thread_each

_BLOCK_ROWS = 4096
_BLOCK_POINTS = 128  # 2 MiB of float32 squares with _BLOCK_ROWS
_LEADERS = 2048  # 2 MiB of rows with 256 features, which stays in the processor's cache
_BLURRED = 16  # a squared radius of as many errors of float32 leaves so many rows in question that float64 is faster
_PROGRESS_AFTER = 5  # seconds


def farthest_point_sampling(
    vectors: NDArray[np.float32],
    count: int,
    *,
    among: NDArray[np.intp] | None = None,
    start_from: Sequence[int] | NDArray[np.intp] = (),
    first: int | None = None,
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Pick ``count`` rows, each the farthest from its nearest neighbour among those already chosen.

    The greedy 2-approximation of the k-center problem (Gonzalez 1985, doi:10.1016/0304-3975(85)90224-5), which Jin et
    al. 2022 use inside clusters. A tie goes to the smallest row, so equal vectors are taken in order, after all others.
    The first k of n picks are the k picks.

    The picks are those of the plain loop in float64, for any number of threads. A row's distance to the chosen ones
    only falls, so an old one bounds it from above, and rows below the current radius can wait. The farthest is sought
    among a few leading rows; the others catch up with all picks they missed in one matrix product when their turn to
    lead comes. Products in float32 have a known rounding error: where it leaves several rows in question, differences
    in float64 decide, and once the radius falls to that error, products are in float64 too. Costs at most O(N D (count
    + len(start_from))) time and O(N) memory.

    Args:
        vectors: (N, D) float32.
        count: number of rows to pick, 0 to N less those of ``start_from``.
        among: the rows that there are, ascending, such as those of a cluster; no copy is made of them. All by default.
        start_from: rows out of these that are already chosen; they repel the picks and are not picked.
        first: the first pick where ``start_from`` is empty; the first row by default.

    Returns:
        The rows picked, (count,), in order; and the Euclidean distance of each to the nearest one chosen before it,
        (count,), infinite for the first where there was none.
    """
    rows = np.arange(len(vectors)) if among is None else among
    before = np.searchsorted(rows, np.unique(np.asarray(start_from, dtype=np.intp)))  # all below are places in ``rows``
    if not 0 <= count <= len(rows) - len(before):
        raise ValueError(f"count must be 0 to {len(rows) - len(before)}, the rows not chosen yet, got {count}")
    if count == 0:
        return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.float32)
    given = before if len(before) else np.array([0 if first is None else np.searchsorted(rows, first)])
    total = len(before) + count
    squares = np.full(total, np.inf)
    bar = tqdm(total=total - len(given), desc="farthest points", delay=_PROGRESS_AFTER, disable=None, leave=False)
    with one_thread_each(), bar as progress:  # most products are too small to share
        search = _Search(vectors, rows, given, total)
        for rank in range(len(given), total):
            row, squares[rank] = search.farthest()
            if squares[rank] == 0.0:  # all that is left repeats what is chosen
                left = np.setdiff1d(np.arange(len(rows)), search.chosen[:rank])
                search.chosen[rank:] = left[: total - rank]
                squares[rank:] = 0.0
                break
            search.choose(row)
            progress.update()
    return rows[search.chosen[len(before) :]], np.sqrt(squares[len(before) :]).astype(np.float32)


class _Search:
    """The rows chosen so far, and what is known of every row's squared distance to the nearest of them.

    Products are taken of rows shifted to the pool's mean, where they lose the fewest digits, and scaled by a power of
    two to entries of at most 1, whose squares do not overflow.

    Args:
        vectors: (M, D) float32.
        rows: (N,) of these that there are. Every row below is a place among them.
        given: rows chosen before.
        total: rows that will have been chosen in the end, those given included.
    """

    def __init__(
        self, vectors: NDArray[np.float32], rows: NDArray[np.intp], given: NDArray[np.intp], total: int
    ) -> None:
        n = len(rows)
        self._vectors, self._rows = vectors, rows
        self._mean, self._scale = _frame(vectors, rows)
        self.chosen = np.empty(total, dtype=np.intp)
        self._found = len(given)
        self.chosen[: self._found] = given
        self._exact = np.full(n, np.inf)  # to the first `_verified` chosen, by differences
        self._verified = np.zeros(n, dtype=np.int32)
        self._compute_in(np.float32)

    def _compute_in(self, dtype: type[np.floating]) -> None:
        """Take all products anew, in this precision."""
        n, dimensions = len(self._rows), self._vectors.shape[1]
        self._dtype = dtype
        blocks = (self._framed(part) for part in _blocks(n, _BLOCK_ROWS))
        norms = np.concatenate([np.einsum("ij,ij->i", part, part, dtype=np.float64) for part in blocks])
        self._norms = norms.astype(dtype)
        # Products of D terms, norms, shift and sum are rounded by c (|x|² + |p|²) at most (Higham 2002, section 3.1),
        # and |p|² is at most 2 |x|² + 2 d², so d² is within 3 c |x|² + 2 c d² of what is computed.
        c = 1.01 * (dimensions + 16) * float(np.finfo(dtype).eps) / 2
        self._slack = 3 * c * self._norms + dtype(1e-35)  # the constant covers squares that vanish
        self._stretch = 2 * c
        self._points = np.empty((len(self.chosen), dimensions), dtype=dtype)
        self._points[: self._found] = self._framed(self.chosen[: self._found])
        self._near = np.full(n, np.inf, dtype=dtype)  # to the first `_seen` chosen, by products; -1 if chosen
        self._near[self.chosen[: self._found]] = -1
        self._seen = np.zeros(n, dtype=np.int32)
        self._leaders = np.empty(0, dtype=np.intp)
        self._leading = np.empty((0, dimensions), dtype=dtype)
        self._threshold = np.inf  # no other row is as far as this
        self._blurred = 0.0  # a bound of the leaders up to here leaves too many in question
        self._catch_up(np.arange(n))

    def choose(self, row: int) -> None:
        """Add ``row`` to the chosen; the leaders are brought up to date, the others wait."""
        point = self._framed(np.array([row]))[0]
        self.chosen[self._found], self._points[self._found] = row, point
        self._found += 1
        squares = self._norms[self._leaders] + self._norms[row] - 2 * (self._leading @ point)
        self._near[self._leaders] = np.minimum(self._near[self._leaders], np.maximum(squares, 0))
        self._seen[self._leaders] = self._found
        self._near[row] = -1

    def farthest(self) -> tuple[int, float]:
        """The row farthest from the chosen, the smallest of several, and its squared distance to the nearest."""
        while True:
            row, square = self._farthest_leader()
            if square >= self._threshold:
                return row, square / self._scale**2
            self._lead(square if row >= 0 else np.inf)

    def _farthest_leader(self) -> tuple[int, float]:
        lower, upper = self._bounds(self._leaders)
        if 0 < upper.max(initial=-1) <= self._blurred:
            self._compute_in(np.float64)
            return -1, -1.0
        rows = self._leaders[upper >= lower.max(initial=0)]
        if not len(rows):
            return -1, -1.0
        self._verify(rows)
        best = int(np.argmax(self._exact[rows]))  # argmax takes the first of equals
        return int(rows[best]), float(self._exact[rows[best]])

    def _lead(self, known: float) -> None:
        """Choose new leaders: rows that may be as far as ``known``, which some row is, and many where there are."""
        _, upper = self._bounds(slice(None))
        threshold = max(0.0, min(known, _nth_largest(upper, _LEADERS)))
        rows = np.flatnonzero(upper >= threshold)
        self._catch_up(rows)
        lower, upper = self._bounds(rows)
        # So many rows are at least this far that the farthest is among them for certain.
        self._threshold = max(threshold, _nth_largest(lower, _LEADERS))
        self._leaders = rows[upper >= self._threshold]
        self._leading = self._framed(self._leaders)
        self._blurred = _BLURRED * float(np.median(self._slack[rows])) if self._dtype is np.float32 else 0.0

    def _catch_up(self, rows: NDArray[np.intp]) -> None:
        """Compare ``rows`` with the chosen ones that they have not seen."""
        for since, late in self._behind(rows, self._seen):
            for part in _parts(late, _BLOCK_ROWS):
                framed = self._framed(part)
                for points in _blocks(self._found, _BLOCK_POINTS, since):
                    nearest = np.maximum(self._products(part, framed, points).min(axis=1), 0)
                    self._near[part] = np.minimum(self._near[part], nearest)
        self._seen[rows] = self._found

    def _verify(self, rows: NDArray[np.intp]) -> None:
        """Settle the squared distances of ``rows`` by differences to the chosen rows that may be nearest."""
        for since, late in self._behind(rows[self._exact[rows] > 0], self._verified):  # nothing is nearer than 0
            for part in _parts(late, _BLOCK_POINTS):
                squares = self._products(part, self._framed(part), slice(since, self._found))
                slack = self._slack[part, None]
                nearest = (squares + slack).min(axis=1) / (1 - self._stretch)
                in_question = (squares - slack) / (1 + self._stretch) <= nearest[:, None]
                for pairs in _parts(np.argwhere(in_question), _BLOCK_ROWS):
                    row, point = part[pairs[:, 0]], self.chosen[since + pairs[:, 1]]
                    ends = (self._vectors[self._rows[end]] for end in (row, point))
                    difference = np.subtract(*ends, dtype=np.float64)
                    difference *= self._scale
                    np.minimum.at(self._exact, row, np.einsum("ij,ij->i", difference, difference))
        self._verified[rows] = self._found

    def _behind(self, rows: NDArray[np.intp], counts: NDArray[np.int32]) -> list[tuple[int, NDArray[np.intp]]]:
        """Those of ``rows`` that have met fewer than all chosen rows, by how many they have."""
        met = counts[rows]
        return [(int(count), rows[met == count]) for count in np.unique(met) if count < self._found]

    def _products(self, rows: NDArray[np.intp], framed: NDArray[np.floating], points: slice) -> NDArray[np.floating]:
        squares = framed @ self._points[points].T
        squares *= -2
        squares += self._norms[rows, None]
        squares += self._norms[self.chosen[points]]
        return squares

    def _bounds(self, rows: NDArray[np.intp] | slice) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Between what the squared distances of ``rows`` lie; -1 for those chosen."""
        near, slack = self._near[rows], self._slack[rows]
        lower = np.maximum((near - slack) / (1 + self._stretch), 0)
        upper = (near + slack) / (1 - self._stretch)
        chosen = near < 0
        lower[chosen] = upper[chosen] = -1
        return lower, upper

    def _framed(self, rows: NDArray[np.intp] | slice) -> NDArray[np.floating]:
        framed = self._vectors[self._rows[rows]].astype(self._dtype, copy=False)
        framed -= self._mean
        framed *= self._dtype(self._scale)
        return framed


def _frame(vectors: NDArray[np.float32], rows: NDArray[np.intp]) -> tuple[NDArray[np.float32], float]:
    """Mean of the ``rows`` (D,), and the power of two that brings all entries to at most 1 about it."""
    parts = _parts(rows, _BLOCK_ROWS)
    total = np.sum([vectors[part].sum(axis=0, dtype=np.float64) for part in parts], axis=0)
    mean = (total / len(rows)).astype(np.float32)
    largest = max(float(np.abs(vectors[part] - mean).max()) for part in parts)
    return mean, float(2.0 ** min(126.0, -np.ceil(np.log2(largest)))) if largest > 0 else 1.0  # float32 ends there


def _nth_largest(values: NDArray[Any], n: int) -> float:
    n = min(n, len(values))
    return float(np.partition(values, -n)[-n])


def _parts(items: NDArray[np.intp], step: int) -> list[NDArray[np.intp]]:
    return [items[part] for part in _blocks(len(items), step)]


def _blocks(stop: int, step: int, start: int = 0) -> list[slice]:
    return [slice(begin, min(begin + step, stop)) for begin in range(start, stop, step)]
