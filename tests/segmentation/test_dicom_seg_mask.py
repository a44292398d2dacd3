"""What is read out of a segmentation object is the mask that went in, whichever program has written it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from bundle.data.modality import Code, LabelCode, Modality, load_modality
from bundle.data.pictures import UnreadableImage
from bundle.segmentation.dicom_seg import segmentation_object
from bundle.segmentation.dicom_seg_mask import is_drawn, read_segmentation, referenced_series, segment_classes
from bundle.segmentation.dicom_source import save
from tests.segmentation.dicom_objects import image

CHEST = load_modality("chest_xray")
STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
TWO = Modality(
    "two",
    "two structures",
    1,
    "radiograph",
    ("lung", "heart"),
    codes={"heart": LabelCode("80891009", "SCT", "Heart", STRUCTURE)},
)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return image(tmp_path_factory.mktemp("source") / "cr.dcm", np.zeros((11, 13), np.uint16))


def segment(number: int, label: str, *, kind: str = "MANUAL", code: tuple[str, str] = ("1", "99X")) -> Dataset:
    item, coded = Dataset(), Dataset()
    item.SegmentNumber, item.SegmentLabel, item.SegmentAlgorithmType = number, label, kind
    coded.CodeValue, coded.CodingSchemeDesignator = code
    item.SegmentedPropertyTypeCodeSequence = [coded]
    return item


def of(*segments: Dataset) -> Dataset:
    made = Dataset()
    made.SegmentSequence = list(segments)
    return made


@given(values=st.lists(st.integers(0, 2), min_size=143, max_size=143), drawn=st.booleans())
def test_the_mask_comes_back_as_it_was_written(source, tmp_path_factory, values, drawn):
    mask = np.asarray(values, np.uint8).reshape(11, 13)
    made = segmentation_object(source, mask, TWO, drawn=drawn)
    path = save(made, tmp_path_factory.mktemp("made") / "seg.dcm")
    np.testing.assert_array_equal(read_segmentation(path, TWO), mask)
    assert is_drawn(made, TWO) == drawn


def test_a_segment_is_a_label_by_its_name_or_its_code_and_others_are_left_out(source, tmp_path):
    header = of(segment(1, "Rib"), segment(2, " LUNG"), segment(3, "Cor", code=("80891009", "SCT")))
    assert segment_classes(header, TWO) == {2: 1, 3: 2}
    mask = np.zeros((11, 13), np.uint8)
    mask[2:5, 3:9], mask[6:8, 1:4] = 1, 2
    path = save(segmentation_object(source, mask, TWO), tmp_path / "seg.dcm")
    np.testing.assert_array_equal(read_segmentation(path, CHEST), mask == 1)


def test_a_code_that_two_labels_share_names_neither():
    side = LabelCode("39607008", "SCT", "Lung", STRUCTURE)
    sides = Modality("sides", "both lungs", 1, "radiograph", ("left", "right"), codes={"left": side, "right": side})
    assert segment_classes(of(segment(1, "lung", code=("39607008", "SCT")), segment(2, "right")), sides) == {2: 2}


def test_a_segment_that_no_person_has_looked_at_makes_no_label():
    assert is_drawn(of(segment(1, "lung"), segment(2, "heart", kind="SEMIAUTOMATIC")), TWO)
    assert not is_drawn(of(segment(1, "lung"), segment(2, "heart", kind="AUTOMATIC")), TWO)
    assert is_drawn(of(segment(1, "lung"), segment(2, "rib", kind="AUTOMATIC")), TWO), "the rib is not asked for"
    assert not is_drawn(of(segment(1, "rib")), TWO) and not is_drawn(Dataset(), TWO)


def test_the_referenced_series_is_that_of_the_image(source):
    made = segmentation_object(source, np.zeros((11, 13), np.uint8), CHEST)
    assert referenced_series(made) == pydicom.dcmread(source).SeriesInstanceUID
    assert referenced_series(Dataset()) == ""


def test_a_fractional_segment_counts_from_half_of_its_maximum_on(source, tmp_path):
    made = segmentation_object(source, np.zeros((11, 13), np.uint8), CHEST)
    made.SegmentationType, made.SegmentationFractionalType, made.MaximumFractionalValue = (
        "FRACTIONAL",
        "PROBABILITY",
        200,
    )
    made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
    shares = np.arange(143, dtype=np.uint8).reshape(11, 13)
    made.PixelData = shares.tobytes() + b"\0"
    path = save(made, tmp_path / "seg.dcm")
    np.testing.assert_array_equal(read_segmentation(path, CHEST), shares >= 100)


def test_what_is_no_segmentation_of_the_modality_is_refused_without_quoting_it(source, tmp_path):
    (tmp_path / "text.dcm").write_bytes(b"Jane Doe " * 40)
    heart = Modality("heart", "the heart", 1, "radiograph", ("heart",))
    other = save(segmentation_object(source, np.zeros((11, 13), np.uint8), CHEST), tmp_path / "lung.dcm")
    for path, reason in ((tmp_path / "text.dcm", "broken"), (other, "no segment of heart"), (source, "no segment")):
        with pytest.raises(UnreadableImage, match=reason) as refusal:
            read_segmentation(path, heart)
        assert "Jane" not in str(refusal.value)
