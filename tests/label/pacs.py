"""What tests ask of an archive beside the server: to store objects, and to tell what it holds."""

from __future__ import annotations

import dataclasses
import io
import json
import urllib.request
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation

from bundle.label.orthanc import Orthanc


@dataclasses.dataclass
class Pacs:
    """A running Orthanc."""

    orthanc: Orthanc

    @property
    def address(self) -> str:
        return self.orthanc.address

    def send(self, path: Path) -> None:
        self._ask("/instances", path.read_bytes())

    def segmentations(self, image: str) -> list[Dataset]:
        """The segmentations of an image, by the SeriesInstanceUID that they refer to; the first stored first."""
        told = json.loads(self._ask("/instances?expand"))
        stored = sorted(told, key=lambda item: item["IndexInSeries"] or 0)
        objects = [pydicom.dcmread(io.BytesIO(self._ask(f"/instances/{item['ID']}/file"))) for item in stored]
        found = [one for one in objects if one.Modality == "SEG"]
        of_image = [one for one in found if one.ReferencedSeriesSequence[0].SeriesInstanceUID == image]
        return sorted(of_image, key=lambda one: (one.ContentDate, one.ContentTime))

    def _ask(self, path: str, body: bytes | None = None) -> bytes:
        address = self.address.removesuffix("/dicom-web")
        with urllib.request.urlopen(f"{address}{path}", body, timeout=60) as answer:
            return answer.read()


def as_digital(path: Path) -> None:
    """Make a CR object a DX one, with the tags by which an archive and this project know them apart."""
    dataset = pydicom.dcmread(path)
    dataset.Modality = "DX"
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.save_as(path)


def series_of(path: Path) -> str:
    return str(pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID)
