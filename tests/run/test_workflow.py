"""Settings of a person reach the configs, and mistakes are told before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle.run.atomic import OutputExists
from bundle.run.workflow import CONFIGS, bundle_root, claim_folder, open_workflow, parse_setting, run_workflow


def test_the_root_is_the_repository_and_holds_every_config(repository):
    assert bundle_root() == repository
    for files in CONFIGS.values():
        assert all((repository / "configs" / name).is_file() for name in files)


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("epochs=10", ("epochs", 10)),
        ("learning_rate=0.1", ("learning_rate", 0.1)),
        ("learning_rate=1e-3", ("learning_rate", 0.001)),
        ("policy=crop and intensity", ("policy", "crop and intensity")),
        ("init=null", ("init", None)),
        ("output_dir=a=b", ("output_dir", "a=b")),
        ("train#history#figures=[loss]", ("train#history#figures", ["loss"])),
    ],
)
def test_a_setting_is_a_name_and_a_plain_value(text, setting):
    assert parse_setting(text) == setting


@pytest.mark.parametrize("text", ["epochs", "=3", "epochs=$exit()", "epochs= @seed", "epochs=%other"])
def test_a_setting_without_a_name_or_with_code_is_refused(text):
    with pytest.raises(ValueError, match="--set"):
        parse_setting(text)


@pytest.mark.parametrize(
    "hidden", ["output_dir=[1, $exit()]", "init={a: '@seed'}", "init={_target_: os.abort}", 'init="$exit()"']
)
def test_code_inside_a_value_is_refused_as_well(hidden):
    with pytest.raises(ValueError, match="--set"):
        parse_setting(hidden)


@pytest.mark.parametrize(
    ("stage", "name", "hint"),
    [("train", "epoch", "'epochs'"), ("pretrain", "objectiv", "'objective'"), ("infer", "zzzz", "modality")],
)
def test_an_unknown_setting_is_refused_with_the_nearest_name(stage, name, hint):
    with pytest.raises(ValueError, match=hint) as caught:
        run_workflow(stage, {name: 1})
    assert repr(name) in str(caught.value) and f"{CONFIGS[stage][0]}" in str(caught.value)


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


@pytest.mark.parametrize("code", ["$__import__('pathlib').Path('ran').touch()", "@seed", "%seed"])
def test_a_text_of_a_datalist_is_never_run_as_code(tmp_path, monkeypatch, code):
    monkeypatch.chdir(tmp_path)
    for name in ("modality", "datalist"):
        with pytest.raises(ValueError, match=f"{name} must be plain"):
            run_workflow("train", {name: code})
    assert not Path("ran").exists()


@pytest.mark.parametrize("text", ["$__import__('pathlib').Path('ran').touch()", "@modality", "%modality"])
def test_an_image_s_id_and_path_reach_the_workflow_as_they_are(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    entries = [{"id": text, "image": f"{text}.png", "label": f"{text}.png"}]
    parser = open_workflow("train", {"train#dataset#data": entries, "warm_start": "none"}).parser
    assert list(parser.get_parsed_content("train#dataset#data")) == entries
    assert not Path("ran").exists()


def test_a_setting_that_is_no_yaml_is_refused():
    with pytest.raises(ValueError, match="--set takes a value in YAML"):
        parse_setting("epochs=: [")
