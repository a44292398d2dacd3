"""The images of a folder and their labels, as MONAI Label keeps them, with the holes closed that lose data."""

from __future__ import annotations

import contextlib
import filecmp
import json
import logging
import os
import shutil
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore, LocalDatastoreModel
from monailabel.interfaces.datastore import DefaultLabelTag

from bundle.data import nifti, pictures
from bundle.data.identity import is_plain, strip_suffix
from bundle.data.modality import Modality
from bundle.data.tree import walk
from bundle.label.inventory import FolderImages, stamp_of
from bundle.label.uploads import (
    LABELS,
    PlacedMask,
    Refused,
    check_id,
    check_image,
    check_label,
    check_place,
    check_tag,
    gone_if_refused,
    placed_mask,
)
from bundle.run.atomic import atomic_file, atomic_new_file, write_text
from bundle.run.quarantine import Quarantine

logger = logging.getLogger(__name__)

FINAL, ORIGINAL = DefaultLabelTag.FINAL.value, DefaultLabelTag.ORIGINAL.value
REPLACED = ".replaced"  # hidden, so that neither this server nor make_datalist takes what is in it for labels
_AWAY = "away"  # in the account, which MONAI Label reads without it
_PLACED = "placed"  # stamp of a mask that is known to lie on its image's grid
_OF_THE_FILE = {"ts", "name"}  # what is noted of every image, and is nobody's note


