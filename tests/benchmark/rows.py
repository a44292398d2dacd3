"""Rows of a benchmark whose figures are given, without a training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bundle.benchmark.ledger import Ledger
from bundle.benchmark.protocol import Run, Setting, plan
from bundle.benchmark.scoring import BINS, Scores
from bundle.commands.benchmark_labels import parse_choice

SHARED = Setting(
    modality="dermoscopy",
    data="sha256:1111111111",
    size=128,
    pool={"kind": "curated", "images": 100},
    pool_images=100,
    steps=400,
    recipe={"learning_rate": 0.001, "precision": "fp32", "device": "cpu"},
    scoring="fp32",
    start_weights="sha256:2222222222",
    embedding_weights="sha256:3333333333",
    features="scales",
    control="none",
)
IMAGES = 12  # of the test
Figure = Callable[[Run], float]


def add_rows(
    folder: Path,
    figure: Figure,
    *,
    seeds: Sequence[int] = range(3),
    budgets: Sequence[int] = (5, 10, 20),
    starts: Sequence[str] = ("none", "all"),
    strategies: Sequence[str] = ("random", "coldstart"),
    **other: object,
) -> None:
    """Keep a row with the Dice ``figure(run)`` for every run of the plan; ``other`` replaces entries of ``SHARED``."""
    shared = dataclasses.replace(SHARED, **other)
    choices = [parse_choice(name) for name in strategies]
    for run in plan(shared, seeds=seeds, budgets=budgets, starts=starts, choices=choices).values():
        dice = figure(run)
        results = {"dice": dice, "jaccard": dice / 2, "hd95": None, "ece": 0.1, "test_images": IMAGES}
        costs = {"selection_seconds": 2.0, "selection_gib": 0.5, "train_seconds": 70.0, "score_seconds": 3.0}
        if run.choice is None:
            costs |= {"selection_seconds": None, "selection_gib": None}
        Ledger(folder).add(run.settings(shared), results | costs | {"selected": None}, even_scores(dice), {})


def even_scores(dice: float) -> Scores:
    """Scores of ``IMAGES`` images, the odd ones .1 above and the even ones .1 below ``dice``."""
    found = np.full(IMAGES, dice, dtype=np.float32) + np.where(np.arange(IMAGES) % 2, 0.1, -0.1).astype(np.float32)
    counts = np.ones((IMAGES, BINS), dtype=np.int32)
    nothing = np.full(IMAGES, np.nan, dtype=np.float32)
    ids = tuple(f"image_{number:02d}" for number in range(IMAGES))
    return Scores(ids, found, found, nothing, counts, counts.astype(np.float32), counts)
