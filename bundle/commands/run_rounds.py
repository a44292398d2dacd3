"""``run_rounds``: ask the expert where the model is unsure, train, and again."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import functools
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle.commands.chain import run_stage
from bundle.commands.options import CatalogueName, parse_options
from bundle.commands.select_samples import excluded_ids, image_paths, known_ids, write_copies, write_selection
from bundle.run.atomic import atomic_folder

if TYPE_CHECKING:
    from bundle.data.datalist import Datalist
    from bundle.data.identity import Pseudonyms
    from bundle.embedding import Embeddings
    from bundle.rounds.state import Round, RoundsState
    from bundle.selection import Selection
    from bundle.selection.uncertainty import Uncertainties

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Rounds after the cold start. Round 0 trains on the labels there are; every further round asks the expert for the images
that the last model is least sure of, and trains anew with them.

  with an expert, ten images a round: it writes to_annotate.csv and ends; with the masks there, the same command goes on
    coldstart run_rounds --datalist run/datalist.json --initial-selection run/selection --oracle folder \\
        --masks masks --ssl-weights run/pretrain/model_ssl_pretrained.pt --rounds 5 --per-round 10 --out run/rounds

  on a set whose masks are all known, to see what rounds give:
    coldstart run_rounds --datalist run/datalist.json --initial-selection run/selection --oracle simulated \\
        --ssl-weights run/pretrain/model_ssl_pretrained.pt --rounds 5 --per-round 20 --out run/rounds_simulated

  by dropout instead of the heads' disagreement, spread over the pool, with pseudo labels from round 2 on:
    coldstart run_rounds --datalist run/datalist.json --initial-selection run/selection --strategy bald \\
        --diversity coverage --weak-from 2 --rounds 5 --per-round 20 --out run/rounds_bald

  what there is to choose by: criteria of uncertainty, and strategies, which look at no model:
    coldstart run_rounds --strategy help

OUT gets rounds/0, rounds/1 and so on with everything a round did, rounds.json (where the loop stands), rounds.csv (a
row a round) and report.html. Killed at any moment, the same command goes on and ends at the same result.
"""

STAGE = "run_rounds"
NAMED = 20  # images that a line each is printed for
# What may change from call to call, such as where the masks are; the rest is the request.
_FREE = ("out", "overwrite", "masks", "exclude", "copy_to", "link", "rounds")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--datalist", type=Path, required=True, metavar="FILE", help="from make_datalist")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the rounds")
    parser.add_argument(
        "--initial-selection",
        type=Path,
        metavar="DIR",
        help="folder of select_samples: what round 0 learns from (default: the datalist's training section)",
    )
    parser.add_argument(
        "--strategy",
        default="dsal",
        metavar="NAME",
        action=CatalogueName,
        shows=("criterion", "strategy"),
        help="criterion of uncertainty, or strategy; default dsal; 'help' lists all, 'help:NAME' tells all about one",
    )
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="of the strategy; may be given again"
    )
    parser.add_argument("--passes", type=int, metavar="N", help="passes with dropout, or views (default: its own)")
    parser.add_argument("--members", type=int, default=3, metavar="M", help="models of an ensemble (default 3)")
    parser.add_argument(
        "--diversity",
        choices=("none", "coverage", "noise"),
        default="none",
        help="of the uncertain images take the most uncertain, those that cover, or with fading noise (default none)",
    )
    parser.add_argument(
        "--diversity-option", action="append", default=[], metavar="KEY=VALUE", help="such as shortlist=10"
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="R", help="rounds after round 0 (default 5)")
    parser.add_argument("--per-round", type=int, default=20, metavar="B", help="images asked for a round (default 20)")
    parser.add_argument(
        "--oracle",
        choices=("folder", "simulated"),
        default="folder",
        help="who labels: an expert who writes masks to a folder (default), or the masks of the datalist",
    )
    parser.add_argument(
        "--masks", type=Path, metavar="DIR", help="the expert's masks, or file of annotations (default the datalist's)"
    )
    parser.add_argument("--exclude", type=Path, metavar="FILE", help="ids never to ask for: one a line, or CSV with id")
    parser.add_argument("--copy-to", type=Path, metavar="DIR", help="also copy what to annotate to DIR/round_N")
    parser.add_argument("--link", action="store_true", help="with --copy-to: symbolic links instead of copies")
    parser.add_argument("--weak-from", type=int, metavar="N", help="first round with pseudo labels (default none)")
    parser.add_argument("--weak-per-round", type=int, default=20, metavar="P", help="more every round (default 20)")
    parser.add_argument("--weak-weight", type=float, default=0.5, metavar="W", help="of each in the loss (default 0.5)")
    parser.add_argument("--weak-agreement", type=float, default=0.9, metavar="A", help="least Dice of the heads (0.9)")
    parser.add_argument("--ssl-weights", type=Path, metavar="FILE", help="default: those shipped for the modality")
    parser.add_argument("--warm-start", choices=("all", "encoder", "none"), help="what to copy (default all)")
    parser.add_argument(
        "--restart",
        choices=("ssl", "last"),
        default="ssl",
        help="what a round starts from: self-supervised weights (default), or the last round's model",
    )
    parser.add_argument("--embeddings", type=Path, metavar="DIR", help="from embed (default: made when needed)")
    parser.add_argument("--steps", type=int, help="optimiser steps a round, a multiple of 40 (default 800)")
    parser.add_argument("--seed", type=int, default=0, help="seed of every random choice (default 0)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any knob of train.yaml")
    parser.add_argument("--overwrite", action="store_true", help="replace what another run left in OUT")


