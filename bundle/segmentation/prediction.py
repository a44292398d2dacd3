"""The inference's results: a mask an image, at the image's own size and geometry."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from ignite.engine import Engine, Events

from bundle.data.dicom import is_dicom
from bundle.data.identity import path_of_id
from bundle.data.masks import write_mask
from bundle.data.modality import Modality
from bundle.data.pictures import SUFFIXES as PICTURES
from bundle.data.pictures import UnreadableImage
from bundle.run import ranks
from bundle.run.atomic import atomic_file
from bundle.run.quarantine import Quarantine
from bundle.run.record import RunRecord, file_fingerprint
from bundle.run.table import read_csv, write_csv
from bundle.segmentation.each_image import EachImage, Item, Row
from bundle.segmentation.trust import COLUMNS, Trust

logger = logging.getLogger(__name__)

TABLE = "predictions.csv"
REVIEW = "review"  # folder, and table, of what is left to a person


def result_suffix(modality: Modality) -> str:
    """The format of masks that fits all images of ``modality``: ``.png`` for pictures, ``.nii.gz`` for radiographs."""
    return ".png" if modality.reader == "picture" else ".nii.gz"


class WritePredictions(EachImage):
    """Engine handler: writes a PNG for a picture and a NIfTI for DICOM, named by id, and ``predictions.csv``.

    A PNG holds the class indices 0, 1, 2...; with one label the foreground is 255, so that any viewer shows it. A NIfTI
    holds class indices on the grid of the image.

    A refused mask goes to the folder ``review``, for a person to start from: whatever picks masks up from ``folder``
    never meets it, and no DICOM object is made of it. ``review.csv`` tells why. Where images lie in a folder of that
    name it is ``review_2``.

    Args:
        folder: where the masks go; ids with folders in them make folders.
        postprocessing: from logits to a mask of the image's own size.
        classes: number of classes, background included.
        model: the weight file, for the record.
        settings: noted in the record.
        dicom_seg: also write a DICOM Segmentation of every DICOM image beside its NIfTI, ``<id>.dcm``. An image of
            which none can be made is added to ``quarantine.csv``, and keeps its NIfTI.
        dicom_overlay: likewise the outlines on the image as a DICOM picture, ``<id>_overlay.dcm``.
        modality: names and codes of the labels; needed with either.
        refuse_below: confidence, 0 to 1, below which a mask is refused, as is that of an image out of the domain; None
            refuses none. Needs a postprocessing that tells ``trust``, see :mod:`bundle.segmentation.trust`.
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
        dicom_overlay: bool = False,
        modality: Modality | None = None,
        refuse_below: float | None = None,
    ) -> None:
        if refuse_below is not None and not 0 <= refuse_below <= 1:
            raise ValueError(f"refuse_below must be a confidence from 0 to 1, got {refuse_below}")
        if (dicom_seg or dicom_overlay) and modality is None:
            raise ValueError("dicom_seg and dicom_overlay need the modality, which names the labels; got None")
        super().__init__(postprocessing, title="infer")
        self.folder, self.classes, self.model, self.settings = Path(folder), classes, model, dict(settings)
        self.modality, self.dicom_seg, self.dicom_overlay = modality, dicom_seg, dicom_overlay
        self.refuse_below, self._drafts = refuse_below, REVIEW

    def attach(self, engine: Engine) -> None:
        """Follow ``engine``."""
        engine.add_event_handler(Events.STARTED, self._place_drafts)
        super().attach(engine)

    def _place_drafts(self, engine: Engine) -> None:
        """Name the folder of refused masks so that no image's own mask lies in it."""
        entries = engine.data_loader.dataset.data  # type: ignore[attr-defined]
        taken = {str(entry["id"]).split("/", 1)[0] for entry in entries}
        names = itertools.chain([REVIEW], (f"{REVIEW}_{number}" for number in itertools.count(2)))
        self._drafts = next(name for name in names if name not in taken)

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
        trust: Trust | None = item.get("trust")
        doubts = [] if trust is None or self.refuse_below is None else trust.doubts(self.refuse_below)
        picture = source.suffix.lower() in PICTURES and not is_dicom(source)
        suffix = ".png" if picture else ".nii.gz"
        places = [path_of_id(folder, item["id"], suffix) for folder in (self.folder, self.folder / self._drafts)]
        target, other = reversed(places) if doubts else places
        if picture:
            write_mask(target, plane.T, self.classes)
        else:
            affine = np.asarray(image.meta["original_affine"], dtype=float)
            with atomic_file(target) as temporary:
                nibabel.save(nibabel.Nifti1Image(plane[..., None], affine), temporary)
        other.unlink(missing_ok=True)  # of an earlier run with another bound: a mask is in one place alone
        if (self.dicom_seg or self.dicom_overlay) and is_dicom(source):
            if doubts:
                self._remove_dicom(item["id"])
            else:
                self._write_dicom(item["id"], source, plane.T)
        told = trust.row() if trust is not None else {}
        row = {"id": item["id"], "image": str(source), "mask": str(target), **told}
        return {**row, "refused": "; ".join(doubts)}

    def _tell_of_orphans(self) -> None:
        """Say so where masks of an earlier run lie here whose image was not among this run's: none is removed."""
        table = self.folder / TABLE
        if not table.is_file():
            return
        earlier = {row["mask"] for row in read_csv(table)}
        orphans = [mask for mask in earlier - {row["mask"] for row in self.rows} if Path(mask).is_file()]
        if orphans:
            self._record.note("earlier_masks", len(orphans))
            logger.warning(
                "%s holds %d masks of an earlier run whose image was not found now; %s does not list them",
                *(self.folder, len(orphans), TABLE),
            )

    def _write_dicom(self, identifier: str, source: Path, mask: np.ndarray) -> None:
        """Write ``mask``, (rows, columns), as the DICOM objects asked for, or set its image aside."""
        assert self.modality is not None
        for what, suffix, write in self._writers():
            target = path_of_id(self.folder, identifier, suffix)
            try:
                write(target, source, mask, self.modality, weights=self._model_fingerprint)
            except UnreadableImage as error:
                self._aside.add(source, f"no {what}: {error.reason}")
            except ValueError as error:
                self._aside.add(source, f"no {what}: {error}")

    def _remove_dicom(self, identifier: str) -> None:
        """Remove what an earlier run with another bound has written of a mask that is refused now."""
        for _, suffix, _ in self._writers():
            path_of_id(self.folder, identifier, suffix).unlink(missing_ok=True)

    def _writers(self) -> Iterator[tuple[str, str, Callable[..., Path]]]:
        """What to write, the end of its name, and how. The library is heavy, and few runs want it."""
        if self.dicom_seg:
            from bundle.segmentation.dicom_seg import write_segmentation

            yield "DICOM SEG", ".dcm", write_segmentation
        if self.dicom_overlay:
            from bundle.segmentation.dicom_overlay import write_overlay

            yield "DICOM overlay", "_overlay.dcm", write_overlay

    def set_aside(self, unreadable: Quarantine) -> None:
        """Add to what the search for images set aside."""
        if unreadable.rows:
            unreadable.append(self.folder)

    def end(self, _: Engine) -> None:
        """Write the table, the record, and the images without a DICOM SEG."""
        self._aside.rows = ranks.gather_items(self._aside.rows)
        self._write_tables()

    @ranks.only_first
    def _write_tables(self) -> None:
        columns = ["id", "image", "mask", *COLUMNS, "refused"]
        self._tell_of_orphans()
        write_csv(self.folder / TABLE, self.rows, columns)
        if self.refuse_below is not None:
            refused = [row for row in self.rows if row["refused"]]
            # The most doubtful first: whoever has little time looks at these.
            refused.sort(key=lambda row: (float(row["confidence"]), row["id"]))
            write_csv(self.folder / f"{REVIEW}.csv", refused, columns)
            self._record.note("refused", len(refused))
            logger.info("%d of %d masks are left to a person, see %s.csv", len(refused), len(self.rows), REVIEW)
        self._record.content["fingerprints"]["model"] = self._model_fingerprint
        self._record.note("images", len(self.rows))
        if self._aside.rows:
            self._record.note("without_dicom", len(self._aside))
            self._aside.append(self.folder)
        self._record.write(self.folder)
        logger.info("%d masks in %s", len(self.rows), self.folder)