class StudyFolder(LocalDatastore):
    """A folder of images; labels go to ``labels/final`` below it, and the account to ``datastore_v2.json``.

    Unlike its parent it looks into subfolders, finds DICOM files whatever they are called, refuses uploads that are no
    image or no mask of theirs (:class:`~bundle.label.uploads.Refused`), writes its account whole or not at all, changes
    it under a lock and as it is at that time, since background tasks write it too, and removes no image.

    An image's id is its path below the folder without suffix, as in a datalist of pictures. What a datalist would set
    aside is no image here either (:class:`~bundle.label.inventory.FolderImages`), and named in
    ``labels/quarantine.csv``. Notes of an image that is away, as with a drive that is not mounted, are kept. A mask
    that another one takes the place of is kept in ``labels/TAG/.replaced``, below a folder with the time it was drawn.

    Args:
        folder: of the images.
        modality: what kind of images.
        read_only: for background tasks, which must not list the folder anew.
    """

    def __init__(self, folder: str | os.PathLike[str], modality: Modality, *, read_only: bool = False) -> None:
        self.modality = modality
        self.root = Path(folder).resolve()
        self._images = FolderImages(self.root, modality, leave_out=[self.root / LABELS])
        self._lock = FileLock(self.root / ".lock")
        self._away: dict[str, ImageLabelModel] = {}  # images that have notes or labels and no file at the moment
        self._account_read = ""  # state of the account's file when it was last read or written
        self._quarantine_told: list[dict[str, str]] | None = None
        # No watcher: it would change the list in the midst of a request. The server calls refresh() instead.
        super().__init__(str(self.root), labels_dir=LABELS, auto_reload=False, read_only=read_only)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Keep an uploaded image under ``image_id``; no file that is there is replaced."""
        upload = Path(image_filename)
        image_id = strip_suffix(image_id or upload.name)
        with gone_if_refused(upload):
            check_id(image_id)
            check_image(upload, self.modality)
            target = self.root / f"{image_id}{self._to_id(upload.name)[1]}"
            check_place(target, image_id)
            with self._account():
                self.refresh()
                if image_id in self._datastore.objects:
                    raise Refused(409, f"there is an image {image_id!r} already; choose another id")
                _copy_new(upload, target, image_id)
                self._datastore.objects[image_id] = ImageLabelModel(image=self._entry(target, image_info))
                self._update_datastore_file()
        return image_id

    def remove_image(self, image_id: str) -> None:
        """Refused: the files are the hospital's."""
        raise Refused(403, f"images are not removed over the network; remove {image_id!r} from the server's folder")

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Keep a mask of ``image_id``, on the image's grid; an earlier one of that tag is replaced, and kept aside."""
        upload = Path(label_filename)
        with gone_if_refused(upload):
            check_tag(label_tag)
            self._init_from_datastore_file()
            image = self._image_file(image_id)
            kept = check_label(upload, image, self.modality)
            try:
                with self._account():
                    if self._image_file(image_id) != image:
                        raise Refused(409, f"image {image_id!r} has another file now; get it anew and draw on that")
                    file = self._keep_label(image_id, kept, label_tag)
                    entry = self._entry(file, {**(label_info or {}), _PLACED: stamp_of(file)})
                    self._datastore.objects[image_id].labels[label_tag] = entry
                    self._update_datastore_file()
            finally:
                if kept != upload:
                    kept.unlink(missing_ok=True)
        return image_id

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Note something about an image."""
        with self._account():
            self._image_file(image_id)
            super().update_image_info(image_id, info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Note something about a label."""
        with self._account():
            if self._datastore.label(label_id, label_tag) is None:
                raise Refused(404, f"there is no label {label_id!r} of tag {label_tag!r}")
            super().update_label_info(label_id, label_tag, info)

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Images with final labels. Masks that were put there by hand are brought onto their image's grid first."""
        self._place_labels()
        return list(super().datalist(full_path))

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """A ZIP file of the images with a final label, of these labels and of the account; members are named by id.

        Args:
            limit_cases: how many images at most; all of them where it is not above 0.
        """
        self._place_labels()
        labelled = {i: self._datastore.objects[i] for i in self.get_labeled_images()}
        if not labelled:
            raise Refused(404, "there is no label yet, so there is nothing to put into a ZIP file: submit one first")
        with tempfile.NamedTemporaryFile(suffix=".zip", delete=False) as file, zipfile.ZipFile(file, "w") as archive:
            for image_id in list(labelled)[: limit_cases if limit_cases and limit_cases > 0 else None]:
                image, label = labelled[image_id].image, labelled[image_id].labels[FINAL]
                archive.write(self.get_image_uri(image_id), f"image/{image_id}{image.ext}")
                archive.write(self.get_label_uri(image_id, FINAL), f"label/{image_id}{label.ext}")
            archive.writestr("metadata.json", self._datastore.model_dump_json(exclude={"base_path"}))
        return file.name

    def _reconcile_datastore(self) -> None:
        """Bring the account in line with the files that are there; name what is set aside."""
        aside = Quarantine(self.root)
        with self._account():
            before = self._content()
            self._take_images(self._images.find(aside))
            folders = sorted(path for path in (self.root / LABELS).iterdir() if path.is_dir())
            for folder in folders:
                if not folder.name.startswith("."):
                    self._take_labels(folder, aside)
            if self._content() != before:
                self._update_datastore_file()
        if aside.rows != self._quarantine_told:
            aside.write(self.root / LABELS)
            self._quarantine_told = aside.rows

    def _take_images(self, files: Mapping[str, Path]) -> None:
        """Exactly ``files``, id to file, are the images. What is noted about them stays, and so do labels of others."""
        known = {**self._away, **self._datastore.objects}
        images: dict[str, ImageLabelModel] = {}
        for image_id, file in files.items():
            image = known.pop(image_id, None) or ImageLabelModel(image=self._entry(file, {}))
            if image.image.ext != self._to_id(file.name)[1]:
                logger.warning("image %r has another file than before, so its labels no longer count", image_id)
                for tag, label in image.labels.items():
                    self._set_aside(self._label_file(image_id, tag, label.ext), tag, image_id)
                image = ImageLabelModel(image=self._entry(file, image.image.info))
            images[image_id] = image
        self._datastore.objects = images
        self._away = {i: image for i, image in known.items() if image.labels or set(image.image.info) - _OF_THE_FILE}

    def _take_labels(self, folder: Path, aside: Quarantine) -> None:
        """The masks in the folder of a tag are its labels: one an image, the newest.

        Two files are what a kill leaves between writing a mask of another suffix and removing the old one.
        """
        tag = folder.name
        found: defaultdict[str, list[Path]] = defaultdict(list)
        for file in filter(_is_mask, walk(folder)):
            found[strip_suffix(file.relative_to(folder).as_posix())].append(file)
        for image_id, image in self._datastore.objects.items():
            files = sorted(found.pop(image_id, []), key=lambda file: file.stat().st_mtime_ns)
            if not files:
                image.labels.pop(tag, None)
                continue
            for older in files[:-1]:
                self._set_aside(older, tag, image_id)
            label = image.labels.get(tag)
            if label is None or label.ext != self._to_id(files[-1].name)[1]:
                image.labels[tag] = self._entry(files[-1], {})
        for files in found.values():
            for file in files:
                aside.add(file, "mask without an image: no image of its name")

    def _keep_label(self, image_id: str, mask: Path, tag: str) -> Path:
        """Copy a mask to where labels of the tag are; what it replaces is set aside if a person may have drawn it."""
        target = self._label_file(image_id, tag, self._to_id(mask.name)[1])
        check_place(target, image_id)
        label = self._datastore.label(image_id, tag)
        earlier = {target, self._label_file(image_id, tag, label.ext)} if label else {target}
        for file in earlier:
            if file.is_file() and tag != ORIGINAL and not filecmp.cmp(file, mask, shallow=False):
                self._copy_aside(file, tag, image_id)
        _copy(mask, target)
        for file in earlier:
            # Compared as files: on a share whose names have no case x.PNG is what x.png has just been written to.
            if file.is_file() and not file.samefile(target):
                file.unlink()
        return target

    def _place_labels(self) -> None:
        """Write final masks anew that their geometry puts elsewhere on the image than their pixels are stored.

        An upload is looked at when it comes; this is for what was put there, or changed, by hand. What is no mask of
        its image stays: the training names it.
        """
        self._init_from_datastore_file()
        looked_at: dict[str, tuple[Path, str, PlacedMask]] = {}
        for image_id in self.get_labeled_images():
            label = self._datastore.objects[image_id].labels[FINAL]
            file = self._label_file(image_id, FINAL, label.ext)
            stamp = stamp_of(file)
            if nifti.is_nifti(file) and label.info.get(_PLACED) != stamp:
                with contextlib.suppress(Refused):
                    looked_at[image_id] = file, stamp, placed_mask(file, self._image_file(image_id), self.modality)
        if not looked_at:
            return
        with self._account():
            for image_id, (file, stamp, mask) in looked_at.items():
                label = self._datastore.label(image_id, FINAL)
                if label is None or stamp_of(file) != stamp:  # replaced meanwhile
                    continue
                if not mask.as_stored:
                    self._copy_aside(file, FINAL, image_id)
                    mask.write(file)
                label.info[_PLACED] = stamp_of(file)
            self._update_datastore_file()

    def _set_aside(self, file: Path, tag: str, image_id: str) -> None:
        """Move a mask to where it no longer counts, if it is there."""
        if file.is_file():
            self._copy_aside(file, tag, image_id)
            file.unlink()

    def _copy_aside(self, file: Path, tag: str, image_id: str) -> None:
        """Keep a copy of a mask below the time it was drawn: under its own name, which may have no room for more."""
        folder = Path(self._datastore.label_path(tag))
        drawn, part = divmod(file.stat().st_mtime_ns, 10**9)
        time = f"{datetime.fromtimestamp(drawn, timezone.utc):%Y%m%dT%H%M%S}.{part:09d}"
        _copy(file, folder / REPLACED / time / file.relative_to(folder))
        logger.warning(
            "the mask of %r that no longer counts is kept in %s/%s/%s/%s", image_id, LABELS, tag, REPLACED, time
        )

    def _image_file(self, image_id: str) -> Path:
        """The file of an image."""
        uri = self.get_image_uri(image_id)
        if not uri:
            raise Refused(404, f"there is no image {image_id!r}")
        return Path(uri)

    def _label_file(self, image_id: str, tag: str, suffix: str) -> Path:
        """Where a label is; links on the way stay as they are, so that two such paths can be compared."""
        return Path(self._datastore.label_path(tag)) / f"{image_id}{suffix}"

    def _to_id(self, file: str) -> tuple[str, str]:
        """Id and suffix; the parent cuts the suffix out wherever it stands in the name."""
        identifier = strip_suffix(file)
        return identifier, file[len(identifier) :]

    def _entry(self, file: Path, info: dict[str, Any]) -> DataModel:
        stamp = {"ts": int(file.stat().st_mtime), "name": file.name}
        return DataModel(info={**(info or {}), **stamp}, ext=self._to_id(file.name)[1])

    @contextlib.contextmanager
    def _account(self) -> Iterator[None]:
        """Hold the account as it is now, and keep other processes from it: what they noted meanwhile must not go lost.

        What is slow, as decoding an upload, is done before.
        """
        with self._lock:
            self._init_from_datastore_file()
            yield

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        """Read the account if another process has written it. It is replaced whole, so this needs no lock.

        Raises:
            ValueError: it cannot be read, and ``throw_exception`` is true; else what is in memory goes on.
        """
        state = self._account_state()
        if not state or state == self._account_read:
            return
        try:
            self._read_account()
        except (ValueError, TypeError, AttributeError) as error:  # told by its kind: a reader quotes names
            file = self._datastore_config_path
            rule = f"{file} must be the list of images and labels as this server writes it ({type(error).__name__})"
            logger.error("%s", rule)
            if throw_exception:
                raise ValueError(
                    f"{rule}; put an earlier copy back, or remove it: masks stay, and notes such as skip are lost"
                ) from None
        else:
            self._account_read = state

    def _read_account(self) -> None:
        content = json.loads(Path(self._datastore_config_path).read_text(encoding="utf-8"))
        away = content.pop(_AWAY, {})
        # Names that no table can hold were listed once, and MONAI Label's model refuses to be read with them.
        content["objects"] = {i: image for i, image in content.get("objects", {}).items() if is_plain(i)}
        self._datastore = LocalDatastoreModel.model_validate(content)
        self._datastore.base_path = str(self.root)
        self._away = {i: ImageLabelModel.model_validate(image) for i, image in away.items() if is_plain(i)}

    def _update_datastore_file(self, lock: bool = True) -> None:  # noqa: ARG002 - whoever changes it holds the lock
        """Write the account; a kill in the middle must not leave half of it, which no server would start with."""
        write_text(self._datastore_config_path, json.dumps(self._content(), indent=2, default=str))
        self._account_read = self._account_state()

    def _content(self) -> dict[str, Any]:
        """What the account's file holds."""
        away = {i: image.model_dump() for i, image in self._away.items()}
        return {**self._datastore.model_dump(exclude={"base_path"}), **({_AWAY: away} if away else {})}

    def _account_state(self) -> str:
        """Which version of the account's file is there; of two that were written at once only the number differs."""
        file = Path(self._datastore_config_path)
        return f"{stamp_of(file)}:{file.stat().st_ino}" if file.is_file() else ""


def _is_mask(file: Path) -> bool:
    return file.name.lower().endswith((*pictures.SUFFIXES, *nifti.SUFFIXES))


def _copy(source: Path, target: Path) -> None:
    """Copy whole or not at all: half an image or half a mask would count as one."""
    with atomic_file(target) as temporary:
        shutil.copyfile(source, temporary)


def _copy_new(source: Path, target: Path, image_id: str) -> None:
    """As :func:`_copy`, but in the place of no file, whatever the file system takes for the same name."""
    try:
        with atomic_new_file(target) as temporary:
            shutil.copyfile(source, temporary)
    except FileExistsError:
        raise Refused(409, f"there is a file of the name {image_id!r} already; choose another id") from None
