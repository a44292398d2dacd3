"""Our app on a DICOMweb archive: radiographs come from it, and labels go into it as DICOM segmentations."""

from __future__ import annotations

import gzip
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

from bundle.data.demo import make_demo
from bundle.data.modality import load_modality
from bundle.label.orthanc import Orthanc
from bundle.label.server import free_port
from bundle.segmentation.dicom_seg import segmentation_object, write_segmentation
from bundle.segmentation.dicom_source import save
from tests.label.conftest import Server, uploads_left
from tests.label.pacs import Pacs, as_digital, series_of
from tests.segmentation.dicom_objects import errors_of

pytestmark = pytest.mark.label
MODEL = "coldstart_chest_xray_segmentation"
CHEST = load_modality("chest_xray")
COUNT = 6
CACHE_SECONDS = 1.5  # the server asks the archive anew after one


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """``images`` as CR and, every third, as DX; ``masks`` under the same names."""
    folder = make_demo(tmp_path_factory.mktemp("drawn") / "demo", modality="chest_xray", count=COUNT, size=96)
    for path in sorted((folder / "images").rglob("*.dcm"))[::3]:
        as_digital(path)
    return folder


@pytest.fixture(scope="module")
def images(demo) -> dict[str, Path]:
    """Series to its file."""
    return {series_of(path): path for path in sorted((demo / "images").rglob("*.dcm"))}


@pytest.fixture(scope="module")
def pacs(label_python, demo, tmp_path_factory) -> Iterator[Pacs]:  # noqa: ARG001 - or skips
    """An archive of the drawn radiographs, and of a series of two that no stage can take for one image."""
    if shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin:/usr/bin") is None:
        pytest.skip("Orthanc (Debian packages orthanc and orthanc-dicomweb) is not installed")
    folder = tmp_path_factory.mktemp("pacs")
    with Orthanc(folder / "orthanc", folder / "log", free_port("127.0.0.1")) as orthanc:
        assert orthanc.fill(demo / "images") == COUNT
        yield Pacs(orthanc)


@pytest.fixture(scope="module")
def server(start_server, pacs, tmp_path_factory) -> Server:
    out = tmp_path_factory.mktemp("label") / "out"
    started = start_server(pacs.address, out, "--modality", "chest_xray", "--conf", "lease_minutes", "600")
    started.wait_for_ranking(COUNT)
    return started


def mask_of(image: Path) -> Path:
    masks = image.parents[2] / "masks"
    return masks / image.parent.name / f"{image.stem}.png"


def true_mask(image: Path) -> np.ndarray:
    return (np.asarray(Image.open(mask_of(image))) > 0).astype(np.uint8)


def labelled(server: Server) -> dict[str, Path]:
    """Image to the mask that the next training reads."""
    time.sleep(CACHE_SECONDS)
    answer = server.get("/datastore/", output="train")
    assert answer.status == 200, answer.body
    return {pair["id"]: Path(pair["label"]) for pair in answer.json}


def predicted(server: Server, image: str) -> np.ndarray:
    """(rows, columns) of the drawing that the server gives."""
    answer = server.infer(MODEL, image=image)
    assert answer.status == 200, answer.body
    volume = nibabel.Nifti1Image.from_bytes(gzip.decompress(answer.body))
    return np.asarray(volume.dataobj)[..., 0].T


def test_every_cr_and_dx_of_the_archive_is_ranked_under_its_series(server, images):
    assert sorted(server.ranking()) == sorted(images)
    assert {server.next_sample(client_id=f"reader {i}")["Modality"] for i in range(COUNT)} == {"CR", "DX"}


def test_what_is_served_tells_nothing_of_the_patient(server, images):
    for image, path in images.items():
        told = str(server.get("/datastore/image/info", image=image).json)
        assert str(pydicom.dcmread(path).PatientID) not in told
    assert "DEMO-" not in server.log()


def test_a_label_comes_to_lie_in_the_archive_as_a_valid_segmentation_of_a_plain_radiograph(
    server, pacs, images, tmp_path
):
    for image in server.ranking()[:2]:
        source = pydicom.dcmread(images[image])
        assert "FrameOfReferenceUID" not in source and "ImagePositionPatient" not in source
        assert predicted(server, image).shape == true_mask(images[image]).shape
        assert server.label(image, mask_of(images[image])).status == 200
        (stored,) = pacs.segmentations(image)
        assert stored.StudyInstanceUID == source.StudyInstanceUID and stored.PatientID == source.PatientID
        assert stored.SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"
        np.testing.assert_array_equal(stored.pixel_array, true_mask(images[image]))
        save(stored, tmp_path / "stored.dcm")
        if shutil.which("dciodvfy"):
            assert errors_of(tmp_path / "stored.dcm") == []


def test_labels_are_found_in_the_archive_again_when_the_copies_here_are_lost(server, images):
    before = labelled(server)
    assert before and set(before) <= set(images)
    for file in (server.out / "archive" / "labels" / "final").iterdir():
        file.unlink()
    after = labelled(server)
    assert after == before
    for image, path in after.items():
        np.testing.assert_array_equal(np.asarray(Image.open(path)), true_mask(images[image]))


