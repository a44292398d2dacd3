"""Several selections of one pool beside each other: figures, curves, what they share, and their first images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bundle.report.blocks import Beside, Block, Section, Table, chart
from bundle.report.curves import coverage_against_typicality, coverage_comparison
from bundle.report.montage import selection_montage
from bundle.selection import find_strategy
from bundle.selection.comparison import Comparison

FIRST = 8  # images of each: one row on a laptop


@dataclasses.dataclass(frozen=True, eq=False)
class ComparisonPart:
    """Everything that the sections on a comparison are drawn from.

    Attributes:
        comparison: the figures.
        image_paths: id to file.
        modality: how to read the files.
    """

    comparison: Comparison
    image_paths: Mapping[str, Path]
    modality: Any

    def sections(self) -> list[Section]:
        """Figures, overlap, images."""
        figures, overlap, images = (
            Section("figures", "Coverage and typicality"),
            Section("overlap", "What they share"),
            Section("images", "The first images of each"),
        )
        figures.add(self._figures)
        figures.add(self._charts)
        overlap.add(self._overlap)
        images.add(self._montages)
        return [figures, overlap, images]

    def _figures(self) -> Table:
        *rows, random = self.comparison.rows()
        cells = [
            [
                row["strategy"],
                find_strategy(row["strategy"]).good_for,
                "yes" if one.selection.diagnostics["nested"] else "no",
                f"{row['mean_distance']:.3f}",
                f"{row['mean_distance'] / random['mean_distance'] - 1:+.1%}" if random["mean_distance"] else "–",
                f"{row['largest_distance']:.3f}",
                f"{row['typicality']:.2f}",
            ]
            for row, one in zip(rows, self.comparison.measured, strict=True)
        ]
        draws = len(self.comparison.random_mean)
        mean, largest, typicality = (
            f"{random[name]:.{digits}f} ± {random[f'{name}_sd']:.{digits}f}"
            for name, digits in (("mean_distance", 3), ("largest_distance", 3), ("typicality", 2))
        )
        cells.append([f"{draws} random draws", "mean ± standard deviation", "yes", mean, "", largest, typicality])
        return Table(
            ["strategy", "good for", "nested", "mean distance", "to random", "largest distance", "typicality"],
            cells,
            "Distances are those of an image of the pool to the nearest chosen one, relative to the mean distance to "
            "the pool's centre; lower is better. Typicality is the share of the pool in thinner surroundings than an "
            "image chosen, on average: chance has 0.5, 1 is the densest spot. High typicality suits very few labels; "
            "rare findings are at low typicality. Both are proxies in the space of the embeddings: which strategy "
            "gives the better model is known after training, not from this page.",
            text_columns=2,
        )

    def _charts(self) -> Block:
        found = self.comparison
        mean = found.random_mean
        random = {"mean": mean.mean(axis=0), "low": mean.min(axis=0), "high": mean.max(axis=0)}
        curves = {one.name: one.coverage.mean for one in found.measured}
        points = {one.name: (one.typicality, float(one.coverage.mean[-1])) for one in found.measured}
        return Beside(
            chart(
                coverage_comparison(curves, random=random, pool=found.pool),
                f"Curves: coverage of the pool by number of labels, for {len(curves)} strategies and random draws.",
                "Of a strategy that is not nested the curve is of its own order; asked for fewer images, it would "
                "choose others and cover better.",
            ),
            [
                chart(
                    coverage_against_typicality(points, (found.random_typicality, mean[:, -1])),
                    "Points: typicality and mean distance of every strategy and of random draws.",
                    "After the last image; crosses are random draws. Low: good coverage. Right: typical images.",
                )
            ],
        )

    def _overlap(self) -> Block:
        found = self.comparison
        rows = [
            [
                name,
                *(
                    "–" if i == j else f"{found.shared[i, j]} ({found.jaccard[i, j]:.2f})"
                    for j in range(len(found.names))
                ),
            ]
            for i, name in enumerate(found.names)
        ]
        return Table(
            ["", *found.names],
            rows,
            f"Images that two selections have in common, out of {found.budget} each; in brackets the Jaccard index. "
            f"Two random draws would share {found.shared_by_chance:.1f} on average.",
        )

    def _montages(self) -> Iterator[Block]:
        for one in self.comparison.measured:
            rows = [{"rank": row.rank, "id": row.id} for row in one.selection.rows]
            clusters = {row.id: row.cluster for row in one.selection.rows if row.cluster is not None}
            title = f"{one.name}: {find_strategy(one.name).summary}"
            tiles = selection_montage(rows, self.image_paths, self.modality, clusters=clusters, title=title, most=FIRST)
            yield dataclasses.replace(tiles, caption="")
