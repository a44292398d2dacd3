"""Radiographs from DICOM, as a viewer would show them: the grey-scale pipeline of PS3.3 C.11 and PS3.4 N.2.

Stored values go through the modality LUT (or rescale), then the VOI LUT (or window), then the presentation state's
sense (MONOCHROME1 is turned over once). No tag of a patient is read on the way to the pixels.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import config as pydicom_config
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGExtended12Bit

from bundle.data.pictures import LUMINANCE, MAX_PIXELS, UnreadableImage

logger = logging.getLogger(__name__)

SUFFIXES = (".dcm", ".dicom", ".dic", ".ima")
PERCENTILES = (0.5, 99.5)  # where a file has no window: leaves out burnt-in markers and dead pixels
# PS3.3 C.7.3.1.1.1: waveforms, documents, plans and derived objects, some of which carry pixels all the same
NOT_IMAGES = {
    *("AU", "DOC", "ECG", "EPS", "FID", "HD", "KO", "PLAN", "PR", "REG"),
    *("RTDOSE", "RTPLAN", "RTRECORD", "RTSTRUCT", "SEG", "SMR", "SR"),
}
HEADER_TAGS = ["SOPClassUID", "SOPInstanceUID", "PatientID", "StudyInstanceUID", "Modality", "Rows", "Columns"]
PIXEL_TAGS = [
    *("SOPClassUID", "Modality", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"),
    *("PlanarConfiguration", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth", "PresentationLUTShape"),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
]


@dataclasses.dataclass(frozen=True)
class Radiograph:
    """A radiograph ready to be looked at.

    Attributes:
        pixels: (H, W) float32 in [0, 1], rows from top to bottom as stored, bright bone on dark lung.
        spacing: mm between rows and between columns, or None where the file does not tell.
    """

    pixels: np.ndarray
    spacing: tuple[float, float] | None


def is_dicom(path: str | os.PathLike[str]) -> bool:
    """Whether a file is DICOM by its content, with or without the preamble; its name does not matter."""
    try:
        with Path(path).open("rb") as handle:
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
        header = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=["SOPClassUID"])
        return str(header.get("SOPClassUID", "")).startswith("1.2.840.10008.")
    except Exception:  # anything at all can come out of parsing what is no DICOM
        return False


def read_header(path: str | os.PathLike[str]) -> Dataset:
    """Read the tags that identify an image (``HEADER_TAGS``) and stop before the pixels.

    Raises:
        UnreadableImage: not DICOM, or broken before the pixels.
    """
    if not is_dicom(path):
        raise UnreadableImage(path, "the content is no DICOM")
    try:
        # Validation warnings quote the value, which may be an identifier.
        with pydicom_config.disable_value_validation():
            header = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=HEADER_TAGS)
            for tag in HEADER_TAGS:
                header.get(tag)
            return header
    except Exception:  # its message may quote tags, so nothing of it is kept
        raise UnreadableImage(path, "the DICOM header is broken") from None


def read_radiograph(path: str | os.PathLike[str]) -> Radiograph:
    """Read a radiograph of 8 to 16 bits, signed or unsigned, grey or colour, in any transfer syntax with a decoder.

    Without a usable VOI LUT or window the values between two percentiles (``PERCENTILES``) are shown. Pixels
    marked as padding are left out of these and shown black. Of several frames the first is read, with a warning.

    Raises:
        UnreadableImage: no DICOM, no image, no pixels, broken pixels, or no decoder.
    """
    if not is_dicom(path):
        raise UnreadableImage(path, "the content is no DICOM")
    try:
        dataset = pydicom.dcmread(path, force=True, specific_tags=PIXEL_TAGS)
        _tell_syntax(dataset)
        stored = _stored_values(path, dataset)
        pixels = _colour_to_grey(stored, dataset) if stored.ndim == 3 else _presented(stored, dataset)
        return Radiograph(np.ascontiguousarray(pixels, dtype=np.float32), _spacing(dataset))
    except UnreadableImage:
        raise
    except Exception as error:
        raise UnreadableImage(path, f"the DICOM data set is broken ({type(error).__name__})") from None


def window(values: np.ndarray, center: float, width: float, function: str = "LINEAR") -> np.ndarray:
    """The VOI functions of PS3.3 C.11.2.1.2 and C.11.2.1.3 with an output range of [0, 1].

    Args:
        values: modality values of any shape.
        center: window centre in modality values.
        width: window width; at least 1 for LINEAR, above 0 for the others.
        function: ``LINEAR``, ``LINEAR_EXACT`` or ``SIGMOID``.

    Raises:
        ValueError: a width or function outside the standard.
    """
    if function == "LINEAR" and width >= 1:
        if width == 1:
            return (values > center - 0.5).astype(np.float32)
        return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0.0, 1.0)
    if function == "LINEAR_EXACT" and width > 0:
        return np.clip((values - center) / width + 0.5, 0.0, 1.0)
    if function == "SIGMOID" and width > 0:
        # 1 / (1 + exp(-4 x)), written with tanh, which cannot overflow.
        return 0.5 + 0.5 * np.tanh(2.0 * (values - center) / width)
    raise ValueError(
        f"a window must be LINEAR with width >= 1, or LINEAR_EXACT or SIGMOID with width > 0; got {function}, {width:g}"
    )


def stretch(values: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
    """Bring the values between two percentiles (``PERCENTILES``) to [0, 1] and clip the rest; a constant becomes 0.

    Args:
        values: (H, W) of any unit.
        counted: (H, W) bool, the pixels that the percentiles are taken of; None is all finite ones.
    """
    kept = np.isfinite(values) if counted is None else counted & np.isfinite(values)
    if not kept.any():
        return np.zeros(values.shape, dtype=np.float32)
    low, high = np.percentile(values[kept], PERCENTILES)
    if high <= low:  # a picture of nearly one value may still have a little drawn on it
        low, high = float(values[kept].min()), float(values[kept].max())
    if high <= low:
        return np.zeros(values.shape, dtype=np.float32)
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / (high - low)
    return np.clip(scaled, 0.0, 1.0).astype(np.float32)


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


def _stored_values(path: str | os.PathLike[str], dataset: Dataset) -> np.ndarray:
    """(H, W) stored values, or (H, W, 3) in colour, of the first frame."""
    modality = str(dataset.get("Modality") or "")
    if modality in NOT_IMAGES:
        raise UnreadableImage(path, f"a DICOM object of modality {modality} is no image")
    if not any(tag in dataset for tag in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise UnreadableImage(path, "the DICOM object has no pixels, or ends before them")
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        raise UnreadableImage(path, "a DICOM object in palette colours is no radiograph")
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if rows < 1 or columns < 1:
        raise UnreadableImage(path, "the DICOM object tells no rows or columns")
    if rows * columns > MAX_PIXELS:
        raise UnreadableImage(path, f"{columns} x {rows} pixels are above the limit of {MAX_PIXELS}")
    if frames > 1:
        logger.warning("%s has %d frames; the first is read", path, frames)
    try:
        if hasattr(dataset, "pixel_array_options"):  # pydicom 3: do not decode frames that nobody looks at
            dataset.pixel_array_options(index=0)
            frames = 1
        elif dataset.file_meta.TransferSyntaxUID == JPEGExtended12Bit and int(dataset.get("BitsStored") or 8) > 8:
            dataset.convert_pixel_data("pylibjpeg")  # pydicom 2 would take GDCM, which turns the whitest into 0
        values = dataset.pixel_array
    except Exception:  # its message is long, and depends on which decoders are installed
        raise UnreadableImage(path, f"cannot decode the pixels ({dataset.file_meta.TransferSyntaxUID.name})") from None
    return values[0] if frames > 1 else values


def _presented(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """(H, W) float in [0, 1] of grey stored values: modality LUT, VOI, sense."""
    stored = _within_bits(stored, dataset)
    padding = _padding(stored, dataset)
    values = _modality_values(stored, dataset)
    shown = _voi(values, dataset)
    if shown is None:
        shown = stretch(values, ~padding)
    # Both tags say the same thing (PS3.3 C.8.11.3.1.2 wants INVERSE with MONOCHROME1): low is bright. One turn.
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE":
        shown = 1.0 - shown
    return np.where(padding, np.float32(0.0), shown)


def _within_bits(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Only the stored bits, with their sign: older files keep overlays in the bits above."""
    if not np.issubdtype(stored.dtype, np.integer):
        return stored
    bits = int(dataset.get("BitsStored") or 8 * stored.dtype.itemsize)
    values = stored.astype(np.int64)
    if dataset.get("PixelRepresentation"):
        sign = 1 << (bits - 1)
        return ((values & ((1 << bits) - 1)) ^ sign) - sign
    return values & ((1 << bits) - 1)


