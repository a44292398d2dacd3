"""From opinions to ``scores.csv``: how uncertain a model is of every image."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from tqdm import tqdm

from bundle.data.canvas import canvas_box
from bundle.run.record import RunRecord, content_fingerprint, entries_fingerprint, file_fingerprint
from bundle.selection import find_criterion
from bundle.selection.uncertainty import Uncertainties, Uncertainty, assess


class WriteScores:
    """Engine handler: scores the opinions on every image and writes ``scores.csv`` when all are there.

    Args:
        folder: where the table and the record go.
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
        self.options = find_criterion(criterion).resolve(options or {})  # refused before anything is computed
        self.folder, self.criterion, self.entries = Path(folder), criterion, entries
        self.models = [models] if isinstance(models, (str, os.PathLike)) else list(models)
        self.settings, self.seed = dict(settings), seed
        self._rows: dict[str, Uncertainty] = {}

    def attach(self, engine: Engine) -> None:
        """Score after every image, write after the last."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._score)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, _: Engine) -> None:
        self._rows = {}
        settings = self.settings | {"criterion": self.criterion, "options": self.options}
        self._record = RunRecord("score_uncertainty", settings, seed=self.seed)
        self._bar = tqdm(total=len(self.entries), desc=self.criterion, unit="image", disable=None)

    def _score(self, engine: Engine) -> None:
        batch: Any = engine.state.batch
        output: Any = engine.state.output
        (identifier,) = batch["id"]
        opinions = output["pred"][0].cpu().numpy()
        width, height = (int(side) for side in batch["image"].meta["spatial_shape"][0][:2])
        left, top, w, h = canvas_box(width, height, opinions.shape[-1])
        seen = np.asarray(opinions)[:, :, left : left + w, top : top + h]  # padding is no part of the image
        self._rows[identifier] = assess(seen, self.criterion, **self.options)
        self._bar.update()

    def _write(self, _: Engine) -> None:
        self._bar.close()
        found = Uncertainties(self._rows)
        found.save(self.folder)
        fingerprints = self._record.content["fingerprints"]
        fingerprints["model"] = content_fingerprint(file_fingerprint(path) for path in self.models)
        fingerprints["data"] = entries_fingerprint(self.entries)
        self._record.note("images", len(found))
        self._record.note("empty_predictions", sum(row.empty for row in found.values()))
        self._record.write(self.folder)
