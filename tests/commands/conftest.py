"""A hospital in small: 16 drawn pictures of 32 to 44 pixels with masks, a modality of its own, and trained weights."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bundle.benchmark.drill import result_of
from bundle.commands import run_verb
from bundle.commands.embed import embed_section
from bundle.data.datalist import Datalist, load_datalist
from bundle.run.atomic import write_text

SIZES = ((44, 30), (30, 44), (36, 36))  # (W, H)
MODALITY = """\
description: bright spots on a dark ground
channels: 3
reader: picture
labels: [spot]
size: 32
augmentation: {flip: [x, y], rotation: 180, scale: [0.8, 1.25], shift: 0.1, brightness: 0.1, colour: 0.05}
"""


@dataclasses.dataclass(frozen=True)
class Hospital:
    """Where everything of the drawn hospital lies."""

    root: Path
    modality: Path
    datalist: Path

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def masks(self) -> Path:
        return self.root / "masks"

    def pretrain(self, out: Path, *options: str) -> list[str]:
        """Arguments of a pretraining of 2 epochs of 3 steps, the first of them on mild views."""
        knobs = ["--set", "epochs=2", "--set", "warmup=0.5", "--set", "batch_size=4"]
        return ["--datalist", str(self.datalist), "--out", str(out), *knobs, *options]

    def train(self, out: Path, *options: str) -> list[str]:
        """Arguments of a fine-tuning of 2 epochs of 3 steps, with validation after each."""
        knobs = ["--set", "epochs=2", "--set", "epoch_length=3", "--set", "batch_size=4", "--set", "val_interval=1"]
        return ["--datalist", str(self.datalist), "--out", str(out), *knobs, *options]


def draw_spot(width: int, height: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A noisy picture (H, W, 3) uint8 with a bright disc, and the disc (H, W) as 0 and 255."""
    radius = rng.uniform(6, 10)
    x, y = rng.uniform(radius, width - radius), rng.uniform(radius, height - radius)
    rows, columns = np.mgrid[:height, :width]
    inside = (columns - x) ** 2 + (rows - y) ** 2 < radius**2
    colour = np.where(inside[..., None], [200, 120, 90], [60, 50, 70]) + rng.normal(0, 12, (height, width, 3))
    return np.clip(colour, 0, 255).astype(np.uint8), (inside * 255).astype(np.uint8)


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    """Images and masks, and a datalist: a pool of 14 with 6 to train on and 2 for validation, and 2 for the test."""
    root = tmp_path_factory.mktemp("hospital")
    found = Hospital(root, root / "spots.yaml", root / "datalist.json")
    write_text(found.modality, MODALITY)
    rng = np.random.default_rng(0)
    for folder in (found.images, found.masks):
        folder.mkdir()
    entries = []
    for i in range(16):
        image, mask = draw_spot(*SIZES[i % 3], rng)
        Image.fromarray(image).save(found.images / f"spot_{i:02d}.png")
        Image.fromarray(mask).save(found.masks / f"spot_{i:02d}.png")
        entries.append({"id": f"spot_{i:02d}", "image": f"spot_{i:02d}.png", "label": f"spot_{i:02d}.png"})
    sections = {"test": entries[:2], "pool": entries[2:], "validation": entries[2:4], "training": entries[4:10]}
    Datalist(
        str(found.modality), found.images, found.masks, {name: tuple(rows) for name, rows in sections.items()}
    ).save(found.datalist)
    return found


@pytest.fixture(scope="session")
def pretrained(hospital: Hospital) -> Path:
    """The folder of an undisturbed contrastive pretraining."""
    out = hospital.root / "pretrain"
    assert run_verb("pretrain", hospital.pretrain(out)) == 0
    return out


@pytest.fixture(scope="session")
def trained(hospital: Hospital, pretrained: Path) -> Path:
    """The folder of an undisturbed fine-tuning that started from ``pretrained``."""
    out = hospital.root / "train"
    weights = pretrained / "model_ssl_pretrained.pt"
    assert run_verb("train", hospital.train(out, "--ssl-weights", str(weights))) == 0
    return out


@pytest.fixture(scope="session")
def run_and_kill(repository: Path):
    """``run_and_kill(step, verb, arguments)`` runs a verb in a process of its own that is killed after a step."""

    def run(step: int, verb: str, arguments: list[str]) -> None:
        command = [sys.executable, "-m", "tests.commands.killed", str(step), verb, *arguments]
        died = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
        assert died.returncode == -signal.SIGKILL, died.stderr

    return run


@pytest.fixture(scope="session")
def stocked(hospital: Hospital, pretrained: Path, trained: Path) -> Hospital:
    """The hospital with pretraining, embeddings and a model."""
    embed_section(
        load_datalist(hospital.datalist), "pool", pretrained / "model_ssl_pretrained.pt", hospital.root / "embeddings"
    )
    assert trained.parent == hospital.root
    return hospital


@pytest.fixture(scope="session")
def undisturbed(stocked: Hospital, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """``undisturbed(stage)`` is what the stage makes when nothing goes wrong; each is run once."""
    from .stages import arguments

    found: dict[str, dict[str, Any]] = {}

    def give(stage: str) -> dict[str, Any]:
        if stage not in found:
            out = tmp_path_factory.mktemp("undisturbed") / "out"
            assert run_verb(stage, arguments(stage, stocked, out)) == 0
            found[stage] = result_of(out)
        return found[stage]

    return give
