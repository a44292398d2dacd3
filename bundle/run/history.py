"""The course of a training: one row an epoch, in a CSV that grows and survives a resume."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from tqdm import tqdm

from bundle.run import ranks
from bundle.run.table import write_csv

logger = logging.getLogger(__name__)


class History:
    """Averages the figures of every step over an epoch, shows progress and writes ``history.csv``.

    The engine's output must be a mapping; its numbers named in ``figures`` are averaged. Other parts add their own
    with :meth:`note` during an epoch, such as the validation Dice.

    Args:
        path: the CSV file.
        figures: names of the numbers to average.
    """

    def __init__(self, path: str | os.PathLike[str], figures: tuple[str, ...] | list[str] = ("loss",)) -> None:
        self.path, self.figures = Path(path), tuple(figures)
        self.rows: list[dict[str, Any]] = []
        self._sums: dict[str, float] = {}
        self._steps = 0
        self._noted: dict[str, Any] = {}

    def attach(self, engine: Engine) -> None:
        """Follow ``engine``. Attach before what saves checkpoints, so that these hold the finished epoch's row."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish_epoch)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def note(self, name: str, value: Any) -> None:
        """Add a figure to the current epoch's row."""
        self._noted[name] = value

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after these rows."""
        self.rows = list(state["rows"])

    def _start(self, engine: Engine) -> None:
        self._bar = tqdm(
            total=engine.state.max_epochs, unit="epoch", disable=not (ranks.is_first() and sys.stderr.isatty())
        )

    def _start_epoch(self, engine: Engine) -> None:
        self._sums, self._steps, self._noted = {}, 0, {}
        self._begun = time.monotonic()
        self._bar.n = engine.state.epoch - 1

    def _add(self, engine: Engine) -> None:
        output: Any = engine.state.output
        for name in self.figures:
            if name in output:
                value = output[name]
                self._sums[name] = self._sums.get(name, 0.0) + float(
                    value.detach() if hasattr(value, "detach") else value
                )
        self._steps += 1

    def _finish_epoch(self, engine: Engine) -> None:
        row: dict[str, Any] = {"epoch": engine.state.epoch, "step": engine.state.iteration}
        row |= {name: round(total / max(1, self._steps), 6) for name, total in self._sums.items()}
        row |= self._noted
        row["seconds"] = round(time.monotonic() - self._begun, 2)
        self.rows.append(row)
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        ranks.only_first(write_csv)(self.path, self.rows, columns)
        shown = ", ".join(f"{k} {v:.4g}" for k, v in row.items() if k not in ("epoch", "step", "seconds"))
        left = row["seconds"] * ((engine.state.max_epochs or 0) - engine.state.epoch)
        self._bar.set_postfix_str(shown, refresh=False)
        self._bar.update()
        if self._bar.disable:
            logger.info("epoch %d of %s: %s; %.0f s left", engine.state.epoch, engine.state.max_epochs, shown, left)

    def _finish(self, _: Engine) -> None:
        self._bar.close()
