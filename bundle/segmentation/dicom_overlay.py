"""A mask's outlines drawn on its image, as a DICOM picture for viewers that show no segmentation.

A secondary capture in RGB (PS3.3 A.8.1), derived from the image and in its study. It is for the eye alone: the values
are those that the image is shown with, and what lies under a line is lost.
"""

from __future__ import annotations

import os
from pathlib import Path

import highdicom
import numpy as np
from pydicom import config as pydicom_config
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from bundle import __version__
from bundle.data.dicom import MAKER, pixel_spacing, read_dicom
from bundle.data.modality import Modality
from bundle.data.pictures import UnreadableImage
from bundle.report.overlays import overlay
from bundle.segmentation.dicom_source import COMPRESSION, read_source, save, text

SERIES_NUMBER = 1001  # next to that of the segmentations


def write_overlay(
    path: str | os.PathLike[str],
    source: str | os.PathLike[str],
    mask: np.ndarray,
    modality: Modality,
    *,
    weights: str = "",
) -> Path:
    """Write the overlay of ``source`` to ``path``, whole or not at all; see :func:`overlay_object`."""
    return save(overlay_object(source, mask, modality, weights=weights), path)


def overlay_object(
    source: str | os.PathLike[str], mask: np.ndarray, modality: Modality, *, weights: str = ""
) -> Dataset:
    """A secondary capture of one image with the outlines of its mask; UIDs are new with every call.

    Args:
        source: DICOM file of an image, or one of its frames.
        mask: (rows, columns) of class indices, rows from top to bottom as stored; 0 is background.
        modality: names the labels.
        weights: fingerprint of the weights that made the mask, noted in the description of the derivation.

    Raises:
        UnreadableImage: the source cannot be read, or lacks what a reference needs.
        ValueError: the mask has another size than the image, or a value that no label has.
    """
    with pydicom_config.disable_value_validation():  # a warning would quote the value, which may be an identifier
        origin = read_source(source)
        plane = origin.check_mask(mask, len(modality.labels))
        drawn = overlay(read_dicom(source).pixels, None, plane)
        try:
            made = highdicom.sc.SCImage(
                pixel_array=drawn,
                photometric_interpretation="RGB",
                bits_allocated=8,
                coordinate_system="PATIENT",
                patient_orientation=("L", "F"),  # replaced below by the source's
                study_instance_uid=origin.header.StudyInstanceUID,
                series_instance_uid=generate_uid(),
                series_number=SERIES_NUMBER,
                sop_instance_uid=generate_uid(),
                instance_number=1,
                manufacturer=MAKER,
                manufacturer_model_name=MAKER,
                software_versions=__version__,
                series_description=text(f"Overlay: {', '.join(modality.labels)}"),
                pixel_spacing=pixel_spacing(origin.header),
            )
        except Exception as error:  # its message may quote the header
            raise UnreadableImage(source, f"no overlay can be made of this object ({type(error).__name__})") from None
        origin.identify(made)
        made["PatientOrientation"].value = origin.header.get("PatientOrientation") or ""
        made.Laterality = ""  # wanted where the body part may be one of a pair, which nothing here tells
        made.ConversionType = "WSD"  # made on a workstation
        made.SourceImageSequence = Sequence([origin.reference()])
        made.DerivationDescription = f"Outlines of {MAKER} {__version__}, not looked at by a person. {weights}".strip()
        for tag in (*COMPRESSION, "BurnedInAnnotation"):
            if origin.header.get(tag):
                made[tag] = origin.header[tag]
    return made
