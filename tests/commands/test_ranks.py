"""Several processes, started by torchrun, do the job of one."""

from __future__ import annotations

import csv
import json
import os
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

FIGURES = ("loss", "contrastive", "retrieval", "local", "matched", "val_dice")


def stages(hospital, out: Path, start: Path | None = None) -> list[tuple[str, dict[str, Any]]]:
    """The five stages into ``out``; what reads weights reads those in ``start``, so that their results are equal."""
    start = start or out
    common = {"modality": str(hospital.modality), "datalist": str(hospital.datalist)}
    training = {**common, "precision": "fp32", "epochs": 2, "batch_size": 4}
    model = str(start / "train" / "model.pt")
    ssl = str(start / "pretrain" / "model_ssl_pretrained.pt")
    knobs = {"epoch_length": 3, "val_interval": 1, "ssl_weights": ssl}
    return [
        ("pretrain", {**training, "warmup": 0.5, "output_dir": str(out / "pretrain")}),
        ("train", {**training, **knobs, "output_dir": str(out / "train")}),
        ("embed", {**common, "weights": ssl, "output_dir": str(out / "embeddings")}),
        ("evaluate", {**common, "model": model, "evaluation_dir": str(out / "evaluation")}),
        (
            "infer",
            {
                "modality": str(hospital.modality),
                "dataset_dir": str(hospital.images),
                "model": model,
                "output_dir": str(out / "masks"),
            },
        ),
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
    for stage, overrides in stages(hospital, out):
        run_workflow(stage, overrides)
    return out


@pytest.fixture(scope="module", params=[2, 3])
def together(request, hospital, alone, repository, tmp_path_factory) -> Path:
    """What several make. Three share neither 4 images of a step, nor 14 of the pool, nor 2 of the test evenly."""
    out = tmp_path_factory.mktemp(f"together_{request.param}")
    (out / "requests.json").write_text(json.dumps(stages(hospital, out, alone)))
    done = torchrun(repository, request.param, "-m", "tests.commands.ranks", str(out / "requests.json"), str(out))
    assert done.returncode == 0, done.stderr[-4000:]
    assert len(list(out.glob("rank_*.json"))) == request.param
    return out


def test_every_process_ends_with_the_same_weights_and_the_same_queue(together):
    first, *others = (json.loads(file.read_text()) for file in sorted(together.glob("rank_*.json")))
    assert {"queue", "network"} <= set(first[0]) and all(other == first for other in others)


@pytest.mark.parametrize(("stage", "file"), [("pretrain", "model_ssl_pretrained.pt"), ("train", "model.pt")])
def test_trainings_are_those_of_one_process_up_to_rounding(together, alone, stage, file):
    for ours, theirs in zip(rows(together / stage / "history.csv"), rows(alone / stage / "history.csv"), strict=True):
        assert ours.keys() == theirs.keys()
        for name in set(FIGURES) & set(ours):
            assert float(ours[name]) == pytest.approx(float(theirs[name]), abs=1e-4), (ours["epoch"], name)
    one, other = load_weights(alone / stage / file), load_weights(together / stage / file)
    assert one.settings == other.settings and one.model.keys() == other.model.keys()
    for name, tensor in one.model.items():
        torch.testing.assert_close(other.model[name], tensor, atol=2e-4, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")


def test_the_choice_of_views_is_that_of_one_process(together, alone):
    ours, theirs = (json.loads((out / "pretrain/policies.json").read_text()) for out in (together, alone))
    assert ours["chosen"] == theirs["chosen"]


def test_each_image_is_embedded_once(together, alone):
    ours, theirs = Embeddings.load(together / "embeddings"), Embeddings.load(alone / "embeddings")
    assert ours.ids == theirs.ids
    np.testing.assert_allclose(ours.vectors, theirs.vectors, atol=1e-6)


def test_each_image_is_scored_once_and_the_worst_are_drawn(together, alone):
    assert rows(together / "evaluation/per_image.csv") == rows(alone / "evaluation/per_image.csv")
    summaries = [json.loads((out / "evaluation/summary.json").read_text()) for out in (together, alone)]
    assert summaries[0] == summaries[1]
    drawn = [
        {file.name: file.read_bytes() for file in (out / "evaluation/overlays").iterdir()} for out in (together, alone)
    ]
    assert drawn[0] == drawn[1]


def test_each_image_is_predicted_once(together, alone):
    ours, theirs = rows(together / "masks/predictions.csv"), rows(alone / "masks/predictions.csv")
    assert [row["id"] for row in ours] == [row["id"] for row in theirs]
    for mine, its in zip(ours, theirs, strict=True):
        assert np.array_equal(np.asarray(Image.open(mine["mask"])), np.asarray(Image.open(its["mask"])))


def test_nothing_half_written_is_left(together):
    assert not [file for file in together.rglob(".*") if file.name != ".cache"]


def test_a_process_that_dies_ends_the_job_and_torchrun_resumes_it(hospital, alone, repository, tmp_path):
    requests = stages(hospital, tmp_path)[:1]
    (tmp_path / "requests.json").write_text(json.dumps(requests))
    arguments = ["-m", "tests.commands.ranks", str(tmp_path / "requests.json"), str(tmp_path), "5"]
    done = torchrun(repository, 2, "--max-restarts=1", *arguments)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "SIGKILL" in done.stderr or "exitcode: -9" in done.stderr, "the death is told"
    one, other = (load_weights(out / "pretrain/model_ssl_pretrained.pt") for out in (alone, tmp_path))
    for name, tensor in one.model.items():
        torch.testing.assert_close(other.model[name], tensor, atol=2e-4, rtol=1e-3)


def test_processes_that_do_not_know_of_each_other_are_refused_and_write_nothing(hospital, repository, tmp_path):
    config = str(repository / "configs" / "embed.yaml")
    arguments = [
        "--bundle_root",
        str(repository),
        "--datalist",
        str(hospital.datalist),
        "--output_dir",
        str(tmp_path / "e"),
    ]
    done = torchrun(repository, 2, "-m", "monai.bundle", "run", "--config_file", config, *arguments)
    assert done.returncode != 0 and "multi_gpu_train.yaml" in done.stderr
    assert not (tmp_path / "e").exists()
