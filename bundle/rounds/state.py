"""Where the rounds stand: one JSON file that is whole at every moment.

A round goes through its steps in one order, and each step's output is whole or absent, so a loop that was killed finds
out by looking what is left to do. What it cannot find out by looking stands here.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.run.atomic import write_json
from bundle.run.table import write_csv

FILE_NAME = "rounds.json"
TABLE = "rounds.csv"
SCORES = ("section", "n", "dice", "dice_low", "dice_high")
COLUMNS = ("round", "labels", "queried", "pseudo_labels", "pseudo_dice", *SCORES)


@dataclasses.dataclass(frozen=True)
class Round:
    """One round, as far as it got.

    Attributes:
        number: 0 for the labels that the loop began with.
        queried: ids that the expert was asked for, the most urgent first; all labels of round 0.
        pseudo: ids whose masks the model of the round before made.
        pseudo_dice: mean Dice of these masks where the truth is known; for the report alone.
        scores: of the round's model, with the keys of ``SCORES``; empty where there is nothing to score on.
        finished: all steps are done; such a round is never done again.
    """

    number: int
    queried: tuple[str, ...] = ()
    pseudo: tuple[str, ...] = ()
    pseudo_dice: float | None = None
    scores: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    finished: bool = False


class RoundsState:
    """The rounds so far, in the file ``rounds.json`` of a folder; every change is written at once.

    Args:
        folder: of the loop.
        datalist: fingerprint of the datalist that the ids are of.

    Raises:
        ValueError: the file is no state, or it is of another datalist.
    """

    def __init__(self, folder: str | os.PathLike[str], datalist: str) -> None:
        self.folder, self.datalist = Path(folder), datalist
        self.rounds: list[Round] = []
        path = self.folder / FILE_NAME
        if path.is_file():
            self._read(path)

    def labelled(self, before: int) -> list[str]:
        """Ids that rounds below number ``before`` asked for, sorted."""
        return sorted(identifier for one in self.rounds if one.number < before for identifier in one.queried)

    def round(self, number: int) -> Round:
        """The round of that number; a new one where it has not begun."""
        return self.rounds[number] if number < len(self.rounds) else Round(number)

    def keep(self, one: Round) -> Round:
        """Write a round as it stands now, and return it.

        Raises:
            ValueError: an image was asked for before, or has a pseudo label while the expert has it.
        """
        self._check(one)
        self.rounds[one.number :] = [one]
        content = {"datalist": self.datalist, "rounds": [dataclasses.asdict(each) for each in self.rounds]}
        write_json(self.folder / FILE_NAME, content)
        return one

    def rows(self) -> list[dict[str, Any]]:
        """A row for each finished round, with the keys of ``COLUMNS``; None where a figure is not there."""
        rows, labels = [], 0
        for one in (one for one in self.rounds if one.finished):
            labels += len(one.queried)
            counts = {"round": one.number, "labels": labels, "queried": len(one.queried)}
            pseudo = {"pseudo_labels": len(one.pseudo), "pseudo_dice": one.pseudo_dice}
            rows.append(dict.fromkeys(COLUMNS) | counts | pseudo | dict(one.scores))
        return rows

    def write_table(self) -> Path:
        """Write ``rounds.csv`` and return its path."""
        return write_csv(self.folder / TABLE, self.rows(), COLUMNS)

    def _check(self, one: Round) -> None:
        assert one.number <= len(self.rounds), "rounds follow each other"
        before = set(self.labelled(one.number))
        again = [identifier for identifier in one.queried if identifier in before]
        if again or len(set(one.queried)) < len(one.queried):
            shown = again[0] if again else "one"
            raise ValueError(f"round {one.number} must ask for images that have no label yet, got {shown!r} again")
        both = [identifier for identifier in one.pseudo if identifier in before | set(one.queried)]
        if both:
            raise ValueError(f"round {one.number}: {both[0]!r} is the expert's, so it takes no pseudo label")

    def _read(self, path: Path) -> None:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            rounds = [
                Round(**{**entry, "queried": tuple(entry["queried"]), "pseudo": tuple(entry["pseudo"])})
                for entry in content["rounds"]
            ]
            found = content["datalist"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no state of rounds ({error}); give another --out, or --overwrite") from None
        if found != self.datalist:
            raise ValueError(
                f"{path} is of another datalist, whose ids may mean other images; give that one, or another --out"
            )
        self.rounds = rounds
