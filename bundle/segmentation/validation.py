"""Validation beside the training: a look at the Dice on the canvas, for the curve and the best weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import Evaluator
from monai.handlers import IgniteMetricHandler
from monai.metrics import DiceMetric
from monai.utils import MetricReduction

from bundle.run.history import History
from bundle.weights import SaveWeights


class MeanDice(IgniteMetricHandler):
    """MONAI's handler of that name, with labels that an image lacks counted as the evaluation counts them.

    Its own leaves them out, so that a false alarm would cost nothing. Here an absent label scores 1 where none is
    predicted, and else 0.

    Args:
        output_transform: from the engine's output to (prediction, truth), one-hot with the background first.
    """

    def __init__(self, output_transform: Callable[[Any], Any]) -> None:
        metric = DiceMetric(include_background=False, reduction=MetricReduction.MEAN, ignore_empty=False)
        super().__init__(metric_fn=metric, output_transform=output_transform, save_details=False)


class Validation:
    """Runs the evaluator every few epochs and at the last, where there are validation images at all.

    Args:
        evaluator: MONAI evaluator whose key metric is the mean Dice.
        dataset: its dataset, asked for its length alone.
        interval: epochs between validations.
        history: gets the score as ``val_dice``.
        weights: told the score, to keep the best weights.
    """

    def __init__(
        self, evaluator: Evaluator, dataset: Any, *, interval: int = 1, history: History, weights: SaveWeights
    ) -> None:
        self.evaluator, self.dataset, self.interval = evaluator, dataset, interval
        self.history, self.weights = history, weights

    def attach(self, engine: Engine) -> None:
        """Follow ``engine``. Attach before the history, whose row the score belongs to."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._validate)

    def _validate(self, engine: Engine) -> None:
        last = engine.state.epoch == engine.state.max_epochs
        if len(self.dataset) == 0 or (engine.state.epoch % self.interval and not last):
            return
        self.evaluator.run(engine.state.epoch)
        score = float(self.evaluator.state.metrics[self.evaluator.state.key_metric_name])
        self.history.note("val_dice", round(score, 5))
        self.weights.saw(score)
