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
from bundle.data.masks import read_mask
from bundle.data.modality import Modality
from bundle.data.pictures import UnreadableImage
from bundle.data.reader import read_image

NRRD = ".nrrd"  # 3D Slicer's own
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
        read_image(path, modality)
    except UnreadableImage as error:
        raise Refused(422, f"the upload is no {modality.name} image: {error.reason}") from None


def check_label(path: Path, image: Path, modality: Modality) -> Path:
    """Refuse a file that is no mask of ``image``. Returns the file to keep.

    NRRD, which the server's folder has no id for, becomes NIfTI beside ``path``; everything else is kept as it came.
    """
    _check_content(path, "label")
    if not path.name.lower().endswith(PLANES):
        raise Refused(422, f"a label must be named as PNG, NIfTI or NRRD are, got {path.suffix or 'no suffix'}")
    kept = _nifti_of(path) if path.name.lower().endswith(NRRD) else path
    try:
        rows, columns = read_mask(kept, labels=modality.labels).shape
        height, width = read_image(image, modality).shape[:2]
    except UnreadableImage as error:
        raise Refused(422, f"the label cannot be read: {error.reason}") from None
    except ValueError as error:
        raise Refused(422, f"the label is wrong: {str(error).replace(str(kept), path.suffix)}") from None
    if (rows, columns) != (height, width):
        raise Refused(422, f"the label must have the image's size, {width} x {height}, got {columns} x {rows}")
    return kept


def _check_content(path: Path, kind: str) -> None:
    if not path.is_file() or path.stat().st_size == 0:
        raise Refused(400, f"the {kind} is empty: the upload holds no byte")


def _nifti_of(path: Path) -> Path:
    """An NRRD mask as NIfTI with the same voxels and place."""
    import nrrd  # MONAI Label brings it along

    try:
        values, header = nrrd.read(str(path))
    except Exception as error:
        raise Refused(422, f"the label is no NRRD file that can be read ({type(error).__name__})") from None
    affine = np.eye(4)
    directions = header.get("space directions")
    if directions is not None and np.shape(directions) == (3, 3) and np.isfinite(directions).all():
        affine[:3, :3] = np.asarray(directions).T
        affine[:3, 3] = header.get("space origin", np.zeros(3))
    if header.get("space") in (None, "left-posterior-superior", "LPS"):
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    target = path.with_suffix(".nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.asarray(values, dtype=np.uint8), affine), target)
    return target
