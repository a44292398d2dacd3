"""Masks that a model made, apart from those that an expert drew: a table of their own, and a weight in the loss."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.run.atomic import write_csv

FILE_NAME = "pseudo_labels.csv"
COLUMNS = ("id", "image", "mask", "agreement", "confidence")


def write_pseudo_labels(folder: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write the table: ``id``, ``image`` (absolute), ``mask`` (below the folder) and what the mask was chosen by."""
    return write_csv(Path(folder) / FILE_NAME, rows, COLUMNS)


def with_pseudo_labels(
    entries: Sequence[Mapping[str, Any]], table: str | os.PathLike[str] | None, weight: float
) -> list[dict[str, Any]]:
    """Entries with true labels, and behind them those of the table, each with its ``weight`` in the loss.

    No datalist ever holds a pseudo label: they join here, in memory, for one training.

    Args:
        entries: with ``id``, ``image`` and ``label``; each gets weight 1.
        table: of :func:`write_pseudo_labels`; None gives the entries as they are, without weights.
        weight: of a pseudo label, above 0 and up to 1.

    Raises:
        ValueError: the weight is out of range, no such table, a mask outside its folder or absent, or an image that
            has a true label as well.
    """
    if table is None:
        return [dict(entry) for entry in entries]
    if not 0 < weight <= 1:
        raise ValueError(f"pseudo_weight must be above 0 and at most 1, got {weight}")
    path = Path(table)
    if not path.is_file():
        raise ValueError(f"there is no table of pseudo labels {path}")
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    labelled = {entry["id"] for entry in entries}
    both = [row["id"] for row in rows if row["id"] in labelled]
    if both:
        raise ValueError(f"{path}: image {both[0]!r} has a true label, so it takes no pseudo label ({len(both)} do)")
    pseudo = [
        {"id": row["id"], "image": row["image"], "label": str(_mask(path.parent, row["mask"])), "weight": float(weight)}
        for row in rows
    ]
    return [*({**entry, "weight": 1.0} for entry in entries), *pseudo]


def _mask(folder: Path, name: str) -> Path:
    mask = folder / name
    if not mask.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"mask {name!r} must lie below the folder of its table, {folder}")
    if not mask.is_file():
        raise ValueError(f"the pseudo label {mask} is not there; the table names it")
    return mask
