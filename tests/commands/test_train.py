"""Fine-tuning from the command line, on six labels."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from bundle.commands import run_verb
from bundle.data.datalist import load_datalist
from bundle.run.record import file_fingerprint
from bundle.run.workflow import run_workflow
from bundle.weights import load_weights

from .conftest import MODALITY, draw_spot
from .test_pretrain import assert_same_weights, history


@pytest.fixture(scope="module")
def from_ssl(pretrained) -> list[str]:
    return ["--ssl-weights", str(pretrained / "model_ssl_pretrained.pt")]


def test_tells_its_course_and_what_it_made(trained):
    weights, best = load_weights(trained / "model.pt"), load_weights(trained / "model_best.pt")
    assert weights.settings["modality"] == "spots" and weights.settings["steps"] == 6
    rows = history(trained)
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "3"), ("2", "6")]
    dice = [float(row["val_dice"]) for row in rows]
    assert best.settings["validation_dice"] == pytest.approx(max(dice)) and all(0 <= d <= 1 for d in dice)
    record = json.loads((trained / "run.json").read_text())
    assert record["results"] == {"steps": 6, "weights": file_fingerprint(trained / "model.pt")}


def test_starts_from_what_was_pretrained(hospital, pretrained, from_ssl, tmp_path):
    still = ["--set", "learning_rate=0", "--set", "weight_decay=0"]
    assert run_verb("train", hospital.train(tmp_path / "warm", *from_ssl, *still)) == 0
    assert run_verb("train", hospital.train(tmp_path / "cold", "--warm-start", "none", *still)) == 0
    ssl = load_weights(pretrained / "model_ssl_pretrained.pt").model
    warm, cold = (load_weights(tmp_path / name / "model.pt").model for name in ("warm", "cold"))
    learned = [name for name in warm if "running" not in name and "num_batches" not in name]
    for name in learned:
        assert torch.equal(warm[name], ssl.get(name, cold[name])), name
    assert {name.split(".")[0] for name in ssl} == {"encoder", "decoder"}
    assert not all(torch.equal(warm[name], cold[name]) for name in learned)


def test_killed_in_the_middle_it_ends_where_the_undisturbed_training_ends(
    hospital, trained, from_ssl, tmp_path, run_and_kill
):
    out = tmp_path / "killed"
    run_and_kill(4, "train", hospital.train(out, *from_ssl))
    assert (out / "checkpoint.pt").exists() and not (out / "model.pt").exists()
    assert run_verb("train", hospital.train(out, *from_ssl)) == 0
    for name in ("model.pt", "model_best.pt"):
        assert_same_weights(out / name, trained / name)
    assert history(out) == history(trained)


def test_a_teacher_s_view_of_the_pool_changes_what_is_learned_and_a_killed_student_ends_where_it_would(
    hospital, trained, from_ssl, tmp_path, run_and_kill
):
    taught = [*from_ssl, "--teacher", str(trained / "model.pt")]
    assert run_verb("train", hospital.train(tmp_path / "whole", *taught)) == 0
    run_and_kill(4, "train", hospital.train(tmp_path / "killed", *taught))
    assert run_verb("train", hospital.train(tmp_path / "killed", *taught)) == 0
    assert_same_weights(tmp_path / "killed" / "model.pt", tmp_path / "whole" / "model.pt")
    student, first = (load_weights(folder / "model.pt") for folder in (tmp_path / "whole", trained))
    assert not all(torch.equal(student.model[name], first.model[name]) for name in first.model)
    assert student.settings["teacher"].startswith(f"{file_fingerprint(trained / 'model.pt')} on sha256:")
    assert first.settings["teacher"] == "none"


def test_learns_to_find_the_spots(hospital, from_ssl, tmp_path):
    knobs = ["--set", "epochs=4", "--set", "epoch_length=12", "--set", "learning_rate=0.003"]
    assert run_verb("train", [*hospital.train(tmp_path / "out", *from_ssl), *knobs]) == 0
    rows = history(tmp_path / "out")
    assert float(rows[-1]["loss"]) < 0.7 * float(rows[0]["loss"])
    assert float(rows[-1]["val_dice"]) > 0.6


def test_a_modality_of_one_s_own_with_several_labels_trains(tmp_path):
    (tmp_path / "two.yaml").write_text(MODALITY.replace("[spot]", "[rim, core]").replace("channels: 3", "channels: 1"))
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    rng = np.random.default_rng(1)
    entries = []
    for i in range(5):
        image, mask = draw_spot(33, 40, rng)
        Image.fromarray(image).save(tmp_path / "images" / f"{i}.png")
        labels = (mask > 0).astype(np.uint8)
        labels[:20] *= 2
        Image.fromarray(labels).save(tmp_path / "masks" / f"{i}.png")
        entries.append({"id": str(i), "image": f"{i}.png", "label": f"{i}.png"})
    content = {"modality": str(tmp_path / "two.yaml"), "root": "images", "label_root": "masks"}
    (tmp_path / "datalist.json").write_text(
        json.dumps(content | {"pool": entries, "training": entries[:3], "validation": entries[3:]})
    )
    knobs = ["--warm-start", "none", "--set", "epochs=1", "--set", "epoch_length=1", "--set", "batch_size=4"]
    out = tmp_path / "out"
    assert run_verb("train", ["--datalist", str(tmp_path / "datalist.json"), "--out", str(out), *knobs]) == 0
    weights = load_weights(out / "model.pt")
    assert weights.settings["out_channels"] == 3 and weights.settings["in_channels"] == 1
    assert 0 <= float(history(out)[0]["val_dice"]) <= 1


def test_trains_without_validation_and_with_fewer_images_than_a_batch(hospital, tmp_path):
    training = load_datalist(hospital.datalist).section("training")[:1]
    overrides = {
        "modality": str(hospital.modality),
        "train#dataset#data": [{"image": e["image"], "label": e["label"], "id": e["id"]} for e in training],
        "validate#dataset#data": [],
        "warm_start": "none",
        "epochs": 1,
        "epoch_length": 2,
        "batch_size": 4,
        "output_dir": str(tmp_path / "out"),
    }
    run_workflow("train", overrides)
    assert "val_dice" not in history(tmp_path / "out")[0]
    assert (tmp_path / "out" / "model.pt").exists() and not (tmp_path / "out" / "model_best.pt").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--steps", "40"], "multiple of 3, the steps of an epoch, got 40"),
        (["--steps", "0"], "multiple of 3"),
        (["--set", "epochz=3"], "did you mean 'epochs'"),
        (["--set", "warm_start=half", "--ssl-weights", "x.pt"], "warm_start must be one of"),
        (["--ssl-weights", "absent.pt"], "there is no weight file"),
        ([], "model_ssl_pretrained_spots.pt: run the pretrain"),
        (["--set", "learning_rate"], "name=value"),
        (["--set", "output_dir=elsewhere"], "--set output_dir is the command's own to set"),
        (["--set", "run=[]"], "--set run is the command's own"),
    ],
)
def test_a_mistake_ends_as_one_line_and_code_2(hospital, tmp_path, capsys, options, told):
    assert run_verb("train", hospital.train(tmp_path / "out", *options)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("train: ") and told in error


def test_a_loss_that_diverges_is_told_and_leaves_no_model(hospital, tmp_path, capsys):
    knobs = ["--warm-start", "none", "--set", "learning_rate=1e30"]
    assert run_verb("train", hospital.train(tmp_path / "out", *knobs)) == 2
    assert "lower learning_rate" in capsys.readouterr().err
    assert not (tmp_path / "out" / "model.pt").exists()


def test_steps_are_steps_whatever_the_length_of_an_epoch(hospital, tmp_path):
    out = tmp_path / "out"
    knobs = ["--warm-start", "none", "--set", "epoch_length=2", "--set", "batch_size=2", "--steps", "6"]
    assert run_verb("train", ["--datalist", str(hospital.datalist), "--out", str(out), *knobs]) == 0
    assert len(history(out)) == 3
    assert load_weights(out / "model.pt").settings["steps"] == 6
