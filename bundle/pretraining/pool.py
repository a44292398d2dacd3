"""The pool as self-supervision sees it: every image with a number of its own, a few held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Dataset

from bundle.run.seeds import numpy_stream

# Views are scored on at most this many images: 255 negatives are those of an ordinary batch of 256 (SimCLR).
HELD_OUT = 256


def split_pool(entries: Sequence[dict[str, Any]], seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A tenth of the pool, at most 256 and at least 2 images, is held out for the choice of views.

    Args:
        entries: datalist entries with ``id`` and ``image``.
        seed: seed of the run.

    Returns:
        The entries to train on and those held out, sorted by id, each with ``index``, its number within the pool.

    Raises:
        ValueError: fewer than 8 images.
    """
    if len(entries) < 8:
        raise ValueError(f"pretraining needs at least 8 readable images in the pool, got {len(entries)}")
    ordered = sorted(entries, key=lambda entry: str(entry["id"]))
    numbered = [{"id": e["id"], "image": e["image"], "index": i} for i, e in enumerate(ordered)]
    count = min(HELD_OUT, max(2, len(numbered) // 10))
    chosen = set(numpy_stream(seed, "held out").choice(len(numbered), count, replace=False).tolist())
    return [e for e in numbered if e["index"] not in chosen], [e for e in numbered if e["index"] in chosen]


def stack_images(dataset: Dataset) -> torch.Tensor:
    """All images of a compact dataset, (N, C, W, H) uint8."""
    return torch.stack([dataset[i]["image"] for i in range(len(dataset))])  # type: ignore[arg-type]
