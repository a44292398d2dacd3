"""Where a mask with a geometry of its own lies on its image.

Tools that work in three dimensions store a mask in the order of axes they like, turned over, or cut down to what was
drawn, and tell by the affine where it belongs: 3D Slicer crops, and what went through nibabel's canonical orientation
is turned by 180 degrees against the picture.
"""

from __future__ import annotations

import numpy as np

from bundle.data.annotations.annotation import Grid

# What ITK, and with it Slicer and ITK-SNAP, takes a picture's axes for: x to the patient's left, y to the back.
PICTURE_AXES = np.diag([-1.0, -1.0, 1.0])
_TOLERANCE = 0.05  # of a pixel; affines pass through float32 and text


def place_mask(mask: np.ndarray, affine: np.ndarray | None, grid: Grid) -> np.ndarray:
    """Bring a mask onto the grid of its image by flips, an exchange of the axes and whole pixels alone.

    An image without an affine, a picture or a DICOM file, has its first pixel's centre at the origin and its axes as
    ITK reads them; spacing is then taken from the mask. Where the geometries do not meet, as after a tool that wrote
    none or a made-up one, a mask of the image's size is taken as it is stored.

    Args:
        mask: (h, w) class indices, rows first, as stored.
        affine: (4, 4), (column, row, 0) of the mask to mm in RAS, or None.
        grid: the image's.

    Returns:
        (H, W), 0 where the mask does not reach. A mask that fits neither way is given back as it is, of another size.
    """
    if affine is None:
        return mask
    index = _index_transform(affine, grid)
    if index is None:
        return mask
    turn, offset = index
    corners = np.array([[0, 0], [mask.shape[1] - 1, mask.shape[0] - 1]]) @ turn.T + offset
    low, high = corners.min(axis=0), corners.max(axis=0)
    if (low < 0).any() or high[0] >= grid.width or high[1] >= grid.height:
        return mask
    if abs(turn[0, 0]) != 1:  # the axes change places
        mask, turn = mask.T, turn[:, ::-1]
    part = mask[:: int(turn[1, 1]), :: int(turn[0, 0])]
    whole = np.zeros(grid.size, dtype=mask.dtype)
    whole[low[1] : high[1] + 1, low[0] : high[0] + 1] = part
    return whole


def _index_transform(affine: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray] | None:
    """(2, 2) signed exchange of the axes and (2,) offset, both whole: the mask's (column, row) to the image's.

    None where the two grids do not match pixel by pixel.
    """
    axes, origin = affine[:3, :2], affine[:3, 3]
    steps = np.linalg.norm(axes, axis=0)
    if not np.isfinite(affine).all() or (steps == 0).any():
        return None
    if grid.affine is not None:
        to_index = np.linalg.pinv(grid.affine[:3, :2])
        shift = grid.affine[:3, 3]
    else:
        spacing = np.abs(axes / steps) @ steps  # along x, y and z, of axes that run along them
        to_index = (PICTURE_AXES / np.where(spacing > 0, spacing, 1.0))[:2]
        shift = np.zeros(3)
    turn, offset = to_index @ axes, to_index @ (origin - shift)
    whole_turn, whole_offset = np.rint(turn), np.rint(offset)
    signed_exchange = (np.abs(whole_turn).sum(axis=0) == 1).all() and (np.abs(whole_turn).sum(axis=1) == 1).all()
    # An error of the turn grows with the distance from the origin, so it is bounded for the far corner.
    near = np.abs(turn - whole_turn).max() * max(grid.size) < 1 and np.abs(offset - whole_offset).max() < _TOLERANCE
    if not (signed_exchange and near):
        return None
    return whole_turn.astype(int), whole_offset.astype(int)
