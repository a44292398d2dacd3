"""The overlay shows the image with the outlines on it, and belongs to the image's study."""

from __future__ import annotations

import shutil

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    VLPhotographicImageStorage,
)

from bundle.data.dicom import OtherModality, pixel_spacing, read_dicom
from bundle.data.frames import frame_path
from bundle.data.modality import load_modality
from bundle.data.pictures import UnreadableImage
from bundle.report.overlays import PREDICTION_COLOUR, outline
from bundle.segmentation.dicom_overlay import overlay_object, write_overlay
from bundle.segmentation.dicom_seg import segmentation_object
from bundle.segmentation.dicom_source import IDENTITY
from tests.segmentation.dicom_objects import corner, errors_of, image

CHEST = load_modality("chest_xray")
PIXELS = np.random.default_rng(0).integers(0, 65536, (37, 53), dtype=np.uint16)


def test_lines_are_drawn_on_the_image_as_it_is_shown(tmp_path):
    source = image(tmp_path / "cr.dcm", PIXELS, PhotometricInterpretation="MONOCHROME1", PixelSpacing=[0.2, 0.1])
    path = write_overlay(tmp_path / "out" / "overlay.dcm", source, corner(37, 53), CHEST)
    drawn = pydicom.dcmread(path).pixel_array
    line = outline(corner(37, 53))
    assert line.any() and (drawn[line] == PREDICTION_COLOUR).all()
    shown = read_dicom(source).pixels
    np.testing.assert_allclose(drawn[~line], np.repeat(shown[~line][:, None], 3, axis=1) * 255, atol=0.51)
    np.testing.assert_allclose(pixel_spacing(pydicom.dcmread(path)), (0.2, 0.1))
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["overlay.dcm"]


def test_it_is_derived_of_the_image_and_in_its_study_and_no_other_tag_is_copied(tmp_path):
    secret = {"InstitutionName": "Secret Hospital", "PatientComments": "secret", "PatientName": "Müller^Jürgen"}
    tags = {"SpecificCharacterSet": "ISO_IR 100", "PatientOrientation": ["L", "F"], "BurnedInAnnotation": "NO"}
    source = image(tmp_path / "cr.dcm", PIXELS, LossyImageCompression="01", **secret, **tags)
    made, wanted = overlay_object(source, corner(37, 53), CHEST, weights="sha256:12"), pydicom.dcmread(source)
    assert made.SOPClassUID == SecondaryCaptureImageStorage
    assert made.ImageType[:2] == ["DERIVED", "SECONDARY"] and made.ConversionType == "WSD"
    assert made.StudyInstanceUID == wanted.StudyInstanceUID and made.SeriesInstanceUID != wanted.SeriesInstanceUID
    (item,) = made.SourceImageSequence
    assert (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) == (wanted.SOPClassUID, wanted.SOPInstanceUID)
    for tag in IDENTITY:
        assert str(made[tag].value or "") == str(wanted.get(tag) or ""), tag
    assert made.LossyImageCompression == "01" and made.BurnedInAnnotation == "NO"
    assert list(made.PatientOrientation) == ["L", "F"] and "sha256:12" in made.DerivationDescription
    assert "secret" not in str(made).lower()


def test_what_is_no_term_of_the_standard_is_not_copied_as_one(tmp_path):
    tags = {"PatientOrientation": ["SECRET", "F"], "BurnedInAnnotation": "SECRET", "LossyImageCompression": "SECRET"}
    source = image(tmp_path / "cr.dcm", PIXELS, **tags)
    for make in (overlay_object, segmentation_object):
        assert "SECRET" not in str(make(source, corner(37, 53), CHEST))


def test_an_overlay_that_comes_back_from_the_archive_is_no_image(tmp_path):
    path = write_overlay(tmp_path / "overlay.dcm", image(tmp_path / "cr.dcm", PIXELS), corner(37, 53), CHEST)
    with pytest.raises(OtherModality, match="that coldstart_segmentation has made"):
        read_dicom(path, modalities=CHEST.dicom_modalities)


def test_a_frame_is_drawn_and_referred_to_as_itself(tmp_path):
    stack = np.stack([np.full((9, 11), value, np.uint8) for value in (0, 100, 200)])
    tags = {"NumberOfFrames": 3, "PixelData": stack.tobytes() + b"\0", "WindowCenter": 128, "WindowWidth": 256}
    kind = MultiFrameGrayscaleByteSecondaryCaptureImageStorage
    source = image(tmp_path / "m.dcm", stack[0], SOPClassUID=kind, **tags)
    made = overlay_object(frame_path(source, 2), np.zeros((9, 11), np.uint8), CHEST)
    assert made.SourceImageSequence[0].ReferencedFrameNumber == 2
    assert np.abs(made.pixel_array.astype(int) - 100).max() <= 1


def test_a_photograph_keeps_its_colours(tmp_path):
    colour = np.random.default_rng(1).integers(0, 256, (14, 21, 3), dtype=np.uint8)
    source = image(tmp_path / "photo.dcm", colour, SOPClassUID=VLPhotographicImageStorage, Modality="XC")
    made = overlay_object(source, np.zeros((14, 21), np.uint8), load_modality("dermoscopy"))
    np.testing.assert_array_equal(made.pixel_array, colour)


def test_a_mask_of_another_size_and_a_source_without_a_series_are_refused(tmp_path):
    source = image(tmp_path / "cr.dcm", PIXELS)
    with pytest.raises(ValueError, match="rows and columns"):
        overlay_object(source, corner(53, 37), CHEST)
    with pytest.raises(UnreadableImage, match="without SeriesInstanceUID"):
        overlay_object(image(tmp_path / "cr.dcm", PIXELS, SeriesInstanceUID=""), corner(37, 53), CHEST)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
@pytest.mark.parametrize("kind", ["radiograph", "detector", "photograph"])
def test_a_validator_of_the_standard_finds_no_error(tmp_path, kind):
    pixels, modality, tags = PIXELS, CHEST, {"PixelSpacing": [0.2, 0.1], "PatientOrientation": ["L", "F"]}
    if kind == "detector":
        tags = {"ImagerPixelSpacing": [0.2, 0.1], "LossyImageCompression": "00"}
    elif kind == "photograph":
        pixels = np.zeros((37, 53, 3), np.uint8)
        tags = {"SOPClassUID": VLPhotographicImageStorage, "Modality": "XC"}
        modality = load_modality("dermoscopy")
    source = image(tmp_path / "source.dcm", pixels, **tags)
    assert not errors_of(write_overlay(tmp_path / "overlay.dcm", source, corner(37, 53), modality))
