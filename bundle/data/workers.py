"""Threads that work beside the network, one core each."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

MOST = 8  # decoding leaves Python's lock, and more threads than cores only cost memory


def worker_count() -> int:
    """As many workers as this process may use cores, ``MOST`` at most."""
    return min(MOST, len(os.sched_getaffinity(0)))


@contextlib.contextmanager
def beside_the_network(count: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """A pool of ``count`` threads, ``worker_count()`` by default, each of which computes with tensors on one core.

    A thread that uses tensors would otherwise gather a team of its own, as large as the network's, and the teams would
    wait for each other's cores. What has not begun when the block is left is given up.
    """
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(count or worker_count(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)  # threads that others start later take the number that was set last
