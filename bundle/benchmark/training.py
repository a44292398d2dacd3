"""One fine-tuning of a benchmark: the workflow of ``configs/train.yaml``, fed from memory."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from bundle.benchmark.images import Canvases
from bundle.data.datalist import Datalist
from bundle.data.modality import Modality
from bundle.numerics import choose_device
from bundle.run.stages import written_setting
from bundle.run.workflow import open_workflow, run_workflow
from bundle.segmentation.self_training import taught_images

# Handlers that serve a person who watches, or a training that resumes; a run of a benchmark is short, and begun anew.
_WATCHING = ("bundle.run.resume.Resume", "bundle.segmentation.trainer.WriteRecord")
_WATCHED = "@train#history"

# What tells one run from another, and what a run's own settings tell: the rest of the settings is the recipe.
_OF_A_RUN = ("modality", "labels", "warm_start", "start", "seed", "steps", "size", "data")

# Knobs that every run sets for itself.
_SET_BY_RUNS = (
    "modality",
    "spec",
    "datalist",
    "dataset_dir",
    "output_dir",
    "warm_start",
    "ssl_weights",
    "seed",
    "epochs",
    "teacher",
)

# Settings that came after the first rows were measured, with the value that leaves a training what it was before. At
# that value they are no part of the recipe, so that a new knob does not make every run anew.
_CAME_LATER = {
    "pseudo_weight": 0.5,  # nothing without pseudo labels, and no run has any
    "teacher": "none",
    "filters": [16, 32, 64, 128, 256],
    "head_weights": [0.6, 0.1, 0.3],
}


def training_recipe(modality: Modality, knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting of the fine-tuning that all runs share, resolved on this machine: batch, rate, precision and so on.

    Args:
        modality: what is segmented.
        knobs: of ``configs/train.yaml`` that differ from it.

    Raises:
        ValueError: an unknown knob, or one that a run sets for itself.
    """
    for name in knobs:
        if name.split("#")[0] in _SET_BY_RUNS:
            raise ValueError(f"every run sets {name} for itself, so --set cannot; leave it out")
    overrides = {"spec": modality, "warm_start": "none", "train#dataset#data": (), **knobs}
    parser = open_workflow("train", overrides).parser
    settings = parser.get_parsed_content("settings")
    augmentation = {name: list(v) if isinstance(v, tuple) else v for name, v in vars(modality.augmentation).items()}
    recipe = {
        "epoch_length": parser.get_parsed_content("epoch_length"),
        "device": torch.device(parser.get_parsed_content("device")).type,  # each draws random numbers of its own
        **{name: value for name, value in settings.items() if name not in _OF_A_RUN},
        "augmentation": augmentation,
        **{name: value for name, value in knobs.items() if name not in settings},
    }
    return {name: value for name, value in recipe.items() if name not in _CAME_LATER or value != _CAME_LATER[name]}


def train(
    datalist: Datalist,
    canvases: Canvases,
    path: Path,
    *,
    modality: Modality,
    start: str,
    ssl_weights: str | os.PathLike[str] | None,
    teacher: Path | None = None,
    seed: int,
    steps: int,
    knobs: Mapping[str, Any],
) -> None:
    """Fine-tune on the training section and write the weights of the last step to ``path``.

    They are those of ``coldstart train`` with the same datalist and settings.

    Args:
        datalist: its training section has the labels to learn from.
        canvases: its images, decoded.
        path: a file that is there already is replaced.
        modality: what is segmented, at the size to train at.
        start: ``none``, ``encoder`` or ``all``: what to copy from ``ssl_weights``.
        ssl_weights: needed unless ``start`` is ``none``.
        teacher: weights whose view of the pool teaches along.
        seed: of the run.
        steps: of the optimiser, a multiple of the recipe's ``epoch_length``.
        knobs: of ``configs/train.yaml`` that differ from it.
    """
    epoch_length = knobs.get("epoch_length") or written_setting("train", "epoch_length")
    handlers = [handler for handler in written_setting("train", "train")["handlers"] if not _only_watches(handler)]
    seen = taught_images(
        teacher,
        datalist,
        modality=modality,
        device=torch.device(knobs.get("device") or choose_device()),
        precision=knobs.get("precision", "auto"),
        seed=seed,
        transform=canvases,
    )
    with _quiet(), tempfile.TemporaryDirectory(prefix="coldstart-benchmark-") as folder:
        run_workflow(
            "train",
            {
                "spec": modality,
                "datalist": datalist,
                "output_dir": folder,
                "warm_start": start,
                "ssl_weights": None if ssl_weights is None else Path(ssl_weights),
                "teacher": teacher,
                "seed": seed,
                "epochs": steps // epoch_length,
                "train#preprocessing": canvases,
                "train#taught": seen,
                "train#handlers": handlers,
                "train#weights#reference": None,  # describes the images for a later use; these weights have none
                **knobs,
            },
        )
        shutil.move(Path(folder) / "model.pt", path)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave the lines that a training logs about itself to trainings a person started."""
    loggers = [
        logging.getLogger(name)
        for name in ("bundle.warm_start", "bundle.segmentation.self_training", "ignite", "monai")
    ]
    levels = [found.level for found in loggers]
    for found in loggers:
        found.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for found, level in zip(loggers, levels, strict=True):
            found.setLevel(level)


def _only_watches(handler: Mapping[str, Any]) -> bool:
    return handler["_target_"] in _WATCHING or handler.get("handler") == _WATCHED
