"""The configs as MONAI reads them, without the commands in front."""

from __future__ import annotations

import json

import pytest
import yaml
from monai.bundle import ConfigWorkflow

from bundle.commands import run_verb
from bundle.data.modality import available_modalities
from bundle.run.stages import CONFIGS
from tests.commands import stages


@pytest.mark.parametrize("stage", ["infer", "train", "evaluate"])
def test_monai_finds_every_property_that_it_asks_for(stage, repository, hospital, trained, tmp_path):
    workflow = ConfigWorkflow(
        config_file=[str(repository / "configs" / name) for name in CONFIGS[stage]],
        meta_file=str(repository / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type="infer" if stage == "infer" else "train",
        bundle_root=str(repository),
        modality=str(hospital.modality),
        dataset_dir=str(hospital.images),
        output_dir=str(tmp_path),
        model=str(trained / "model.pt"),
        **({} if stage == "infer" else {"datalist": str(hospital.datalist), "ssl_weights": str(trained / "model.pt")}),
    )
    workflow.initialize()
    assert workflow.check_properties() == []


@pytest.mark.parametrize("stage", CONFIGS)
def test_a_config_is_short_begins_with_its_purpose_and_has_no_hard_device(stage, repository):
    for name in CONFIGS[stage]:
        text = (repository / "configs" / name).read_text(encoding="utf-8")
        assert text.startswith("# ") and len(text.splitlines()) <= 235
        assert "cuda" not in text and "lambda" not in text
        assert yaml.safe_load(text).get("modality", "dermoscopy") in available_modalities()


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("embed", ["--section", "validation", "--weights"]),
        ("evaluate", ["--section", "validation", "--model"]),
        ("train", ["--ssl-weights"]),
    ],
)
def test_an_empty_section_is_told_and_makes_nothing(hospital, trained, tmp_path, capsys, verb, options):
    content = json.loads(hospital.datalist.read_text()) | {"training": [], "validation": []}
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    arguments = ["--datalist", str(tmp_path / "datalist.json"), *options, str(trained / "model.pt")]
    assert run_verb(verb, [*arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"{verb}: section ") and "has no image; pool, test have" in error


@pytest.mark.parametrize("stage", ["pretrain", "embed", "train", "evaluate", "infer"])
def test_a_device_may_be_named_by_its_text(stage, stocked, tmp_path):
    arguments = stages.arguments(stage, stocked, tmp_path / "out")
    assert run_verb(stage, [*arguments, "--set", "device=cpu"]) == 0
