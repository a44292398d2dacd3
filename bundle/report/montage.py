"""Images side by side: the selection in its order, the worst and the median cases, some predictions."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bundle.data.frames import split_frame
from bundle.report.blocks import Tile, Tiles, tile
from bundle.report.overlays import overlay
from bundle.report.pictures import read_picture

logger = logging.getLogger(__name__)

MOST_TILES = 96  # about 1 MB; beyond that a page takes long to load and nobody looks
CASES = 4  # of each kind: one row on a laptop
PREDICTIONS = 8


def selection_montage(
    rows: Sequence[Mapping[str, Any]],
    image_paths: Mapping[str, Path],
    modality: Any,
    *,
    clusters: Mapping[str, Any] | None = None,
    colours: Mapping[str, str] | None = None,
    title: str = "What to annotate, in this order",
    most: int = MOST_TILES,
) -> Tiles:
    """The selected images in rank order, rank and cluster under each.

    Args:
        rows: of the selection, with ``rank`` and ``id``.
        image_paths: id to file.
        modality: how to read the files.
        clusters: id to cluster.
        colours: cluster, as text, to the colour that the map gives it.
        title: what is shown; how many images follows in brackets.
        most: images to show.
    """
    clusters, colours = clusters or {}, colours or {}
    tiles = []
    for row in rows[:most]:
        cluster = str(clusters.get(row["id"], ""))
        label = f"{row['rank']}" + (f" · cluster {cluster}" if cluster else "")
        pixels = read_pixels(image_paths.get(row["id"]), modality)
        tiles.append(tile(pixels, label, row["id"], colour=colours.get(cluster, "")))
    shown = f"the first {most} of {len(rows)}" if len(rows) > most else f"all {len(rows)}"
    return Tiles(
        tiles,
        title=f"{title} ({shown})",
        caption="Under each image its rank" + (", cluster" * bool(colours)) + " and id.",
    )


def case_tiles(
    cases: Mapping[str, Sequence[Mapping[str, Any]]], folder: Path, *, title: str, folded: bool = False
) -> Tiles:
    """The worst and the median images with the outlines that the evaluation drew; an image stands there once.

    Args:
        cases: ``worst`` and ``median`` to their images, each with ``id`` and ``dice``, the worst first.
        folder: of the overlays, named by kind and place, as in ``worst_01.png``.
        title: whose cases these are.
        folded: show the title alone until it is opened.
    """
    tiles: dict[str, Tile] = {}
    for kind in ("worst", "median"):
        shown = 0
        for place, case in enumerate(cases.get(kind, ()), start=1):
            file = folder / f"{kind}_{place:02d}.png"
            if case["id"] in tiles or not file.is_file() or shown == CASES:
                continue
            label = f"{kind} · Dice {float(case['dice']):.3f}"
            tiles[case["id"]] = tile(read_picture(file), label, str(case["id"]), large=True)
            shown += 1
    return Tiles(list(tiles.values()), title=title, large=True, legend=True, folded=folded)


def prediction_tiles(
    rows: Sequence[Mapping[str, str]], folder: Path, image_paths: Mapping[str, Path], modality: Any
) -> Tiles:
    """Predicted masks as outlines on their images, spread evenly over the list of predictions.

    Args:
        rows: of ``predictions.csv``: ``id``, ``image``, ``mask``.
        folder: that relative paths in the rows start from.
        image_paths: id to file, for rows without an image.
        modality: how to read the files.
    """
    from bundle.data.masks import read_mask
    from bundle.data.modality import load_modality

    labels = load_modality(modality).labels
    places = np.unique(np.linspace(0, len(rows) - 1, min(PREDICTIONS, len(rows))).round().astype(int))
    tiles: list[Tile] = []
    for row in (rows[place] for place in places):
        pixels = read_pixels(_existing(row.get("image"), folder) or image_paths.get(row["id"]), modality)
        file = _existing(row["mask"], folder)
        found = None
        if pixels is not None and file is not None:
            with _told():
                mask = read_mask(file, labels=labels)
                share = f"{(mask > 0).mean():.1%} of the image"
                found = tile(overlay(pixels, None, mask), share, row["id"], large=True)
        tiles.append(found or tile(None, "image or mask unreadable", row["id"]))
    return Tiles(tiles, large=True, caption=f"{len(tiles)} of {len(rows)}, evenly spread over the list of predictions.")


def read_pixels(path: Path | None, modality: Any) -> np.ndarray | None:
    """(H, W, C) float32 in [0, 1] of an image; None, a gap on the page, where it cannot be read."""
    from bundle.data.reader import read_image

    if path is None:
        return None
    with _told():
        return read_image(path, modality)
    return None


@contextmanager
def _told() -> Iterator[None]:
    """One odd file costs the page its own picture alone, and the log says why."""
    try:
        yield
    except (ValueError, OSError) as error:
        logger.warning("no picture in the report: %s", error)


def _existing(name: str | None, folder: Path) -> Path | None:
    """The file that a table names: below the table's folder, or as it was written; None where it is not there."""
    return (
        next((path for path in (folder / name, Path(name)) if split_frame(path)[0].is_file()), None) if name else None
    )
