"""Batches of images, read in threads while the network is busy with the batch before."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from monai.data import Dataset

from bundle.data.pictures import UnreadableImage
from bundle.data.workers import beside_the_network
from bundle.run import ranks
from bundle.run.quarantine import Quarantine

Item = dict[str, Any]


class ReadAhead:
    """What an evaluator takes for its loader: batches of a dataset in its order, read ahead of their use.

    Where a job has several processes, each reads its part of the dataset, see :func:`bundle.run.ranks.part`.

    An image that cannot be read is set aside alone, and the next one takes its place in the batch. Only canvases are
    kept for the batches to come, so that memory depends on the batch and not on the images' sizes or number.

    Args:
        dataset: gives items with ``image`` (C, size, size), all of one size, and whatever else they carry.
        batch_size: images a batch, at least 1; the last may have fewer.
        root: paths are told below this folder in ``quarantine.csv``.
        ahead: batches read before they are asked for.

    Yields:
        ``image``, (B, C, size, size) without metadata, and ``items``, the B items as the dataset gave them.

    Raises:
        RuntimeError: a transform failed with something else than :class:`UnreadableImage`, while batches are read.

    Attributes:
        aside: what was set aside in the last pass.
    """

    def __init__(
        self, dataset: Dataset, batch_size: int = 1, *, root: str | os.PathLike[str] | None = None, ahead: int = 2
    ) -> None:
        if batch_size < 1 or ahead < 1:
            raise ValueError(f"batch_size and ahead must be at least 1, got {batch_size} and {ahead}")
        self.dataset, self.batch_size, self.ahead = dataset, batch_size, ahead
        self.root = Path(root).resolve() if root is not None else None
        self.aside = Quarantine(self.root)

    def __iter__(self) -> Iterator[Item]:
        self.aside = Quarantine(self.root)
        with beside_the_network() as pool:
            readable = self._readable(pool)
            while items := list(islice(readable, self.batch_size)):
                yield {
                    "image": torch.stack([item["image"].as_subclass(torch.Tensor) for item in items]),
                    "items": items,
                }

    def _readable(self, pool: ThreadPoolExecutor) -> Iterator[Item]:
        """The items that can be read, in order, with ``ahead`` batches under way."""
        waiting: deque[tuple[int, Future[Item]]] = deque()
        positions = iter(ranks.part(len(self.dataset)))
        while True:
            for position in islice(positions, self.ahead * self.batch_size - len(waiting)):
                waiting.append((position, pool.submit(self.dataset.__getitem__, position)))
            if not waiting:
                return
            position, future = waiting.popleft()
            try:
                item = future.result()
            except Exception as error:
                self.aside.add(*_fault(error, self.dataset.data[position]))
            else:
                yield item


def _fault(error: BaseException, entry: Item) -> tuple[str, str]:
    """Which file of an entry cannot be read, its image or its label, and why.

    MONAI wraps what a reader raises; any other error is no matter of the files.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UnreadableImage):
            of_label = str(cause.path) == str(entry.get("label"))
            return entry["label" if of_label else "image"], f"{cause.kind}: {cause.reason}"
        cause = cause.__cause__
    raise error
