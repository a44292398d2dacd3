"""Scores on held-out images: means with intervals, every image, groups, the worst and the median cases."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from bundle.report.blocks import Absent, Block, Note, Section, Table, Tiles, chart, plain
from bundle.report.montage import case_tiles
from bundle.report.run_folder import RunFolder, finite, mapping, numbers
from bundle.report.scores import score_plot
from bundle.report.style import run_title

SHOWN = 4  # runs whose groups and worst and median cases are shown; eight pictures each


class EvaluationPart:
    """What the section on scores is drawn from: the evaluations of all training runs of a folder."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    @cached_property
    def summaries(self) -> dict[str, dict[str, Any]]:
        """Run's name to its ``summary.json``, the highest mean Dice first."""
        found = {}
        for name in self.run.training_runs():
            try:
                found[name] = self.run.json(f"{name}/evaluation/summary.json")
            except Absent:
                continue
        return dict(sorted(found.items(), key=lambda pair: -_mean(pair[1])))

    def best(self) -> tuple[str, float] | None:
        """Name and mean Dice of the run with the highest; None where no run was scored."""
        name = next(iter(self.summaries), None)
        mean = -1.0 if name is None else _mean(self.summaries[name])
        return None if name is None or mean < 0 else (name, mean)

    def section(self) -> Section:
        """The table, the charts, the groups, and the cases of the best runs."""
        section = Section("evaluation", "Evaluation")
        for build in (self._table, self._charts, self._groups):
            section.add(build)
        names = list(self.summaries)
        for name in names[:SHOWN]:
            section.add(self._cases, name, folded=name != names[0])
        if len(names) > SHOWN:
            rest = len(names) - SHOWN
            section.blocks.append(Note(f"Cases of {rest} runs with a lower mean are not shown.", muted=True))
        return section

    def _table(self) -> Table:
        if not self.summaries:
            raise Absent("No scores: no folder of the run has evaluation/summary.json.")
        return Table(
            ["run", "n", "mean Dice", "median Dice", "mean Jaccard", "mean HD95"],
            [
                [
                    run_title(name),
                    plain(summary.get("n")),
                    _with_interval(summary.get("dice"), 3),
                    _figure(mapping(summary.get("dice")).get("median"), 3),
                    _with_interval(summary.get("jaccard"), 3),
                    _with_interval(summary.get("hd95"), 1),
                ]
                for name, summary in self.summaries.items()
            ],
            caption="In brackets the 95 % bootstrap interval over the images: how sure the mean is for this one model. "
            "Another seed would move it as well. HD95 is in mm where the files tell the size of a pixel, and in pixels "
            "elsewhere; lower is better.",
        )

    def _charts(self) -> Iterator[Block]:
        means = {name: mapping(summary.get("dice")) for name, summary in self.summaries.items()}
        scores = {
            name: (float(one["mean"]), float(one["low"]), float(one["high"]))
            for name, one in means.items()
            if all(finite(one.get(key)) for key in ("mean", "low", "high"))
        }
        dice = self._dice()
        if scores or dice:
            yield chart(
                score_plot(dice, scores),
                f"Dice of every image, and mean Dice with its interval, of {len(set(dice) | set(scores))} runs.",
                "Left: a dot an image; the bar is the median, the box the quartiles. Right: the mean and its interval, "
                "on a finer axis.",
            )

    def _groups(self) -> Iterator[Block]:
        found = {name: _groups(self.summaries[name]) for name in list(self.summaries)[:SHOWN]}
        order = list(dict.fromkeys(key for one in found.values() for key in one))
        if order:
            yield Table(
                ["group", "images", *map(run_title, found)],
                [
                    [f"{kind}: {group}", images, *(one.get((kind, group, images), "–") for one in found.values())]
                    for kind, group, images in order
                ],
                caption="Mean Dice of groups of images, in brackets the 95 % bootstrap interval over the group's "
                "images. Skin tone is told by the colour around the lesion, which no dermatoscope calibrates.",
            )

    def _cases(self, name: str, *, folded: bool) -> Tiles:
        tiles = case_tiles(
            mapping(self.summaries[name].get("cases")),
            self.run.path / name / "evaluation" / "overlays",
            title=f"Worst and median cases: {run_title(name)}",
            folded=folded,
        )
        if not tiles.tiles:
            raise Absent(f"No cases of {run_title(name)}: {name}/evaluation/overlays has no pictures of them.")
        return tiles

    def _dice(self) -> dict[str, list[float]]:
        """Run's name to the Dice of its images; those without one are left out."""
        found = {}
        for name in self.run.training_runs():
            try:
                dice = numbers(self.run.rows(f"{name}/evaluation/per_image.csv"), "dice")
            except Absent:
                continue
            if np.isfinite(dice).any():
                found[name] = dice[np.isfinite(dice)].tolist()
        return found


def _groups(summary: dict[str, Any]) -> dict[tuple[str, str, str], str]:
    """Kind, name and number of images of each group to its mean Dice with the interval."""
    found = {}
    listed = summary.get("groups")
    for row in map(mapping, listed if isinstance(listed, list) else []):
        dice = {"mean": row.get("dice"), "low": row.get("dice_low"), "high": row.get("dice_high")}
        kind, group, images = (plain(row.get(name)) for name in ("kind", "group", "images"))
        found[kind, group, images] = _with_interval(dice, 3)
    return found


def _figure(value: Any, digits: int) -> str:
    return f"{value:.{digits}f}" if finite(value) else "–"


def _mean(summary: dict[str, Any]) -> float:
    mean: Any = mapping(summary.get("dice")).get("mean")
    return float(mean) if finite(mean) else -1.0


def _with_interval(score: Any, digits: int) -> str:
    score = mapping(score)
    mean = _figure(score.get("mean"), digits)
    if not (finite(score.get("low")) and finite(score.get("high"))):
        return mean
    return f"{mean} [{score['low']:.{digits}f}, {score['high']:.{digits}f}]"
