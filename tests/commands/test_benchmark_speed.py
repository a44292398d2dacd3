"""The benchmark of speed measures what it says."""

from __future__ import annotations

import csv
import dataclasses
import json

import numpy as np
import pytest
import torch
from ignite.engine import Events
from PIL import Image

from bundle.benchmark.growth import StageCost, draw_folder, exponent
from bundle.benchmark.plain_ways import (
    as_plain_items,
    plain_decode,
    plain_inference,
    plain_trainer,
    published_distortion,
)
from bundle.benchmark.speed import _trainer
from bundle.benchmark.stopwatch import Speed, operations, side_by_side
from bundle.commands import run_verb
from bundle.data.modality import load_modality
from bundle.network import UNet


def test_every_way_has_its_turn_in_every_round_and_the_first_is_not_counted():
    order: list[str] = []
    rates = side_by_side({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 10, repeats=2)
    assert order == ["a", "b"] * 3
    assert set(rates) == {"a", "b"} and all(rate > 0 for rate in rates.values())


def test_ratio_and_share_are_of_the_rates():
    speed = Speed("stage", plain=2.0, bundle=6.0, reach=2.5, work="", floor=12.0, note="")
    assert speed.ratio == 3 and speed.share_of_floor == 0.5


def test_operations_of_a_product_are_counted():
    a, b = torch.rand(3, 5), torch.rand(5, 7)
    assert operations(lambda: a @ b) == 2 * 3 * 5 * 7


@pytest.mark.parametrize("kind", ["plain", "bundle"])
def test_a_trainer_that_is_timed_again_takes_all_its_steps_again(kind, tmp_path):
    modality = dataclasses.replace(load_modality("chest_xray"), size=32)
    images = torch.randint(0, 256, (8, 1, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, 2, (8, 1, 32, 32), dtype=torch.uint8)
    if kind == "plain":
        trainer = plain_trainer(as_plain_items(images, labels), modality, batch_size=4, steps=5)
    else:
        trainer, _ = _trainer(images, labels, modality, tmp_path, steps=5, seed=0)
    steps = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: steps.append(trainer.state.iteration))
    for _ in range(2):
        trainer.run()
    assert len(steps) == 2 * 5


def test_the_published_distortion_keeps_range_and_shape_and_changes_the_image():
    image = np.random.default_rng(0).random((3, 64, 48)).astype(np.float32)
    changed = [published_distortion(image, np.random.default_rng(i)) for i in range(6)]
    assert all(c.shape == image.shape and c.dtype == np.float32 and 0 <= c.min() <= c.max() <= 1 for c in changed)
    assert sum(not np.allclose(c, image) for c in changed) >= 5


def test_the_plain_inference_gives_the_masks_of_the_bundle(tmp_path):
    rng = np.random.default_rng(0)
    images = tmp_path / "images"
    images.mkdir()
    for i in range(3):
        Image.fromarray(rng.integers(0, 255, (40 + 9 * i, 52, 3), dtype=np.uint8)).save(images / f"{i}.png")
    modality = load_modality("dermoscopy")
    torch.manual_seed(0)
    network = UNet(3, 2).eval()
    with torch.no_grad():
        network.heads[0].bias -= network(torch.rand(1, 3, 128, 128)).mean(dim=(0, 2, 3))
    from bundle.weights import save_weights

    save_weights(tmp_path / "model.pt", network, {"modality": "dermoscopy", "size": 128})
    plain_inference(sorted(images.iterdir()), modality, network, tmp_path / "plain")
    words = ["--images", str(images), "--modality", "dermoscopy", "--model", str(tmp_path / "model.pt")]
    assert run_verb("infer", [*words, "--out", str(tmp_path / "ours")]) == 0
    for i in range(3):
        plain, ours = (np.asarray(Image.open(tmp_path / way / f"{i}.png")) for way in ("plain", "ours"))
        assert plain.shape == ours.shape and set(np.unique(plain)) == {0, 255}
        assert (plain != ours).mean() < 1e-3
    assert [a.shape for a in plain_decode(sorted(images.iterdir()), 16)] == [(16, 16, 3)] * 3


def test_the_exponent_is_that_of_a_power_law_and_small_sizes_are_left_out():
    costs = [StageCost("embed", n, 3.0 if n < 1000 else 1e-3 * n**1.2, 1.0, 1.0) for n in (100, 1000, 4000, 10_000)]
    assert exponent(costs, "seconds") == pytest.approx(1.2)
    assert exponent(costs[:1], "seconds") is None


def test_a_folder_of_repeated_images_has_different_images_and_their_masks(tmp_path):
    source = tmp_path / "source"
    for kind in ("images", "masks"):
        (source / kind).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(source / "images" / f"{i}.jpg")
        Image.fromarray(np.full((20, 30), i, np.uint8)).save(source / "masks" / f"{i}_segmentation.png")
    folder = draw_folder(tmp_path / "data", 7, seed=0, source=source)
    images = [np.asarray(Image.open(file)) for file in sorted((folder / "images").iterdir())]
    masks = [int(np.asarray(Image.open(file)).max()) for file in sorted((folder / "masks").iterdir())]
    assert masks == [0, 1, 2, 0, 1, 2, 0]
    assert all(not np.array_equal(a, b) for i, a in enumerate(images) for b in images[:i])


def test_the_command_writes_its_table(tmp_path, capsys):
    out = tmp_path / "out"
    words = ["--work", "distort", "--steps", "1", "--repeats", "1", "--out", str(out)]
    assert run_verb("benchmark_speed", words) == 0
    assert sorted(path.name for path in out.iterdir()) == ["run.json", "speed.csv"]
    with (out / "speed.csv").open(encoding="utf-8") as handle:
        (row,) = csv.DictReader(handle)
    assert float(row["ratio"]) == pytest.approx(float(row["bundle"]) / float(row["plain"]))
    assert json.loads((out / "run.json").read_text(encoding="utf-8"))["stage"] == "benchmark_speed"
    assert capsys.readouterr().out.splitlines()[-1] == str(out)


def test_sizes_too_small_to_split_are_refused(tmp_path, capsys):
    assert run_verb("benchmark_speed", ["--sizes", "10", "--out", str(tmp_path / "o")]) == 2
    assert "at least 40, got 10" in capsys.readouterr().err
