"""The same drawn structures come out of every tool's format as the same mask."""

from __future__ import annotations

import json
from pathlib import Path

import highdicom
import nrrd
import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from bundle.data.annotations.annotation import Annotation, Grid
from bundle.data.annotations.coco import read_coco
from bundle.data.annotations.cvat import read_cvat
from bundle.data.annotations.names import LabelNames
from bundle.data.annotations.segmentation_object import is_segmentation, read_segmentation
from bundle.data.masks import read_mask, read_mask_with_place
from bundle.data.modality import load_modality
from bundle.data.nrrd import read_plane
from bundle.data.pictures import UnreadableImage
from bundle.segmentation.dicom_seg import segmentation_object, write_segmentation
from tests.data.conftest import make_dicom

LABELS = ("lung", "heart", "clavicle")
NAMES = LabelNames(LABELS, aliases={"cor": "heart", "ruler": ""})
GRID = Grid(12, 16)
CHEST = load_modality("chest_xray")


def expected() -> np.ndarray:
    """A lung of 8 x 6 with a heart over its lower right corner, and a hole in the heart."""
    mask = np.zeros(GRID.size, dtype=np.uint8)
    mask[1:7, 2:10] = 1
    mask[4:10, 7:13] = 2
    mask[5:7, 8:10] = 0
    return mask


def rectangle(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def cvat(path: Path, shapes: str, *, name: str = "a.png", width: int = 16, height: int = 12, head: str = "") -> Path:
    image = f'<image id="0" name="{name}" width="{width}" height="{height}">{shapes}</image>'
    path.write_text(
        f'<?xml version="1.0" encoding="utf-8"?>{head}<annotations><version>1.1</version>{image}</annotations>'
    )
    return path


def polygon(label: str, corners: list[float], z: int) -> str:
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in zip(corners[::2], corners[1::2], strict=True))
    return f'<polygon label="{label}" source="manual" occluded="0" points="{points}" z_order="{z}"/>'


def only(annotations: list[Annotation]) -> Annotation:
    (found,) = annotations
    return found


def test_cvat_polygons_masks_and_ellipses_lie_in_their_z_order(tmp_path):
    heart = '<mask label="Cor" z_order="1" rle="36" left="7" top="4" width="6" height="6"/>'.replace('"36"', '"0, 36"')
    shapes = (
        polygon("background", rectangle(8, 5, 10, 7), 5)
        + heart
        + polygon("ruler", rectangle(0, 0, 16, 12), 9)
        + polygon("Lung", rectangle(2, 1, 10, 7), 0)
        + '<tag label="lung"/>'
    )
    found = only(read_cvat(cvat(tmp_path / "a.xml", shapes, name="ward 1/a.b.png"), NAMES))
    assert found.image == "ward 1/a.b" and found.loose
    np.testing.assert_array_equal(found.draw(GRID), expected())
    ellipse = '<ellipse label="clavicle" cx="8" cy="6" rx="4" ry="3" z_order="0"/>'
    drawn = only(read_cvat(cvat(tmp_path / "b.xml", ellipse), NAMES)).draw(GRID)
    for row in range(12):
        for column in range(16):
            inside = ((column + 0.5 - 8) / 4) ** 2 + ((row + 0.5 - 6) / 3) ** 2 < 1
            assert drawn[row, column] == (3 if inside else 0)


