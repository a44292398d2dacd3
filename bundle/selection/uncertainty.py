"""How uncertain a model is of every image: the only bridge from predictions to the choice of a round.

On disk a table, ``scores.csv``, with one row an image, sorted by id: ``id``, ``score``, ``foreground``, ``confidence``,
``unseen``.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np

from bundle.likeliest import likeliest_class
from bundle.run.table import write_csv
from bundle.selection.criterion import Opinions, consensus, find_criterion, score

FILE_NAME = "scores.csv"
LARGEST = {"score": 2.0, "foreground": 1.0, "confidence": 1.0, "unseen": math.inf}
COLUMNS = ("id", *LARGEST)
NEEDED = COLUMNS[:-1]  # a table of an earlier version does not tell what was unseen


@dataclasses.dataclass(frozen=True)
class Uncertainty:
    """What a model thinks of one image.

    Attributes:
        score: of a criterion, 0 to 2, highest is most uncertain, see :func:`bundle.selection.score`.
        foreground: share of the image's pixels that are predicted foreground, 0 to 1.
        confidence: probability of the likeliest class, averaged over the pixels, 1 / classes to 1. With one label that
            is 0.5 + the mean of abs(p - 0.5), by which DSAL tells the sure ones.
        unseen: number of the modality's labels that no opinion has a pixel of; 0 where it is not known.
    """

    score: float
    foreground: float
    confidence: float
    unseen: int = 0

    @property
    def empty(self) -> bool:
        """Whether nothing but background is predicted."""
        return self.foreground == 0


def assess(opinions: Opinions, criterion: str, **options: object) -> Uncertainty:
    """All that is told of one image; the arguments and errors are those of :func:`bundle.selection.score`."""
    number = score(opinions, criterion, **options)
    prediction = consensus(opinions, find_criterion(criterion).opinions)
    foreground, confidence = (likeliest_class(prediction) > 0).mean(), prediction.max(axis=0).mean()
    return Uncertainty(number, float(foreground), float(confidence), _unseen(opinions))


def _unseen(opinions: Opinions) -> int:
    """How many labels are the likeliest class nowhere, in none of the opinions."""
    masks = likeliest_class(opinions.swapaxes(0, 1))
    pixels = np.bincount(masks.ravel(), minlength=opinions.shape[1])
    return int((pixels[1:] == 0).sum())


class Uncertainties(Mapping[str, Uncertainty]):
    """Id to uncertainty. The ids stand in their own order, so no order of rows can matter.

    Raises:
        ValueError: an id is empty, or a figure is not finite or out of its range (the id is named).
    """

    def __init__(self, rows: Mapping[str, Uncertainty]) -> None:
        for identifier, row in rows.items():
            for name, largest in LARGEST.items():
                value = getattr(row, name)
                if not (math.isfinite(value) and 0 <= value <= largest):
                    raise ValueError(f"{name} of image {identifier!r} must be from 0 to {largest:g}, got {value}")
            if not identifier:
                raise ValueError("every row needs an id, got an empty one")
        self._rows = dict(sorted(rows.items()))

    def __getitem__(self, identifier: str) -> Uncertainty:
        return self._rows[identifier]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def without(self, ids: Collection[str]) -> Uncertainties:
        """The others."""
        return Uncertainties({identifier: row for identifier, row in self._rows.items() if identifier not in ids})

    def ranked(self) -> list[str]:
        """The ids, the most uncertain first; ties in the order of the ids."""
        return sorted(self._rows, key=lambda identifier: (-self._rows[identifier].score, identifier))

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``scores.csv`` into ``folder`` and return its path."""
        rows = [{"id": name, **{k: repr(v) for k, v in dataclasses.asdict(row).items()}} for name, row in self.items()]
        return write_csv(Path(folder) / FILE_NAME, rows, COLUMNS)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Uncertainties:
        """Read ``scores.csv`` of ``folder``.

        Raises:
            ValueError: no such table, a column that is absent, an id that is there twice, or what the class refuses.
        """
        path = Path(folder) / FILE_NAME
        if not path.is_file():
            raise ValueError(f"{folder} holds no {FILE_NAME}: make it with `coldstart score_uncertainty`")
        rows: dict[str, Uncertainty] = {}
        with path.open(newline="", encoding="utf-8") as handle:
            reader = csv.DictReader(handle)
            if set(NEEDED) - set(reader.fieldnames or ()):
                raise ValueError(f"{path} must have the columns {', '.join(NEEDED)}, got {reader.fieldnames}")
            for row in reader:
                if row["id"] in rows:
                    raise ValueError(f"{path} has the id {row['id']!r} twice")
                score, foreground, confidence = (float(row[name]) for name in NEEDED[1:])
                rows[row["id"]] = Uncertainty(score, foreground, confidence, int(row.get("unseen") or 0))
        return cls(rows)
