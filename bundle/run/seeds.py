"""Random streams by name, so that one seed reaches every choice and no stream depends on the order of the others."""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(seed: int, *names: object) -> int:
    """A 63-bit seed for the stream ``names`` under ``seed``; the same arguments give the same number everywhere."""
    digest = hashlib.blake2b(repr((int(seed), *map(str, names))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def numpy_stream(seed: int, *names: object) -> np.random.Generator:
    """A NumPy generator for the stream ``names``."""
    return np.random.default_rng(derive_seed(seed, *names))
