"""The images of a folder and their labels, as MONAI Label keeps them, with the holes closed that lose data."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore

from bundle.data import dicom, nifti, pictures
from bundle.data.identity import strip_suffix
from bundle.data.modality import Modality
from bundle.data.tree import walk
from bundle.label.uploads import Refused, check_id, check_image, check_label, check_tag, gone_if_refused
from bundle.run.atomic import atomic_file, write_text

logger = logging.getLogger(__name__)

LABELS = "labels"


class StudyFolder(LocalDatastore):
    """A folder of images; labels go to ``labels/final`` below it, and the account to ``datastore_v2.json``.

    Unlike its parent it looks into subfolders, finds DICOM files whatever they are called, refuses uploads that are no
    image or no mask of theirs (:class:`~bundle.label.uploads.Refused`), writes its account whole or not at all, reads
    it again before a change, since background tasks write it too, and removes no image.

    An image's id is its path below the folder without suffix, as in a datalist of pictures.

    Args:
        folder: of the images.
        modality: what kind of images.
        read_only: for background tasks, which must not list the folder anew.
    """

    def __init__(self, folder: str | os.PathLike[str], modality: Modality, *, read_only: bool = False) -> None:
        self.modality = modality
        self.root = Path(folder).resolve()
        # No watcher: it would change the list in the midst of a request. The server calls refresh() instead.
        super().__init__(str(self.root), labels_dir=LABELS, auto_reload=False, read_only=read_only)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Keep an uploaded image under ``image_id``."""
        upload = Path(image_filename)
        image_id = strip_suffix(image_id or upload.name)
        with gone_if_refused(upload):
            check_id(image_id)
            check_image(upload, self.modality)
            self.refresh()
            if image_id in self._datastore.objects:
                raise Refused(409, f"there is an image {image_id!r} already; choose another id")
        target = self.root / f"{image_id}{self._to_id(upload.name)[1]}"
        _copy(upload, target)
        self._datastore.objects[image_id] = ImageLabelModel(image=self._entry(target, image_info))
        self._update_datastore_file()
        return image_id

    def remove_image(self, image_id: str) -> None:
        """Refused: the files are the hospital's."""
        raise Refused(403, f"images are not removed over the network; remove {image_id!r} from the server's folder")

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Keep a mask of ``image_id``; an earlier one of that tag is replaced."""
        upload = Path(label_filename)
        with gone_if_refused(upload):
            check_tag(label_tag)
            self._init_from_datastore_file()
            image = self.get_image_uri(image_id)
            if not image:
                raise Refused(404, f"there is no image {image_id!r}")
            kept = check_label(upload, Path(image), self.modality)
        previous = self.get_label_uri(image_id, label_tag)
        target = Path(self._datastore.label_path(label_tag)) / f"{image_id}{self._to_id(kept.name)[1]}"
        _copy(kept, target)
        if kept != upload:
            kept.unlink()
        if previous and Path(previous) != target:
            Path(previous).unlink(missing_ok=True)  # of another suffix, so the new one has not replaced it
        self._datastore.objects[image_id].labels[label_tag] = self._entry(target, label_info)
        self._update_datastore_file()
        return image_id

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Note something about an image."""
        self._init_from_datastore_file()
        if image_id not in self._datastore.objects:
            raise Refused(404, f"there is no image {image_id!r}")
        super().update_image_info(image_id, info)

    def _list_files(self, path: str, patterns: Any) -> dict[str, str]:  # noqa: ARG002 - content tells, not the name
        """Files as paths below ``path``: images of the modality, or masks where ``path`` is a label's folder."""
        place = Path(path).resolve()
        wanted = self._is_image if place == self.root else _is_mask
        found = (file.relative_to(place).as_posix() for file in walk(place, [self.root / LABELS]) if wanted(file))
        return {name: name for name in found}

    def _is_image(self, file: Path) -> bool:
        """Whether a file is, or claims to be, an image of the modality, and is no link that leaves the folder."""
        radiograph = self.modality.reader == "radiograph"
        suffixes = (*pictures.SUFFIXES, *dicom.SUFFIXES, *(nifti.SUFFIXES if radiograph else ()))
        # A hospital's export has no suffixes or any; so what no suffix speaks for is looked into.
        named = file.name.lower().endswith(suffixes) or dicom.is_dicom(file)
        return named and file.resolve().is_relative_to(self.root)

    def _to_id(self, file: str) -> tuple[str, str]:
        """Id and suffix; the parent cuts the suffix out wherever it stands in the name."""
        identifier = strip_suffix(file)
        return identifier, file[len(identifier) :]

    def _update_datastore_file(self, lock: bool = True) -> None:  # noqa: ARG002 - a rename needs none
        """Write the account; a kill in the middle must not leave half of it, which no server would start with."""
        content = self._datastore.model_dump(exclude={"base_path"})
        write_text(self._datastore_config_path, json.dumps(content, indent=2, default=str))
        self._config_ts = Path(self._datastore_config_path).stat().st_mtime

    def _entry(self, file: Path, info: dict[str, Any]) -> DataModel:
        stamp = {"ts": int(file.stat().st_mtime), "name": file.name}
        return DataModel(info={**(info or {}), **stamp}, ext=self._to_id(file.name)[1])


def _is_mask(file: Path) -> bool:
    return file.name.lower().endswith((*pictures.SUFFIXES, *nifti.SUFFIXES))


def _copy(source: Path, target: Path) -> None:
    """Copy whole or not at all: half an image or half a mask would count as one."""
    with atomic_file(target) as temporary:
        shutil.copyfile(source, temporary)
