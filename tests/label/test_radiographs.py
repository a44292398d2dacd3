"""Our app on radiographs as an archive exports them: DICOM in folders, without suffix."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from bundle.data.demo import make_demo

from .conftest import Server

pytestmark = pytest.mark.label
MODEL = "coldstart_chest_xray_segmentation"


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    return make_demo(tmp_path_factory.mktemp("drawn") / "demo", modality="chest_xray", count=3, size=96)


@pytest.fixture(scope="module")
def server(start_server, demo, tmp_path_factory) -> Server:
    studies = tmp_path_factory.mktemp("studies")
    for i, image in enumerate(sorted((demo / "images").rglob("*.dcm"))):
        (studies / f"S{i}").mkdir()
        shutil.copy(image, studies / f"S{i}" / "IM0001")
    started = start_server(studies, tmp_path_factory.mktemp("label") / "out", "--modality", "chest_xray")
    started.wait_for_ranking(3)
    return started


def test_files_without_suffix_are_found_and_served(server):
    served = {server.next_sample(client_id="a")["id"] for _ in range(3)}
    assert served == {"S0/IM0001", "S1/IM0001", "S2/IM0001"}


def test_a_prediction_is_the_command_line_s_with_its_place_in_the_patient(server, run_cli, tmp_path):
    shutil.copytree(server.studies / "S1", tmp_path / "images" / "S1")
    run_cli("infer", "--images", tmp_path / "images", "--modality", "chest_xray", "--out", tmp_path / "masks")
    (mask,) = (tmp_path / "masks").glob("*.nii.gz")
    wanted = nibabel.load(mask)
    answer = server.infer(MODEL, image="S1/IM0001")
    assert answer.status == 200, answer.body
    (tmp_path / "answer.nii.gz").write_bytes(answer.body)
    got = nibabel.load(tmp_path / "answer.nii.gz")
    np.testing.assert_array_equal(np.asarray(got.dataobj), np.asarray(wanted.dataobj))
    np.testing.assert_allclose(got.affine, wanted.affine, atol=1e-5)
    assert np.asarray(got.dataobj).any() and got.get_data_dtype() == np.uint8


def test_a_corrected_prediction_is_taken_back_as_a_label(server, tmp_path):
    answer = server.infer(MODEL, image="S2/IM0001")
    (tmp_path / "corrected.nii.gz").write_bytes(answer.body)
    assert server.label("S2/IM0001", tmp_path / "corrected.nii.gz").status == 200
    assert (server.studies / "labels" / "final" / "S2" / "IM0001.nii.gz").read_bytes() == answer.body
    turned = tmp_path / "turned.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((7, 9, 1), np.uint8), np.eye(4)), turned)
    assert server.label("S2/IM0001", turned).status == 422


def test_the_labels_are_a_datalist_s_masks(server, demo, tmp_path, run_cli):
    image = next(path for path in sorted((demo / "masks").rglob("*.png")))
    width, height = Image.open(image).size
    assert server.label("S0/IM0001", image).status == 200
    run_cli(
        *("make_datalist", "--images", server.studies, "--masks", server.studies / "labels" / "final"),
        *("--modality", "chest_xray", "--validation-fraction", 0, "--out", tmp_path / "datalist.json"),
    )
    from bundle.data.datalist import load_datalist
    from bundle.data.reader import read_image

    labelled = load_datalist(tmp_path / "datalist.json").section("training", labelled=True)
    (entry,) = (entry for entry in labelled if Path(entry["image"]).parent.name == "S0")
    assert read_image(entry["image"], "chest_xray").shape[:2] == (height, width)
