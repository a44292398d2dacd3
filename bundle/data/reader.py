"""One way from an image file to an array in [0, 1], for MONAI's LoadImage and for everything else."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import ImageReader
from monai.utils import MetaKeys, SpaceKeys

from bundle.data import dicom, nifti, pictures
from bundle.data.grayscale import stretch
from bundle.data.masks import read_mask
from bundle.data.modality import Modality, load_modality
from bundle.data.pictures import LUMINANCE, Picture, UnreadableImage, in_unit, reduced_grey_picture, reduced_picture

PathLike = str | os.PathLike[str]
SMALLEST_SIDE = 2  # pixels; a single one, or a line, is what a broken export leaves of an image


def read_image(path: PathLike, modality: str | os.PathLike[str] | Modality) -> np.ndarray:
    """Read an image of ``modality`` from a file, or from a folder that holds one DICOM file.

    A ``picture`` modality takes PNG, JPEG, TIFF, BMP and DICOM; a ``radiograph`` modality DICOM, grey pictures, and
    NIfTI with one plane (stretched between its 0.5th and 99.5th percentile, since NIfTI carries no window). Of DICOM
    those objects are taken whose kind the modality names. ``FILE/frames/3`` is the third frame of a DICOM file.

    Returns:
        (H, W, C) float32 in [0, 1] with C = ``modality.channels``: RGB, luminance, or grey repeated.

    Raises:
        UnreadableImage: the file cannot be used; it names the file and the reason.
    """
    return in_unit(_load(path, load_modality(modality), None).pixels)


def image_size(path: PathLike, modality: str | os.PathLike[str] | Modality) -> tuple[int, int]:
    """(H, W) of an image, which is decoded to its end, so that one that cannot be read is known by this.

    Raises:
        UnreadableImage: as :func:`read_image`.
    """
    return _load(path, load_modality(modality), 1).size


class ClinicalReader(ImageReader):
    """MONAI reader of images and masks; give it to ``LoadImaged``.

    Args:
        modality: name or path of the modality, or the :class:`~bundle.data.modality.Modality` itself.
        mask: read masks of the modality instead of images.
        side: of the canvas that images go to. A large JPEG then comes with fewer pixels than it has, see
            :func:`bundle.data.pictures.reduced_picture`; ``spatial_shape`` tells the size of all its pixels.

    Images come as (W, H, C) float32 in [0, 1], masks as (W, H) uint8 class indices: x first, as MONAI's own readers
    give them, so ``ensure_channel_first=True`` makes (C, W, H) and (1, W, H). The affine holds the pixel spacing in mm
    where the file tells it.

    Example::

        LoadImaged(keys="image", reader=ClinicalReader(modality="dermoscopy"), ensure_channel_first=True)
        LoadImaged(keys="label", reader=ClinicalReader, modality="dermoscopy", mask=True, ensure_channel_first=True)
    """

    def __init__(
        self, modality: str | os.PathLike[str] | Modality, *, mask: bool = False, side: int | None = None
    ) -> None:
        super().__init__()
        self.modality = load_modality(modality)
        self.mask, self.side = mask, side

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:  # noqa: ARG002
        """Always true: what a file is shows in its content, not in its name."""
        return True

    def read(self, data: Sequence[PathLike] | PathLike, **_: Any) -> Path:
        """Give the one path. Nothing is opened yet.

        LoadImage takes any error here as a cue to try its other readers, and those would hand over a radiograph
        without its window, or decode what was refused. In :meth:`get_data` an error is final.
        """
        paths = [data] if isinstance(data, (str, os.PathLike)) else list(data)
        if len(paths) != 1:
            raise ValueError(f"one file makes one image, got {len(paths)} files")
        return Path(paths[0])

    def get_data(self, img: Path) -> tuple[np.ndarray, dict[str, Any]]:
        """Decode. Returns the array, x first, and MONAI's metadata.

        Raises:
            UnreadableImage: the file cannot be used.
            ValueError: a mask with a value that the modality has no label for.
        """
        loaded = _load_mask(img, self.modality) if self.mask else _load(img, self.modality, self.side)
        array = _x_first(loaded.pixels)
        array = array if self.mask else in_unit(array)
        return array, {
            MetaKeys.AFFINE: loaded.affine.copy(),
            MetaKeys.ORIGINAL_AFFINE: loaded.affine.copy(),
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.SPATIAL_SHAPE: np.asarray(loaded.size[::-1]),
            MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan") if array.ndim == 2 else -1,
        }


@dataclasses.dataclass(frozen=True)
class _Loaded:
    pixels: np.ndarray  # (h, w, C) image, float32 in [0, 1] or uint8 as stored, which is turned faster; or (h, w) mask
    size: tuple[int, int]  # (H, W) of the image as it is stored, of which fewer pixels may have been decoded
    affine: np.ndarray = dataclasses.field(default_factory=lambda: np.eye(4))  # (column, row, 0) to mm, RAS


def _load(path: PathLike, modality: Modality, side: int | None) -> _Loaded:
    loaded = _load_any(path, modality, side)
    height, width = loaded.size
    if min(height, width) < SMALLEST_SIDE:
        raise UnreadableImage(path, f"{width} x {height} pixels are too few for an image")
    return loaded


def _load_any(path: PathLike, modality: Modality, side: int | None) -> _Loaded:
    file = _single_file(Path(path))
    if modality.reader == "picture":
        colour, affine = _load_colour(file, modality, side)
        pixels = colour.pixels if modality.channels == 3 else (in_unit(colour.pixels) @ LUMINANCE)[..., None]
        return _Loaded(pixels, colour.size, affine)
    grey, affine = _load_grey(file, modality, side)
    pixels = grey.pixels[..., None]
    pixels = pixels if modality.channels == 1 else np.repeat(pixels, modality.channels, axis=-1)
    return _Loaded(pixels, grey.size, affine)


def _load_colour(file: Path, modality: Modality, side: int | None) -> tuple[Picture, np.ndarray]:
    if _is_dicom(file):
        image = dicom.read_dicom(file, modalities=modality.dicom_modalities)
        return _whole(image.rgb), _affine(image)
    return reduced_picture(file, side), np.eye(4)


def _whole(pixels: np.ndarray) -> Picture:
    """All pixels of an image."""
    return Picture(pixels, (pixels.shape[0], pixels.shape[1]))


def _load_grey(file: Path, modality: Modality, side: int | None) -> tuple[Picture, np.ndarray]:
    if nifti.is_nifti(file):
        values, affine = nifti.read_plane(file)
        return _whole(stretch(values.astype(np.float32))), affine
    if _is_dicom(file):
        image = dicom.read_dicom(file, modalities=modality.dicom_modalities)
        return _whole(image.grey), _affine(image)
    return reduced_grey_picture(file, side), np.eye(4)


def _is_dicom(file: Path) -> bool:
    """Whether to read a file as DICOM: by its content, or since its name claims nothing else."""
    return dicom.is_dicom(file) or not file.name.lower().endswith(pictures.SUFFIXES)


def _affine(image: dicom.DicomImage) -> np.ndarray:
    """DICOM counts x to the left and y to the back, RAS the other way: the affine that ITK gives to such a file."""
    row, column = image.spacing or (1.0, 1.0)
    return np.diag([-column, -row, 1.0, 1.0])


def _load_mask(path: PathLike, modality: Modality) -> _Loaded:
    pixels = read_mask(path, labels=modality.labels)
    size = pixels.shape[0], pixels.shape[1]
    return _Loaded(pixels, size, nifti.read_plane(path)[1]) if nifti.is_nifti(path) else _Loaded(pixels, size)


def _single_file(path: Path) -> Path:
    """The file itself, or the only DICOM file of a series folder."""
    if not path.is_dir():
        return path
    files = [file for file in sorted(path.iterdir()) if not file.name.startswith(".") and dicom.is_dicom(file)]
    if len(files) != 1:
        raise UnreadableImage(path, f"a folder must hold one DICOM file to be an image, this holds {len(files)}")
    return files[0]


def _x_first(pixels: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, C) to (W, H) or (W, H, C), contiguous.

    Torch turns a plane block by block, where NumPy strides through all of memory for every column: 3 ms against 27 for
    2048 x 2048 pixels, and 2 against 4 for 1024 x 768 in colour of 8 bits.
    """
    height, width, *channels = pixels.shape
    stored = torch.from_numpy(pixels.reshape(height, width) if channels == [1] else pixels)
    return stored.transpose(0, 1).contiguous().numpy().reshape(width, height, *channels)
