"""Batch normalisation over all processes in training, and folded into the convolutions in evaluation."""

from __future__ import annotations

import copy

import torch
from ignite.engine import Engine, Events
from monai.networks.blocks.dynunet_block import UnetBasicBlock
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

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


def folded(network: nn.Module) -> nn.Module:
    """A copy of ``network``, for evaluation alone, whose convolutions do the normalisation behind them.

    In evaluation it scales and shifts every channel by numbers that stand fixed, as a convolution can (Jacob et al.
    2018, arXiv:1712.05877, section 3.2): one pass less over every feature map. Results differ by rounding.
    """
    found = copy.deepcopy(network).eval().requires_grad_(False)
    for block in found.modules():
        if isinstance(block, UnetBasicBlock):
            for layer, name in ((block.conv1, "norm1"), (block.conv2, "norm2")):
                convolution, norm = layer.conv, getattr(block, name)
                statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
                convolution.weight, convolution.bias = fuse_conv_bn_weights(
                    convolution.weight, convolution.bias, *statistics
                )
                setattr(block, name, nn.Identity())
    return found


class FoldNormalisation:
    """Engine handler: an evaluator runs the folded copy of a network. Attach after what loads the weights.

    Args:
        network: what the evaluator would run; it stays as it is, so that weights can be loaded into it by their names.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Fold at the start of ``engine``."""
        engine.add_event_handler(Events.STARTED, self._fold)

    def _fold(self, engine: Engine) -> None:
        engine.network = folded(self.network)  # type: ignore[attr-defined]
