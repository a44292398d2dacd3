"""Copies of an archive's images: every series is fetched once, and again when the archive has another number of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from bundle.label.dicomweb import ArchiveClient, Series, Unreachable
from bundle.run.temporary import temporary_path
from bundle.segmentation.dicom_source import save


def is_one_object(series: Series) -> bool:
    """Whether a series is an image, as far as the archive tells: a label could not say to which of two it belongs."""
    return series.count in (None, 1)


class ArchivedImages:
    """The objects of an archive's series, as files.

    Objects arrive one by one, and a modality may add to a series at any time. So a copy stands only while it has as
    many objects as the archive tells of the series.

    Args:
        client: the archive.
        folder: keeps a folder a series.
    """

    def __init__(self, client: ArchiveClient, folder: str | os.PathLike[str]) -> None:
        self._client, self._folder = client, Path(folder)
        self._known: dict[Series, list[str]] = {}

    def path(self, series: Series) -> Path:
        """The file of a series of one object, or the folder of one of several, which no stage reads.

        Raises:
            Unreachable: the archive does not send it whole. Nothing is here of it then.
        """
        if not self._is_whole(series):
            self._fetch(series)
        copies = self._copies(series)
        return copies[0] if len(copies) == 1 else self.folder(series)

    def folder(self, series: Series) -> Path:
        """Where the copies of a series are, or will be."""
        return self._folder / series.uid

    def objects(self, series: Series) -> Sequence[str]:
        """The SOPInstanceUIDs of a series, from its copy or the archive; they are asked for once.

        Raises:
            Unreachable: there is no copy, and the archive does not tell.
        """
        if series not in self._known:
            if self._is_whole(series):
                self._known[series] = [_identifier(path) for path in self._copies(series)]
            else:
                self._known[series] = self._client.instances(series)
        return self._known[series]

    def _copies(self, series: Series) -> list[Path]:
        return sorted(self.folder(series).glob("*.dcm"))

    def _is_whole(self, series: Series) -> bool:
        """Whether the copies are as many as the archive tells of; any number where it does not tell."""
        count = len(self._copies(series))
        return count > 0 and series.count in (None, count)

    def _fetch(self, series: Series) -> None:
        """Copy a series' objects, all or none."""
        folder = self.folder(series)
        shutil.rmtree(folder, ignore_errors=True)  # one of two objects would pass for an image
        self._known.pop(series, None)
        objects = self._client.objects(series)
        if not objects or series.count not in (None, len(objects)):
            raise Unreachable(f"the archive told of {series.count} objects of a series and sent {len(objects)}")
        with temporary_path(folder, "tmp") as waiting:
            try:
                _write(objects, waiting)
                if not folder.is_dir():  # another process of the server may have fetched it meanwhile
                    waiting.replace(folder)
            finally:
                shutil.rmtree(waiting, ignore_errors=True)


def _write(objects: Sequence[Dataset], folder: Path) -> None:
    """Write objects under numbers, since what a header says is not to be trusted with a file's name."""
    for number, dataset in enumerate(objects, start=1):
        save(dataset, folder / f"{number:04d}.dcm")


def _identifier(path: Path) -> str:
    return str(dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).get("SOPInstanceUID", ""))
