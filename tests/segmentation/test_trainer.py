"""What frames the steps of a fine-tuning."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from monai.engines import SupervisedEvaluator, SupervisedTrainer

from bundle.run.history import History
from bundle.segmentation.trainer import FiniteLoss, Schedule
from bundle.segmentation.validation import Validation
from bundle.weights import SaveWeights


def test_a_loss_that_is_not_finite_stops_before_it_reaches_the_weights():
    network = torch.nn.Linear(2, 1)
    before = network.weight.detach().clone()
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=[{"image": torch.ones(3, 2), "label": torch.full((3, 1), float("nan"))}],
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=1.0),
        loss_function=torch.nn.MSELoss(),
        train_handlers=[FiniteLoss()],
        decollate=False,
    )
    with pytest.raises(FloatingPointError, match=r"nan at step 1: begin anew with a lower learning_rate"):
        trainer.run()
    assert torch.equal(network.weight, before)


def test_the_schedule_advances_every_step():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    engine = Engine(lambda *_: optimizer.step())
    Schedule(torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)).attach(engine)
    engine.run(range(3), max_epochs=2)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5**6)


class Evaluator(SupervisedEvaluator):
    """Counts its runs and scores each of them higher than the last."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"), [0], torch.nn.Identity(), epoch_length=1)
        self.runs: list[int] = []

    def run(self, global_epoch: int = 1) -> None:
        self.runs.append(global_epoch)
        self.state.key_metric_name = "val_dice"
        self.state.metrics = {"val_dice": len(self.runs) / 10}


@pytest.mark.parametrize(
    ("epochs", "interval", "images", "runs"), [(5, 2, 3, [2, 4, 5]), (2, 5, 3, [2]), (4, 1, 0, [])]
)
def test_validation_runs_at_its_interval_and_at_the_end_where_there_are_images(
    tmp_path, epochs, interval, images, runs
):
    evaluator, history = Evaluator(), History(tmp_path / "history.csv", ())
    weights = SaveWeights(tmp_path / "last.pt", torch.nn.Identity(), {})  # type: ignore[arg-type]
    validation = Validation(evaluator, range(images), interval=interval, history=history, weights=weights)
    engine = Engine(lambda *_: {})
    validation.attach(engine)
    history.attach(engine)
    engine.run(range(2), max_epochs=epochs)
    assert evaluator.runs == runs
    noted = {row["epoch"]: row["val_dice"] for row in history.rows if "val_dice" in row}
    assert noted == {epoch: (i + 1) / 10 for i, epoch in enumerate(runs)}
