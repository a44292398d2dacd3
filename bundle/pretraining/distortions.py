"""The distortions of Models Genesis (Zhou et al., MedIA 2021, section 3) in two dimensions, on whole batches.

A network that restores the original from them learns appearance (intensity), texture (shuffling) and context
(painting). Every function takes and gives (B, C, W, H) in [0, 1]. Rates are those of SAAL (Zhao, Lu et al., EMBC 2022).
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from bundle.data.modality import Augmentation

FLIP_RATE = 0.4
SHUFFLE_RATE = 0.5
INTENSITY_RATE = 0.9
PAINT_RATE = 0.9
INPAINT_RATE = 0.2  # of the painted images; the others are painted outside of windows

# Cells share this many permutations an image: enough that no pattern repeats side by side, and far cheaper than a
# sort of every pixel.
PERMUTATIONS = 32

LEVELS = 4096  # of a bent intensity: finer than the pixels' own 256, so that a table without interpolation will do

# Values of a batch on the processor: of larger ones every step asks the system for new memory, at twice the time.
AT_ONCE = 1 << 22

Change = Callable[[torch.Tensor], torch.Tensor]


def distort(images: torch.Tensor, limits: Augmentation) -> tuple[torch.Tensor, torch.Tensor]:
    """Distort a batch.

    Args:
        images: (B, C, W, H) in [0, 1].
        limits: only flips that the modality allows are made.

    Returns:
        The distorted images, and the originals to restore (flipped alike), both of the input's shape.
    """
    if images.device.type == "cpu" and images.numel() > AT_ONCE and len(images) > 1:
        parts = images.split(max(1, AT_ONCE // images[0].numel()))
        made = [distort(part, limits) for part in parts]
        return torch.cat([distorted for distorted, _ in made]), torch.cat([target for _, target in made])
    target = random_flip(images, limits.flip)
    distorted = target.clone()
    _on_some(distorted, SHUFFLE_RATE, shuffle_local_pixels)
    _on_some(distorted, INTENSITY_RATE, bend_intensity)
    painted = torch.rand(len(images), device=images.device)
    _replace(distorted, painted < PAINT_RATE * INPAINT_RATE, paint_inside)
    _replace(distorted, painted >= 1 - PAINT_RATE * (1 - INPAINT_RATE), paint_outside)
    return distorted, target


def random_flip(images: torch.Tensor, axes: tuple[str, ...]) -> torch.Tensor:
    """Mirror along each allowed axis with rate .4."""
    flipped = images.clone()
    for axis, dim in (("x", 2), ("y", 3)):
        if axis in axes:
            _on_some(flipped, FLIP_RATE, lambda some, dim=dim: some.flip(dim))  # type: ignore[misc]
    return flipped


def shuffle_local_pixels(images: torch.Tensor) -> torch.Tensor:
    """Permute the pixels inside small cells; all channels of a pixel stay together.

    Each image is cut by a grid of its own, with cell sides of 1 to a tenth of the side and a random origin, and each
    cell is permuted once, so no pixel moves further than a cell. (The published code shuffles 10 000 overlapping
    windows one after another; at 256x256 each pixel then moves 26 times: the picture is scrambled as a whole.)
    """
    count, channels, width, height = images.shape
    device = images.device
    a = torch.randint(1, max(2, width // 10 + 1), (count, 1, 1), device=device, dtype=torch.int32)
    b = torch.randint(1, max(2, height // 10 + 1), (count, 1, 1), device=device, dtype=torch.int32)
    x = torch.arange(width, device=device, dtype=torch.int32)[None, :, None]
    y = torch.arange(height, device=device, dtype=torch.int32)[None, None, :]
    origin_x = (torch.rand(count, 1, 1, device=device) * a).int()
    origin_y = (torch.rand(count, 1, 1, device=device) * b).int()
    column, row = (x + origin_x) // a, (y + origin_y) // b
    left, top = column * a - origin_x, row * b - origin_y

    largest = int((a * b).max())
    order = torch.rand(count, PERMUTATIONS, largest, device=device)
    order = order.masked_fill(torch.arange(largest, device=device) >= a * b, 2.0)  # those beyond the cell sort last
    order = order.argsort(dim=2).int().flatten(1)
    permutation = (column * 7 + row * 13) % PERMUTATIONS  # coprime strides: neighbours never share a permutation
    local = (x - left) * b + (y - top)
    moved = order.gather(1, (permutation * largest + local).flatten(1).long()).view(count, width, height)
    source_x, source_y = left + moved // b, top + moved % b
    # A cell cut by the border stays as it is: part of its permutation would lose some pixels and repeat others.
    whole = (left >= 0) & (left + a <= width) & (top >= 0) & (top + b <= height)
    source = torch.where(whole, source_x * height + source_y, x * height + y)
    return images.flatten(2).gather(2, source.flatten(1).long()[:, None].expand(-1, channels, -1)).view(images.shape)


def bend_intensity(images: torch.Tensor) -> torch.Tensor:
    """Map intensities by a random monotone cubic Bezier curve on [0, 1], half of the time decreasing."""
    count = len(images)
    device = images.device
    t = torch.linspace(0, 1, 128, device=device)
    weights = torch.stack([3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2])
    # Control points in ascending order make both coordinates of the curve ascend.
    control = torch.rand(2, count, 2, device=device).sort(dim=2).values
    curve_x, curve_y = control @ weights + t**3
    grid = torch.linspace(0, 1, LEVELS, device=device)
    right = torch.searchsorted(curve_x.contiguous(), grid.expand(count, -1).contiguous()).clamp(1, len(t) - 1)
    x0, x1 = curve_x.gather(1, right - 1), curve_x.gather(1, right)
    y0, y1 = curve_y.gather(1, right - 1), curve_y.gather(1, right)
    table = y0 + (y1 - y0) * ((grid - x0) / (x1 - x0).clamp_min(1e-6)).clamp(0, 1)
    falling = torch.rand(count, 1, device=device) < 0.5
    table = torch.where(falling, table.flip(1), table)
    level = (images.flatten(1) * (LEVELS - 1) + 0.5).long()
    return table.gather(1, level).view(images.shape)


def paint_inside(images: torch.Tensor) -> torch.Tensor:
    """Noise over 1 to 5 boxes with sides of a sixth to a third of the image's."""
    return torch.where(_boxes(images, 1 / 6, 1 / 3), torch.rand_like(images), images)


