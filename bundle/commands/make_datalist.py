"""``make_datalist``: list a folder's images with ids, patients and splits."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bundle.commands.options import add_annotation_options, label_aliases

if TYPE_CHECKING:
    from bundle.data.datalist import Datalist

DESCRIPTION = """\
List a folder of images, with masks where there are some, and say what each is for.

Every image is decoded once. What cannot be used (broken files, copies, masks of the wrong size) is named in
quarantine.csv beside the datalist and left out. DICOM files are found by content; their ids and patients
are keyed hashes, the key is in identity.key beside the datalist (keep it private, and keep it).

examples:
  # a folder of photographs, nothing labelled yet
  coldstart make_datalist --images photos --modality dermoscopy --out run/datalist.json

  # images with masks, a fifth of the patients held back for the test; the patient is in the file name (P0012_3.png)
  coldstart make_datalist --images images --masks masks --modality dermoscopy \\
      --test-fraction 0.2 --group '(P[0-9]+)_' --out run/datalist.json

  # what CVAT exported; two people drew, in masks/anna and masks/ben
  coldstart make_datalist --images images --masks annotations.xml --label nevus=lesion --label ruler= \\
      --modality dermoscopy --out run/datalist.json
  coldstart make_datalist --images images --masks masks --annotators staple --modality dermoscopy \\
      --out run/datalist.json

  # a DICOM export, with a split that is already decided (columns id and split)
  coldstart make_datalist --images export --modality chest_xray --split-csv split.csv --out run/datalist.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument(
        "--images",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of the images, with subfolders and zip archives; or a zip archive, or a DICOMDIR",
    )
    parser.add_argument("--modality", required=True, help="dermoscopy, chest_xray, or the path of your own YAML file")
    parser.add_argument("--out", type=Path, required=True, metavar="JSON", help="the datalist to write")
    parser.add_argument(
        "--masks",
        type=Path,
        metavar="DIR",
        help="folder of the masks, named as the images (_mask and the like may follow), or a CVAT or COCO file",
    )
    add_annotation_options(parser)
    parser.add_argument(
        "--copies",
        type=Path,
        metavar="DIR",
        help="folder of select_samples --copy-to: the masks have the names of its copies",
    )
    split = parser.add_mutually_exclusive_group()
    split.add_argument(
        "--test-fraction", type=float, default=0.0, metavar="F", help="part of the images for the test (default: 0)"
    )
    split.add_argument(
        "--split-csv", type=Path, metavar="CSV", help="columns id and split: pool, training, validation, test"
    )
    parser.add_argument(
        "--validation-fraction",
        type=float,
        default=0.1,
        metavar="F",
        help="part of the labelled pool for validation (default: 0.1)",
    )
    parser.add_argument(
        "--group", metavar="REGEX", help="what in the path is the patient: first capture group, or the whole match"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws (default: 0)")
    parser.add_argument(
        "--keep-uids", action="store_true", help="DICOM identifiers as they are, instead of keyed hashes"
    )
    parser.add_argument(
        "--frames",
        choices=("first", "all"),
        default="first",
        help="of DICOM files with several frames (default: first; all makes each an image)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the datalist if it is there")


def run(args: argparse.Namespace) -> int:
    """Make and write the datalist, its quarantine and its run record; the last line is the datalist's path."""
    from bundle.data import dicom
    from bundle.data.datalist import make_datalist
    from bundle.data.identity import KEY_FILE
    from bundle.data.tree import UNPACKED
    from bundle.run.atomic import OutputExists
    from bundle.run.quarantine import Quarantine
    from bundle.run.record import RunRecord, file_fingerprint
    from bundle.run.temporary import clear_leftovers

    out: Path = args.out
    if out.suffix != ".json":
        raise ValueError(f"--out must name a .json file, got {out}")
    if out.exists() and not args.overwrite:
        raise OutputExists(out)
    for option in ("annotators", "label", "copies"):
        if getattr(args, option) and not args.masks:
            raise ValueError(f"--{option} says how masks are to be read, so it needs --masks")
    label_names = label_aliases(args.label)
    clear_leftovers(out.parent)
    tables = {"split_csv": file_fingerprint(args.split_csv)} if args.split_csv else {}
    record = RunRecord("make_datalist", settings=vars(args), seed=args.seed, fingerprints=tables)
    images = args.images.resolve()
    quarantine = Quarantine(images.parent if dicom.is_directory(images) else images)
    with record.timed("inventory"):
        try:
            datalist = make_datalist(
                args.images,
                modality=args.modality,
                key_file=out.parent / KEY_FILE,
                masks=args.masks,
                annotators=args.annotators,
                label_names=label_names,
                drawn=out.parent / f"{out.stem}_labels",
                copies=args.copies,
                test_fraction=args.test_fraction,
                split_csv=args.split_csv,
                validation_fraction=args.validation_fraction,
                group=args.group,
                seed=args.seed,
                keep_uids=args.keep_uids,
                frames=args.frames,
                unpacked=out.parent / UNPACKED,
                quarantine=quarantine,
            )
        except ValueError:
            if quarantine.rows:  # the reasons are what the person needs now
                quarantine.write(out.parent)
            raise
    quarantine.write(out.parent)
    record.content["fingerprints"]["datalist"] = datalist.fingerprint()
    record.note("sections", {name: len(entries) for name, entries in datalist.sections.items()})
    record.note("set_aside", len(quarantine))
    record.write(out.parent)
    datalist.save(out)  # last: a datalist that is there is done
    print("\n".join(_summary(datalist)))
    print(quarantine.summary())
    print(out)
    return 0


def _summary(datalist: Datalist) -> list[str]:
    """A line for each section: images, labelled ones, patients, and the part that a draw came to."""
    from bundle.data.split import group_of

    sections = datalist.sections
    everything = len(sections["pool"]) + len(sections["test"])
    labelled_pool = sum("label" in entry for entry in sections["pool"])
    whole = {"test": (everything, "all images"), "validation": (labelled_pool, "the labelled pool")}
    lines = []
    for name, entries in sections.items():
        if not entries and name != "pool":
            continue
        labelled = sum("label" in entry for entry in entries)
        groups = len({group_of(entry) for entry in entries})
        line = f"{name:<10} {len(entries):>7} images, {labelled} labelled, {groups} groups (patients)"
        if name in whole:
            total, of = whole[name]
            line += f", {len(entries) / total:.1%} of {of}"
        lines.append(line)
    return lines
