"""An archive of the open kind, Orthanc, files what is written and gives it back unchanged."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import highdicom
import numpy as np
import pydicom
import pytest

from bundle.data.modality import load_modality
from bundle.segmentation.dicom_overlay import write_overlay
from bundle.segmentation.dicom_seg import write_segmentation
from tests.segmentation.dicom_objects import corner, image

PROGRAM = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
SECONDS_TO_START = 60.0

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Orthanc (Debian package orthanc) is not installed")


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory) -> Iterator[str]:
    """The address of an empty archive of its own, for this machine alone."""
    folder = tmp_path_factory.mktemp("orthanc")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([PROGRAM, str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        end = time.monotonic() + SECONDS_TO_START
        while True:
            assert server.poll() is None and time.monotonic() < end, (folder / "log").read_text()
            try:
                urllib.request.urlopen(f"{address}/system", timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(30)


def ask(address: str, body: bytes | None = None) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(address, data=body), timeout=60) as answer:
        return answer.read()


def test_segmentation_and_overlay_are_filed_with_their_image_and_come_back_as_they_were(orthanc, tmp_path):
    source = image(tmp_path / "cr.dcm", np.zeros((37, 53), np.uint16), PixelSpacing=[0.2, 0.1])
    chest, mask = load_modality("chest_xray"), corner(37, 53)
    segmentation = write_segmentation(tmp_path / "seg.dcm", source, mask, chest)
    overlay = write_overlay(tmp_path / "overlay.dcm", source, mask, chest)
    stored = {}
    for path in (source, segmentation, overlay):
        answer = json.loads(ask(f"{orthanc}/instances", path.read_bytes()))
        assert answer["Status"] == "Success"
        stored[path] = answer
    assert len({answer["ParentStudy"] for answer in stored.values()}) == 1, "in the study of the image"
    assert len({answer["ParentSeries"] for answer in stored.values()}) == 3
    back = {path: ask(f"{orthanc}/instances/{answer['ID']}/file") for path, answer in stored.items()}
    np.testing.assert_array_equal(pydicom.dcmread(io.BytesIO(back[segmentation])).pixel_array, mask)
    read = highdicom.seg.segread(io.BytesIO(back[segmentation]))
    uid = str(pydicom.dcmread(source).SOPInstanceUID)
    np.testing.assert_array_equal(read.get_pixels_by_source_instance([uid])[0, ..., 0], mask)
    np.testing.assert_array_equal(
        pydicom.dcmread(io.BytesIO(back[overlay])).pixel_array, pydicom.dcmread(overlay).pixel_array
    )
    tags = json.loads(ask(f"{orthanc}/instances/{stored[segmentation]['ID']}/simplified-tags"))
    assert tags["Modality"] == "SEG" and tags["SegmentSequence"][0]["SegmentLabel"] == "lung"
