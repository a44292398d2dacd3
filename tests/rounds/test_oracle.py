"""Masks of an expert find their images, wherever the folder lies."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from bundle.data.datalist import Datalist
from bundle.data.identity import Pseudonyms
from bundle.data.masks import read_mask
from bundle.data.modality import load_modality
from bundle.rounds.oracle import take_masks, without_label, write_to_annotate
from bundle.run.quarantine import Quarantine
from bundle.segmentation.dicom_seg import write_segmentation
from tests.segmentation.dicom_objects import corner, image


@pytest.fixture
def hospital(tmp_path) -> tuple[Datalist, Path]:
    """Four images of 8 x 6 pixels, two in a folder, the last with a label; and an empty folder for the expert."""
    images, old, new = (tmp_path / name for name in ("images", "old", "expert/masks"))
    names = ["left/a", "left/b", "c", "d"]
    for name in names:
        file = images / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(file)
    for folder in (old, new):
        folder.mkdir(parents=True)
    Image.new("L", (8, 6)).save(old / "d.png")
    entries = [{"id": name, "image": f"{name}.png", **({"label": "d.png"} if name == "d" else {})} for name in names]
    return Datalist("dermoscopy", images, old, {"pool": tuple(entries)}), new


@pytest.fixture
def taken(tmp_path) -> Callable[..., Datalist]:
    """``take_masks`` with a folder for what has to be drawn and a secret of pseudonyms."""
    return functools.partial(take_masks, drawn=tmp_path / "drawn", pseudonyms=Pseudonyms(tmp_path / "identity.key"))


def write(folder: Path, name: str, size: tuple[int, int] = (8, 6)) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size).save(file)
    return file


def test_masks_are_taken_under_the_image_s_path_with_or_without_an_ending(hospital, taken):
    datalist, folder = hospital
    masks = [write(folder, name) for name in ("left/a.png", "left/b_segmentation.tif", "c_mask.png")]
    found = taken(datalist, ["left/a", "left/b", "c", "d"], folder, quarantine=Quarantine())
    labels = {entry["id"]: entry["label"] for entry in found.section("pool", labelled=True)}
    assert labels == {
        **dict(zip(("left/a", "left/b", "c"), map(str, masks), strict=True)),
        "d": str(datalist.label_root / "d.png"),
    }
    assert without_label(found, ["c", "left/a"]) == [] and without_label(datalist, ["c", "d"]) == ["c"]


def test_an_ending_that_is_part_of_another_image_s_name_is_no_ending(hospital, taken):
    datalist, folder = hospital
    write(datalist.root, "c_mask.png")
    entries = tuple({"id": name, "image": f"{name}.png"} for name in ("c", "c_mask"))
    both = Datalist("dermoscopy", datalist.root, None, {"pool": entries})
    write(folder, "c_mask.png")
    found = taken(both, ["c", "c_mask"], folder, quarantine=Quarantine())
    assert without_label(found, ["c", "c_mask"]) == ["c"]
    write(folder, "c_SEG.png")
    found = taken(both, ["c", "c_mask"], folder, quarantine=Quarantine())
    assert without_label(found, ["c", "c_mask"]) == []


def test_only_what_was_asked_for_is_taken(hospital, taken):
    datalist, folder = hospital
    write(folder, "left/a.png")
    write(folder, "c.png")
    found = taken(datalist, ["c"], folder, quarantine=Quarantine())
    assert [entry["id"] for entry in found.section("pool", labelled=True)] == ["c", "d"]
    assert taken(datalist, ["left/b"], folder, quarantine=Quarantine()) is datalist


def test_a_mask_that_cannot_be_used_is_set_aside_and_its_image_waits(hospital, tmp_path, taken):
    datalist, folder = hospital
    write(folder, "left/a.png", (6, 8))
    (folder / "left/b.png").write_bytes(b"no picture")
    (folder / "c.png").symlink_to(write(tmp_path, "elsewhere.png"))
    aside = Quarantine(folder)
    ids = ["left/a", "left/b", "c"]
    assert without_label(taken(datalist, ids, folder, quarantine=aside), ids) == ids
    reasons = {row["path"]: row["reason"] for row in aside.rows}
    assert "6 x 8, its image has 8 x 6" in reasons["left/a.png"] and "unreadable mask" in reasons["left/b.png"]
    assert "link that leaves" in reasons["c.png"]


def test_polygons_of_a_tool_are_drawn_and_find_images_by_what_copies_are_called(hospital, taken):
    datalist, folder = hospital
    square = [1, 1, 5, 1, 5, 4, 1, 4]
    coco = {
        "images": [{"id": 1, "file_name": "0001_c.png", "width": 8, "height": 6}],
        "categories": [{"id": 3, "name": "lesion"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "segmentation": [square], "iscrowd": 0}],
    }
    (folder / "round_0.json").write_text(json.dumps(coco))
    found = taken(datalist, ["left/a", "c"], folder, copies={"0001_c": "c"}, quarantine=Quarantine())
    assert without_label(found, ["left/a", "c", "d"]) == ["left/a"]
    labels = {entry["id"]: entry["label"] for entry in found.section("pool", labelled=True)}
    mask = np.asarray(Image.open(labels["c"]))
    assert mask.shape == (6, 8) and mask[1:4, 1:5].all() and (mask != 0).sum() == 12
    assert labels["d"] == str(datalist.label_root / "d.png")


def test_a_segmentation_object_finds_the_image_it_names(taken, tmp_path):
    for folder in ("images", "expert"):
        (tmp_path / folder).mkdir()
    source = image(tmp_path / "images" / "cr.dcm", np.zeros((37, 53), np.uint16), PixelSpacing=[0.2, 0.1])
    drawn = corner(37, 53)
    chest = load_modality("chest_xray")
    write_segmentation(tmp_path / "expert" / "seg.dcm", source, drawn, chest)
    uid = pydicom.dcmread(source, stop_before_pixels=True).SOPInstanceUID
    identifier = Pseudonyms(tmp_path / "identity.key").of("image", uid)
    entries = ({"id": identifier, "image": "cr.dcm"},)
    datalist = Datalist("chest_xray", tmp_path / "images", None, {"pool": entries})
    found = taken(datalist, [identifier], tmp_path / "expert", quarantine=Quarantine())
    (entry,) = found.section("pool", labelled=True)
    np.testing.assert_array_equal(read_mask(entry["label"], labels=chest.labels), drawn)


def test_what_is_still_being_written_is_no_mask(hospital, taken):
    datalist, folder = hospital
    write(folder, ".c.png")
    write(folder, ".tmp/c.png")
    assert taken(datalist, ["c"], folder, quarantine=Quarantine()) is datalist


def test_the_list_names_images_below_the_root_and_the_masks_to_write(hospital, tmp_path):
    path = write_to_annotate(tmp_path, hospital[0], ["c", "left/b"])
    assert path.read_text() == "rank,id,image,mask\n1,c,c.png,c.png\n2,left/b,left/b.png,left/b.png\n"


def test_of_a_union_every_part_is_waited_for(hospital, taken, caplog):
    datalist, folder = hospital
    for side in ("leftMask", "rightMask"):
        (folder / side).mkdir()
    half = np.zeros((6, 8), np.uint8)
    half[:3] = 255
    for name in ("c", "d"):
        Image.fromarray(half).save(folder / "leftMask" / f"{name}.png")
    entries = tuple({"id": name, "image": f"{name}.png"} for name in ("c", "d"))
    both = Datalist("dermoscopy", datalist.root, None, {"pool": entries})
    found = taken(both, ["c", "d"], folder, rule="union", quarantine=Quarantine())
    assert without_label(found, ["c", "d"]) == ["c", "d"], "the other half has not been begun"
    Image.fromarray(half[::-1]).save(folder / "rightMask" / "d.png")
    found = taken(both, ["c", "d"], folder, rule="union", quarantine=Quarantine())
    assert without_label(found, ["c", "d"]) == ["c"]
    assert "1 images wait for a part of their mask" in caplog.text
