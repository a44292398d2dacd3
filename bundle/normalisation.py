"""Batch normalisation by the statistics of the whole batch, where the batch is split over processes."""

from __future__ import annotations

import torch
from torch import nn

from bundle.run import ranks
from bundle.run.collectives import total


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """What ``torch.nn.SyncBatchNorm`` does, on a processor, for which torch has no kernels.

    In evaluation it is ``nn.BatchNorm2d``, and its state dict is the same.
    """

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise (B, C, W, H) by the mean and the variance per channel over all processes' images."""
        if not self.training:
            return super().forward(images)
        wide = images.double()  # E[x^2] - E[x]^2 loses digits, of which float64 has enough; so one message suffices
        axes = (0, 2, 3)
        size = wide.new_tensor([images.numel() / images.shape[1]])
        sums = total(torch.cat([size, wide.sum(axes), wide.square().sum(axes)]))
        count, first, second = sums.split([1, images.shape[1], images.shape[1]])
        mean = first / count
        variance = second / count - mean.square()
        self._follow(mean.detach(), (variance * count / (count - 1)).detach())
        scale = self.weight * (variance + self.eps).rsqrt().float()
        shift = self.bias - mean.float() * scale
        return (images.float() * scale[:, None, None] + shift[:, None, None]).to(images.dtype)

    @torch.no_grad()
    def _follow(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        """Move the running statistics, the variance unbiased, as ``nn.BatchNorm2d`` does."""
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.float(), weight)
        self.running_var.lerp_(variance.float(), weight)


def synchronise(network: nn.Module, device: torch.device) -> nn.Module:
    """Let every batch normalisation of ``network`` see the whole batch; as it is in a job of one process."""
    if ranks.world_size() == 1:
        return network
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm2d:
                made = SynchronisedBatchNorm(child.num_features, eps=child.eps, momentum=child.momentum)
                made.load_state_dict(child.state_dict())
                setattr(parent, name, made)
    return network
