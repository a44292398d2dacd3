"""The part of the pool that a seed chooses from.

A strategy without chance picks the same images of a pool whatever the seed, and ten trainings on them tell how good
these images are. Where every seed has its own part of the pool, they tell how good the strategy is.
"""

from __future__ import annotations

from collections.abc import Sequence

from bundle.run.seeds import numpy_stream


def draw_candidates(ids: Sequence[str], count: int, *, seed: int) -> tuple[str, ...]:
    """``count`` of ``ids``, in their order; all of them where ``count`` is their number."""
    if count == len(ids):
        return tuple(ids)
    drawn = numpy_stream(seed, "benchmark", "candidates").permutation(len(ids))[:count]
    return tuple(ids[row] for row in sorted(drawn))
