"""From training to inference: what is told of each mask, and what is left to a person."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bundle.commands import run_verb
from bundle.data.modality import load_modality
from bundle.data.transforms import preprocessing
from bundle.network import UNet
from bundle.segmentation.confidence import head_agreement, soft_dice_confidence
from bundle.segmentation.domain import fit, out_of_domain
from bundle.segmentation.trust import COLUMNS
from bundle.selection.information import mean_entropy
from bundle.weights import halve_weights, load_weights


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def infer(hospital, model: Path, images: Path, out: Path, *options: str, expect: int = 0) -> dict[str, dict[str, str]]:
    arguments = [
        "--images",
        str(images),
        "--model",
        str(model),
        "--modality",
        str(hospital.modality),
        "--out",
        str(out),
    ]
    assert run_verb("infer", [*arguments, *options]) == expect
    return {row["id"]: row for row in table(out / "predictions.csv")} if expect == 0 else {}


@pytest.fixture(scope="module")
def strangers(hospital, tmp_path_factory) -> Path:
    """Three pictures of the hospital and one of stripes that nobody there has seen."""
    folder = tmp_path_factory.mktemp("strangers")
    for i in range(3):
        (folder / f"spot_{i:02d}.png").write_bytes((hospital.images / f"spot_{i:02d}.png").read_bytes())
    stripes = np.zeros((40, 30, 3), np.uint8)
    stripes[::2] = [0, 255, 0]
    Image.fromarray(stripes).save(folder / "stripes.png")
    return folder


def test_training_leaves_the_reference_of_its_pool_in_both_weight_files(hospital, trained, tmp_path):
    for name in ("model.pt", "model_best.pt"):
        weights = load_weights(trained / name)
        assert float(weights.reference["images"]) == 14
        spec = load_modality(hospital.modality)
        network = UNet(3, 2, tuple(weights.settings["filters"])).eval()
        network.load_state_dict(weights.model)
        load, vectors = preprocessing(spec), []
        for path in sorted(hospital.images.glob("*.png"))[2:]:
            image = load({"image": str(path)})["image"].as_tensor()
            with torch.no_grad():
                vectors.append(network.describe_scales(image.mul(255).round().div(255)[None])[0].double())
        expected = fit(torch.stack(vectors))
        for key in ("mean", "border"):
            assert torch.allclose(weights.reference[key], expected[key], rtol=1e-3, atol=1e-5)
    half = load_weights(halve_weights(trained / "model.pt", tmp_path / "half.pt"))
    assert set(half.reference) == set(weights.reference)


def test_every_mask_is_told_what_its_own_pass_says(hospital, trained, strangers, tmp_path):
    rows = infer(hospital, trained / "model.pt", strangers, tmp_path / "out")
    assert set(rows) == {"spot_00", "spot_01", "spot_02", "stripes"}
    weights = load_weights(trained / "model.pt")
    network = UNet(3, 2, tuple(weights.settings["filters"])).eval()
    network.load_state_dict(weights.model)
    for identifier, row in rows.items():
        image = preprocessing(str(hospital.modality))({"image": str(strangers / f"{identifier}.png")})[
            "image"
        ].as_tensor()
        height, width = np.asarray(Image.open(strangers / f"{identifier}.png")).shape[:2]
        scale = 32 / max(width, height)
        w, h = round(width * scale), round(height * scale)
        with torch.no_grad():
            logits = network.forward_heads(image[None])
            descriptor = network.describe_scales(image[None])[0]
        left, top = (32 - w) // 2, (32 - h) // 2
        own = torch.softmax(logits[0], dim=1)[..., left : left + w, top : top + h].numpy()
        told = dict(zip(COLUMNS, (float(row[name]) for name in COLUMNS[:-1]), strict=False))
        assert told["confidence"] == pytest.approx(soft_dice_confidence(own[0]), abs=2e-4)
        assert told["head_agreement"] == pytest.approx(head_agreement(own), abs=2e-4)
        assert told["entropy"] == pytest.approx(mean_entropy(own[:1]), abs=2e-4)
        assert told["out_of_domain"] == pytest.approx(out_of_domain(descriptor, weights.reference), rel=1e-2)
    distances = {name: float(row["out_of_domain"]) for name, row in rows.items()}
    stranger = distances.pop("stripes")
    assert stranger > 2 * max(distances.values()), "after a dozen steps on 14 images it is the farthest by far"
    assert all(row["refused"] == "" for row in rows.values()) and not (tmp_path / "out" / "review.csv").exists()


def test_doubtful_masks_go_to_review_and_to_no_other_place(hospital, trained, strangers, tmp_path):
    plain = infer(hospital, trained / "model.pt", strangers, tmp_path / "plain")
    bound = sorted(float(row["confidence"]) for row in plain.values())[1] + 1e-3
    out = tmp_path / "out"
    rows = infer(hospital, trained / "model.pt", strangers, out, "--refuse-below", str(bound))
    doubted = {i for i, row in plain.items() if float(row["confidence"]) < bound or float(row["out_of_domain"]) > 1}
    assert 0 < len(doubted) < 4 and {i for i, row in rows.items() if row["refused"]} == doubted
    for identifier in rows:
        places = [out / f"{identifier}.png", out / "review" / f"{identifier}.png"]
        assert [place.is_file() for place in places] == [identifier not in doubted, identifier in doubted]
        assert rows[identifier]["mask"] == str(places[identifier in doubted])
    review = table(out / "review.csv")
    assert {row["id"] for row in review} == doubted
    assert [float(row["confidence"]) for row in review] == sorted(float(row["confidence"]) for row in review)
    assert json.loads((out / "run.json").read_text())["results"]["refused"] == len(doubted)


def test_a_bound_beyond_the_range_is_refused(hospital, trained, strangers, tmp_path, capsys):
    infer(hospital, trained / "model.pt", strangers, tmp_path / "out", "--refuse-below", "90", expect=2)
    assert "from 0 to 1, or null, got 90" in capsys.readouterr().err


def test_weights_without_a_reference_tell_the_rest_and_can_be_given_one(hospital, trained, strangers, tmp_path, caplog):
    weights = torch.load(trained / "model.pt", weights_only=True)
    del weights["reference"]
    torch.save(weights, tmp_path / "old.pt")
    rows = infer(hospital, tmp_path / "old.pt", strangers, tmp_path / "out")
    assert {row["out_of_domain"] for row in rows.values()} == {""} and "coldstart fit_domain" in caplog.text
    arguments = ["--model", str(tmp_path / "old.pt"), "--datalist", str(hospital.datalist)]
    assert run_verb("fit_domain", [*arguments, "--out", str(tmp_path / "new.pt")]) == 0
    new, first = load_weights(tmp_path / "new.pt"), load_weights(trained / "model.pt")
    assert all(torch.equal(new.model[name], tensor) for name, tensor in first.model.items())
    assert all(torch.allclose(new.reference[name], tensor) for name, tensor in first.reference.items())
    assert new.settings == first.settings
    assert run_verb("fit_domain", [*arguments, "--out", str(tmp_path / "new.pt")]) == 2
    few = [*arguments, "--section", "test", "--out", str(tmp_path / "few.pt")]
    assert run_verb("fit_domain", few) == 2 and not (tmp_path / "few.pt").exists()
    assert run_verb("fit_domain", [*arguments, "--out", str(tmp_path), "--overwrite"]) == 2, (
        "a folder is no weight file"
    )


def test_what_the_signs_are_worth_is_measured_on_labelled_images(hospital, trained, strangers, tmp_path, capsys):
    out = tmp_path / "trust"
    arguments = ["--datalist", str(hospital.datalist), "--model", str(trained / "model.pt"), "--section", "pool"]
    arguments += ["--others", str(strangers), "--count", "2", "--out", str(out)]
    assert run_verb("measure_trust", arguments) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "summary.json")
    rows = table(out / "trust.csv")
    clean = [row for row in rows if row["kind"] == "clean"]
    assert len(clean) == 14 and sum(row["kind"] == "other modality" for row in rows) == 2
    told = infer(hospital, trained / "model.pt", hospital.images, tmp_path / "out")
    for row in clean:
        for name in COLUMNS[:-1]:
            assert float(row[name]) == pytest.approx(float(told[row["id"]][name]), abs=2e-4)
        assert row["quality"] == told[row["id"]]["quality"]
        predicted = np.asarray(Image.open(told[row["id"]]["mask"])) > 0
        truth = np.asarray(Image.open(hospital.masks / f"{row['id']}.png")) > 0
        assert float(row["dice"]) == pytest.approx(
            2 * (predicted & truth).sum() / (predicted.sum() + truth.sum()), abs=1e-6
        )
    summary = json.loads((out / "summary.json").read_text())
    ranks = [
        np.array([sum(b < a for b in column) + (sum(b == a for b in column) - 1) / 2 for a in column])
        for column in ([float(row["confidence"]) for row in clean], [float(row["dice"]) for row in clean])
    ]
    assert summary["ranking"]["confidence"]["rho"] == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-3)
    dark = [float(row["out_of_domain"]) > 1 for row in rows if row["kind"] == "dark, x 0.3"]
    assert summary["kinds"]["dark, x 0.3"]["far"] == sum(dark) / 2
