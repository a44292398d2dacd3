"""The validation's Dice follows the evaluation's rule for labels that an image lacks."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine

from bundle.segmentation.metrics import score_image
from bundle.segmentation.validation import MeanDice


def planes(*labels: int) -> torch.Tensor:
    """(W, H) class indices: the i-th quarter of the image is ``labels[i]``."""
    return torch.tensor(labels).repeat_interleave(4).reshape(4, 4)


def one_hot(mask: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(mask, 4).permute(2, 0, 1).float()


@pytest.mark.parametrize(
    ("predicted", "true"),
    [
        (planes(1, 1, 3, 3), planes(1, 1, 0, 0)),  # a false alarm
        (planes(0, 0, 0, 0), planes(0, 0, 0, 0)),  # nothing there, nothing found
        (planes(0, 0, 0, 0), planes(0, 2, 0, 0)),
        (planes(1, 2, 3, 0), planes(1, 2, 2, 0)),
    ],
)
def test_it_is_the_mean_over_all_labels_as_the_evaluation_has_it(predicted, true):
    evaluator = Engine(lambda *_: ([one_hot(predicted)], [one_hot(true)]))
    MeanDice(output_transform=lambda output: output).attach(evaluator, "val_dice")
    found = evaluator.run([0]).metrics["val_dice"]
    assert float(found) == pytest.approx(score_image(predicted, true, 4)["dice"], abs=1e-6)