def test_a_cvat_image_without_objects_is_not_annotated_and_one_with_a_tag_of_background_is(tmp_path):
    assert read_cvat(cvat(tmp_path / "a.xml", ""), NAMES) == []
    drawn = only(read_cvat(cvat(tmp_path / "b.xml", '<tag label="background"/>'), NAMES)).draw(GRID)
    assert not drawn.any() and drawn.shape == GRID.size


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        (polygon("hair", rectangle(0, 0, 1, 1), 0), "label 'hair' is none of lung, heart, clavicle"),
        ('<box label="lung" xtl="0" ytl="0" xbr="3" ybr="3"/>', "a box of label 'lung' has no area"),
        ('<polyline label="lung" points="0,0;3,3"/>', "a polyline"),
        ('<polygon label="lung" points="0,0;3,3"/>', "three corners"),
        ('<polygon label="lung" points="0,0;3,x;3,3"/>', "could not convert"),
        ('<mask label="lung" rle="1,2" left="0" top="0" width="2" height="2"/>', "run lengths"),
        ('<mask label="lung" rle="0,4" left="15" top="0" width="2" height="2"/>', "within its image"),
        ('<mask label="lung" rle="0,4" left="0" top="0" width="99999999" height="2"/>', "must fit"),
        ('<mask label="lung" rle="0,4" left="0" top="0" width="2"/>', "the number 'height'"),
    ],
)
def test_what_cvat_holds_and_cannot_be_a_mask_is_refused_image_by_image(tmp_path, shapes, told):
    found = only(read_cvat(cvat(tmp_path / "a.xml", shapes), NAMES))
    with pytest.raises(ValueError, match=told):
        found.draw(GRID)


@pytest.mark.parametrize(
    "text",
    [
        "<svg/>",
        "<annotations>",
        "",
        '<annotations><track id="0" label="lung"/></annotations>',
        '<!DOCTYPE a [<!ENTITY x "y">]><annotations/>',
        "\x00",
    ],
)
def test_an_xml_that_is_no_export_of_images_is_refused(tmp_path, text):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(UnreadableImage):
        read_cvat(tmp_path / "a.xml", NAMES)


def coco(path: Path, objects: list[dict], **image: object) -> Path:
    content = {
        "images": [
            {"id": 7, "file_name": "x/a.jpg", "width": 16, "height": 12, **image},
            {"id": 8, "file_name": "b.jpg"},
        ],
        "categories": [{"id": 1, "name": "lung"}, {"id": 2, "name": "cor"}, {"id": 3, "name": "background"}],
        "annotations": [{"id": i, "image_id": 7, **entry} for i, entry in enumerate(objects)],
    }
    path.write_text(json.dumps(content))
    return path


def test_coco_polygons_and_run_lengths_lie_in_their_order(tmp_path):
    heart = np.zeros(GRID.size, dtype=bool)
    heart[4:10, 7:13] = True
    flat = heart.T.reshape(-1)
    ends = np.flatnonzero(np.diff(flat.astype(int))) + 1
    counts = np.diff([0, *ends, flat.size]).tolist()
    objects = [
        {"category_id": 1, "segmentation": [rectangle(2, 1, 6, 7), rectangle(6, 1, 10, 7)]},
        {"category_id": 2, "segmentation": {"size": [12, 16], "counts": counts}},
        {"category_id": 3, "segmentation": [rectangle(8, 5, 10, 7)]},
    ]
    found = only(read_coco(coco(tmp_path / "a.json", objects), NAMES))
    assert found.image == "x/a"
    np.testing.assert_array_equal(found.draw(GRID), expected())


@pytest.mark.parametrize(
    "entry",
    [
        {"category_id": 9, "segmentation": [rectangle(0, 0, 1, 1)]},
        {"category_id": 1},
        {"category_id": 1, "segmentation": []},
        {"category_id": 1, "segmentation": [[1, 2, 3]]},
        {"category_id": 1, "segmentation": {"size": [12, 16], "counts": [3]}},
        {"category_id": 1, "segmentation": {"size": [120000, 160000], "counts": [1]}},
        {"category_id": 1, "segmentation": {"counts": "0"}},
        {"category_id": 1, "segmentation": 5},
        {"segmentation": [rectangle(0, 0, 1, 1)]},
    ],
)
def test_a_broken_coco_object_is_refused_image_by_image(tmp_path, entry):
    found = only(read_coco(coco(tmp_path / "a.json", [entry]), NAMES))
    with pytest.raises(ValueError):
        found.draw(GRID)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"images": 1, "categories": [], "annotations": []}', "[" * 100_000])
def test_a_json_that_is_no_coco_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UnreadableImage):
        read_coco(tmp_path / "a.json", NAMES)


