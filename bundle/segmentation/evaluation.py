"""The evaluation's results: a row an image, a summary, groups, and pictures of the worst and the median cases."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from PIL import Image

from bundle.data.modality import Modality
from bundle.data.reader import read_image
from bundle.report.overlays import overlay
from bundle.run import ranks
from bundle.run.atomic import atomic_file, write_json
from bundle.run.quarantine import Quarantine
from bundle.run.record import RunRecord, entries_fingerprint, file_fingerprint
from bundle.run.table import write_csv
from bundle.segmentation.each_image import EachImage, Item, Row
from bundle.segmentation.metrics import SCORES, score_image, summarise
from bundle.segmentation.subgroups import GROUP_COLUMNS, case_of, subgroups, summarise_groups

logger = logging.getLogger(__name__)

CASES = 8  # of each kind; a row of the report holds that many


class WriteEvaluation(EachImage):
    """Engine handler: scores every image at its own size.

    Writes ``per_image.csv``, ``summary.json``, ``overlays/`` and, where images fall into groups, ``groups.csv``.

    Args:
        folder: where the results go.
        postprocessing: from logits to a mask of the image's own size.
        modality: gives the classes.
        model: the weight file that is evaluated, for the record.
        settings: noted in the summary.
        seed: seed of the bootstrap.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        postprocessing: Callable[[Item], Item],
        modality: Modality,
        model: str | os.PathLike[str],
        settings: Mapping[str, Any],
        seed: int = 0,
    ) -> None:
        super().__init__(postprocessing, title="evaluate")
        self.folder, self.modality, self.model = Path(folder), modality, model
        self.settings, self.seed = dict(settings), seed

    def begin(self) -> None:
        """Note the start."""
        self._record, self._left_out = RunRecord("evaluate", self.settings, seed=self.seed), 0

    def finish_image(self, item: Item) -> Row:
        """Score one image, and note what puts it into groups."""
        prediction, truth = _masks(item)
        spacing = pixel_spacing(item["image"])
        scores = score_image(prediction, truth, self.modality.classes, spacing)
        case = case_of(item, _plain(item["image"]), truth, self.modality)
        rounded = {name: round(value, 5) for name, value in scores.items()}
        return {"id": item["id"], **rounded, "hd95_unit": "pixels" if spacing is None else "mm", "case": case}

    def set_aside(self, unreadable: Quarantine) -> None:
        """Write ``quarantine.csv``."""
        self._left_out = len(unreadable)
        unreadable.write(self.folder)

    @ranks.only_first
    def end(self, engine: Engine) -> None:
        """Write tables, pictures and the record."""
        self.rows.sort(key=lambda row: row["id"])
        groups = summarise_groups(self.rows, subgroups(row.pop("case") for row in self.rows), seed=self.seed)
        write_csv(self.folder / "per_image.csv", self.rows, ["id", *SCORES, "hd95_unit"])
        if groups:
            write_csv(self.folder / "groups.csv", groups, GROUP_COLUMNS)
        ranked = sorted(self.rows, key=lambda row: (row["dice"], row["id"]))
        middle = max(0, len(ranked) // 2 - CASES // 2)
        cases = {"worst": ranked[:CASES], "median": ranked[middle : middle + CASES]}
        for kind, rows in cases.items():
            for rank, row in enumerate(rows, 1):
                self._draw(engine, f"{kind}_{rank:02d}", row["id"])
        summary = summarise(self.rows, seed=self.seed)
        units = sorted({row["hd95_unit"] for row in self.rows})
        summary["hd95"]["unit"] = " and ".join(units)
        if len(units) > 1:
            logger.warning("hd95 is in mm for some images and in pixels for others, so means of it tell nothing")
        summary["cases"] = {kind: [{"id": r["id"], "dice": r["dice"]} for r in rows] for kind, rows in cases.items()}
        summary["left_out"] = self._left_out
        summary["groups"] = groups
        summary["settings"] = self.settings
        write_json(self.folder / "summary.json", summary)
        scored = {row["id"] for row in self.rows}
        entries: list[Item] = engine.data_loader.dataset.data  # type: ignore[attr-defined]
        data = entries_fingerprint(entry for entry in entries if entry["id"] in scored)
        inputs = {"model": file_fingerprint(self.model), "data": data}
        self._record.content["fingerprints"].update(inputs)
        self._record.note("summary", {name: summary[name] for name in ("n", *SCORES)})
        self._record.write(self.folder)
        logger.info(
            "Dice %.4f (95 %% interval %.4f to %.4f) over %d images; see %s",
            *(summary["dice"][key] for key in ("mean", "low", "high")),
            summary["n"],
            self.folder,
        )

    def _draw(self, engine: Engine, name: str, identifier: str) -> None:
        """Predict an image once more: to keep the masks of all until the worst are known would fill the memory."""
        evaluator: Any = engine
        dataset = evaluator.data_loader.dataset
        item = dataset[next(i for i, entry in enumerate(dataset.data) if entry["id"] == identifier)]
        with evaluator.mode(evaluator.network):
            item["pred"] = evaluator.inferer(_plain(item["image"])[None], evaluator.network)[0].cpu()
        prediction, truth = _masks(self.postprocessing(item))
        image = read_image(str(item["image"].meta["filename_or_obj"]), self.modality)
        with atomic_file(self.folder / "overlays" / f"{name}.png") as temporary:
            Image.fromarray(overlay(image, _packed(truth), _packed(prediction))).save(temporary)


def _masks(item: Item) -> tuple[torch.Tensor, torch.Tensor]:
    """Prediction and truth of a postprocessed item, (W, H) class indices."""
    truth = _plain(item["label"][0])
    prediction = _plain(torch.as_tensor(item["pred"]))
    if prediction.numel() != truth.numel():
        raise ValueError(f"a mask of {tuple(prediction.shape)} has another size than the truth, {tuple(truth.shape)}")
    return prediction.reshape(truth.shape), truth


def _plain(mask: Any) -> torch.Tensor:
    return torch.as_tensor(mask).as_subclass(torch.Tensor)


def _packed(mask: Any) -> np.ndarray:
    """(W, H) to (H, W) uint8."""
    return _plain(mask).cpu().numpy().astype(np.uint8).T


def pixel_spacing(image: Any) -> tuple[float, float] | None:
    """Pixel size in mm along x and y from the affine, or None where the file tells none."""
    affine = np.asarray(image.meta.get("original_affine", image.affine))
    x, y = np.linalg.norm(affine[:3, :2].astype(float), axis=0)
    return None if x == y == 1.0 else (float(x), float(y))
