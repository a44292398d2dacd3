"""Real chest radiographs in a PACS of the server's own: each is drawn, labelled and found again."""

from __future__ import annotations

import gzip
import shutil

import nibabel
import numpy as np
import pytest
from PIL import Image

from tests.label.pacs import series_of
from tests.segmentation.dicom_objects import errors_of

pytestmark = [pytest.mark.label, pytest.mark.real]
MODEL = "coldstart_chest_xray_segmentation"


def test_the_drawing_of_every_real_radiograph_is_taken_as_its_label(start_server, real_data, tmp_path):
    if shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin:/usr/bin") is None:
        pytest.skip("Orthanc (Debian packages orthanc and orthanc-dicomweb) is not installed")
    studies = real_data / "dicom" / "chest"
    images = {series_of(path) for path in studies.glob("*.dcm")}
    server = start_server(studies, tmp_path / "out", "--modality", "chest_xray", "--with-orthanc")
    assert set(server.wait_for_ranking(len(images))) == images
    drawn = {}
    for image in images:
        answer = server.infer(MODEL, image=image)
        assert answer.status == 200, answer.body
        drawn[image] = np.asarray(nibabel.Nifti1Image.from_bytes(gzip.decompress(answer.body)).dataobj)[..., 0].T
        (tmp_path / "mask.nii.gz").write_bytes(answer.body)
        assert server.label(image, tmp_path / "mask.nii.gz").status == 200
    found = {pair["id"]: pair["label"] for pair in server.get("/datastore/", output="train").json}
    assert set(found) == images
    for image, mask in drawn.items():
        np.testing.assert_array_equal(np.asarray(Image.open(found[image])), mask)
    stored = list((tmp_path / "out" / "orthanc" / "storage").rglob("*"))
    segmentations = [path for path in stored if path.is_file() and b"SEMIAUTOMATIC" in path.read_bytes()]
    assert len(segmentations) == len(images)
    if shutil.which("dciodvfy"):
        assert [errors_of(path) for path in segmentations] == [[]] * len(images)
    assert server.stop() == 0
    assert not any(path.name.startswith(".") for path in (tmp_path / "out" / "archive").rglob("*"))
