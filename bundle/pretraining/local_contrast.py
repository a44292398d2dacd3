"""Contrast of places: the same spot of skin or lung, seen in two views, against other spots.

Global contrast (CA) tells images apart and trains the encoder alone. A mask needs places told apart, and a decoder
that has learned to. So the features at a quarter of the side are contrasted too (after Chaitanya et al., NeurIPS 2020,
arXiv 2006.10511, section 3.2). Where that paper needs volumes whose slices correspond, here the views' own geometry
says which places are the same.
"""

from __future__ import annotations

import torch
from torch.nn.functional import grid_sample, normalize

from bundle.pretraining.contrast import TEMPERATURE, masked_info_nce
from bundle.run.collectives import gather, own_rows

POINTS = 32  # a view; a batch of 64 images has some 1500 places in common, more negatives than a queue would hold
# Closer together than a tenth of the side two places are no opposites: the features' cells are a twenty-fourth wide,
# and a lesion's inside looks the same all over. In the grid's unit, half a side.
NEIGHBOURHOOD = 0.2
MARGIN = 0.95  # half sides from the middle of a view; nearer to its border the features see what is padded


def content_extent(images: torch.Tensor) -> torch.Tensor:
    """How far from the middle an image reaches on its canvas, (B, 2) in half sides, in the order of a grid's axes.

    Beyond lie the black bars of an image that is no square: a place there is like any other, and no opposite of it.

    Args:
        images: canvases (B, C, W, H), 0 where they are padded.
    """
    filled = (images > 0).any(dim=1)
    extents = []
    for axis, side in ((1, filled.shape[2]), (2, filled.shape[1])):  # a grid's first axis is the last of the canvas
        centres = ((torch.arange(side, device=images.device) + 0.5) / side * 2 - 1).abs()
        extents.append((filled.any(dim=axis) * centres).amax(dim=1))
    return torch.stack(extents, dim=1)


def same_places(
    query_affine: torch.Tensor, key_affine: torch.Tensor, points: int = POINTS, extent: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw places that both views of an image show.

    Args:
        query_affine: (B, 2, 3), from the grid of a view to that of its image, both -1 to 1.
        key_affine: (B, 2, 3) of the other view of the same image.
        points: places drawn a view; those that the other view does not show are left out.
        extent: of :func:`content_extent`; the whole canvas where None.

    Returns:
        For M <= B * points places: number of the image (M,), and the position (M, 2) in the query's grid, in the key's
        grid and in the image's grid.
    """
    count, device = len(query_affine), query_affine.device
    in_query = (torch.rand(count, points, 2, device=device) * 2 - 1) * MARGIN
    in_image = in_query @ query_affine[:, :, :2].transpose(1, 2) + query_affine[:, None, :, 2]
    to_key = torch.linalg.inv(key_affine[:, :, :2].float())
    in_key = (in_image - key_affine[:, None, :, 2]) @ to_key.transpose(1, 2)
    # Beyond the image's border a view shows its mirror image, which is another place.
    limit = in_image.new_ones(count, 2) if extent is None else extent
    shown = ((in_key.abs() <= MARGIN) & (in_image.abs() <= limit[:, None])).all(dim=2)
    image = torch.arange(count, device=device)[:, None].expand(-1, points)
    return image[shown], in_query[shown], in_key[shown], in_image[shown]


def local_contrast(
    query: torch.Tensor,
    key: torch.Tensor,
    query_affine: torch.Tensor,
    key_affine: torch.Tensor,
    *,
    points: int = POINTS,
    temperature: float = TEMPERATURE,
    extent: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """InfoNCE over places: the same place in the other view against all other places of the whole batch.

    Places of the same image closer than ``NEIGHBOURHOOD`` are neither.

    Args:
        query: features of the one view, (B, D, w, h).
        key: features of the other, (B, D, w, h), without gradient.
        query_affine, key_affine: see :func:`same_places`.
        points: places drawn a view.
        temperature: divides the cosine similarity; greater than 0.
        extent: see :func:`same_places`.

    Returns:
        This process's share of the mean loss, and of the rate of places that find themselves first, both scalars; 0
        where the views of a batch have no place in common.
    """
    image, in_query, in_key, in_image = same_places(query_affine, key_affine, points, extent)
    queries, keys = _features_at(query, image, in_query), _features_at(key, image, in_key)
    image = image + own_rows(len(query)).start
    (keys, all_images, all_in_image), rows = gather(keys, image, in_image)
    if not rows.total:
        return query.sum() * 0.0, query.new_zeros(())
    near = (image[:, None] == all_images[None, :]) & (torch.cdist(in_image, all_in_image) < NEIGHBOURHOOD)
    loss, found = masked_info_nce(queries, keys, near, temperature, first=rows.start)
    return loss * rows.share, found.sum() / max(1, rows.total)


def _features_at(features: torch.Tensor, image: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """Bilinear samples of (B, D, w, h) at (M, 2) positions of the images (M,): (M, D), rows of length 1."""
    if not len(image):
        return features.float().mean(dim=(2, 3))[:0]  # no place, and still part of the gradient's graph
    # One sampling a batch: places are put back into a row an image, short rows filled with position 0.
    counts = torch.bincount(image, minlength=len(features))
    column = torch.arange(len(image), device=image.device) - (counts.cumsum(0) - counts)[image]
    grid = position.new_zeros(len(features), int(counts.max()), 2)
    grid[image, column] = position
    sampled = grid_sample(features.float(), grid[:, :, None], align_corners=False)[..., 0]
    return normalize(sampled.transpose(1, 2)[image, column], dim=1)
