"""The finished runs as one table, a row each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.benchmark.arms import SHORT, short, strategy_title
from bundle.benchmark.ledger import Ledger, run_key
from bundle.run.atomic import write_csv

FILE_NAME = "results.csv"

SETTINGS = (
    "modality",
    "start",
    "strategy",
    "labels",
    "seed",
    "steps",
    "size",
    "pool",
    "candidates",
    "control",
    "features",
)
FIGURES = ("dice", "jaccard", "hd95", "ece", "test_images")
COSTS = ("selection_seconds", "selection_gib", "train_seconds", "score_seconds")
ORIGINS = ("start_weights", "embedding_weights", "data", "precision", "device", "scoring", "recipe", "run")
COLUMNS = (*SETTINGS, *FIGURES, *COSTS, *ORIGINS)


def write_results(folder: Path) -> Path:
    """Write ``results.csv``, every finished run of the benchmark in ``folder``, and return its path."""
    return write_csv(folder / FILE_NAME, table(Ledger(folder).rows()), COLUMNS)


def table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A flat row for each row of a ledger, with the keys of ``COLUMNS``, in the order of their settings."""
    flat = [_flat(row) for row in rows]
    return sorted(
        flat, key=lambda row: [row[name] if name in ("labels", "seed") else str(row[name]) for name in SETTINGS]
    )


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    settings, results = row["settings"], row["results"]
    return {
        **{name: settings[name] for name in ("modality", "start", "labels", "seed", "steps", "size", "scoring")},
        "strategy": strategy_title(settings),
        "pool": settings["pool"]["kind"],
        "candidates": settings["pool"].get("candidates", settings["pool"]["images"]),
        "control": settings["control"] or "none",
        "features": settings["features"],
        **{name: results[name] for name in (*FIGURES, *COSTS)},
        **{name: short(settings[name]) for name in ("start_weights", "embedding_weights", "data")},
        **{name: settings["recipe"][name] for name in ("precision", "device")},
        "recipe": run_key(settings["recipe"])[:SHORT],
        "run": row["run"],
    }
