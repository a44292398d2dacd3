"""Files made on the spot: radiographs with every tag under control, and small pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)


def make_dicom(
    path: Path,
    pixels: np.ndarray | None,
    *,
    bits: int = 12,
    preamble: bool = True,
    syntax: UID = ExplicitVRLittleEndian,
    **tags: Any,
) -> Path:
    """Write a CR of (H, W) grey or (H, W, 3) colour pixels; ``tags`` replace or add to what it says of itself."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = tags.get("SOPInstanceUID") or generate_uid()
    meta.TransferSyntaxUID = syntax if preamble else ImplicitVRLittleEndian
    dataset = Dataset()
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.PatientName = "Doe^Jane"
    dataset.PatientID = "MRN-4711"
    dataset.PatientBirthDate = "19700101"
    dataset.StudyInstanceUID = generate_uid()
    dataset.Modality = "CR"
    if pixels is not None:
        colour = pixels.ndim == 3
        dataset.Rows, dataset.Columns = pixels.shape[:2]
        dataset.SamplesPerPixel = 3 if colour else 1
        dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
        if colour:
            dataset.PlanarConfiguration = 0
        dataset.BitsAllocated = 8 * pixels.dtype.itemsize
        dataset.BitsStored, dataset.HighBit = bits, bits - 1
        dataset.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
        content = pixels.astype(pixels.dtype.newbyteorder("<" if syntax.is_little_endian else ">")).tobytes()
        dataset.add_new("PixelData", "OB" if pixels.dtype.itemsize == 1 else "OW", content + b"\0" * (len(content) % 2))
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    if syntax.is_encapsulated:
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    path.parent.mkdir(parents=True, exist_ok=True)
    if preamble:
        encoding = {"is_implicit_VR": syntax.is_implicit_VR, "is_little_endian": syntax.is_little_endian}
        file = FileDataset(str(path), dataset, file_meta=meta, preamble=b"\0" * 128, **encoding)
        file.is_little_endian, file.is_implicit_VR = syntax.is_little_endian, syntax.is_implicit_VR
        file.save_as(path, write_like_original=False)
    else:
        dataset.is_little_endian, dataset.is_implicit_VR = True, True
        dataset.save_as(path, write_like_original=True)
    return path


@pytest.fixture
def write_dicom(tmp_path: Path) -> Callable[..., Path]:
    """``write_dicom(pixels, name=..., **more)`` is :func:`make_dicom` in the folder of the test."""
    return lambda pixels, name="image.dcm", **more: make_dicom(tmp_path / name, pixels, **more)


@pytest.fixture
def lookup_table() -> Callable[..., Dataset]:
    """``lookup_table(entries, first=..., bits=...)`` is an item of a modality or VOI LUT sequence."""

    def make(entries: np.ndarray, *, first: int = 0, bits: int = 16, words: bool = True) -> Dataset:
        item = Dataset()
        item.add_new("LUTDescriptor", "US", [len(entries) % 65536, first, bits])
        if words:
            item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
        else:
            item.add_new("LUTData", "US", entries.tolist())
        return item

    return make


@pytest.fixture
def write_picture(tmp_path: Path) -> Callable[..., Path]:
    """``write_picture(pixels, name)`` writes an array, or a PIL image, and gives its path."""

    def write(pixels: np.ndarray | Image.Image, name: str = "image.png", **options: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        image.save(path, **options)
        return path

    return write
