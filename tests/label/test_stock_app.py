"""MONAI Label's own app for bundles, unmodified, with the packages of both modalities in one server."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from bundle.data.demo import make_demo

from .conftest import Answer, Server

pytestmark = pytest.mark.label
SKIN, CHEST = "coldstart_dermoscopy_segmentation", "coldstart_chest_xray_segmentation"


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Two images of each modality, flat, as MONAI Label's own datastore wants them; and masks of theirs."""
    folder = tmp_path_factory.mktemp("images")
    for modality in ("dermoscopy", "chest_xray"):
        demo = make_demo(folder / modality, modality=modality, count=2, size=96)
        for image in sorted((demo / "images").rglob("*.*")):
            shutil.copy(image, folder / f"{modality}_{image.name}")
        for mask in sorted((demo / "masks").rglob("*.png")):
            shutil.copy(mask, demo / f"{mask.stem}_mask.png")
    Image.open(folder / "dermoscopy_img_0000.jpg").save(folder / "dermoscopy_img_0000_as.png")
    return folder


@pytest.fixture(scope="module")
def server(start_server, images, tmp_path_factory) -> Server:
    studies = tmp_path_factory.mktemp("studies")
    for image in images.glob("*.*"):
        shutil.copy(image, studies)
    return start_server(
        studies,
        tmp_path_factory.mktemp("label") / "out",
        "--stock",
        "--modality",
        "dermoscopy",
        "--modality",
        "chest_xray",
    )


def predicted(answer: Answer, suffix: str, folder: Path) -> np.ndarray:
    """(H, W) class indices."""
    assert answer.status == 200, answer.body
    file = folder / f"answer{suffix}"
    file.write_bytes(answer.body)
    if suffix == ".png":
        return np.asarray(Image.open(file))
    values = np.asarray(nibabel.load(file).dataobj)
    return values.reshape(values.shape[:2]).T


def test_both_models_are_loaded_on_one_package(server):
    told = server.get("/info/").json
    assert set(told["models"]) == set(told["trainers"]) == {SKIN, CHEST}
    assert told["models"][SKIN]["labels"] == {"lesion": 1} and told["models"][CHEST]["labels"] == {"lung": 1}
    assert told["models"][SKIN]["config"]["model_filename"][0] == "model.pt"


@pytest.mark.parametrize(
    ("model", "name", "suffix"),
    [
        (SKIN, "dermoscopy_img_0000.jpg", ".png"),
        (SKIN, "dermoscopy_img_0000_as.png", ".png"),
        (CHEST, "chest_xray_img_0000.dcm", ".nii.gz"),
        (CHEST, "chest_xray_img_0001.dcm", ".nii.gz"),
    ],
)
def test_a_prediction_is_the_command_line_s_pixel_for_pixel(server, images, run_cli, tmp_path, model, name, suffix):
    (tmp_path / "images").mkdir()
    shutil.copy(images / name, tmp_path / "images")
    modality = "dermoscopy" if model == SKIN else "chest_xray"
    run_cli("infer", "--images", tmp_path / "images", "--modality", modality, "--out", tmp_path / "masks")
    (mask,) = [path for path in (tmp_path / "masks").iterdir() if path.name.endswith(suffix)]
    if suffix == ".png":
        wanted = np.asarray(Image.open(mask)) // 255
    else:
        wanted = np.asarray(nibabel.load(mask).dataobj)[..., 0].T
    assert wanted.any()
    np.testing.assert_array_equal(predicted(server.infer(model, image=Path(name).stem), suffix, tmp_path), wanted)
    np.testing.assert_array_equal(predicted(server.infer(model, file=images / name), suffix, tmp_path), wanted)


@pytest.mark.parametrize(("model", "name"), [(SKIN, "dermoscopy_img_0000"), (CHEST, "chest_xray_img_0000")])
def test_a_training_writes_the_model_that_the_next_inference_takes(server, images, tmp_path, model, name):
    mask = images / name[: -len("_img_0000")] / "img_0000_mask.png"
    assert server.label(name, mask).status == 200
    weights = server.out / "model" / model / "models" / "model.pt"
    before = weights.read_bytes()
    # A client sends back what it was offered.
    offered = server.get("/info/").json["trainers"][model]["config"]
    task = server.train(model, **{**offered, "max_epochs": 1, "val_split": 0})
    assert task["status"] == "DONE", task["details"]
    assert weights.read_bytes() != before
    suffix = ".png" if model == SKIN else ".nii.gz"
    assert predicted(server.infer(model, image=name), suffix, tmp_path).max() <= 1
    server.delete("/datastore/label", id=name, tag="final")


def test_a_package_of_another_version_is_refused_and_both_versions_are_named(start_server, tmp_path, server):
    shutil.copytree(server.out / "model", tmp_path / "out" / "model")
    shutil.copy(server.out / "request.json", tmp_path / "out")
    metadata = tmp_path / "out" / "model" / CHEST / "configs" / "metadata.json"
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"version": "9.9.9"}))
    with pytest.raises(AssertionError, match=r"version 9\.9\.9.*package it again"):
        start_server(
            server.studies, tmp_path / "out", "--stock", "--modality", "dermoscopy", "--modality", "chest_xray"
        )


def test_the_stages_run_on_the_older_packages_of_this_environment(label_python, repository):
    tests = ["tests/data", "tests/segmentation", "tests/test_network.py", "tests/test_embedding.py"]
    command = [str(label_python), "-m", "pytest", "-q", "-m", "not real and not label", "-x", *tests]
    ran = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-3000:]
