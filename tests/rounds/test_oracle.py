"""Masks of an expert find their images, wherever the folder lies."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from bundle.data.datalist import Datalist
from bundle.rounds.oracle import take_masks, without_label, write_to_annotate
from bundle.run.quarantine import Quarantine


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


def write(folder: Path, name: str, size: tuple[int, int] = (8, 6)) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size).save(file)
    return file


def test_masks_are_taken_under_the_image_s_path_with_or_without_an_ending(hospital):
    datalist, folder = hospital
    taken = [write(folder, name) for name in ("left/a.png", "left/b_segmentation.tif", "c_mask.png")]
    found = take_masks(datalist, ["left/a", "left/b", "c", "d"], folder, quarantine=Quarantine())
    labels = {entry["id"]: entry["label"] for entry in found.section("pool", labelled=True)}
    assert labels == {
        **dict(zip(("left/a", "left/b", "c"), map(str, taken), strict=True)),
        "d": str(datalist.label_root / "d.png"),
    }
    assert without_label(found, ["c", "left/a"]) == [] and without_label(datalist, ["c", "d"]) == ["c"]


def test_an_ending_that_is_part_of_another_image_s_name_is_no_ending(hospital):
    datalist, folder = hospital
    write(datalist.root, "c_mask.png")
    entries = tuple({"id": name, "image": f"{name}.png"} for name in ("c", "c_mask"))
    both = Datalist("dermoscopy", datalist.root, None, {"pool": entries})
    write(folder, "c_mask.png")
    found = take_masks(both, ["c", "c_mask"], folder, quarantine=Quarantine())
    assert without_label(found, ["c", "c_mask"]) == ["c"]
    write(folder, "c_SEG.png")
    found = take_masks(both, ["c", "c_mask"], folder, quarantine=Quarantine())
    assert without_label(found, ["c", "c_mask"]) == []


def test_only_what_was_asked_for_is_taken(hospital):
    datalist, folder = hospital
    write(folder, "left/a.png")
    write(folder, "c.png")
    found = take_masks(datalist, ["c"], folder, quarantine=Quarantine())
    assert [entry["id"] for entry in found.section("pool", labelled=True)] == ["c", "d"]
    assert take_masks(datalist, ["left/b"], folder, quarantine=Quarantine()) is datalist


def test_a_mask_that_cannot_be_used_is_set_aside_and_its_image_waits(hospital, tmp_path):
    datalist, folder = hospital
    write(folder, "left/a.png", (6, 8))
    (folder / "left/b.png").write_bytes(b"no picture")
    (folder / "c.png").symlink_to(write(tmp_path, "elsewhere.png"))
    aside = Quarantine(folder)
    ids = ["left/a", "left/b", "c"]
    assert without_label(take_masks(datalist, ids, folder, quarantine=aside), ids) == ids
    reasons = {row["path"]: row["reason"] for row in aside.rows}
    assert "6 x 8, its image has 8 x 6" in reasons["left/a.png"] and "unreadable mask" in reasons["left/b.png"]
    assert "link that leaves" in reasons["c.png"]


def test_what_is_still_being_written_is_no_mask(hospital):
    datalist, folder = hospital
    write(folder, ".c.png")
    write(folder, ".tmp/c.png")
    assert take_masks(datalist, ["c"], folder, quarantine=Quarantine()) is datalist


def test_the_list_names_images_below_the_root_and_the_masks_to_write(hospital, tmp_path):
    path = write_to_annotate(tmp_path, hospital[0], ["c", "left/b"])
    assert path.read_text() == "rank,id,image,mask\n1,c,c.png,c.png\n2,left/b,left/b.png,left/b.png\n"
