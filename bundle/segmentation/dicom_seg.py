"""A mask as a DICOM Segmentation object (PS3.3 A.51) that an archive files beside its image.

The object is binary, with one segment and one frame a label, whether the label was found or not: frame i is segment i,
and an empty mask is an object of empty frames, which says "looked for and not found". It belongs to the image's study,
in a series of its own, and points at the image pixel for pixel.

A radiograph or a photograph has no place in the patient's coordinates, but what reads segmentations by their geometry,
such as dcmqi, refuses one without. So where the file tells no full position, the object has a frame of reference of its
own: origin at the first pixel, axes along rows and columns, the file's pixel spacing or 1 mm. It is the affine that the
masks in NIfTI have, and as little as that is it a place in the patient.
"""

from __future__ import annotations

import copy
import math
import os
from pathlib import Path

import highdicom
import numpy as np
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    Segmentation,
    SegmentationTypeValues,
    SegmentDescription,
)
from highdicom.sr import CodedConcept
from pydicom import config as pydicom_config
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from bundle import __version__
from bundle.data.dicom import MAKER, pixel_spacing
from bundle.data.modality import Code, LabelCode, Modality
from bundle.data.pictures import UnreadableImage
from bundle.segmentation.dicom_source import (
    COMPRESSION,
    IDENTITY,
    MAX_TEXT,
    REFERENCES,
    Source,
    read_source,
    save,
    text,
)

SERIES_NUMBER = 1000  # far from the numbers that a modality gives its own series
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")  # CID 7162, algorithm families
BODY_STRUCTURE = Code("123037004", "SCT", "Body structure")  # of a label without a code: SNOMED CT's widest term
POSITION = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}  # how many numbers each has
SLICE_THICKNESS = 1.0  # mm, where none is told: a projection has none, and a voxel needs one


def write_segmentation(
    path: str | os.PathLike[str],
    source: str | os.PathLike[str],
    mask: np.ndarray,
    modality: Modality,
    *,
    weights: str = "",
) -> Path:
    """Write the segmentation object of ``source`` to ``path``, whole or not at all; see :func:`segmentation_object`."""
    return save(segmentation_object(source, mask, modality, weights=weights), path)


def segmentation_object(
    source: str | os.PathLike[str], mask: np.ndarray, modality: Modality, *, weights: str = "", drawn: bool = False
) -> Dataset:
    """A DICOM Segmentation of one image; UIDs are new with every call, since each object is another one.

    Args:
        source: DICOM file of an image of any class, or one of its frames; of several frames the first where none is
            named.
        mask: (rows, columns) of class indices, rows from top to bottom as stored: 0 is background, ``i + 1`` is
            ``modality.labels[i]``.
        modality: gives the labels and their codes; a label without a code is a "Body structure".
        weights: fingerprint of the weights that made the mask, noted as a parameter of the algorithm.
        drawn: a person has drawn or corrected the mask, so its segments are SEMIAUTOMATIC and not AUTOMATIC.

    Raises:
        UnreadableImage: the source is no DICOM, or lacks what a reference needs. No value of the header is in the
            message.
        ValueError: the mask has another size than the image, or a value that no label has.
    """
    with pydicom_config.disable_value_validation():  # a warning would quote the value, which may be an identifier
        origin = read_source(source)
        plane = origin.check_mask(mask, len(modality.labels))
        try:
            made = Segmentation(
                source_images=[_template(origin)],
                pixel_array=plane,
                segmentation_type=SegmentationTypeValues.BINARY,
                segment_descriptions=_descriptions(modality, weights, drawn=drawn),
                series_instance_uid=generate_uid(),
                series_number=SERIES_NUMBER,
                sop_instance_uid=generate_uid(),
                instance_number=1,
                manufacturer=MAKER,
                manufacturer_model_name=MAKER,
                software_versions=__version__,
                device_serial_number=weights[:MAX_TEXT] or __version__,  # wanted by the standard; software has none
                content_label="SEGMENTATION",
                series_description=text(f"Segmentation: {', '.join(modality.labels)}"),
                transfer_syntax_uid=ExplicitVRLittleEndian,
                omit_empty_frames=False,
            )
        except Exception as error:  # its message may quote the header
            reason = f"no segmentation can be made of this DICOM object ({type(error).__name__})"
            raise UnreadableImage(source, reason) from None
        for tag in _untold(origin.header):
            made.pop(tag, None)
        origin.identify(made)
        made.ContentCreatorName = ""
        _refer(made, origin)
    return made


