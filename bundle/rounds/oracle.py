"""The strong labeller: an expert whose masks appear in a folder."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from bundle.data.annotations.matching import PLANES, mask_stem, without_ending
from bundle.data.datalist import Datalist
from bundle.data.identity import strip_suffix
from bundle.data.masks import read_mask
from bundle.data.modality import Modality
from bundle.data.pictures import UnreadableImage
from bundle.data.reader import read_image
from bundle.run.atomic import write_csv
from bundle.run.quarantine import Quarantine

TO_ANNOTATE = "to_annotate.csv"
COLUMNS = ("rank", "id", "image", "mask")


def without_label(datalist: Datalist, ids: Sequence[str]) -> list[str]:
    """Those of ``ids`` whose label is still to come, in that order."""
    labelled = {entry["id"] for entry in datalist.sections["pool"] if "label" in entry}
    return [identifier for identifier in ids if identifier not in labelled]


def write_to_annotate(folder: Path, datalist: Datalist, ids: Sequence[str]) -> Path:
    """Write ``to_annotate.csv``: ``rank``, ``id``, ``image`` below the data root, and the ``mask`` to write for it.

    A picture, NIfTI or NRRD will do for the mask, with any ending that ``make_datalist`` takes; what counts is the path
    without suffix.
    """
    images = {entry["id"]: entry["image"] for entry in datalist.sections["pool"]}
    rows = [
        {"rank": rank, "id": name, "image": images[name], "mask": f"{strip_suffix(images[name])}.png"}
        for rank, name in enumerate(ids, start=1)
    ]
    return write_csv(folder / TO_ANNOTATE, rows, COLUMNS)


def take_masks(datalist: Datalist, ids: Sequence[str], folder: Path, *, quarantine: Quarantine) -> Datalist:
    """The datalist with a label for every image of ``ids`` whose mask is in the folder; labels that it has stay.

    A mask belongs to the image with the same path below its folder, suffix and mask's ending aside, as for
    ``make_datalist``. One that cannot be used is set aside, and its image stays without label.

    Args:
        folder: where the expert's masks are; it may lie anywhere, and hold others.
    """
    wanted = set(without_label(datalist, ids))
    relative = {entry["id"]: entry["image"] for entry in datalist.sections["pool"] if entry["id"] in wanted}
    masks = _masks_by_stem(folder, images={strip_suffix(entry["image"]) for entry in datalist.sections["pool"]})
    found: dict[str, Path] = {}
    for entry in datalist.section("pool"):
        if entry["id"] not in relative:
            continue
        mask = masks.get(strip_suffix(relative[entry["id"]]))
        if mask is None:
            continue
        reason = _reason_against(mask, entry["image"], folder, datalist.modality)
        if reason is None:
            found[entry["id"]] = mask
        else:
            quarantine.add(mask, f"{reason}; the image stays without label")
    return _with_labels(datalist, folder, found) if found else datalist


def _masks_by_stem(folder: Path, *, images: set[str]) -> dict[str, Path]:
    """Path of an image without suffix to its mask; a mask's ending is dropped, unless an image has it in its name."""
    exact: dict[str, Path] = {}
    ended: dict[str, Path] = {}
    for path in _mask_files(folder):
        stem = mask_stem(path.relative_to(folder).as_posix())
        exact.setdefault(stem, path)
        short = without_ending(stem)
        if short is not None and stem not in images:
            ended.setdefault(short, path)
    return {**ended, **exact}


def _mask_files(folder: Path) -> list[Path]:
    """Files that may be masks, sorted; one that is still being written under a hidden name is none."""
    files = (path for path in folder.rglob("*") if path.name.lower().endswith(PLANES) and path.is_file())
    return sorted(path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _reason_against(mask: Path, image: str, folder: Path, modality: Modality) -> str | None:
    """Why a mask cannot be the label of an image, or None; in the words of the datalist's quarantine."""
    if not mask.resolve().is_relative_to(folder.resolve()):
        return "link that leaves the folder of the masks"
    try:
        height, width = read_mask(mask, labels=modality.labels).shape
    except UnreadableImage as error:
        return f"unreadable mask: {error.reason}"
    except ValueError as error:
        return f"wrong mask: {error}"
    rows, columns = read_image(image, modality).shape[:2]
    if (height, width) != (rows, columns):
        return f"mask of another size: {width} x {height}, its image has {columns} x {rows}"
    return None


def _with_labels(datalist: Datalist, folder: Path, found: Mapping[str, Path]) -> Datalist:
    """The datalist with these labels. Its label root becomes the nearest folder that holds old labels and new ones."""
    old = datalist.label_root.resolve() if datalist.label_root is not None else folder.resolve()
    shared = Path(os.path.commonpath([folder.resolve(), old]))

    def relabelled(entry: Mapping[str, str]) -> dict[str, str]:
        if entry["id"] in found:
            label = folder.resolve() / found[entry["id"]].relative_to(folder)
        elif "label" in entry:
            label = old / entry["label"]
        else:
            return dict(entry)
        return {**entry, "label": label.relative_to(shared).as_posix()}

    sections = {name: tuple(map(relabelled, entries)) for name, entries in datalist.sections.items()}
    return dataclasses.replace(datalist, label_root=shared, sections=sections)
