"""MONAI Label's training task: the bundle's ``train.yaml`` on the final labels, started from the right weights.

MONAI Label's own task for bundles is not used. It loads ``model.pt`` or whatever weight file has the shortest name, and
in one process a second training starts from the first one's file, since it edits the config it keeps.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.utils.others.generic import device_list, name_to_device

from bundle.data.datalist import entries_from
from bundle.label.models import PackagedModel
from bundle.label.scoring import pool_images
from bundle.label.uploads import Refused, check_label
from bundle.run.atomic import write_text
from bundle.run.quarantine import Quarantine
from bundle.run.record import FILE_NAME
from bundle.run.seeds import derive_seed
from bundle.run.table import read_csv
from bundle.run.workflow import run_workflow
from bundle.segmentation.self_training import taught_images

logger = logging.getLogger(__name__)

HISTORY = "history.csv"
STARTS = ("automatic", "self-supervised", "model", "random", "self-training")
EPOCHS = 20  # of 40 steps, as train.yaml has it; two minutes and more on two cores


@dataclasses.dataclass(frozen=True)
class TrainingRequest:
    """What a client may ask of a training.

    Attributes:
        epochs: of 40 steps each.
        validation: part of the labels that only the curve in ``history.csv`` is for, 0 to below 1. It chooses nothing,
            so with few labels it is better spent on learning.
        start: ``self-supervised`` weights, the current ``model``, ``random`` weights; ``automatic`` takes the first for
            the first training in the server and the second from then on. ``self-training`` takes the first, and the
            current model teaches along by what it believes of all images without a label.
        device: torch's name of the device.
        seed: of every random choice.
    """

    epochs: int = EPOCHS
    validation: float = 0.0
    start: str = STARTS[0]
    device: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self.epochs >= 1, "max_epochs", "a whole number of at least 1", self.epochs)
        _require(0 <= self.validation < 1, "val_split", "a number from 0 to below 1", self.validation)
        _require(self.start in STARTS, "start", f"one of {', '.join(STARTS)}", self.start)

    @classmethod
    def from_request(cls, request: Mapping[str, Any]) -> TrainingRequest:
        """The request of MONAI Label's ``POST /train``; a list is a client's menu, of which the first is meant.

        Raises:
            ValueError: a value out of its range.
        """
        plain = {name: value[0] if isinstance(value, list) and value else value for name, value in request.items()}
        given: dict[str, Any] = {"device": name_to_device(plain.get("device"))}
        fields = (("max_epochs", "epochs", int), ("val_split", "validation", float), ("seed", "seed", int))
        for name, field, kind in fields:
            if plain.get(name) is not None:
                given[field] = kind(_finite(name, plain[name]))
                _require(given[field] == float(plain[name]), name, "a whole number", plain[name])
        if plain.get("pretrained") is False:
            given["start"] = "random"
        elif plain.get("start"):
            given["start"] = str(plain["start"])
        return cls(**given)


class FineTuneTask(TrainTask):
    """Fine-tunes ``model.pt`` on all final labels. Inference takes the new weights with the next request.

    A training that was stopped or killed has changed nothing; the same request on the same labels goes on where its
    last epoch ended.
    """

    def __init__(self, model: PackagedModel) -> None:
        super().__init__(f"Fine-tunes {model.root.name} on the final labels")
        self._model = model

    def config(self) -> dict[str, Any]:
        """The options that a client shows."""
        return {
            "max_epochs": EPOCHS,
            "val_split": 0.0,
            "start": list(STARTS),
            "device": device_list(),
        }

    def stats(self) -> dict[str, Any]:
        """What the last training was, empty before it."""
        record = self._model.training / FILE_NAME
        if not record.is_file():
            return {}
        content = json.loads(record.read_text(encoding="utf-8"))
        rows = read_csv(self._model.training / HISTORY)
        scores = [float(row["val_dice"]) for row in rows if row.get("val_dice")]
        found = {"epoch": len(rows), "start_ts": content["started"], "total_time": f"{content['seconds']:.0f} s"}
        return found | ({"best_metric": max(scores)} if scores else {})

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train; the answer counts the labels.

        Raises:
            ValueError: a value of the request is out of range, or there is no label that can be used.
        """
        asked = TrainingRequest.from_request(request)
        self._keep_record()
        entries = self._usable(entries_from(datastore.datalist(), labelled=True))
        entries.sort(key=lambda entry: derive_seed(asked.seed, "label", "validation", entry["id"]))
        held_out = round(asked.validation * len(entries)) if len(entries) > 1 else 0
        overrides = {
            "modality": self._model.modality_setting,
            "output_dir": str(self._model.training),
            "train#weights#path": str(self._model.model),
            "train#dataset#data": entries[held_out:],
            "validate#dataset#data": entries[:held_out],
            "device": torch.device(asked.device or "cpu"),
            "epochs": asked.epochs,
            "seed": asked.seed,
            **self._start(asked.start),
        }
        if asked.start == "self-training":
            overrides |= self._taught(datastore, asked)
        logger.info("training on %d labels from %s", len(entries) - held_out, overrides.get("ssl_weights", "scratch"))
        run_workflow("train", overrides, root=self._model.root)
        self._keep_record()
        return {"training": len(entries) - held_out, "validation": held_out}

    def _keep_record(self) -> None:
        """Keep the record of a training that has ended: the next one removes it, and may be killed before it ends."""
        record = self._model.training / FILE_NAME
        if record.is_file():
            write_text(self._model.last_record, record.read_text(encoding="utf-8"))

    def _start(self, asked: str) -> dict[str, str]:
        """The overrides that set what the training starts from."""
        if asked == "automatic":
            asked = "model" if self._model.is_trained_here else "self-supervised"
        if asked == "random":
            return {"warm_start": "none"}
        weights = self._model.model if asked == "model" else self._model.ssl_weights
        return {"warm_start": "all", "ssl_weights": str(weights)}

    def _taught(self, datastore: Datastore, asked: TrainingRequest) -> dict[str, Any]:
        """The overrides by which the current model teaches; it is replaced when the training has ended."""
        if not self._model.is_trained:
            raise ValueError("start 'self-training' needs a model that has learned from labels: train once before it")
        waiting = pool_images(datastore, sorted(datastore.get_unlabeled_images()))
        taught = taught_images(
            self._model.model,
            [{"id": image.id, "image": str(image.path)} for image in waiting],
            modality=self._model.modality,
            device=torch.device(asked.device or "cpu"),
            seed=asked.seed,
        )
        return {"teacher": str(self._model.model), "train#taught": taught}

    def _usable(self, entries: list[dict[str, str]]) -> list[dict[str, str]]:
        """The entries whose label is one; the rest is set aside. Labels may have been put there by hand."""
        aside, kept = Quarantine(), []
        for entry in entries:
            try:
                check_label(Path(entry["label"]), Path(entry["image"]), self._model.modality)
            except Refused as error:
                aside.add(entry["label"], error.detail)
            else:
                kept.append(entry)
        aside.write(self._model.training)
        if not kept:
            raise ValueError(
                f"there is no label to train on ({len(entries)} found, {aside.summary()}): submit some, then train"
            )
        return kept


def _finite(name: str, value: Any) -> float:
    """A number of a request; JSON as Python reads it knows ``Infinity`` and ``NaN``."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be a number, got {value!r}") from None
    _require(math.isfinite(number), name, "a finite number", value)
    return number


def _require(holds: bool, name: str, rule: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{name} must be {rule}, got {value!r}")
