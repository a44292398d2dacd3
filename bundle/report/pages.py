"""Whole pages: one HTML file that needs no network, no script and no other file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle import __version__
from bundle.embedding import Embeddings
from bundle.report import run_parts
from bundle.report.blocks import Facts, Section
from bundle.report.record_part import glance
from bundle.report.rounds_part import RoundsPart
from bundle.report.run_folder import RunFolder
from bundle.report.selection_part import SelectionPart
from bundle.run.atomic import write_text

if TYPE_CHECKING:
    from bundle.data.modality import Modality
    from bundle.selection import Selection
    from bundle.selection.comparison import Comparison

FILE_NAME = "report.html"


def write_run_report(run_folder: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Write the report of a whole run.

    Args:
        run_folder: what the stages wrote, in the layout of :mod:`bundle.report.run_folder`; each part may be absent.
        out: the page; ``report.html`` in the run's folder by default. An older one is replaced.

    Returns:
        Path of the page.

    Raises:
        ValueError: the folder is not there, or nothing in it is of a run.
    """
    run = RunFolder(run_folder)
    sections = run_parts.sections(run)
    if all(section.empty for section in sections):
        raise ValueError(f"{run.path} holds no part of a run: {run_parts.LAYOUT}")
    page = render_page(
        title=f"Cold start: {run.modality_name or 'a run'}",
        lead="From unlabelled images to a segmentation model: what was done, chosen, learned and scored. "
        "Research software, not a medical device.",
        sections=sections,
        glance=glance(run),
    )
    return write_text(out if out is not None else run.path / FILE_NAME, page)


def write_selection_report(
    path: str | os.PathLike[str],
    *,
    selection: Selection,
    embeddings: Embeddings,
    image_paths: Mapping[str, Path],
    modality: str | os.PathLike[str] | Modality,
) -> Path:
    """Write the report of one selection: what to annotate, in which order, and why these.

    Args:
        path: the page; an older one is replaced.
        selection: of :func:`bundle.selection.select`.
        embeddings: of the pool that the selection was made from, without what was excluded.
        image_paths: id to file; an id without one is a gap in the montage.
        modality: how to read the files.

    Returns:
        Path of the page.
    """
    rows: list[dict[str, Any]] = [
        {"rank": row.rank, "id": row.id, "cluster": row.cluster, "score": row.score, "reason": row.reason}
        for row in selection.rows
    ]
    diagnostics = {"strategy": selection.strategy, **selection.diagnostics}
    part = SelectionPart(rows, diagnostics, embeddings, image_paths, modality, seed=selection.seed)
    page = render_page(
        title=f"Selection: {len(rows)} images to annotate",
        lead=f"Chosen by {selection.strategy} with seed {selection.seed}. Annotate from rank 1 on.",
        sections=[part.section()],
    )
    return write_text(path, page)


def write_comparison_report(
    path: str | os.PathLike[str],
    *,
    comparison: Comparison,
    image_paths: Mapping[str, Path],
    modality: str | os.PathLike[str] | Modality,
) -> Path:
    """Write the report of several selections of one pool beside each other.

    Args:
        path: the page; an older one is replaced.
        comparison: of :func:`bundle.selection.comparison.compare`.
        image_paths: id to file; an id without one is a gap in the montage.
        modality: how to read the files.

    Returns:
        Path of the page.
    """
    from bundle.report.comparison_part import ComparisonPart  # brings the strategies along

    part = ComparisonPart(comparison, image_paths, modality)
    page = render_page(
        title=f"Comparison: {len(comparison.measured)} ways to choose {comparison.budget} images",
        lead=f"Out of {comparison.candidates} that can be chosen. Nothing is selected: take one and select by it.",
        sections=part.sections(),
    )
    return write_text(path, page)


def write_rounds_report(
    path: str | os.PathLike[str],
    *,
    rounds: Sequence[Mapping[str, Any]],
    folder: Path,
    strategy: str,
    image_paths: Mapping[str, Path],
    modality: str | os.PathLike[str] | Modality,
    asked: Mapping[int, Sequence[str]],
    waiting: int | None = None,
) -> Path:
    """Write the report of rounds after the cold start.

    Args:
        path: the page; an older one is replaced.
        rounds: a row each, at least one, as in ``rounds.csv``.
        folder: holds a folder for each round, named by its number.
        strategy: name of the criterion or strategy that asked.
        image_paths: id to file; an id without one is a gap in the montage.
        modality: how to read the files.
        asked: number of a round to the ids that the expert was asked for.
        waiting: number of a round that waits for the expert.

    Returns:
        Path of the page.
    """
    page = render_page(
        title=f"Rounds: {rounds[-1]['labels']} labels, asked for by {strategy}",
        lead="Each round asks the expert for the images that the last model is least sure of, and trains anew.",
        sections=RoundsPart(rounds, folder, strategy, image_paths, modality, asked, waiting).sections(),
    )
    return write_text(path, page)


def render_page(*, title: str, lead: str, sections: Sequence[Section], glance: Facts | None = None) -> str:
    """The page as HTML. Every text is escaped, and the page forbids itself scripts and anything from outside."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bundle.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html")
    return template.render(title=title, lead=lead, sections=sections, glance=glance, version=__version__)
