"""``benchmark_selection``: how fast selection is, and how its cost grows with the pool."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from pathlib import Path

from bundle.commands.options import require_least
from bundle.run.atomic import atomic_folder
from bundle.run.table import write_csv

DESCRIPTION = """\
Time the selection on drawn pools: silhouettes and farthest points beside plain scikit-learn and NumPy in one process,
and every strategy on pools of several sizes, each in a process of its own.

  everything; hours where a strategy is slow and the pools are large:
    coldstart benchmark_selection --out runs/benchmark_selection

  how two strategies grow:
    coldstart benchmark_selection --work cost --strategies ca random --sizes 10000 100000 --out runs/growth

OUT gets speed.csv, cost.csv, cost.png (seconds against images, with fitted exponents) and run.json. A pool of a million
images takes 1 GiB of disk in OUT while it is used.
"""

WORK = ("silhouette", "farthest", "ca", "cost")
EXACT_IMAGES = 20_000  # of the exact silhouette curve
IMAGES = 100_000  # of the other comparisons


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--work", nargs="+", choices=WORK, default=list(WORK), metavar="W", help=", ".join(WORK))
    parser.add_argument("--strategies", nargs="+", metavar="NAME", help="of which the cost is told, default all")
    parser.add_argument(
        "--sizes", nargs="+", type=int, default=[10_000, 100_000, 1_000_000], metavar="N", help="images in the pools"
    )
    parser.add_argument("--budget", type=int, default=1000, metavar="B", help="images to select, default 1000")
    parser.add_argument("--features", type=int, default=256, metavar="D", help="of a vector, default 256")
    parser.add_argument("--repeats", type=int, default=3, metavar="R", help="runs, of which the median is told")
    parser.add_argument(
        "--limit", type=float, default=600, metavar="S", help="seconds a strategy may take, default 600"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of every random choice, default 0")
    parser.add_argument("--overwrite", action="store_true", help="replace DIR where it exists")


def run(args: argparse.Namespace) -> int:
    """Measure, write the folder and print the tables as Markdown."""
    from bundle.run.record import RunRecord
    from bundle.selection import available_strategies, find_strategy

    require_least(args, budget=1, features=1, repeats=1)
    if min(args.sizes) < args.budget:
        raise ValueError(f"--sizes must be at least the budget of {args.budget}, got {min(args.sizes)}")
    names = [find_strategy(name).name for name in args.strategies or available_strategies()]
    record = RunRecord("benchmark_selection", vars(args), seed=args.seed)
    with atomic_folder(args.out, overwrite=args.overwrite, stage="benchmark_selection") as folder:
        _compare(args, folder)
        if "cost" in args.work:
            _grow(args, names, folder)
        record.write(folder)
    print(args.out)
    return 0


def _compare(args: argparse.Namespace, folder: Path) -> None:
    from bundle.benchmark.selection import compare_ca, compare_farthest, compare_silhouettes, draw_pool
    from bundle.embedding import Embeddings

    images = {"silhouette": EXACT_IMAGES, "farthest": IMAGES, "ca": IMAGES}
    rows = []
    for work in [name for name in args.work if name in images]:
        place = draw_pool(folder / "pool", images[work], features=args.features, seed=args.seed)
        vectors = Embeddings.load(place).vectors[:]
        shutil.rmtree(place)
        if work == "silhouette":
            found = compare_silhouettes(vectors, seed=args.seed, repeats=args.repeats)
        elif work == "farthest":
            found = compare_farthest(vectors, args.budget, repeats=args.repeats)
        else:
            found = compare_ca(vectors, args.budget, seed=args.seed, repeats=args.repeats)
        rows.append({**dataclasses.asdict(found), "ratio": found.ratio})
        print(
            f"| {found.work} | {found.images} | {found.plain:.2f} s | {found.bundle:.2f} s | {found.ratio:.1f} "
            f"| {found.agreement} |",
            flush=True,
        )
    if rows:
        write_csv(folder / "speed.csv", rows, tuple(rows[0]))


def _grow(args: argparse.Namespace, names: list[str], folder: Path) -> None:
    from bundle.benchmark.selection import draw_costs, draw_pool, measure_cost

    costs = []
    for size in args.sizes:
        place = draw_pool(folder / "pool", size, features=args.features, seed=args.seed)
        for name in names:
            cost = measure_cost(place, name, args.budget, seed=args.seed, limit=args.limit)
            costs.append(cost)
            seconds = cost.note if cost.seconds is None else f"{cost.seconds:.1f} s"
            memory = "" if cost.memory is None else f"{cost.memory:.2f} GiB"
            print(f"| {name} | {size} | {seconds} | {memory} |", flush=True)
        shutil.rmtree(place)
    write_csv(
        folder / "cost.csv", map(dataclasses.asdict, costs), [field.name for field in dataclasses.fields(costs[0])]
    )
    draw_costs(costs, budget=args.budget).savefig(folder / "cost.png", dpi=150, bbox_inches="tight")
