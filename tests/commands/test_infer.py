"""Masks for a folder of whatever a hospital has: pictures, DICOM, and files that are broken."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from PIL import Image

from bundle.commands import run_verb
from bundle.data.canvas import from_canvas, to_canvas
from bundle.data.reader import read_image
from bundle.network import UNet
from bundle.weights import load_weights, save_weights
from tests.data.conftest import make_dicom

CHEST = """\
description: drawn chests
channels: 1
reader: radiograph
labels: [lung, heart]
size: 32
"""


@pytest.fixture(scope="module")
def chest(tmp_path_factory) -> Path:
    """A folder with weights drawn at random, a modality of two labels, and an archive of six files."""
    root = tmp_path_factory.mktemp("chest")
    (root / "chest.yaml").write_text(CHEST)
    torch.manual_seed(0)
    network = UNet(1, 3).eval()
    with torch.no_grad():  # every class is the likeliest somewhere
        network.heads[0].bias -= network(torch.rand(1, 1, 32, 32)).mean(dim=(0, 2, 3))
    save_weights(root / "model.pt", network, {"modality": "chest", "size": 32})
    rng = np.random.default_rng(0)
    archive = root / "archive"
    pixels = rng.integers(0, 4096, (40, 56), dtype=np.uint16)
    make_dicom(archive / "wards" / "one.dcm", pixels, PixelSpacing=[0.2, 0.1])
    make_dicom(archive / "two", pixels[:, :30])
    Image.fromarray(rng.integers(0, 255, (33, 47), dtype=np.uint8)).save(archive / "three.png")
    (archive / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    (archive / "page.dcm").write_text("<html>not found</html>")
    (archive / "notes.txt").write_text("not an image")
    return root


@pytest.fixture(scope="module")
def masks(chest) -> Path:
    arguments = ["--images", str(chest / "archive"), "--model", str(chest / "model.pt")]
    out = chest / "masks"
    assert run_verb("infer", [*arguments, "--modality", str(chest / "chest.yaml"), "--out", str(out)]) == 0
    return out


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_every_readable_image_has_a_mask_of_its_size(chest, masks):
    rows = {Path(row["image"]).name: Path(row["mask"]) for row in table(masks / "predictions.csv")}
    assert set(rows) == {"one.dcm", "two", "three.png"}
    assert Image.open(rows["three.png"]).size == (47, 33)
    one, two = nibabel.load(rows["one.dcm"]), nibabel.load(rows["two"])
    assert one.shape == (56, 40, 1) and two.shape == (30, 40, 1)
    np.testing.assert_allclose(one.header.get_zooms()[:2], (0.1, 0.2), rtol=1e-6)
    for mask in (np.asarray(one.dataobj), np.asarray(two.dataobj), np.asarray(Image.open(rows["three.png"]))):
        assert set(np.unique(mask)) <= {0, 1, 2}
    assert masks == chest / "masks" and all(path.is_relative_to(masks) for path in rows.values())


def test_a_picture_s_id_is_its_path_and_a_dicom_s_is_none_of_its_own(masks):
    ids = {Path(row["image"]).name: row["id"] for row in table(masks / "predictions.csv")}
    assert ids["three.png"] == "three"
    assert "one" not in ids["one.dcm"] and "1.2.826" not in ids["one.dcm"]


def test_what_cannot_be_read_is_set_aside_with_its_reason(masks):
    aside = {row["path"]: row["reason"] for row in table(masks / "quarantine.csv")}
    assert {"broken.png", "page.dcm"} <= set(aside) and all(aside.values())


def test_nothing_that_is_written_names_a_patient(masks):
    for name in ("predictions.csv", "quarantine.csv", "run.json", "request.json"):
        text = (masks / name).read_text()
        assert "Doe" not in text and "4711" not in text and "1970" not in text
    assert json.loads((masks / "run.json").read_text())["results"]["images"] == 3


def test_with_mirrorings_averaged_a_mirrored_picture_gets_the_mirrored_mask(chest, tmp_path):
    modality = tmp_path / "chest.yaml"
    modality.write_text(CHEST + "augmentation:\n  flip: [x, y]\n")
    pixels = np.random.default_rng(1).integers(0, 255, (32, 32), dtype=np.uint8)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name, picture in (("one", pixels), ("other", pixels[:, ::-1])):
        Image.fromarray(picture).save(pictures / f"{name}.png")
    arguments = ["--images", str(pictures), "--model", str(chest / "model.pt"), "--modality", str(modality)]
    differing = {}
    for option in ([], ["--mirrored"]):
        out = tmp_path / f"masks{len(option)}"
        assert run_verb("infer", [*arguments, "--out", str(out), *option]) == 0
        one, other = (np.asarray(Image.open(out / f"{name}.png")) for name in ("one", "other"))
        differing[len(option)] = float((one != other[:, ::-1]).mean())
        assert json.loads((out / "run.json").read_text())["settings"]["mirrored"] is bool(option)
    assert differing[1] <= 0.005 < differing[0], "a mean over all mirrorings has no left and right"


def test_the_same_request_may_come_again_and_its_masks_are_no_input(chest, capsys):
    arguments = ["--images", str(chest / "archive"), "--model", str(chest / "model.pt")]
    out = chest / "archive" / "results"
    arguments += ["--modality", str(chest / "chest.yaml"), "--out", str(out)]
    assert run_verb("infer", arguments) == 0
    first = table(out / "predictions.csv")
    assert run_verb("infer", arguments) == 0
    assert table(out / "predictions.csv") == first
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "predictions.csv")


def test_a_mask_is_the_network_s_likeliest_class_at_the_image_s_own_size(chest, masks):
    network = UNet(1, 3).eval()
    network.load_state_dict(load_weights(chest / "model.pt").model)
    image = torch.from_numpy(read_image(chest / "archive" / "three.png", chest / "chest.yaml")).permute(2, 1, 0)
    with torch.no_grad():
        logits = network(to_canvas(image, 32)[None])[0]
    wanted = from_canvas(logits, 47, 33).argmax(dim=0).numpy().T
    found = np.asarray(Image.open(masks / "three.png"))
    assert (wanted != found).mean() < 0.01 and len(np.unique(wanted)) > 1


@pytest.mark.parametrize(
    ("images", "out", "told"),
    [
        ("absent", "out", "must be a folder"),
        ("empty", "out", "no usable chest image"),
        ("archive", "archive", "archive"),
    ],
)
def test_a_mistake_ends_as_one_line_and_code_2(chest, tmp_path, capsys, images, out, told):
    (chest / "empty").mkdir(exist_ok=True)
    where = chest / out if out == "archive" else tmp_path / out
    arguments = ["--images", str(chest / images), "--model", str(chest / "model.pt"), "--out", str(where)]
    files = sorted(path.name for path in (chest / "archive").rglob("*"))
    for more in ([], ["--overwrite"]):
        assert run_verb("infer", [*arguments, "--modality", str(chest / "chest.yaml"), *more]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("infer: ") and told in error
    assert sorted(path.name for path in (chest / "archive").rglob("*")) == files, "no image is ever removed"


def test_a_model_of_another_modality_is_refused(chest, hospital, tmp_path, capsys):
    arguments = ["--images", str(hospital.images), "--model", str(chest / "model.pt"), "--out", str(tmp_path / "out")]
    assert run_verb("infer", [*arguments, "--modality", str(hospital.modality)]) == 2
    assert "modality is 'chest', not 'spots'" in capsys.readouterr().err
    arguments = ["--images", str(hospital.images), "--out", str(tmp_path / "out")]
    assert run_verb("infer", [*arguments, "--modality", str(hospital.modality)]) == 2
    assert "no model is shipped for spots: give --model" in capsys.readouterr().err


def test_a_dicom_segmentation_lies_beside_its_nifti_and_an_image_that_allows_none_is_set_aside(chest, tmp_path):
    archive = tmp_path / "archive"
    pixels = np.random.default_rng(1).integers(0, 4096, (40, 56), dtype=np.uint16)
    make_dicom(archive / "whole.dcm", pixels, SeriesInstanceUID="1.2.3.4")
    make_dicom(archive / "without_series.dcm", pixels[:30])
    Image.fromarray(pixels.astype(np.uint8)).save(archive / "picture.png")
    (archive / "broken.dcm").write_text("<html>")
    out = archive / "results"
    arguments = ["--images", str(archive), "--model", str(chest / "model.pt"), "--out", str(out), "--dicom-seg"]
    for _ in range(2):  # what the first run has written is no input of the second
        assert run_verb("infer", [*arguments, "--modality", str(chest / "chest.yaml")]) == 0
        masks = {Path(row["image"]).name: Path(row["mask"]) for row in table(out / "predictions.csv")}
        assert set(masks) == {"whole.dcm", "without_series.dcm", "picture.png"}
        (written,) = out.rglob("*.dcm")
        nifti = masks["whole.dcm"]
        assert written.name.removesuffix(".dcm") == nifti.name.removesuffix(".nii.gz")
        classes = np.asarray(nibabel.load(nifti).dataobj)[..., 0].T
        frames = pydicom.dcmread(written).pixel_array
        assert classes.any()
        np.testing.assert_array_equal(frames, np.stack([classes == 1, classes == 2]))
        aside = {Path(row["path"]).name: row["reason"] for row in table(out / "quarantine.csv")}
        assert set(aside) == {"broken.dcm", "without_series.dcm"}
        assert (
            aside["without_series.dcm"].startswith("no DICOM SEG: ")
            and "SeriesInstanceUID" in aside["without_series.dcm"]
        )


def test_no_dicom_segmentation_is_written_or_its_library_loaded_unless_asked_for(masks):
    assert not list(masks.rglob("*.dcm"))
    code = "import sys, bundle.segmentation.prediction; sys.exit('highdicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_masks_do_not_depend_on_the_batch(chest, masks, tmp_path):
    arguments = ["--images", str(chest / "archive"), "--model", str(chest / "model.pt")]
    arguments += ["--modality", str(chest / "chest.yaml"), "--identity-key", str(masks / "identity.key")]
    out = tmp_path / "one_by_one"
    assert run_verb("infer", [*arguments, "--set", "batch_size=1", "--out", str(out)]) == 0
    one_by_one = {row["id"]: row for row in table(out / "predictions.csv")}
    for together in table(masks / "predictions.csv"):
        alone = one_by_one[together["id"]]
        read = nibabel.load if alone["mask"].endswith(".nii.gz") else Image.open
        first, second = (read(row["mask"]) for row in (alone, together))
        np.testing.assert_array_equal(*(np.asarray(getattr(m, "dataobj", m)) for m in (first, second)))


def test_an_unreadable_namesake_leaves_the_id_to_the_image_that_can_be_read(chest, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.jpg").write_bytes(b"\xff\xd8\xff no more")
    Image.fromarray(np.full((20, 30), 90, np.uint8)).save(images / "a.png")
    arguments = ["--images", str(images), "--model", str(chest / "model.pt"), "--out", str(tmp_path / "out")]
    assert run_verb("infer", [*arguments, "--modality", str(chest / "chest.yaml")]) == 0
    assert [Path(row["image"]).name for row in table(tmp_path / "out" / "predictions.csv")] == ["a.png"]
    assert [row["path"] for row in table(tmp_path / "out" / "quarantine.csv")] == ["a.jpg"]


def test_a_folder_with_nothing_that_can_be_read_is_a_mistake(chest, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"no picture")
    arguments = ["--images", str(tmp_path / "images"), "--model", str(chest / "model.pt")]
    arguments += ["--modality", str(chest / "chest.yaml"), "--out", str(tmp_path / "out")]
    assert run_verb("infer", arguments) == 2
    assert "none of the 1 images can be read" in capsys.readouterr().err
    assert [row["path"] for row in table(tmp_path / "out" / "quarantine.csv")] == ["a.png"]


def test_outlines_come_as_dicom_pictures_and_every_frame_has_its_own_mask(chest, tmp_path):
    images = tmp_path / "images"
    pixels = np.random.default_rng(2).integers(0, 4096, (3, 40, 56), dtype=np.uint16)
    tags = {"SeriesInstanceUID": "1.2.3.4", "SOPInstanceUID": "1.2.3.4.5"}
    make_dicom(images / "run.dcm", pixels[0], NumberOfFrames=3, PixelData=pixels.tobytes(), **tags)
    out = tmp_path / "out"
    arguments = ["--images", str(images), "--model", str(chest / "model.pt"), "--modality", str(chest / "chest.yaml")]
    wanted = ["--frames", "all", "--keep-uids", "--dicom-overlay", "--dicom-seg"]
    assert run_verb("infer", [*arguments, *wanted, "--out", str(out)]) == 0
    rows = table(out / "predictions.csv")
    assert [row["id"] for row in rows] == ["1.2.3.4.5-0001", "1.2.3.4.5-0002", "1.2.3.4.5-0003"]
    assert [row["image"] for row in rows] == [str(images / f"run.dcm/frames/{number}") for number in (1, 2, 3)]
    assert not (out / "identity.key").exists()
    for number, row in enumerate(rows, start=1):
        classes = np.asarray(nibabel.load(row["mask"]).dataobj)[..., 0].T
        segmentation, drawn = (pydicom.dcmread(out / f"{row['id']}{end}.dcm") for end in ("", "_overlay"))
        np.testing.assert_array_equal(segmentation.pixel_array, np.stack([classes == 1, classes == 2]))
        assert drawn.pixel_array.shape == (40, 56, 3)
        assert drawn.SourceImageSequence[0].ReferencedFrameNumber == number


def test_images_in_an_archive_have_masks(chest, tmp_path):
    path = make_dicom(tmp_path / "a.dcm", np.random.default_rng(3).integers(0, 4096, (40, 56), dtype=np.uint16))
    images = tmp_path / "images"
    images.mkdir()
    with zipfile.ZipFile(images / "ward.zip", "w") as archive:
        archive.write(path, "deep/a")
        archive.writestr("../leaves.dcm", path.read_bytes())
    out = tmp_path / "out"
    arguments = ["--images", str(images), "--model", str(chest / "model.pt"), "--modality", str(chest / "chest.yaml")]
    for _ in range(2):
        assert run_verb("infer", [*arguments, "--out", str(out)]) == 0
        (row,) = table(out / "predictions.csv")
        (place,) = (out / "unpacked").iterdir()
        assert row["image"] == str(place / "ward.zip" / "deep" / "a")
        assert nibabel.load(row["mask"]).shape == (56, 40, 1)
        assert [Path(row["path"]).name for row in table(out / "quarantine.csv")] == ["leaves.dcm"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--model", "absent.pt"], "model must be a weight file that is there, got"),
        (["--set", "device=foo"], "device must be a device there is: cpu, cuda:0, got 'foo'"),
        (["--set", "device=3"], "device must be a device there is: cpu, cuda:0, got 3"),
        (["--set", "refuse_below=abc"], "refuse_below must be a confidence from 0 to 1, or null, got 'abc'"),
        (["--refuse-below", "1.5"], "refuse_below must be a confidence from 0 to 1, or null, got 1.5"),
    ],
)
def test_a_slip_in_a_value_is_told_before_anything_is_written(chest, tmp_path, capsys, more, told):
    arguments = ["--images", str(chest / "archive"), "--model", str(chest / "model.pt"), "--out", str(tmp_path / "out")]
    assert run_verb("infer", [*arguments, "--modality", str(chest / "chest.yaml"), *more]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith(f"infer: {told}")
    assert not (tmp_path / "out").exists()


def test_a_mask_whose_image_has_gone_stays_and_is_told_of(chest, tmp_path, caplog):
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for name in "ab":
        Image.fromarray(np.full((20, 30), 90, np.uint8)).save(images / f"{name}.png")
    arguments = ["--images", str(images), "--model", str(chest / "model.pt"), "--out", str(out)]
    arguments += ["--modality", str(chest / "chest.yaml")]
    assert run_verb("infer", arguments) == 0
    assert "earlier run" not in caplog.text
    (images / "b.png").unlink()
    assert run_verb("infer", arguments) == 0
    assert (out / "b.png").is_file() and [row["id"] for row in table(out / "predictions.csv")] == ["a"]
    assert "holds 1 masks of an earlier run" in caplog.text
    assert json.loads((out / "run.json").read_text())["results"]["earlier_masks"] == 1


def test_a_dicom_file_that_is_named_as_a_picture_has_the_mask_of_a_dicom_file(chest, tmp_path):
    images, out = tmp_path / "images", tmp_path / "out"
    pixels = np.random.default_rng(5).integers(0, 4096, (40, 56), dtype=np.uint16)
    make_dicom(images / "scan.jpg", pixels, PixelSpacing=[0.2, 0.1])
    arguments = ["--images", str(images), "--model", str(chest / "model.pt"), "--out", str(out)]
    assert run_verb("infer", [*arguments, "--modality", str(chest / "chest.yaml")]) == 0
    assert [path.suffixes for path in out.glob("*") if path.suffix in (".gz", ".png")] == [[".nii", ".gz"]]
