"""One U-Net for every stage, so that a warm start is a copy by name and shape.

The blocks are those of MONAI's DynUNet. The encoder alone is trained by contrast (CA), encoder and decoder by
restoration (SAAL), all of it by segmentation; two side heads give the disagreement that DSAL reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.blocks.dynunet_block import UnetBasicBlock, UnetUpBlock
from torch import nn

# DynUNet's doubling widths. With 16 at full resolution the net has 1.9 M parameters: 4 MB in half precision, and
# two CPU cores train it.
FILTERS = (16, 32, 64, 128, 256)

# Batch normalisation: group and instance normalisation, measured in this net on two AVX512-bf16 cores, train at 55
# images a second against 95. Its two traps are handled where they lie: what a batch's statistics tell a momentum
# encoder (pretraining/contrast.py), and statistics of views instead of clean images (pretraining/finish.py).
NORM = ("BATCH", {"affine": True})


class UNet(nn.Module):
    """2D U-Net with deep supervision.

    Spatial axes come in MONAI's order, x (left to right) before y (top to bottom); both sides must be multiples of
    ``2 ** (len(filters) - 1)``.

    Args:
        in_channels: channels of the image.
        out_channels: background and foreground labels.
        filters: channels per level, full resolution first.
        dropout: rate of the channel dropout at the bottleneck and after the two deepest decoder blocks. Only there:
            a full-resolution dropout halves the training rate on a CPU, and MC dropout needs variation in what the
            net believes, not in single pixels.
    """

    def __init__(
        self, in_channels: int, out_channels: int, filters: Sequence[int] = FILTERS, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if len(filters) < 4:
            raise ValueError(f"filters needs at least 4 levels for heads at 1, 1/2 and 1/4 scale, got {len(filters)}")
        self.in_channels, self.out_channels, self.filters = in_channels, out_channels, tuple(filters)
        widths = [in_channels, *filters]
        self.encoder = nn.ModuleList(
            UnetBasicBlock(2, widths[i], widths[i + 1], kernel_size=3, stride=1 if i == 0 else 2, norm_name=NORM)
            for i in range(len(filters))
        )
        self.decoder = nn.ModuleList(
            UnetUpBlock(2, filters[i + 1], filters[i], kernel_size=3, stride=1, upsample_kernel_size=2, norm_name=NORM)
            for i in reversed(range(len(filters) - 1))
        )
        self.coarse_decoder = tuple(f"decoder.{i}" for i in range(len(filters) - 3))  # the blocks down to 1/4 scale
        self.dropout = nn.Dropout2d(dropout)
        self.heads = nn.ModuleList(nn.Conv2d(width, out_channels, kernel_size=1) for width in filters[:3])

    def standardise(self, image: torch.Tensor) -> torch.Tensor:
        """[0, 1] to [-2, 2]: about unit variance. Here, inside the net, no stage can forget it or do it twice."""
        return (image - 0.5) * 4.0

    @property
    def stride(self) -> int:
        """Factor between the image's side and the bottleneck's; sides must be multiples of it."""
        return 1 << (len(self.filters) - 1)

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """Bottleneck features of images in [0, 1]: (B, C, W, H) to (B, filters[-1], W / stride, H / stride)."""
        return self._levels(image)[-1]

    def describe(self, image: torch.Tensor) -> torch.Tensor:
        """Descriptor of each image, (B, filters[-1]): the average-pooled bottleneck (SAAL, section 2.2)."""
        return self.encode(image).mean(dim=(2, 3))

    def describe_scales(self, image: torch.Tensor) -> torch.Tensor:
        """Descriptor of each image at three scales, (B, filters[-1] + filters[-2] + filters[-3]), of length 1.

        The averages of the three deepest levels, each at length 1 before they are put side by side, so that none
        outweighs the others.
        """
        return self._describe(self._levels(image))

    def describe_places(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Descriptor of each image, (B, filters[-1]), and of its places, (B, filters[2], W / 4, H / 4)."""
        skips = self._levels(image)
        x = skips[-1]
        for i in range(len(self.coarse_decoder)):
            x = self.decoder[i](x, skips[-2 - i])
        return skips[-1].mean(dim=(2, 3)), x

    def decode(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Decoder features, full resolution first: (B, filters[i], W / 2^i, H / 2^i) for i = 0, 1, 2."""
        return self._decode(self._levels(image))

    def forward_heads(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of every head at full resolution, (B, 3, out_channels, W, H): main, 1/2 scale, 1/4 scale.

        In evaluation mode, too, for those who look at more than the main head.
        """
        return self._read_heads(self.decode(image))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits: in evaluation the main head's (B, out_channels, W, H), in training all of forward_heads."""
        if self.training:
            return self.forward_heads(image)
        return self.heads[0](self.decode(image)[0])

    def inspect(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """A mask and what it can be judged by, in one pass.

        Returns:
            ``heads``, see :meth:`forward_heads`; and ``descriptor``, see :meth:`describe_scales`.
        """
        levels = self._levels(image)
        return {"heads": self._read_heads(self._decode(levels)), "descriptor": self._describe(levels)}

    def forward_passes(self, image: torch.Tensor, passes: int) -> torch.Tensor:
        """Logits of the main head for one image (1, C, W, H) under draws of dropout: (passes, out_channels, W, H).

        Nothing else changes between the passes: batch statistics are those of training, and the encoder, which has no
        dropout, runs once.
        """
        levels = [level.expand(passes, -1, -1, -1) for level in self._levels(image)]
        drops = self.dropout.training
        self.dropout.train()
        try:
            return self.heads[0](self._decode(levels)[0])
        finally:
            self.dropout.train(drops)

    def _levels(self, image: torch.Tensor) -> list[torch.Tensor]:
        """What each level of the encoder gives, full resolution first."""
        levels: list[torch.Tensor] = []
        x = self.standardise(image)
        for block in self.encoder:
            x = block(x)
            levels.append(x)
        return levels

    def _decode(self, skips: list[torch.Tensor]) -> list[torch.Tensor]:
        """Decoder features of what ``_levels`` gave, full resolution first."""
        features: list[torch.Tensor] = []
        x = self.dropout(skips[-1])
        for i, block in enumerate(self.decoder):
            x = block(x, skips[-2 - i])
            if i < 2:
                x = self.dropout(x)
            features.append(x)
        return [features[-1], features[-2], features[-3]]

    def _read_heads(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Logits of every head, at full resolution, of what ``_decode`` gave."""
        logits: list[torch.Tensor] = []
        for i, head in enumerate(self.heads):
            x = head(features[i])
            if i > 0:
                x = x.float().contiguous()  # few channels: plane by plane takes half the time of pixel by pixel
                x = nn.functional.interpolate(x, size=features[0].shape[2:], mode="bilinear", align_corners=False)
            logits.append(x)
        return torch.stack(logits, dim=1)

    def _describe(self, levels: list[torch.Tensor]) -> torch.Tensor:
        """Descriptor at three scales of what ``_levels`` gave."""
        parts = [level.mean(dim=(2, 3)) for level in reversed(levels[-3:])]
        return torch.cat([nn.functional.normalize(part, dim=1) for part in parts], dim=1) / len(parts) ** 0.5


class Inspection(nn.Module):
    """A U-Net that engines call for :meth:`UNet.inspect` instead of its mask alone.

    Args:
        unet: the network; its parameters are shared, not copied.
    """

    def __init__(self, unet: UNet) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """See :meth:`UNet.inspect`."""
        return self.unet.inspect(image)


class PretrainingNetwork(nn.Module):
    """The U-Net with the heads of self-supervision, which segmentation later leaves behind.

    Args:
        unet: the network to pretrain; its segmentation heads take no part.
        projection_dim: length of the projected vector; 128 as in MoCo (He et al., CVPR 2020, section 3.3). That of a
            place is half as long: its features at 1/4 scale have a quarter of the bottleneck's channels.
    """

    def __init__(self, unet: UNet, projection_dim: int = 128) -> None:
        super().__init__()
        width = unet.filters[-1]
        self.unet = unet
        # A hidden layer before the contrast: MoCo v2 (Chen et al. 2020, table 1) gains most from it.
        self.projection = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, projection_dim)
        )
        self.restoration = nn.Conv2d(unet.filters[0], unet.in_channels, kernel_size=1)
        narrow = unet.filters[2]
        self.places = nn.Sequential(
            nn.Conv2d(narrow, narrow, kernel_size=1), nn.ReLU(), nn.Conv2d(narrow, projection_dim // 2, kernel_size=1)
        )

    def describe(self, image: torch.Tensor) -> torch.Tensor:
        """Descriptor of each image, see :meth:`UNet.describe`."""
        return self.unet.describe(image)

    def project(self, image: torch.Tensor) -> torch.Tensor:
        """Projected descriptor of length 1, (B, projection_dim)."""
        return self._projected(self.describe(image))

    def project_places(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Projected descriptor of each image, as :meth:`project`, and projected places (B, D / 2, W / 4, H / 4)."""
        whole, places = self.unet.describe_places(image)
        return self._projected(whole), self.places(places).float()

    def _projected(self, descriptor: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.projection(descriptor).float(), dim=1)

    def restore(self, image: torch.Tensor) -> torch.Tensor:
        """The restored image in [0, 1], (B, in_channels, W, H). The one sigmoid stands here."""
        return torch.sigmoid(self.restoration(self.unet.decode(image)[0]).float())


def network_settings(network: UNet) -> dict[str, Any]:
    """What a checkpoint must share with a network to fit it, as plain values that weights_only loading allows."""
    return {
        "in_channels": network.in_channels,
        "out_channels": network.out_channels,
        "filters": list(network.filters),
    }
