"""MONAI Label's strategies: which image an annotator gets who presses "next sample"."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from bundle.label.pool import Order, RankedPool

logger = logging.getLogger(__name__)

SKIP = "skip"  # the note at an image that nobody is to annotate


class Serving(Strategy):
    """Serves the first image of an order that has no final label, is not set aside and that nobody else has.

    Args:
        pool: ranks and leases.
        order: all waiting ids to the order they are served in.
        description: for the client.
    """

    def __init__(self, pool: RankedPool, order: Order, description: str) -> None:
        super().__init__(description)
        self._pool, self._order = pool, order

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """The image's id with rank, score and reason, or None where no image is waiting.

        ``request`` may name the annotator (``client_id``) and an image that is to be set aside for good (``skip``).
        """
        if request.get(SKIP):
            datastore.update_image_info(str(request[SKIP]), {SKIP: True})
            self._pool.leases.give_back(str(request[SKIP]))
        unlabelled = datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels"))
        unreadable = self._pool.unreadable
        waiting = [i for i in unlabelled if i not in unreadable and not datastore.get_image_info(i).get(SKIP)]
        chosen = self._pool.leases.take(self._order(waiting), str(request.get("client_id") or ""))
        if chosen is None:
            logger.info("no image to serve: %d without label, %d of them not set aside", len(unlabelled), len(waiting))
            return None
        row = self._pool.ranking.by_id().get(chosen)
        return {"id": chosen} | ({"rank": row.rank, "score": row.score, "reason": row.reason} if row else {})


def all_strategies(pool: RankedPool) -> dict[str, Strategy]:
    """Name to strategy; the first is what a client offers first."""
    return {
        "coldstart": Serving(pool, pool.by_rank, f"What is worth most before there is a model ({pool.plan.strategy})"),
        "uncertainty": Serving(
            pool, pool.by_uncertainty, f"What the trained model is least sure of ({pool.plan.criterion})"
        ),
        "random": Serving(pool, pool.by_chance, "At random, for comparison"),
        "first": Serving(pool, sorted, "In alphabetical order, for comparison"),
    }
