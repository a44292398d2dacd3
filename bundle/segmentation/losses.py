"""The loss of the fine-tuning: Dice and cross-entropy on every head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses import DiceLoss
from torch import nn

from bundle.data.sampling import SoftLabels, WeightedLabels

# DSAL (Zhao, Zeng et al. 2021, section 3.2) weighs its heads .6 (full scale), .3 (1/4) and .1 (1/2).
HEAD_WEIGHTS = (0.6, 0.1, 0.3)


class DeepSupervisionLoss(nn.Module):
    """Weighted sum over the heads of Dice + cross-entropy.

    Dice is taken per image and then averaged, so it does not depend on how a batch is put together; the background is
    left out of it. For labels that are probabilities it is the Dice semimetric (Wang et al., NeurIPS 2023,
    arXiv:2303.16296), which is least where the prediction equals them and is the same as Dice where they are 0 and 1.

    Args:
        weights: one per head: full, 1/2 and 1/4 scale.
    """

    def __init__(self, weights: Sequence[float] = HEAD_WEIGHTS) -> None:
        super().__init__()
        self.weights = tuple(weights)
        self.dice = DiceLoss(include_background=False, to_onehot_y=True, softmax=True, reduction="none")
        self.soft_dice = DiceLoss(include_background=False, softmax=True, soft_label=True, reduction="none")

    def forward(self, logits: torch.Tensor, target: torch.Tensor | WeightedLabels | SoftLabels) -> torch.Tensor:
        """Loss of ``logits`` (B, heads, classes, W, H) against ``target`` (B, 1, W, H) class indices, weighted or not.

        ``SoftLabels`` have a probability of each class in their place.

        Logits of one head, (B, classes, W, H), as a network in evaluation mode gives, are taken with weight 1. Weights
        of images multiply their losses and do not change the divisor, B, so that an image counts the same in any batch.
        """
        if isinstance(target, WeightedLabels):
            return (target.weights * self._of_images(logits, target.labels)).mean()
        return self._of_images(logits, target).mean()

    def _of_images(self, logits: torch.Tensor, target: torch.Tensor | SoftLabels) -> torch.Tensor:
        """(B,): the loss of every image."""
        if logits.ndim == 4:
            if isinstance(target, SoftLabels):
                dice, classes = self.soft_dice(logits, target.probabilities), target.probabilities
            else:
                dice, classes = self.dice(logits, target), target[:, 0].long()
            entropy = nn.functional.cross_entropy(logits, classes, reduction="none")
            return dice.flatten(1).mean(dim=1) + entropy.flatten(1).mean(dim=1)
        if logits.shape[1] != len(self.weights):
            raise ValueError(
                f"the loss has {len(self.weights)} weights, so it needs as many heads, got {logits.shape[1]}"
            )
        losses = [weight * self._of_images(logits[:, i], target) for i, weight in enumerate(self.weights)]
        return torch.stack(losses).sum(dim=0) / sum(self.weights)
