"""``select_samples``: rank what to annotate first, and compare ways to do so."""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import json
import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle.commands.options import CatalogueName, parse_options
from bundle.run.atomic import atomic_folder, write_csv, write_json

if TYPE_CHECKING:
    from bundle.data.datalist import Datalist
    from bundle.data.handover import HandedOver
    from bundle.embedding import Embeddings
    from bundle.run.record import RunRecord
    from bundle.selection import Selection
    from bundle.selection.comparison import Comparison

logger = logging.getLogger(__name__)

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

CSV_COLUMNS = ("rank", "id", "image", "cluster", "score", "reason")
STAGE = "select_samples"
COMPARE_STAGE = "select_samples --compare"
COPY_STAGE = "select_samples --copy-to"


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
        help="ids that have a label, one a line or a CSV with a column id; or 'training' for that section",
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
    return _compare(args)


def _select(args: argparse.Namespace) -> int:
    from bundle.selection import find_strategy, select
    from bundle.selection.sufficiency import look_ahead, measure_sufficiency

    options = parse_options(args.option)
    resolved = find_strategy(args.strategy).resolve(options)  # a mistyped option is found before anything is embedded
    request = _Request.of(args)
    _check_place(args.copy_to, out=args.out, images=request.datalist.root)
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
        with record.timed("look ahead"):
            further = look_ahead(embeddings, selection, labelled=request.labelled, exclude=request.exclude)
            found = measure_sufficiency(
                request.pool(embeddings), selection.ids, further=further, labelled=request.labelled, seed=args.seed
            )
        selection = dataclasses.replace(selection, diagnostics={**selection.diagnostics, "coverage": found.summary()})
        write_selection(folder, selection, request.datalist, already_labelled=request.kept())
        with record.timed("report"):
            _write_report(folder / "report.html", selection, embeddings, request.datalist)
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


def _compare(args: argparse.Namespace) -> int:
    from bundle.report.pages import write_comparison_report
    from bundle.selection import find_strategy, select
    from bundle.selection.comparison import compare

    names = parse_names(args.compare)
    options = options_by_strategy(args.option, names)
    resolved = {name: find_strategy(name).resolve(options[name]) for name in names}
    request = _Request.of(args)
    record = request.record(COMPARE_STAGE, args, {"options": resolved})
    with atomic_folder(args.out, overwrite=args.overwrite, stage=COMPARE_STAGE) as folder:
        embeddings = request.embeddings(args, folder, record)
        budget = request.budget(args.budget, embeddings)
        selections: list[Selection] = []
        refused: dict[str, ValueError] = {}
        for name in names:
            try:
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
            except ValueError as error:  # such as a pool too large for this one: the others can be compared
                logger.warning("%s is left out: %s", name, error)
                refused[name] = error
        if not selections:
            raise next(iter(refused.values()))
        with record.timed("compare"):
            found = compare(request.pool(embeddings), selections, labelled=request.labelled, seed=args.seed)
        left_out = {name: str(error) for name, error in refused.items()}
        write_csv(folder / "comparison.csv", found.rows(), found.columns())
        write_json(folder / "comparison.json", {"seed": args.seed, **found.summary(), "left_out": left_out})
        with record.timed("report"):
            write_comparison_report(
                folder / "report.html",
                comparison=found,
                image_paths={name: Path(path) for name, path in image_paths(request.datalist).items()},
                modality=request.datalist.modality,
                left_out=left_out,
            )
        record.write(folder)

    for line in comparison_lines(found):
        print(line)
    print("no selection is written: take one and select by it with --strategy")
    print(f"  {args.out / 'report.html'}: the comparison in pictures")
    print(args.out)
    return 0


