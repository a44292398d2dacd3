"""Several processes, started by torchrun, do the job of one. Two of them die once on the way and are started again."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bundle.embedding import Embeddings
from bundle.run.workflow import run_workflow
from bundle.weights import load_weights

WEIGHTS = {"pretrain": "model_ssl_pretrained.pt", "train": "model.pt", "taught": "model.pt"}
FIGURES = {"loss", "contrastive", "retrieval", "local", "matched", "val_dice"}


@dataclasses.dataclass(frozen=True)
class Job:
    """What some processes made, and what torchrun told."""

    folder: Path
    processes: int
    told: str


def stages(hospital, out: Path, start: Path) -> list[tuple[str, dict[str, Any]]]:
    """The stages into ``out``. What reads weights reads those in ``start``, so that results can be compared.

    The learning rate is low: at the usual one Adam turns rounding errors of a network this young into other weights.
    """
    common = {"modality": str(hospital.modality), "datalist": str(hospital.datalist)}
    training = {**common, "precision": "fp32", "epochs": 2, "batch_size": 4, "learning_rate": 1e-5}
    views = {"warmup": 0.5, "policy": "crop, intensity and blur"}
    ssl, model, _ = (str(start / folder / name) for folder, name in WEIGHTS.items())
    knobs = {"epoch_length": 3, "val_interval": 1, "ssl_weights": ssl}
    images = {"modality": str(hospital.modality), "dataset_dir": str(start / "images")}
    return [
        ("pretrain", {**training, **views, "output_dir": str(out / "pretrain")}),
        ("train", {**training, **knobs, "output_dir": str(out / "train")}),
        ("train", {**training, **knobs, "teacher": model, "output_dir": str(out / "taught")}),
        ("embed", {**common, "weights": ssl, "output_dir": str(out / "embeddings")}),
        ("evaluate", {**common, "model": model, "evaluation_dir": str(out / "evaluation")}),
        ("uncertainty", {**common, "model": model, "criterion": "bald", "output_dir": str(out / "uncertainty")}),
        ("infer", {**images, "model": model, "output_dir": str(out / "masks")}),
    ]


def torchrun(repository: Path, processes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [*command, *arguments], cwd=repository, env=environment, capture_output=True, text=True, check=False
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def alone(hospital, tmp_path_factory) -> Path:
    """What one process makes."""
    out = tmp_path_factory.mktemp("alone")
    shutil.copytree(hospital.images, out / "images")
    (out / "images/spot_07.png").write_bytes((hospital.images / "spot_07.png").read_bytes()[:100])  # cut short
    for stage, overrides in stages(hospital, out, out):
        run_workflow(stage, overrides)
    return out


@pytest.fixture(scope="module", params=[2, 3])
def together(request, hospital, alone, repository, tmp_path_factory) -> Job:
    """What several make. Three share neither 4 images of a step, nor 14 of the pool, nor 2 of the test evenly."""
    out = tmp_path_factory.mktemp(f"together_{request.param}")
    (out / "requests.json").write_text(json.dumps(stages(hospital, out, alone)))
    restarts, death = (["--max-restarts=1"], ["5"]) if request.param == 2 else ([], [])
    worker = ["-m", "tests.commands.ranks", str(out / "requests.json"), str(out), *death]
    done = torchrun(repository, request.param, *restarts, *worker)
    assert done.returncode == 0, done.stderr[-6000:]
    return Job(out, request.param, done.stderr)


def test_every_process_ends_with_the_same_weights_and_the_same_queue(together):
    first, *others = (json.loads(file.read_text()) for file in together.folder.glob("rank_*.json"))
    assert {"queue", "network"} == set(first[0]) and len(others) == together.processes - 1
    assert all(other == first for other in others)


@pytest.mark.parametrize("stage", WEIGHTS)
def test_figures_of_a_training_are_those_of_one_process(together, alone, stage):
    ours, theirs = (rows(out / stage / "history.csv") for out in (together.folder, alone))
    for mine, its in zip(ours, theirs, strict=True):
        assert mine.keys() == its.keys()
        for name in FIGURES & mine.keys():
            # A pixel whose two classes are as likely falls on either side by rounding: one of two images of 32 x 32.
            margin = 1e-3 if name == "val_dice" else 1e-4
            assert float(mine[name]) == pytest.approx(float(its[name]), abs=margin), (mine["epoch"], name)


@pytest.mark.parametrize("stage", WEIGHTS)
def test_weights_move_as_in_one_process(together, alone, stage):
    one, other = (load_weights(out / stage / WEIGHTS[stage]) for out in (alone, together.folder))
    assert one.settings == other.settings and one.model.keys() == other.model.keys()
    apart = {name: (other.model[name].double() - tensor.double()) for name, tensor in one.model.items()}
    far = torch.cat([gap.abs().flatten() for name, gap in apart.items() if "running" not in name])
    # Adam moves every weight by about the learning rate a step, whatever the size of its gradient.
    assert float((far > 6e-6).double().mean()) < 0.01, "of a way of up to 6 steps of 1e-5"
    for name in (name for name in one.model if "running" in name):
        torch.testing.assert_close(other.model[name], one.model[name], atol=1e-3, rtol=1e-3)


def test_each_image_is_embedded_once(together, alone):
    ours, theirs = Embeddings.load(together.folder / "embeddings"), Embeddings.load(alone / "embeddings")
    assert ours.ids == theirs.ids and len(set(ours.ids)) == 14
    np.testing.assert_allclose(ours.vectors, theirs.vectors, atol=1e-6)


def test_each_image_is_scored_once_and_the_same_cases_are_drawn(together, alone):
    ours, theirs = together.folder / "evaluation", alone / "evaluation"
    for name in ("per_image.csv", "summary.json"):
        assert (ours / name).read_text() == (theirs / name).read_text()
    drawn = [{file.name: file.read_bytes() for file in (out / "overlays").iterdir()} for out in (ours, theirs)]
    assert drawn[0] == drawn[1] != {}


def test_each_image_is_predicted_once(together, alone):
    ours, theirs = (rows(out / "masks/predictions.csv") for out in (together.folder, alone))
    assert [row["id"] for row in ours] == [row["id"] for row in theirs] and len(ours) == 15
    for mine, its in zip(ours, theirs, strict=True):
        assert np.array_equal(np.asarray(Image.open(mine["mask"])), np.asarray(Image.open(its["mask"])))


def test_each_image_has_the_uncertainty_that_one_process_gives_it(together, alone):
    ours, theirs = (rows(out / "uncertainty/scores.csv") for out in (together.folder, alone))
    assert ours == theirs and len(ours) == 14


def test_what_cannot_be_read_is_set_aside_whichever_process_has_it(together, alone):
    ours, theirs = (rows(out / "masks/quarantine.csv") for out in (together.folder, alone))
    assert ours == theirs and [row["path"] for row in ours] == ["spot_07.png"]


def test_nothing_half_written_is_left(together):
    assert not list(together.folder.rglob(".*"))


def test_the_record_tells_how_many_processes_did_the_job(together):
    record = json.loads((together.folder / "train/run.json").read_text())
    assert record["hardware"]["processes"] == together.processes


def test_a_death_is_told(together):
    assert ("exitcode: -9" in together.told) == (together.processes == 2)


def test_the_overlay_is_enough_for_monai_s_own_command_and_fewer_images_than_processes(
    hospital, alone, repository, tmp_path
):
    _, overrides = next(entry for entry in stages(hospital, tmp_path, alone) if entry[0] == "embed")
    run_workflow("embed", {**overrides, "section": "test", "output_dir": str(tmp_path / "alone")})
    options = [word for name, value in {**overrides, "section": "test"}.items() for word in (f"--{name}", str(value))]
    files = "['configs/embed.yaml','configs/multi_gpu_train.yaml']"
    command = ["-m", "monai.bundle", "run", "--config_file", files, "--bundle_root", ".", *options]
    done = torchrun(repository, 3, *command)
    assert done.returncode == 0, done.stderr[-6000:]
    ours, theirs = Embeddings.load(tmp_path / "embeddings"), Embeddings.load(tmp_path / "alone")
    assert ours.ids == theirs.ids and len(ours) == 2
    np.testing.assert_allclose(ours.vectors, theirs.vectors, atol=1e-6)
