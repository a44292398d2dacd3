"""``evaluate``: score the model on held-out images."""

from __future__ import annotations

import argparse

from bundle.commands.options import absolute, add_workflow_options, settings

DESCRIPTION = """\
Score a model on the labelled images of a section, each at its own size.

  coldstart evaluate --datalist datalist.json --model run/train/model.pt --out run/train/evaluation

OUT gets per_image.csv (id, dice, jaccard, hd95), summary.json (mean, median, bootstrap intervals, n) and overlays/ with
the worst and the median cases; and groups.csv where the images fall into groups by site, device and view, as the
split's table tells them, by skin tone and by size. Where a label is in neither mask the Dice is 1, where it is in one
alone it is 0.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--datalist", required=True, help="datalist with labels in the section")
    parser.add_argument("--model", required=True, help="fine-tuned weights")
    parser.add_argument("--out", required=True, help="folder for the scores")
    parser.add_argument("--section", default="test", help="section to score (default test)")
    parser.add_argument(
        "--mirrored", action="store_true", help="average over the image's mirrorings, as `infer --mirrored` does"
    )
    add_workflow_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the workflow and print the path of the summary."""
    from bundle.run.workflow import run_claimed

    overrides = settings(
        args,
        datalist=absolute(args.datalist),
        model=absolute(args.model),
        evaluation_dir=absolute(args.out),
        section=args.section,
        mirrored=True if args.mirrored else None,
    )
    folder = run_claimed("evaluate", args.out, overrides, overwrite=args.overwrite)
    print(folder / "summary.json")
    return 0
