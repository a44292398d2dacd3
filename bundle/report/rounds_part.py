"""Rounds: what was asked for, what the model drew itself, and what came of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.report.blocks import Absent, Block, Chart, Facts, Section, Table, Tiles, chart, plain
from bundle.report.curves import dice_by_labels
from bundle.report.montage import prediction_tiles, selection_montage
from bundle.run.table import read_csv

SHOWN = 24  # images of a round: three rows on a laptop


@dataclasses.dataclass(frozen=True, eq=False)
class RoundsPart:
    """Everything that the sections on rounds are drawn from.

    Attributes:
        rounds: a row each, as in ``rounds.csv``.
        folder: holds a folder for each round, named by its number.
        strategy: name of the criterion or strategy.
        image_paths: id to file.
        modality: how to read the files.
        asked: number of a round to the ids that the expert was asked for.
        waiting: number of a round that waits for the expert, or None.
    """

    rounds: Sequence[Mapping[str, Any]]
    folder: Path
    strategy: str
    image_paths: Mapping[str, Path]
    modality: Any
    asked: Mapping[int, Sequence[str]]
    waiting: int | None = None

    def sections(self) -> list[Section]:
        """The course of all rounds, then the images of each, the last round first."""
        course = Section("course", "Round by round")
        for build in (self._facts, self._chart, self._table):
            course.add(build)
        images = Section("asked", "What was asked for")
        pseudo = Section("pseudo", "What the model drew itself")
        if self.waiting:
            images.add(self._asked, self.waiting)
        for row in reversed(self.rounds):
            number = int(row["round"])
            if number:
                images.add(self._asked, number)
            if row["pseudo_labels"]:
                pseudo.add(self._pseudo, row)
        return [course, *(section for section in (images, pseudo) if section.blocks)]

    def _facts(self) -> Facts:
        last = self.rounds[-1]
        items = [
            (str(last["labels"]), "labels of the expert", f"{len(self.rounds) - 1} rounds by {self.strategy}"),
            (str(last["pseudo_labels"]), "pseudo labels in the last round", "never kept as labels"),
        ]
        if last["dice"] is not None:
            items.append((f"{last['dice']:.3f}", "mean Dice", f"{last['n']} images of the section {last['section']}"))
        return Facts(items)

    def _chart(self) -> Chart:
        scored = [row for row in self.rounds if row["dice"] is not None]
        if not scored:
            raise Absent("No curve: neither test nor validation has a label.")
        figure = dice_by_labels(
            [row["labels"] for row in scored],
            [row["dice"] for row in scored],
            low=[row["dice_low"] for row in scored],
            high=[row["dice_high"] for row in scored],
        )
        return chart(
            figure,
            f"Curve: mean Dice after each of {len(scored)} rounds by number of labels.",
            "The band is the 95 % interval over the images. It says nothing of the seed: these rounds are one draw, so "
            "a step up or down within the band may be chance.",
        )

    def _table(self) -> Table:
        rows = [
            [
                *(plain(row[name]) for name in ("round", "labels", "queried", "pseudo_labels", "pseudo_dice")),
                plain(row["dice"]),
                "–" if row["dice"] is None else f"{row['dice_low']:.3f} to {row['dice_high']:.3f}",
            ]
            for row in self.rounds
        ]
        return Table(
            ["round", "labels", "new", "pseudo labels", "their Dice", "Dice", "95 % interval"],
            rows,
            "The Dice of pseudo labels is told where the truth is known, and used for nothing.",
        )

    def _asked(self, number: int) -> Tiles:
        # One list for what was chosen first, and one for every time that others came in place of refused images.
        lists = (self.folder / str(number)).glob("query*/selection.csv")
        chosen = {row["id"]: row for path in sorted(lists) for row in _table(path)}
        rows = [{**chosen[name], "rank": str(rank)} for rank, name in enumerate(self.asked[number], start=1)]
        title = f"Round {number}" + (", to be annotated" if number == self.waiting else "")
        tiles = selection_montage(rows, self.image_paths, self.modality, title=title, most=SHOWN)
        named = [
            dataclasses.replace(one, label=f"{one.label} · {float(row['score']):.3f}")
            for one, row in zip(tiles.tiles, rows, strict=False)
        ]
        last = self.waiting or self.rounds[-1]["round"]
        caption = "Under each image its rank, its score and id."
        return dataclasses.replace(tiles, tiles=named, caption=caption, folded=number != last)

    def _pseudo(self, row: Mapping[str, Any]) -> Iterator[Block]:
        folder = self.folder / str(row["round"]) / "pseudo"
        tiles = prediction_tiles(_table(folder / "pseudo_labels.csv"), folder, self.image_paths, self.modality)
        title = f"Round {row['round']}: {row['pseudo_labels']} pseudo labels"
        yield dataclasses.replace(tiles, title=title, caption="Some of them, evenly spread from the surest on.")


def _table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise Absent(f"{path.parent.name}/{path.name} is not there")
    return read_csv(path)
