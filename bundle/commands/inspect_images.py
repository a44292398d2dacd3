"""``inspect_images``: what a folder holds, before anything is made of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

    from bundle.data.inspection import Inspection
    from bundle.data.modality import Modality
    from bundle.data.tree import ImageTree

DESCRIPTION = """\
Look at every image of a folder, and say what is there and what a listing would set aside.

Counts by modality, body part, object, transfer syntax, size, bits and more; images that are there twice; files that say
they have text burned into their pixels; what cannot be used, and why. Nothing of the folder is changed, and no name,
number or date of a patient is told. File names are.

examples:
  coldstart inspect_images /archive/export
  coldstart inspect_images export.zip --modality chest_xray --out run/inspection
"""
MOST_TILES = 64  # of the contact sheet: eight rows, one screen
MOST_VALUES = 6  # of a kind, on the screen; all are in the file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("images", metavar="DIR", help="folder of the images; or a zip archive, or a DICOMDIR")
    parser.add_argument(
        "--out", type=Path, default=Path("inspection"), metavar="DIR", help="for the tables (default: inspection)"
    )
    parser.add_argument("--modality", help="what is wanted: dermoscopy, chest_xray, or a YAML file (default: any)")
    parser.add_argument(
        "--frames", choices=("first", "all"), default="first", help="of DICOM files with several (default: first)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier inspection in OUT")


def run(args: argparse.Namespace) -> int:
    """Inspect, write the tables and the contact sheet, and print what was found; the last line is the folder."""
    import shutil

    from bundle.data.inspection import ANY, COLUMNS, inspect_images
    from bundle.data.modality import load_modality
    from bundle.data.tree import UNPACKED, ImageTree
    from bundle.run.atomic import atomic_file, atomic_folder, write_json
    from bundle.run.quarantine import Quarantine
    from bundle.run.record import RunRecord
    from bundle.run.table import write_csv

    modality = load_modality(args.modality) if args.modality else ANY
    record = RunRecord("inspect_images", settings=vars(args))
    with atomic_folder(args.out, overwrite=args.overwrite, stage="inspect_images") as folder:
        tree = ImageTree(args.images, unpacked=folder / UNPACKED, leave_out=[args.out.resolve(), folder.resolve()])
        quarantine = Quarantine(tree.place)
        with record.timed("inspection"):
            found = inspect_images(tree, quarantine=quarantine, modality=modality, frames=args.frames)
        with atomic_file(folder / "contact_sheet.png") as temporary:
            _sheet(found, tree, modality).save(temporary)
        shutil.rmtree(folder / UNPACKED, ignore_errors=True)  # what archives hold is patients' data
        write_csv(folder / "files.csv", found.rows, COLUMNS)
        quarantine.write(folder, becomes=args.out)
        summary = {
            "files": len(found.rows),
            "usable_images": len(found.entries),
            "other_files": found.others,
            "patients": found.patients,
            "studies": found.studies,
            "set_aside": quarantine.counts(),
            "counts": found.counts(),
        }
        write_json(folder / "inspection.json", summary)
        record.note("summary", {name: value for name, value in summary.items() if name != "counts"})
        record.write(folder)
    print(f"{len(found.rows)} image files, {len(found.entries)} images usable, {found.others} other files")
    print(f"{found.patients} patients, {found.studies} studies in DICOM headers")
    for name, counts in summary["counts"].items():  # type: ignore[attr-defined]
        shown = [f"{count} × {value}" for value, count in list(counts.items())[:MOST_VALUES]]
        further = len(counts) - len(shown)
        print(f"{name.replace('_', ' '):<15} {', '.join(shown)}{f', and {further} more' if further else ''}")
    print(quarantine.summary())
    print(args.out)
    return 0


def _sheet(found: Inspection, tree: ImageTree, modality: Modality) -> Image:
    """Usable images, evenly spread over the table, numbered by its rows; none that says it has text in its pixels."""
    from bundle.data.reader import read_image
    from bundle.report.contact_sheet import contact_sheet, spread

    numbers = [number for number, row in enumerate(found.rows) if row["usable"] == "yes"]
    tiles = []
    for place in spread(len(numbers), MOST_TILES):
        row = found.rows[numbers[place]]
        hidden = row["burned_in"] == "YES"
        caption = f"{numbers[place] + 1} {'burned-in text' if hidden else row['modality'] or row['format']}"
        tiles.append((caption, None if hidden else read_image(tree.path_of(row["path"]), modality)))
    return contact_sheet(tiles)
