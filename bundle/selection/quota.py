"""How a budget is shared among clusters, one seat after the other.

Seats are given one by one, so more budget only ever adds seats. A rule that computes all quotas at once, such as
rounding up (which overshoots) or the largest remainder (under which a larger budget can take a seat away, the Alabama
paradox), would let an annotated image leave the selection.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

QUOTAS = ("equal", "proportional")


def seat_sequence(
    sizes: Sequence[int] | NDArray[np.intp],
    budget: int,
    *,
    quota: str,
    held: Sequence[int] | NDArray[np.intp] | None = None,
) -> NDArray[np.intp]:
    """The clusters that get a seat, in the order in which they get it.

    ``"equal"`` gives the next seat to a cluster with the fewest seats: rounds over the clusters, largest first.
    ``"proportional"`` gives it to the cluster with the most members per seat, size / (2 seats + 1): the divisor method
    of Sainte-Laguë (Webster), whose result is the rounded proportional share but for rare cases.
    Ties go to the larger cluster, then to the smaller index. A cluster without free members is passed over, so what a
    small cluster cannot take goes to the others by the same rule. Costs O((K + budget) log K).

    Args:
        sizes: members of each cluster (K,), those already chosen included.
        budget: seats to give, 0 to ``sum(sizes) - sum(held)``.
        quota: ``"equal"`` or ``"proportional"``.
        held: seats each cluster has already (K,), at most its size; none by default.

    Returns:
        Cluster index of every seat (budget,). The first k entries for n seats are the entries for k.
    """
    seats = [0] * len(sizes) if held is None else [int(count) for count in held]
    members = [int(size) for size in sizes]
    if quota not in QUOTAS:
        raise ValueError(f"quota must be one of {', '.join(QUOTAS)}, got {quota!r}")
    free = sum(members) - sum(seats)
    if not 0 <= budget <= free:
        raise ValueError(f"budget must be 0 to {free}, the members that are free, got {budget}")

    def priority(cluster: int) -> tuple[float, int, int]:
        urgency = seats[cluster] if quota == "equal" else -members[cluster] / (2 * seats[cluster] + 1)
        return urgency, -members[cluster], cluster

    queue = [priority(cluster) for cluster in range(len(members)) if seats[cluster] < members[cluster]]
    heapq.heapify(queue)
    given = np.empty(budget, dtype=np.intp)
    for seat in range(budget):
        cluster = queue[0][-1]
        given[seat] = cluster
        seats[cluster] += 1
        if seats[cluster] < members[cluster]:
            heapq.heapreplace(queue, priority(cluster))
        else:
            heapq.heappop(queue)
    return given
