"""MONAI Label's scoring methods: background tasks that rank the datastore, and that score it under the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.scoring import ScoringMethod

from bundle.label.descriptions import PoolImage
from bundle.label.pool import RankedPool
from bundle.numerics import choose_device


class RankPool(ScoringMethod):
    """Describes the datastore with the SSL weights and ranks what has no rank yet."""

    def __init__(self, pool: RankedPool) -> None:
        super().__init__(f"Ranks the datastore by {pool.plan.strategy}, on features of the self-supervised weights")
        self._pool = pool

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, int]:  # noqa: ARG002
        """Rank; the answer counts ``ranked`` and ``unreadable`` images."""
        images = pool_images(datastore, datastore.list_images())
        ranking = self._pool.rank(images, labelled=set(datastore.get_labeled_images()))
        return {"ranked": len(ranking.rows), "unreadable": len(self._pool.unreadable)}


class ScoreUncertainty(ScoringMethod):
    """Scores how unsure the trained model is of the images without label."""

    def __init__(self, pool: RankedPool) -> None:
        super().__init__(f"How unsure the trained model is of each image without label, by {pool.plan.criterion}")
        self._pool = pool

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, int]:  # noqa: ARG002
        """Score; the answer counts ``scored`` images, none before a model is trained."""
        model = self._pool.model
        if not model.is_trained:
            return {"scored": 0}
        waiting = set(datastore.get_unlabeled_images()) - self._pool.unreadable
        images = pool_images(datastore, sorted(waiting))
        return {"scored": len(self._pool.uncertainty.update(images, model, choose_device()))}


def pool_images(datastore: Datastore, ids: list[str]) -> list[PoolImage]:
    """The images of ``ids`` with their files; a remote datastore fetches them first."""
    return [PoolImage(identifier, Path(datastore.get_image_uri(identifier))) for identifier in ids]
