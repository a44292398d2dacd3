"""Everything the rows of a benchmark say, as tables for a terminal and as one page."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle.benchmark.arms import ALL_LABELS, Arm, Setup, setups
from bundle.benchmark.cases import read_groups
from bundle.benchmark.comparison import HEADLINE, check_family, compare_family
from bundle.benchmark.figures import budget_curves, chance_differences
from bundle.benchmark.ledger import Ledger
from bundle.benchmark.protocol import CHANCE
from bundle.benchmark.tables import (
    ablation_table,
    chance_table,
    cost_table,
    curve_table,
    family_table,
    labels_table,
    markdown,
    percentile_table,
    secondary_table,
    square_table,
    subgroup_table,
)
from bundle.report.blocks import Absent, Block, Facts, Note, Section, Table, chart, plain
from bundle.report.pages import FILE_NAME, render_page
from bundle.run.atomic import atomic_file, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked of the rows.

    Attributes:
        budgets: numbers of labels that the area is taken over; those without a row are left out.
        family: comparisons that are tested and corrected together.
        share: part of the all-labels Dice that is to be reached, 0 to 1.
        selected: the strategy of the 2 x 2.
    """

    budgets: tuple[int, ...]
    family: tuple[str, ...] = HEADLINE
    share: float = 0.95
    selected: str = "coldstart"

    def __post_init__(self) -> None:
        check_family(self.family)
        if not 0 < self.share <= 1:
            raise ValueError(f"the share of the all-labels Dice must be above 0 and up to 1, got {self.share:g}")


def write_report(folder: Path, question: Question) -> tuple[Path, list[str]]:
    """Write ``report.html`` from the rows in ``folder``; its path, and what it does not fold away as Markdown tables.

    The curves are in ``curves.png`` as well, of several setups in a file each.

    Raises:
        ValueError: there is no row.
    """
    ledger = Ledger(folder)
    found = setups(ledger.rows())
    if not found:
        raise ValueError(f"{folder} holds no finished run of a benchmark; run one first, without --report")
    setup_parts = [SetupPart(setup, ledger, folder, question, several=len(found) > 1) for setup in found]
    for part in setup_parts:
        if part.selected:
            name = f"curves_{part.setup.key}.png" if part.several else "curves.png"
            with atomic_file(folder / name) as temporary:
                part.curves.savefig(temporary, dpi=150, bbox_inches="tight")
    parts = [part.sections() for part in setup_parts]
    page = render_page(
        title="Label efficiency",
        lead="How many labels a warm start and cold-start selection save: every run trained by one recipe in equally "
        "many steps, the last step scored on images that nothing else looked at. The unit is the seed.",
        sections=[section for part in parts for section in part],
        glance=_glance(found),
    )
    tables = [
        markdown(block, f"{block.title}: {setup.title}" if len(found) > 1 else block.title)
        for setup, part in zip(found, parts, strict=True)
        for section in part
        for block in section.blocks
        if isinstance(block, Table) and block.title and not block.folded
    ]
    return write_text(folder / FILE_NAME, page), tables


