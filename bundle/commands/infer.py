"""``infer``: predict masks for a folder of images."""

from __future__ import annotations

import argparse
from pathlib import Path

from bundle.commands.options import absolute, add_workflow_options, settings

DESCRIPTION = """\
Predict a mask for every image below a folder.

  coldstart infer --images new_images --model run/train/model.pt --modality dermoscopy --out masks
  coldstart infer --images /archive/cr --modality chest_xray --model models/model_chest_xray.pt --dicom-seg --out masks

  # what the network is not sure of is left to a person: OUT/review.csv, the drafts in OUT/review
  coldstart infer --images new_images --modality dermoscopy --refuse-below 0.9 --out masks

OUT gets a PNG for every picture and a NIfTI for every DICOM file, of the input's own size and geometry and named by its
id; predictions.csv with the confidence and quality of every mask; and quarantine.csv with what could not be read and
why.
Research software: not a medical device.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--images", required=True, help="folder of images, with subfolders and zip archives; or a zip, or a DICOMDIR"
    )
    parser.add_argument("--model", help="fine-tuned weights (default: those shipped for the modality)")
    parser.add_argument("--out", required=True, help="folder for the masks")
    parser.add_argument("--identity-key", help="identity.key of the datalist, for the same DICOM ids as there")
    parser.add_argument(
        "--keep-uids", action="store_true", help="DICOM identifiers as they are, instead of keyed hashes"
    )
    parser.add_argument("--frames", choices=("first", "all"), help="of DICOM files with several (default: first)")
    parser.add_argument(
        "--dicom-seg",
        action="store_true",
        help="also write a DICOM Segmentation of every DICOM image; it names the patient, as its image does",
    )
    parser.add_argument(
        "--dicom-overlay",
        action="store_true",
        help="also write the outlines drawn on the image as a DICOM picture, for viewers that show no segmentation",
    )
    parser.add_argument(
        "--mirrored",
        action="store_true",
        help="average over the image's mirrorings: better masks where the modality allows any, in as many passes",
    )
    parser.add_argument(
        "--refuse-below",
        type=float,
        metavar="X",
        help="leave masks of a confidence below X (0 to 1), and images out of the domain, to a person in review.csv",
    )
    add_workflow_options(parser, seed=False, datalist=False)


def run(args: argparse.Namespace) -> int:
    """Run the workflow and print the path of the table."""
    from bundle.run.workflow import run_claimed
    from bundle.weights import shipped_weights

    model = args.model or (args.modality and shipped_weights("model", args.modality))
    if args.modality and not model:
        raise ValueError(f"no model is shipped for {Path(args.modality).stem}: give --model, from `coldstart train`")
    overrides = settings(
        args,
        dataset_dir=absolute(args.images),
        output_dir=absolute(args.out),
        model=absolute(model),
        identity_key=absolute(args.identity_key),
        keep_uids=True if args.keep_uids else None,
        frames=args.frames,
        dicom_seg=True if args.dicom_seg else None,
        dicom_overlay=True if args.dicom_overlay else None,
        mirrored=True if args.mirrored else None,
        refuse_below=args.refuse_below,
    )
    folder = run_claimed("infer", args.out, overrides, overwrite=args.overwrite)
    print(folder / "predictions.csv")
    return 0
