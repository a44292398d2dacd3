"""Scores of uncertainty from the command line: one for each id, whatever it is scored with."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from PIL import Image

from bundle.commands import run_verb
from bundle.data.datalist import load_datalist
from bundle.run.workflow import run_workflow
from bundle.selection.uncertainty import Uncertainties


def scored(hospital, trained, out, *options: str) -> Uncertainties:
    arguments = [
        "--datalist",
        str(hospital.datalist),
        "--model",
        str(trained / "model.pt"),
        "--out",
        str(out),
        *options,
    ]
    assert run_verb("score_uncertainty", arguments) == 0
    return Uncertainties.load(out)


@pytest.fixture(scope="module")
def by_dropout(hospital, trained) -> Uncertainties:
    return scored(hospital, trained, hospital.root / "uncertainty", "--criterion", "bald", "--passes", "3")


def test_every_image_of_the_section_has_a_score_under_its_id(hospital, by_dropout):
    assert list(by_dropout) == load_datalist(hospital.datalist).ids("pool")
    record = json.loads((hospital.root / "uncertainty" / "run.json").read_text())
    assert record["settings"]["criterion"] == "bald" and record["results"]["images"] == 14


def test_a_score_depends_neither_on_the_order_nor_on_what_else_is_scored(hospital, trained, by_dropout, tmp_path):
    entries = load_datalist(hospital.datalist).section("pool")[::2]
    random.Random(1).shuffle(entries)
    overrides = {
        "modality": str(hospital.modality),
        "dataset#data": entries,
        "model": str(trained / "model.pt"),
        "criterion": "bald",
        "passes": 3,
        "output_dir": str(tmp_path),
    }
    run_workflow("uncertainty", overrides)
    found = Uncertainties.load(tmp_path)
    assert dict(found) == {entry["id"]: by_dropout[entry["id"]] for entry in entries}


def test_another_seed_draws_other_passes(hospital, trained, by_dropout, tmp_path):
    other = scored(hospital, trained, tmp_path / "out", "--criterion", "bald", "--passes", "3", "--seed", "1")
    assert [row.score for row in other.values()] != [row.score for row in by_dropout.values()]


def test_padding_is_no_part_of_the_image(hospital, trained, tmp_path):
    found = scored(hospital, trained, tmp_path / "out", "--section", "test")
    out = tmp_path / "masks"
    arguments = ["--images", str(hospital.images), "--modality", str(hospital.modality), "--out", str(out)]
    assert run_verb("infer", [*arguments, "--model", str(trained / "model.pt")]) == 0
    for name, row in found.items():
        share = (np.asarray(Image.open(out / f"{name}.png")) > 0).mean()
        assert row.foreground == pytest.approx(share, abs=0.05)  # of the canvas here, of the image's own pixels there


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--criterion", "dsl"], "did you mean 'dsal'"),
        (["--option", "pears=all"], "did you mean 'pairs'"),
        (["--option", "pairs=none"], "pairs must be one of main, all"),
        (["--option", "pairs=$print(1)"], "would be run as code"),
        (["--criterion", "ensemble"], "two models at least"),
        (["--passes", "3"], "no number of passes"),
        (["--criterion", "tta", "--passes", "1"], "passes must be 2 or more"),
    ],
)
def test_a_mistake_ends_as_one_line_and_code_2(hospital, trained, tmp_path, capsys, options, told):
    arguments = ["--datalist", str(hospital.datalist), "--model", str(trained / "model.pt")]
    assert run_verb("score_uncertainty", [*arguments, "--out", str(tmp_path / "out"), *options]) == 2
    assert told in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "out" / "scores.csv").exists()


def test_the_criteria_are_listed_and_explained(capsys):
    for word, told in (("help", "looks at"), ("help:ceal", "distance to the border")):
        with pytest.raises(SystemExit) as done:
            run_verb("score_uncertainty", ["--criterion", word])
        assert done.value.code == 0 and told in capsys.readouterr().out
