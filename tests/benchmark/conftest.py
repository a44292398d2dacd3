"""The drawn hospital as a public set: images, masks and a split that is decided."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bundle.run.table import write_csv
from tests.commands.conftest import Hospital, hospital, pretrained  # noqa: F401 - fixtures

TEST = 4  # images; the pool has the other 12


@pytest.fixture(scope="session")
def public_set(hospital: Hospital, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A folder with images/, masks/ and split.csv, whose column ``site`` says where an image is from."""
    root = tmp_path_factory.mktemp("public")
    shutil.copytree(hospital.images, root / "images")
    shutil.copytree(hospital.masks, root / "masks")
    ids = sorted(path.stem for path in (root / "images").iterdir())
    rows = [
        {"id": identifier, "site": "abc"[number % 3], "split": "test" if number < TEST else "pool"}
        for number, identifier in enumerate(ids)
    ]
    write_csv(root / "split.csv", rows, ["id", "site", "split"])
    return root


@pytest.fixture(scope="session")
def command(hospital: Hospital, pretrained: Path, public_set: Path):  # noqa: F811
    """``command(out, *options)``: arguments of a benchmark of trainings of 2 epochs of 3 steps."""

    def arguments(out: Path, *options: str) -> list[str]:
        data = ["--data", str(public_set), "--modality", str(hospital.modality), "--out", str(out)]
        knobs = ["--set", "epoch_length=3", "--set", "batch_size=4", "--steps", "6"]
        return [*data, *knobs, "--ssl-weights", str(pretrained / "model_ssl_pretrained.pt"), *options]

    return arguments
