"""Which images of an archive have a label there: segmentation objects that a person has drawn or corrected."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset

from bundle.data.modality import Modality
from bundle.label.dicomweb import ArchiveClient, Series
from bundle.run.atomic import atomic_file, write_json
from bundle.segmentation.dicom_seg_mask import is_drawn, read_segmentation, referenced_series
from bundle.segmentation.dicom_source import save

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ArchivedLabel:
    """A series of the archive that holds a label.

    Attributes:
        series: its SeriesInstanceUID.
        image: SeriesInstanceUID of the image; empty where the series holds no label of the modality.
        written: date and time of its content, as text that sorts; of two labels the later one counts.
    """

    series: str
    image: str
    written: str


class ArchivedLabels:
    """The labels of an archive, and their masks as PNG.

    A DICOM object never changes, so every series is asked for once: what it holds is kept in the folder.

    Args:
        client: the archive.
        folder: keeps ``segmentations.json`` and ``SERIES.png``.
        modality: names the labels.
    """

    def __init__(self, client: ArchiveClient, folder: str | os.PathLike[str], modality: Modality) -> None:
        self._client, self._folder, self._modality = client, Path(folder), modality
        self._folder.mkdir(parents=True, exist_ok=True)

    def find(self, images: Iterable[Series]) -> dict[str, ArchivedLabel]:
        """Image to its last label. Segmentations of other studies are not looked at: an archive holds many."""
        listed = {series.uid: series.study for series in images}
        studies = set(listed.values())
        there = [series for series in self._client.series({"Modality": "SEG"}) if series.study in studies]
        known = self._load()
        new = {series.uid: self._look_at(series) for series in there if series.uid not in known}
        if new:
            self._save({**known, **new})
        labels = [{**known, **new}[series.uid] for series in there]
        ordered = sorted(labels, key=lambda label: (label.written, label.series))
        return {label.image: label for label in ordered if label.image in listed}

    def mask(self, label: ArchivedLabel, study: str) -> Path:
        """PNG of class indices of a label; fetched where it is not kept yet.

        Raises:
            UnreadableImage: the object holds no mask of the modality.
        """
        path = self._mask_path(label)
        if not path.is_file():
            with tempfile.TemporaryDirectory(dir=self._folder, prefix=".") as place:
                (made,) = self._client.objects(Series(label.series, study, "SEG"))
                self._keep(read_segmentation(save(made, Path(place) / "label.dcm"), self._modality), path)
        return path

    def add(self, made: Dataset, mask: np.ndarray) -> None:
        """Store a label in the archive, and keep its mask."""
        self._client.store(made)
        label = self._label(made)
        self._save({**self._load(), label.series: label})
        self._keep(mask, self._mask_path(label))

    def _look_at(self, series: Series) -> ArchivedLabel:
        headers = self._client.headers(series)
        labels = [self._label(header) for header in headers]
        drawn = [label for label in labels if label.image]
        if len(headers) == 1 and drawn:
            return drawn[0]
        logger.info("a segmentation series of the archive is no label of %s drawn by a person", self._modality.name)
        return ArchivedLabel(series.uid, "", "")

    def _label(self, header: Dataset) -> ArchivedLabel:
        image = referenced_series(header) if is_drawn(header, self._modality) else ""
        written = f"{header.get('ContentDate') or ''} {header.get('ContentTime') or ''}"
        return ArchivedLabel(str(header.SeriesInstanceUID), image, written)

    def _keep(self, mask: np.ndarray, path: Path) -> None:
        with atomic_file(path) as temporary:
            Image.fromarray(mask).save(temporary)

    def _mask_path(self, label: ArchivedLabel) -> Path:
        return self._folder / f"{label.series}.png"

    @property
    def _index(self) -> Path:
        return self._folder / "segmentations.json"

    def _load(self) -> Mapping[str, ArchivedLabel]:
        if not self._index.is_file():
            return {}
        content = json.loads(self._index.read_text(encoding="utf-8"))
        return {uid: ArchivedLabel(**label) for uid, label in content.items()}

    def _save(self, known: Mapping[str, ArchivedLabel]) -> None:
        write_json(self._index, {uid: dataclasses.asdict(label) for uid, label in known.items()})