def paint_outside(images: torch.Tensor) -> torch.Tensor:
    """Noise everywhere but in 1 to 5 windows with sides of three to four sevenths of the image's."""
    return torch.where(_boxes(images, 3 / 7, 4 / 7), images, torch.rand_like(images))


def _boxes(images: torch.Tensor, smallest: float, largest: float) -> torch.Tensor:
    """Union of 1 to 5 random boxes, (B, 1, W, H) bool; sides as fractions of the image's."""
    count, _, width, height = images.shape
    device = images.device
    sides = torch.rand(count, 5, 2, device=device) * (largest - smallest) + smallest
    start = torch.rand(count, 5, 2, device=device) * (1 - sides)
    in_use = torch.arange(5, device=device) < torch.randint(1, 6, (count, 1), device=device)
    x = (torch.arange(width, device=device) + 0.5) / width
    y = (torch.arange(height, device=device) + 0.5) / height
    in_x = (x >= start[..., :1]) & (x < start[..., :1] + sides[..., :1]) & in_use[..., None]
    in_y = (y >= start[..., 1:]) & (y < start[..., 1:] + sides[..., 1:])
    return (in_x[..., :, None] & in_y[..., None, :]).any(dim=1, keepdim=True)


def _on_some(images: torch.Tensor, rate: float, change: Change) -> None:
    _replace(images, torch.rand(len(images), device=images.device) < rate, change)


def _replace(images: torch.Tensor, chosen: torch.Tensor, change: Change) -> None:
    """Apply ``change`` to the chosen images alone, (B,) bool, in place: the others are not even copied."""
    positions = chosen.nonzero().squeeze(1)
    if len(positions):
        images[positions] = change(images[positions])
