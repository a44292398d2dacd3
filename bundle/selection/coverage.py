"""How well a selection covers the pool, after each image: the distance that is left to the nearest chosen one.

Look at both figures. Farthest points (``ca``) lower the largest distance; in a pool without clear clusters that costs
mean distance, where chance, which follows the density, may do better.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bundle.embedding import Embeddings, unit_length
from bundle.selection.similarity import squared_distances

_PICKS = 128  # chosen images whose distances to a block of the pool are held together
_ROWS = 4096
_EQUAL = 2e-13  # of the squared length: nearer than float32 can tell vectors apart


@dataclasses.dataclass(frozen=True, eq=False)
class CoverageCurve:
    """Coverage against budget.

    Attributes:
        budget: (B,) images chosen, 1 to B.
        mean: (B,) mean over the pool of the distance to the nearest chosen or labelled image; lower is better.
        largest: (B,) the greatest of those distances, the radius of coverage.
        scale: what both were divided by, the mean distance of the pool to its centre: 1 is as good as one image that
            lies at the very centre.
    """

    budget: NDArray[np.intp]
    mean: NDArray[np.float64]
    largest: NDArray[np.float64]
    scale: float

    @property
    def knee(self) -> int | None:
        """The budget after which ``mean`` falls slower than on average, where it bends most; None if it nowhere bends.

        The point farthest below the chord from the first to the last point (Satopaa et al. 2011, "Kneedle",
        doi:10.1109/ICDCSW.2011.20, without its smoothing).
        """
        fall = self.mean[0] - self.mean[-1]
        if len(self.mean) < 3 or fall <= 0:
            return None
        along = np.linspace(0.0, 1.0, len(self.mean))
        below_chord = 1.0 - along - (self.mean - self.mean[-1]) / fall
        best = int(np.argmax(below_chord))
        return int(self.budget[best]) if below_chord[best] > 1e-9 else None


def coverage_curve(
    embeddings: Embeddings,
    selected: Sequence[str],
    *,
    labelled: Collection[str] = (),
    over: Collection[str] | None = None,
    normalise: bool = True,
) -> CoverageCurve:
    """Coverage of the images of ``embeddings`` after each image of ``selected``. Costs O(N D B) in matrix products.

    Args:
        embeddings: the pool, N images, with those selected and labelled.
        selected: B ids, in the order of the selection, at least one.
        labelled: ids that were there before the first; those without an embedding are left out.
        over: ids of the images whose distances are taken, such as a random sample of the pool; all by default.
        normalise: at length 1 (L2) first, so that distances rank as angles do.

    Raises:
        ValueError: ``selected`` is empty or has an id without an embedding.
    """
    if not len(selected):
        raise ValueError("coverage needs one selected image at least, got none")
    before = sorted(set(labelled) & set(embeddings.ids))
    covered = embeddings if over is None else embeddings.subset(sorted(over))
    centre = sum(block.sum(axis=0) for block in _blocks(covered.vectors, normalise)) / len(covered)
    points = _points(embeddings, selected, normalise) - centre
    already = _points(embeddings, before, normalise) - centre if before else points[:0]

    total = np.zeros(len(selected))
    largest = np.zeros(len(selected))
    spread = 0.0
    for vectors in _blocks(covered.vectors, normalise):
        block = vectors - centre  # near the origin the expanded square loses the fewest digits
        spread += float(np.linalg.norm(block, axis=1).sum())
        nearest = np.full(len(block), np.inf)
        for start in range(0, len(already), _PICKS):
            nearest = np.minimum(nearest, _squares(block, already[start : start + _PICKS]).min(axis=1))
        for start in range(0, len(selected), _PICKS):
            squares = _squares(block, points[start : start + _PICKS])
            squares[:, 0] = np.minimum(squares[:, 0], nearest)
            left = np.minimum.accumulate(squares, axis=1)
            nearest = left[:, -1]
            distances = np.sqrt(left)
            picks = slice(start, start + distances.shape[1])
            total[picks] += distances.sum(axis=0)
            largest[picks] = np.maximum(largest[picks], distances.max(axis=0))
    scale = spread / len(covered)
    divisor = scale if scale > 0 else 1.0  # a pool of equal vectors is covered by any of them
    return CoverageCurve(np.arange(1, len(selected) + 1), total / len(covered) / divisor, largest / divisor, scale)


def _squares(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distances (P, O); 0 for equal points, of which the expanded square leaves the digits that it lost."""
    squares = squared_distances(points, others)
    squares[squares <= _EQUAL * np.einsum("ij,ij->i", points, points)[:, None]] = 0.0
    return squares


def _points(embeddings: Embeddings, ids: Sequence[str], normalise: bool) -> NDArray[np.float64]:
    return np.concatenate(list(_blocks(embeddings.subset(ids).vectors, normalise)))


def _blocks(vectors: NDArray[np.float32], normalise: bool) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(vectors), _ROWS):
        block = np.asarray(vectors[start : start + _ROWS])
        yield (unit_length(block) if normalise else block).astype(np.float64)
