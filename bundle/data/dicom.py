"""Images from DICOM files, as a viewer would show them, a frame at a time.

Grey values go through :mod:`bundle.data.grayscale`, colour through :mod:`bundle.data.colour`. No tag of a patient is
read on the way to the pixels.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pydicom
from pydicom import config as pydicom_config
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    MediaStorageDirectoryStorage,
    RLELossless,
)

from bundle.data.colour import PALETTE_TAGS, is_colour, to_rgb
from bundle.data.dicom_growth import check_inflation, coded_pixels
from bundle.data.dicom_terms import ABSENT, NOT_IMAGES, OTHER, object_name, uid_name
from bundle.data.frames import frame_path, split_frame
from bundle.data.grayscale import presented
from bundle.data.pictures import LUMINANCE, MAX_PIXELS, UnreadableImage

logger = logging.getLogger(__name__)

SUFFIXES = (".dcm", ".dicom", ".dic", ".ima")
MAKER = "coldstart_segmentation"  # the Manufacturer of what this bundle writes
HEADER_TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "PatientID", "StudyInstanceUID", "Modality", "Manufacturer", "Rows", "Columns")
]
FRAME_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
SPACING_TAGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")  # calibrated ones first
PIXEL_TAGS = [
    *("SOPClassUID", "Modality", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"),
    *("PlanarConfiguration", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth", "PresentationLUTShape"),
    *(*SPACING_TAGS, *FRAME_GROUPS, *PALETTE_TAGS),
]
# PS3.3 C.7.6.16.2: where an enhanced object keeps, for all frames or for each, what others have at the top.
FRAME_MACROS = (
    *("PixelMeasuresSequence", "FramePixelDataPropertiesSequence"),
    *("PixelValueTransformationSequence", "FrameVOILUTSequence"),
)
MOST_FRAMES = 10_000  # of a file; a run of angiography has some hundred, and a broken header may say billions
MAX_PIXELS_AT_ONCE = 8 * MAX_PIXELS  # pydicom 2 decodes all frames to give one


class OtherModality(UnreadableImage):
    """A DICOM object of a kind that was not asked for, such as a CT, a report or a document."""

    kind = "other modality"

    def __str__(self) -> str:
        return f"{self.path} is of another modality: {self.reason}"


@dataclasses.dataclass(frozen=True)
class DicomImage:
    """A frame ready to be looked at.

    Attributes:
        pixels: (H, W) grey, bright bone on dark lung, or (H, W, 3) RGB; float32 in [0, 1], rows from top to bottom as
            stored.
        spacing: mm between rows and between columns, or None where the file does not tell.
    """

    pixels: np.ndarray
    spacing: tuple[float, float] | None

    @property
    def grey(self) -> np.ndarray:
        """(H, W) float32 in [0, 1]; of colour the luminance."""
        return self.pixels if self.pixels.ndim == 2 else self.pixels @ LUMINANCE

    @property
    def rgb(self) -> np.ndarray:
        """(H, W, 3) float32 in [0, 1]; grey is repeated."""
        return self.pixels if self.pixels.ndim == 3 else np.repeat(self.pixels[..., None], 3, axis=-1)


def is_dicom(path: str | os.PathLike[str]) -> bool:
    """Whether a file, or that of a frame, is DICOM by its content; its name and the preamble do not matter."""
    file = split_frame(path)[0]
    try:
        with file.open("rb") as handle:
            start = handle.read(132)
    except OSError:
        return False
    if start[128:] == b"DICM":
        return True
    # Without a preamble a data set starts with the tags of group 2 or 8, in either byte order. Only then is a
    # parse worth the time, and only a data set that says what it is counts.
    if start[:2] not in (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08"):
        return False
    try:
        header = parse(file, stop_before_pixels=True, specific_tags=["SOPClassUID"])
        return str(header.get("SOPClassUID", "")).startswith("1.2.840.10008.")
    except Exception:  # anything at all can come out of parsing what is no DICOM
        return False


def parse(file: Path, **options: Any) -> Dataset:
    """``pydicom.dcmread`` of a file with or without a preamble, once it is known not to inflate without bounds.

    Args:
        file: to read.
        options: of ``dcmread``.

    Raises:
        UnreadableImage: it would be too large.
        Exception: whatever ``dcmread`` raises of a broken file, with words that may quote tags.
    """
    check_inflation(file)
    return pydicom.dcmread(file, force=True, **options)


def read_header(path: str | os.PathLike[str], tags: Sequence[str] = HEADER_TAGS) -> Dataset:
    """Read some tags of a file, those that identify an image unless told otherwise, and stop before the pixels.

    Raises:
        UnreadableImage: not DICOM, or broken before the pixels.
    """
    file = split_frame(path)[0]
    if not is_dicom(file):
        raise UnreadableImage(path, "the content is no DICOM")
    try:
        # Validation warnings quote the value, which may be an identifier.
        with pydicom_config.disable_value_validation():
            header = parse(file, stop_before_pixels=True, specific_tags=list(tags))
            for tag in tags:
                header.get(tag)
            return header
    except UnreadableImage:
        raise
    except Exception:  # its message may quote tags, so nothing of it is kept
        raise UnreadableImage(path, "the DICOM header is broken") from None


def frames_of(path: Path) -> list[Path]:
    """The paths of a file's frames; its own where it has one frame alone, or the header cannot be so."""
    try:
        count = int(read_header(path, ["NumberOfFrames"]).get("NumberOfFrames") or 1)
    except (UnreadableImage, TypeError, ValueError):
        return [path]
    return [path] if not 1 < count <= MOST_FRAMES else [frame_path(path, number) for number in range(1, count + 1)]


