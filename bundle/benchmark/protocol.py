"""What is compared: every run of a label-efficiency benchmark, told by settings that make it this run and no other."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from bundle.benchmark.ledger import run_key
from bundle.selection import find_strategy

CHANCE = "random"  # the one strategy that looks at no vector, so weights and controls make no other run of it
TAUGHT = "taught"  # the start of a run whose teacher is the model of the same run with the start ``all``
CONTROLS = ("none", "shuffle")
POOLS = ("curated", "redundant")


@dataclasses.dataclass(frozen=True)
class Choice:
    """A way to choose what is labelled.

    Attributes:
        strategy: its name.
        options: as given, the strategy's defaults left out.
    """

    strategy: str
    options: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, strategy: str, given: Mapping[str, Any]) -> Choice:
        """A strategy with some of its options.

        Raises:
            ValueError: an unknown strategy or option.
        """
        found = find_strategy(strategy)
        found.resolve(given)
        other = {key: value for key, value in given.items() if value != found.options[key]}
        return cls(found.name, tuple(sorted(other.items())))

    @property
    def resolved(self) -> dict[str, Any]:
        """All options of the strategy."""
        return find_strategy(self.strategy).resolve(dict(self.options))

    def __str__(self) -> str:
        return choice_title(self.strategy, self.resolved)


def choice_title(strategy: str, options: Mapping[str, Any]) -> str:
    """``ca`` or ``ca:k=20``: the name, and the options that are not the strategy's defaults."""
    defaults = find_strategy(strategy).options
    other = ",".join(f"{key}={value}" for key, value in sorted(options.items()) if value != defaults.get(key))
    return f"{strategy}:{other}" if other else strategy


@dataclasses.dataclass(frozen=True)
class Setting:
    """What all runs of one call share.

    Attributes:
        modality: its name.
        data: fingerprint of pool and test.
        size: side of the canvas in pixels.
        pool: ``curated`` or ``redundant``, with what was added; ``candidates`` where every seed chooses from so many
            of its own, drawn at random.
        pool_images: in the pool.
        steps: of the optimiser.
        recipe: every other setting of the fine-tuning.
        scoring: the precision of the scoring, and behind a comma what is done to masks before.
        start_weights: fingerprint of what a warm start copies.
        embedding_weights: fingerprint of what describes the images, weights or given vectors.
        features: how they are described.
        control: ``shuffle`` where the vectors are dealt out anew among the ids.
    """

    modality: str
    data: str
    size: int
    pool: Mapping[str, Any]
    pool_images: int
    steps: int
    recipe: Mapping[str, Any]
    scoring: str
    start_weights: str | None
    embedding_weights: str | None
    features: str
    control: str


@dataclasses.dataclass(frozen=True)
class Run:
    """One training and its scores.

    Attributes:
        seed: of selection and training.
        labels: images to learn from.
        start: what is copied from self-supervised weights: ``none``, ``encoder``, ``all``; or ``taught``, which is all
            and then self-training.
        choice: how they are chosen; None where all of the pool are taken.
    """

    seed: int
    labels: int
    start: str
    choice: Choice | None

    def settings(self, shared: Setting) -> dict[str, Any]:
        """All that makes it this run; what plays no part in it is None, so that it is not done twice."""
        embedded = self.choice is not None and self.choice.strategy != CHANCE
        return {
            "modality": shared.modality,
            "data": shared.data,
            "size": shared.size,
            "pool": {name: v for name, v in shared.pool.items() if self.choice is not None or name != "candidates"},
            "start": self.start,
            "start_weights": None if self.start == "none" else shared.start_weights,
            "labels": self.labels,
            "strategy": None if self.choice is None else self.choice.strategy,
            "options": None if self.choice is None else self.choice.resolved,
            "embedding_weights": shared.embedding_weights if embedded else None,
            "features": shared.features if embedded else None,
            "control": shared.control if embedded else None,
            "seed": self.seed,
            "steps": shared.steps,
            "recipe": dict(shared.recipe),
            "scoring": shared.scoring,
        }

    def __str__(self) -> str:
        chosen = "all of them" if self.choice is None else str(self.choice)
        return f"seed {self.seed}, start {self.start}, {self.labels} labels, {chosen}"


def plan(
    shared: Setting, *, seeds: Sequence[int], budgets: Sequence[int], starts: Sequence[str], choices: Sequence[Choice]
) -> dict[str, Run]:
    """Every run by its key, all cells of the first seed before those of the second: what is done is paired.

    Args:
        budgets: numbers of labels; where it is the whole pool nothing is chosen, and all strategies are one run.

    Raises:
        ValueError: a budget above the pool.
    """
    most = shared.pool.get("candidates", shared.pool_images)
    too_large = [budget for budget in budgets if not 1 <= budget <= most and budget != shared.pool_images]
    if too_large:
        raise ValueError(f"a budget must be from 1 to the {most} images to choose from, got {too_large[0]}")
    runs = {}
    for seed, budget, start, choice in itertools.product(seeds, budgets, starts, choices):
        run = Run(seed, budget, start, None if budget == shared.pool_images else choice)
        runs[run_key(run.settings(shared))] = run
    return runs
