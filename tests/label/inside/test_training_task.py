"""What a training in the server starts from, and what is refused before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from ignite.engine import Engine

from bundle.data.modality import load_modality
from bundle.label import training
from bundle.label.models import PackagedModel
from bundle.label.training import FineTuneTask, TrainingRequest
from bundle.run.atomic import write_text
from bundle.run.resume import Resume


class Killed(BaseException):
    """What ends a process in the midst of a training."""


class NoImages:
    """A datastore; the labels are none of this test's business."""

    def datalist(self) -> list[dict[str, str]]:
        return []


@pytest.fixture
def task(tmp_path, monkeypatch) -> FineTuneTask:
    monkeypatch.setattr(FineTuneTask, "_usable", lambda *_: [{"id": "a"}])
    return FineTuneTask(PackagedModel(tmp_path, load_modality("dermoscopy")))


def started_from(task: FineTuneTask, monkeypatch: pytest.MonkeyPatch, *, killed: bool = False) -> str:
    """Name of the weights that an automatic training starts from; it begins as a real one, and ends if not killed."""
    found = []

    def run(_: str, overrides: dict[str, object], **__: object) -> None:
        folder, start = Path(str(overrides["output_dir"])), Path(str(overrides["ssl_weights"])).name
        found.append(start)
        Resume(folder / "checkpoint.pt", {}, settings={"start": start}).restore(Engine(lambda *_: None))
        if killed:
            raise Killed
        write_text(folder / "run.json", "{}")

    monkeypatch.setattr(training, "run_workflow", run)
    if killed:
        with pytest.raises(Killed):
            task({}, NoImages())
    else:
        task({}, NoImages())
    return found[0]


def test_the_model_of_a_training_that_ended_is_the_start_after_any_number_of_killed_ones(task, monkeypatch):
    assert started_from(task, monkeypatch, killed=True) == "model_ssl_pretrained.pt"
    assert started_from(task, monkeypatch) == "model_ssl_pretrained.pt"
    for _ in range(2):
        assert started_from(task, monkeypatch, killed=True) == "model.pt"
    assert started_from(task, monkeypatch) == "model.pt"


def test_a_model_that_an_earlier_version_of_the_server_trained_is_a_start_too(task, tmp_path, monkeypatch):
    write_text(tmp_path / "training" / "run.json", "{}")
    for _ in range(2):
        assert started_from(task, monkeypatch, killed=True) == "model.pt"


@pytest.mark.parametrize("name", ["max_epochs", "val_split", "seed"])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), "Infinity"])
def test_a_number_that_is_not_finite_is_refused(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be a finite number, got {value!r}"):
        TrainingRequest.from_request({name: value})


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"max_epochs": 2.5}, "max_epochs must be a whole number, got 2.5"),
        ({"max_epochs": "many"}, "max_epochs must be a number, got 'many'"),
        ({"max_epochs": 10**400}, "max_epochs must be a number, got 1000"),
        ({"max_epochs": 0}, "max_epochs must be a whole number of at least 1, got 0"),
    ],
)
def test_another_wrong_number_is_refused_with_the_rule(request_, message):
    with pytest.raises(ValueError, match=message):
        TrainingRequest.from_request(request_)
