"""Scores from the command line: those of the masks that inference gives, at the images' own sizes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle.commands import run_verb
from bundle.data.datalist import entries_from, load_datalist
from bundle.run.record import entries_fingerprint, file_fingerprint


@pytest.fixture(scope="module")
def evaluation(hospital, trained, tmp_path_factory):
    """Scores of the pool, all 14 images, by the briefly trained model."""
    out = tmp_path_factory.mktemp("evaluate") / "scores"
    arguments = ["--datalist", str(hospital.datalist), "--model", str(trained / "model.pt"), "--section", "pool"]
    assert run_verb("evaluate", [*arguments, "--out", str(out)]) == 0
    return out


def rows(folder):
    with (folder / "per_image.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_every_labelled_image_has_a_row_under_its_id(hospital, evaluation):
    assert [row["id"] for row in rows(evaluation)] == load_datalist(hospital.datalist).ids("pool")
    for row in rows(evaluation):
        dice, jaccard = float(row["dice"]), float(row["jaccard"])
        assert 0 <= jaccard <= dice <= 1 and jaccard == pytest.approx(dice / (2 - dice), abs=1e-4)
        assert 0 <= float(row["hd95"]) <= np.hypot(44, 44)


def test_the_summary_is_that_of_the_rows(hospital, evaluation, trained):
    summary = json.loads((evaluation / "summary.json").read_text())
    dice = [float(row["dice"]) for row in rows(evaluation)]
    assert summary["n"] == 14 and summary["dice"]["mean"] == pytest.approx(np.mean(dice), abs=1e-4)
    assert summary["dice"]["low"] <= summary["dice"]["mean"] <= summary["dice"]["high"]
    worst = [case["dice"] for case in summary["cases"]["worst"]]
    assert worst == sorted(dice)[: len(worst)]
    record = json.loads((evaluation / "run.json").read_text())
    scored = entries_from(hospital.datalist, "pool", labelled=True)
    inputs = {"model": file_fingerprint(trained / "model.pt"), "data": entries_fingerprint(scored)}
    assert record["fingerprints"] == inputs


def test_groups_of_images_have_their_own_scores(hospital, evaluation):
    with (evaluation / "groups.csv").open(newline="", encoding="utf-8") as handle:
        groups = list(csv.DictReader(handle))
    assert [row["group"] for row in groups] == ["small third", "middle third"], "two areas, 5 and 9 images"
    scored = {row["id"]: float(row["dice"]) for row in rows(evaluation)}
    sizes = {name: np.prod(Image.open(hospital.images / f"{name}.png").size) for name in scored}
    for row, size in zip(groups, sorted(set(sizes.values())), strict=True):
        dice = [scored[name] for name in scored if sizes[name] == size]
        assert int(row["images"]) == len(dice) and float(row["dice"]) == pytest.approx(np.mean(dice), abs=1e-4)
    assert len(json.loads((evaluation / "summary.json").read_text())["groups"]) == len(groups)


def test_the_cases_are_drawn_at_their_own_size(evaluation):
    summary = json.loads((evaluation / "summary.json").read_text())
    for kind, cases in summary["cases"].items():
        for rank in range(1, len(cases) + 1):
            assert Image.open(evaluation / "overlays" / f"{kind}_{rank:02d}.png").size in {(44, 30), (30, 44), (36, 36)}


def test_a_score_is_the_score_of_the_masks_that_inference_writes(hospital, trained, evaluation, tmp_path):
    arguments = ["--images", str(hospital.images), "--model", str(trained / "model.pt"), "--out", str(tmp_path / "m")]
    assert run_verb("infer", [*arguments, "--modality", str(hospital.modality)]) == 0
    for row in rows(evaluation):
        predicted = np.asarray(Image.open(tmp_path / "m" / f"{row['id']}.png")) > 0
        true = np.asarray(Image.open(hospital.masks / f"{row['id']}.png")) > 0
        total = predicted.sum() + true.sum()
        assert float(row["dice"]) == pytest.approx(2 * (predicted & true).sum() / total if total else 1.0, abs=1e-4)


def test_the_default_is_the_test_section(hospital, trained, tmp_path, capsys):
    arguments = ["--datalist", str(hospital.datalist), "--model", str(trained / "model.pt")]
    assert run_verb("evaluate", [*arguments, "--out", str(tmp_path / "e")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "e" / "summary.json")
    assert [row["id"] for row in rows(tmp_path / "e")] == load_datalist(hospital.datalist).ids("test")


def test_weights_that_are_not_of_this_network_are_refused(hospital, pretrained, tmp_path, capsys):
    ssl = str(pretrained / "model_ssl_pretrained.pt")
    arguments = ["--datalist", str(hospital.datalist), "--model", ssl, "--out", str(tmp_path / "e")]
    assert run_verb("evaluate", arguments) == 2
    assert "does not fill the network" in capsys.readouterr().err


def test_a_section_without_labels_is_told(hospital, trained, tmp_path, capsys):
    content = json.loads(hospital.datalist.read_text())
    for entry in content["test"]:
        del entry["label"]
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    arguments = ["--datalist", str(tmp_path / "datalist.json"), "--model", str(trained / "model.pt")]
    assert run_verb("evaluate", [*arguments, "--out", str(tmp_path / "e")]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("evaluate: ")


def test_a_mask_that_changed_since_is_named_and_its_image_left_out(hospital, trained, tmp_path):
    content = json.loads(hospital.datalist.read_text())
    masks = tmp_path / "masks"
    shutil.copytree(hospital.masks, masks)
    first, second, third = (content["pool"][at]["label"] for at in (0, 1, 3))
    Image.fromarray(np.asarray(Image.open(masks / first)).T).save(masks / first)
    (masks / second).write_bytes(b"no picture")
    (masks / third).unlink()
    (tmp_path / "datalist.json").write_text(json.dumps(content | {"label_root": str(masks)}))
    arguments = ["--datalist", str(tmp_path / "datalist.json"), "--model", str(trained / "model.pt")]
    assert run_verb("evaluate", [*arguments, "--section", "pool", "--out", str(tmp_path / "e")]) == 0
    summary = json.loads((tmp_path / "e" / "summary.json").read_text())
    square = Image.open(hospital.masks / first).size[0] == Image.open(hospital.masks / first).size[1]
    assert summary["left_out"] == 3 - square and summary["n"] == 11 + square
    with (tmp_path / "e" / "quarantine.csv").open(newline="", encoding="utf-8") as handle:
        told = {Path(row["path"]).parent.name for row in csv.DictReader(handle)}
    assert told == {"masks"}
