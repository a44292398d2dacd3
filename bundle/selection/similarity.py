"""Similarities of images that come out the same for any order of summation, and so for any number of threads.

Vectors of length 1 are rounded to multiples of 2^-26, about as fine as float32 holds them. Their inner products, and
all partial sums of these, are then multiples of 2^-52 below 2, which float64 holds without rounding. Similarities of 0
to 1 are rounded to whole numbers of 0 to ``ONE``, which float32 holds and float64 sums without rounding. So a greedy
search gives the same answer however its work is cut into blocks, and images as good as each other tie exactly.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bundle.selection.options import require_number

ONE = 2**24  # whole numbers up to it are exact in float32
_UNIT = 2.0**26  # its products need 2 * 26 bits of the 53 of float64
_SIDE = 1024  # 8 MiB of float64 at a time

Kernel = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Squared Euclidean distances of vectors of length 1, 0 to 4, to similarities, 0 to 1; 1 at distance 0."""


def cosine(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1 + cos) / 2, which is 1 - d² / 4 at length 1; a zero vector is taken to be 1 apart from the others."""
    return 1 - squares / 4


def proximity(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 - d / 2."""
    return 1 - np.sqrt(squares) / 2


def gaussian(width: float, *, option: str = "width") -> Kernel:
    """exp(-d² / width²). Raises ValueError, by the name of the ``option``, unless the width is finite and above 0."""
    require_number(option, width, above=True)

    def kernel(squares: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.exp(-((np.sqrt(squares) / width) ** 2))

    return kernel


def lattice_points(unit: NDArray[np.float32]) -> NDArray[np.float64]:
    """Vectors (M, D) of length 1 or 0, every entry rounded to a multiple of 2^-26."""
    points = unit.astype(np.float64)
    points *= _UNIT
    np.rint(points, out=points)
    points /= _UNIT
    return points


def similarity(points: NDArray[np.float64], others: NDArray[np.float64], kernel: Kernel) -> NDArray[np.float32]:
    """Similarity (P, O) of ``points`` (P, D) to ``others`` (O, D), all of them lattice points, in units of 1 / ONE."""
    return np.rint(kernel(squared_distances(points, others)) * ONE).astype(np.float32)


def similarity_matrix(points: NDArray[np.float64], kernel: Kernel) -> NDArray[np.float32]:
    """Similarity (M, M) of all pairs of ``points`` (M, D), in units of 1 / ONE. Costs M² D / 2 and 4 M² bytes."""
    matrix = np.empty((len(points), len(points)), dtype=np.float32)
    for start in range(0, len(points), _SIDE):
        rows = slice(start, start + _SIDE)
        for begin in range(start, len(points), _SIDE):
            columns = slice(begin, begin + _SIDE)
            matrix[rows, columns] = similarity(points[rows], points[columns], kernel)
            matrix[columns, rows] = matrix[rows, columns].T
    return matrix


def squared_distances(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared Euclidean distances (P, O) of ``lattice_points``; 0 for equal ones."""
    squares = points @ others.T
    squares *= -2
    squares += _squared_lengths(points)[:, None] + _squared_lengths(others)
    return np.maximum(squares, 0, out=squares)


def median_distance(points: NDArray[np.float64], stream: np.random.Generator, *, sample: int = 1000) -> float:
    """Median Euclidean distance of the pairs of different points among ``sample`` random ones; 1 where none differ."""
    drawn = points[np.sort(stream.permutation(len(points))[:sample])]
    squares = squared_distances(drawn, drawn)[np.triu_indices(len(drawn), 1)]
    apart = squares[squares > 0]
    return float(np.sqrt(np.median(apart))) if len(apart) else 1.0


def _squared_lengths(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.einsum("ij,ij->i", points, points)