def _template(origin: Source) -> Dataset:
    """What the new object is built on: references and geometry, with nothing of a patient.

    It is as if the source were a secondary capture of the one frame alone.
    """
    header, template = origin.header, Dataset()
    for tag in (*REFERENCES, *COMPRESSION, "Rows", "Columns"):
        if tag in header:
            template[tag] = copy.copy(header[tag])
    for tag in (*IDENTITY, *_untold(header)):
        setattr(template, tag, "")
    # A class that may have several frames would ask for their tags, and one that is not known for its own.
    template.SOPClassUID = SecondaryCaptureImageStorage
    if header.get("FrameOfReferenceUID") and _is_placed(header):
        for tag in ("FrameOfReferenceUID", "PositionReferenceIndicator", *POSITION):
            if tag in header:
                template[tag] = copy.copy(header[tag])
    else:
        template.FrameOfReferenceUID = generate_uid()
        template.PositionReferenceIndicator = ""
        template.ImagePositionPatient = [0, 0, 0]
        template.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        template.PixelSpacing = list(pixel_spacing(header) or (1.0, 1.0))
    thickness = _numbers(header, "SliceThickness", 1)
    template.SliceThickness = thickness[0] if thickness and thickness[0] > 0 else SLICE_THICKNESS
    return template


def _untold(header: Dataset) -> list[str]:
    """What a lossily compressed source does not tell of its compression, and highdicom 0.22 does not do without."""
    return [tag for tag in COMPRESSION if tag not in header] if header.get("LossyImageCompression") == "01" else []


def _is_placed(header: Dataset) -> bool:
    """Whether the plane has a place in space: finite numbers, positive distances, axes of length 1 at right angles."""
    found = {tag: _numbers(header, tag, count) for tag, count in POSITION.items()}
    if not all(found.values()):
        return False
    axes = np.reshape(found["ImageOrientationPatient"], (2, 3))
    return min(found["PixelSpacing"]) > 0 and bool(np.allclose(axes @ axes.T, np.eye(2), atol=1e-3))


def _numbers(header: Dataset, tag: str, count: int) -> list[float]:
    """The ``count`` finite numbers of a tag; none where it holds anything else."""
    told = header.get(tag)
    try:
        values = [float(value) for value in ([told] if count == 1 else told or ())]
    except (TypeError, ValueError):
        return []
    return values if len(values) == count and all(map(math.isfinite, values)) else []


def _descriptions(modality: Modality, weights: str, *, drawn: bool) -> list[SegmentDescription]:
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=MAKER,
        family=_concept(ARTIFICIAL_INTELLIGENCE),
        version=__version__,
        parameters={"modality": text(modality.name), **({"weights": weights} if weights else {})},
    )
    generic = LabelCode(**vars(BODY_STRUCTURE), category=BODY_STRUCTURE)
    kind = SegmentAlgorithmTypeValues.SEMIAUTOMATIC if drawn else SegmentAlgorithmTypeValues.AUTOMATIC
    described = []
    for number, label in enumerate(modality.labels, start=1):
        code = modality.codes.get(label, generic)
        described.append(
            SegmentDescription(
                segment_number=number,
                segment_label=text(label),
                segmented_property_category=_concept(code.category),
                segmented_property_type=_concept(code),
                algorithm_type=kind,
                algorithm_identification=algorithm,
            )
        )
    return described


def _concept(code: Code) -> CodedConcept:
    return CodedConcept(code.value, code.scheme, code.meaning)


def _refer(made: Dataset, origin: Source) -> None:
    """Refer to the source by its own class. The list of referenced series, unlike the others, names no frame."""
    made.SourceImageSequence = [copy.deepcopy(item) for item in made.SourceImageSequence]  # shared with that list
    items = list(made.SourceImageSequence)
    for frame in made.PerFrameFunctionalGroupsSequence:
        items += frame.DerivationImageSequence[0].SourceImageSequence
    for item in items:
        item.update(origin.reference())
    listed = made.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]
    listed.ReferencedSOPClassUID = origin.header.SOPClassUID
