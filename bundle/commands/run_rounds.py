"""``run_rounds``: ask the expert where the model is unsure, train, and again."""

from __future__ import annotations

import argparse
from pathlib import Path

from bundle.commands.options import CatalogueName, add_annotation_options

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

  by disagreement, every round taught by what the model before believes of all images without a label:
    coldstart run_rounds --datalist run/datalist.json --initial-selection run/selection --teach-from 1 \\
        --rounds 5 --per-round 20 --out run/rounds_taught

  what there is to choose by: criteria of uncertainty, and strategies, which look at no model:
    coldstart run_rounds --strategy help

OUT gets rounds/0, rounds/1 and so on with everything a round did, rounds.json (where the loop stands), rounds.csv (a
row a round) and report.html. Killed at any moment, the same command goes on and ends at the same result.
"""

STAGE = "run_rounds"
# What may change from call to call, such as where the masks are; the rest is the request.
_FREE = ("out", "overwrite", "masks", "annotators", "label", "exclude", "copy_to", "link", "rounds")


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
    add_annotation_options(parser)
    parser.add_argument("--exclude", type=Path, metavar="FILE", help="ids never to ask for: one a line, or CSV with id")
    parser.add_argument("--copy-to", type=Path, metavar="DIR", help="also copy what to annotate to DIR/round_N")
    parser.add_argument("--link", action="store_true", help="with --copy-to: symbolic links instead of copies")
    parser.add_argument("--weak-from", type=int, metavar="N", help="first round with pseudo labels (default none)")
    parser.add_argument("--weak-per-round", type=int, default=20, metavar="P", help="more every round (default 20)")
    parser.add_argument("--weak-weight", type=float, default=0.5, metavar="W", help="of each in the loss (default 0.5)")
    parser.add_argument("--weak-agreement", type=float, default=0.9, metavar="A", help="least Dice of the heads (0.9)")
    parser.add_argument("--teach-from", type=int, metavar="N", help="first round that the last model teaches (none)")
    parser.add_argument("--ssl-weights", type=Path, metavar="FILE", help="default: those shipped for the modality")
    parser.add_argument("--warm-start", choices=("all", "encoder", "none"), help="what to copy (default all)")
    parser.add_argument(
        "--restart",
        choices=("ssl", "last"),
        default="ssl",
        help="what a round starts from: self-supervised weights (default), or the last round's model",
    )
    parser.add_argument("--embeddings", type=Path, metavar="DIR", help="from embed (default: made when needed)")
    parser.add_argument("--steps", type=int, help="steps a round, a multiple of epoch_length, 40 (default 800)")
    parser.add_argument("--seed", type=int, default=0, help="seed of every random choice (default 0)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any knob of train.yaml")
    parser.add_argument("--overwrite", action="store_true", help="replace what another run left in OUT")


def run(args: argparse.Namespace) -> int:
    """Go on as far as the labels reach; print the path of the report, or of what to annotate."""
    from bundle.commands.rounds_loop import RoundsLoop
    from bundle.commands.rounds_plan import RoundsPlan
    from bundle.run.claim import claim_folder

    for name, value in vars(args).items():
        if isinstance(value, Path):
            setattr(args, name, value.absolute())  # the same place is the same request, however it is written
    request = {name: value for name, value in vars(args).items() if name not in _FREE}
    plan = RoundsPlan(args)  # what cannot be met is found before anything is claimed
    claim_folder(args.out, {"stage": STAGE, **request}, overwrite=args.overwrite)
    loop = RoundsLoop(plan)
    waiting = loop.run()
    if waiting is not None:
        print(f"the same command goes on when the masks are in {plan.masks}")
        print(waiting)
        return 0
    print("\n".join(loop.table()))
    print(plan.out / "report.html")
    return 0
