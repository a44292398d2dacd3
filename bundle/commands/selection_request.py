"""What ``select_samples`` is to choose from: the images, those with a label, and their embeddings."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle.commands.options import parse_budget
from bundle.data.id_lists import excluded_ids, known_ids

if TYPE_CHECKING:
    from bundle.data.datalist import Datalist
    from bundle.embedding import Embeddings
    from bundle.run.record import RunRecord

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class SelectionRequest:
    """Out of which images is to be chosen, and what is known of them.

    Attributes:
        datalist: all images.
        section: ids of the section to select from.
        labelled: ids that have a label and steer the choice; none that is excluded.
        exclude: ids that are never looked at.
    """

    datalist: Datalist
    section: frozenset[str]
    labelled: frozenset[str]
    exclude: frozenset[str]

    @classmethod
    def of(cls, args: argparse.Namespace) -> SelectionRequest:
        """As the options say."""
        from bundle.data.datalist import load_datalist

        datalist = load_datalist(args.datalist)
        section = frozenset(datalist.ids(args.section))
        exclude = excluded_ids(datalist, args.exclude, section)
        labelled = _labelled_ids(args.already_labelled, datalist) - exclude
        return cls(datalist, section, frozenset(labelled), frozenset(exclude))

    def record(self, stage: str, args: argparse.Namespace, settings: dict[str, Any]) -> RunRecord:
        """The record of the run, begun."""
        from bundle.run.record import RunRecord

        given = {name: value for name, value in vars(args).items() if name != "option"}
        fingerprints = {"datalist": self.datalist.fingerprint()}
        return RunRecord(stage, given | settings, seed=args.seed, fingerprints=fingerprints)

    def embeddings(self, args: argparse.Namespace, folder: Path, record: RunRecord) -> Embeddings:
        """Of the section and of labelled images beside it, which steer the choice; made first where they are not."""
        from bundle.embedding import IDS_FILE, VECTORS_FILE, Embeddings
        from bundle.run.record import content_fingerprint, file_fingerprint

        with record.timed("embed"):
            place = args.embeddings or self._embed(args, folder / "embeddings")
        found = Embeddings.load(place)
        record.content["fingerprints"]["embeddings"] = content_fingerprint(
            file_fingerprint(place / name) for name in (IDS_FILE, VECTORS_FILE)
        )
        embedded = set(found.ids)
        if not self.section & embedded:
            raise ValueError(
                f"none of the section's {len(self.section)} images has an embedding; embed that section of this "
                f"datalist"
            )
        missing = len(self.section - embedded)
        if missing:
            logger.warning(
                "%d of the section's %d images have no embedding and cannot be selected", missing, len(self.section)
            )
        return found.subset(sorted((self.section | self.labelled) & embedded))

    def budget(self, text: str, embeddings: Embeddings) -> int:
        """The number of images, a share being one of those that may be chosen or are labelled."""
        return parse_budget(text, sum(identifier not in self.exclude for identifier in embeddings.ids))

    def pool(self, embeddings: Embeddings) -> Embeddings:
        """What a selection is to stand for: everything that is not excluded."""
        return embeddings.subset(sorted(set(embeddings.ids) - self.exclude))

    def kept(self) -> list[str]:
        """Labelled ids that stay in the training section."""
        return sorted(self.labelled & set(self.datalist.candidates()))

    def _embed(self, args: argparse.Namespace, folder: Path) -> Path:
        from bundle.commands.embed import embed_section

        embed_section(self.datalist, args.section, args.weights, folder)
        return folder


def _labelled_ids(source: str | None, datalist: Datalist) -> set[str]:
    if source is None:
        return set()
    return set(datalist.ids("training")) if source == "training" else known_ids(Path(source), datalist)
