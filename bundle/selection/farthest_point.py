"""Farthest point sampling: always the point that lies farthest from everything chosen so far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_BLOCK_ENTRIES = 1 << 18  # 1 MiB of float32 differences, which stays in the processor's cache


def farthest_point_sampling(
    vectors: NDArray[np.float32],
    count: int,
    *,
    start_from: Sequence[int] | NDArray[np.intp] = (),
    first: int = 0,
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Pick ``count`` rows, each the farthest from its nearest neighbour among those already chosen.

    The greedy 2-approximation of the k-center problem (Gonzalez 1985, doi:10.1016/0304-3975(85)90224-5), which Jin et
    al. 2022 use inside clusters. A tie goes to the smallest row, so equal vectors are taken in order, after all others.
    The first k of n picks are the k picks. Costs O(N D (count + len(start_from))) time and O(N) memory.

    Distances are taken from differences, not from the expanded square: equal vectors are exactly 0 apart.

    Args:
        vectors: (N, D) float32.
        count: number of rows to pick, 0 to N less those of ``start_from``.
        start_from: rows that are already chosen; they repel the picks and are not picked.
        first: the first pick where ``start_from`` is empty.

    Returns:
        The rows picked, (count,), in order; and the Euclidean distance of each to the nearest one chosen before it,
        (count,), infinite for the first where there was none.
    """
    chosen = np.unique(np.asarray(start_from, dtype=np.intp))
    if not 0 <= count <= len(vectors) - len(chosen):
        raise ValueError(f"count must be 0 to {len(vectors) - len(chosen)}, the rows not chosen yet, got {count}")
    picks = np.empty(count, dtype=np.intp)
    distances = np.empty(count, dtype=np.float32)
    nearest = np.full(len(vectors), np.inf, dtype=np.float32)  # squared distance to the nearest chosen row
    for row in chosen:
        _update_nearest(nearest, vectors, vectors[row])
    nearest[chosen] = -1.0  # below every distance: never the farthest
    for rank in range(count):
        pick = first if rank == 0 and not len(chosen) else int(np.argmax(nearest))  # argmax takes the first of equals
        picks[rank], distances[rank] = pick, np.sqrt(nearest[pick])
        if rank + 1 < count:
            _update_nearest(nearest, vectors, vectors[pick])
        nearest[pick] = -1.0
    return picks, distances


def squared_distances(vectors: NDArray[np.float32], point: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared Euclidean distances (N,) float32 of the rows of ``vectors`` (N, D) to ``point`` (D,)."""
    found = np.empty(len(vectors), dtype=np.float32)
    for rows in _blocks(vectors):
        difference = vectors[rows] - point
        np.einsum("ij,ij->i", difference, difference, out=found[rows])
    return found


def _update_nearest(nearest: NDArray[np.float32], vectors: NDArray[np.float32], point: NDArray[np.float32]) -> None:
    np.minimum(nearest, squared_distances(vectors, point), out=nearest)


def _blocks(vectors: NDArray[np.float32]) -> list[slice]:
    step = max(1, _BLOCK_ENTRIES // vectors.shape[1])
    return [slice(start, start + step) for start in range(0, len(vectors), step)]
