"""From a folder of whatever tools wrote to a datalist with labels, each under the id of its image."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from bundle.commands import run_verb
from bundle.data.datalist import load_datalist
from bundle.data.handover import hand_over
from bundle.data.masks import read_mask
from bundle.data.modality import load_modality
from bundle.segmentation.dicom_seg import write_segmentation
from tests.data.annotations.test_formats import coco, cvat, polygon, rectangle, write_nrrd
from tests.data.conftest import make_dicom

SIZE = (12, 16)
RNG = np.random.default_rng(0)


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(path)
    return path


def box(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def mask_picture(path: Path, mask: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask * 255).save(path)
    return path


def make(tmp_path: Path, *options: object, modality: str = "dermoscopy", expect: int = 0):
    """Gives the masks by id, and what was set aside: (path, reason)."""
    out = tmp_path / "run" / "datalist.json"
    argv = ["--images", tmp_path / "images", "--modality", modality, "--out", out, "--validation-fraction", 0, *options]
    assert run_verb("make_datalist", [str(argument) for argument in argv]) == expect
    if expect:
        return {}, []
    datalist = load_datalist(out)
    labels = datalist.modality.labels
    masks = {entry["id"]: read_mask(entry["label"], labels=labels) for entry in datalist.section("training")}
    with (out.parent / "quarantine.csv").open(encoding="utf-8") as handle:
        return masks, [(row["path"], row["reason"]) for row in csv.DictReader(handle)]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def check(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for identifier, mask in expected.items():
        np.testing.assert_array_equal(found[identifier], mask, err_msg=identifier)


def test_every_format_in_one_folder_becomes_labels_and_no_file_is_changed(tmp_path):
    for name in "abcdefg":
        picture(tmp_path / "images" / f"{name}.png")
    masks = tmp_path / "masks"
    mask_picture(masks / "a_mask.png", box(1, 2, 5, 6))
    turned = nibabel.Nifti1Image(
        box(2, 3, 9, 8)[::-1, ::-1].T[..., None],
        np.array([[1, 0, 0, -15], [0, 1, 0, -11], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
    )
    nibabel.save(turned, masks / "b.nii.gz")
    write_nrrd(
        masks / "c.seg.nrrd",
        np.ones((3, 4), np.uint8),
        **{"space origin": [5, 6, 0], "Segment0_Name": "Lesion", "Segment0_LabelValue": "1"},
    )
    cvat(masks / "job.xml", polygon("Lesion", rectangle(1, 1, 4, 3), 0), name="task/images/d.png")
    coco(masks / "job.json", [{"category_id": 1, "segmentation": [rectangle(0, 0, 3, 3)]}], file_name="e.png")
    nibabel.save(nibabel.Nifti1Image(box(3, 3, 9, 9).T[..., None], np.eye(4)), masks / "f-label.nii")
    before = {path: path.read_bytes() for path in masks.iterdir()}
    found, aside = make(tmp_path, "--masks", masks, "--label", "lung=lesion")
    placed = box(5, 6, 9, 9)
    assert aside == []
    check(
        found,
        {
            "a": box(1, 2, 5, 6),
            "b": box(2, 3, 9, 8),
            "c": placed,
            "d": box(1, 1, 4, 3),
            "e": box(0, 0, 3, 3),
            "f": box(3, 3, 9, 9),
        },
    )
    assert {path: path.read_bytes() for path in masks.iterdir()} == before
    rows = {row["id"]: row["source"] for row in table(tmp_path / "run" / "datalist_labels" / "sources.csv")}
    assert rows["d"] == "job.xml" and rows["a"] == "a_mask.png" and len(rows) == 6


def test_pictures_alone_stay_where_they_lie(tmp_path):
    picture(tmp_path / "images" / "a.png")
    mask_picture(tmp_path / "masks" / "a.png", box(1, 1, 3, 3))
    make(tmp_path, "--masks", tmp_path / "masks")
    assert not (tmp_path / "run" / "datalist_labels").exists()
    assert load_datalist(tmp_path / "run" / "datalist.json").label_root == tmp_path / "masks"


def test_one_file_of_annotations_will_do_and_lies_anywhere(tmp_path):
    picture(tmp_path / "images" / "deep" / "a.png")
    picture(tmp_path / "images" / "other" / "b.png")
    file = cvat(tmp_path / "images" / "deep" / "all.xml", polygon("lesion", rectangle(1, 1, 4, 3), 0))
    found, aside = make(tmp_path, "--masks", file)
    check(found, {"deep/a": box(1, 1, 4, 3)})
    assert aside == [] and len(load_datalist(tmp_path / "run" / "datalist.json").ids("pool")) == 2


def test_what_cannot_be_used_is_named_with_its_image_and_the_rest_goes_on(tmp_path):
    for name in ("a", "b", "d", "x/c", "y/c"):
        picture(tmp_path / "images" / f"{name}.png")
    masks = tmp_path / "masks"
    mask_picture(masks / "d.png", box(1, 2, 5, 6))
    objects = [
        {"category_id": 1, "segmentation": [rectangle(0, 0, 3, 3)]},
        {"category_id": 2, "segmentation": [rectangle(0, 0, 3, 3)]},
    ]
    coco(masks / "a.json", objects, file_name="a.png")
    cvat(masks / "b.xml", polygon("lesion", rectangle(0, 0, 3, 3), 0), name="b.png", width=17)
    cvat(masks / "c.xml", polygon("lesion", rectangle(0, 0, 3, 3), 0), name="c.png")  # x/c or y/c?
    (masks / "page.xml").write_text("<html/>")
    (masks / "more.json").write_text("{}")
    make_dicom(masks / "image.dcm", np.zeros(SIZE, np.uint16))
    found, aside = make(tmp_path, "--masks", masks, "--label", "lung=lesion")
    check(found, {"d": box(1, 2, 5, 6)})
    reasons = {Path(path).name: reason for path, reason in aside}
    assert "label 'cor' is none of lesion" in reasons["a.json"] and reasons["a.json"].endswith("not used for image a")
    assert reasons["b.xml"].startswith("mask of another size: 17 x 12, its image has 16 x 12")
    assert reasons["c.xml"].startswith("mask without an image: c: no image of its name")
    assert reasons["page.xml"].startswith("unreadable mask: the XML is no export of CVAT")
    assert reasons["more.json"].startswith("unreadable mask: the JSON holds no COCO")
    assert reasons["image.dcm"].startswith("unreadable mask: DICOM, but no segmentation")


def test_masks_without_an_image_are_counted_as_one_kind_whatever_their_names(tmp_path, caplog):
    draw_image = RNG.integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    (tmp_path / "images").mkdir()
    Image.fromarray(draw_image).save(tmp_path / "images" / "case.png")
    outline = [[5, 1, 12, 1, 12, 7]]
    content = {
        "images": [
            {"id": number, "width": SIZE[1], "height": SIZE[0], "file_name": name}
            for number, name in enumerate(["case.png", *(f"other{number}.png" for number in range(9))])
        ],
        "categories": [{"id": 0, "name": "lesion"}],
        "annotations": [
            {"id": number, "image_id": number, "category_id": 0, "segmentation": outline} for number in range(10)
        ],
    }
    (tmp_path / "all.json").write_text(json.dumps(content))
    found, aside = make(tmp_path, "--masks", tmp_path / "all.json")
    assert list(found) == ["case"]
    assert "9 set aside (9 × mask without an image)" in caplog.text
    assert any("other3" in reason for _, reason in aside), "the name is told all the same"


def test_a_dicom_segmentation_finds_its_image_by_uid_also_among_the_images(tmp_path):
    pixels = RNG.integers(0, 4096, SIZE, dtype=np.uint16)
    chest = load_modality("chest_xray")
    for name in ("one", "two"):
        make_dicom(tmp_path / "images" / name, pixels + (name == "two"), SeriesInstanceUID="1.2.3")
    for place in (tmp_path / "masks", tmp_path / "images"):
        place.mkdir(exist_ok=True)
        write_segmentation(place / "unrelated.dcm", tmp_path / "images" / "two", box(1, 2, 7, 9), chest)
        found, aside = make(tmp_path, "--masks", place, "--overwrite", modality="chest_xray")
        entries = load_datalist(tmp_path / "run" / "datalist.json").section("training")
        assert [Path(entry["image"]).name for entry in entries] == ["two"]
        np.testing.assert_array_equal(next(iter(found.values())), box(1, 2, 7, 9))
        assert aside == []
    text = "".join(path.read_text() for path in (tmp_path / "run").rglob("*.csv"))
    assert "1.2.826" not in text and "Doe" not in text


@pytest.mark.parametrize("rule", ["consensus", "first", "staple"])
def test_annotators_are_kept_apart_and_their_agreement_is_told(tmp_path, rule):
    for name in ("a", "x/b", "c"):
        picture(tmp_path / "images" / f"{name}.png")
    masks = tmp_path / "masks"
    mask_picture(masks / "ben" / "a.png", box(2, 2, 8, 8))
    mask_picture(masks / "ann" / "a_mask.png", box(2, 2, 10, 8))
    mask_picture(masks / "ann" / "x" / "b.png", box(0, 0, 4, 4))
    cvat(masks / "cyd.xml", polygon("lesion", rectangle(2, 2, 10, 8), 0), name="a.png")
    mask_picture(masks / "c.png", box(0, 0, 2, 2))
    found, aside = make(tmp_path, "--masks", masks, "--annotators", rule)
    check(found, {"a": box(2, 2, 10, 8), "x/b": box(0, 0, 4, 4)})
    folder = tmp_path / "run" / "datalist_labels"
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "annotators" / "ben" / "a.png")) > 0, box(2, 2, 8, 8))
    rows = table(folder / "agreement.csv")
    assert [(row["id"], row["annotator_a"], row["annotator_b"]) for row in rows] == [
        ("a", "ann", "ben"),
        ("a", "ann", "cyd"),
        ("a", "ben", "cyd"),
    ]
    assert [float(row["dice"]) for row in rows] == pytest.approx([2 * 36 / 84, 1.0, 2 * 36 / 84], abs=1e-5)
    assert [(Path(path).name, reason.split(":")[0]) for path, reason in aside] == [("c.png", "unreadable mask")]


def test_a_bad_mask_of_one_annotator_leaves_the_others(tmp_path):
    picture(tmp_path / "images" / "a.png")
    mask_picture(tmp_path / "masks" / "ann" / "a.png", box(2, 2, 10, 8))
    mask_picture(tmp_path / "masks" / "ben" / "a.png", np.ones((3, 3), np.uint8))
    found, aside = make(tmp_path, "--masks", tmp_path / "masks", "--annotators", "consensus")
    check(found, {"a": box(2, 2, 10, 8)})
    assert [reason.split(":")[0] for _, reason in aside] == ["mask of another size"]


def test_masks_drawn_on_handed_over_copies_find_their_images(tmp_path):
    images = [
        ("ward/a", picture(tmp_path / "images" / "ward" / "a.png")),
        ("b", picture(tmp_path / "images" / "b.png")),
    ]
    (tmp_path / "copies").mkdir()
    hand_over(images, tmp_path / "copies")
    mask_picture(tmp_path / "masks" / "0001_ward_a_mask.png", box(1, 1, 3, 3))
    cvat(tmp_path / "masks" / "x.xml", polygon("lesion", rectangle(4, 4, 6, 6), 0), name="job/0002_b.png")
    found, aside = make(tmp_path, "--masks", tmp_path / "masks", "--copies", tmp_path / "copies")
    check(found, {"ward/a": box(1, 1, 3, 3), "b": box(4, 4, 6, 6)})
    assert aside == []


def test_a_listing_again_replaces_the_masks_that_it_drew_and_no_other_folder(tmp_path, capsys):
    picture(tmp_path / "images" / "a.png")
    (tmp_path / "masks").mkdir()
    cvat(tmp_path / "masks" / "x.xml", polygon("lesion", rectangle(4, 4, 6, 6), 0))
    make(tmp_path, "--masks", tmp_path / "masks")
    (tmp_path / "run" / "datalist.json").unlink()  # as a listing leaves it that was killed before its last step
    cvat(tmp_path / "masks" / "x.xml", polygon("lesion", rectangle(1, 1, 3, 3), 0))
    found, _ = make(tmp_path, "--masks", tmp_path / "masks")
    check(found, {"a": box(1, 1, 3, 3)})
    own = tmp_path / "run" / "datalist_labels"
    (own / "sources.csv").unlink()
    make(tmp_path, "--masks", tmp_path / "masks", "--overwrite", expect=2)
    assert "is not replaced" in capsys.readouterr().err and (own / "used" / "a.png").is_file()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--label", "x=lesion"], "--label says how masks are to be read"),
        (["--annotators", "first"], "--annotators says how masks"),
        (["--masks", "MASKS", "--label", "nevus=lesoin"], "did you mean 'lesion'"),
        (["--masks", "MASKS", "--label", "nevus"], "NAME=LABEL"),
        (["--masks", "MASKS", "--copies", "MASKS"], "images.csv"),
        (["--masks", "NOWHERE"], "--masks must be"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(tmp_path, capsys, options, told):
    picture(tmp_path / "images" / "a.png")
    mask_picture(tmp_path / "masks" / "a.png", box(1, 1, 3, 3))
    places = {"MASKS": tmp_path / "masks", "NOWHERE": tmp_path / "nowhere"}
    make(tmp_path, *(places.get(option, option) for option in options), expect=2)
    assert told in capsys.readouterr().err and not (tmp_path / "run" / "datalist.json").exists()


def test_a_link_out_of_the_masks_is_not_followed(tmp_path):
    for name in "ab":
        picture(tmp_path / "images" / f"{name}.png")
    mask_picture(tmp_path / "masks" / "b.png", box(1, 2, 5, 6))
    outside = cvat(tmp_path / "x.xml", polygon("lesion", rectangle(4, 4, 6, 6), 0))
    (tmp_path / "masks" / "x.xml").symlink_to(outside)
    found, aside = make(tmp_path, "--masks", tmp_path / "masks")
    assert list(found) == ["b"] and "link that leaves the folder of the masks" in aside[0][1]


def test_an_identifier_that_is_kept_cannot_lead_a_mask_out_of_its_folder(tmp_path):
    make_dicom(tmp_path / "images" / "one", RNG.integers(0, 9, SIZE, dtype=np.uint16), SOPInstanceUID="../../../evil")
    nibabel.save(nibabel.Nifti1Image(box(1, 1, 3, 3).T[..., None], np.eye(4)), tmp_path / "one.nii")
    make(tmp_path, "--masks", tmp_path / "one.nii", "--keep-uids", modality="chest_xray", expect=2)
    assert not list(tmp_path.rglob("evil*"))


def test_the_record_and_the_datalist_hold_no_more_of_the_labels_than_their_places(tmp_path):
    picture(tmp_path / "images" / "a.png")
    file = coco(tmp_path / "x.json", [{"category_id": 1, "segmentation": [rectangle(0, 0, 3, 3)]}], file_name="a.png")
    make(tmp_path, "--masks", file, "--label", "lung=lesion")
    content = json.loads((tmp_path / "run" / "datalist.json").read_text())
    assert content["training"] == [{"id": "a", "image": "a.png", "label": "a.png"}]
    assert content["label_root"] == str(tmp_path / "run" / "datalist_labels" / "used")


def test_a_mask_in_another_folder_fits_by_its_name_where_nothing_else_has_it(tmp_path):
    for name in ("part_1/a", "part_2/b", "left/c", "right/c"):
        picture(tmp_path / "images" / f"{name}.png")
    drawn = {name: box(1, 2, 5 + at, 6) for at, name in enumerate("abc")}
    for name, mask in drawn.items():
        mask_picture(tmp_path / "masks" / f"{name}_segmentation.png", mask)
    found, aside = make(tmp_path, "--masks", tmp_path / "masks")
    check(found, {"part_1/a": drawn["a"], "part_2/b": drawn["b"]})
    ((path, reason),) = aside
    assert Path(path).name == "c_segmentation.png" and "no image of its name, or several" in reason


def test_a_mask_whose_folders_contradict_those_of_the_image_is_of_another_patient(tmp_path):
    for name in ("p1/IM1", "p1/IM2"):
        picture(tmp_path / "images" / f"{name}.png")
    masks = tmp_path / "masks"
    mask_picture(masks / "p9" / "IM2.png", box(1, 2, 5, 6))
    cvat(masks / "cohort.xml", polygon("lesion", rectangle(0, 0, 3, 3), 0), name="p0/IM1.png")
    cvat(masks / "own.xml", polygon("lesion", rectangle(1, 1, 4, 3), 0), name="export/p1/IM1.png")
    found, aside = make(tmp_path, "--masks", masks)
    check(found, {"p1/IM1": box(1, 1, 4, 3)})
    assert sorted(Path(path).name for path, _ in aside) == ["IM2.png", "cohort.xml"]


@pytest.mark.parametrize("order", [("p0", "p1"), ("p1", "p0")])
def test_of_two_masks_that_may_be_of_one_image_neither_is_taken_unless_one_has_its_whole_path(tmp_path, order):
    for name in ("IM1", "IM2"):  # below the folder of one patient
        picture(tmp_path / "images" / f"{name}.png")
    masks = tmp_path / "masks"
    masks.mkdir()
    for number, patient in enumerate(order):
        shape = polygon("lesion", rectangle(0, 0, 3, 3), 0)
        cvat(masks / f"{number}.xml", shape, name=f"{patient}/IM1.png")
        cvat(masks / f"{number + 2}.xml", shape, name=f"{patient}/IM2.png")
    cvat(masks / "9.xml", polygon("lesion", rectangle(1, 1, 4, 3), 0), name="IM2.png")
    found, aside = make(tmp_path, "--masks", masks)
    check(found, {"IM2": box(1, 1, 4, 3)})
    assert len(aside) == 4 and all("as well" in reason or "has it" in reason for _, reason in aside)


def test_structures_in_a_folder_each_are_no_masks_of_one_image_until_their_union_is_asked_for(tmp_path, capsys, caplog):
    for name in "ab":
        picture(tmp_path / "images" / f"{name}.png")
        mask_picture(tmp_path / "masks" / "left" / f"{name}.png", box(1, 2, 5, 6))
        mask_picture(tmp_path / "masks" / "right" / f"{name}.png", box(8, 2, 12, 6))
    make(tmp_path, "--masks", tmp_path / "masks", expect=2)
    assert "none of the 4 masks" in capsys.readouterr().err
    both = box(1, 2, 5, 6) | box(8, 2, 12, 6)
    found, _ = make(tmp_path, "--masks", tmp_path / "masks", "--annotators", "union")
    check(found, {"a": both, "b": both})
    assert "drew different things" not in caplog.text
    make(tmp_path, "--masks", tmp_path / "masks", "--annotators", "consensus", "--overwrite")
    assert "drew different things" in caplog.text and "2 nothing: look at some" in caplog.text


def test_binary_masks_in_a_folder_a_label_become_class_indices_and_the_last_label_lies_on_top(tmp_path, capsys):
    (tmp_path / "jsrt.yaml").write_text(
        "description: chests\nchannels: 1\nreader: radiograph\nlabels: [lung, heart, clavicle]\nsize: 32\n"
    )
    drawn = {"left lung": box(1, 1, 5, 9), "Right_Lung": box(9, 1, 14, 9), "heart": box(4, 5, 10, 9)}
    drawn |= {"clavicles": box(1, 1, 14, 2), "ruler": box(0, 0, 16, 12)}
    picture(tmp_path / "images" / "a.png")
    for name, mask in drawn.items():
        (tmp_path / "masks" / name).mkdir(parents=True)
        Image.fromarray(mask * 255).save(tmp_path / "masks" / name / "a.gif")
    (tmp_path / "masks" / "heart" / "a.gif").unlink()
    Image.fromarray(drawn["heart"] * 255).save(tmp_path / "masks" / "heart" / "a.png")
    told = ["--label", "left lung=lung", "--label", "right lung=lung", "--label", "ruler="]
    options = ["--masks", tmp_path / "masks", "--annotators", "union", *told]
    modality = str(tmp_path / "jsrt.yaml")
    make(tmp_path, *options, modality=modality, expect=2)
    error = capsys.readouterr().err
    assert "numbers its values anew" in error, "a folder that no label is called like is one of class indices"
    found, aside = make(tmp_path, *options, "--label", "clavicles=clavicle", "--overwrite", modality=modality)
    expected = np.zeros(SIZE, np.uint8)
    for name, index in (("left lung", 1), ("Right_Lung", 1), ("heart", 2), ("clavicles", 3)):
        expected[drawn[name] > 0] = index
    check(found, {"a": expected})
    assert aside == []


def test_a_segmentation_of_a_tool_in_a_structure_s_folder_is_that_structure_whatever_it_is_called(tmp_path):
    (tmp_path / "two.yaml").write_text(
        "description: chests\nchannels: 1\nreader: radiograph\nlabels: [lung, heart]\nsize: 32\n"
    )
    picture(tmp_path / "images" / "a.png")
    mask_picture(tmp_path / "masks" / "lung" / "a.png", box(0, 0, 8, 8))
    drawn = box(4, 4, 10, 9)
    (tmp_path / "masks" / "heart").mkdir()
    named = {"Segment0_Name": "Segment_1", "Segment0_LabelValue": "1", "Segment0_Layer": "0"}
    write_nrrd(tmp_path / "masks" / "heart" / "a.seg.nrrd", drawn, **named)
    options = ["--masks", tmp_path / "masks", "--annotators", "union"]
    found, aside = make(tmp_path, *options, modality=str(tmp_path / "two.yaml"))
    assert aside == []
    check(found, {"a": np.where(drawn > 0, 2, box(0, 0, 8, 8)).astype(np.uint8)})


def test_predictions_that_were_corrected_are_masks_and_no_images(tmp_path):
    for name in "ab":
        picture(tmp_path / "images" / f"{name}.png")
    predrawn = tmp_path / "masks" / "predrawn"
    mask_picture(predrawn / "a.png", box(1, 2, 5, 6))
    (predrawn / "run.json").write_text('{"stage": "infer"}')
    found, aside = make(tmp_path, "--masks", tmp_path / "masks")
    check(found, {"a": box(1, 2, 5, 6)})
    assert aside == []


def test_a_union_with_a_broken_part_is_none_and_one_with_a_part_that_is_not_there_is_told(tmp_path, caplog):
    for name in "abc":
        picture(tmp_path / "images" / f"{name}.png")
        mask_picture(tmp_path / "masks" / "left" / f"{name}.png", box(1, 2, 5, 6))
    mask_picture(tmp_path / "masks" / "right" / "a.png", box(8, 2, 12, 6))
    (tmp_path / "masks" / "right" / "b.png").write_bytes(b"cut")
    found, aside = make(tmp_path, "--masks", tmp_path / "masks", "--annotators", "union")
    check(found, {"a": box(1, 2, 5, 6) | box(8, 2, 12, 6), "c": box(1, 2, 5, 6)})
    assert [Path(path).parent.name for path, _ in aside] == ["right"]
    assert "1 images have a mask in some folders only, and count as empty" in caplog.text


def test_an_animated_mask_is_refused(tmp_path):
    for name in "ab":
        picture(tmp_path / "images" / f"{name}.png")
    mask_picture(tmp_path / "masks" / "a.png", box(1, 2, 5, 6))
    frames = [Image.fromarray(box(i, 2, i + 5, 6) * 255) for i in range(2)]
    frames[0].save(tmp_path / "masks" / "b.gif", save_all=True, append_images=frames[1:])
    found, aside = make(tmp_path, "--masks", tmp_path / "masks")
    check(found, {"a": box(1, 2, 5, 6)})
    assert "animated picture of 2 frames" in aside[0][1]


def test_masks_that_fit_nothing_or_cannot_be_read_are_named_and_end_the_listing(tmp_path, capsys):
    picture(tmp_path / "images" / "a.png")
    mask_picture(tmp_path / "masks" / "other.png", box(1, 2, 5, 6))
    (tmp_path / "masks" / "a.npy").write_bytes(b"\x93NUMPY")
    make(tmp_path, "--masks", tmp_path / "masks", expect=2)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "none of the 2 masks" in error and "such as 'a'" in error
    rows = {Path(row["path"]).name: row["reason"] for row in table(tmp_path / "run" / "quarantine.csv")}
    assert "masks in this format are not read" in rows["a.npy"] and "no image of its name" in rows["other.png"]


def test_a_name_is_the_same_however_its_accents_are_written(tmp_path):
    picture(tmp_path / "images" / "M\u00fcller.png")
    mask_picture(tmp_path / "masks" / "Mu\u0308ller.png", box(1, 2, 5, 6))
    found, aside = make(tmp_path, "--masks", tmp_path / "masks")
    check(found, {"M\u00fcller": box(1, 2, 5, 6)})
    assert aside == []


def test_the_mask_of_a_copy_is_that_of_the_image_that_stays(tmp_path):
    picture(tmp_path / "images" / "a.png")
    (tmp_path / "images" / "b.png").write_bytes((tmp_path / "images" / "a.png").read_bytes())
    mask_picture(tmp_path / "masks" / "b.png", box(1, 2, 5, 6))
    found, aside = make(tmp_path, "--masks", tmp_path / "masks")
    check(found, {"a": box(1, 2, 5, 6)})
    assert [Path(path).name for path, _ in aside] == ["b.png"]


def test_a_mask_never_goes_to_one_of_two_images_that_share_its_name(tmp_path):
    pixels = RNG.integers(0, 4096, SIZE, dtype=np.uint16)
    for suffix, shift in (("dcm", 0), ("ima", 1)):
        make_dicom(tmp_path / "images" / f"one.{suffix}", pixels + shift)
    mask_picture(tmp_path / "masks" / "one.png", box(1, 2, 5, 6))
    make(tmp_path, "--masks", tmp_path / "masks", modality="chest_xray", expect=2)
    assert len(table(tmp_path / "run" / "quarantine.csv")) == 1


def test_masks_that_mark_everything_are_spoken_of(tmp_path, caplog):
    for name in "abc":
        picture(tmp_path / "images" / f"{name}.png")
        mask_picture(tmp_path / "masks" / f"{name}.png", 1 - box(1, 2, 3, 3))
    make(tmp_path, "--masks", tmp_path / "masks")
    assert "they may be inverted" in caplog.text and "in the median 99 %" in caplog.text
