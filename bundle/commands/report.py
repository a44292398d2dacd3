"""``coldstart report``: one self-contained HTML page of a whole run."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """\
One HTML page of a whole run: data, pretraining, selection, training, scores, predictions.
The page needs no network and no other file, so it can be mailed; what the run lacks is left out, with a line that
says so. It shows images: treat it as you treat them.

  coldstart report --run runs/dermoscopy
  coldstart report --run runs/dermoscopy --out /tmp/dermoscopy.html --overwrite
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="folder that the stages wrote into")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page (default: report.html in the run's folder)")
    parser.add_argument("--overwrite", action="store_true", help="replace a page that is already there")


def run(args: argparse.Namespace) -> int:
    """Write the page and print its path."""
    from bundle.report.pages import FILE_NAME, write_run_report
    from bundle.run.atomic import OutputExists

    out = args.out if args.out is not None else args.run / FILE_NAME
    if out.exists() and not args.overwrite:
        raise OutputExists(out)
    print(write_run_report(args.run, out))
    return 0
