"""A training that stops goes on where its last finished epoch left it, and its history with it."""

from __future__ import annotations

import csv
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events

from bundle.run.atomic import write_text
from bundle.run.history import History
from bundle.run.resume import Resume
from bundle.run.temporary import temporary_path


class Stopped(Exception):
    """What ends a training in the middle of a step."""


class Counter:
    """Remembers from which step it was told to go on."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def resume_at(self, step: int) -> None:
        self.told.append(step)


class Training:
    """A line fitted by SGD with momentum to a target that depends on the step: 3 steps an epoch."""

    def __init__(self, folder: Path, *, settings: dict[str, Any] | None = None, interval: int = 1) -> None:
        torch.manual_seed(0)
        self.network = torch.nn.Linear(2, 1)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.1, momentum=0.9)
        self.history = History(folder / "history.csv", ("loss", "never"))
        self.counter = Counter()
        self.steps: list[int] = []
        self.engine = Engine(self._step)
        self.history.attach(self.engine)
        Resume(
            folder / "checkpoint.pt",
            {"network": self.network, "optimizer": self.optimizer, "history": self.history},
            steppers=[self.counter],
            settings=settings,
            interval=interval,
        ).attach(self.engine)

    def _step(self, engine: Engine, _: Any) -> dict[str, float]:
        self.steps.append(engine.state.iteration)
        loss = (self.network(torch.ones(1, 2)) - engine.state.iteration).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.item()}

    def run(self, epochs: int, stop_at: int | None = None) -> None:
        if stop_at is not None:

            def stop() -> None:
                raise Stopped

            self.engine.add_event_handler(Events.ITERATION_COMPLETED(once=stop_at), stop)
        self.engine.run(range(100), max_epochs=epochs, epoch_length=3)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="", encoding="utf-8") as handle:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(handle)]


@pytest.mark.parametrize("stop_at", [1, 3, 4, 8])
def test_ends_where_the_undisturbed_training_ends(tmp_path, stop_at):
    undisturbed = Training(tmp_path / "whole")
    undisturbed.run(3)
    with pytest.raises(Stopped):
        Training(tmp_path / "stopped").run(3, stop_at)
    resumed = Training(tmp_path / "stopped")
    resumed.run(3)
    finished = (stop_at - 1) // 3 if stop_at != 3 else 0  # a stop at the end of an epoch comes before its save
    assert resumed.steps == list(range(3 * finished + 1, 10))
    assert resumed.counter.told == ([3 * finished] if finished else [])
    for a, b in zip(undisturbed.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert rows(tmp_path / "stopped") == rows(tmp_path / "whole")


def test_a_finished_training_is_not_trained_again(tmp_path):
    first = Training(tmp_path)
    first.run(2)
    again = Training(tmp_path)
    again.run(2)
    assert again.steps == []
    assert torch.equal(again.network.weight, first.network.weight)


def test_a_checkpoint_of_other_settings_is_not_continued(tmp_path, caplog):
    Training(tmp_path, settings={"rate": 1}).run(1)
    other = Training(tmp_path, settings={"rate": 2})
    with caplog.at_level(logging.WARNING):
        other.run(1)
    assert other.steps == [1, 2, 3]
    assert "other settings" in caplog.text


def test_the_order_of_settings_does_not_matter(tmp_path):
    Training(tmp_path, settings={"a": 1, "b": 2}).run(1)
    again = Training(tmp_path, settings={"b": 2, "a": 1})
    again.run(1)
    assert again.steps == []


def test_saves_every_interval_and_after_the_last_epoch(tmp_path):
    training = Training(tmp_path, interval=2)
    saved = []
    training.engine.add_event_handler(
        Events.EPOCH_COMPLETED,
        lambda: (
            saved.append(torch.load(tmp_path / "checkpoint.pt", weights_only=True)["epoch"])
            if (tmp_path / "checkpoint.pt").exists()
            else saved.append(None)
        ),
    )
    training.run(5)
    assert saved == [None, 2, 2, 4, 5]


def test_history_averages_over_the_epoch_and_takes_notes_of_others(tmp_path):
    engine = Engine(lambda engine, _: {"loss": float(engine.state.iteration), "other": 1.0})
    history = History(tmp_path / "history.csv")

    def note(engine: Engine) -> None:
        if engine.state.epoch == 2:
            history.note("val_dice", 0.5)

    engine.add_event_handler(Events.EPOCH_COMPLETED, note)
    history.attach(engine)
    engine.run(range(2), max_epochs=3)
    assert rows(tmp_path) == [
        {"epoch": "1", "step": "2", "loss": "1.5", "val_dice": ""},
        {"epoch": "2", "step": "4", "loss": "3.5", "val_dice": "0.5"},
        {"epoch": "3", "step": "6", "loss": "5.5", "val_dice": ""},
    ]


def test_history_is_there_after_every_epoch(tmp_path):
    training = Training(tmp_path)
    with pytest.raises(Stopped):
        training.run(5, stop_at=8)
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2"]


def test_a_checkpoint_that_is_no_checkpoint_is_named(tmp_path):
    write_text(tmp_path / "checkpoint.pt", "nothing")
    with pytest.raises(ValueError, match=r"checkpoint\.pt"):
        Training(tmp_path).run(1)


def test_a_checkpoint_of_a_longer_training_in_shorter_epochs_is_not_continued(tmp_path, caplog):
    Training(tmp_path).run(epochs=2)
    (tmp_path / "run.json").write_text("{}")
    again = Training(tmp_path)
    again.run(epochs=1)
    assert again.steps == [1, 2, 3] and "starting anew" in caplog.text
    assert not (tmp_path / "run.json").exists(), "until it ends there is no record"


def test_the_record_of_a_training_that_ended_stays_until_another_one_begins(tmp_path):
    Training(tmp_path, settings={"seed": 0}).run(epochs=1)
    (tmp_path / "run.json").write_text("{}")
    Training(tmp_path, settings={"seed": 0}).run(epochs=1)
    assert (tmp_path / "run.json").exists()
    with pytest.raises(Stopped):
        Training(tmp_path, settings={"seed": 1}).run(epochs=1, stop_at=1)
    assert not (tmp_path / "run.json").exists()


def test_what_a_kill_left_half_written_goes_when_the_training_goes_on(tmp_path):
    """Also where no command claimed the folder, as under torchrun."""
    with temporary_path(tmp_path / "checkpoint.pt", "tmp") as mine:
        pid = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
        left = mine.with_name(mine.name.replace(f".{os.getpid()}.", f".{int(pid.stdout)}."))
    left.write_bytes(b"half a check")
    Training(tmp_path).engine.run([0, 1, 2], max_epochs=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "history.csv"]