def run(args: argparse.Namespace) -> int:
    """Go on as far as the labels reach; print the path of the report, or of what to annotate."""
    from bundle.run.workflow import claim_folder

    request = {name: value for name, value in vars(args).items() if name not in _FREE}
    loop = _Loop(args)  # what cannot be met is found before anything is claimed
    claim_folder(args.out, {"stage": STAGE, **request}, overwrite=args.overwrite)
    waiting = loop.run()
    if waiting is not None:
        print(f"the same command goes on when the masks are in {loop.masks}")
        print(waiting)
        return 0
    print("\n".join(loop.table()))
    print(loop.out / "report.html")
    return 0


class _Loop:
    """The rounds of one request, each step done where its output is not there."""

    def __init__(self, args: argparse.Namespace) -> None:
        from bundle.data.datalist import load_datalist
        from bundle.embedding import Embeddings
        from bundle.run.workflow import shipped_weights
        from bundle.selection import available_criteria, find_criterion, find_strategy
        from bundle.selection.query import resolve_diversity
        from bundle.selection.strategy import require_number

        self.args, self.out = args, Path(args.out).absolute()
        for name, least in (("rounds", 0), ("per_round", 1), ("weak_per_round", 1), ("members", 2)):
            if getattr(args, name) < least:
                raise ValueError(f"--{name.replace('_', '-')} must be at least {least}, got {getattr(args, name)}")
        if args.weak_from is not None and args.weak_from < 1:
            raise ValueError(f"--weak-from must be at least 1, since round 0 has no model to ask, got {args.weak_from}")
        if args.link and args.copy_to is None:
            raise ValueError("--link needs --copy-to: it says that the images there are links")
        self.criterion = find_criterion(args.strategy) if args.strategy in available_criteria() else None
        self.options = parse_options(args.option)
        (self.criterion or find_strategy(args.strategy)).resolve(self.options)
        if self.criterion is not None:
            self.criterion.passes(args.passes)
        require_number("weak_weight", args.weak_weight, most=1, above=True)
        require_number("weak_agreement", args.weak_agreement, most=1)
        if args.embeddings is not None:
            Embeddings.load(args.embeddings)
        self.spread = resolve_diversity(args.diversity, parse_options(args.diversity_option))
        self.datalist = load_datalist(args.datalist)
        self.masks = Path(args.masks or self.datalist.label_root or "masks")
        if args.oracle == "folder" and not self.masks.exists():
            raise ValueError(f"--masks must be the folder, or the file, that the expert writes to, got {self.masks}")
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

    def run(self) -> Path | None:
        """Do what can be done. Returns what to annotate, or None when all rounds are done."""
        for number in range(self.args.rounds + 1):
            one = self.state.round(number)
            if one.finished:
                continue
            waiting = self._do(one)
            self._tell(None if waiting is None else number)
            if waiting is not None or not self.state.round(number).finished:
                return waiting
        self._tell(None)  # a kill may have come between the end of a round and its report
        return None

    def table(self) -> list[str]:
        """A line for each round."""
        return [
            f"round {row['round']}: {row['labels']} labels"
            + (f" + {row['pseudo_labels']} pseudo labels" if row["pseudo_labels"] else "")
            + (f", Dice {row['dice']:.4f} on {row['n']} {row['section']} images" if row["dice"] is not None else "")
            for row in self.state.rows()
        ]

    def _do(self, one: Round) -> Path | None:
        """All steps of a round, in their order. Returns what to annotate first, or None where it went to its end."""
        from bundle.rounds.oracle import without_label

        if not one.queried:
            queried = self.initial if one.number == 0 else self._query(one.number)
            if not queried:
                logger.warning("no image is left to ask for, so the rounds end before round %d", one.number)
                return None
            one = self.state.keep(dataclasses.replace(one, queried=tuple(queried)))
        one = self._replace_excluded(one)
        ids = [*self.state.labelled(one.number), *one.queried]
        labelled = self._labelled(one.number, ids)
        missing = without_label(labelled, ids)
        if missing:
            return self._ask(one.number, labelled, missing, of=len(ids))
        learned = labelled.with_training(ids)
        folder = self._folder(one.number)
        learned.save(folder / "datalist.json")
        if not one.pseudo and self._pseudo_quota(one.number):
            one = self.state.keep(self._with_pseudo_labels(one, learned))
        self._train(one, folder)
        self.state.keep(dataclasses.replace(one, scores=self._evaluate(folder), finished=True))
        return None

    # The strong labeller

    def _query(self, number: int, kept: Sequence[str] = (), name: str = "query") -> list[str]:
        """Ids to ask for in a round beside those ``kept``, the most urgent first; fewer where the pool ends.

        The folder ``name`` of the round keeps them; what is there already is what was asked for.
        """
        folder = self._folder(number) / name
        if not folder.is_dir():
            labelled = {*self.state.labelled(number), *kept}
            exclude = excluded_ids(self.datalist, self.args.exclude)
            if self.args.oracle == "simulated":
                exclude |= {e["id"] for e in self.datalist.sections["pool"] if "label" not in e}
            left = set(self.datalist.ids("pool")) - labelled - exclude
            wanted = self.args.per_round - len(kept)
            if len(left) < wanted:
                logger.warning("%d images are left, fewer than the %d to ask for", len(left), wanted)
            if not left:
                return []
            found = self._choose(number, min(wanted, len(left)), labelled, exclude)
            with atomic_folder(folder) as temporary:
                write_selection(temporary, found, self.datalist, already_labelled=sorted(labelled))
        with (folder / "selection.csv").open(newline="", encoding="utf-8") as handle:
            return [row["id"] for row in csv.DictReader(handle)]

    def _replace_excluded(self, one: Round) -> Round:
        """Ask for others in place of images that the expert has meanwhile put on the list of excluded ones."""
        refused = set(known_ids(self.args.exclude, self.datalist)) if self.args.exclude else set()
        kept = [identifier for identifier in one.queried if identifier not in refused]
        if len(kept) == len(one.queried):
            return one
        logger.warning("round %d: %d excluded images are replaced", one.number, len(one.queried) - len(kept))
        times = len(list(self._folder(one.number).glob("query*")))
        others = self._query(one.number, kept, f"query_{times + 1}") if one.number else []
        return self.state.keep(dataclasses.replace(one, queried=(*kept, *others)))

    def _choose(self, number: int, budget: int, labelled: set[str], exclude: set[str]) -> Selection:
        from bundle.run.seeds import derive_seed
        from bundle.selection import select
        from bundle.selection.query import query

        common: dict[str, Any] = {"labelled": labelled, "exclude": exclude}
        if self.criterion is None:  # the seed stays the same: so random rounds go on where the last one ended
            embeddings = self._embeddings()
            return select(
                embeddings, strategy=self.args.strategy, budget=budget, seed=self.args.seed, **common, **self.options
            )
        found = query(
            self._uncertainties(number),
            budget,
            diversity=self.args.diversity,
            embeddings=self._embeddings() if self.args.diversity == "coverage" else None,
            progress=(number - 1) / max(1, self.args.rounds - 1),
            seed=derive_seed(self.args.seed, "round", number),
            **common,
            **self.spread,
        )
        name = self.args.strategy if self.args.diversity == "none" else f"{self.args.strategy}, {self.args.diversity}"
        return dataclasses.replace(found, strategy=name)

    def _uncertainties(self, number: int) -> Uncertainties:
        """What the model of the round before thinks of the pool, by the criterion."""
        assert self.criterion is not None
        before = self._folder(number - 1)
        models = [before / "train" / "model.pt"]
        if self.criterion.opinions == "ensemble":
            models += [before / "members" / str(member) / "model.pt" for member in range(1, self.args.members)]
        return self._scored(
            self._folder(number) / "uncertainty",
            models,
            criterion=self.criterion.name,
            option=self.args.option,
            passes=self.args.passes,
        )

    def _scored(self, folder: Path, models: list[Path], **options: Any) -> Uncertainties:
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

    def _embeddings(self) -> Embeddings:
        from bundle.embedding import Embeddings

        folder = self.args.embeddings
        if folder is None:
            folder = self.out / "embeddings"
            run_stage("embed", done=folder, out=folder, datalist=self.args.datalist, weights=self._needed_ssl_weights())
        pool = set(self.datalist.ids("pool"))
        found = Embeddings.load(folder)
        return found.subset(sorted(pool & set(found.ids)))

    def _labelled(self, number: int, ids: Sequence[str]) -> Datalist:
        """The datalist with the labels that the oracle has given so far."""
        if self.args.oracle == "simulated":
            return self.datalist
        from bundle.rounds.oracle import take_masks
        from bundle.run.quarantine import Quarantine

        aside = Quarantine(self.masks)
        found = take_masks(
            self.datalist,
            ids,
            self.masks,
            drawn=self._folder(number) / "labels",
            pseudonyms=self._pseudonyms(),
            copies=self._copies(number),
            quarantine=aside,
        )
        aside.write(self._folder(number))
        return found

    def _pseudonyms(self) -> Pseudonyms:
        """Those of the datalist, whose secret lies beside it; without one its ids are the identifiers themselves."""
        from bundle.data.identity import KEY_FILE, Pseudonyms

        key_file = Path(self.args.datalist).parent / KEY_FILE
        return Pseudonyms(key_file, keep=not key_file.is_file())

    def _copies(self, number: int) -> dict[str, str]:
        """What the copies of all rounds so far are called, to the images' ids."""
        from bundle.data.annotations.matching import names_of_copies
        from bundle.data.handover import TABLE

        tables = [self.args.copy_to / f"round_{n}" / TABLE for n in range(number + 1)] if self.args.copy_to else []
        return {name: image for table in tables if table.is_file() for name, image in names_of_copies(table).items()}

    def _ask(self, number: int, labelled: Datalist, missing: list[str], *, of: int) -> Path:
        """Say which labels are to come, and return the list of them."""
        from bundle.rounds.oracle import write_to_annotate

        if self.args.oracle == "simulated":
            raise ValueError(
                f"the simulated oracle needs masks; {len(missing)} of {of} images have none, the first is "
                f"{missing[0]!r}: list the images with --masks, or use --oracle folder"
            )
        listed = write_to_annotate(self._folder(number), labelled, missing)
        copies = self.args.copy_to and self.args.copy_to / f"round_{number}"
        if copies and not copies.exists():  # made once: what was annotated there meanwhile stays
            about = {"strategy": self.args.strategy, "seed": self.args.seed}
            with atomic_folder(copies) as folder:
                write_copies(missing, labelled, folder, link=self.args.link, **about)
        print(f"round {number}: {of - len(missing)} of {of} labels are there, to come:")
        print("\n".join(f"  {identifier}" for identifier in missing[:NAMED]))
        if len(missing) > NAMED:
            print(f"  and {len(missing) - NAMED} more, all in {listed}")
        return listed

    # The weak labeller

    def _pseudo_quota(self, number: int) -> int:
        from bundle.selection.weak_labeller import quota

        if self.args.weak_from is None:
            return 0
        return quota(number, first=self.args.weak_from, per_round=self.args.weak_per_round)

    def _with_pseudo_labels(self, one: Round, labelled: Datalist) -> Round:
        """Choose what the last model is sure of, and let it draw the masks."""
        from bundle.segmentation.pseudo_labels import (
            FILE_NAME,
            draw_pseudo_labels,
            pseudo_labelled,
            score_pseudo_labels,
        )
        from bundle.selection.weak_labeller import weak_labels

        before = self._folder(one.number - 1) / "train" / "model.pt"
        own = self.criterion is not None and self.criterion.name == "dsal" and not self.options
        folder = self._folder(one.number)
        sure = self._scored(folder / ("uncertainty" if own else "agreement"), [before], criterion="dsal")
        # What the expert refuses is no image to learn from either.
        exclude = {*labelled.ids("training"), *excluded_ids(self.datalist, self.args.exclude)}
        count = self._pseudo_quota(one.number)
        ids = weak_labels(sure, count, exclude=exclude, least_agreement=self.args.weak_agreement)
        logger.info("round %d: %d pseudo labels of at most %d", one.number, len(ids), count)
        if not ids:
            return one
        entries = {entry["id"]: entry for entry in self.datalist.section("pool")}
        table = folder / "pseudo" / FILE_NAME
        if not table.is_file():
            draw_pseudo_labels([entries[name] for name in ids], sure, before, self.datalist.modality_name, table.parent)
        known = {name: entries[name]["label"] for name in ids if "label" in entries[name]}
        ids = pseudo_labelled(table)
        dice = score_pseudo_labels(table, known, self.datalist.modality) if self.args.oracle == "simulated" else None
        return dataclasses.replace(one, pseudo=tuple(ids), pseudo_dice=dice)

    # The model

    def _train(self, one: Round, folder: Path) -> None:
        """The round's model, and for an ensemble its further members."""
        from bundle.run.seeds import derive_seed
        from bundle.segmentation.pseudo_labels import FILE_NAME

        options: dict[str, Any] = {
            "datalist": folder / "datalist.json",
            "warm_start": self.args.warm_start,
            "ssl_weights": None if self.args.warm_start == "none" else self.ssl_weights,
            "steps": self.args.steps,
            "set": list(self.args.set),
        }
        if one.pseudo:
            options["pseudo_labels"] = folder / "pseudo" / FILE_NAME
            options["set"].append(f"pseudo_weight={self.args.weak_weight}")
        members = self.args.members if self.criterion is not None and self.criterion.opinions == "ensemble" else 1
        for member in range(members):
            own = "train" if member == 0 else f"members/{member}"
            seed = self.args.seed if member == 0 else derive_seed(self.args.seed, "member", member)
            if self.args.restart == "last" and one.number > 0:
                before = self._folder(one.number - 1) / own / "model.pt"
                options |= {"warm_start": "all", "ssl_weights": before}
            out = folder / own
            run_stage("train", done=out / "run.json", out=out, seed=seed, **options)

    def _evaluate(self, folder: Path) -> dict[str, Any]:
        """The scores of the round's model on the test, or else on the validation; nothing is chosen by them."""
        if self.scored_section is None:
            return {}
        out = folder / "evaluation"
        run_stage(
            "evaluate",
            done=out / "run.json",
            out=out,
            datalist=self.args.datalist,
            model=folder / "train" / "model.pt",
            section=self.scored_section,
            seed=self.args.seed,
        )
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        dice = summary["dice"]
        return {
            "section": self.scored_section,
            "n": summary["n"],
            "dice": dice["mean"],
            "dice_low": dice["low"],
            "dice_high": dice["high"],
        }

    def _tell(self, waiting: int | None) -> None:
        """Write the table, and the report where a round is finished."""
        from bundle.report.pages import write_rounds_report

        self.state.write_table()
        if not self.state.rows():
            return
        write_rounds_report(
            self.out / "report.html",
            rounds=self.state.rows(),
            waiting=waiting,
            folder=self.out / "rounds",
            strategy=self.args.strategy,
            image_paths={name: Path(path) for name, path in image_paths(self.datalist).items()},
            modality=self.datalist.modality,
        )

    def _needed_ssl_weights(self) -> Path:
        if self.ssl_weights is None:
            raise ValueError("the pool has to be embedded, and no weights are shipped for it: give --ssl-weights")
        return Path(self.ssl_weights)

    def _folder(self, number: int) -> Path:
        return self.out / "rounds" / str(number)
