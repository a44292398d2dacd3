"""What a client may send: an upload is looked at before anything is kept of it."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import nibabel
import numpy as np
from fastapi import HTTPException

from bundle.data.annotations.matching import PLANES
from bundle.data.masks import read_mask_with_place
from bundle.data.modality import Modality
from bundle.data.nrrd import is_nrrd
from bundle.data.pictures import UnreadableImage
from bundle.data.reader import image_size

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
    """Refuse an id that is no relative path below the images' folder, or is hidden there."""
    parts = PurePosixPath(identifier).parts
    sound = identifier and not identifier.startswith("/") and "\\" not in identifier and "\0" not in identifier
    if not sound or any(part in ("..", "labels") or part.startswith(".") for part in parts):
        raise Refused(400, f"an image id must be a relative path without '..', hidden or labels folder: {identifier!r}")


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


def check_label(path: Path, image: Path, modality: Modality) -> Path:
    """Refuse a file that is no mask of ``image``. Returns the file to keep.

    NRRD, which the server's folder has no id for, becomes NIfTI beside ``path``; everything else is kept as it came.
    """
    _check_content(path, "label")
    if not path.name.lower().endswith(PLANES):
        raise Refused(422, f"a label must be named as PNG, NIfTI or NRRD are, got {path.suffix or 'no suffix'}")
    try:
        mask, affine = read_mask_with_place(path, labels=modality.labels)
        height, width = image_size(image, modality)
    except UnreadableImage as error:
        raise Refused(422, f"the label cannot be read: {error.reason}") from None
    except ValueError as error:
        raise Refused(422, f"the label is wrong: {str(error).replace(str(path), path.suffix)}") from None
    rows, columns = mask.shape
    if (rows, columns) != (height, width):
        raise Refused(422, f"the label must have the image's size, {width} x {height}, got {columns} x {rows}")
    return _as_nifti(path, mask, affine) if is_nrrd(path) else path


def _check_content(path: Path, kind: str) -> None:
    if not path.is_file() or path.stat().st_size == 0:
        raise Refused(400, f"the {kind} is empty: the upload holds no byte")


def _as_nifti(path: Path, mask: np.ndarray, affine: np.ndarray | None) -> Path:
    """A mask (H, W) of class indices as NIfTI beside ``path``, where the NRRD file lay in space."""
    target = path.with_suffix(".nii.gz")
    place = LPS if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(mask.T[..., None]), place), target)
    return target
