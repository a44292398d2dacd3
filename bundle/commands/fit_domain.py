"""``fit_domain``: teach a model what the images of a place look like."""

from __future__ import annotations

import argparse
from pathlib import Path

from bundle.commands.options import datalist_modality

DESCRIPTION = """\
Write a copy of fine-tuned weights that knows what the images of a datalist look like to its network.

`infer` then tells of every image how far it lies from these, and whether it is more blurred, darker or brighter.
`train` does the same with its own pool; this is for weights from elsewhere, or for another ward, scanner or camera. No
label is needed, and the masks stay as they are.

  coldstart fit_domain --model models/model.pt --datalist run/datalist.json --out run/model.pt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--model", required=True, type=Path, help="fine-tuned weights")
    parser.add_argument("--datalist", required=True, help="datalist.json of make_datalist")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="the weight file to write")
    parser.add_argument("--section", default="pool", help="section of the datalist to look at (default pool)")
    parser.add_argument("--half", action="store_true", help="write float16, half the size, for shipping")
    parser.add_argument("--seed", type=int, default=0, help="seed of the images that are drawn (default 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it is there")


def run(args: argparse.Namespace) -> int:
    """Fit, write and print the path of the weights."""
    from bundle.data.datalist import entries_from
    from bundle.data.modality import load_modality
    from bundle.run.atomic import OutputExists
    from bundle.segmentation.domain import FEWEST, TrainingDomain
    from bundle.segmentation.fine_tuned import load_fine_tuned
    from bundle.weights import load_weights, save_weights

    if args.out.is_dir():
        raise ValueError(
            f"--out must be the weight file to write, got the folder {args.out}; add a name such as model.pt"
        )
    if args.out.exists() and not args.overwrite:
        raise OutputExists(args.out)
    modality = load_modality(str(datalist_modality(args.datalist)))
    network = load_fine_tuned(args.model, modality)
    entries = entries_from(args.datalist, args.section, needed=True)
    reference = TrainingDomain(entries, modality=modality, seed=args.seed)(network)
    if not reference:
        raise ValueError(
            f"section {args.section} must have {FEWEST} images or more that can be read to be a domain; it lists "
            f"{len(entries)}, and the log above names those that cannot"
        )
    save_weights(args.out, network, load_weights(args.model).settings, reference=reference, half=args.half)
    print(args.out)
    return 0
