"""The finished runs put in order: what was trained alike makes a setup, and what is compared in it are its arms."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bundle.benchmark.ledger import run_key
from bundle.benchmark.protocol import CHANCE, CONTROLS, POOLS, choice_title
from bundle.benchmark.statistics import area_under_budget_curve

SHORT = 8  # hex digits of a fingerprint in a table
ALL_LABELS = "all labels"
USUAL_POOL = POOLS[0]
Row = Mapping[str, Any]
_START = "start "  # before the fingerprint of unusual weights to start from


@dataclasses.dataclass(frozen=True, order=True)
class Pool:
    """What a run chose from, which runs must share to be compared.

    Attributes:
        kind: ``curated`` or ``redundant``.
        candidates: images that each seed drew from it first; 0 for all of them.
    """

    kind: str = USUAL_POOL
    candidates: int = 0

    @property
    def remarks(self) -> tuple[str, ...]:
        """How it differs from the usual."""
        kind = () if self.kind == USUAL_POOL else (self.kind,)
        return (*kind, f"{self.candidates} candidates") if self.candidates else kind

    @property
    def whole(self) -> Pool:
        """The same without a draw of candidates."""
        return Pool(self.kind)


_USUAL = Pool()


@dataclasses.dataclass(frozen=True, eq=False)
class Arm:
    """One way to start and to choose, at all budgets and seeds that were run.

    Attributes:
        start: ``none``, ``encoder``, ``all`` or ``taught``.
        strategy: with its options, or ``ALL_LABELS``.
        pool: what it chose from.
        others: how it differs from the usual beside the pool: another control, kind of features or weights.
        rows: (labels, seed) to the row.
    """

    start: str
    strategy: str
    pool: Pool
    others: tuple[str, ...]
    rows: Mapping[tuple[int, int], Row]

    @property
    def title(self) -> str:
        """``all/coldstart`` or ``all/coldstart [shuffle]``."""
        return arm_title(self.start, self.strategy, self.pool, self.others)

    def figures(self, name: str = "dice") -> dict[int, dict[int, float]]:
        """Labels to seed to a figure of ``results``; where it was not computed a run is left out."""
        found: dict[int, dict[int, float]] = {}
        for (labels, seed), row in sorted(self.rows.items()):
            if row["results"][name] is not None:
                found.setdefault(labels, {})[seed] = row["results"][name]
        return found

    def areas(self, budgets: Sequence[int], name: str = "dice") -> dict[int, float]:
        """Seed to the area under the budget curve, for the seeds that have every one of ``budgets``."""
        figures = self.figures(name)
        if len(budgets) < 2 or any(budget not in figures for budget in budgets):
            return {}
        complete = set.intersection(*(set(figures[budget]) for budget in budgets))
        return {
            seed: area_under_budget_curve({budget: figures[budget][seed] for budget in budgets})
            for seed in sorted(complete)
        }

    def means(self, name: str = "dice") -> dict[int, float]:
        """Labels to the mean of a figure over the seeds."""
        return {labels: sum(seeds.values()) / len(seeds) for labels, seeds in self.figures(name).items()}


@dataclasses.dataclass(frozen=True, eq=False)
class Setup:
    """Runs that learned from the same images by the same recipe, in the same number of steps.

    Attributes:
        key: short name that differs from that of every other setup.
        settings: what they share.
        arms: by title, random ones first.
    """

    key: str
    settings: Mapping[str, Any]
    arms: Mapping[str, Arm]

    @property
    def title(self) -> str:
        """What it is, for a heading."""
        size, steps = self.settings["size"], self.settings["steps"]
        return f"{self.settings['modality']}, {size}x{size}, {steps} steps"

    @property
    def runs(self) -> int:
        """How many there are."""
        return sum(len(arm.rows) for arm in self.arms.values())

    @property
    def compared(self) -> dict[str, Arm]:
        """The arms in which something is chosen."""
        return {title: arm for title, arm in self.arms.items() if arm.strategy != ALL_LABELS}

    def arm(self, name: str) -> Arm | None:
        """The arm of that title; else the only one, no control, that has it before its remarks; else None."""
        if name in self.arms:
            return self.arms[name]
        real = (arm for arm in self.arms.values() if not set(arm.others).intersection(CONTROLS))
        alike = [arm for arm in real if name == arm_title(arm.start, arm.strategy)]
        return alike[0] if len(alike) == 1 else None

    def full(self, start: str, pool: Pool = _USUAL) -> Arm | None:
        """The arm with all labels of a start, or None. It is the same whatever part of the pool a seed chooses from."""
        return self.arms.get(arm_title(start, ALL_LABELS, pool.whole))

    def chance(self, arm: Arm) -> Arm | None:
        """The arm that draws at random where ``arm`` chooses, all else equal; None where there is none."""
        starts = tuple(remark for remark in arm.others if remark.startswith(_START))
        return self.arms.get(arm_title(arm.start, CHANCE, arm.pool, starts))

    @property
    def against_chance(self) -> dict[str, tuple[Arm, Arm]]:
        """Every arm that chooses by a strategy, by title, with the arm that draws at random where it chooses."""
        found = {title: (arm, self.chance(arm)) for title, arm in self.compared.items() if arm.strategy != CHANCE}
        return {title: (arm, chance) for title, (arm, chance) in found.items() if chance is not None}


def arm_title(start: str, strategy: str, pool: Pool = _USUAL, others: Sequence[str] = ()) -> str:
    """How an arm is called, in tables and on the command line."""
    remarks = (*pool.remarks, *others)
    return f"{start}/{strategy}" + (f" [{', '.join(remarks)}]" if remarks else "")


def setups(rows: Sequence[Row]) -> list[Setup]:
    """The setups in rows of a ledger, the one with the most runs first."""
    groups: dict[str, list[Row]] = {}
    shared: dict[str, dict[str, Any]] = {}
    for row in rows:
        settings = row["settings"]
        alike = {name: settings[name] for name in ("modality", "data", "size", "steps", "recipe", "scoring")}
        key = run_key(alike)[:SHORT]
        shared[key] = alike
        groups.setdefault(key, []).append(row)
    found = [Setup(key, shared[key], _arms(members)) for key, members in groups.items()]
    return sorted(found, key=lambda setup: (-setup.runs, setup.key))


def strategy_title(settings: Mapping[str, Any]) -> str:
    """The strategy of a row's settings with its options, or ``ALL_LABELS``."""
    if settings["strategy"] is None:
        return ALL_LABELS
    return choice_title(settings["strategy"], settings["options"])