def is_directory(path: Path) -> bool:
    """Whether a file is a DICOMDIR, which lists other files and is no image (PS3.3 F.3)."""
    try:
        meta = read_file_meta_info(path)
    except Exception:  # no DICOM, or broken: then it is no directory either
        return False
    return meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage


def listed_files(directory: Path) -> list[Path]:
    """The files that a DICOMDIR lists, whether they are there or not; none of them outside its folder.

    Raises:
        UnreadableImage: the directory cannot be read.
    """
    try:
        records = parse(directory, specific_tags=["DirectoryRecordSequence"]).DirectoryRecordSequence
        names = [item.ReferencedFileID for item in records if item.get("ReferencedFileID")]
    except Exception:  # its message may quote tags
        raise UnreadableImage(directory, "the DICOMDIR is broken") from None
    places = [PurePosixPath(*([name] if isinstance(name, str) else name)) for name in names]
    return [directory.parent / place for place in places if not place.is_absolute() and ".." not in place.parts]


def read_dicom(path: str | os.PathLike[str], *, modalities: Collection[str] | None = None) -> DicomImage:
    """Read an image of 8 to 16 bits, signed or unsigned, grey or colour, in any transfer syntax with a decoder.

    Args:
        path: the file, or one of its frames as :mod:`bundle.data.frames` names it. Of a file with several frames the
            first is read, with a warning.
        modalities: defined terms of Modality that are wanted (PS3.3 C.7.3.1.1.1), such as ``CR``; None takes any that
            is an image. A file that tells no modality is taken.

    Raises:
        OtherModality: an object of another modality, or no image by its kind.
        UnreadableImage: no DICOM, no pixels, broken pixels, or no decoder.
    """
    file, frame = split_frame(path)
    try:
        _check_kind(path, read_header(file), modalities)
        dataset = parse(file, specific_tags=list(PIXEL_TAGS))
        if not any(tag in dataset for tag in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
            raise UnreadableImage(path, "the DICOM object has no pixels, or ends before them")
        _tell_syntax(dataset)
        frames = int(dataset.get("NumberOfFrames") or 1)
        if frame is None and frames > 1:
            logger.warning("%s has %d frames; the first is read, --frames all lists each", path, frames)
        number = frame or 1
        if not 1 <= number <= frames:
            raise UnreadableImage(path, f"there is no frame {number}, the file has {frames}")
        stored = _stored_values(path, dataset, number, frames)
        raise_frame_tags(dataset, number)
        pixels = to_rgb(stored, dataset) if is_colour(stored, dataset) else presented(stored, dataset)
        return DicomImage(np.ascontiguousarray(pixels, dtype=np.float32), pixel_spacing(dataset))
    except UnreadableImage:
        raise
    except Exception as error:
        raise UnreadableImage(path, f"the DICOM data set is broken ({type(error).__name__})") from None


def raise_frame_tags(dataset: Dataset, number: int) -> None:
    """Bring what the functional groups say of a frame to the top, where the images of other classes have it."""
    shared, own = (list(dataset.get(group) or ()) for group in FRAME_GROUPS)
    for groups in (*shared[:1], *own[number - 1 : number]):
        for macro in FRAME_MACROS:
            for item in list(groups.get(macro) or ())[:1]:
                for element in item:
                    if element.keyword in PIXEL_TAGS:
                        dataset[element.tag] = element


def pixel_spacing(dataset: Dataset) -> tuple[float, float] | None:
    """Mm between rows and between columns, of the first tag that tells them; None where none does."""
    for tag in SPACING_TAGS:
        try:
            row, column = (float(value) for value in dataset.get(tag) or ())
        except (TypeError, ValueError):
            continue
        if row > 0 and column > 0 and np.isfinite(row + column):
            return row, column
    return None


def _check_kind(path: str | os.PathLike[str], header: Dataset, modalities: Collection[str] | None) -> None:
    """Judged by the header alone, so that a CT of a gigabyte, or one cut short, is not read to be set aside."""
    modality = str(header.get("Modality") or "").strip().upper()
    kind = uid_name(header.get("SOPClassUID"))
    wanted = not modality or modalities is None or modality in modalities
    # The standard calls every class of images one.
    if modality in NOT_IMAGES or not wanted or ("Image" not in kind and kind not in (ABSENT, OTHER)):
        raise OtherModality(path, object_name(header))
    if header.get("Manufacturer") == MAKER:  # an overlay, come back from the archive: its lines are no anatomy
        raise OtherModality(path, f"{object_name(header)} that {MAKER} has made")


def _tell_syntax(dataset: Dataset) -> None:
    """A file without a preamble names no transfer syntax, which decoding asks for: it is the one it was parsed by."""
    if "TransferSyntaxUID" in dataset.file_meta:
        return
    # pydicom 3 keeps it in `original_encoding`; pydicom 2 knows it by these two attributes, which 4 will not have.
    encoding = getattr(dataset, "original_encoding", None) or (dataset.is_implicit_VR, dataset.is_little_endian)
    implicit, little = encoding
    if implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    else:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _stored_values(path: str | os.PathLike[str], dataset: Dataset, number: int, frames: int) -> np.ndarray:
    """(H, W) stored values, or (H, W, samples) in colour, of frame ``number`` of ``frames``, from 1."""
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if rows < 1 or columns < 1:
        raise UnreadableImage(path, "the DICOM object tells no rows or columns")
    if rows * columns > MAX_PIXELS:
        raise UnreadableImage(path, f"{columns} x {rows} pixels are above the limit of {MAX_PIXELS}")
    alone = hasattr(dataset, "pixel_array_options")  # pydicom 3 decodes no frame that nobody looks at
    if not alone and rows * columns * frames > MAX_PIXELS_AT_ONCE:
        raise UnreadableImage(path, f"{frames} frames of {columns} x {rows} pixels are too many for pydicom 2")
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        coded = coded_pixels(dataset.get("PixelData") or b"")
        if coded > MAX_PIXELS:
            raise UnreadableImage(path, f"a compressed picture of {coded} pixels is above the limit of {MAX_PIXELS}")
    bits, shift = int(dataset.get("BitsStored") or 0), _bits_below(dataset)
    try:
        if shift:
            dataset.BitsStored = bits + shift  # else the decoder masks the lowest ones off
        if alone:
            dataset.pixel_array_options(index=number - 1)
        elif dataset.file_meta.TransferSyntaxUID == JPEGExtended12Bit and int(dataset.get("BitsStored") or 8) > 8:
            dataset.convert_pixel_data("pylibjpeg")  # pydicom 2 would take GDCM, which turns the whitest into 0
        values = dataset.pixel_array
    except Exception:  # its message is long, and depends on which decoders are installed
        syntax = uid_name(dataset.file_meta.TransferSyntaxUID)
        raise UnreadableImage(path, f"cannot decode the pixels ({syntax})") from None
    if shift:
        dataset.BitsStored, values = bits, values >> shift
    return values if alone or frames == 1 else values[number - 1]


def _bits_below(dataset: Dataset) -> int:
    """How many bits of a pixel's cell lie below the stored ones: none since 1998, before then HighBit was free.

    A compressed pixel has no cell, and what its decoder gives is at the bottom.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    stored, high = dataset.get("BitsStored"), dataset.get("HighBit")
    if not stored or high is None or (syntax.is_encapsulated and syntax != RLELossless):
        return 0
    below = int(high) + 1 - int(stored)
    return below if below > 0 and int(high) < int(dataset.get("BitsAllocated") or 0) else 0
