"""Training in the server, from the first label to a killed server."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle.data.demo import make_demo
from bundle.run.atomic import write_tensors
from bundle.weights import load_weights

from .conftest import MODEL, Server

pytestmark = pytest.mark.label
POOL, TEST = 16, 6


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    return make_demo(tmp_path_factory.mktemp("drawn") / "demo", count=POOL + TEST, size=96)


@pytest.fixture
def server(start_server, demo, unskilled, tmp_path) -> Iterator[Server]:
    """A server whose model knows nothing yet, on the first ``POOL`` images."""
    (tmp_path / "studies").mkdir()
    for image in sorted((demo / "images").iterdir())[:POOL]:
        shutil.copy(image, tmp_path / "studies")
    options = ("--modality", "dermoscopy", "--model", unskilled("dermoscopy"))
    started = start_server(tmp_path / "studies", tmp_path / "out", *options)
    started.wait_for_ranking(POOL)
    yield started
    started.stop()


def annotate(server: Server, demo: Path, count: int, strategy: str = "coldstart") -> list[str]:
    """Submit the true masks of the next ``count`` images as they are served."""
    served = []
    for _ in range(count):
        image = server.next_sample(strategy, client_id="simulated")["id"]
        assert server.label(image, demo / "masks" / f"{image}.png").status == 200
        served.append(image)
    return served


def mean_dice(server: Server, demo: Path, folder: Path) -> float:
    """Mean Dice of what the server predicts for the images that it does not have."""
    scores = []
    for image in sorted((demo / "images").iterdir())[POOL:]:
        answer = server.infer(file=image)
        assert answer.status == 200, answer.body
        (folder / "answer.png").write_bytes(answer.body)
        predicted = np.asarray(Image.open(folder / "answer.png")) > 0
        truth = np.asarray(Image.open(demo / "masks" / f"{image.stem}.png")) > 0
        scores.append(2 * (predicted & truth).sum() / max(1, predicted.sum() + truth.sum()))
    return float(np.mean(scores))


def model_file(server: Server) -> Path:
    return server.out / "model" / MODEL / "models" / "model.pt"


def steps_and_start(server: Server) -> tuple[int, str]:
    record = json.loads((server.out / "model" / MODEL / "training" / "run.json").read_text())
    return record["results"]["steps"], record["settings"]["start"]


def test_labels_in_the_served_order_and_two_trainings_raise_the_dice(server, demo, tmp_path):
    from bundle.run.record import start_fingerprint

    ssl = model_file(server).with_name("model_ssl_pretrained.pt")
    ranking = server.ranking()
    dice = [mean_dice(server, demo, tmp_path)]
    assert annotate(server, demo, 4) == ranking[:4]
    assert server.train(max_epochs=1)["status"] == "DONE"
    assert steps_and_start(server) == (40, start_fingerprint("all", ssl))
    dice.append(mean_dice(server, demo, tmp_path))
    first = start_fingerprint("all", model_file(server))

    scores = server.out / "ranking" / "uncertainty.json"
    told = server.wait_for(
        lambda: found if scores.is_file() and len(found := json.loads(scores.read_text())["scores"]) == POOL - 4 else 0,
        "scores of the new model",
    )
    assert annotate(server, demo, 1, "uncertainty") == [max(told, key=told.__getitem__)]
    annotate(server, demo, 4)
    assert server.train(max_epochs=2, val_split=0.2)["status"] == "DONE"
    assert steps_and_start(server) == (80, first), "the second training starts from the first one's model"
    dice.append(mean_dice(server, demo, tmp_path))
    print("test Dice:", dice)
    assert dice[2] > dice[0] + 0.2 and dice[2] > dice[1]
    assert server.get("/info/").json["train_stats"][MODEL]["epoch"] == 2
    assert server.ranking() == ranking


def test_trainings_in_the_server_s_own_process_start_from_the_right_weights(server, demo):
    from bundle.run.record import start_fingerprint

    annotate(server, demo, 1)
    refused = server.post(f"/train/{MODEL}", {"max_epochs": 0}, run_sync=True)
    assert refused.status == 400 and "max_epochs must be" in refused.json["detail"]
    for start in (model_file(server).with_name("model_ssl_pretrained.pt"), model_file(server), model_file(server)):
        wanted = start_fingerprint("all", start)
        assert server.post(f"/train/{MODEL}", {"max_epochs": 1}, run_sync=True).json == {"training": 1, "validation": 0}
        assert steps_and_start(server) == (40, wanted)


def test_self_training_starts_anew_and_is_taught_by_the_model_that_it_replaces(server, demo):
    from bundle.label.models import UNTRAINED
    from bundle.run.record import file_fingerprint, start_fingerprint

    annotate(server, demo, 3)
    weights = load_weights(model_file(server))
    stand_in = {"model": weights.model, "settings": weights.settings | {UNTRAINED: True}}
    before = model_file(server).read_bytes()
    write_tensors(model_file(server), stand_in)  # as before the first training of a modality that ships no model
    task = server.train(start="self-training")
    assert task["status"] == "ERROR" and "train once before it" in "\n".join(task["details"])
    model_file(server).write_bytes(before)

    assert server.train(max_epochs=2)["status"] == "DONE"
    teacher, before = file_fingerprint(model_file(server)), model_file(server).read_bytes()
    assert server.train(max_epochs=1, start="self-training")["status"] == "DONE"
    assert f"{POOL - 3} images of the pool teach along" in (server.out / "logs" / "app.log").read_text()
    ssl = model_file(server).with_name("model_ssl_pretrained.pt")
    assert steps_and_start(server) == (40, start_fingerprint("all", ssl))
    assert load_weights(model_file(server)).settings["teacher"].startswith(f"{teacher} on sha256:")
    assert model_file(server).read_bytes() != before


def test_a_training_that_cannot_be_ends_as_an_error_and_leaves_the_model(server, demo):
    before = model_file(server).read_bytes()
    assert server.post("/train/unknown").status == 404
    task = server.train()
    assert task["status"] == "ERROR" and "no label to train on" in "\n".join(task["details"])
    annotate(server, demo, 1)
    for params, message in (
        ({"max_epochs": 0}, "max_epochs must be a whole number of at least 1, got 0"),
        ({"max_epochs": "many"}, "max_epochs must be a number, got 'many'"),
        ({"val_split": 1.5}, "val_split must be a number from 0 to below 1"),
        ({"start": "elsewhere"}, "start must be one of automatic"),
    ):
        task = server.train(**params)
        assert task["status"] == "ERROR" and message in "\n".join(task["details"]), task
    assert model_file(server).read_bytes() == before


def test_a_cancelled_training_leaves_the_model_and_another_goes_on_from_it(server, demo):
    before = model_file(server).read_bytes()
    annotate(server, demo, 2)
    assert server.post(f"/train/{MODEL}", {"max_epochs": 500}).status == 200
    checkpoint = server.out / "model" / MODEL / "training" / "checkpoint.pt"
    server.wait_for(checkpoint.is_file, "the first epoch")
    assert server.post(f"/train/{MODEL}").status == 429, "one training at a time"
    assert server.delete("/train/").json["status"] == "STOPPED"
    assert model_file(server).read_bytes() == before
    assert server.train(max_epochs=1)["status"] == "DONE"
    assert model_file(server).read_bytes() != before
    assert load_weights(model_file(server)).settings["warm_start"] == "all"


def test_a_broken_label_put_there_by_hand_is_set_aside(server, demo):
    annotate(server, demo, 2)
    image = server.next_sample(client_id="simulated")["id"]
    (server.studies / "labels" / "final" / f"{image}.png").write_bytes(b"half a cop")
    server.next_sample(client_id="simulated")
    task = server.train(max_epochs=1)
    assert task["status"] == "DONE", task
    aside = (server.out / "model" / MODEL / "training" / "quarantine.csv").read_text()
    assert f"{image}.png" in aside


def test_a_server_killed_in_a_training_comes_back_with_labels_and_ranks(server, start_server, demo, unskilled):
    ranking = server.ranking()
    served = annotate(server, demo, 3)
    model, scores = model_file(server).read_bytes(), (server.out / "ranking" / "ranking.json").read_bytes()
    assert server.post(f"/train/{MODEL}", {"max_epochs": 500}).status == 200
    checkpoint = server.out / "model" / MODEL / "training" / "checkpoint.pt"
    server.wait_for(checkpoint.is_file, "the first epoch")
    server.kill()

    options = ("--modality", "dermoscopy", "--model", unskilled("dermoscopy"))
    again = start_server(server.studies, server.out, *options)
    assert (server.out / "ranking" / "ranking.json").read_bytes() == scores
    assert model_file(again).read_bytes() == model
    assert again.get("/datastore/").json["completed"] == 3
    listed = again.get("/datastore/", output="train").json
    assert sorted(Path(entry["image"]).stem for entry in listed) == sorted(served)
    assert again.next_sample(client_id="another")["id"] == ranking[3]
    assert again.stop() == 0


def test_a_server_that_is_stopped_takes_its_training_along(server, demo):
    annotate(server, demo, 1)
    assert server.post(f"/train/{MODEL}", {"max_epochs": 500}).status == 200
    server.wait_for((server.out / "model" / MODEL / "training" / "checkpoint.pt").is_file, "the first epoch")
    group = server.group
    os.killpg(group, 0)
    assert server.stop() == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
