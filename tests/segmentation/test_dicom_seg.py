"""A DICOM Segmentation holds the mask to the pixel, points at its image, and says nothing of a patient of its own."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    UID_dictionary,
    VLPhotographicImageStorage,
    XRayRadiofluoroscopicImageStorage,
    generate_uid,
)

from bundle import __version__
from bundle.data.demo.computed_radiograph import write_computed_radiograph
from bundle.data.dicom import read_dicom
from bundle.data.frames import frame_path
from bundle.data.modality import Code, LabelCode, Modality, load_modality
from bundle.data.pictures import UnreadableImage
from bundle.run.seeds import numpy_stream
from bundle.segmentation.dicom_seg import segmentation_object, write_segmentation
from bundle.segmentation.dicom_source import IDENTITY
from tests.data.conftest import make_dicom
from tests.segmentation.dicom_objects import corner, errors_of, image

CHEST = load_modality("chest_xray")
THREE = Modality(
    "three",
    "three structures",
    1,
    "radiograph",
    ("lung", "heart", "Schlüsselbein"),
    codes={"heart": LabelCode("80891009", "SCT", "Heart", Code("91723000", "SCT", "Anatomical Structure"))},
)


@pytest.fixture
def radiograph(tmp_path: Path) -> Path:
    """A plain CR: no frame of reference, no position, and a side that is no multiple of 8."""
    path = tmp_path / "cr.dcm"
    picture = numpy_stream(0, "picture").random((37, 53), dtype=np.float32)
    write_computed_radiograph(path, picture, numpy_stream(0, "cr"), name="a", patient="b")
    header = pydicom.dcmread(path)
    assert "FrameOfReferenceUID" not in header and "ImagePositionPatient" not in header
    return path


def planes(path: Path) -> np.ndarray:
    """(segments, rows, columns) by pydicom alone, by the segment that each frame says it is."""
    dataset = pydicom.dcmread(path)
    frames = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    found = np.zeros_like(frames)
    (shared,) = dataset.SharedFunctionalGroupsSequence
    for own, frame in zip(dataset.PerFrameFunctionalGroupsSequence, frames, strict=True):
        group = own if "SegmentIdentificationSequence" in own else shared
        found[group.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1] = frame
    return found


def test_both_readers_give_the_mask_of_a_plain_radiograph_back_pixel_for_pixel(radiograph, tmp_path):
    mask = corner(37, 53)
    path = write_segmentation(tmp_path / "out" / "seg.dcm", radiograph, mask, CHEST)
    np.testing.assert_array_equal(planes(path), mask[None])
    read = highdicom.seg.segread(path)
    uid = str(pydicom.dcmread(radiograph).SOPInstanceUID)
    stacked = read.get_pixels_by_source_instance([uid])
    np.testing.assert_array_equal(stacked[0, ..., 0], mask)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["seg.dcm"]


@given(data=st.data(), rows=st.integers(3, 19), columns=st.integers(3, 19))
def test_every_label_of_any_size_comes_back(tmp_path_factory, data, rows, columns):
    folder = tmp_path_factory.mktemp("any")
    values = data.draw(st.lists(st.integers(0, 3), min_size=rows * columns, max_size=rows * columns))
    mask = np.array(values, np.uint8).reshape(rows, columns)
    source = image(folder / "cr.dcm", np.zeros((rows, columns), np.uint16))
    found = planes(write_segmentation(folder / "seg.dcm", source, mask, THREE))
    assert found.shape == (3, rows, columns)
    for number in (1, 2, 3):
        np.testing.assert_array_equal(found[number - 1], mask == number)


def test_an_empty_mask_is_a_frame_of_background_for_every_label(radiograph, tmp_path):
    path = write_segmentation(tmp_path / "seg.dcm", radiograph, np.zeros((37, 53), np.uint8), THREE)
    assert pydicom.dcmread(path).NumberOfFrames == 3
    assert planes(path).shape == (3, 37, 53) and not planes(path).any()


def test_every_reference_leads_to_the_image(radiograph):
    source, made = pydicom.dcmread(radiograph), segmentation_object(radiograph, corner(37, 53), CHEST)
    assert made.SOPClassUID == SegmentationStorage and made.SegmentationType == "BINARY"
    assert made.StudyInstanceUID == source.StudyInstanceUID
    assert made.SeriesInstanceUID != source.SeriesInstanceUID and made.SOPInstanceUID != source.SOPInstanceUID
    (series,) = made.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    (derivation,) = made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence
    for items in (series.ReferencedInstanceSequence, made.SourceImageSequence, derivation.SourceImageSequence):
        (item,) = items
        assert (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) == (
            source.SOPClassUID,
            source.SOPInstanceUID,
        )
        assert "ReferencedFrameNumber" not in item


@pytest.mark.parametrize("frame", [None, 2])
def test_a_source_of_several_frames_is_referred_to_by_the_frame_that_is_meant_or_the_first(tmp_path, frame):
    kind = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    source = image(tmp_path / "m.dcm", np.zeros((9, 11), np.uint16), SOPClassUID=kind, NumberOfFrames=2)
    made = segmentation_object(frame_path(source, frame) if frame else source, corner(9, 11), CHEST)
    (derivation,) = made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence
    assert made.SourceImageSequence[0].ReferencedFrameNumber == (frame or 1)
    assert derivation.SourceImageSequence[0].ReferencedFrameNumber == (frame or 1)
    (listed,) = made.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert "ReferencedFrameNumber" not in listed
    for item in (listed, made.SourceImageSequence[0], derivation.SourceImageSequence[0]):
        assert item.ReferencedSOPClassUID == kind


@pytest.mark.parametrize(
    "kind",
    [
        ComputedRadiographyImageStorage,
        DigitalXRayImageStorageForPresentation,
        MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        XRayRadiofluoroscopicImageStorage,
        UID("1.2.840.10008.5.1.4.1.1.9999"),
    ],
)
@pytest.mark.parametrize("tags", [{}, {"NumberOfFrames": 1}])
def test_a_mask_can_be_of_an_image_of_any_class_and_one_frame_needs_no_number(tmp_path, caplog, kind, tags):
    source = image(tmp_path / "one.dcm", np.zeros((9, 11), np.uint16), SOPClassUID=kind, **tags)
    with caplog.at_level("INFO"):
        path = write_segmentation(tmp_path / "seg.dcm", source, corner(9, 11), CHEST)
    np.testing.assert_array_equal(planes(path)[0], corner(9, 11))
    made = pydicom.dcmread(path)
    assert made.SourceImageSequence[0].ReferencedSOPClassUID == kind
    assert "ReferencedFrameNumber" not in made.SourceImageSequence[0]
    assert str(pydicom.dcmread(source).SOPInstanceUID) not in caplog.text
    if shutil.which("dciodvfy") and kind in UID_dictionary:
        assert not errors_of(path)


@pytest.mark.parametrize("kind", [VLPhotographicImageStorage, SecondaryCaptureImageStorage])
def test_a_colour_photograph_has_a_mask_too(tmp_path, kind):
    source = image(tmp_path / "photo.dcm", np.zeros((14, 21, 3), np.uint8), SOPClassUID=kind, Modality="XC")
    path = write_segmentation(tmp_path / "seg.dcm", source, corner(14, 21), load_modality("dermoscopy"))
    np.testing.assert_array_equal(planes(path)[0], corner(14, 21))
    (segment,) = pydicom.dcmread(path).SegmentSequence
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "95324001"
    assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"


def test_a_full_position_is_kept(tmp_path):
    reference = generate_uid()
    place = {"ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [2, 3]}
    pixels = np.zeros((9, 11), np.uint16)
    full = image(tmp_path / "full.dcm", pixels, FrameOfReferenceUID=reference, SliceThickness=1, **place)
    made = segmentation_object(full, corner(9, 11), CHEST)
    assert made.FrameOfReferenceUID == reference
    position = made.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    assert list(position.ImagePositionPatient) == [1, 2, 3]


@pytest.mark.parametrize(
    ("tags", "spacing"),
    [({}, (1, 1)), ({"PixelSpacing": [0.2, 0.1]}, (0.2, 0.1)), ({"ImagerPixelSpacing": [0.15, 0.16]}, (0.15, 0.16))],
)
def test_without_one_there_is_a_frame_of_reference_of_its_own_with_the_files_spacing(tmp_path, tags, spacing):
    """The geometry of the NIfTI mask: origin at the first pixel, axes along rows and columns."""
    half = image(tmp_path / "half.dcm", np.zeros((9, 11), np.uint16), FrameOfReferenceUID=generate_uid(), **tags)
    made = segmentation_object(half, corner(9, 11), CHEST)
    assert made.FrameOfReferenceUID != pydicom.dcmread(half).FrameOfReferenceUID
    (shared,) = made.SharedFunctionalGroupsSequence
    assert list(shared.PlaneOrientationSequence[0].ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
    assert [float(side) for side in shared.PixelMeasuresSequence[0].PixelSpacing] == pytest.approx(spacing)
    (frame,) = made.PerFrameFunctionalGroupsSequence
    assert list(frame.PlanePositionSequence[0].ImagePositionPatient) == [0, 0, 0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"PixelSpacing": [0, 0]},
        {"PixelSpacing": [-0.2, 0.2]},
        {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]},
        {"ImageOrientationPatient": [2, 0, 0, 0, 2, 0]},
        {"ImageOrientationPatient": [1, 0, 0, 0.7, 0.7, 0]},
    ],
)
def test_a_position_that_no_plane_can_have_is_not_passed_on(tmp_path, wrong):
    place = {"ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [2, 3]}
    more = {"FrameOfReferenceUID": generate_uid(), "SliceThickness": -3}
    source = image(tmp_path / "odd.dcm", np.zeros((9, 11), np.uint16), **{**place, **more, **wrong})
    made = segmentation_object(source, corner(9, 11), CHEST)
    (shared,) = made.SharedFunctionalGroupsSequence
    assert list(shared.PlaneOrientationSequence[0].ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
    measures = shared.PixelMeasuresSequence[0]
    assert min(*measures.PixelSpacing, measures.SliceThickness) > 0


def test_segments_have_their_labels_codes_and_algorithm(radiograph):
    made = segmentation_object(radiograph, np.zeros((37, 53), np.uint8), THREE, weights="sha256:12")
    assert [item.SegmentLabel for item in made.SegmentSequence] == ["lung", "heart", "Schlüsselbein"]
    assert [item.SegmentNumber for item in made.SegmentSequence] == [1, 2, 3]
    types = [item.SegmentedPropertyTypeCodeSequence[0].CodeValue for item in made.SegmentSequence]
    assert types == ["123037004", "80891009", "123037004"], "a label without a code is a body structure"
    for item in made.SegmentSequence:
        (algorithm,) = item.SegmentationAlgorithmIdentificationSequence
        assert item.SegmentAlgorithmType == "AUTOMATIC"
        assert algorithm.AlgorithmVersion == __version__ and "sha256:12" in algorithm.AlgorithmParameters
    assert made.ContentCreatorName == "" and made.SoftwareVersions == __version__


def test_patient_and_study_are_the_source_s_and_no_other_tag_of_it_is_copied(tmp_path):
    private = {
        "PatientAge": "055Y",
        "PatientComments": "a secret",
        "OperatorsName": "Secret^Operator",
        "InstitutionName": "Secret Hospital",
        "PatientWeight": 81,
        "StudyDescription": "a secret study",
    }
    tags = {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jürgen", "PatientSex": "U", "StudyDate": "1x"}
    source = image(tmp_path / "cr.dcm", np.zeros((9, 11), np.uint16), **tags, **private)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one of pydicom's would quote the date
        path = write_segmentation(tmp_path / "seg.dcm", source, corner(9, 11), THREE)
    found, wanted = pydicom.dcmread(path), pydicom.dcmread(source)
    for tag in IDENTITY:
        assert str(found[tag].value or "") == str(wanted.get(tag) or ""), tag
    assert str(found.SegmentSequence[2].SegmentLabel) == "Schlüsselbein"
    assert not set(private) & set(found.dir())
    content = path.read_bytes().lower()
    assert b"secret" not in content and content.count("müller".encode()) == 1


def test_a_de_identified_source_stays_known_as_one(tmp_path):
    tags = {"PatientIdentityRemoved": "YES", "DeidentificationMethod": "by hand"}
    source = image(tmp_path / "cr.dcm", np.zeros((9, 11), np.uint16), **tags)
    made = segmentation_object(source, corner(9, 11), CHEST)
    assert made.PatientIdentityRemoved == "YES" and made.DeidentificationMethod == "by hand"


@pytest.mark.parametrize(
    ("mask", "told"),
    [(np.zeros((53, 37)), "rows and columns"), (np.zeros((1, 37, 53)), "rows"), (np.full((37, 53), 2), "0 to 1")],
)
def test_a_mask_that_is_not_of_the_image_is_refused_and_nothing_is_written(radiograph, tmp_path, mask, told):
    with pytest.raises(ValueError, match=told):
        write_segmentation(tmp_path / "out" / "seg.dcm", radiograph, mask, CHEST)
    assert not (tmp_path / "out").exists()


def test_a_source_that_cannot_be_referred_to_is_refused_without_a_word_of_its_patient(tmp_path):
    source = make_dicom(tmp_path / "cr.dcm", np.zeros((9, 11), np.uint16))
    with pytest.raises(UnreadableImage, match="without SeriesInstanceUID"):
        segmentation_object(source, corner(9, 11), CHEST)
    (tmp_path / "page.dcm").write_text("<html>")
    with pytest.raises(UnreadableImage, match="no DICOM"):
        segmentation_object(tmp_path / "page.dcm", corner(9, 11), CHEST)


def test_every_object_is_another_one(radiograph):
    first, second = (segmentation_object(radiograph, corner(37, 53), CHEST) for _ in range(2))
    assert first.SOPInstanceUID != second.SOPInstanceUID and first.SeriesInstanceUID != second.SeriesInstanceUID


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
@pytest.mark.parametrize("kind", ["radiograph", "labels", "empty", "photograph", "positioned"])
def test_a_validator_of_the_standard_finds_no_error(radiograph, tmp_path, kind):
    source, mask, modality = radiograph, corner(37, 53), CHEST
    if kind == "labels":
        modality = THREE
    elif kind == "empty":
        mask = np.zeros_like(mask)
    elif kind == "photograph":
        tags = {"SOPClassUID": VLPhotographicImageStorage, "Modality": "XC"}
        source = image(tmp_path / "photo.dcm", np.zeros((37, 53, 3), np.uint8), **tags)
        modality = load_modality("dermoscopy")
    elif kind == "positioned":
        place = {"ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
        more = {"FrameOfReferenceUID": generate_uid(), "PixelSpacing": [2, 3], "SliceThickness": 1}
        source = image(tmp_path / "placed.dcm", np.zeros((37, 53), np.uint16), **place, **more)
    assert not errors_of(write_segmentation(tmp_path / "seg.dcm", source, mask, modality))


@pytest.mark.skipif(shutil.which("segimage2itkimage") is None, reason="dcmqi is not installed")
def test_dcmqi_gives_the_mask_of_a_plain_radiograph_back_on_the_grid_of_the_nifti_mask(radiograph, tmp_path):
    path = write_segmentation(tmp_path / "seg.dcm", radiograph, corner(37, 53), CHEST)
    arguments = ["--inputDICOM", str(path), "--outputDirectory", str(tmp_path), "--outputType", "nifti"]
    subprocess.run(["segimage2itkimage", *arguments], check=True, capture_output=True)
    volume = nibabel.load(tmp_path / "1.nii.gz")
    np.testing.assert_array_equal(np.asarray(volume.dataobj)[..., 0].T, corner(37, 53))
    row, column = read_dicom(radiograph).spacing
    np.testing.assert_allclose(volume.affine[:2, :2], np.diag([-column, -row]), rtol=1e-4)


@pytest.mark.parametrize(
    "told", [{"LossyImageCompressionRatio": "10"}, {"LossyImageCompressionMethod": "ISO_10918_1"}, {}]
)
def test_a_source_that_tells_half_of_its_compression_has_a_segmentation_that_tells_no_more(tmp_path, told):
    source = image(tmp_path / "cr.dcm", np.zeros((7, 9), np.uint16), LossyImageCompression="01", **told)
    made = segmentation_object(source, corner(7, 9), CHEST)
    lossy = {tag for tag in made.dir() if tag.startswith("LossyImageCompression")}
    assert lossy == {"LossyImageCompression", *told} and made.LossyImageCompression == "01"
