"""What ``run_rounds`` was asked for, checked, and what its steps share."""

from __future__ import annotations

import argparse
import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle.commands.chain import run_stage
from bundle.commands.options import label_aliases, parse_options, require_least
from bundle.commands.round_copies import check_masks_place
from bundle.commands.selection_folder import check_copies_place

if TYPE_CHECKING:
    from bundle.embedding import Embeddings
    from bundle.rounds.state import RoundsState
    from bundle.selection.uncertainty import Uncertainties


class RoundsPlan:
    """The request, where its output lies, and how the loop stands.

    Args:
        args: the options of ``run_rounds``.

    Raises:
        ValueError: a request that cannot be met.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        from bundle.data.annotations.names import LabelNames
        from bundle.data.datalist import load_datalist
        from bundle.embedding import Embeddings
        from bundle.selection import available_criteria, find_criterion, find_strategy
        from bundle.selection.options import require_number
        from bundle.selection.query import resolve_diversity
        from bundle.weights import shipped_weights

        self.args, self.out = args, Path(args.out).absolute()
        require_least(args, rounds=0, per_round=1, weak_per_round=1, members=2)
        for name in ("weak_from", "teach_from"):
            first = getattr(args, name)
            if first is not None and first < 1:
                option = "--" + name.replace("_", "-")
                raise ValueError(f"{option} must be at least 1, since round 0 has no model to ask, got {first}")
        if args.weak_from is not None and args.teach_from is not None:
            raise ValueError("--weak-from and --teach-from are two ways to learn from a model; give one of them")
        if args.link and args.copy_to is None:
            raise ValueError("--link needs --copy-to: it says that the images there are links")
        self.criterion = find_criterion(args.strategy) if args.strategy in available_criteria() else None
        self.options = parse_options(args.option)
        (self.criterion or find_strategy(args.strategy)).resolve(self.options)
        if self.criterion is not None:
            self.criterion.passes(args.passes)
        require_number("weak_weight", args.weak_weight, most=1, above=True)
        require_number("weak_agreement", args.weak_agreement, most=1)
        self.spread = resolve_diversity(args.diversity, parse_options(args.diversity_option))
        self.datalist = load_datalist(args.datalist)
        pool = self.datalist.ids("pool")
        if args.embeddings is not None and set(pool).isdisjoint(Embeddings.load(args.embeddings).ids):
            raise ValueError(f"--embeddings must be of this pool, and {args.embeddings} has none of its images")
        self.label_names = label_aliases(args.label)
        LabelNames(self.datalist.modality.labels, aliases=self.label_names)  # refuses what is no label
        if (args.annotators or args.label) and args.oracle != "folder":
            raise ValueError("--annotators and --label say how an expert's masks are read: they need --oracle folder")
        self.masks = Path(args.masks or self.datalist.label_root or "masks")
        if args.oracle == "folder" and not self.masks.exists():
            raise ValueError(f"--masks must be the folder, or the file, that the expert writes to, got {self.masks}")
        check_copies_place(args.copy_to, out=self.out, images=self.datalist.root)
        if args.oracle == "folder":
            check_masks_place(args.copy_to, self.masks)
        self.initial = (
            load_datalist(args.initial_selection / "selection.json") if args.initial_selection else self.datalist
        ).ids("training")
        if not self.initial:
            raise ValueError(
                "round 0 needs images to learn from: give --initial-selection, or a datalist with a training section"
            )
        self.datalist.with_training(self.initial)  # refuses what is not of this pool
        self.ssl_weights = args.ssl_weights or shipped_weights("model_ssl_pretrained", self.datalist.modality_name)
        labelled = {name: self.datalist.section(name, labelled=True) for name in ("test", "validation")}
        self.scored_section = next((name for name, entries in labelled.items() if entries), None)

    @functools.cached_property
    def state(self) -> RoundsState:
        """Where the loop stands."""
        from bundle.rounds.state import RoundsState

        identity = dataclasses.replace(
            self.datalist,
            label_root=None,
            sections={
                name: tuple({k: v for k, v in entry.items() if k != "label"} for entry in entries)
                for name, entries in self.datalist.sections.items()
                if name != "training"
            },
        )
        return RoundsState(self.out, identity.fingerprint())

    @property
    def members(self) -> int:
        """Models of a round: several for an ensemble."""
        ensemble = self.criterion is not None and self.criterion.opinions == "ensemble"
        return int(self.args.members) if ensemble else 1

    def folder(self, number: int) -> Path:
        """Everything that a round did."""
        return self.out / "rounds" / str(number)

    def scored(self, folder: Path, models: list[Path], **options: Any) -> Uncertainties:
        """What ``models`` think of every image of the pool, made in ``folder`` where it is not there."""
        from bundle.selection.uncertainty import Uncertainties

        run_stage(
            "score_uncertainty",
            done=folder / "run.json",
            out=folder,
            datalist=self.args.datalist,
            model=models,
            seed=self.args.seed,
            **options,
        )
        return Uncertainties.load(folder)

    def embeddings(self) -> Embeddings:
        """Of the pool, made where they were not given."""
        from bundle.embedding import Embeddings

        folder = self.args.embeddings
        if folder is None:
            folder = self.out / "embeddings"
            run_stage("embed", done=folder, out=folder, datalist=self.args.datalist, weights=self._needed_ssl_weights())
        pool = set(self.datalist.ids("pool"))
        found = Embeddings.load(folder)
        return found.subset(sorted(pool & set(found.ids)))

    def _needed_ssl_weights(self) -> Path:
        if self.ssl_weights is None:
            raise ValueError("the pool has to be embedded, and no weights are shipped for it: give --ssl-weights")
        return Path(self.ssl_weights)
