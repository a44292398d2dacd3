"""What was selected and why: montage, map, clusters, silhouette, coverage."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.embedding import Embeddings
from bundle.report.blocks import Absent, Beside, Block, Chart, Facts, Note, Section, Tiles, chart, plain
from bundle.report.curves import coverage_curve as draw_coverage
from bundle.report.curves import silhouette_curve
from bundle.report.maps import NO_CLUSTER, cluster_colours, cluster_sizes, embedding_map, project
from bundle.report.montage import selection_montage
from bundle.report.run_folder import mapping


@dataclasses.dataclass(frozen=True, eq=False)
class SelectionPart:
    """Everything that the section on a selection is drawn from.

    Attributes:
        rows: in rank order, each with ``rank`` and ``id``.
        diagnostics: of the selection; keys that are absent leave their figure out.
        embeddings: of the pool that the selection was made from, or None.
        image_paths: id to file.
        modality: how to read the files; None where it is not known.
        seed: of the random draws that the coverage is compared with.
    """

    rows: Sequence[Mapping[str, Any]]
    diagnostics: Mapping[str, Any]
    embeddings: Embeddings | None
    image_paths: Mapping[str, Path]
    modality: Any
    seed: int = 0

    @property
    def clusters(self) -> dict[str, int]:
        """Cluster of every image of the pool, from 1; empty for a strategy without clusters."""
        return {str(name): int(cluster) for name, cluster in mapping(self.diagnostics.get("clusters")).items()}

    def section(self) -> Section:
        """The section, with a line for each figure whose data are absent."""
        section = Section("selection", "Selection")
        section.add(self._facts)
        section.add(self._montage)
        section.add(self._charts)
        section.add(self._words)
        return section

    def _facts(self) -> Facts:
        items = [(str(len(self.rows)), "images to annotate", self._strategy())]
        for key, name, detail in (
            ("pool", "images to choose from", ""),
            ("labelled", "labelled before", "never chosen again"),
            ("excluded", "excluded", "never looked at"),
        ):
            if self.diagnostics.get(key) is not None:
                items.append((plain(self.diagnostics[key]), name, detail))
        if self.clusters:
            items.append((str(len(set(self.clusters.values()))), "clusters", ""))
        noted = mapping(self.diagnostics.get("coverage"))
        if noted.get("random_equivalent"):
            items.append((plain(noted["random_equivalent"]), "random images", "cover the pool as well"))
        return Facts(items)

    def _strategy(self) -> str:
        from bundle.selection import find_strategy

        name = self.diagnostics.get("strategy") or ""
        try:
            return f"{name}: {find_strategy(name).summary}"
        except ValueError:  # one of a plug-in that is not here
            return str(name)

    def _montage(self) -> Tiles:
        if not self.rows:
            raise Absent("No montage: the selection has no rows.")
        if self.modality is None:
            raise Absent("No montage: nothing tells the modality, so the images cannot be read.")
        colours = {str(cluster): colour for cluster, colour in cluster_colours(self.clusters.values()).items()}
        named = {row["id"]: row["cluster"] for row in self.rows if row.get("cluster") not in (None, "")}
        return selection_montage(
            self.rows, self.image_paths, self.modality, clusters={**named, **self.clusters}, colours=colours
        )

    def _map(self) -> Chart:
        if self.embeddings is None:
            raise Absent("No map: the embeddings are absent.")
        if min(self.embeddings.vectors.shape) < 2:
            raise Absent("No map: it needs two images and two features at least.")
        pool = self._pool(self.embeddings)
        row_of = {name: row for row, name in enumerate(pool.ids)}
        points, explained = project(pool.vectors)
        clusters = [self.clusters.get(name, NO_CLUSTER) for name in pool.ids] if self.clusters else None
        ranks = {row_of[row["id"]]: int(row["rank"]) for row in self.rows if row["id"] in row_of}
        return chart(
            embedding_map(points, ranks=ranks, clusters=clusters, explained=explained),
            "Map of the pool: every image a dot at its first two principal components, the selected ones as discs.",
            "Principal components of the L2-normalised vectors: two of many, so what overlaps here may lie apart."
            + (" The large numbers are clusters, at the median of their images." if clusters else ""),
        )

    def _charts(self) -> Iterator[Block]:
        drawn = Section("", "")
        for build in (self._map, self._sizes, self._silhouette, self._coverage):
            drawn.add(build)
        charts = [block for block in drawn.blocks if isinstance(block, Chart)]
        if charts:
            yield Beside(charts[0], charts[1:])
        yield from (block for block in drawn.blocks if not isinstance(block, Chart))

    def _sizes(self) -> Chart:
        if not self.clusters:
            raise Absent("No cluster sizes: the strategy makes no clusters, or its diagnostics are absent.")
        sizes = Counter(self.clusters.values())
        taken = Counter(self.clusters.get(row["id"]) for row in self.rows)
        names = sorted(sizes)
        return chart(
            cluster_sizes([str(name) for name in names], [sizes[n] for n in names], [taken[n] for n in names]),
            f"Bars: images in each of {len(names)} clusters, with the number selected from each.",
        )

    def _silhouette(self) -> Chart:
        found = mapping(self.diagnostics.get("silhouette"))
        if not found:
            raise Absent("No silhouette curve: the number of clusters was not searched for.")
        chosen = found.get("chosen") or self.diagnostics.get("k")
        known = [(k, score) for k, score in zip(found["k"], found["score"], strict=True) if score is not None]
        least = found.get("k_min")
        return chart(
            silhouette_curve([k for k, _ in known], [score for _, score in known], chosen=chosen, least=least),
            f"Curve: mean silhouette by number of clusters; {chosen} were taken.",
            "A higher silhouette means that images lie nearer to their own cluster than to the next one."
            + (f" K below {least} is shown but not eligible." if least and least > min(found["k"]) else ""),
        )

    @functools.cached_property
    def _sufficiency(self) -> Mapping[str, Any]:
        """As the selection noted it; where it did not, as it can be told from the embeddings."""
        noted = mapping(self.diagnostics.get("coverage"))
        if noted:
            return noted
        if self.embeddings is None:
            raise Absent("No coverage: the embeddings are absent.")
        from bundle.selection.sufficiency import measure_sufficiency

        pool = self._pool(self.embeddings)
        known = set(pool.ids)
        chosen = [row["id"] for row in self.rows if row["id"] in known]
        if not chosen:
            raise Absent("No coverage: no selected image has an embedding.")
        return measure_sufficiency(pool, chosen, seed=self.seed).summary()

    def _coverage(self) -> Chart:
        found = self._sufficiency
        random = {name: found[f"random_{name}"] for name in ("mean", "low", "high")}
        return chart(
            draw_coverage(found["mean"], random=random, asked=found["asked"], pool=found["pool"], knee=found["knee"]),
            f"Curve: coverage of the pool by number of labels, for the selection and {found['random_draws']} random "
            "draws.",
            "Mean distance of an image to the nearest chosen one, relative to that to the pool's centre; lower is "
            "better. After the knee another label adds less than on average."
            + (" Dashed: the images that would follow." if found["further"] else ""),
        )

    def _words(self) -> Iterator[Block]:
        """How many are enough, and when to stop, in a sentence each."""
        with contextlib.suppress(Absent):  # the chart has said so
            for text in self._sufficiency.get("in_words", ()):
                yield Note(f"{text[:1].upper()}{text[1:]}.")

    def _pool(self, embeddings: Embeddings) -> Embeddings:
        """What could be chosen from, sorted by id, so that the order of the rows plays no part in any figure."""
        return embeddings.subset(sorted(set(embeddings.ids) & set(self.clusters) or embeddings.ids))
