"""Pretraining from the command line, on a small pool without labels."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from bundle.commands import run_verb
from bundle.data.datalist import load_datalist
from bundle.run.record import file_fingerprint, images_fingerprint
from bundle.weights import load_weights


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="", encoding="utf-8") as handle:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(handle)]


def assert_same_weights(one: Path, other: Path) -> None:
    a, b = load_weights(one), load_weights(other)
    for name, tensor in a.model.items():
        assert torch.equal(tensor, b.model[name]), name
    assert a.model.keys() == b.model.keys() and a.settings == b.settings
    for head, state in a.heads.items():
        assert all(torch.equal(tensor, b.heads[head][name]) for name, tensor in state.items())


def test_contrast_trains_the_encoder_and_the_coarse_decoder_and_tells_its_course(hospital, pretrained):
    weights = load_weights(pretrained / "model_ssl_pretrained.pt")
    assert {".".join(name.split(".")[:2]) for name in weights.model} == {
        *(f"encoder.{i}" for i in range(5)),
        *("decoder.0", "decoder.1"),
    }
    assert all(torch.isfinite(t).all() for t in weights.model.values())
    assert weights.settings["modality"] == "spots" and weights.settings["objective"] == "contrastive"
    rows = history(pretrained)
    assert [(row["epoch"], row["step"]) for row in rows] == [(str(n), str(n)) for n in range(1, 7)], (
        "2 passes of 3 steps"
    )
    for row in rows:
        assert float(row["loss"]) == pytest.approx(float(row["contrastive"]) + float(row["local"]), abs=1e-4)
        assert 0 <= float(row["retrieval"]) <= 1 and 0 <= float(row["matched"]) <= 1
    record = json.loads((pretrained / "run.json").read_text())
    assert record["stage"] == "pretrain" and record["seed"] == 0
    assert record["results"]["weights"] == file_fingerprint(pretrained / "model_ssl_pretrained.pt")
    pool = load_datalist(hospital.datalist).section("pool")
    assert record["settings"]["data"] == images_fingerprint(pool)


def test_the_hardest_views_are_chosen_after_the_warm_up(pretrained):
    report = json.loads((pretrained / "policies.json").read_text())
    record = json.loads((pretrained / "run.json").read_text())
    assert report["chosen"] in {policy["name"] for policy in report["policies"]}
    assert record["results"]["views"] == report["chosen"]


@pytest.mark.parametrize(
    ("objective", "figures"), [("restoration", {"restoration"}), ("joint", {"restoration", "retrieval"})]
)
def test_restoration_trains_the_decoder_as_well(hospital, tmp_path, capsys, objective, figures):
    out = tmp_path / objective
    assert run_verb("pretrain", hospital.pretrain(out, "--objective", objective)) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "model_ssl_pretrained.pt")
    weights = load_weights(out / "model_ssl_pretrained.pt")
    assert {name.split(".")[0] for name in weights.model} == {"encoder", "decoder"}
    assert set(weights.heads) == {"projection", "places", "restoration"} and weights.settings["objective"] == objective
    assert figures <= set(history(out)[0])
    assert (out / "policies.json").exists() == (objective == "joint")
    assert "restored_spread" in json.loads((out / "run.json").read_text())["results"]["collapse"]


def test_killed_in_the_middle_it_ends_where_the_undisturbed_training_ends(hospital, pretrained, tmp_path, run_and_kill):
    out = tmp_path / "killed"
    run_and_kill(5, "pretrain", hospital.pretrain(out))
    assert (out / "checkpoint.pt").exists() and not (out / "model_ssl_pretrained.pt").exists()
    assert len(history(out)) == 4, "the fifth step was not finished"
    assert run_verb("pretrain", hospital.pretrain(out)) == 0
    assert_same_weights(out / "model_ssl_pretrained.pt", pretrained / "model_ssl_pretrained.pt")
    assert history(out) == history(pretrained)


def test_another_seed_gives_other_weights_and_goes_on_from_given_ones(hospital, pretrained, tmp_path):
    out = tmp_path / "continued"
    start = pretrained / "model_ssl_pretrained.pt"
    knobs = ["--set", "learning_rate=0", "--set", "weight_decay=0", "--set", "policy=mild"]
    assert run_verb("pretrain", hospital.pretrain(out, "--init", str(start), "--seed", "1", *knobs)) == 0
    before, after = load_weights(start), load_weights(out / "model_ssl_pretrained.pt")
    for name, tensor in after.model.items():
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(tensor, before.model[name]), "without a learning rate nothing but statistics changes"
    assert not (out / "policies.json").exists(), "the views were given"


def test_a_folder_of_another_request_is_refused_and_kept(hospital, pretrained, capsys):
    before = file_fingerprint(pretrained / "model_ssl_pretrained.pt")
    assert run_verb("pretrain", hospital.pretrain(pretrained, "--seed", "5")) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert file_fingerprint(pretrained / "model_ssl_pretrained.pt") == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--set", "epoch=3"], "did you mean 'epochs'"),
        (["--set", "policy=wild"], "policy must be 'hardest' or one of"),
        (["--set", "precision=fp8"], "precision must be one of"),
        (["--section", "test"], "at least 8 readable images"),
        (["--init", "absent.pt"], "there is no weight file"),
        (["--modality", "mammography"], "modality 'mammography' is unknown"),
    ],
)
def test_a_mistake_ends_as_one_line_and_code_2(hospital, tmp_path, capsys, options, told):
    assert run_verb("pretrain", hospital.pretrain(tmp_path / "out", *options)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("pretrain: ") and told in error
    assert not (tmp_path / "out" / "model_ssl_pretrained.pt").exists()


def test_a_pool_of_many_steps_a_pass_still_chooses_its_views_and_keeps_to_the_steps(hospital, tmp_path):
    out = tmp_path / "out"
    knobs = ["--set", "steps=4", "--set", "epochs=null", "--set", "batch_size=1", "--set", "warmup=0.5"]
    arguments = [*hospital.pretrain(out)[:4], *knobs]
    assert run_verb("pretrain", arguments) == 0
    record = json.loads((out / "run.json").read_text())
    assert record["results"]["steps"] == record["settings"]["steps"] == 4 == len(history(out)), "a pass has 12"
    assert json.loads((out / "policies.json").read_text())["chosen"] == record["results"]["views"]
    model = load_weights(out / "model_ssl_pretrained.pt").model
    spreads = [tensor for name, tensor in model.items() if name.endswith("running_var")]
    assert not any((spread == 1).all() for spread in spreads), "batches of one image taught BatchNorm something"


def test_without_a_step_after_the_warm_up_it_says_that_no_views_were_chosen(hospital, tmp_path, caplog):
    arguments = [*hospital.pretrain(tmp_path / "out")[:4], "--set", "steps=1", "--set", "batch_size=4"]
    assert run_verb("pretrain", arguments) == 0
    assert "views stay mild" in caplog.text and not (tmp_path / "out" / "policies.json").exists()


def test_a_finished_pretraining_that_is_asked_for_again_stays_as_it_is(hospital, tmp_path):
    out = tmp_path / "out"
    arguments = hospital.pretrain(out, "--objective", "joint")
    assert run_verb("pretrain", arguments) == 0
    before = file_fingerprint(out / "model_ssl_pretrained.pt")
    first = json.loads((out / "run.json").read_text())
    assert run_verb("pretrain", arguments) == 0
    again = json.loads((out / "run.json").read_text())
    assert file_fingerprint(out / "model_ssl_pretrained.pt") == before
    assert again["started"] == first["started"] and again["seconds"] >= 0.9 * first["seconds"]


def test_other_limits_of_the_views_are_another_pretraining(hospital, tmp_path, caplog):
    modality = tmp_path / "spots.yaml"
    modality.write_text(hospital.modality.read_text())
    arguments = [*hospital.pretrain(tmp_path / "out"), "--modality", str(modality)]
    assert run_verb("pretrain", arguments) == 0
    modality.write_text(modality.read_text().replace("rotation: 180", "rotation: 10"))
    assert run_verb("pretrain", arguments) == 0
    assert "belongs to a training with other settings" in caplog.text
