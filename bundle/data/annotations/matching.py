"""Which image an annotation belongs to."""

from __future__ import annotations

import csv
import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from bundle.data import nifti, nrrd, pictures
from bundle.data.annotations.annotation import Annotation
from bundle.data.identity import Pseudonyms, strip_suffix
from bundle.run.table import read_csv

MASK_PICTURES = (*pictures.SUFFIXES, ".gif")  # a palette keeps class values, and blurs a photograph
PLANES = (*MASK_PICTURES, *nifti.SUFFIXES, *nrrd.SUFFIXES)  # files that are one mask, named as their image
ENDINGS = (  # that follow the image's name after one of JOINTS
    *("mask", "masks", "segmentation", "seg", "label", "labels", "annotation"),
    *("lesion", "gt", "groundtruth"),  # as PH2 and others have it
)
JOINTS = ("_", "-", ".")


@dataclasses.dataclass(frozen=True)
class Match:
    """The image of an annotation.

    Attributes:
        id: its id; None where the image itself was set aside.
        whole: the path is the image's own, and not the end of one, which another image outside of the set may share.
        exact: the names are the same, without an ending of the mask's.
    """

    id: str | None
    whole: bool
    exact: bool

    @property
    def rank(self) -> tuple[bool, bool]:
        """Of two annotations that fit one image the one of higher rank is meant for it."""
        return self.whole, self.exact


class ImageIndex:
    """Finds images by what annotations know of them.

    Args:
        ids: path of each image file below the data root, without suffix, to its id; None where it was set aside. Names
            are compared as they are seen: what one system writes as letter and accent is one letter to another.
        pseudonyms: makes ids of instance UIDs.
        copies: further names: what a copy of an image is called, without suffix, to the image's id.
    """

    def __init__(self, ids: Mapping[str, str | None], pseudonyms: Pseudonyms, copies: Mapping[str, str]) -> None:
        known = {identifier for identifier in ids.values() if identifier is not None}
        self._names: dict[str, str | None] = {_seen(name): i if i in known else None for name, i in copies.items()}
        self._names |= {_seen(name): identifier for name, identifier in ids.items()}
        self._known, self._pseudonyms = known, pseudonyms
        self._by_end: defaultdict[str, list[str]] = defaultdict(list)
        for name in self._names:
            for end in _ends(name):
                self._by_end[end].append(name)

    def find(self, annotation: Annotation) -> Match | None:
        """The image of ``annotation``, or None where there is none, or more than one."""
        if annotation.uid:
            whole = self._pseudonyms.of("image", annotation.uid)
            frame = annotation.frame or 1
            # As frames are listed, all of a file or its first one alone.
            for identifier in (f"{whole}-{frame:04d}", *([whole] if frame == 1 else [])):
                if identifier in self._known:
                    return Match(identifier, whole=True, exact=True)
            return None
        for told, exact in ((annotation.image, True), (without_ending(annotation.image), False)):
            if told is None:
                continue
            name = _seen(told)
            if name in self._names:
                return Match(self._names[name], whole=True, exact=exact)
            near = self._near(name) if annotation.loose and name else []
            if len(near) == 1:
                return Match(self._names[near[0]], whole=False, exact=exact)
        return None

    def _near(self, name: str) -> list[str]:
        """Names of which one end is ``name``, or that are its end: folders that contradict are another patient's."""
        return [*self._by_end.get(name, ()), *(end for end in _ends(name)[1:] if end in self._names)]


def last_part(name: str) -> str:
    """What an annotation's name has in common with that of an image in another folder."""
    bare = without_ending(name)
    return _seen(PurePosixPath(name if bare is None else bare).name)


def _ends(path: str) -> list[str]:
    """A path, and without its first folder, its first two, and so on."""
    parts = PurePosixPath(path).parts
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _seen(name: str) -> str:
    return normalize("NFC", name)


def without_ending(name: str) -> str | None:
    """A name without the ending of a mask's, such as ``_mask``; None where it has none."""
    for ending in ENDINGS:
        if name.lower().endswith(tuple(joint + ending for joint in JOINTS)) and len(name) > len(ending) + 1:
            return name[: -len(ending) - 1]
    return None


def mask_stem(name: str) -> str:
    """A mask's name without the suffix of its format."""
    suffix = next((suffix for suffix in (*nrrd.SUFFIXES, ".gif") if name.lower().endswith(suffix)), "")
    return name[: -len(suffix)] if suffix else strip_suffix(name)


def names_of_copies(table: Path) -> dict[str, str]:
    """Name of each copy, without suffix, to the id of its image, from the ``images.csv`` of handed-over images.

    Raises:
        ValueError: no such table.
    """
    try:
        return {strip_suffix(row["file"]): row["id"] for row in read_csv(table) if row["file"]}
    except (OSError, KeyError, UnicodeDecodeError, csv.Error):
        raise ValueError(
            f"--copies must be a folder of select_samples --copy-to with images.csv (rank, file, id): {table.parent}"
        ) from None
