"""How every training run went."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bundle.report.blocks import Absent, Block, Note, Section, Table, chart, duration
from bundle.report.curves import learning_curves
from bundle.report.run_folder import RunFolder, numbers
from bundle.report.style import run_title


def training(run: RunFolder) -> Section:
    """How every training run went."""
    section = Section("training", "Training")
    section.add(_curves, run)
    return section


def _curves(run: RunFolder) -> Iterator[Block]:
    histories: dict[str, dict[str, Any]] = {}
    for name in run.training_runs():
        try:
            rows = run.rows(f"{name}/history.csv")
        except Absent as absent:
            yield Note(str(absent), muted=True)
            continue
        steps = "step" if np.isfinite(numbers(rows, "step")).any() else "epoch"
        histories[name] = {
            "step": numbers(rows, steps),
            "loss": numbers(rows, "loss"),
            "val_dice": numbers(rows, "val_dice"),
        }
    if not histories:
        raise Absent("No learning curves: no folder of the run has a history.csv.")
    yield chart(
        learning_curves(histories),
        f"Curves: training loss and validation Dice by step of {', '.join(map(run_title, histories))}.",
        "One training each: a difference between two curves is not yet a difference between two methods.",
    )
    lines = []
    for name, columns in histories.items():
        known = columns["val_dice"][np.isfinite(columns["val_dice"])]
        last = columns["step"][np.isfinite(columns["step"])]
        seconds = run.records().get(name, {}).get("seconds")
        lines.append(
            [
                run_title(name),
                f"{last[-1]:.0f}" if len(last) else "–",
                f"{known[-1]:.3f}" if len(known) else "–",
                f"{known.max():.3f}" if len(known) else "–",
                duration(seconds),
            ]
        )
    yield Table(["run", "steps", "last validation Dice", "best", "time"], lines)
