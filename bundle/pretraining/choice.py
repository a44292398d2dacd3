"""The choice of views: contrastive annotation's hardest augmentation, scored on one warmed-up encoder."""

from __future__ import annotations

import logging
import math
import os

import torch
from ignite.engine import Engine, Events

from bundle.data.sampling import as_unit_range
from bundle.pretraining.step import LARGEST_BATCH, PretrainingStep
from bundle.pretraining.views import hardest_policy, policy_report, score_policies
from bundle.run import ranks
from bundle.run.atomic import write_json
from bundle.run.seeds import derive_seed

logger = logging.getLogger(__name__)


class HardestPolicy:
    """Chooses the views by eq. 7 once the encoder is warm, and writes ``policies.json``.

    Args:
        step: the step whose views are chosen.
        images: held-out pool images, (N, C, W, H) uint8, which the training never sees.
        warmup: share of the epochs that are spent on mild views before the choice, 0 to 1. With 1 none is made.
        path: where ``policies.json`` goes.
        batch_size: images of a forward pass, 64 at most.
    """

    def __init__(
        self,
        step: PretrainingStep,
        images: torch.Tensor,
        *,
        warmup: float,
        path: str | os.PathLike[str],
        batch_size: int = LARGEST_BATCH,
    ) -> None:
        if not 0 <= warmup <= 1:
            raise ValueError(f"warmup is a share of the epochs and must be 0 to 1, got {warmup}")
        self.step, self.images, self.warmup, self.path = step, images, warmup, path
        self.batch_size = min(batch_size, LARGEST_BATCH)

    def attach(self, engine: Engine) -> None:
        """Choose at the start of the first epoch after the warm-up."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._choose)

    def _choose(self, engine: Engine) -> None:
        if not self.step.contrastive or self.step.chosen != "hardest":
            return
        epochs = engine.state.max_epochs or 0
        warm = math.ceil(self.warmup * epochs)
        if engine.state.epoch <= warm:
            if self.warmup < 1 and warm == epochs == engine.state.epoch:
                logger.warning("%d epochs leave none after the warm-up, so the views stay mild: give more steps", warm)
            return
        self.step.chosen = self._hardest()

    @ranks.first_for_all  # rounding must not let two processes choose differently
    def _hardest(self) -> str:
        network = self.step.network.eval()
        device = next(network.parameters()).device
        torch.manual_seed(derive_seed(self.step.seed, "policies"))
        images = as_unit_range(self.images.to(device)).contiguous(memory_format=torch.channels_last)

        def project(views: torch.Tensor) -> torch.Tensor:
            with self.step.autocast(device):
                return network.project(views)

        policies = list(self.step.policies.values())
        scores = score_policies(project, images, policies, batch_size=self.batch_size)
        chosen = hardest_policy(scores)
        write_json(self.path, policy_report(scores, chosen))
        for score in scores:
            logger.info("views %r: loss %.3f, retrieved %.0f %%", score.name, score.loss, 100 * score.retrieval)
        logger.info("views chosen (CA, eq. 7): %r", chosen)
        return chosen
