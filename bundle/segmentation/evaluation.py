"""The evaluation's results: a row an image, a summary, and pictures of the worst and the median cases."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from PIL import Image
from tqdm import tqdm

from bundle.data.modality import Modality
from bundle.data.reader import read_image
from bundle.report.overlays import overlay
from bundle.run.atomic import atomic_file, write_csv, write_json
from bundle.run.record import RunRecord, file_fingerprint
from bundle.segmentation.metrics import SCORES, score_image, summarise

logger = logging.getLogger(__name__)

CASES = 8  # of each kind; a row of the report holds that many


class WriteEvaluation:
    """Engine handler: scores every image at its own size and writes ``per_image.csv``, ``summary.json``, ``overlays/``.

    Args:
        folder: where the results go.
        modality: gives the classes.
        model: the weight file that is evaluated, for the record.
        settings: noted in the summary.
        seed: seed of the bootstrap.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        modality: Modality,
        model: str | os.PathLike[str],
        settings: Mapping[str, Any],
        seed: int = 0,
    ) -> None:
        self.folder, self.modality, self.model = Path(folder), modality, model
        self.settings, self.seed = dict(settings), seed
        self.rows: list[dict[str, Any]] = []
        self._masks: dict[str, tuple[str, np.ndarray, np.ndarray]] = {}

    def attach(self, engine: Engine) -> None:
        """Score after every image, write after the last."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._score)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        self.rows, self._masks = [], {}
        self._record = RunRecord("evaluate", self.settings, seed=self.seed)
        total = len(engine.data_loader.dataset)  # type: ignore[attr-defined]
        self._bar = tqdm(total=total, desc="evaluate", unit="image", disable=None)

    def _score(self, engine: Engine) -> None:
        batch: Any = engine.state.batch
        outputs: Any = engine.state.output
        for item, output in zip(batch, outputs, strict=True):
            image, truth = output["image"], output["label"][0]
            prediction = torch.as_tensor(output["pred"]).reshape(truth.shape)
            scores = score_image(_plain(prediction), _plain(truth), self.modality.classes, _spacing(image))
            self.rows.append({"id": item["id"], **{name: round(value, 5) for name, value in scores.items()}})
            path = str(image.meta["filename_or_obj"])
            self._masks[item["id"]] = (path, _packed(truth), _packed(prediction))
            self._bar.update()

    def _write(self, _: Engine) -> None:
        self._bar.close()
        self.rows.sort(key=lambda row: row["id"])
        write_csv(self.folder / "per_image.csv", self.rows, ["id", *SCORES])
        ranked = sorted(self.rows, key=lambda row: (row["dice"], row["id"]))
        middle = max(0, len(ranked) // 2 - CASES // 2)
        cases = {"worst": ranked[:CASES], "median": ranked[middle : middle + CASES]}
        for kind, rows in cases.items():
            for rank, row in enumerate(rows, 1):
                self._draw(f"{kind}_{rank:02d}", row["id"])
        summary = summarise(self.rows, seed=self.seed)
        summary["cases"] = {kind: [{"id": r["id"], "dice": r["dice"]} for r in rows] for kind, rows in cases.items()}
        summary["settings"] = self.settings
        write_json(self.folder / "summary.json", summary)
        self._record.content["fingerprints"]["model"] = file_fingerprint(self.model)
        self._record.note("summary", {name: summary[name] for name in ("n", *SCORES)})
        self._record.write(self.folder)
        logger.info(
            "Dice %.4f (95 %% interval %.4f to %.4f) over %d images; see %s",
            *(summary["dice"][key] for key in ("mean", "low", "high")),
            summary["n"],
            self.folder,
        )

    def _draw(self, name: str, identifier: str) -> None:
        path, truth, prediction = self._masks[identifier]
        image = read_image(path, self.modality)
        with atomic_file(self.folder / "overlays" / f"{name}.png") as temporary:
            Image.fromarray(overlay(image, truth, prediction)).save(temporary)


def _plain(mask: Any) -> torch.Tensor:
    return mask.as_tensor() if hasattr(mask, "as_tensor") else torch.as_tensor(mask)


def _packed(mask: Any) -> np.ndarray:
    """(W, H) to (H, W) uint8."""
    return _plain(mask).cpu().numpy().astype(np.uint8).T


def _spacing(image: Any) -> tuple[float, float] | None:
    """Pixel size in mm along x and y from the affine, or None where the file tells none."""
    affine = np.asarray(image.meta.get("original_affine", image.affine))
    x, y = np.linalg.norm(affine[:3, :2].astype(float), axis=0)
    return None if x == y == 1.0 else (float(x), float(y))
