"""What frames the fine-tuning's steps: the guard against a diverged loss and the run record."""

from __future__ import annotations

import math
import os
from typing import Any

from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from torch import nn

from bundle.run import ranks
from bundle.run.collectives import own_rows, total, total_gradients
from bundle.run.record import RunRecord, file_fingerprint


class FiniteLoss:
    """Engine handler: stops the training before a loss that is not finite reaches the weights."""

    def attach(self, engine: Engine) -> None:
        """Look at every loss of ``engine``, a MONAI trainer, before its gradient is taken."""
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._check)

    def _check(self, engine: Engine) -> None:
        output: Any = engine.state.output
        loss = float(output["loss"].detach())
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the training loss is {loss} at step {engine.state.iteration}: begin anew with a lower learning_rate, "
                f"or with precision fp32; the last finished epoch is kept"
            )


class WholeBatch:
    """Engine handler: gradients and loss become those of the batch of all processes."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Act on every loss and gradient of ``engine``, a MONAI trainer, before the optimiser does."""
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._take_share)
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self._add_up)

    def _take_share(self, engine: Engine) -> None:
        # Before the backward pass: through the batch normalisation gradients reach other processes.
        output: Any = engine.state.output
        output["loss"] = output["loss"] * own_rows(len(output["image"])).share

    def _add_up(self, engine: Engine) -> None:
        output: Any = engine.state.output
        total_gradients(self.network.parameters())
        output["loss"] = total(output["loss"].detach())


class Schedule:
    """Engine handler: advances a learning-rate schedule every step."""

    def __init__(self, schedule: Any) -> None:
        self.schedule = schedule

    def attach(self, engine: Engine) -> None:
        """Follow ``engine``."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, lambda _: self.schedule.step())


class WriteRecord:
    """Engine handler: notes what was trained and writes ``run.json``. Attach after what writes the weights."""

    def __init__(self, record: RunRecord, folder: str | os.PathLike[str], weights: str | os.PathLike[str]) -> None:
        self.record, self.folder, self.weights = record, folder, weights

    def attach(self, engine: Engine) -> None:
        """Write when ``engine`` has completed."""
        engine.add_event_handler(Events.COMPLETED, ranks.only_first(self._write))

    def _write(self, engine: Engine) -> None:
        self.record.note("steps", engine.state.iteration)
        self.record.note("weights", file_fingerprint(self.weights))
        self.record.write(self.folder)
