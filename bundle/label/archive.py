"""The images of a DICOMweb archive, with their labels kept there as DICOM segmentations.

MONAI Label's own datastore for an archive is not used: it has dcmqi write the labels, which refuses a plain radiograph
for want of a frame of reference, and it takes every segmentation of the archive for a label, predictions too.
"""

from __future__ import annotations

import io
import logging
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from cachetools import TTLCache, cachedmethod
from monailabel.config import settings
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from PIL import Image

from bundle.data.identity import strip_suffix
from bundle.data.masks import read_mask
from bundle.data.modality import Modality
from bundle.data.pictures import UnreadableImage
from bundle.data.reader import image_size
from bundle.label.archived_images import ArchivedImages, is_one_object
from bundle.label.archived_labels import ArchivedLabel, ArchivedLabels
from bundle.label.dicomweb import ArchiveClient, Series, Unreachable
from bundle.label.notes import Notes
from bundle.label.uploads import Refused, check_label, check_tag, gone_if_refused
from bundle.run.atomic import atomic_file
from bundle.segmentation.dicom_seg import segmentation_object

logger = logging.getLogger(__name__)

FINAL = DefaultLabelTag.FINAL.value
RAW = ".bin"  # a viewer's bytes: one class index a pixel, along the rows from the top


class Archive(Datastore):
    """Images of an archive. An image is a series of one object, and its id the SeriesInstanceUID.

    An image has a final label when a segmentation in the archive refers to its series, holds a label of the modality
    and was drawn or corrected by a person (no AUTOMATIC segment), whatever program has written it, on the object that
    the series has. Of several the one written last counts, and one that was submitted here counts more than those that
    were there then. Labels of other tags stay on this machine.

    Args:
        client: the archive.
        folder: of copies of images and labels, readable by its owner alone; and of notes.
        modality: what kind of images.
        search: what a series must match, DICOM attribute to value; see :meth:`ArchiveClient.series`.
    """

    def __init__(
        self, client: ArchiveClient, folder: str | os.PathLike[str], modality: Modality, search: dict[str, Any]
    ) -> None:
        self._client, self._folder, self._modality = client, Path(folder), modality
        self._search = dict(search)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        self._copies = ArchivedImages(client, self._folder / "images")
        self._archived = ArchivedLabels(client, self._folder / "labels" / FINAL, modality, self._copies)
        self._notes = Notes(self._folder / "notes.json")
        # One request of a client asks for the same list many times.
        self._recent: TTLCache = TTLCache(maxsize=8, ttl=settings.MONAI_LABEL_DICOMWEB_CACHE_EXPIRY)
        self._lock = threading.RLock()

    def name(self) -> str:
        """The archive's address."""
        return self._client.address

    def description(self) -> str:
        """What is there."""
        return f"images of the archive at {self.name()}"

    def set_name(self, name: str) -> None:
        """Refused: the archive has a name."""
        raise Refused(403, f"the datastore's name is that of the archive, not {name!r}")

    def set_description(self, description: str) -> None:
        """Refused, as the name is."""
        raise Refused(403, f"the datastore's description is not to be set to {description!r}")

    def list_images(self) -> list[str]:
        """Ids of all images, sorted."""
        return list(self._images())

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:  # noqa: ARG002
        """Ids of the images with a label of ``label_tag``, ``final`` where not given; sorted."""
        labelled = self._labelled(label_tag or FINAL)
        return [image for image in self._images() if image in labelled]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:  # noqa: ARG002
        """Ids of the other images, sorted; without a series that has come to have several objects."""
        labelled = self._labelled(label_tag or FINAL)
        return [uid for uid, series in self._images().items() if uid not in labelled and is_one_object(series)]

    def datalist(self) -> list[dict[str, Any]]:
        """``image``, ``label`` and ``id`` of every image with a final label. What cannot be fetched is left out."""
        return list(self._pairs())

    def get_image_uri(self, image_id: str) -> str:
        """The image's file, or the folder of a series of several objects, which no stage reads.

        It is fetched once, and again when the archive has another number of objects. Where the archive does not send it
        the path leads nowhere, so that one image does not stop a ranking of all.

        Raises:
            Refused: there is no such image.
        """
        series = self._images().get(image_id)
        if series is None:
            raise Refused(404, f"there is no image {image_id!r}")
        try:
            return str(self._copies.path(series))
        except Unreachable as error:
            logger.warning("an image is not fetched: %s", error.detail)
            return str(self._copies.folder(series))

    def get_image(self, image_id: str, params: Any = None) -> io.BytesIO:  # noqa: ARG002
        """The bytes of the image's file."""
        return _bytes(self.get_image_uri(image_id), "image", image_id)

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """What a viewer needs to open the image, and the notes; nothing about the patient, since it goes to the log."""
        series = self._images().get(image_id)
        if series is None:
            return {}
        about = {"StudyInstanceUID": series.study, "SeriesInstanceUID": series.uid, "Modality": series.modality}
        return {**self._notes.of(image_id), **about}

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Note something about an image, on this machine."""
        if image_id not in self._images():
            raise Refused(404, f"there is no image {image_id!r}")
        with self._lock:
            self._notes.add(image_id, info)

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """Tag to the id of the image's label, which is the image's."""
        return dict.fromkeys(self._tags().get(image_id, ()), image_id)

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        """The id of the image's label of a tag; empty where there is none."""
        return self.get_labels_by_image_id(image_id).get(tag, "")

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """The file of a label: a PNG of class indices where it is final; empty where there is none."""
        if label_tag == FINAL:
            label = self._labels().get(label_id)
            return str(self._archived.mask(label, self._images()[label_id].study)) if label else ""
        own = self._own_labels().get(label_id, ())
        return next((str(path) for path in own if path.parent.name == label_tag), "")

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> io.BytesIO:  # noqa: ARG002
        """The bytes of a label's file."""
        return _bytes(self.get_label_uri(label_id, label_tag), "label", label_id)

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """The series of a final label in the archive."""
        label = self._labels().get(label_id) if label_tag == FINAL else None
        return {"SeriesInstanceUID": label.series, "Modality": "SEG"} if label else {}

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Refused: an object of the archive does not change."""
        raise Refused(403, f"a label in the archive takes no notes, got {sorted(info)} for {label_id!r}, {label_tag!r}")

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:  # noqa: ARG002
        """Store a final label in the archive as a DICOM segmentation, in the image's study; keep others here.

        A corrected label is stored beside the earlier one, and counts from then on.

        Raises:
            Refused: there is no such image, or the label is none of it.
            Unreachable: the archive does not take it. Nothing is kept then.
        """
        upload = Path(label_filename)
        with gone_if_refused(upload):
            check_tag(label_tag)
            image = Path(self.get_image_uri(image_id))
            kept = _picture_of(upload, image, self._modality) if upload.name.endswith(RAW) else upload
            checked = kept
            try:
                checked = check_label(kept, image, self._modality)
                self._keep_label(image_id, checked, label_tag, image)
            except UnreadableImage as error:
                raise Refused(422, f"the label cannot be stored: {error.reason}") from None
            finally:
                for path in {kept, checked} - {upload}:
                    path.unlink(missing_ok=True)
        return image_id

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:  # noqa: ARG002
        """Refused: images come into the archive from where they are taken."""
        raise Refused(403, f"send images to the archive itself; {image_id!r} is not added over this server")

    def remove_image(self, image_id: str) -> None:
        """Refused: the images are the hospital's."""
        raise Refused(403, f"images are not removed over the network; remove {image_id!r} in the archive")

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label that is on this machine; in the archive it is for its administrator to do."""
        check_tag(label_tag)
        if label_tag == FINAL:
            raise Refused(403, f"DICOMweb removes nothing; remove the segmentation of {label_id!r} in the archive")
        for path in self._own_labels().get(label_id, ()):
            if path.parent.name == label_tag:
                path.unlink()

    def get_dataset_archive(self, limit_cases: int | None) -> str:  # noqa: ARG002
        """Refused: the archive has its own export, which knows who may have what."""
        raise Refused(403, "images of an archive are not handed out as a ZIP file; export them from the archive")

    def refresh(self) -> None:
        """Ask the archive anew at the next request."""
        with self._lock:
            self._recent.clear()

    def status(self) -> dict[str, Any]:
        """Counts of images and of labels."""
        images, tags = self._images(), self._tags()
        counts = Counter(tag for image in images for tag in tags.get(image, ()))
        return {"total": len(images), "completed": counts[FINAL], "label_tags": dict(sorted(counts.items()))}

    def json(self) -> dict[str, Any]:
        """Every image with its information and the tags of its labels."""
        tags = self._tags()
        return {
            "objects": {
                image: {
                    "image": {"info": self.get_image_info(image)},
                    "labels": dict.fromkeys(tags.get(image, ()), image),
                }
                for image in self._images()
            }
        }

    @cachedmethod(lambda self: self._recent, key=lambda _: "images", lock=lambda self: self._lock)
    def _images(self) -> dict[str, Series]:
        return {series.uid: series for series in self._client.series(self._search)}

    @cachedmethod(lambda self: self._recent, key=lambda _: "labels", lock=lambda self: self._lock)
    def _labels(self) -> dict[str, ArchivedLabel]:
        return self._archived.find(self._images().values())

    def _keep_label(self, image_id: str, file: Path, tag: str, image: Path) -> None:
        """Store a checked label in the archive if it is final, else in a file."""
        if tag == FINAL:
            mask = read_mask(file, labels=self._modality.labels)
            self._archived.add(segmentation_object(image, mask, self._modality, drawn=True), mask)
            self.refresh()
            return
        suffix = file.name[len(strip_suffix(file.name)) :]
        with atomic_file(self._folder / "labels" / tag / f"{image_id}{suffix}") as temporary:
            shutil.copyfile(file, temporary)

    def _pairs(self) -> Iterator[dict[str, Any]]:
        for image, label in self._labels().items():
            try:
                mask = self._archived.mask(label, self._images()[image].study)
            except (UnreadableImage, Unreachable) as error:
                logger.warning("a label is left out: %s", getattr(error, "detail", None) or error)
                continue
            yield {"id": image, "image": self.get_image_uri(image), "label": str(mask)}

    def _labelled(self, tag: str) -> set[str]:
        """Ids of the images with a label of a tag."""
        if tag == FINAL:
            return set(self._labels())
        own = self._own_labels()
        return {image for image, files in own.items() if tag in {path.parent.name for path in files}}

    def _tags(self) -> dict[str, list[str]]:
        """Image to the tags of its labels, sorted."""
        found = {image: {path.parent.name for path in files} for image, files in self._own_labels().items()}
        for image in self._labels():
            found.setdefault(image, set()).add(FINAL)
        return {image: sorted(tags) for image, tags in found.items()}

    def _own_labels(self) -> dict[str, list[Path]]:
        """Image to the files of its labels that are not in the archive; one listing, whatever number of images."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self._folder.glob("labels/*/*")):
            if path.parent.name != FINAL:  # that folder has copies of what is in the archive, under other names
                found.setdefault(strip_suffix(path.name), []).append(path)
        return found


def _bytes(path: str, kind: str, identifier: str) -> io.BytesIO:
    if not Path(path).is_file():
        raise Refused(404, f"there is no {kind} {identifier!r}")
    return io.BytesIO(Path(path).read_bytes())


def _picture_of(raw: Path, image: Path, modality: Modality) -> Path:
    """A viewer's bytes as PNG beside them."""
    try:
        size = image_size(image, modality)
    except UnreadableImage as error:
        raise Refused(422, f"the image cannot be read: {error.reason}") from None
    values = np.fromfile(raw, dtype=np.uint8)
    if values.size != size[0] * size[1]:
        rule = f"a byte a pixel, {size[0]} x {size[1]} = {size[0] * size[1]}"
        raise Refused(422, f"a label of raw bytes must have {rule}; got {values.size}")
    target = raw.with_suffix(".png")
    Image.fromarray(values.reshape(size)).save(target)
    return target
