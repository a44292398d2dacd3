"""What a workflow is given reaches its configs as it is, and mistakes are told before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle.run.knobs import merged_configs
from bundle.run.stages import CONFIGS
from bundle.run.workflow import open_workflow, run_workflow


@pytest.mark.parametrize(
    ("stage", "name", "hint"),
    [("train", "epoch", "'epochs'"), ("pretrain", "objectiv", "'objective'"), ("infer", "zzzz", "modality")],
)
def test_an_unknown_setting_is_refused_with_the_nearest_name(stage, name, hint):
    with pytest.raises(ValueError, match=hint) as caught:
        run_workflow(stage, {name: 1})
    assert repr(name) in str(caught.value) and f"{CONFIGS[stage][0]}" in str(caught.value)


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


@pytest.mark.parametrize("stage", ["train", "pretrain"])
def test_a_part_that_is_overridden_without_its_knob_is_recorded_as_it_is(stage):
    parts = {"train#trainer#max_epochs": 3, "train#trainer#epoch_length": 5, "train#optimizer#lr": 0.25}
    parser = open_workflow(stage, parts).parser
    assert parser.get_parsed_content("settings#steps") == 15
    assert parser.get_parsed_content("settings#learning_rate") == 0.25


def test_an_overlay_may_name_an_item_of_a_list(tmp_path):
    (tmp_path / "a.yaml").write_text("handlers: [{interval: 1}, 5]\n")
    (tmp_path / "b.yaml").write_text("handlers#0#interval: 2\nhandlers#1: 6\n")
    assert merged_configs([tmp_path / "a.yaml", tmp_path / "b.yaml"]) == {"handlers": [{"interval": 2}, 6]}
