"""``measure_trust``: how well confidence ranks errors, and how well images of another kind are told."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """\
Measure what the signs of trust of `infer` are worth on labelled test images: the rank correlation of confidence with
the Dice, what is gained by leaving doubtful masks to a person, and how many images of another modality, or damaged on
purpose, lie out of the domain.

  coldstart measure_trust --datalist run/datalist.json --model run/train/model.pt --others chest_xrays --out run/trust

OUT gets trust.csv, a row an image and kind, and summary.json.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--datalist", required=True, help="datalist.json of make_datalist")
    parser.add_argument("--model", required=True, type=Path, help="fine-tuned weights with a reference")
    parser.add_argument("--out", required=True, type=Path, help="folder for the figures")
    parser.add_argument("--others", type=Path, help="folder of PNG or JPEG images of another modality")
    parser.add_argument("--section", default="test", help="section of the datalist to score (default test)")
    parser.add_argument("--count", type=int, default=150, help="images to damage, and of the others (default 150)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws and the noise (default 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def run(args: argparse.Namespace) -> int:
    """Measure, write and print the path of the summary."""
    from bundle.benchmark.trust import CLEAN, OTHER, measure, summarise
    from bundle.data.datalist import entries_from, load_datalist
    from bundle.data.pictures import SUFFIXES
    from bundle.data.tree import walk
    from bundle.run.atomic import atomic_folder, write_json
    from bundle.run.record import RunRecord, file_fingerprint
    from bundle.run.seeds import numpy_stream
    from bundle.run.table import write_csv
    from bundle.segmentation.trust import COLUMNS

    datalist = load_datalist(args.datalist)
    entries = entries_from(datalist, args.section, labelled=True, needed=True)
    others = sorted(path for path in walk(args.others) if path.suffix.lower() in SUFFIXES) if args.others else []
    drawn = numpy_stream(args.seed, OTHER).permutation(len(others))[: args.count]
    fingerprints = {"datalist": datalist.fingerprint(), "model": file_fingerprint(args.model)}
    record = RunRecord("measure_trust", vars(args), seed=args.seed, fingerprints=fingerprints)
    with atomic_folder(args.out, overwrite=args.overwrite, stage="measure_trust") as folder:
        rows = measure(
            entries,
            [others[i] for i in sorted(drawn)],
            modality=datalist.modality,
            model=args.model,
            damaged=args.count,
            seed=args.seed,
        )
        summary = summarise(rows, seed=args.seed)
        shown = [{**row, "quality": "; ".join(row["quality"])} for row in rows]
        write_csv(folder / "trust.csv", shown, ["id", "kind", "dice", *COLUMNS])
        write_json(folder / "summary.json", summary)
        record.note("ranking", summary["ranking"])
        record.write(folder)
    for name, figures in summary["ranking"].items():
        print(f"{name:<14} Spearman with Dice {figures['rho']} ({figures['low']} to {figures['high']})")
    for kind, figures in summary["kinds"].items():
        auroc = "" if kind == CLEAN else f", AUROC {figures['auroc']}"
        print(f"{kind:<22} {figures['far']:.1%} of {figures['n']} out of domain{auroc}")
    print(args.out / "summary.json")
    return 0
