"""The loss is Dice and cross-entropy per image, weighed over the heads."""

from __future__ import annotations

import math

import pytest
import torch

from bundle.data.sampling import SoftLabels
from bundle.segmentation.losses import HEAD_WEIGHTS, DeepSupervisionLoss

SMOOTH = 1e-5  # of MONAI's DiceLoss


def by_hand(logits: torch.Tensor, target: torch.Tensor) -> float:
    """Mean over images of (1 - soft Dice of the foreground classes) + pixelwise cross-entropy, in plain loops."""
    count, classes, width, height = logits.shape
    total = 0.0
    for b in range(count):
        overlap, predicted, true = [0.0] * classes, [0.0] * classes, [0.0] * classes
        entropy = 0.0
        for x in range(width):
            for y in range(height):
                exponentials = [math.exp(float(logits[b, c, x, y])) for c in range(classes)]
                chances = [e / sum(exponentials) for e in exponentials]
                label = int(target[b, 0, x, y])
                entropy -= math.log(chances[label])
                for c in range(classes):
                    predicted[c] += chances[c]
                    true[c] += label == c
                    overlap[c] += chances[c] * (label == c)
        dice = [(2 * overlap[c] + SMOOTH) / (predicted[c] + true[c] + SMOOTH) for c in range(1, classes)]
        total += 1 - sum(dice) / len(dice) + entropy / (width * height)
    return total / count


def drawn(count: int = 3, classes: int = 3, heads: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(count, heads, classes, 6, 5, generator=generator)
    return logits, torch.randint(0, classes, (count, 1, 6, 5), generator=generator)


def test_one_head_is_the_plain_loss():
    logits, target = drawn()
    assert float(DeepSupervisionLoss()(logits[:, 0], target)) == pytest.approx(by_hand(logits[:, 0], target), abs=1e-5)


@pytest.mark.parametrize("weights", [HEAD_WEIGHTS, (1.0, 2.0, 3.0)])
def test_heads_are_weighed_and_averaged(weights):
    logits, target = drawn()
    wanted = sum(w * by_hand(logits[:, i], target) for i, w in enumerate(weights)) / sum(weights)
    assert float(DeepSupervisionLoss(weights)(logits, target)) == pytest.approx(wanted, abs=1e-5)


def test_the_main_head_weighs_most_and_the_weights_are_whole():
    assert len(HEAD_WEIGHTS) == 3 and sum(HEAD_WEIGHTS) == pytest.approx(1) and HEAD_WEIGHTS[0] == max(HEAD_WEIGHTS)


def test_an_image_s_loss_does_not_depend_on_its_batch():
    logits, target = drawn(count=4)
    target[0] = 0  # an image without foreground, which a Dice over the whole batch would hide
    loss = DeepSupervisionLoss()
    together = float(loss(logits, target))
    apart = [float(loss(logits[i : i + 1], target[i : i + 1])) for i in range(4)]
    assert together == pytest.approx(sum(apart) / 4, abs=1e-5)


def test_a_sure_and_right_prediction_costs_nothing_and_a_wrong_one_does():
    target = torch.zeros(1, 1, 8, 8, dtype=torch.long)
    target[:, :, 2:5, 2:5] = 1
    right = 20 * torch.nn.functional.one_hot(target[:, 0], 2).movedim(-1, 1).float()
    heads = right[:, None].expand(-1, 3, -1, -1, -1)
    assert float(DeepSupervisionLoss()(heads, target)) < 1e-4
    assert float(DeepSupervisionLoss()(heads.flip(2), target)) > 1


def test_every_head_gets_a_gradient():
    logits, target = drawn()
    logits.requires_grad_()
    DeepSupervisionLoss()(logits, target).backward()
    assert (logits.grad.abs().sum(dim=(0, 2, 3, 4)) > 0).all()


def test_another_number_of_heads_is_refused():
    logits, target = drawn(heads=2)
    with pytest.raises(ValueError, match=r"3 weights.*got 2"):
        DeepSupervisionLoss()(logits, target)


def soft_by_hand(logits: torch.Tensor, wanted: torch.Tensor) -> float:
    """Mean over images of (1 - Dice semimetric of the foreground classes) + cross-entropy, in plain loops."""
    count, classes, width, height = logits.shape
    total = 0.0
    for b in range(count):
        sizes, apart, entropy = [0.0] * classes, [0.0] * classes, 0.0
        for x in range(width):
            for y in range(height):
                exponentials = [math.exp(float(logits[b, c, x, y])) for c in range(classes)]
                for c in range(classes):
                    chance, true = exponentials[c] / sum(exponentials), float(wanted[b, c, x, y])
                    entropy -= true * math.log(chance)
                    sizes[c] += chance + true
                    apart[c] += abs(chance - true)
        dice = [(sizes[c] - apart[c] + SMOOTH) / (sizes[c] + SMOOTH) for c in range(1, classes)]
        total += 1 - sum(dice) / len(dice) + entropy / (width * height)
    return total / count


def test_soft_labels_are_the_plain_loss_of_probabilities():
    logits, _ = drawn()
    wanted = SoftLabels(logits[:, 0].softmax(dim=1).roll(1, dims=0))  # of another image
    assert float(DeepSupervisionLoss()(logits[:, 0], wanted)) == pytest.approx(
        soft_by_hand(logits[:, 0], wanted.probabilities), abs=1e-5
    )


def test_soft_labels_without_doubt_cost_what_labels_cost():
    logits, target = drawn()
    certain = SoftLabels(torch.nn.functional.one_hot(target[:, 0], 3).permute(0, 3, 1, 2).float())
    loss = DeepSupervisionLoss()
    assert float(loss(logits, certain)) == pytest.approx(float(loss(logits, target)), abs=1e-5)


def test_soft_labels_cost_least_where_they_are_what_is_predicted():
    logits, _ = drawn()
    logits = logits[:, :1].expand(-1, 3, -1, -1, -1)
    wanted, loss = SoftLabels(logits[:, 0].softmax(dim=1)), DeepSupervisionLoss()
    least = float(loss(logits, wanted))
    for shift in (-0.1, 0.1):
        pushed = logits.clone()
        pushed[:, :, 1] += shift
        assert float(loss(pushed, wanted)) > least
