"""``benchmark_speed``: how fast each stage is beside the plain way, and how its cost grows."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import shutil
from pathlib import Path

from bundle.commands.options import require_least
from bundle.run.atomic import atomic_folder
from bundle.run.table import write_csv

DESCRIPTION = """\
Time every stage beside the plain way of doing it, in one process and on drawn images, and tell how the cost of the
stages grows with the number of images, each run in a process of its own.

  every stage beside its baseline; about 15 minutes on two quiet cores:
    coldstart benchmark_speed --out runs/benchmark_speed

  the training step alone:
    coldstart benchmark_speed --work train --out runs/speed_train

  how time and memory grow, on real pictures that are repeated with small changes:
    coldstart benchmark_speed --work growth --data dermoscopy --sizes 250 1000 2500 --out runs/growth

OUT gets speed.csv, growth.csv, growth.png (with fitted exponents) and run.json.
"""

WORK = ("train", "pretrain", "distort", "epoch", "decode", "infer", "start", "growth")
STAGES = ("make_datalist", "pretrain", "embed", "select_samples", "train", "evaluate", "infer")  # of a growth, in order


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--work", nargs="+", choices=WORK, default=list(WORK[:-1]), metavar="W", help=", ".join(WORK))
    parser.add_argument("--steps", type=int, default=20, metavar="N", help="steps of a timed run, default 20")
    parser.add_argument("--repeats", type=int, default=5, metavar="R", help="runs, of which the median is told")
    parser.add_argument("--images", type=int, default=1000, metavar="N", help="images of the inference, default 1000")
    parser.add_argument(
        "--sizes", nargs="+", type=int, default=[250, 1000, 2500], metavar="N", help="images of the growth"
    )
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES), metavar="S", help="of the growth")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with images/ and masks/, for the growth")
    parser.add_argument("--modality", default="dermoscopy", help="of --data, default dermoscopy")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of every random choice, default 0")
    parser.add_argument("--overwrite", action="store_true", help="replace DIR where it exists")


def run(args: argparse.Namespace) -> int:
    """Measure, write the folder and print the tables as Markdown."""
    from bundle.run.record import RunRecord

    require_least(args, steps=1, repeats=1, images=1)
    if min(args.sizes) < 40:
        raise ValueError(f"--sizes must be at least 40, got {min(args.sizes)}: every section needs some images")
    record = RunRecord("benchmark_speed", vars(args), seed=args.seed)
    with atomic_folder(args.out, overwrite=args.overwrite, stage="benchmark_speed") as folder:
        _compare(args, folder)
        if "growth" in args.work:
            _grow(args, folder)
        record.write(folder)
    print(args.out)
    return 0


def _compare(args: argparse.Namespace, folder: Path) -> None:
    from bundle.benchmark.speed import measure
    from bundle.benchmark.stopwatch import load

    for talkative in ("ignite", "bundle.run.history"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    rows = []
    for stage in [name for name in args.work if name != "growth"]:
        for found in measure(
            stage, folder / "work", steps=args.steps, repeats=args.repeats, images=args.images, seed=args.seed
        ):
            derived = {"ratio": found.ratio, "share_of_floor": found.share_of_floor, "load": load()}
            rows.append({**dataclasses.asdict(found), **derived})
            share = "" if found.share_of_floor is None else f"{found.share_of_floor:.0%}"
            print(
                f"| {found.stage} | {found.plain:.2f}/s | {found.bundle:.2f}/s | {found.ratio:.2f} | {found.reach:.2f} "
                f"| {found.work} | {share} | {load():.1f} | {found.note} |",
                flush=True,
            )
    if rows:
        write_csv(folder / "speed.csv", rows, tuple(rows[0]))


def _grow(args: argparse.Namespace, folder: Path) -> None:
    from bundle.benchmark.growth import draw_folder, draw_growth, exponent, grow

    costs = []
    for size in sorted(args.sizes):
        work = folder / "work"
        data = draw_folder(work / "data", size, seed=args.seed, source=args.data)
        for cost in grow(data, work, size, modality=args.modality, stages=args.stages, seed=args.seed):
            costs.append(cost)
            print(f"| {cost.stage} | {size} | {cost.seconds:.1f} s | {cost.memory:.2f} GiB |", flush=True)
        shutil.rmtree(work)
    for stage in args.stages:
        own = [cost for cost in costs if cost.stage == stage]
        powers = [exponent(own, quantity) for quantity in ("seconds", "memory")]
        if None not in powers:
            print(f"| {stage} | N^{powers[0]:.2f} | N^{powers[1]:.2f} |", flush=True)
    columns = [field.name for field in dataclasses.fields(costs[0])]
    write_csv(folder / "growth.csv", map(dataclasses.asdict, costs), columns)
    draw_growth(costs).savefig(folder / "growth.png", dpi=150, bbox_inches="tight")
