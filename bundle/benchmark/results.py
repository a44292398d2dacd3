"""The finished runs as tables: a row each, and a row for each group of the test images."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.benchmark.arms import SHORT, short, strategy_title
from bundle.benchmark.cases import read_groups
from bundle.benchmark.ledger import Ledger, run_key
from bundle.run.table import write_csv

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
GROUPS_FILE = "groups.csv"
GROUP_COLUMNS = ("run", "kind", "group", "images", "dice")


def write_results(folder: Path) -> Path:
    """Write ``results.csv``, every finished run of the benchmark in ``folder``, and return its path."""
    return write_csv(folder / FILE_NAME, table(Ledger(folder).rows()), COLUMNS)


def write_groups(folder: Path) -> Path:
    """Write ``groups.csv``, the mean Dice of every run in every group of the test images, and return its path.

    ``run`` is that of ``results.csv``. A benchmark of images without groups has no rows.
    """
    ledger, rows = Ledger(folder), []
    groups_of = functools.cache(functools.partial(read_groups, folder))  # runs share their test images
    for row in sorted(ledger.rows(), key=lambda row: row["run"]):
        scores = ledger.scores(row["run"])
        dice = dict(zip(scores.ids, scores.dice.tolist(), strict=True))
        for kind, members in groups_of(row["settings"]["data"], row["settings"]["size"]).items():
            for group, ids in members.items():
                mean = statistics.fmean(dice[name] for name in ids)
                about = {"run": row["run"], "kind": kind, "group": group, "images": len(ids)}
                rows.append({**about, "dice": round(mean, 6)})
    return write_csv(folder / GROUPS_FILE, rows, GROUP_COLUMNS)


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