def _padding(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """(H, W) bool, the pixels that PS3.3 C.7.5.1.1.2 calls padding; none where that would be all of them."""
    first = dataset.get("PixelPaddingValue")
    if not isinstance(first, int):
        return np.zeros(stored.shape, dtype=bool)
    last = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((first, last if isinstance(last, int) else first))
    padding = (stored >= low) & (stored <= high)
    return np.zeros_like(padding) if padding.all() else padding


def _modality_values(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    if dataset.get("ModalityLUTSequence"):
        table, first = _table(dataset.ModalityLUTSequence[0], dataset)
        return _look_up(stored, table, first)
    slope, intercept = _number(dataset.get("RescaleSlope")), _number(dataset.get("RescaleIntercept"))
    return stored * np.float32(slope or 1.0) + np.float32(intercept or 0.0)


def _voi(values: np.ndarray, dataset: Dataset) -> np.ndarray | None:
    """Values of interest in [0, 1], or None where the file says nothing usable about them."""
    if dataset.get("VOILUTSequence"):
        table, first = _table(dataset.VOILUTSequence[0], dataset)
        span = float(table.max() - table.min())
        if span > 0:  # by the table's own range: many declare 16 bits and fill 12
            return _look_up(np.rint(values).astype(np.int64), (table - table.min()) / np.float32(span), first)
    center, width = _number(dataset.get("WindowCenter")), _number(dataset.get("WindowWidth"))
    if center is None or width is None:
        return None
    try:
        shown = window(values, center, width, str(dataset.get("VOILUTFunction") or "LINEAR").upper())
    except ValueError:
        return None
    # A window that misses the values shows nothing; such files exist, and their tag is the fault.
    return shown if np.ptp(shown) > 0 or np.ptp(values) == 0 else None


def _table(item: Dataset, dataset: Dataset) -> tuple[np.ndarray, int]:
    """Entries (float32) and first mapped value of a LUT item, PS3.3 C.11.1.1."""
    count, first, bits = (int(value) for value in item.LUTDescriptor)
    count = count % 65536 or 65536  # 0 stands for 65536; a signed reading of more than 32767 is negative
    if first >= 32768 and dataset.get("PixelRepresentation"):
        first -= 65536
    data = item.LUTData
    if isinstance(data, bytes):
        words = ">u2" if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<u2"
        data = np.frombuffer(data, dtype=words if len(data) >= 2 * count else np.uint8)
    entries = np.atleast_1d(np.asarray(data, dtype=np.int64))[:count] & ((1 << max(bits, 8)) - 1)
    if entries.size == 0:
        raise ValueError("a lookup table without entries")
    return entries.astype(np.float32), first


def _look_up(values: np.ndarray, table: np.ndarray, first: int) -> np.ndarray:
    """Values below the first mapped one take the first entry, those beyond the last take the last."""
    return table[np.clip(values - first, 0, len(table) - 1)]


def _colour_to_grey(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """(H, W) float32 luminance in [0, 1] of a colour secondary capture."""
    scale = np.float32((1 << int(dataset.get("BitsStored") or 8)) - 1)
    interpretation = str(dataset.get("PhotometricInterpretation") or "RGB")
    if interpretation.startswith("YBR_FULL") and not hasattr(dataset, "pixel_array_options"):
        return stored[..., 0] / scale  # pydicom 2 leaves YBR as it is stored, and Y is the luminance
    return stored.astype(np.float32) @ LUMINANCE / scale


def _spacing(dataset: Dataset) -> tuple[float, float] | None:
    for tag in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):  # calibrated ones first
        try:
            row, column = (float(value) for value in dataset.get(tag) or ())
        except (TypeError, ValueError):
            continue
        if row > 0 and column > 0 and np.isfinite(row + column):
            return row, column
    return None


def _number(value: Any) -> float | None:
    """The first value of a DICOM number as float, or None where it is absent, empty or no number."""
    try:
        first = value if isinstance(value, (str, int, float)) else next(iter(value))
        number = float(first)
    except (TypeError, ValueError, StopIteration):
        return None
    return number if np.isfinite(number) else None
