"""A training that was killed goes on where its last finished epoch left it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from bundle.run import ranks
from bundle.run.atomic import write_tensors
from bundle.run.record import FILE_NAME as RECORD
from bundle.run.record import content_fingerprint
from bundle.run.temporary import clear_leftovers

logger = logging.getLogger(__name__)


class Resume:
    """Saves a training after each epoch and restores it when the same training is started again.

    Steps are functions of (seed, step), so the resumed training ends where the undisturbed one ends.

    Args:
        path: the checkpoint file.
        state: name to object with ``state_dict`` and ``load_state_dict``: network, optimizer, schedule, history.
        steppers: objects told by ``resume_at(step)`` which step comes next.
        settings: what makes two trainings the same. A checkpoint of other settings is not continued.
        interval: epochs between saves.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        state: Mapping[str, Any],
        *,
        steppers: tuple[Any, ...] | list[Any] = (),
        settings: Mapping[str, Any] | None = None,
        interval: int = 1,
    ) -> None:
        self.path, self.state, self.steppers, self.interval = Path(path), dict(state), tuple(steppers), interval
        self.fingerprint = content_fingerprint(sorted(f"{k}={v}" for k, v in (settings or {}).items()))

    def attach(self, engine: Engine) -> None:
        """Restore at the start of ``engine`` and save after its epochs."""
        engine.add_event_handler(Events.STARTED, self.restore)
        engine.add_event_handler(Events.EPOCH_COMPLETED, ranks.only_first(self.save))

    def restore(self, engine: Engine) -> None:
        """Bring state and engine to the end of the last finished epoch, if a checkpoint of these settings is there.

        Raises:
            ValueError: the checkpoint cannot be read.
        """
        checkpoint = self._read()
        if checkpoint is not None and checkpoint["epoch"] > (engine.state.max_epochs or 0):
            logger.warning("%s is of a longer training in shorter epochs: starting anew", self.path)
            checkpoint = None
        if checkpoint is None:
            self._forget()
            return
        for name, item in self.state.items():
            item.load_state_dict(checkpoint["state"][name])
        engine.state.epoch, engine.state.iteration = checkpoint["epoch"], checkpoint["iteration"]
        for stepper in self.steppers:
            stepper.resume_at(engine.state.iteration)
        logger.info("goes on after epoch %d of %s (%s)", engine.state.epoch, engine.state.max_epochs, self.path)

    @ranks.first_for_all  # on another machine the file may not be in sight, or not yet
    def _read(self) -> dict[str, Any] | None:
        """The checkpoint, or None where there is none of these settings; what a kill left of one half-written goes."""
        clear_leftovers(self.path.parent, of=self.path.name)
        if not self.path.is_file():
            return None
        try:
            checkpoint: Any = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ValueError(f"{self.path} is no checkpoint that can be read: remove it to start anew") from error
        if not isinstance(checkpoint, dict) or "fingerprint" not in checkpoint:
            raise ValueError(f"{self.path} is no checkpoint of a training: remove it to start anew")
        if checkpoint["fingerprint"] != self.fingerprint:
            logger.warning("%s belongs to a training with other settings or data: starting anew", self.path)
            return None
        return checkpoint

    @ranks.only_first
    def _forget(self) -> None:
        """Remove the record of a training that ended here before: until this one ends there is none."""
        (self.path.parent / RECORD).unlink(missing_ok=True)

    def save(self, engine: Engine) -> None:
        """Write the checkpoint, whole or not at all."""
        if engine.state.epoch % self.interval and engine.state.epoch != engine.state.max_epochs:
            return
        content = {
            "fingerprint": self.fingerprint,
            "epoch": engine.state.epoch,
            "iteration": engine.state.iteration,
            "state": {name: item.state_dict() for name, item in self.state.items()},
        }
        write_tensors(self.path, content)
