"""The main job's figures: every way is trained and scored once, and self-training has the warm model as its teacher."""

from __future__ import annotations

import csv
import json
import shutil

import pytest

from bundle.commands import run_verb
from bundle.run.claim import claim_folder
from bundle.run.record import file_fingerprint


@pytest.fixture(scope="module")
def measured(hospital, pretrained, public_set, tmp_path_factory):
    """All 12 labels and, with one seed, 4 of them, from a pretraining that is there already."""
    out = tmp_path_factory.mktemp("main_job") / "out"
    few = {"few": 4, "few_steps": 40, "steps": 40}
    about = {"data": str(public_set), "modality": str(hospital.modality), "as_dicom": False}
    claim_folder(out, {"stage": "measure_main_job", **about, **few}, overwrite=False)
    shutil.copytree(pretrained, out / "pretrain")
    options = ["--few", "4", "--few-steps", "40", "--steps", "40", "--seeds", "1", "--out", str(out)]
    assert (
        run_verb("measure_main_job", ["--data", str(public_set), "--modality", str(hospital.modality), *options]) == 0
    )
    return out


def test_every_way_has_a_row_with_the_scores_of_its_evaluation(measured):
    with (measured / "results.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    ways = [(row["labels"], row["start"]) for row in rows]
    few = [("4", start) for start in ("warm", "random weights", "self-trained")]
    assert ways == [("12", "warm"), ("12", "random weights"), *few]
    for row, folder in zip(rows[-3:], ("warm", "random_weights", "self_trained"), strict=True):
        summary = json.loads((measured / f"few_seed0_{folder}" / "evaluation" / "summary.json").read_text())
        assert float(row["dice"]) == summary["dice"]["mean"] and row["n_test"] == str(summary["n"]) == "4"


def test_the_teacher_is_the_warm_model_of_the_same_labels(measured):
    settings = [
        json.loads((measured / f"few_seed0_{way}" / "run.json").read_text())["settings"]
        for way in ("warm", "random_weights", "self_trained")
    ]
    teachers = [one["teacher"] for one in settings]
    assert teachers[:2] == ["none", "none"]
    assert teachers[2].startswith(file_fingerprint(measured / "few_seed0_warm" / "model.pt"))
    assert len({one["data"] for one in settings}) == 1 and settings[2]["start"] == settings[0]["start"] != "none"


def test_other_numbers_of_labels_or_steps_are_another_job(hospital, public_set, measured, capsys):
    given = ["--data", str(public_set), "--modality", str(hospital.modality), "--seeds", "1", "--out", str(measured)]
    for changed in (["--few", "3"], ["--few", "4", "--few-steps", "80"]):
        steps = ["--steps", "40", *([] if "--few-steps" in changed else ["--few-steps", "40"])]
        assert run_verb("measure_main_job", [*given, *steps, *changed]) == 2
        assert "is already there" in capsys.readouterr().err


def test_more_labels_than_there_are_masks_are_refused_before_any_training(hospital, public_set, tmp_path, capsys):
    given = ["--data", str(public_set), "--modality", str(hospital.modality), "--out", str(tmp_path / "out")]
    assert run_verb("measure_main_job", [*given, "--few", "13"]) == 2
    assert "13 labels are asked for, and 12 images of the pool have a mask" in capsys.readouterr().err
    assert not (tmp_path / "out" / "pretrain").exists()
