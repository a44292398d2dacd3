"""Random streams by name, so that one seed reaches every choice and no stream depends on the order of the others."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # torch takes two seconds to import, and selection does without it
    import torch


def derive_seed(seed: int, *names: object) -> int:
    """A 63-bit seed for the stream ``names`` under ``seed``; the same arguments give the same number everywhere."""
    digest = hashlib.blake2b(repr((int(seed), *map(str, names))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def numpy_stream(seed: int, *names: object) -> np.random.Generator:
    """A NumPy generator for the stream ``names``."""
    return np.random.default_rng(derive_seed(seed, *names))


def torch_stream(seed: int, *names: object, device: str | torch.device = "cpu") -> torch.Generator:
    """A torch generator for the stream ``names`` on ``device``."""
    import torch

    return torch.Generator(device=device).manual_seed(derive_seed(seed, *names))
