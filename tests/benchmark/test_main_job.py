"""The main job's figures: every way is trained and scored once, and self-training has the warm model as its teacher."""

from __future__ import annotations

import csv
import json
import shutil

import pytest

from bundle.commands import run_verb
from bundle.run.record import file_fingerprint


@pytest.fixture(scope="module")
def measured(hospital, pretrained, public_set, tmp_path_factory):
    """All 12 labels and, with one seed, 4 of them, from a pretraining that is there already."""
    out = tmp_path_factory.mktemp("main_job") / "out"
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
    assert [one["teacher"] for one in settings] == [
        "none",
        "none",
        f"teacher:{file_fingerprint(measured / 'few_seed0_warm' / 'model.pt')}",
    ]
    assert len({one["data"] for one in settings}) == 1 and settings[2]["start"] == settings[0]["start"] != "none"
