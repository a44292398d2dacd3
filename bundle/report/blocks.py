"""What a page is made of: sections of blocks, each block plain data that the template knows how to show."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

from bundle.report.pictures import figure_uri, thumbnail_uri

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

P = ParamSpec("P")


class Absent(Exception):
    """The data of a part are not there; the text says which, in one line for the reader of the page."""


@dataclasses.dataclass(frozen=True)
class Note:
    """One paragraph; ``muted`` for what is left out."""

    text: str
    muted: bool = False
    kind: str = "note"


@dataclasses.dataclass(frozen=True)
class Facts:
    """Short figures with their names, shown as a row of cards."""

    items: Sequence[tuple[str, str, str]]  # value, name, detail
    kind: str = "facts"


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of text; columns whose cells are figures are aligned to the right. ``folded`` shows the title alone."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    title: str = ""
    folded: bool = False
    text_columns: int = 1
    kind: str = "table"


@dataclasses.dataclass(frozen=True)
class Chart:
    """A figure as an address, what it shows for those who cannot see it, and what to read from it."""

    uri: str
    alt: str
    caption: str = ""
    kind: str = "chart"


@dataclasses.dataclass(frozen=True)
class Beside:
    """A large chart with smaller ones in a column at its right."""

    main: Chart
    aside: Sequence[Chart]
    kind: str = "beside"


@dataclasses.dataclass(frozen=True)
class Tile:
    """A small picture with a line below it and a fainter second one; ``uri`` is None where it cannot be read."""

    uri: str | None
    label: str
    detail: str = ""
    colour: str = ""


@dataclasses.dataclass(frozen=True)
class Tiles:
    """Small pictures in reading order.

    ``large`` is for those in which one looks at outlines, ``legend`` says whose they are, ``folded`` shows the title
    alone until it is opened.
    """

    tiles: Sequence[Tile]
    title: str = ""
    caption: str = ""
    large: bool = False
    legend: bool = False
    folded: bool = False
    kind: str = "tiles"


Block = Note | Facts | Table | Chart | Beside | Tiles


@dataclasses.dataclass
class Section:
    """A heading, its name in the address, and what stands below it."""

    key: str
    title: str
    blocks: list[Block] = dataclasses.field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Nothing but lines that say what is left out."""
        return all(isinstance(block, Note) and block.muted for block in self.blocks)

    @property
    def shown(self) -> list[Block]:
        """The blocks; where there is nothing but what is left out, that in one line."""
        if not self.empty or not self.blocks:
            return self.blocks
        return [Note("; ".join(block.text for block in self.blocks if isinstance(block, Note)), muted=True)]

    def add(self, build: Callable[P, Block | Iterable[Block]], *given: P.args, **named: P.kwargs) -> None:
        """Append what ``build`` makes of its arguments; where its data are absent or broken, one line that says so."""
        try:
            built = build(*given, **named)
            self.blocks.extend([built] if isinstance(built, Block) else built)
        except Absent as absent:
            self.blocks.append(Note(str(absent), muted=True))
        except (ValueError, KeyError, TypeError, OSError) as error:
            # One odd file must not cost the reader the rest of the page.
            logger.warning("left out of section %r: %s: %s", self.title, type(error).__name__, error)
            self.blocks.append(Note(f"Left out, since its data cannot be used: {describe(error)}", muted=True))


def describe(error: Exception) -> str:
    """An error in words; a KeyError alone would show nothing but a quoted name."""
    return f"the entry {error} is missing" if isinstance(error, KeyError) else str(error)


def chart(figure: Figure, alt: str, caption: str = "") -> Chart:
    """A figure as a block."""
    return Chart(figure_uri(figure), alt, caption)


def tile(pixels: np.ndarray | None, label: str, detail: str = "", *, colour: str = "", large: bool = False) -> Tile:
    """A picture as a tile; None is one that could not be read."""
    if pixels is None:
        return Tile(None, label, detail, colour)
    uri = thumbnail_uri(pixels, side=384, quality=90) if large else thumbnail_uri(pixels)
    return Tile(uri, label, detail, colour)


def plain(value: Any) -> str:
    """A value of a record in a few characters: figures short, folders of a path left away, lists in a row."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {plain(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(item) for item in value[:12]) + (f", … ({len(value)})" if len(value) > 12 else "")
    text = str(value)
    # A page gets mailed around: the folders of the machine, and the names in them, are nobody's business.
    return f"…/{text.rstrip('/').rsplit('/', 1)[-1]}" if text.startswith(("/", "~")) and len(text) > 1 else text


def duration(seconds: float | None) -> str:
    """Seconds as a person says them: 48 s, 12 min, 3 h 05 min."""
    if seconds is None:
        return "–"
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