def test_a_labelled_image_is_not_served_again(server):
    done = set(labelled(server))
    served = [server.next_sample("first", client_id=f"other {i}") for i in range(COUNT + 1)]
    assert done and not done & {sample.get("id") for sample in served}


def test_the_last_of_two_labels_counts(server, pacs, images, tmp_path):
    image = server.ranking()[0]
    corrected = np.zeros_like(true_mask(images[image]))
    corrected[3:20, 5:9] = 255
    Image.fromarray(corrected).save(tmp_path / "mask.png")
    assert server.label(image, tmp_path / "mask.png").status == 200
    assert len(pacs.segmentations(image)) == 2
    np.testing.assert_array_equal(np.asarray(Image.open(labelled(server)[image])), corrected // 255)
    assert server.label(image, mask_of(images[image])).status == 200


def test_a_prediction_in_the_archive_is_no_label_and_what_another_program_drew_is_one(server, pacs, images, tmp_path):
    automatic, drawn = server.ranking()[2:4]
    pacs.send(write_segmentation(tmp_path / "a.dcm", images[automatic], true_mask(images[automatic]), CHEST))
    made = segmentation_object(images[drawn], true_mask(images[drawn]), CHEST, drawn=True)
    made.Manufacturer = "Another"
    segment = made.SegmentSequence[0]
    segment.SegmentAlgorithmType, segment.SegmentLabel = "MANUAL", "LUNG "
    del segment.SegmentAlgorithmName, segment.SegmentationAlgorithmIdentificationSequence
    pacs.send(save(made, tmp_path / "d.dcm"))
    found = labelled(server)
    assert automatic not in found
    np.testing.assert_array_equal(np.asarray(Image.open(found[drawn])), true_mask(images[drawn]))


def test_a_viewer_s_bytes_are_a_label(server, images, tmp_path):
    image = server.ranking()[4]
    (tmp_path / "label.bin").write_bytes(true_mask(images[image]).tobytes())
    assert server.label(image, tmp_path / "label.bin").status == 200
    np.testing.assert_array_equal(np.asarray(Image.open(labelled(server)[image])), true_mask(images[image]))


@pytest.mark.parametrize("what", ["another size", "empty", "no image", "bytes of another size", "of an unknown image"])
def test_a_bad_label_is_refused_and_nothing_is_stored(server, pacs, tmp_path, what):
    image = server.ranking()[5]
    target, status = image, 422
    file = tmp_path / ("label.bin" if what == "bytes of another size" else "mask.png")
    Image.fromarray(np.zeros((7, 9), np.uint8)).save(tmp_path / "mask.png")
    if what == "empty":
        file.write_bytes(b"")
        status = 400
    elif what in ("no image", "bytes of another size"):
        file.write_bytes(b"label " * 5)
    elif what == "of an unknown image":
        target, status = "1.2.3", 404
    answer = server.label(target, file)
    assert answer.status == status and answer.json["detail"], answer.body
    assert pacs.segmentations(image) == [] and uploads_left(server) == []


def test_images_and_labels_are_not_removed_over_the_network(server):
    image = server.ranking()[0]
    assert server.delete("/datastore/image", id=image).status == 403
    assert server.delete("/datastore/label", id=image, tag="final").status == 403


def test_a_training_on_the_archive_s_labels_changes_the_drawing(server, images):
    image = server.ranking()[-1]
    before = (server.out / "model" / MODEL / "models" / "model.pt").read_bytes()
    assert predicted(server, image).shape == true_mask(images[image]).shape
    assert server.train(MODEL, max_epochs=1)["status"] == "DONE"
    assert (server.out / "model" / MODEL / "models" / "model.pt").read_bytes() != before
    drawn, wanted = predicted(server, image), true_mask(images[image])
    assert 2 * (drawn & wanted).sum() / (drawn.sum() + wanted.sum()) > 0.5


def test_a_series_of_two_images_is_set_aside_and_never_served(server, pacs, images, tmp_path):
    first, second = (pydicom.dcmread(path) for path in list(images.values())[:2])
    for number, dataset in enumerate((first, second), start=1):
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.PatientID = "2.25.77", "2.25.78", "X"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"2.25.79{number}"
        dataset.save_as(tmp_path / f"{number}.dcm")
        pacs.send(tmp_path / f"{number}.dcm")
    time.sleep(CACHE_SECONDS)
    server.next_sample("first", client_id="z")
    quarantine = server.out / "ranking" / "quarantine.csv"
    server.wait_for(lambda: "2.25.78" in quarantine.read_text(), "the series in quarantine.csv")
    assert "2.25.78" not in server.ranking()
    assert server.infer(MODEL, image="2.25.78").status == 422


def test_an_archive_that_is_gone_is_told_and_found_again_when_it_is_back(server, pacs):
    pacs.orthanc.__exit__(None, None, None)
    try:
        time.sleep(CACHE_SECONDS)
        answer = server.get("/datastore/")
        assert answer.status == 502 and "archive" in answer.json["detail"]
    finally:
        pacs.orthanc.__enter__()
    assert server.wait_for(lambda: server.get("/datastore/").status == 200, "the archive")
