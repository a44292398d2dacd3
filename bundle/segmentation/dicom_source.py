"""What a derived DICOM object takes over from the image it is made of: references, geometry, patient and study.

Of the patient and the study that is what the standard asks for (types 1 and 2), and whether a source was de-identified;
an archive could not file the object otherwise. Nothing else of the source's header is copied.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import os
import re
from pathlib import Path

import numpy as np
from pydicom import config as pydicom_config
from pydicom.dataset import Dataset

from bundle.data.dicom import FRAME_GROUPS, SPACING_TAGS, is_dicom, parse, raise_frame_tags
from bundle.data.frames import split_frame
from bundle.data.pictures import UnreadableImage
from bundle.run.atomic import atomic_file

MAX_TEXT = 64  # characters of the value representation LO
logging.getLogger("highdicom").setLevel(logging.WARNING)  # below that it tells the UIDs of what it copies from

REFERENCES = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
# What PS3.3 C.7.1.1 (patient) and C.7.2.1 (general study) ask for, and whether identifiers were taken out before.
IDENTITY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
DEIDENTIFICATION = ("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence")
COMPRESSION = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
PLACE = (
    *("FrameOfReferenceUID", "PositionReferenceIndicator", "ImagePositionPatient", "ImageOrientationPatient"),
    *("SliceThickness", "PatientOrientation"),
)
SOURCE_TAGS = [
    *("SpecificCharacterSet", "Rows", "Columns", "NumberOfFrames", "BurnedInAnnotation"),
    *(*REFERENCES, *IDENTITY, *DEIDENTIFICATION, *COMPRESSION, *PLACE, *SPACING_TAGS, *FRAME_GROUPS),
]


@dataclasses.dataclass(frozen=True)
class Source:
    """An image that an object is derived of.

    Attributes:
        path: the file, or one of its frames.
        header: the tags of ``SOURCE_TAGS``, text decoded, those of the frame's functional groups at the top.
        frame: number of the frame, from 1, where the file has several; else None.
    """

    path: Path
    header: Dataset
    frame: int | None

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.header.Rows), int(self.header.Columns)

    def check_mask(self, mask: np.ndarray, labels: int) -> np.ndarray:
        """``mask`` as uint8, where it has the image's rows and columns and no other values than 0 to ``labels``.

        Raises:
            ValueError: it has not.
        """
        if mask.shape != self.size:
            raise ValueError(f"a mask must have its image's rows and columns, {self.size}; got {mask.shape}")
        if mask.size and not 0 <= mask.min() <= mask.max() <= labels:
            raise ValueError(f"a mask of {labels} labels holds 0 to {labels}, got {mask.min()} to {mask.max()}")
        return np.ascontiguousarray(mask, dtype=np.uint8)

    def reference(self) -> Dataset:
        """An item of a sequence of references to this image, and to its frame where it has several."""
        item = Dataset()
        item.ReferencedSOPClassUID = self.header.SOPClassUID
        item.ReferencedSOPInstanceUID = self.header.SOPInstanceUID
        if self.frame is not None:
            item.ReferencedFrameNumber = self.frame
        return item

    def identify(self, made: Dataset) -> None:
        """Give an object its image's patient and study, in an encoding that has room for any name and any label."""
        made.SpecificCharacterSet = "ISO_IR 192"
        for tag in (*IDENTITY, *DEIDENTIFICATION):
            if tag in self.header:
                made[tag] = copy.copy(self.header[tag])


# PS3.3: the terms of code strings that are taken over; what is no term may be anything.
_TERMS = {
    "BurnedInAnnotation": r"YES|NO",
    "LossyImageCompression": r"00|01",
    "LossyImageCompressionMethod": r"ISO_[0-9_]+",
    "PatientIdentityRemoved": r"YES|NO",
    "PatientOrientation": r"(?!.*(.).*\1)[AFHLPR]{1,3}",
    "PositionReferenceIndicator": r"SLIDE_CORNER|XY",
}


def _drop_what_is_no_term(header: Dataset) -> None:
    for tag, terms in _TERMS.items():
        values = header.get(tag) or ()
        if not all(re.fullmatch(terms, str(value)) for value in ([values] if isinstance(values, str) else values)):
            del header[tag]


def read_source(path: str | os.PathLike[str]) -> Source:
    """Read what a derived object needs of an image.

    Raises:
        UnreadableImage: no DICOM, or without what a reference needs. No value of the header is in the message.
    """
    file, frame = split_frame(path)
    if not is_dicom(file):
        raise UnreadableImage(path, "the content is no DICOM")
    try:
        header = parse(file, stop_before_pixels=True, specific_tags=list(SOURCE_TAGS))
        header.decode()
        missing = [tag for tag in (*REFERENCES, "Rows", "Columns") if not header.get(tag)]
        several = int(header.get("NumberOfFrames") or 1) > 1
        raise_frame_tags(header, frame or 1)
        _drop_what_is_no_term(header)
    except UnreadableImage:
        raise
    except Exception:  # its message may quote tags
        raise UnreadableImage(path, "the DICOM header is broken") from None
    if missing:
        raise UnreadableImage(path, f"nothing can refer to an image without {', '.join(missing)}")
    return Source(Path(path), header, (frame or 1) if several else None)


def save(made: Dataset, path: str | os.PathLike[str]) -> Path:
    """Write an object to ``path``, whole or not at all."""
    with atomic_file(path) as temporary, pydicom_config.disable_value_validation():
        if hasattr(made, "pixel_array_options"):  # pydicom 3
            made.save_as(temporary, enforce_file_format=True)
        else:
            made.save_as(temporary, write_like_original=False)
    return Path(path)


def text(value: str) -> str:
    """``value`` as LO takes it: a backslash would part two values."""
    return value.replace("\\", "/")[:MAX_TEXT]
