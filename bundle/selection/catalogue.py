"""The registered strategies and criteria as text for a terminal: a table of all, a page of one."""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bundle.selection.criterion import Criterion, available_criteria, find_criterion
from bundle.selection.strategy import Strategy, available_strategies, find_strategy

WIDEST = 140  # characters; the eye loses longer lines
NARROWEST = 80  # below, cells become one word a line
USUAL = 120  # where there is no terminal to ask
_GAP = "  "
LEGEND = """\
nested: the first k of a selection of n are the selection of k, so that one may stop early
cost: time in N images, D features, budget B and clusters K
more on one, with its options: --strategy help:NAME"""
CRITERIA_LEGEND = """\
looks at: what the model is asked for each image; in brackets how often, which --passes changes
more on one, with its options: --criterion help:NAME"""


def strategy_table(width: int | None = None) -> str:
    """All strategies, a row each: name, nested, what it is good for, cost, source.

    Args:
        width: characters a line; as the terminal has by default, within bounds.
    """
    rows = [
        (s.name, "yes" if s.nested else "no", s.good_for, s.cost, s.paper or "-")
        for s in available_strategies().values()
    ]
    return _table(("name", "nested", "good for", "cost", "source"), rows, LEGEND, width)


def criterion_table(width: int | None = None) -> str:
    """All criteria, a row each: name, what it looks at, what it is good for, source; ``width`` as for strategies."""
    rows = [(c.name, _opinions(c), c.good_for, c.summary, c.paper) for c in available_criteria().values()]
    return _table(("name", "looks at", "good for", "what it is", "source"), rows, CRITERIA_LEGEND, width)


def strategy_page(name: str) -> str:
    """One strategy: all that is registered of it, its options with their defaults, and its documentation.

    Raises:
        ValueError: there is none of that name.
    """
    strategy = find_strategy(name)
    facts = {
        "good for": strategy.good_for,
        "cost": strategy.cost,
        "nested": "yes" if strategy.nested else "no: another budget is another selection",
        "source": strategy.paper or "-",
    }
    return _page(strategy, facts)


def criterion_page(name: str) -> str:
    """One criterion, as :func:`strategy_page`. Raises ValueError where there is none of that name."""
    criterion = find_criterion(name)
    facts = {"good for": criterion.good_for, "looks at": _opinions(criterion), "source": criterion.paper}
    return _page(criterion, facts)


# By the kind of entry, for whoever shows several.
ENTRIES: dict[str, Callable[[], Mapping[str, Any]]] = {
    "strategy": available_strategies,
    "criterion": available_criteria,
}
TABLES = {"strategy": strategy_table, "criterion": criterion_table}
PAGES = {"strategy": strategy_page, "criterion": criterion_page}


def _page(entry: Strategy | Criterion, facts: Mapping[str, str]) -> str:
    options = ", ".join(f"{key}={_yaml(value)}" for key, value in entry.options.items()) or "none"
    lines = [f"{entry.name}: {entry.summary}", ""]
    for key, value in {**facts, "options": options}.items():
        lines += textwrap.wrap(value, USUAL, initial_indent=f"{key:<10}", subsequent_indent=" " * 10)
    documentation = inspect.getdoc(entry.function)
    return "\n".join([*lines, *(["", documentation] if documentation else [])])


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], legend: str, width: int | None) -> str:
    """Five columns: a name, a word, and three of text that share what is left of the width."""
    if width is None:
        width = shutil.get_terminal_size((USUAL, 24)).columns
    width = min(max(width, NARROWEST), WIDEST)
    names, words = (max(len(row[column]) for row in (header, *rows)) for column in (0, 1))
    left = width - names - words - 4 * len(_GAP)
    widths = (names, words, left // 3, left // 3, left - 2 * (left // 3))
    rule = _GAP.join("-" * cell for cell in widths)
    return "\n".join([*_row(header, widths), rule, *(line for row in rows for line in _row(row, widths)), "", legend])


def _opinions(criterion: Criterion) -> str:
    return criterion.opinions if criterion.count is None else f"{criterion.opinions} [{criterion.count}]"


def _row(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """The lines of one row, its cells wrapped to their columns."""
    columns = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, widths, strict=True)]
    height = max(map(len, columns))
    padded = [
        [f"{line:<{width}}" for line in [*column, *[""] * (height - len(column))]]
        for column, width in zip(columns, widths, strict=True)
    ]
    return [_GAP.join(line).rstrip() for line in zip(*padded, strict=True)]


def _yaml(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