def test_annotations_of_a_picture_of_another_size_keep_it(tmp_path):
    for found in (
        read_cvat(cvat(tmp_path / "a.xml", polygon("lung", rectangle(0, 0, 2, 2), 0), width=30), NAMES),
        read_coco(
            coco(tmp_path / "a.json", [{"category_id": 1, "segmentation": [[0, 0, 1, 0, 1, 1]]}], width=30), NAMES
        ),
    ):
        assert only(found).draw(GRID).shape == (12, 30)


def write_nrrd(path: Path, values: np.ndarray, **header: object) -> Path:
    """(H, W), or (layers, H, W), as Slicer orders it: layers, x, y, z."""
    data = values.T[..., None] if values.ndim == 2 else values.transpose(0, 2, 1)[..., None]
    geometry = {"space": "left-posterior-superior", "space origin": [0, 0, 0]}
    directions = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    if values.ndim == 3:
        geometry |= {"kinds": ["list", "domain", "domain", "domain"]}
        directions = [[np.nan] * 3, *directions]
    nrrd.write(str(path), data, {**geometry, "space directions": np.array(directions, dtype=float), **header})
    return path


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_nrrd_of_class_indices_is_read_with_its_place(tmp_path, encoding):
    path = write_nrrd(tmp_path / "a.nrrd", expected(), encoding=encoding)
    mask, affine = read_mask_with_place(path, labels=LABELS)
    np.testing.assert_array_equal(mask, expected())
    np.testing.assert_array_equal(affine, np.diag([-1, -1, 1, 1]))


def test_segments_of_slicer_are_known_by_their_names_also_in_layers(tmp_path):
    lung, heart = np.zeros((2, *GRID.size), dtype=np.uint8)
    lung[1:7, 2:10] = 1
    heart[4:10, 7:13] = 1
    heart[5:7, 8:10] = 2
    segments = {
        "Segment0_Name": "Lung",
        "Segment0_LabelValue": "1",
        "Segment0_Layer": "0",
        "Segment1_Name": "cor",
        "Segment1_LabelValue": "1",
        "Segment1_Layer": "1",
        "Segment2_Name": "background",
        "Segment2_LabelValue": "2",
        "Segment2_Layer": "1",
    }
    path = write_nrrd(tmp_path / "a.seg.nrrd", np.stack([lung, heart]), **segments)
    np.testing.assert_array_equal(read_mask_with_place(path, labels=LABELS, names=NAMES)[0], expected())
    with pytest.raises(ValueError, match="label 'cor' is none of"):
        read_mask(path, labels=LABELS)


def test_an_nrrd_is_refused_that_has_several_planes_or_reads_another_file_or_blows_up(tmp_path):
    with pytest.raises(UnreadableImage, match="single plane"):
        nrrd.write(str(tmp_path / "deep.nrrd"), np.zeros((4, 5, 3), dtype=np.uint8))
        read_plane(tmp_path / "deep.nrrd")
    (tmp_path / "secret").write_bytes(bytes(20))
    head = "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 4 5\nencoding: raw\ndata file: secret\n\n"
    (tmp_path / "detached.nrrd").write_text(head)
    with pytest.raises(UnreadableImage, match="data are elsewhere"):
        read_plane(tmp_path / "detached.nrrd")
    (tmp_path / "huge.nrrd").write_text(head.replace("4 5", "400000 500000").replace("data file: secret\n", ""))
    with pytest.raises(UnreadableImage, match="above the limit"):
        read_plane(tmp_path / "huge.nrrd")
    for content in (
        b"",
        b"NRRD0004\n",
        b"\x89PNG",
        b"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 4 5\nencoding: gzip\n\nxx",
    ):
        (tmp_path / "broken.nrrd").write_bytes(content)
        with pytest.raises(UnreadableImage):
            read_plane(tmp_path / "broken.nrrd")


@pytest.fixture
def radiograph(tmp_path) -> Path:
    pixels = np.arange(12 * 16, dtype=np.uint16).reshape(GRID.size)
    return make_dicom(tmp_path / "cr.dcm", pixels, SeriesInstanceUID=generate_uid())


