"""A drill compares results, so it must see what differs and pass over what may."""

from __future__ import annotations

import gzip
import importlib
import json
from argparse import ArgumentParser
from pathlib import Path

import pytest
import torch

from bundle.benchmark.drill import differences, result_of
from bundle.commands.drill_kills import STAGES, _arguments


def make(folder: Path, *, seconds: float = 1.0) -> Path:
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"seconds": seconds, "out": str(folder), "seed": 0}))
    (folder / "history.csv").write_text(f"epoch,loss,seconds\n1,0.5,{seconds}\n")
    torch.save({"rows": [{"seconds": seconds}], "w": torch.arange(3.0).bfloat16().float()}, folder / "model.pt")
    (folder / "mask.nii.gz").write_bytes(gzip.compress(b"mask", mtime=int(seconds)))
    return folder


def test_times_and_the_place_are_passed_over(tmp_path):
    assert differences(result_of(make(tmp_path / "a")), result_of(make(tmp_path / "b", seconds=9.0))) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda f: (f / "model.pt").unlink(), "model.pt is missing"),
        (lambda f: (f / ".a.1.tmp").write_text("half"), ".a.1.tmp is left over"),
        (lambda f: torch.save({"rows": [{}], "w": torch.arange(1.0, 4.0)}, f / "model.pt"), "model.pt differs"),
        (lambda f: (f / "history.csv").write_text("epoch,loss,seconds\n1,0.6,1\n"), "history.csv differs"),
        (lambda f: (f / "mask.nii.gz").write_bytes(gzip.compress(b"other")), "mask.nii.gz differs"),
    ],
)
def test_what_differs_is_named(tmp_path, change, told):
    wanted = result_of(make(tmp_path / "a"))
    change(make(tmp_path / "b"))
    assert differences(wanted, result_of(tmp_path / "b")) == [told]


@pytest.mark.parametrize("stage", STAGES)
def test_the_drill_gives_each_stage_options_that_it_takes(stage, tmp_path):
    parser = ArgumentParser()
    importlib.import_module(f"bundle.commands.{stage}").add_arguments(parser)
    parser.parse_args(_arguments(stage, tmp_path, tmp_path / "out"))
