"""From opinions to ``scores.csv``: how uncertain a model is of every image."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine

from bundle.data.canvas import cut_padding
from bundle.run import ranks
from bundle.run.quarantine import Quarantine
from bundle.run.record import RunRecord, content_fingerprint, entries_fingerprint, file_fingerprint
from bundle.segmentation.each_image import EachImage, Item, Row
from bundle.selection import find_criterion
from bundle.selection.uncertainty import Uncertainties, assess

logger = logging.getLogger(__name__)


class WriteScores(EachImage):
    """Engine handler: scores the opinions on every image and writes ``scores.csv`` when all are there.

    Args:
        folder: where the table and the record go. An image that cannot be read is in its ``quarantine.csv`` instead.
        criterion: name of the criterion.
        options: of the criterion.
        entries: the datalist entries, for the fingerprint of the data.
        models: the weight file or files, for their fingerprint.
        settings: noted in the record.
        seed: of the opinions.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        criterion: str,
        entries: list[dict[str, Any]],
        models: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        settings: Mapping[str, Any],
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(without_padding, title=criterion)
        self.options = find_criterion(criterion).resolve(options or {})  # refused before anything is computed
        self.folder, self.criterion, self.entries = Path(folder), criterion, entries
        self.models = [models] if isinstance(models, (str, os.PathLike)) else list(models)
        self.settings, self.seed = dict(settings), seed

    def begin(self) -> None:
        """Note the start."""
        settings = self.settings | {"criterion": self.criterion, "options": self.options}
        self._record = RunRecord("score_uncertainty", settings, seed=self.seed)

    def finish_image(self, item: Item) -> Row:
        """The score of one image."""
        return {"id": item["id"], "uncertainty": assess(item["pred"].numpy(), self.criterion, **self.options)}

    def set_aside(self, unreadable: Quarantine) -> None:
        """Write which images have no score, and why."""
        unreadable.write(self.folder)

    @ranks.only_first
    def end(self, _: Engine) -> None:
        """Write the table and the record."""
        found = Uncertainties({row["id"]: row["uncertainty"] for row in self.rows})
        found.save(self.folder)
        fingerprints = self._record.content["fingerprints"]
        fingerprints["model"] = content_fingerprint(file_fingerprint(path) for path in self.models)
        fingerprints["data"] = entries_fingerprint(self.entries)
        empty = sum(row.empty for row in found.values())
        self._record.note("images", len(found))
        self._record.note("empty_predictions", empty)
        self._record.write(self.folder)
        logger.info("%d images scored by %s; nothing was found on %d", len(found), self.criterion, empty)


def without_padding(item: Item) -> Item:
    """Opinions ``pred`` (P, classes, size, size) on the canvas, cropped to where the image lies."""
    width, height = (int(side) for side in item["image"].meta["spatial_shape"][:2])
    return {**item, "pred": cut_padding(item["pred"], width, height)}