@dataclasses.dataclass(frozen=True)
class _Request:
    """Out of which images is to be chosen, and what is known of them.

    Attributes:
        datalist: all images.
        section: ids of the section to select from.
        labelled: ids that have a label and steer the choice.
        exclude: ids that are never looked at.
    """

    datalist: Datalist
    section: frozenset[str]
    labelled: frozenset[str]
    exclude: frozenset[str]

    @classmethod
    def of(cls, args: argparse.Namespace) -> _Request:
        """As the options say."""
        from bundle.data.datalist import load_datalist

        datalist = load_datalist(args.datalist)
        section = frozenset(datalist.ids(args.section))
        exclude = excluded_ids(datalist, args.exclude, section)
        return cls(datalist, section, frozenset(_labelled_ids(args.already_labelled, datalist)), frozenset(exclude))

    def record(self, stage: str, args: argparse.Namespace, settings: dict[str, Any]) -> RunRecord:
        """The record of the run, begun."""
        from bundle.run.record import RunRecord

        given = {name: value for name, value in vars(args).items() if name != "option"}
        fingerprints = {"datalist": self.datalist.fingerprint()}
        return RunRecord(stage, given | settings, seed=args.seed, fingerprints=fingerprints)

    def embeddings(self, args: argparse.Namespace, folder: Path, record: RunRecord) -> Embeddings:
        """Of the section and of labelled images beside it, which steer the choice; made first where they are not."""
        from bundle.embedding import IDS_FILE, VECTORS_FILE, Embeddings
        from bundle.run.record import content_fingerprint, file_fingerprint

        with record.timed("embed"):
            place = args.embeddings or _embed(args, self.datalist, folder / "embeddings")
        found = Embeddings.load(place)
        record.content["fingerprints"]["embeddings"] = content_fingerprint(
            file_fingerprint(place / name) for name in (IDS_FILE, VECTORS_FILE)
        )
        embedded = set(found.ids)
        if not self.section & embedded:
            raise ValueError(
                f"none of the section's {len(self.section)} images has an embedding; embed that section of this "
                f"datalist"
            )
        missing = len(self.section - embedded)
        if missing:
            logger.warning(
                "%d of the section's %d images have no embedding and cannot be selected", missing, len(self.section)
            )
        return found.subset(sorted((self.section | self.labelled) & embedded))

    def budget(self, text: str, embeddings: Embeddings) -> int:
        """The number of images, a share being one of those that may be chosen or are labelled."""
        return parse_budget(text, sum(identifier not in self.exclude for identifier in embeddings.ids))

    def pool(self, embeddings: Embeddings) -> Embeddings:
        """What a selection is to stand for: everything that is not excluded."""
        return embeddings.subset(sorted(set(embeddings.ids) - self.exclude))

    def kept(self) -> list[str]:
        """Labelled ids that stay in the training section."""
        return sorted(self.labelled & set(self.datalist.candidates()))


def write_selection(
    folder: Path, selection: Selection, datalist: Datalist, *, already_labelled: Iterable[str] = ()
) -> None:
    """Write selection.csv, selection.json and diagnostics.json into ``folder``.

    Args:
        already_labelled: ids of the pool that stay in the training section beside the selection.
    """
    paths = image_paths(datalist)
    rows = [{**dataclasses.asdict(row), "image": paths[row.id], "score": f"{row.score:.6g}"} for row in selection.rows]
    write_csv(folder / "selection.csv", rows, CSV_COLUMNS)  # a strategy without clusters leaves that column empty
    training = dict.fromkeys([*already_labelled, *selection.ids])
    datalist.with_training(training).save(folder / "selection.json")
    about = {
        "strategy": selection.strategy,
        "seed": selection.seed,
        "budget": len(selection),
        "options": dict(selection.options),
    }
    write_json(folder / "diagnostics.json", {**about, **selection.diagnostics})


def parse_budget(text: str, pool: int, *, option: str = "--budget") -> int:
    """A number of images from ``"30"`` or from a share of the pool such as ``"10%"``; errors name the ``option``.

    A share is rounded down, since more than was granted must not be spent, but it is one image at least.
    """
    try:
        if text.strip().endswith("%"):
            share = float(text.strip()[:-1])
            if 0 < share <= 100:
                return max(1, math.floor(pool * share / 100 + 1e-9))  # 1e-9: 29 % of 100 is 28.999999999999996
        else:
            return int(text)
    except ValueError:
        pass
    raise ValueError(f"{option} must be a number of images or a share over 0 % and up to 100 %, got {text!r}")


