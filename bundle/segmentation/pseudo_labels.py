"""Masks that a model made, apart from those that an expert drew: a table of their own, and a weight in the loss."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bundle.data.masks import read_mask
from bundle.data.modality import Modality
from bundle.run.table import read_csv, write_csv
from bundle.run.workflow import run_workflow
from bundle.segmentation.metrics import score_image
from bundle.selection.uncertainty import Uncertainties

FILE_NAME = "pseudo_labels.csv"
COLUMNS = ("id", "image", "mask", "agreement", "confidence")


def draw_pseudo_labels(
    entries: Sequence[Mapping[str, str]], sure: Uncertainties, model: Path, modality: str, folder: Path
) -> Path:
    """Let ``model`` draw a mask for every entry, at the image's own size, and write the table when all are there.

    An image that cannot be read any more is set aside, and has no row.

    Args:
        entries: ``id`` and absolute ``image``, the surest first.
        sure: by the criterion ``dsal``, for the table.
        model: fine-tuned weights.
        modality: its name or path.
        folder: gets ``masks/`` and ``pseudo_labels.csv``: ``id``, ``image``, ``mask`` (below the folder), ``agreement``
            of the heads, ``confidence``.
    """
    images = [{"id": entry["id"], "image": entry["image"]} for entry in entries]
    place = folder / "masks"
    overrides = {"modality": modality, "dataset#data": images, "model": str(model), "output_dir": str(place)}
    run_workflow("infer", overrides)
    masks = {row["id"]: Path(row["mask"]) for row in read_csv(place / "predictions.csv")}
    rows = [
        {
            **image,
            "mask": masks[image["id"]].relative_to(folder).as_posix(),
            "agreement": f"{1 - sure[image['id']].score:.6f}",
            "confidence": f"{sure[image['id']].confidence:.6f}",
        }
        for image in images
        if image["id"] in masks
    ]
    return write_csv(folder / FILE_NAME, rows, COLUMNS)


def pseudo_labelled(table: Path) -> list[str]:
    """The ids in a table of pseudo labels, the surest first."""
    return [row["id"] for row in read_csv(table)]


def score_pseudo_labels(table: Path, labels: Mapping[str, str], modality: Modality) -> float | None:
    """Mean Dice of pseudo labels with the true masks ``labels`` (id to path); None where no truth is known."""
    scores = []
    for row in read_csv(table):
        if row["id"] in labels:
            paths = _mask(table.parent, row["mask"]), labels[row["id"]]
            drawn, true = (torch.from_numpy(read_mask(path, labels=modality.labels)) for path in paths)
            scores.append(score_image(drawn, true, modality.classes)["dice"])
    return round(statistics.fmean(scores), 5) if scores else None


def with_pseudo_labels(
    entries: Sequence[Mapping[str, Any]], table: str | os.PathLike[str] | None, weight: float
) -> list[dict[str, Any]]:
    """Entries with true labels, and behind them those of the table, each with its ``weight`` in the loss.

    No datalist ever holds a pseudo label: they join here, in memory, for one training.

    Args:
        entries: with ``id``, ``image`` and ``label``; each gets weight 1.
        table: of :func:`draw_pseudo_labels`; None gives the entries as they are, without weights.
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
    rows = read_csv(path)
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
