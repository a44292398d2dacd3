"""``select_samples --compare``: the same budget by several strategies, side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bundle.commands.options import parse_options
from bundle.commands.selection_request import SelectionRequest
from bundle.run.atomic import atomic_folder, write_json
from bundle.run.table import write_csv

if TYPE_CHECKING:
    from bundle.selection.comparison import Comparison

STAGE = "select_samples --compare"


def compare_strategies(args: argparse.Namespace) -> int:
    """Let each strategy choose, and write and print how the choices differ; no selection is written."""
    from bundle.report.pages import write_comparison_report
    from bundle.selection import find_strategy, select
    from bundle.selection.comparison import compare

    names = parse_names(args.compare)
    options = options_by_strategy(args.option, names)
    resolved = {name: find_strategy(name).resolve(options[name]) for name in names}
    request = SelectionRequest.of(args)
    record = request.record(STAGE, args, {"options": resolved})
    with atomic_folder(args.out, overwrite=args.overwrite, stage=STAGE) as folder:
        embeddings = request.embeddings(args, folder, record)
        budget = request.budget(args.budget, embeddings)
        selections = []
        for name in names:
            with record.timed(f"select {name}"):
                selections.append(
                    select(
                        embeddings,
                        strategy=name,
                        budget=budget,
                        seed=args.seed,
                        labelled=request.labelled,
                        exclude=request.exclude,
                        **options[name],
                    )
                )
        with record.timed("compare"):
            found = compare(request.pool(embeddings), selections, labelled=request.labelled, seed=args.seed)
        write_csv(folder / "comparison.csv", found.rows(), found.columns())
        write_json(folder / "comparison.json", {"seed": args.seed, **found.summary()})
        with record.timed("report"):
            write_comparison_report(
                folder / "report.html",
                comparison=found,
                image_paths=request.datalist.image_paths(),
                modality=request.datalist.modality,
            )
        record.write(folder)

    for line in comparison_lines(found):
        print(line)
    print("no selection is written: take one and select by it with --strategy")
    print(f"  {args.out / 'report.html'}: the comparison in pictures")
    print(args.out)
    return 0


def parse_names(text: str) -> list[str]:
    """``"ca, saal"`` to the names of at least two strategies that differ."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"--compare must be two or more strategies that differ, such as ca,saal; got {text!r}")
    return names


def options_by_strategy(pairs: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """``["ca.k=8"]`` to the options of every strategy of a comparison."""
    options: dict[str, dict[str, Any]] = {name: {} for name in names}
    for pair in pairs:
        name, dot, rest = pair.partition(".")
        if not dot or name not in options:
            raise ValueError(
                f"--option must name one of the strategies compared, as in {names[0]}.KEY=VALUE; got {pair!r}"
            )
        options[name] |= parse_options([rest])
    return options


def comparison_lines(found: Comparison) -> list[str]:
    """The comparison as a table of text: coverage, typicality and images shared with each of the others."""
    rows = list(found.rows())
    header = ["", "mean dist.", "largest", "typicality", *(f"in {name}" for name in found.names)]
    cells = [header]
    for row in rows:
        figures = [f"{row[name]:.3f}" for name in ("mean_distance", "largest_distance", "typicality")]
        cells.append([row["strategy"], *figures, *(str(row.get(f"shared_{name}", "")) for name in found.names)])
    cells[-1][4:] = [f"{found.shared_by_chance:.1f}"] * len(found.names)
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "  ".join([f"{row[0]:<{widths[0]}}", *(f"{c:>{w}}" for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in cells
    ]
    spread = f"± {rows[-1]['mean_distance_sd']:.3f} in mean distance, {rows[-1]['typicality_sd']:.3f} in typicality"
    return [*lines, f"random draws: mean of {len(found.random_mean)}, {spread}. Coverage is a proxy, no Dice."]
