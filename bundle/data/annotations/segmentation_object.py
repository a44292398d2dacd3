"""DICOM Segmentation objects (PS3.3 A.51) as masks of the images that they refer to by their instance UID."""

from __future__ import annotations

import functools
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import config as pydicom_config
from pydicom.multival import MultiValue

from bundle.data import dicom
from bundle.data.annotations.annotation import Annotation, Grid
from bundle.data.annotations.names import LabelNames
from bundle.data.pictures import MAX_PIXELS, UnreadableImage

# Segmentation Storage and Label Map Segmentation Storage (PS3.4 B.5, PS3.6 A)
CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")


def is_segmentation(path: Path) -> bool:
    """Whether a file is a DICOM Segmentation by its content."""
    try:
        return dicom.is_dicom(path) and str(dicom.read_header(path).get("SOPClassUID", "")) in CLASSES
    except UnreadableImage:
        return False


def read_segmentation(path: Path, names: LabelNames) -> list[Annotation]:
    """One annotation for every image that the object refers to.

    Segments are known by their coded type, else by their label; of segments that overlap the one of the higher number
    is on top. Fractional segmentations are cut at half of their maximum.

    Raises:
        UnreadableImage: no segmentation, a broken one, or one that refers to no image.
    """
    try:
        with pydicom_config.disable_value_validation():
            header = dicom.parse(path, stop_before_pixels=True)
            frames = _frames_by_image(header)
    except UnreadableImage:
        raise
    except Exception as error:  # its message may quote tags
        raise UnreadableImage(path, f"the DICOM segmentation is broken ({type(error).__name__})") from None
    if not frames:
        raise UnreadableImage(path, "the DICOM segmentation refers to no image")
    return [
        Annotation(path, functools.partial(_draw, path, indices, names), uid=uid, frame=frame)
        for (uid, frame), indices in frames.items()
    ]


def _frames_by_image(header: Any) -> dict[tuple[str, int | None], list[int]]:
    """SOPInstanceUID of each image, and which of its frames, to the numbers of the object's own frames, from 0.

    A frame names its image itself; one that does not belongs to the only image of the object, where there is one.
    """
    listed = [
        str(instance.ReferencedSOPInstanceUID)
        for series in header.get("ReferencedSeriesSequence") or ()
        for instance in series.get("ReferencedInstanceSequence") or ()
    ]
    only = set(listed) if len(set(listed)) == 1 else set()
    frames: defaultdict[tuple[str, int | None], list[int]] = defaultdict(list)
    for number in range(int(header.get("NumberOfFrames") or 1)):
        told = {
            (str(source.ReferencedSOPInstanceUID), frame)
            for group in _groups(header, number)
            for derivation in group.get("DerivationImageSequence") or ()
            for source in derivation.get("SourceImageSequence") or ()
            for frame in _referenced_frames(source)
        }
        for image in sorted(told or {(uid, None) for uid in only}, key=str):
            frames[image].append(number)
    return dict(frames)


def _referenced_frames(source: Any) -> list[int | None]:
    """Numbers, from 1, of the frames of an image that a reference names; of one without frames none is named."""
    told = source.get("ReferencedFrameNumber")
    if told is None or told == "":
        return [None]
    return [int(number) for number in (told if isinstance(told, (list, tuple, MultiValue)) else [told])]


def _groups(header: Any, number: int) -> list[Any]:
    """The functional groups of a frame: its own first, then those that all frames share."""
    own = header.get("PerFrameFunctionalGroupsSequence") or ()
    return [*own[number : number + 1], *(header.get("SharedFunctionalGroupsSequence") or ())]


def _draw(path: Path, indices: list[int], names: LabelNames, grid: Grid) -> np.ndarray:
    try:
        with pydicom_config.disable_value_validation():
            dataset = dicom.parse(path)
            size = int(dataset.Rows), int(dataset.Columns)
            if size != grid.size:
                return np.zeros(size, dtype=np.uint8)
            if size[0] * size[1] * int(dataset.get("NumberOfFrames") or 1) > 4 * MAX_PIXELS:
                raise UnreadableImage(path, "the DICOM segmentation has more frames than the limit allows")
            pixels = np.asarray(dataset.pixel_array).reshape(-1, *size)
            layers = [layer for number in indices for layer in _layers(dataset, pixels[number], number)]
            meanings = {
                int(item.SegmentNumber): (_code(item), str(item.get("SegmentLabel", "")))
                for item in dataset.SegmentSequence
            }
    except UnreadableImage:
        raise
    except Exception as error:  # its message may quote tags
        raise UnreadableImage(path, f"the DICOM segmentation is broken ({type(error).__name__})") from None
    mask = np.zeros(size, dtype=np.uint8)
    for segment, inside in sorted(layers, key=lambda layer: layer[0]):
        if segment not in meanings:
            raise UnreadableImage(path, f"the DICOM segmentation has no description of its segment {segment}")
        code, label = meanings[segment]
        index = names.index_of_code(*code, label)
        if index is not None:
            mask[inside] = index
    return mask


def _layers(dataset: Any, frame: np.ndarray, number: int) -> list[tuple[int, np.ndarray]]:
    """Segment numbers and pixels, (H, W) bool, of one frame."""
    kind = str(dataset.get("SegmentationType", "BINARY"))
    if kind == "LABELMAP":
        return [(int(value), frame == value) for value in np.unique(frame) if value]
    segment = next(
        int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        for group in _groups(dataset, number)
        if "SegmentIdentificationSequence" in group
    )
    if kind == "FRACTIONAL":
        return [(segment, frame >= 0.5 * float(dataset.get("MaximumFractionalValue") or 255))]
    return [(segment, frame > 0)]


def _code(segment: Any) -> tuple[str, str]:
    """Scheme and value of the coded type of a segment; empty where there is none."""
    for item in segment.get("SegmentedPropertyTypeCodeSequence") or ():
        return str(item.get("CodingSchemeDesignator", "")), str(item.get("CodeValue", ""))
    return "", ""
