"""``select_samples``: rank what to annotate first, and compare ways to do so."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from bundle.commands.options import CatalogueName, parse_options
from bundle.commands.selection_folder import COPY_STAGE, check_copies_place, write_copies, write_selection
from bundle.commands.selection_request import SelectionRequest
from bundle.commands.strategy_comparison import compare_strategies
from bundle.run.atomic import atomic_folder

if TYPE_CHECKING:
    from bundle.data.datalist import Datalist
    from bundle.embedding import Embeddings
    from bundle.selection import Selection

DESCRIPTION = """\
Rank what to annotate first: exactly the budget of images out of the pool, chosen by their embeddings.

  a tenth of the pool, by contrastive annotation:
    coldstart select_samples --datalist datalist.json --embeddings run/embeddings \\
        --strategy ca --budget 10% --out run/selection

  the strategies there are, and all about one of them:
    coldstart select_samples --strategy help
    coldstart select_samples --strategy help:ca

  which to take? the same budget by each, beside random draws:
    coldstart select_samples --datalist datalist.json --embeddings run/embeddings \\
        --compare ca,saal,kmeans --budget 30 --out run/comparison

  straight from pretrained weights, with eight clusters, and the images copied for any viewer:
    coldstart select_samples --datalist datalist.json --weights models/model_ssl_pretrained.pt \\
        --strategy ca --option k=8 --budget 30 --out run/selection --copy-to to_annotate

  thirty more, once the first are annotated:
    coldstart select_samples --datalist datalist.json --embeddings run/embeddings \\
        --strategy ca --budget 30 --already-labelled run/selection/selection.csv --out run/selection_2

OUT gets selection.csv (rank, id, image, cluster, score, reason), selection.json (the datalist with what is labelled
and what is selected as its training section), diagnostics.json, report.html and run.json. Images of validation and
test, and other images of their patients, are never selected. The labels that the datalist knows of do not count as
already labelled unless --already-labelled says so. The same seed gives the same selection.

