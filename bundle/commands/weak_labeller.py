"""The weak labeller of ``run_rounds``: what the last model is sure of teaches the next one."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

from bundle.commands.rounds_plan import RoundsPlan
from bundle.data.id_lists import excluded_ids

if TYPE_CHECKING:
    from bundle.data.datalist import Datalist
    from bundle.rounds.state import Round

logger = logging.getLogger(__name__)


class WeakLabeller:
    """The model of the round before, where it is sure."""

    def __init__(self, plan: RoundsPlan) -> None:
        self.plan, self.args = plan, plan.args

    def quota(self, number: int) -> int:
        """The most pseudo labels that a round may have."""
        from bundle.selection.weak_labeller import quota

        if self.args.weak_from is None:
            return 0
        return quota(number, first=self.args.weak_from, per_round=self.args.weak_per_round)

    def label(self, one: Round, labelled: Datalist) -> Round:
        """Choose what the last model is sure of, and let it draw the masks."""
        from bundle.segmentation.pseudo_labels import (
            FILE_NAME,
            draw_pseudo_labels,
            pseudo_labelled,
            score_pseudo_labels,
        )
        from bundle.selection.weak_labeller import weak_labels

        before = self.plan.folder(one.number - 1) / "train" / "model.pt"
        own = self.plan.criterion is not None and self.plan.criterion.name == "dsal" and not self.plan.options
        folder = self.plan.folder(one.number)
        sure = self.plan.scored(folder / ("uncertainty" if own else "agreement"), [before], criterion="dsal")
        # What the expert refuses is no image to learn from either.
        exclude = {*labelled.ids("training"), *excluded_ids(self.plan.datalist, self.args.exclude)}
        count = self.quota(one.number)
        ids = weak_labels(sure, count, exclude=exclude, least_agreement=self.args.weak_agreement)
        logger.info("round %d: %d pseudo labels of at most %d", one.number, len(ids), count)
        if not ids:
            return one
        entries = {entry["id"]: entry for entry in self.plan.datalist.section("pool")}
        table = folder / "pseudo" / FILE_NAME
        if not table.is_file():
            chosen = [entries[name] for name in ids]
            draw_pseudo_labels(chosen, sure, before, self.plan.datalist.modality_name, table.parent)
        known = {name: entries[name]["label"] for name in ids if "label" in entries[name]}
        ids = pseudo_labelled(table)
        simulated = self.args.oracle == "simulated"
        dice = score_pseudo_labels(table, known, self.plan.datalist.modality) if simulated else None
        return dataclasses.replace(one, pseudo=tuple(ids), pseudo_dice=dice)
