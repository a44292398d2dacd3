"""The course of the learning rate, the same for pretraining and fine-tuning."""

from __future__ import annotations

import math

import torch

# A twentieth of the steps rises to the full rate: AdamW's first moments are too few to trust (Goyal et al. 2017).
WARMUP_SHARE = 0.05


def cosine_schedule(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """A short linear rise, then half a cosine to 0 over ``steps`` optimiser steps (Loshchilov and Hutter 2017)."""
    rise = max(1, round(WARMUP_SHARE * steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