def test_a_dicom_segmentation_of_this_bundle_is_read_back_by_the_uid_of_its_image(tmp_path, radiograph):
    mask = (expected() > 0).astype(np.uint8)
    path = write_segmentation(tmp_path / "any name.dcm", radiograph, mask, CHEST)
    assert is_segmentation(path) and not is_segmentation(radiograph)
    found = only(read_segmentation(path, LabelNames(CHEST.labels, codes=CHEST.codes)))
    assert found.uid == str(pydicom.dcmread(radiograph).SOPInstanceUID) and found.image == ""
    np.testing.assert_array_equal(found.draw(GRID), mask)
    assert found.draw(Grid(5, 5)).shape == GRID.size


def test_a_segment_is_known_by_its_code_where_its_label_is_of_no_use(tmp_path, radiograph):
    made = segmentation_object(radiograph, (expected() > 0).astype(np.uint8), CHEST)
    made.SegmentSequence[0].SegmentLabel = "Segment_1"
    made.save_as(tmp_path / "seg.dcm", write_like_original=False)
    names = LabelNames(CHEST.labels, codes=CHEST.codes)
    assert only(read_segmentation(tmp_path / "seg.dcm", names)).draw(GRID).any()
    with pytest.raises(ValueError, match="label 'Segment_1' is none of"):
        only(read_segmentation(tmp_path / "seg.dcm", LabelNames(CHEST.labels))).draw(GRID)
    left_out = LabelNames(CHEST.labels, codes=CHEST.codes, aliases={"Segment_1": ""})
    assert not only(read_segmentation(tmp_path / "seg.dcm", left_out)).draw(GRID).any()


def test_a_fractional_segmentation_is_cut_at_half(tmp_path, radiograph):
    source = pydicom.dcmread(radiograph)
    source.PatientName = source.PatientID = source.StudyID = source.AccessionNumber = ""
    for tag in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName"):
        setattr(source, tag, "")
    template = segmentation_object(radiograph, np.ones(GRID.size, dtype=np.uint8), CHEST)
    shares = np.linspace(0, 1, 12 * 16, dtype=np.float32).reshape(1, *GRID.size)
    code = highdicom.sr.CodedConcept("39607008", "SCT", "Lung")
    made = highdicom.seg.Segmentation(
        source_images=[source],
        pixel_array=shares,
        segmentation_type="FRACTIONAL",
        segment_descriptions=[
            highdicom.seg.SegmentDescription(1, "lung", code, code, "MANUAL"),
        ],
        series_instance_uid=generate_uid(),
        series_number=1,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="1",
        device_serial_number="1",
        transfer_syntax_uid=template.file_meta.TransferSyntaxUID,
        max_fractional_value=200,
    )
    made.save_as(tmp_path / "seg.dcm", write_like_original=False)
    drawn = only(read_segmentation(tmp_path / "seg.dcm", NAMES)).draw(GRID)
    np.testing.assert_array_equal(drawn, np.rint(shares[0] * 200) >= 100)


def test_a_dicom_that_is_broken_or_refers_to_nothing_is_refused(tmp_path, radiograph):
    made = segmentation_object(radiograph, np.ones(GRID.size, dtype=np.uint8), CHEST)
    whole = tmp_path / "seg.dcm"
    made.save_as(whole, write_like_original=False)
    stripped = pydicom.dcmread(whole)
    del stripped.ReferencedSeriesSequence
    for group in (*stripped.PerFrameFunctionalGroupsSequence, *stripped.SharedFunctionalGroupsSequence):
        group.pop("DerivationImageSequence", None)
    stripped.save_as(tmp_path / "lost.dcm", write_like_original=False)
    with pytest.raises(UnreadableImage, match="refers to no image"):
        read_segmentation(tmp_path / "lost.dcm", NAMES)
    cut = pydicom.dcmread(whole)
    del cut.PixelData
    cut.save_as(tmp_path / "cut.dcm", write_like_original=False)
    with pytest.raises(UnreadableImage, match="broken"):
        only(read_segmentation(tmp_path / "cut.dcm", NAMES)).draw(GRID)
