"""Scores in batches are those of one image after another, and calibration is counted right."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from bundle.benchmark.images import TestImages
from bundle.benchmark.scoring import BINS, count_confidence, likeliest, overlap, score
from bundle.data.modality import load_modality
from bundle.network import UNet
from bundle.segmentation.metrics import score_image
from bundle.weights import load_weights, save_weights

MODALITY = load_modality("chest_xray")


def test_overlap_is_that_of_the_evaluation_absent_labels_included():
    generator = torch.Generator().manual_seed(0)
    prediction, truth = torch.randint(0, 3, (2, 6, 9, 7), generator=generator)
    prediction[0], truth[1] = 0, 0
    prediction[2], truth[2] = 0, 0
    prediction[3][prediction[3] == 2] = 0
    truth[3][truth[3] == 2] = 0
    for classes, limit in ((3, 2), (2, 1)):
        drawn, true = prediction.clamp(max=limit), truth.clamp(max=limit)
        dice, jaccard = overlap(drawn, true, classes)
        for i in range(6):
            expected = score_image(drawn[i], true[i], classes)
            assert float(dice[i]) == pytest.approx(expected["dice"], abs=1e-6)
            assert float(jaccard[i]) == pytest.approx(expected["jaccard"], abs=1e-6)
    assert float(overlap(prediction[2:3], truth[2:3], 3)[0]) == 1


def test_confidence_is_counted_image_by_image_as_in_plain_loops():
    generator = torch.Generator().manual_seed(1)
    probability = torch.rand((3, 8, 5), generator=generator)
    probability[0, 0, 0] = 1.0
    right = torch.rand((3, 8, 5), generator=generator) < 0.5
    pixels, confidence, correct = count_confidence(probability, right)
    for i in range(3):
        expected = np.zeros((3, BINS))
        for p, r in zip(probability[i].flatten().tolist(), right[i].flatten().tolist(), strict=True):
            slot = min(int(np.float32(p) * np.float32(BINS)), BINS - 1)
            expected[:, slot] += (1, p, r)
        np.testing.assert_array_equal(pixels[i], expected[0])
        np.testing.assert_allclose(confidence[i], expected[1])
        np.testing.assert_array_equal(correct[i], expected[2])


def drawn_images(count: int = 7) -> TestImages:
    import zlib

    rng = np.random.default_rng(0)
    sizes = tuple([(20, 12), (12, 20), (16, 16)][i % 3] for i in range(count))
    masks = [rng.integers(0, 2, size).astype(np.uint8) for size in sizes]
    canvases = torch.from_numpy(rng.random((count, 1, 16, 16), dtype=np.float32))
    packed = tuple(zlib.compress(mask.tobytes()) for mask in masks)
    return TestImages(tuple(f"i{n}" for n in range(count)), canvases, sizes, (None,) * count, packed)


def test_a_score_does_not_depend_on_the_images_it_is_computed_with(tmp_path):
    torch.manual_seed(0)
    network = UNet(1, 2, (4, 8, 16, 16))
    weights = load_weights(save_weights(tmp_path / "w.pt", network, {}))
    images = drawn_images()
    together = score(weights, images, modality=MODALITY, device=torch.device("cpu"), hd95=True)
    for i in range(len(images)):
        alone = dataclasses.replace(
            images,
            ids=images.ids[i : i + 1],
            canvases=images.canvases[i : i + 1],
            sizes=images.sizes[i : i + 1],
            spacings=(None,),
            packed=images.packed[i : i + 1],
        )
        found = score(weights, alone, modality=MODALITY, device=torch.device("cpu"), hd95=True)
        assert found.dice[0] == pytest.approx(together.dice[i], abs=1e-6)
        assert found.hd95[0] == pytest.approx(together.hd95[i], abs=1e-4)
        assert found.pixels.sum() == images.sizes[i][0] * images.sizes[i][1]
    assert np.isnan(score(weights, images, modality=MODALITY, device=torch.device("cpu")).hd95).all()


def test_the_calibration_error_is_the_gap_between_confidence_and_share_of_right_pixels():
    from tests.benchmark.test_ledger import drawn_scores

    empty = np.zeros((2, BINS))
    pixels, confidence, correct = (empty.copy() for _ in range(3))
    pixels[0, 8], confidence[0, 8], correct[0, 8] = 10, 6.0, 8  # 60 % sure, 80 % right
    pixels[1, 14], confidence[1, 14], correct[1, 14] = 30, 29.0, 27
    scores = dataclasses.replace(drawn_scores(2), pixels=pixels, confidence=confidence, correct=correct)
    assert scores.calibration_error() == pytest.approx((2 + 2) / 40)


def test_the_likeliest_class_has_the_largest_softmax_and_of_equal_ones_is_the_first():
    logits = torch.randn((2, 3, 5, 4), generator=torch.Generator().manual_seed(2)) * 4
    logits[0, :, 0, 0] = 1.0
    probability, prediction = likeliest(logits)
    expected = logits.double().softmax(dim=1)
    for b, x, y in itertools.product(range(2), range(5), range(4)):
        values = expected[b, :, x, y].tolist()
        assert int(prediction[b, x, y]) == values.index(max(values))
        assert float(probability[b, x, y]) == pytest.approx(max(values), abs=1e-6)
