"""The mask in a DICOM Segmentation object (PS3.3 A.51), whoever has written it."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
import pydicom
from pydicom import config as pydicom_config
from pydicom.dataset import Dataset

from bundle.data.dicom_growth import check_inflation
from bundle.data.modality import Modality
from bundle.data.pictures import UnreadableImage

COMPUTED = "AUTOMATIC"  # PS3.3 C.8.20.2: a segment that no person has looked at


def segment_classes(header: Dataset, modality: Modality) -> dict[int, int]:
    """Segment numbers, from 1, to the class indices of the labels that they are.

    A segment is a label by its SegmentLabel, in any case of letters, or by its coded property type where no two labels
    share that. Segments of other structures are left out.
    """
    by_name = {label.casefold(): index for index, label in enumerate(modality.labels, start=1)}
    codes = [(code.value, code.scheme) for code in modality.codes.values()]
    by_code = {
        (code.value, code.scheme): by_name[label.casefold()]
        for label, code in modality.codes.items()
        if codes.count((code.value, code.scheme)) == 1
    }
    found = {}
    for segment in header.get("SegmentSequence") or ():
        index = by_name.get(str(segment.get("SegmentLabel", "")).strip().casefold())
        for code in segment.get("SegmentedPropertyTypeCodeSequence") or ():
            coded = by_code.get((str(code.get("CodeValue", "")), str(code.get("CodingSchemeDesignator", ""))))
            index = index or coded
        if index:
            found[int(segment.SegmentNumber)] = index
    return found


def is_drawn(header: Dataset, modality: Modality) -> bool:
    """Whether the object holds a label of the modality, and a person had a hand in all that it holds of them."""
    wanted = segment_classes(header, modality)
    kinds = {
        str(segment.get("SegmentAlgorithmType", ""))
        for segment in header.get("SegmentSequence") or ()
        if int(segment.get("SegmentNumber", 0)) in wanted
    }
    return bool(wanted) and COMPUTED not in kinds


def referenced_series(header: Dataset) -> str:
    """SeriesInstanceUID of the series that was segmented; empty where the object names none."""
    for item in header.get("ReferencedSeriesSequence") or ():
        return str(item.get("SeriesInstanceUID", ""))
    return ""


def read_segmentation(path: str | os.PathLike[str], modality: Modality) -> np.ndarray:
    """The mask of an image of one frame, from its segmentation object.

    Returns:
        (rows, columns) uint8 of class indices, rows from top to bottom: 0 is background, ``i + 1`` is
        ``modality.labels[i]``. Where segments overlap the later number wins. A fractional segment counts from half of
        its maximum on.

    Raises:
        UnreadableImage: no segmentation, none of the modality's labels, or broken.
    """
    try:
        with pydicom_config.disable_value_validation():
            check_inflation(path)
            dataset = pydicom.dcmread(path)
            classes = segment_classes(dataset, modality)
            if classes:
                return _mask(dataset, classes)
    except UnreadableImage:
        raise
    except Exception as error:  # its message may quote tags
        raise UnreadableImage(path, f"the DICOM segmentation is broken ({type(error).__name__})") from None
    raise UnreadableImage(path, f"no segment of {', '.join(modality.labels)} in a DICOM segmentation")


def _mask(dataset: Dataset, classes: Mapping[int, int]) -> np.ndarray:
    frames = dataset.pixel_array.reshape(-1, int(dataset.Rows), int(dataset.Columns))
    threshold = 1.0
    if dataset.SegmentationType == "FRACTIONAL":
        threshold = int(dataset.MaximumFractionalValue) / 2
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or ())
    numbered = []
    for frame, groups in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        told = groups.get("SegmentIdentificationSequence") or shared[0].SegmentIdentificationSequence
        numbered.append((int(told[0].ReferencedSegmentNumber), frame))
    mask = np.zeros(frames.shape[1:], dtype=np.uint8)
    for number, frame in sorted(numbered, key=lambda pair: pair[0]):
        if number in classes:
            mask[frame >= threshold] = classes[number]
    return mask