def short(fingerprint: str | None) -> str:
    """The first digits of a fingerprint, empty for None."""
    return "" if fingerprint is None else fingerprint.removeprefix("sha256:")[:SHORT]


def _arms(rows: Sequence[Row]) -> dict[str, Arm]:
    usual = {
        name: Counter(row["settings"][name] for row in rows if row["settings"][name]).most_common(1)
        for name in ("start_weights", "embedding_weights")
    }
    parts: dict[tuple[str, str, Pool, tuple[str, ...]], dict[tuple[int, int], Row]] = {}
    for row in rows:
        settings = row["settings"]
        pool = Pool(settings["pool"]["kind"], settings["pool"].get("candidates", 0))
        others = _others(settings, {name: most[0][0] if most else None for name, most in usual.items()})
        cell = settings["start"], strategy_title(settings), pool, others
        parts.setdefault(cell, {})[settings["labels"], settings["seed"]] = row
    arms = [Arm(*cell, found) for cell, found in parts.items()]
    arms.sort(
        key=lambda arm: (
            (*arm.pool.remarks, *arm.others),
            arm.strategy == ALL_LABELS,
            arm.strategy != CHANCE,
            arm.strategy,
            arm.start,
        )
    )
    return {arm.title: arm for arm in arms}


def _others(settings: Mapping[str, Any], usual: Mapping[str, str | None]) -> tuple[str, ...]:
    """What sets a run apart beside its pool; a weight file is named where it is not the one most runs have."""
    found = []
    for name, word in (("start_weights", _START), ("embedding_weights", "seen by ")):
        if settings[name] not in (None, usual[name]):
            found.append(f"{word}{short(settings[name])}")
    if settings["features"] not in (None, "scales"):
        found.append(settings["features"])
    if settings["control"] not in (None, "none"):
        found.append(settings["control"])
    return tuple(found)
