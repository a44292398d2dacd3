"""The strong labeller of ``run_rounds``: what the expert is asked for, and what came back."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle.commands.round_copies import RoundCopies
from bundle.commands.rounds_plan import RoundsPlan
from bundle.commands.selection_folder import write_selection
from bundle.data.id_lists import excluded_ids, known_ids, read_ids
from bundle.run.atomic import atomic_folder, retire_folder

if TYPE_CHECKING:
    from bundle.data.datalist import Datalist
    from bundle.data.identity import Pseudonyms
    from bundle.rounds.state import Round
    from bundle.selection import Selection
    from bundle.selection.uncertainty import Uncertainties

logger = logging.getLogger(__name__)

NAMED = 20  # images that a line each is printed for


class StrongLabeller:
    """The expert, or masks that are known and play the expert."""

    def __init__(self, plan: RoundsPlan) -> None:
        self.plan, self.args = plan, plan.args
        args = plan.args
        self.copies = RoundCopies(args.copy_to, link=args.link, strategy=args.strategy, seed=args.seed)

    def query(self, number: int, kept: Sequence[str] = (), name: str = "query") -> list[str]:
        """Ids to ask for in a round beside those ``kept``, the most urgent first; fewer where the pool ends.

        The folder ``name`` of the round keeps them; what is there already is what was asked for.
        """
        folder = self.plan.folder(number) / name
        if not folder.is_dir():
            labelled = {*self.plan.state.labelled(number), *kept}
            exclude = excluded_ids(self.plan.datalist, self.args.exclude)
            if self.args.oracle == "simulated":
                exclude |= {e["id"] for e in self.plan.datalist.sections["pool"] if "label" not in e}
            left = set(self.plan.datalist.ids("pool")) - labelled - exclude
            unread = left - self._known(number) if left else set()
            if unread:
                shown = ", ".join(sorted(unread)[:NAMED])
                why = "have no vector in the embeddings" if self.plan.criterion is None else "cannot be read"
                logger.warning("%d images %s and are not asked for: %s", len(unread), why, shown)
                left -= unread
            wanted = self.args.per_round - len(kept)
            if len(left) < wanted:
                logger.warning("%d images are left, fewer than the %d to ask for", len(left), wanted)
            if not left:
                return []
            found = self._choose(number, min(wanted, len(left)), labelled, exclude)
            with atomic_folder(folder) as temporary:
                write_selection(temporary, found, self.plan.datalist, already_labelled=sorted(labelled))
        return read_ids(folder / "selection.csv")

    @property
    def _refused(self) -> set[str]:
        """Ids that the expert has put on the list of excluded ones so far."""
        return known_ids(self.args.exclude, self.plan.datalist) if self.args.exclude else set()

    def without_refused(self, datalist: Datalist) -> Datalist:
        """The datalist without the images that the expert refuses to label: no model learns from them either."""
        return datalist.without(self._refused.difference(datalist.ids("training")))

    def replace_excluded(self, one: Round) -> Round:
        """Ask for others in place of images that the expert has meanwhile put on the list of excluded ones."""
        refused = self._refused
        kept = [identifier for identifier in one.queried if identifier not in refused]
        others: list[str] = []
        if len(kept) < len(one.queried):
            fate = "replaced" if one.number else "left out"  # round 0 has no strategy to ask
            logger.warning("round %d: %d excluded images are %s", one.number, len(one.queried) - len(kept), fate)
            times = len(list(self.plan.folder(one.number).glob("query*")))
            others = self.query(one.number, kept, f"query_{times + 1}") if one.number else []
        elif not refused.intersection(one.pseudo):
            return one
        # Pseudo labels are chosen anew: of what the expert is asked for, or refuses, there must be none.
        pseudo = self.plan.folder(one.number) / "pseudo"
        if pseudo.exists():
            retire_folder(pseudo)
        queried = (*kept, *others)
        return self.plan.state.keep(dataclasses.replace(one, queried=queried, pseudo=(), pseudo_dice=None))

    def _choose(self, number: int, budget: int, labelled: set[str], exclude: set[str]) -> Selection:
        from bundle.run.seeds import derive_seed
        from bundle.selection import select
        from bundle.selection.query import query

        common: dict[str, Any] = {"labelled": labelled, "exclude": exclude}
        if self.plan.criterion is None:  # the seed stays the same: so random rounds go on where the last one ended
            embeddings = self.plan.embeddings()
            return select(
                embeddings,
                strategy=self.args.strategy,
                budget=budget,
                seed=self.args.seed,
                **common,
                **self.plan.options,
            )
        found = query(
            self._uncertainties(number),
            budget,
            diversity=self.args.diversity,
            embeddings=self.plan.embeddings() if self.args.diversity == "coverage" else None,
            progress=(number - 1) / max(1, self.args.rounds - 1),
            seed=derive_seed(self.args.seed, "round", number),
            **common,
            **self.plan.spread,
        )
        name = self.args.strategy if self.args.diversity == "none" else f"{self.args.strategy}, {self.args.diversity}"
        return dataclasses.replace(found, strategy=name)

    def _known(self, number: int) -> set[str]:
        """Ids that the choice can be made by: images that could be read."""
        return set(self.plan.embeddings().ids if self.plan.criterion is None else self._uncertainties(number))

    def _uncertainties(self, number: int) -> Uncertainties:
        """What the model of the round before thinks of the pool, by the criterion."""
        assert self.plan.criterion is not None
        before = self.plan.folder(number - 1)
        models = [before / "train" / "model.pt"]
        models += [before / "members" / str(member) / "model.pt" for member in range(1, self.plan.members)]
        return self.plan.scored(
            self.plan.folder(number) / "uncertainty",
            models,
            criterion=self.plan.criterion.name,
            option=self.args.option,
            passes=self.args.passes,
        )

    def labelled(self, number: int, ids: Sequence[str]) -> Datalist:
        """The datalist with the labels that the oracle has given so far."""
        if self.args.oracle == "simulated":
            return self.plan.datalist
        from bundle.rounds.oracle import take_masks
        from bundle.run.quarantine import Quarantine

        aside = Quarantine(self.plan.masks)
        found = take_masks(
            self.plan.datalist,
            ids,
            self.plan.masks,
            drawn=self.plan.folder(number) / "labels",
            pseudonyms=self._pseudonyms(),
            copies=self.copies.names(number),
            rule=self.args.annotators,
            label_names=self.plan.label_names,
            quarantine=aside,
        )
        aside.write(self.plan.folder(number))
        return found

    def _asked(self, number: int) -> set[str]:
        """Ids that a round has asked for, those among them that the expert refused as well."""
        if number == 0:
            return set(self.plan.initial)
        tables = self.plan.folder(number).glob("query*/selection.csv")
        return {identifier for table in tables for identifier in read_ids(table)}

    def _pseudonyms(self) -> Pseudonyms:
        """Those of the datalist, whose secret lies beside it; without one its ids are the identifiers themselves."""
        from bundle.data.identity import KEY_FILE, Pseudonyms

        place = Path(self.args.datalist).absolute().parent
        keys = [folder / KEY_FILE for folder in (place, place.parent)]  # a selection lies one folder below
        key_file = next((key for key in keys if key.is_file()), keys[0])
        return Pseudonyms(key_file, keep=not key_file.is_file())

    def ask(self, one: Round, labelled: Datalist, missing: list[str], *, of: int) -> Path:
        """Say which labels are to come, and return the list of them."""
        from bundle.rounds.oracle import write_to_annotate

        if self.args.oracle == "simulated":
            raise ValueError(
                f"the simulated oracle needs masks; {len(missing)} of {of} images have none, the first is "
                f"{missing[0]!r}: list the images with --masks, or use --oracle folder"
            )
        number = one.number
        listed = write_to_annotate(self.plan.folder(number), labelled, missing)
        self.copies.add(number, missing, labelled, queried=one.queried, earlier=self._asked(number))
        print(f"round {number}: {of - len(missing)} of {of} labels are there, to come:")
        print("\n".join(f"  {identifier}" for identifier in missing[:NAMED]))
        if len(missing) > NAMED:
            print(f"  and {len(missing) - NAMED} more, all in {listed}")
        return listed