@dataclasses.dataclass(frozen=True, eq=False)
class SetupPart:
    """The sections of one setup.

    Attributes:
        setup: its runs.
        ledger: has the scores of single images.
        folder: of the benchmark, for what groups the images.
        question: what is asked.
        several: whether other setups stand on the page too, so that headings must tell which it is.
    """

    setup: Setup
    ledger: Ledger
    folder: Path
    question: Question
    several: bool = False

    @property
    def budgets(self) -> list[int]:
        """Those asked for that have a row."""
        present = {labels for arm in self.setup.compared.values() for labels in arm.figures()}
        return sorted(present & set(self.question.budgets))

    def sections(self) -> list[Section]:
        """Curves, tests, strategies, subgroups, costs, settings."""
        setup, budgets, asked = self.setup, self.budgets, self.question
        parts: list[tuple[str, str, list[Any]]] = [
            ("curves", "Dice by number of labels", [self._curves, lambda: curve_table(setup, budgets)]),
            (
                "tests",
                "What is gained",
                [
                    lambda: family_table(*compare_family(setup, asked.family, budgets)),
                    lambda: square_table(setup, budgets, asked.selected),
                    lambda: labels_table(setup, budgets, asked.share),
                ],
            ),
            (
                "strategies",
                "Strategies",
                [
                    self._differences,
                    lambda: chance_table(setup, budgets),
                    lambda: percentile_table(setup, budgets),
                    lambda: ablation_table(setup, budgets),
                ],
            ),
            ("groups", "Groups of images", [self._groups]),
            ("more", "Other scores and costs", [lambda: secondary_table(setup, budgets), lambda: cost_table(setup)]),
            ("settings", "Settings", [self._settings]),
        ]
        sections = []
        for key, title, builders in parts:
            section = Section(f"{key}-{setup.key}", f"{title}: {setup.title}" if self.several else title)
            for build in builders:
                section.add(build)
            sections.append(section)
        return sections

    @functools.cached_property
    def selected(self) -> dict[str, Arm]:
        """The arms of the 2 x 2 that there are, by title."""
        names = (f"{start}/{strategy}" for start in ("none", "all") for strategy in (CHANCE, self.question.selected))
        arms = (self.setup.arm(name) for name in names)
        return {arm.title: arm for arm in arms if arm is not None and arm.strategy != ALL_LABELS}

    @functools.cached_property
    def curves(self) -> Figure:
        """Dice by number of labels of the arms that are ``selected``."""
        full = {
            start: max(arm.means().values()) for start in ("none", "all") if (arm := self.setup.full(start)) is not None
        }
        return budget_curves(self.selected, full)

    def _curves(self) -> Block:
        if not self.selected:
            raise Absent(
                f"No run with {CHANCE} or {self.question.selected} labels from random weights or a warm start."
            )
        return chart(
            self.curves,
            f"Curves: mean Dice by number of labels for {', '.join(self.selected)}.",
            "none: from random weights; all: from self-supervised weights. Shaded: one standard deviation over seeds.",
        )

    def _differences(self) -> Block:
        pairs = self.setup.against_chance
        if not pairs or not self.budgets:
            raise Absent("No strategy has random draws of its own start beside it.")
        return chart(
            chance_differences(pairs, self.budgets),
            f"Differences in points of Dice to random draws for {', '.join(pairs)}.",
            "Bars: 95 % paired bootstrap intervals over seeds, not corrected for their number.",
        )

    def _groups(self) -> Iterator[Block]:
        groups = read_groups(self.folder, self.setup.settings["data"], self.setup.settings["size"])
        if not groups:
            raise Absent("The test images have no site, differing sizes or skin tone to group them by.")
        if self.budgets:
            labels = self.budgets[(len(self.budgets) - 1) // 2]
            yield subgroup_table(self.setup, self.ledger, groups, labels, f"With {labels} labels")
        if any(self.setup.full(start) for start in ("none", "encoder", "all")):
            yield subgroup_table(self.setup, self.ledger, groups, None, "With all labels")

    def _settings(self) -> Iterator[Block]:
        settings = self.setup.settings
        shown = {**settings["recipe"], "scoring": settings["scoring"], "images": settings["data"]}
        rows = [["steps", str(settings["steps"])], *([name, plain(value)] for name, value in shown.items())]
        yield Table(["setting", "value"], rows, text_columns=2)
        about = [row["about"] for arm in self.setup.arms.values() for row in arm.rows.values()]
        machines = sorted({_machine(one) for one in about})
        yield Note(f"Computed on: {'; '.join(machines)}.")


def _machine(about: dict[str, Any]) -> str:
    hardware, versions = about.get("hardware", {}), about.get("versions", {})
    parts = [*hardware.get("gpus", []), f"{hardware.get('cores', '?')} cores, {hardware.get('threads', '?')} threads"]
    return ", ".join(
        [*parts, f"torch {versions.get('torch', '?')}", f"version {versions.get('coldstart_segmentation', '?')}"]
    )


def _glance(found: Sequence[Setup]) -> Facts:
    first = found[0]
    seeds = {seed for arm in first.arms.values() for _, seed in arm.rows}
    images = next(iter(next(iter(first.arms.values())).rows.values()))["results"]["test_images"]
    return Facts(
        [
            (str(sum(setup.runs for setup in found)), "runs", "each a training of its own"),
            (str(len(seeds)), "seeds", "shared by all arms"),
            (str(images), "test images", "scored at their own size"),
        ]
    )
