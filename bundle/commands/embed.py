"""``embed``: images to vectors, with the pretrained encoder."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from bundle.commands.options import absolute, add_workflow_options, settings

if TYPE_CHECKING:
    from bundle.data.datalist import Datalist

DESCRIPTION = """\
Turn every image of a section into the descriptor that selection works on.

  coldstart embed --datalist datalist.json --weights run/pretrain/model_ssl_pretrained.pt --out run/embeddings

OUT is a folder with vectors.npy (N, D) float32, ids.txt (one id a line, in the order of the rows) and provenance.json.
Images are clean, the network is in evaluation mode, and the order of the rows means nothing. An image that cannot be
read any more has no row; quarantine.csv names it, and the rest goes on.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--datalist", required=True, help="datalist.json of make_datalist")
    parser.add_argument("--weights", required=True, help="SSL weights, or any weights of this U-Net")
    parser.add_argument("--out", required=True, help="folder for the embeddings")
    parser.add_argument("--section", default="pool", help="section of the datalist to embed (default pool)")
    add_workflow_options(parser, seed=False)


def run(args: argparse.Namespace) -> int:
    """Run the workflow and print the folder of the embeddings."""
    from bundle.run.workflow import run_workflow

    overrides = settings(
        args,
        datalist=absolute(args.datalist),
        weights=absolute(args.weights),
        output_dir=absolute(args.out),
        section=args.section,
    )
    run_workflow("embed", overrides | {"overwrite": args.overwrite})
    print(args.out)
    return 0


def embed_section(
    datalist: Datalist, section: str, weights: str | os.PathLike[str], out: str | os.PathLike[str]
) -> Path:
    """Embed a section of a datalist in memory and return the folder ``out``, for verbs that need vectors on the way."""
    from bundle.run.workflow import run_workflow

    overrides = {
        "modality": datalist.modality_name,
        "datalist": datalist.section(section),
        "weights": absolute(Path(weights)),
        "output_dir": absolute(Path(out)),
        "section": section,
    }
    run_workflow("embed", overrides)
    return Path(out)
