"""The strong labeller: an expert whose annotations appear in a folder."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from bundle.data.annotations.folder import AnnotationFolder
from bundle.data.annotations.matching import ImageIndex
from bundle.data.annotations.names import LabelNames
from bundle.data.datalist import Datalist
from bundle.data.identity import Pseudonyms, strip_suffix
from bundle.data.reader import image_size
from bundle.data.threads import in_threads
from bundle.run.quarantine import Quarantine
from bundle.run.table import write_csv

TO_ANNOTATE = "to_annotate.csv"
COLUMNS = ("rank", "id", "image", "mask")


def without_label(datalist: Datalist, ids: Sequence[str]) -> list[str]:
    """Those of ``ids`` whose label is still to come, in that order."""
    labelled = {entry["id"] for entry in datalist.sections["pool"] if "label" in entry}
    return [identifier for identifier in ids if identifier not in labelled]


def write_to_annotate(folder: Path, datalist: Datalist, ids: Sequence[str]) -> Path:
    """Write ``to_annotate.csv``: ``rank``, ``id``, ``image`` below the data root, and the ``mask`` to write for it.

    The ``mask`` is the plainest of what ``make_datalist`` takes; for masks what counts is the path without suffix.
    """
    images = {entry["id"]: entry["image"] for entry in datalist.sections["pool"]}
    rows = [
        {"rank": rank, "id": name, "image": images[name], "mask": f"{strip_suffix(images[name])}.png"}
        for rank, name in enumerate(ids, start=1)
    ]
    return write_csv(folder / TO_ANNOTATE, rows, COLUMNS)


def take_masks(
    datalist: Datalist,
    ids: Sequence[str],
    place: Path,
    *,
    drawn: Path,
    pseudonyms: Pseudonyms,
    copies: Mapping[str, str] | None = None,
    rule: str | None = None,
    label_names: Mapping[str, str] | None = None,
    quarantine: Quarantine,
) -> Datalist:
    """The datalist with a label for every image of ``ids`` that has an annotation; labels that it has stay.

    Annotations are what ``make_datalist --masks`` takes, and find their images as there. One that cannot be used is set
    aside, and its image stays without label.

    Args:
        place: the expert's folder, or one file; it may lie anywhere, and hold others.
        drawn: folder for the masks of annotations that are no pictures; replaced if it is there.
        pseudonyms: gave DICOM files the ids that the datalist has.
        copies: what copies of images are called, without suffix, to the image's id.
        rule: for several annotators, as of :class:`~bundle.data.annotations.folder.AnnotationFolder`. Of a ``union``
            every part has to be there.
        label_names: further names, each for a label.

    Raises:
        ValueError: an unknown rule, or a name for what is no label.
    """
    wanted = set(without_label(datalist, ids))
    modality = datalist.modality
    names = LabelNames(modality.labels, codes=modality.codes, aliases=label_names)
    annotations = AnnotationFolder(place.resolve(), modality=modality, names=names, rule=rule, whole=True, drawn=drawn)
    files = annotations.files(datalist.root.resolve())
    if not files:
        return datalist
    known = {strip_suffix(entry["image"]): entry["id"] for entries in datalist.sections.values() for entry in entries}
    entries = [
        {"id": entry["id"], "image": entry["image"]} for entry in datalist.sections["pool"] if entry["id"] in wanted
    ]
    paths = {entry["id"]: Path(entry["image"]) for entry in datalist.section("pool")}

    def size(entry: Mapping[str, str]) -> tuple[int, int]:
        return image_size(paths[entry["id"]], datalist.modality)

    sizes = in_threads(size, entries, "decode images")
    images = {entry["image"]: (paths[entry["id"]], found) for entry, found in zip(entries, sizes, strict=True)}
    index = ImageIndex(known, pseudonyms, copies or {})
    annotations.attach(entries, files, index=index, images=images, quarantine=quarantine)
    found = {entry["id"]: annotations.root / entry["label"] for entry in entries if "label" in entry}
    return _with_labels(datalist, annotations.root, found) if found else datalist


def _with_labels(datalist: Datalist, folder: Path, found: Mapping[str, Path]) -> Datalist:
    """The datalist with these labels. Its label root becomes the nearest folder that holds old labels and new ones."""
    old = datalist.label_root.resolve() if datalist.label_root is not None else folder
    shared = Path(os.path.commonpath([folder, old]))

    def relabelled(entry: Mapping[str, str]) -> dict[str, str]:
        if entry["id"] in found:
            label = found[entry["id"]]
        elif "label" in entry:
            label = old / entry["label"]
        else:
            return dict(entry)
        return {**entry, "label": label.relative_to(shared).as_posix()}

    sections = {name: tuple(map(relabelled, entries)) for name, entries in datalist.sections.items()}
    return dataclasses.replace(datalist, label_root=shared, sections=sections)
