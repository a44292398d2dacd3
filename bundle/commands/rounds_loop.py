"""The loop of ``run_rounds``: every step of every round, done where its output is not there."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle.commands.chain import run_stage
from bundle.commands.rounds_plan import RoundsPlan
from bundle.commands.strong_labeller import StrongLabeller
from bundle.commands.weak_labeller import WeakLabeller

if TYPE_CHECKING:
    from bundle.data.datalist import Datalist
    from bundle.rounds.state import Round

logger = logging.getLogger(__name__)


class RoundsLoop:
    """The rounds of one request."""

    def __init__(self, plan: RoundsPlan) -> None:
        self.plan, self.args = plan, plan.args
        self.expert, self.weak = StrongLabeller(plan), WeakLabeller(plan)

    def run(self) -> Path | None:
        """Do what can be done. Returns what to annotate, or None when all rounds are done."""
        for number in range(self.args.rounds + 1):
            one = self.plan.state.round(number)
            if one.finished:
                continue
            waiting = self._do(one)
            self._tell(None if waiting is None else number)
            if waiting is not None or not self.plan.state.round(number).finished:
                return waiting
        self._tell(None)  # a kill may have come between the end of a round and its report
        return None

    def table(self) -> list[str]:
        """A line for each round."""
        return [
            f"round {row['round']}: {row['labels']} labels"
            + (f" + {row['pseudo_labels']} pseudo labels" if row["pseudo_labels"] else "")
            + (f", Dice {row['dice']:.4f} on {row['n']} {row['section']} images" if row["dice"] is not None else "")
            for row in self.plan.state.rows()
        ]

    def _do(self, one: Round) -> Path | None:
        """All steps of a round, in their order. Returns what to annotate first, or None where it went to its end."""
        from bundle.rounds.oracle import without_label

        if not one.queried:
            queried = self.plan.initial if one.number == 0 else self.expert.query(one.number)
            if not queried:
                logger.warning("no image is left to ask for, so the rounds end before round %d", one.number)
                return None
            one = self.plan.state.keep(dataclasses.replace(one, queried=tuple(queried)))
        one = self.expert.replace_excluded(one)
        ids = [*self.plan.state.labelled(one.number), *one.queried]
        labelled = self.expert.labelled(one.number, ids)
        missing = without_label(labelled, ids)
        if missing:
            return self.expert.ask(one, labelled, missing, of=len(ids))
        learned = self.expert.without_refused(labelled.with_training(ids))
        folder = self.plan.folder(one.number)
        learned.save(folder / "datalist.json")
        if not one.pseudo and self.weak.quota(one.number):
            one = self.plan.state.keep(self.weak.label(one, learned))
        self._train(one, folder, taught=self._is_taught(one, learned))
        self.plan.state.keep(dataclasses.replace(one, scores=self._evaluate(folder), finished=True))
        return None

    def _is_taught(self, one: Round, learned: Datalist) -> bool:
        """Whether the model of the round before teaches this one, for which an image without a label is needed."""
        if self.args.teach_from is None or one.number < self.args.teach_from:
            return False
        left = set(learned.candidates()).difference(learned.ids("training"))
        if not left:
            logger.warning("round %d: no image without a label is left to teach on, so labels alone do", one.number)
        return bool(left)

    def _train(self, one: Round, folder: Path, *, taught: bool) -> None:
        """The round's model, and for an ensemble its further members, each taught by its own model of before."""
        from bundle.run.seeds import derive_seed
        from bundle.segmentation.pseudo_labels import FILE_NAME

        options: dict[str, Any] = {
            "datalist": folder / "datalist.json",
            "warm_start": self.args.warm_start,
            "ssl_weights": None if self.args.warm_start == "none" else self.plan.ssl_weights,
            "steps": self.args.steps,
            "set": list(self.args.set),
        }
        if one.pseudo:
            options["pseudo_labels"] = folder / "pseudo" / FILE_NAME
            options["set"].append(f"pseudo_weight={self.args.weak_weight}")
        for member in range(self.plan.members):
            own = "train" if member == 0 else f"members/{member}"
            seed = self.args.seed if member == 0 else derive_seed(self.args.seed, "member", member)
            before = self.plan.folder(one.number - 1) / own / "model.pt"
            if self.args.restart == "last" and one.number > 0:
                options |= {"warm_start": "all", "ssl_weights": before}
            if taught:
                options["teacher"] = before
            out = folder / own
            run_stage("train", done=out / "run.json", out=out, seed=seed, **options)

    def _evaluate(self, folder: Path) -> dict[str, Any]:
        """The scores of the round's model on the test, or else on the validation; nothing is chosen by them."""
        if self.plan.scored_section is None:
            return {}
        out = folder / "evaluation"
        run_stage(
            "evaluate",
            done=out / "run.json",
            out=out,
            datalist=self.args.datalist,
            model=folder / "train" / "model.pt",
            section=self.plan.scored_section,
            seed=self.args.seed,
        )
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        dice = summary["dice"]
        return {
            "section": self.plan.scored_section,
            "n": summary["n"],
            "dice": dice["mean"],
            "dice_low": dice["low"],
            "dice_high": dice["high"],
        }

    def _tell(self, waiting: int | None) -> None:
        """Write the table, and the report where a round is finished."""
        from bundle.report.pages import write_rounds_report

        self.plan.state.write_table()
        if not self.plan.state.rows():
            return
        write_rounds_report(
            self.plan.out / "report.html",
            rounds=self.plan.state.rows(),
            waiting=waiting,
            folder=self.plan.out / "rounds",
            strategy=self.args.strategy,
            image_paths=self.plan.datalist.image_paths(),
            modality=self.plan.datalist.modality,
            asked={one.number: one.queried for one in self.plan.state.rounds},
        )
