"""What a workflow is given reaches its configs as it is, and mistakes are told before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

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
