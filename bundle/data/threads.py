"""Files decoded side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

from bundle.data.workers import worker_count

S = TypeVar("S")
T = TypeVar("T")


def in_threads(function: Callable[[S], T], items: Sequence[S], title: str) -> list[T]:
    """``function`` of every item, in order, with a progress bar where stderr is a terminal."""
    with ThreadPoolExecutor(worker_count()) as pool:
        return list(tqdm(pool.map(function, items), total=len(items), desc=title, disable=None, leave=False))
