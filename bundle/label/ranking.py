"""The ranking that annotators are served by: made once, kept, and longer with every image that arrives later."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Collection
from pathlib import Path

from bundle.embedding import Embeddings
from bundle.label.plan import Plan
from bundle.run.atomic import write_json
from bundle.selection import SelectedImage, select


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Ranks of images, and what they were made by.

    Attributes:
        fingerprint: of plan and weights, see :meth:`Plan.fingerprint`. Under another one the ranking is another.
        rows: rank 1 first. Ranks never change, and an image that has gone keeps its own.
    """

    fingerprint: str
    rows: tuple[SelectedImage, ...] = ()

    @classmethod
    def load(cls, path: str | os.PathLike[str], fingerprint: str) -> Ranking:
        """The ranking in ``path`` if it is there and of this ``fingerprint``; else one without rows."""
        file = Path(path)
        if file.is_file():
            content = json.loads(file.read_text(encoding="utf-8"))
            if content["fingerprint"] == fingerprint:
                return cls(fingerprint, tuple(SelectedImage(**row) for row in content["images"]))
        return cls(fingerprint)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the ranking as JSON, whole or not at all."""
        rows = [dataclasses.asdict(row) for row in self.rows]
        return write_json(path, {"fingerprint": self.fingerprint, "images": rows})

    def by_id(self) -> dict[str, SelectedImage]:
        """Id to its row."""
        return {row.id: row for row in self.rows}

    def extended(self, embeddings: Embeddings, plan: Plan, *, labelled: Collection[str]) -> Ranking:
        """The same ranks, followed by those of the images that have neither a rank nor a label.

        What is ranked or labelled already steers the choice as if it had been chosen before, so a late image is ranked
        by what it adds. Where the plan's strategy is not nested it ranks the first ``plan.budget`` images, and
        ``coldstart`` the rest and all that comes later.

        Args:
            embeddings: of all readable images.
            plan: how to rank.
            labelled: ids with a final label.
        """
        known = {*labelled, *(row.id for row in self.rows)}
        new = len(set(embeddings.ids) - known)
        if not new:
            return self
        rows = list(self.rows)
        if plan.nested or not rows:
            count = new if plan.nested else min(new, plan.budget or new)
            rows += self._chosen(embeddings, plan.strategy, count, plan, known, after=len(rows))
            known |= {row.id for row in rows}
            new -= count
        if new:
            cold = dataclasses.replace(plan, strategy="coldstart", options={}, budget=None)
            rows += self._chosen(embeddings, "coldstart", new, cold, known, after=len(rows))
        return dataclasses.replace(self, rows=tuple(rows))

    @staticmethod
    def _chosen(
        embeddings: Embeddings, strategy: str, count: int, plan: Plan, known: Collection[str], *, after: int
    ) -> list[SelectedImage]:
        """``count`` rows by ``strategy``, ranked from ``after`` + 1."""
        chosen = select(embeddings, strategy=strategy, budget=count, seed=plan.seed, labelled=known, **plan.options)
        return [dataclasses.replace(row, rank=after + row.rank, score=float(row.score)) for row in chosen.rows]