def read_ids(path: Path) -> list[str]:
    """Ids from a text file with one a line, or from a CSV file with a column ``id``.

    Raises:
        ValueError: the file holds no id.
    """
    lines = path.read_text(encoding="utf-8-sig").split("\n")  # spreadsheets put a byte order mark first
    header = next(csv.reader(lines[:1]), [])
    found = (row["id"] for row in csv.DictReader(lines)) if "id" in header else map(str.strip, lines)
    ids = [identifier for identifier in found if identifier]
    if not ids:
        raise ValueError(f"{path} must hold one id a line, or a CSV table with a column id; it holds none")
    return ids


def known_ids(path: Path, datalist: Datalist) -> set[str]:
    """The ids in a file; one the datalist does not know is refused, since a slip of the pen would waste a label."""
    ids = read_ids(path)
    known = {identifier for name in datalist.sections for identifier in datalist.ids(name)}
    unknown = [identifier for identifier in ids if identifier not in known]
    if unknown:
        raise ValueError(f"{path}: {len(unknown)} of {len(ids)} ids are not in the datalist, first {unknown[0]!r}")
    return set(ids)


def image_paths(datalist: Datalist) -> dict[str, str]:
    """Id to file of every image of the datalist."""
    return {entry["id"]: entry["image"] for name in datalist.sections for entry in datalist.section(name)}


def excluded_ids(datalist: Datalist, file: Path | None, section: Iterable[str] | None = None) -> set[str]:
    """Ids never to choose: those in a file, of validation and test, and other images of their patients.

    Args:
        file: see :func:`read_ids`; None for none.
        section: ids to choose from; the pool's by default.
    """
    listed = known_ids(file, datalist) if file else set()
    held = set(datalist.ids("pool") if section is None else section) - set(datalist.candidates())
    return listed | held | {*datalist.ids("validation"), *datalist.ids("test")}


def write_copies(
    ids: Sequence[str],
    datalist: Datalist,
    folder: Path,
    *,
    link: bool,
    strategy: str,
    seed: int,
    request: str | None = None,
) -> HandedOver:
    """Copy images into ``folder``, rank 1 first, with a record; see :func:`bundle.data.handover.hand_over`.

    Args:
        request: a fingerprint of what was asked for, kept in the record.
    """
    from bundle.data.handover import hand_over
    from bundle.run.record import RunRecord

    paths = image_paths(datalist)
    # The record is the folder's mark and holds no path, since the folder may go to somebody else.
    fingerprints = {"request": request} if request else {}
    record = RunRecord(COPY_STAGE, {"link": link, "strategy": strategy}, seed=seed, fingerprints=fingerprints)
    found = hand_over([(identifier, Path(paths[identifier])) for identifier in ids], folder, link=link)
    record.note("images", len(found.files))
    record.write(folder)
    return found


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


def _embed(args: argparse.Namespace, datalist: Datalist, folder: Path) -> Path:
    from bundle.commands.embed import embed_section

    embed_section(datalist, args.section, args.weights, folder)
    return folder


def _check_place(copies: Path | None, *, out: Path, images: Path) -> None:
    """Copies lie apart: in OUT they would be replaced with it, and among the images they would be listed as images."""
    if copies is None:
        return
    place = copies.resolve()
    for other, name in ((out.resolve(), "--out"), (images.resolve(), "the folder of the images")):
        if place.is_relative_to(other) or other.is_relative_to(place):
            raise ValueError(f"--copy-to must lie apart from {name}, {other}; got {copies}")


def _mark(args: argparse.Namespace, request: _Request) -> str:
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


def _labelled_ids(source: str | None, datalist: Datalist) -> set[str]:
    if source is None:
        return set()
    return set(datalist.ids("training")) if source == "training" else known_ids(Path(source), datalist)


def _write_report(path: Path, selection: Selection, pool: Embeddings, datalist: Datalist) -> None:
    from bundle.report.pages import write_selection_report

    write_selection_report(
        path,
        selection=selection,
        embeddings=pool,
        image_paths={identifier: Path(image) for identifier, image in image_paths(datalist).items()},
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
