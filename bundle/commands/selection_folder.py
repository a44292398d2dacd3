"""What a selection leaves behind: its tables and datalist, and copies of its images for those who annotate."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bundle.run.atomic import write_json
from bundle.run.table import write_csv

if TYPE_CHECKING:
    from bundle.data.datalist import Datalist
    from bundle.data.handover import HandedOver
    from bundle.selection import Selection

CSV_COLUMNS = ("rank", "id", "image", "cluster", "score", "reason")
COPY_STAGE = "select_samples --copy-to"


def write_selection(
    folder: Path, selection: Selection, datalist: Datalist, *, already_labelled: Iterable[str] = ()
) -> None:
    """Write selection.csv, selection.json and diagnostics.json into ``folder``.

    Args:
        already_labelled: ids of the pool that stay in the training section beside the selection.
    """
    paths = datalist.image_paths()
    rows = [
        {**dataclasses.asdict(row), "image": str(paths[row.id]), "score": f"{row.score:.6g}"} for row in selection.rows
    ]
    write_csv(folder / "selection.csv", rows, CSV_COLUMNS)  # a strategy without clusters leaves that column empty
    training = dict.fromkeys([*already_labelled, *selection.ids])
    datalist.with_training(training).save(folder / "selection.json")
    about = {
        "strategy": selection.strategy,
        "seed": selection.seed,
        "budget": len(selection),
        "options": dict(selection.options),
    }
    write_json(folder / "diagnostics.json", {**about, **selection.diagnostics})


def write_copies(
    ids: Sequence[str],
    datalist: Datalist,
    folder: Path,
    *,
    link: bool,
    strategy: str,
    seed: int,
    request: str | None = None,
    first: int = 1,
) -> HandedOver:
    """Copy images into ``folder``, in order, with a record; see :func:`bundle.data.handover.hand_over`.

    Args:
        request: a fingerprint of what was asked for, kept in the record.
        first: rank of the first.
    """
    from bundle.data.handover import hand_over, handed_over
    from bundle.run.record import RunRecord

    paths = datalist.image_paths()
    # The record is the folder's mark and holds no path, since the folder may go to somebody else.
    fingerprints = {"request": request} if request else {}
    record = RunRecord(COPY_STAGE, {"link": link, "strategy": strategy}, seed=seed, fingerprints=fingerprints)
    found = hand_over([(identifier, paths[identifier]) for identifier in ids], folder, link=link, first=first)
    record.note("images", sum(bool(row["file"]) for row in handed_over(folder)))
    record.write(folder)
    return found


def check_copies_place(copies: Path | None, *, out: Path, images: Path) -> None:
    """Copies lie apart: in OUT they would be replaced with it, and among the images they would be listed as images."""
    if copies is None:
        return
    place = copies.resolve()
    for other, name in ((out.resolve(), "--out"), (images.resolve(), "the folder of the images")):
        if place.is_relative_to(other) or other.is_relative_to(place):
            raise ValueError(f"--copy-to must lie apart from {name}, {other}; got {copies}")
