"""Which images of an archive have a label there: segmentation objects that a person has drawn or corrected."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset

from bundle.data.modality import Modality
from bundle.label.archived_images import ArchivedImages, is_one_object
from bundle.label.dicomweb import ArchiveClient, Series
from bundle.run.atomic import atomic_file, write_json
from bundle.run.temporary import temporary_path
from bundle.segmentation.dicom_seg_mask import is_drawn, read_segmentation, referenced_series
from bundle.segmentation.dicom_source import save

logger = logging.getLogger(__name__)

_CLOCK = ("ContentDate", "ContentTime", "TimezoneOffsetFromUTC")


@dataclasses.dataclass(frozen=True)
class ArchivedLabel:
    """A series of the archive that holds a label.

    Attributes:
        series: its SeriesInstanceUID.
        count: how many objects the archive told of when it was looked at; None where it does not tell.
        image: SeriesInstanceUID of the image; empty where the series holds no label of the modality.
        objects: SOPInstanceUIDs of what it was drawn on, in that series; empty where it does not say.
        written: when its content was made, in UTC, as text that sorts; of two labels the later one counts.
        replaces: the image's labels that were there when this server stored it: whatever their clocks said, it counts.
    """

    series: str
    count: int | None
    image: str = ""
    objects: Sequence[str] = ()
    written: str = ""
    replaces: Sequence[str] = ()


_FIELDS = {field.name for field in dataclasses.fields(ArchivedLabel)}


class ArchivedLabels:
    """The labels of an archive, and their masks as PNG.

    A DICOM object never changes, so a series is asked for once, and again when it has another number of objects: what
    it holds is kept in the folder.

    Args:
        client: the archive.
        folder: keeps ``segmentations.json`` and ``SERIES.png``.
        modality: names the labels.
        images: tells the objects of an image.
    """

    def __init__(
        self, client: ArchiveClient, folder: str | os.PathLike[str], modality: Modality, images: ArchivedImages
    ) -> None:
        self._client, self._folder, self._modality, self._images = client, Path(folder), modality, images
        self._told: set[str] = set()  # series that the log has said are set aside
        self._folder.mkdir(parents=True, exist_ok=True)

    def find(self, images: Iterable[Series]) -> dict[str, ArchivedLabel]:
        """Image to the label that counts. Segmentations of other studies are not looked at: an archive holds many."""
        listed = {series.uid: series for series in images}
        there: dict[str, list[ArchivedLabel]] = {}
        for label in self._there({series.study for series in listed.values()}):
            if label.image in listed and self._is_of(label, listed[label.image]):
                there.setdefault(label.image, []).append(label)
        return {image: _counting(labels) for image, labels in there.items()}

    def mask(self, label: ArchivedLabel, study: str) -> Path:
        """PNG of class indices of a label; fetched where it is not kept yet.

        Raises:
            UnreadableImage: the object holds no mask of the modality.
        """
        path = self._mask_path(label)
        if not path.is_file():
            (made,) = self._client.objects(Series(label.series, study, "SEG"))
            with temporary_path(path.with_suffix(".dcm"), "tmp") as file:
                try:
                    self._keep(read_segmentation(save(made, file), self._modality), path)
                finally:
                    file.unlink(missing_ok=True)
        return path

    def add(self, made: Dataset, mask: np.ndarray) -> None:
        """Store a label in the archive, and keep its mask. It counts from now on."""
        label = self._label(made, count=1)
        before = [other.series for other in self._there({str(made.StudyInstanceUID)}) if other.image == label.image]
        label = dataclasses.replace(label, replaces=before)
        self._client.store(made)
        self._save({**self._load(), label.series: label})
        self._keep(mask, self._mask_path(label))

    def _there(self, studies: Collection[str]) -> list[ArchivedLabel]:
        """What the segmentation series of some studies hold, as the archive is now."""
        there = [series for series in self._client.series({"Modality": "SEG"}) if series.study in studies]
        known = self._load()
        new = {series.uid: self._look_at(series) for series in there if not _is_known(series, known)}
        if new:
            self._add_to_index(there, new)
        return [{**known, **new}[series.uid] for series in there]

    def _add_to_index(self, there: Iterable[Series], new: Mapping[str, ArchivedLabel]) -> None:
        """Keep what is new. What another process has kept meanwhile stays: that of a submission knows more."""
        kept = self._load()
        meanwhile = {series.uid for series in there if _is_known(series, kept)}
        self._save({**kept, **{uid: label for uid, label in new.items() if uid not in meanwhile}})

    def _look_at(self, series: Series) -> ArchivedLabel:
        headers = self._client.headers(series)
        labels = [self._label(header, series.count) for header in headers]
        if len(labels) == 1 and labels[0].image:
            return labels[0]
        logger.info("a segmentation series of the archive is no label of %s drawn by a person", self._modality.name)
        return ArchivedLabel(series.uid, series.count)

    def _label(self, header: Dataset, count: int | None) -> ArchivedLabel:
        series = str(header.SeriesInstanceUID)
        image = referenced_series(header) if is_drawn(header, self._modality) else ""
        return ArchivedLabel(series, count, image, _referenced_objects(header, image), _written(header))

    def _is_of(self, label: ArchivedLabel, image: Series) -> bool:
        """Whether a label was drawn on the one object of its image; else the log says once why it is set aside."""
        if not is_one_object(image):
            reason = f"its image's series has {image.count} objects"
        elif label.objects and not set(label.objects) <= set(self._images.objects(image)):
            reason = "it was drawn on another object than its image's series has"
        else:
            return True
        if label.series not in self._told:
            logger.warning("the label in the series %s is set aside: %s", label.series, reason)
            self._told.add(label.series)
        return False

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
        # An earlier version noted less of a series, which is looked at again then.
        return {uid: ArchivedLabel(**label) for uid, label in content.items() if label.keys() == _FIELDS}

    def _save(self, known: Mapping[str, ArchivedLabel]) -> None:
        write_json(self._index, {uid: dataclasses.asdict(label) for uid, label in known.items()})


def _is_known(series: Series, known: Mapping[str, ArchivedLabel]) -> bool:
    return series.uid in known and series.count in (None, known[series.uid].count)


def _counting(labels: Sequence[ArchivedLabel]) -> ArchivedLabel:
    """The label of one image that counts: the last one of those that none of the others replaces."""
    replaced = {series for label in labels for series in label.replaces}
    return max(
        (label for label in labels if label.series not in replaced), key=lambda label: (label.written, label.series)
    )


def _referenced_objects(header: Dataset, image: str) -> list[str]:
    """SOPInstanceUIDs of the objects of the series ``image`` that were segmented."""
    items = [item for item in header.get("ReferencedSeriesSequence") or () if item.get("SeriesInstanceUID") == image]
    objects = [one for item in items for one in item.get("ReferencedInstanceSequence") or ()]
    return sorted({str(one.get("ReferencedSOPInstanceUID", "")) for one in objects})


def _written(header: Dataset) -> str:
    """When an object's content was made, in UTC; empty where it does not say.

    Without TimezoneOffsetFromUTC (PS3.3 C.12.1.1) the clock is taken for that of this machine.
    """
    date, time, zone = (str(header.get(tag) or "").strip() for tag in _CLOCK)
    whole, _, fraction = time.partition(".")
    try:
        moment = datetime.strptime(f"{date}{whole:0<6}.{fraction or 0}{zone}", "%Y%m%d%H%M%S.%f" + "%z" * bool(zone))
        return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        return ""
