"""Two ways of one piece of work, timed side by side, and what the machine itself allows."""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Mapping

import torch


@dataclasses.dataclass(frozen=True)
class Speed:
    """A stage done in two ways in one process.

    Attributes:
        stage: what was done.
        plain: images a second of the plain way, the median of the runs.
        bundle: images a second of this package, the median of the runs.
        reach: the ratio that is aimed at on two cores.
        work: what there is to do for an image, counted.
        floor: images a second if the machine did that work and nothing else, or None where it was not measured.
        note: what both ways were, and how their results compare.
    """

    stage: str
    plain: float
    bundle: float
    reach: float
    work: str
    floor: float | None
    note: str

    @property
    def ratio(self) -> float:
        """How many times as fast as the plain way."""
        return self.bundle / self.plain

    @property
    def share_of_floor(self) -> float | None:
        """The part of the floor's rate that is reached, 0 to about 1."""
        return None if self.floor is None else self.bundle / self.floor


def side_by_side(ways: Mapping[str, Callable[[], object]], images: int, repeats: int) -> dict[str, float]:
    """Images a second of each way: the median over ``repeats`` rounds in which every way has its turn.

    A first round is not counted. On a machine with other work to do the rounds meet the same load.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, work in ways.items():
            start = time.perf_counter()
            work()
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    return {name: images / statistics.median(found) for name, found in seconds.items()}


def matrix_rate(precision: str, *, side: int = 1024, repeats: int = 5) -> float:
    """Floating-point operations a second in a square matrix product on the processor, the best of several."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = torch.rand(side, side, dtype=dtype), torch.rand(side, side, dtype=dtype)
    best = float("inf")
    for _ in range(repeats + 1):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


def operations(work: Callable[[], object]) -> int:
    """Floating-point operations of the convolutions and matrix products that ``work`` does, forward and backward."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def load() -> float:
    """Processes that wanted a core in the last minute, on average, this one included; per core."""
    return os.getloadavg()[0] / len(os.sched_getaffinity(0))
