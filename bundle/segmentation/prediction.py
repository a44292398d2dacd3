"""The inference's results: a mask an image, at the image's own size and geometry."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import nibabel
import numpy as np
from ignite.engine import Engine
from PIL import Image

from bundle.data.dicom import is_dicom
from bundle.data.modality import Modality
from bundle.data.pictures import UnreadableImage
from bundle.run.atomic import atomic_file, write_csv
from bundle.run.quarantine import Quarantine
from bundle.run.record import RunRecord, file_fingerprint
from bundle.segmentation.each_image import EachImage, Item, Row

logger = logging.getLogger(__name__)

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


class WritePredictions(EachImage):
    """Engine handler: writes a PNG for a picture and a NIfTI for DICOM, named by id, and ``predictions.csv``.

    A PNG holds the class indices 0, 1, 2...; with one label the foreground is 255, so that any viewer shows it. A NIfTI
    holds class indices on the grid of the image.

    Args:
        folder: where the masks go; ids with folders in them make folders.
        postprocessing: from logits to a mask of the image's own size.
        classes: number of classes, background included.
        model: the weight file, for the record.
        settings: noted in the record.
        dicom_seg: also write a DICOM Segmentation of every DICOM image beside its NIfTI. An image of which none can be
            made is added to ``quarantine.csv``, and keeps its NIfTI.
        modality: names and codes of the labels; needed with ``dicom_seg``.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        postprocessing: Callable[[Item], Item],
        classes: int,
        model: str | os.PathLike[str],
        settings: Mapping[str, Any],
        dicom_seg: bool = False,
        modality: Modality | None = None,
    ) -> None:
        if dicom_seg and modality is None:
            raise ValueError("dicom_seg needs the modality, which names the segments; got None")
        super().__init__(postprocessing, title="infer")
        self.folder, self.classes, self.model, self.settings = Path(folder), classes, model, dict(settings)
        self.modality = modality if dicom_seg else None

    def begin(self) -> None:
        """Note the start and the model."""
        self._aside = Quarantine()
        self._model_fingerprint = file_fingerprint(self.model)
        self._record = RunRecord("infer", self.settings)

    def finish_image(self, item: Item) -> Row:
        """Write the mask of one image."""
        image = item["image"]
        source = Path(str(image.meta["filename_or_obj"]))
        mask = np.asarray(item["pred"]).astype(np.uint8)
        plane = mask.reshape(mask.shape[-2:] if mask.ndim == 2 else mask.shape[1:3])
        if source.suffix.lower() in PICTURES:
            target = self._target(item["id"], ".png")
            shown = plane * 255 if self.classes == 2 else plane
            with atomic_file(target) as temporary:
                Image.fromarray(shown.T).save(temporary)
        else:
            target = self._target(item["id"], ".nii.gz")
            affine = np.asarray(image.meta["original_affine"], dtype=float)
            with atomic_file(target) as temporary:
                nibabel.save(nibabel.Nifti1Image(plane[..., None], affine), temporary)
        if self.modality is not None and is_dicom(source):
            self._write_segmentation(item["id"], source, plane.T, self.modality)
        return {"id": item["id"], "image": str(source), "mask": str(target)}

    def _write_segmentation(self, identifier: str, source: Path, mask: np.ndarray, modality: Modality) -> None:
        """Write ``mask``, (rows, columns), as DICOM, or set its image aside."""
        from bundle.segmentation.dicom_seg import write_segmentation  # heavy, and few runs want it

        target = self._target(identifier, ".dcm")
        try:
            write_segmentation(target, source, mask, modality, weights=self._model_fingerprint)
        except UnreadableImage as error:
            self._aside.add(source, f"no DICOM SEG: {error.reason}")
        except ValueError as error:
            self._aside.add(source, f"no DICOM SEG: {error}")

    def _target(self, identifier: str, suffix: str) -> Path:
        """The file of an id, which may not lead out of the folder."""
        relative = PurePosixPath(identifier)
        if relative.is_absolute() or ".." in relative.parts:
            raise ValueError(f"id {identifier!r} would leave the output folder; ids are relative paths without '..'")
        return self.folder / relative.parent / f"{relative.name}{suffix}"

    def set_aside(self, unreadable: Quarantine) -> None:
        """Add to what the search for images set aside."""
        if unreadable.rows:
            unreadable.append(self.folder)

    def end(self, _: Engine) -> None:
        """Write the table, the record, and the images without a DICOM SEG."""
        write_csv(self.folder / "predictions.csv", self.rows, ["id", "image", "mask"])
        self._record.content["fingerprints"]["model"] = self._model_fingerprint
        self._record.note("images", len(self.rows))
        if self._aside.rows:
            self._record.note("without_dicom_seg", len(self._aside))
            self._aside.append(self.folder)
        self._record.write(self.folder)
        logger.info("%d masks in %s", len(self.rows), self.folder)
