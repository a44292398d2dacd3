"""``run_rounds --copy-to``: the images that a round asks for, as files for those who annotate."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bundle.commands.selection_folder import write_copies
from bundle.run.atomic import atomic_folder

if TYPE_CHECKING:
    from bundle.data.datalist import Datalist

logger = logging.getLogger(__name__)


class RoundCopies:
    """A folder ``round_N`` for each round. Ranks go on from round to round, so no two copies have one name.

    Args:
        place: the folder of these folders; None where no copies are wanted.
        link: symbolic links instead of copies.
        strategy, seed: for the record.
    """

    def __init__(self, place: Path | None, *, link: bool, strategy: str, seed: int) -> None:
        self.place, self.link, self.strategy, self.seed = place, link, strategy, seed

    def names(self, number: int) -> dict[str, str]:
        """What the copies of all rounds up to ``number`` are called, without suffix, to the images' ids."""
        from bundle.data.annotations.matching import names_of_copies

        found: dict[str, str] = {}
        unsure: set[str] = set()
        for table in self._tables(number):
            for name, image in names_of_copies(table).items():
                if found.setdefault(name, image) != image:
                    unsure.add(name)
        if unsure:  # of rounds that an older release has begun, whose ranks began anew
            logger.warning("%d copies of different images have one name; masks named so are not used", len(unsure))
        return {name: image for name, image in found.items() if name not in unsure}

    def add(
        self, number: int, ids: Sequence[str], labelled: Datalist, *, queried: Collection[str], earlier: Collection[str]
    ) -> None:
        """Copy those of ``ids`` that a round asked for and that are not there yet; what is there stays.

        Args:
            queried: ids of the round.
            earlier: ids that it asked for before some were refused; copies of these may be there.

        Raises:
            ValueError: the folder holds copies of other images.
        """
        from bundle.data.handover import handed_over

        if self.place is None:
            return
        folder = self.place / f"round_{number}"
        there = [row["id"] for row in handed_over(folder)]
        strangers = sorted(set(there).difference(queried, earlier))
        if strangers:
            raise ValueError(
                f"{folder} holds copies of {len(strangers)} images that round {number} does not ask for, such as "
                f"{strangers[0]!r}: give another --copy-to, or remove it"
            )
        new = [name for name in ids if name in queried and name not in there]
        if not new:
            return
        tables = (handed_over(table.parent) for table in self._tables(number))
        first = 1 + max((int(row["rank"]) for rows in tables for row in rows), default=0)
        with contextlib.nullcontext(folder) if folder.exists() else atomic_folder(folder) as place:
            write_copies(new, labelled, place, link=self.link, strategy=self.strategy, seed=self.seed, first=first)

    def _tables(self, number: int) -> list[Path]:
        from bundle.data.handover import TABLE

        if self.place is None:
            return []
        tables = [self.place / f"round_{n}" / TABLE for n in range(number + 1)]
        return [table for table in tables if table.is_file()]


def check_masks_place(copies: Path | None, masks: Path) -> None:
    """Refuse masks among the copies of a round, and copies among the masks: the one would be taken for the other."""
    if copies is None:
        return
    place, folder = copies.resolve(), masks.resolve()
    below = folder.relative_to(place).parts if folder.is_relative_to(place) else ()
    if place.is_relative_to(folder) or (below and below[0].startswith("round_")):
        raise ValueError(f"--copy-to must lie apart from --masks, {folder}; got {copies}")