With --compare OUT gets comparison.csv, comparison.json, report.html and run.json, and no selection: take a strategy,
then select by it. Options are then given as --option STRATEGY.KEY=VALUE.
"""

STAGE = "select_samples"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("--datalist", type=Path, required=True, metavar="FILE", help="from make_datalist")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--embeddings", type=Path, metavar="DIR", help="from embed")
    source.add_argument("--weights", type=Path, metavar="FILE", help="embed first, with these pretrained weights")
    by = parser.add_mutually_exclusive_group()
    by.add_argument(
        "--strategy",
        default="coldstart",
        metavar="NAME",
        action=CatalogueName,
        help="default coldstart; 'help' lists all, 'help:NAME' tells all about one",
    )
    by.add_argument(
        "--compare", metavar="NAMES", help="instead: compare these, such as ca,saal,kmeans; writes no selection"
    )
    parser.add_argument(
        "--budget", required=True, metavar="B", help="images to select: a number, or a share of the pool such as 10%%"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of every random choice, default 0")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--section", default="pool", metavar="NAME", help="section to select from, default pool")
    parser.add_argument(
        "--already-labelled",
        metavar="FILE",
        help="ids that have a label: one a line, a CSV with a column id, a JSON list, or a datalist such as "
        "selection.json, of which the training section counts; or 'training' for that section of DATALIST",
    )
    parser.add_argument("--exclude", type=Path, metavar="FILE", help="ids never to select, in the same form")
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="of the strategy; may be given again"
    )
    parser.add_argument(
        "--copy-to",
        type=Path,
        metavar="DIR",
        help="also copy the selected images there, named by rank; DICOM copies keep their header",
    )
    parser.add_argument("--link", action="store_true", help="with --copy-to: symbolic links instead of copies")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier selection wrote")


def run(args: argparse.Namespace) -> int:
    """Select or compare, write the folder and say what was found."""
    if args.link and args.copy_to is None:
        raise ValueError("--link needs --copy-to: it says that the images there are links")
    if args.compare is None:
        return _select(args)
    if args.copy_to is not None:
        raise ValueError("--copy-to needs a selection, and --compare makes none: select by one of the strategies")
    return compare_strategies(args)


def _select(args: argparse.Namespace) -> int:
    from bundle.selection import find_strategy, select
    from bundle.selection.sufficiency import look_ahead, measure_sufficiency

    options = parse_options(args.option)
    resolved = find_strategy(args.strategy).resolve(options)  # a mistyped option is found before anything is embedded
    request = SelectionRequest.of(args)
    check_copies_place(args.copy_to, out=args.out, images=request.datalist.root)
    record = request.record(STAGE, args, {"options": resolved})
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(atomic_folder(args.out, overwrite=args.overwrite, stage=STAGE))
        # Copies whose selection is not there were made by this command, killed between the two renames.
        unfinished = args.copy_to and not args.out.exists() and _mark_in(args.copy_to) == _mark(args, request)
        copies = args.copy_to and stack.enter_context(
            atomic_folder(args.copy_to, overwrite=args.overwrite or unfinished, stage=COPY_STAGE)
        )
        embeddings = request.embeddings(args, folder, record)
        budget = request.budget(args.budget, embeddings)
        with record.timed("select"):
            selection = select(
                embeddings,
                strategy=args.strategy,
                budget=budget,
                seed=args.seed,
                labelled=request.labelled,
                exclude=request.exclude,
                **options,
            )
        pool = request.pool(embeddings)
        with record.timed("look ahead"):
            further = look_ahead(embeddings, selection, labelled=request.labelled, exclude=request.exclude)
            found = measure_sufficiency(pool, selection.ids, further=further, labelled=request.labelled, seed=args.seed)
        selection = dataclasses.replace(selection, diagnostics={**selection.diagnostics, "coverage": found.summary()})
        write_selection(folder, selection, request.datalist, already_labelled=request.kept())
        with record.timed("report"):
            _write_report(folder / "report.html", selection, pool, request.datalist)
        record.note("selected", len(selection))
        record.note("k", selection.diagnostics.get("k"))
        record.write(folder)
        asked = {"link": args.link, "strategy": args.strategy, "seed": args.seed, "request": _mark(args, request)}
        handed_over = copies and write_copies(selection.ids, request.datalist, copies, **asked)

    for line in [*_summary(selection), found.how_many(), found.when_to_stop()]:
        print(line)
    for name, about in (
        ("selection.csv", "what to annotate, in this order"),
        ("selection.json", "the datalist to train on"),
        ("report.html", "the selection in pictures"),
    ):
        print(f"  {args.out / name}: {about}")
    if handed_over:
        left_out = f", {len(handed_over.missing)} could not be read" if handed_over.missing else ""
        print(f"  {args.copy_to}: {len(handed_over.files)} images{left_out}")
    print(args.out)
    return 0


def _mark(args: argparse.Namespace, request: SelectionRequest) -> str:
    """What tells one request for copies from another, without a path."""
    from bundle.run.record import content_fingerprint

    asked = (args.strategy, args.budget, args.seed, args.section, sorted(args.option), args.link)
    known = (sorted(request.labelled), sorted(request.exclude))
    return content_fingerprint([request.datalist.fingerprint(), asked, known])


def _mark_in(copies: Path) -> str | None:
    """The mark in the record of a folder of copies, or None where there is none."""
    from bundle.run.record import FILE_NAME

    try:
        return json.loads((copies / FILE_NAME).read_text(encoding="utf-8"))["fingerprints"]["request"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_report(path: Path, selection: Selection, pool: Embeddings, datalist: Datalist) -> None:
    from bundle.report.pages import write_selection_report

    write_selection_report(
        path,
        selection=selection,
        embeddings=pool,
        image_paths=datalist.image_paths(),
        modality=datalist.modality,
    )


def _summary(selection: Selection) -> list[str]:
    found = selection.diagnostics
    lines = [f"{len(selection)} of {found['pool'] - found['labelled']} images by {selection.strategy}"]
    curve = found.get("silhouette")
    if curve:
        score = curve["score"][curve["k"].index(found["k"])]
        shown = "not defined" if score is None else f"{score:.3f}"
        lines.append(
            f"K = {found['k']} clusters: best silhouette ({shown}) from K = {curve['k_min']} to {curve['k_max']}"
        )
    elif "k" in found:
        lines.append(f"K = {found['k']} clusters")
    return lines
