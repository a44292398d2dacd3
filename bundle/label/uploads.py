"""What a client may send: an upload is looked at before anything is kept of it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import nibabel
import numpy as np
from fastapi import HTTPException

from bundle.data import nifti, pictures
from bundle.data.annotations.annotation import Grid
from bundle.data.annotations.matching import PLANES
from bundle.data.annotations.placement import place_mask
from bundle.data.identity import is_plain
from bundle.data.masks import read_mask_with_place
from bundle.data.modality import Modality
from bundle.data.pictures import UnreadableImage
from bundle.data.reader import image_size
from bundle.run.atomic import atomic_file

LABELS = "labels"  # the folder of the masks, below that of the images
NAME_BYTES = 255  # of a file's name, on all usual file systems
PART_BYTES = NAME_BYTES - len(".nii.gz")  # the longest suffix of an image or a mask
ID_BYTES = 1000  # of 4096 that Linux takes for a whole path
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # the axes of DICOM and of 3D Slicer, where a file tells no place
_TAG = re.compile(r"[A-Za-z0-9_-]{1,32}")


class Refused(HTTPException):
    """A request that is wrong in itself: the server answers with ``status_code``, 400 to 499, and ``detail``."""


@contextlib.contextmanager
def gone_if_refused(upload: Path) -> Iterator[None]:
    """Remove an upload if the block refuses it: MONAI Label does so only after a success, and it may show a patient.

    What lies elsewhere than where the server puts uploads stays.
    """
    try:
        yield
    except HTTPException:
        if upload.is_absolute() and upload.resolve().is_relative_to(Path(tempfile.gettempdir()).resolve()):
            upload.unlink(missing_ok=True)
        raise


def check_id(identifier: str) -> None:
    """Refuse an id that is no relative path below the images' folder, is hidden there, or is not written plainly.

    ``./a`` and ``a//b`` name the files of the ids ``a`` and ``a/b``, and a line break would end every table of ids.
    """
    path = PurePosixPath(identifier)
    if (
        not path.parts
        or path.as_posix() != identifier
        or path.is_absolute()
        or "\\" in identifier
        or not is_plain(identifier)
        or any(part.lower() == LABELS or part.startswith(".") for part in path.parts)
    ):
        raise Refused(
            400,
            "an image id must be a relative path such as 'clinic a/0007': parts with single '/' between them, none "
            f"hidden or named {LABELS}, no '.', '..', backslash, line break or broken character; got {identifier!r}",
        )
    longest = max(len(part.encode()) for part in path.parts)
    if longest > PART_BYTES or len(identifier.encode()) > ID_BYTES:
        raise Refused(
            400,
            f"an image id must have at most {PART_BYTES} bytes a part and {ID_BYTES} in all, got {longest} and "
            f"{len(identifier.encode())}; give a shorter one",
        )


def check_place(file: Path, identifier: str) -> None:
    """Refuse what cannot lie at ``file``: something else has the name of the file or of a folder above it."""
    if len(os.fsencode(file.name)) > NAME_BYTES:
        raise Refused(400, f"the file's name must have at most {NAME_BYTES} bytes; give {identifier!r} a shorter one")
    above = next(folder for folder in file.parents if folder.exists())
    if not above.is_dir() or file.is_dir():
        raise Refused(409, f"{identifier!r} needs a folder where a file is, or a file where a folder is; rename it")


def check_tag(tag: str) -> None:
    """Refuse a label's tag that is no plain word: it becomes the name of a folder."""
    if not _TAG.fullmatch(tag):
        raise Refused(400, f"a label's tag must be 1 to 32 letters, digits, - or _, got {tag!r}")


def check_image(path: Path, modality: Modality) -> None:
    """Refuse a file that is no image of the modality."""
    _check_content(path, "image")
    try:
        image_size(path, modality)
    except UnreadableImage as error:
        raise Refused(422, f"the upload is no {modality.name} image: {error.reason}") from None


@dataclasses.dataclass(frozen=True)
class PlacedMask:
    """A mask on the grid of its image.

    Attributes:
        pixels: (H, W) class indices.
        affine: (4, 4), (column, row, 0) to mm in RAS.
        as_stored: whether the file holds the pixels in this order and number.
    """

    pixels: np.ndarray
    affine: np.ndarray
    as_stored: bool

    def write(self, path: Path) -> None:
        """Write NIfTI, whole or not at all."""
        with atomic_file(path) as temporary:
            nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(self.pixels.T[..., None]), self.affine), temporary)


def placed_mask(path: Path, image: Path, modality: Modality) -> PlacedMask:
    """Read a mask of ``image`` and bring it onto the image's grid, as ``make_datalist`` does.

    Raises:
        Refused: the file is no mask of that image.
    """
    _check_content(path, "label")
    if not path.name.lower().endswith(PLANES):
        raise Refused(422, f"a label must be named as PNG, NIfTI or NRRD are, got {path.suffix or 'no suffix'}")
    try:
        grid = Grid(*image_size(image, modality), nifti.read_affine(image) if nifti.is_nifti(image) else None)
    except UnreadableImage as error:
        raise Refused(422, f"the image of the label cannot be read: {error.reason}") from None
    try:
        mask, affine = read_mask_with_place(path, labels=modality.labels)
    except UnreadableImage as error:
        raise Refused(422, f"the label cannot be read: {error.reason}") from None
    except ValueError as error:
        raise Refused(422, f"the label is wrong: {str(error).replace(str(path), path.suffix)}") from None
    placed = place_mask(mask, affine, grid)
    if placed.shape != grid.size:
        rows, columns = mask.shape
        raise Refused(
            422, f"the label must have the image's size, {grid.width} x {grid.height}, got {columns} x {rows}"
        )
    as_stored = np.array_equal(placed, mask)
    return PlacedMask(placed, affine if as_stored and affine is not None else _axes(grid, affine), as_stored)


def check_label(path: Path, image: Path, modality: Modality) -> Path:
    """Refuse a file that is no mask of ``image``. Returns the file to keep.

    What the server's folder has no id for (NRRD, GIF), and what its geometry puts elsewhere than its pixels are stored,
    becomes NIfTI beside ``path``; everything else is kept as it came.
    """
    found = placed_mask(path, image, modality)
    if found.as_stored and path.name.lower().endswith((*pictures.SUFFIXES, *nifti.SUFFIXES)):
        return path
    target = path.with_suffix(".nii.gz")
    found.write(target)
    return target


def _check_content(path: Path, kind: str) -> None:
    if not path.is_file() or path.stat().st_size == 0:
        raise Refused(400, f"the {kind} is empty: the upload holds no byte")


def _axes(grid: Grid, affine: np.ndarray | None) -> np.ndarray:
    """The affine of a mask on the grid: the image's where its file holds one, else a picture's, spaced as the mask."""
    if grid.affine is not None:
        return grid.affine
    if affine is None:
        return LPS
    return LPS @ np.diag([*np.abs(affine[:2, :2]).max(axis=1), 1.0, 1.0])
