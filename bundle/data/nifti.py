"""NIfTI files that hold one plane, as MONAI Label hands over a radiograph from DICOMweb."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from bundle.data.pictures import MAX_PIXELS, UnreadableImage

SUFFIXES = (".nii", ".nii.gz")


def is_nifti(path: str | os.PathLike[str]) -> bool:
    """Whether the name ends as NIfTI files do."""
    return Path(path).name.lower().endswith(SUFFIXES)


def read_plane(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read the single plane of a NIfTI file.

    Returns:
        the values, (H, W) in the file's own unit, float64 or integer; and the file's affine, (4, 4) float64, voxel
        (column, row, 0) to mm in RAS. NIfTI stores x first; the plane is turned to rows first.

    Raises:
        UnreadableImage: not a NIfTI file, or more than one plane or channel.
    """
    import nibabel  # heavy, and most data sets hold no NIfTI

    try:
        file: Any = nibabel.load(path)
        shape = tuple(file.shape)
        if len(shape) < 2 or any(side != 1 for side in shape[2:]):
            raise UnreadableImage(path, f"a single plane (W, H) or (W, H, 1) is needed, got {shape}")
        if shape[0] * shape[1] > MAX_PIXELS:
            raise UnreadableImage(path, f"{shape[0]} x {shape[1]} pixels are above the limit of {MAX_PIXELS}")
        values = np.asanyarray(file.dataobj).reshape(shape[:2])
        if values.dtype.kind not in "biuf":
            raise UnreadableImage(path, f"values of the type {values.dtype} are no grey levels and no classes")
        return np.ascontiguousarray(values.T), np.asarray(file.affine, dtype=np.float64)
    except UnreadableImage:
        raise
    except Exception as error:
        raise UnreadableImage(path, f"the NIfTI file cannot be read ({type(error).__name__})") from None


def has_few_values(path: str | os.PathLike[str], most: int = 8) -> bool:
    """Whether a plane has at most that many values, as masks have and radiographs do not; False where unreadable."""
    try:
        return len(np.unique(read_plane(path)[0])) <= most
    except UnreadableImage:
        return False


def read_affine(path: str | os.PathLike[str]) -> np.ndarray:
    """The file's affine, (4, 4) float64, voxel to mm in RAS; nothing but the header is read.

    Raises:
        UnreadableImage: not a NIfTI file.
    """
    import nibabel

    try:
        file: Any = nibabel.load(path)
        return np.asarray(file.affine, dtype=np.float64)
    except Exception as error:
        raise UnreadableImage(path, f"the NIfTI file cannot be read ({type(error).__name__})") from None
