"""``wrap_radiographs``: grey pictures as CR DICOM objects, to try the DICOM path on public data."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """\
Wrap grey pictures into CR DICOM objects: 12 bits stored in 16, MONOCHROME1 and 2, with and without a window, some
of them compressed. Public chest X-ray sets come as PNG; so they can be used as a hospital's archive would deliver them.

  coldstart wrap_radiographs --images chest_xray/images --out chest_dicom

Every file keeps its place and its stem, so masks and a split.csv go on to fit. Patients are invented, one an image.
What cannot be wrapped, and a second picture of one place and stem, is named in OUT/quarantine.csv.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--images", required=True, help="folder of grey pictures, searched with its subfolders")
    parser.add_argument("--out", required=True, help="folder for the DICOM files")
    parser.add_argument("--seed", type=int, default=0, help="seed of windows, exposure and compression (default 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace what is in OUT")


def run(args: argparse.Namespace) -> int:
    """Write the DICOM files and print their folder."""
    from tqdm import tqdm

    from bundle.data.demo.computed_radiograph import write_computed_radiograph
    from bundle.data.identity import NOT_PLAIN, is_plain
    from bundle.data.pictures import SUFFIXES, UnreadableImage, read_grey_picture
    from bundle.data.tree import walk
    from bundle.run.atomic import atomic_folder
    from bundle.run.quarantine import Quarantine
    from bundle.run.record import RunRecord
    from bundle.run.seeds import numpy_stream

    root = Path(args.images)
    paths = sorted(path for path in walk(root) if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"no picture below {root}: --images takes a folder of {', '.join(SUFFIXES)} files")
    quarantine = Quarantine(root)
    wrapped: dict[str, str] = {}
    record = RunRecord("wrap_radiographs", {"images": args.images}, seed=args.seed)
    with atomic_folder(args.out, overwrite=args.overwrite, stage="wrap_radiographs") as folder:
        for path in tqdm(paths, desc="wrap", unit="image", disable=None):
            name = path.relative_to(root).with_suffix("").as_posix()
            if name in wrapped:
                quarantine.add(path, f"same name: {wrapped[name]} has become {name}.dcm already; rename one")
                continue
            if not is_plain(name):
                quarantine.add(path, NOT_PLAIN)
                continue
            try:
                picture = read_grey_picture(path)
            except UnreadableImage as error:
                quarantine.add(path, f"unreadable: {error.reason}")
                continue
            target = folder / f"{name}.dcm"
            target.parent.mkdir(parents=True, exist_ok=True)
            stream = numpy_stream(args.seed, "wrap", name)
            write_computed_radiograph(target, picture, stream, name=f"{args.seed}.{name}", patient=name)
            wrapped[name] = path.relative_to(root).as_posix()
        if not wrapped:
            raise ValueError(
                f"none of the {len(paths)} pictures below {root} can be wrapped, so there is no {args.out} "
                f"({quarantine.summary()}; the first is {quarantine.rows[0]['path']}: {quarantine.rows[0]['reason']}); "
                f"--images takes grey pictures that are whole"
            )
        if quarantine.rows:
            quarantine.write(folder, becomes=args.out)
        record.write(folder)
    print(args.out)
    return 0
