"""``score_uncertainty``: how uncertain a fine-tuned model is of every image."""

from __future__ import annotations

import argparse
from pathlib import Path

from bundle.commands.options import CatalogueName, absolute, add_workflow_options, parse_options, settings

DESCRIPTION = """\
Score every image of a section by how uncertain a fine-tuned model is of it; the highest score is the most uncertain.

  coldstart score_uncertainty --datalist run/datalist.json --model run/train/model.pt --out run/uncertainty

  the criteria there are, and all about one of them:
    coldstart score_uncertainty --criterion help
    coldstart score_uncertainty --criterion help:dsal

  by dropout, with ten passes; and by three models that were trained with three seeds:
    coldstart score_uncertainty --datalist run/datalist.json --model run/train/model.pt --criterion bald \\
        --passes 10 --out run/uncertainty_bald
    coldstart score_uncertainty --datalist run/datalist.json --criterion ensemble --model run/train_0/model.pt \\
        --model run/train_1/model.pt --model run/train_2/model.pt --out run/uncertainty_ensemble

OUT gets scores.csv (id, score, foreground, confidence, unseen), sorted by id, and run.json. An image on which the model
finds nothing scores 1 or more, before all others. A score depends on the image, the model and the seed alone.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--datalist", required=True, help="datalist.json of make_datalist")
    parser.add_argument(
        "--model", action="append", required=True, help="fine-tuned weights; again for every model of an ensemble"
    )
    parser.add_argument("--out", required=True, help="folder for the scores")
    parser.add_argument("--section", default="pool", help="section of the datalist to score (default pool)")
    parser.add_argument(
        "--criterion",
        default="dsal",
        metavar="NAME",
        action=CatalogueName,
        shows=("criterion",),
        help="default dsal; 'help' lists all, 'help:NAME' tells all about one",
    )
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="of the criterion; may be given again"
    )
    parser.add_argument("--passes", type=int, metavar="N", help="passes with dropout, or views (default: its own)")
    add_workflow_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the workflow and print the path of the table."""
    from bundle.run.claim import claim_folder
    from bundle.run.settings import is_code
    from bundle.run.workflow import run_workflow
    from bundle.selection import find_criterion
    from bundle.selection.uncertainty import FILE_NAME

    options = find_criterion(args.criterion).resolve(parse_options(args.option))
    if is_code(options):
        raise ValueError(f"--option takes plain values; one of {', '.join(args.option)} would be run as code")
    models = [absolute(path) for path in args.model]
    overrides = settings(
        args,
        datalist=absolute(args.datalist),
        model=models if len(models) > 1 else models[0],
        output_dir=absolute(args.out),
        section=args.section,
        criterion=args.criterion,
        options=options,
        passes=args.passes,
    )
    folder = claim_folder(Path(args.out), {"stage": "score_uncertainty", **overrides}, overwrite=args.overwrite)
    run_workflow("uncertainty", overrides)
    print(folder / FILE_NAME)
    return 0
