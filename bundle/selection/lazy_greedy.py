"""Lazy greedy search: what an image would have added in an earlier step bounds what it adds now.

In a greedy choice by a submodular function an image adds less, the more there are, so only images whose bound reaches
the best are looked at again (Minoux 1978, doi:10.1007/BFb0006528).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", np.int64, np.float64)


def greatest_gain(
    bounds: NDArray[Number], gains_of: Callable[[NDArray[np.intp]], NDArray[Number]], *, at_once: int
) -> int:
    """The image that adds most now, the one of the smallest index among equals; its gain stands in ``bounds`` then.

    Args:
        bounds: (N,) what each image adds at most, below 0 where it may not be taken; those looked at are made right.
        gains_of: images (n,) to what each adds now (n,), at most its bound.
        at_once: images looked at together, those with the greatest bounds first; more are often looked at in vain.

    Raises:
        ValueError: no image may be taken.
    """
    waiting = bounds >= 0
    if not waiting.any():
        raise ValueError("there must be an image that may be taken, and all bounds are below 0")
    best, first = -1.0, len(bounds)
    while True:
        # A tie matters only to a smaller index: copies, all bounded alike, are not looked at one by one.
        reaching = bounds > best
        reaching[:first] |= bounds[:first] == best
        chunk = np.flatnonzero(waiting & reaching)
        if not len(chunk):
            return first
        if len(chunk) > at_once:
            chunk = _greatest(bounds, chunk, at_once)
        gains = gains_of(chunk)
        bounds[chunk] = gains
        waiting[chunk] = False
        if gains.max() >= best:
            smallest = int(chunk[gains == gains.max()].min())
            first = smallest if gains.max() > best else min(first, smallest)
            best = float(gains.max())


def _greatest(bounds: NDArray[Number], images: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """The ``count`` of the ``images`` (n,), ascending, with the greatest bounds, of equal ones the first.

    One that adds the most rules out all later images of the same bound, but none of the earlier ones.
    """
    values = bounds[images]
    least = np.partition(values, -count)[-count]
    above, level = images[values > least], images[values == least]
    return np.concatenate([above, level[: count - len(above)]])
