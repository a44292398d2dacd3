"""The ranked pool of one datastore and one model: what scoring writes and serving reads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from bundle.label.descriptions import Descriptions, PoolImage
from bundle.label.leases import Leases
from bundle.label.models import PackagedModel
from bundle.label.plan import Plan
from bundle.label.ranking import Ranking
from bundle.label.uncertainty import Uncertainty
from bundle.numerics import choose_device
from bundle.run.quarantine import Quarantine
from bundle.run.record import file_fingerprint
from bundle.run.seeds import derive_seed

logger = logging.getLogger(__name__)

Order = Callable[[Collection[str]], list[str]]


class RankedPool:
    """Ranks, scores and leases, all kept in one folder, so that any process of the server finds them.

    Args:
        folder: holds ``ranking.json``, ``uncertainty.json``, ``leases.json``, ``embeddings``, ``quarantine.csv``.
        model: whose SSL weights describe and whose ``model.pt`` is unsure.
        plan: how to rank.
    """

    def __init__(self, folder: Path, model: PackagedModel, plan: Plan) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.model, self.plan = folder, model, plan
        self.leases = Leases(folder / "leases.json", plan.lease_minutes)
        self.uncertainty = Uncertainty(folder / "uncertainty.json", plan.criterion, seed=plan.seed)
        self._descriptions = Descriptions(folder / "embeddings", model.ssl_weights, model.modality, choose_device())
        self.fingerprint = plan.fingerprint(file_fingerprint(model.ssl_weights), model.modality.name)

    @property
    def ranking(self) -> Ranking:
        """The ranking as it stands."""
        return Ranking.load(self.folder / "ranking.json", self.fingerprint)

    def rank(self, images: Sequence[PoolImage], *, labelled: Collection[str]) -> Ranking:
        """Rank what has no rank yet, and keep it. Cheap where nothing is new."""
        quarantine = Quarantine()
        embeddings = self._descriptions.update(images, quarantine)
        quarantine.write(self.folder)
        before = self.ranking
        if embeddings is None:
            return before
        ranking = before.extended(embeddings, self.plan, labelled=labelled)
        if ranking is not before:
            ranking.save(self.folder / "ranking.json")
            logger.info("ranked %d images, %d of them new", len(ranking.rows), len(ranking.rows) - len(before.rows))
        return ranking

    def is_current(self, ids: Collection[str], *, labelled: Collection[str]) -> bool:
        """Whether every image has a rank, a label, or a note that it cannot be read."""
        return set(ids) <= {*labelled, *self.ranking.by_id(), *self.unreadable}

    def may_read_again(self, images: Sequence[PoolImage]) -> bool:
        """Whether one of ``images`` could not be read and has another file now."""
        return self._descriptions.may_read_again(images)

    @property
    def unreadable(self) -> set[str]:
        """Ids of the images that no stage can read."""
        return self._descriptions.unreadable()

    def by_rank(self, waiting: Collection[str]) -> list[str]:
        """The most worth first; images that have no rank yet follow, in random order."""
        ranks = {row.id: row.rank for row in self.ranking.rows}
        late = self.by_chance([image for image in waiting if image not in ranks])
        return [*sorted((image for image in waiting if image in ranks), key=ranks.__getitem__), *late]

    def by_uncertainty(self, waiting: Collection[str]) -> list[str]:
        """The most uncertain first; by rank where the model is not trained, or has not seen the image."""
        scores = self.uncertainty.scores() if self.model.is_trained else {}
        ranked = self.by_rank(waiting)
        scored = sorted((image for image in ranked if image in scores), key=lambda image: -scores[image])
        return [*scored, *(image for image in ranked if image not in scores)]

    def by_chance(self, waiting: Collection[str]) -> list[str]:
        """A random order that the seed decides for each image by itself, so that a late image moves no other."""
        return sorted(waiting, key=lambda image: (derive_seed(self.plan.seed, "label", "chance", image), image))
