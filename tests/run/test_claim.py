"""A folder belongs to one request, and nobody loses to another what lies there."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle.run.atomic import OutputExists
from bundle.run.claim import claim_folder


def test_a_folder_belongs_to_one_request(tmp_path):
    folder = tmp_path / "run"
    request = {"stage": "train", "epochs": 3, "out": Path("x")}
    assert claim_folder(folder, request, overwrite=False) == folder
    (folder / "checkpoint.pt").write_text("half done")
    claim_folder(folder, dict(reversed(request.items())), overwrite=False)
    assert (folder / "checkpoint.pt").exists(), "the same request goes on"
    with pytest.raises(OutputExists):
        claim_folder(folder, request | {"epochs": 4}, overwrite=False)
    assert (folder / "checkpoint.pt").exists()
    claim_folder(folder, request | {"epochs": 4}, overwrite=True)
    assert not (folder / "checkpoint.pt").exists()


def test_overwrite_begins_anew_even_for_the_same_request(tmp_path):
    claim_folder(tmp_path / "run", {"stage": "train"}, overwrite=False)
    (tmp_path / "run" / "checkpoint.pt").write_text("old")
    claim_folder(tmp_path / "run", {"stage": "train"}, overwrite=True)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["request.json"]


def test_overwrite_never_removes_what_no_run_made(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "only_copy.png").write_bytes(b"")
    with pytest.raises(ValueError, match="photos"):
        claim_folder(tmp_path / "photos", {"stage": "infer"}, overwrite=True)
    assert (tmp_path / "photos" / "only_copy.png").exists()


def test_an_empty_folder_may_be_claimed(tmp_path):
    claim_folder(tmp_path, {"stage": "train"}, overwrite=False)
    assert (tmp_path / "request.json").is_file()


def test_overwrite_never_removes_what_another_command_made_or_what_is_to_be_read(tmp_path):
    folder = tmp_path / "train"
    claim_folder(folder, {"stage": "train"}, overwrite=False)
    (folder / "model.pt").write_text("weeks of work")
    with pytest.raises(ValueError, match="was made by train"):
        claim_folder(folder, {"stage": "evaluate"}, overwrite=True)
    for given in (str(folder / "model.pt"), [str(folder / "model.pt")]):
        with pytest.raises(ValueError, match=r"model\.pt is to be read and lies in"):
            claim_folder(folder, {"stage": "train", "teacher": given, "output_dir": str(folder)}, overwrite=True)
    assert (folder / "model.pt").exists()
