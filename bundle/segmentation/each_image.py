"""What is made of each prediction at its image's own size, beside the network that predicts the next batch."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from ignite.engine import Engine, Events
from tqdm import tqdm

from bundle.data.workers import beside_the_network
from bundle.run import ranks
from bundle.run.quarantine import FILE_NAME, Quarantine

BACKLOG = 64  # predictions that may wait for a thread; the network waits when there are more

Item = dict[str, Any]
Row = dict[str, Any]


class EachImage(ABC):
    """Engine handler over batches of ``bundle.data.read_ahead.ReadAhead``: a row of results for every image.

    The engine neither decollates nor postprocesses: both happen here, image by image and in threads.

    Args:
        postprocessing: of an item with ``pred``: (classes, size, size) logits, or whatever tensors the network gives.
        title: of the progress bar.
    """

    def __init__(self, postprocessing: Callable[[Item], Item], title: str) -> None:
        self.postprocessing, self.title = postprocessing, title
        self.rows: list[Row] = []
        self._stack = contextlib.ExitStack()  # the threads and the bar, closed however the run ends

    def attach(self, engine: Engine) -> None:
        """Follow ``engine``."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._take)
        engine.add_event_handler(Events.COMPLETED, self._complete)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)

    @abstractmethod
    def begin(self) -> None:
        """Before the first image."""

    @abstractmethod
    def finish_image(self, item: Item) -> Row:
        """The row of a postprocessed item; called from several threads."""

    @abstractmethod
    def end(self, engine: Engine) -> None:
        """After the last image, on every process; ``rows`` are those of all, in the order of the images."""

    @abstractmethod
    def set_aside(self, unreadable: Quarantine) -> None:
        """Write down what could not be read."""

    def _start(self, engine: Engine) -> None:
        self.rows = []
        self._waiting: deque[Future[Row]] = deque()
        self.begin()
        self._pool = self._stack.enter_context(beside_the_network())
        images = len(engine.data_loader.dataset)  # type: ignore[attr-defined]
        self._repeats, own = ranks.repeats(images), len(ranks.part(images))
        hidden = None if ranks.is_first() else True
        self._bar = self._stack.enter_context(tqdm(total=own, desc=self.title, unit="image", disable=hidden))

    def _take(self, engine: Engine) -> None:
        if self._repeats:
            return
        batch: Any = engine.state.batch
        output: Any = engine.state.output
        for item, prediction in zip(batch["items"], _each(output["pred"]), strict=True):
            self._waiting.append(self._pool.submit(self._finish, {**item, "pred": prediction}))
        self._collect(down_to=BACKLOG)

    def _finish(self, item: Item) -> Row:
        return self.finish_image(self.postprocessing(item))

    def _collect(self, *, down_to: int) -> None:
        while self._waiting and (len(self._waiting) > down_to or self._waiting[0].done()):
            self.rows.append(self._waiting.popleft().result())
            self._bar.update()

    def _complete(self, engine: Engine) -> None:
        self._collect(down_to=0)
        self._stack.close()
        unreadable: Quarantine = engine.data_loader.aside  # type: ignore[attr-defined]
        self.rows = ranks.gather_items(self.rows)
        unreadable.rows = ranks.gather_items([] if self._repeats else unreadable.rows)
        ranks.only_first(self.set_aside)(unreadable)
        if unreadable.rows and not self.rows:
            raise ValueError(f"none of the {len(unreadable)} images can be read; see {FILE_NAME} for the reasons")
        self.end(engine)

    def _fail(self, _: Engine, error: BaseException) -> None:
        self._stack.close()
        raise error


def _each(predictions: Any) -> Sequence[Any]:
    """What the network gave for a batch, a tensor or a dictionary of tensors, image by image."""
    if not isinstance(predictions, dict):
        return predictions.detach().cpu()
    parts = zip(*(tensor.detach().cpu() for tensor in predictions.values()), strict=True)
    return [dict(zip(predictions, part, strict=True)) for part in parts]
