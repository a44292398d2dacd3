"""``make_demo``: draw a demo data set with true masks."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """\
Draw a data set with true masks, to try everything with nothing downloaded and no patient's picture.

dermoscopy gives JPEG photographs of skin lesions; chest_xray gives DICOM files (CR, 12 bits, both photometric
interpretations), of which a third of the patients have two. Masks are PNG of the same names. The same seed gives the
same pictures, and a larger count keeps the smaller one's.

examples:
  # 240 dermoscopy pictures, about ten seconds
  coldstart make_demo --out demo

  # 60 chest radiographs as DICOM, other ones than last time
  coldstart make_demo --out demo_chest --modality chest_xray --count 60 --seed 1 --overwrite
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to make, with images/ and masks/"
    )
    parser.add_argument(
        "--modality", default="dermoscopy", metavar="M", help="dermoscopy or chest_xray (default: dermoscopy)"
    )
    parser.add_argument("--count", type=int, default=240, metavar="N", help="number of pictures (default: 240)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the pictures (default: 0)")
    parser.add_argument(
        "--size", type=int, default=256, metavar="PX", help="scale; sides are 0.75 to 1.25 times it (default: 256)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the folder if make_demo made it before")


def run(args: argparse.Namespace) -> int:
    """Draw the data set; the last line is its folder."""
    from bundle.data.demo import make_demo

    folder = make_demo(
        args.out,
        modality=args.modality,
        count=args.count,
        seed=args.seed,
        size=args.size,
        overwrite=args.overwrite,
    )
    print(folder)
    return 0
