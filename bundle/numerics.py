"""The machine decides the numerics: bf16 autocast and channels_last where the processor or the GPU has them."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor
from monai.inferers import Inferer
from torch import nn

from bundle.normalisation import synchronise
from bundle.run import ranks
from bundle.run.collectives import whole_batch_draws

logger = logging.getLogger(__name__)

PRECISIONS = ("auto", "bf16", "fp32")
WORTHWHILE = 1.3  # times as fast; below that the coarser numbers of bf16 buy too little


def choose_device(name: str = "auto") -> torch.device:
    """The device called ``name``; ``auto`` is the GPU of this process, or the processor where there is none."""
    ranks.check_joined()
    if name == "auto":
        name = f"cuda:{ranks.local_rank()}" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def choose_precision(device: torch.device | str, precision: str = "auto") -> str:
    """``bf16`` or ``fp32``; ``auto`` takes bf16 where the device computes in it faster.

    GPUs, and processors with AVX512-BF16, say that they do. On others a small training step is measured once a process.

    Raises:
        ValueError: ``precision`` is none of ``auto``, ``bf16``, ``fp32``.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision != "auto":
        return precision
    device = torch.device(device)  # MONAI Label sets a name where the configs have a device
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu":
        return "bf16" if torch.cpu._is_avx512_bf16_supported() or bf16_gain() >= WORTHWHILE else "fp32"
    return "fp32"


def keep_full_precision(device: torch.device, precision: str) -> None:
    """Where ``fp32`` was chosen, make a GPU's convolutions compute in it: theirs are of ten bits (TF32) by default.

    For the whole process. What runs in bf16 is not touched by it.
    """
    if device.type == "cuda" and precision == "fp32":
        torch.backends.cudnn.allow_tf32 = False


@functools.cache
def bf16_gain(repeats: int = 5) -> float:
    """How many times as fast bf16 is as fp32 on this processor, in two convolutions forward and backward.

    Emulated bf16 comes out well below 1, native instructions near 2, so that a second look finds the same.
    """
    with torch.random.fork_rng(devices=[]):  # a run's random numbers must not depend on what was measured
        block = nn.Sequential(nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3))
    prepare_network(block, torch.device("cpu"))
    images = torch.zeros(4, 16, 64, 64).contiguous(memory_format=torch.channels_last)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(repeats):
        for bf16, found in seconds.items():
            begun = time.perf_counter()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                output = block(images)
            torch.autograd.grad(output.float().sum(), list(block.parameters()))
            found.append(time.perf_counter() - begun)
    gain = min(seconds[False]) / min(seconds[True])
    logger.info("bf16 takes %.2f of the time of fp32 on this processor", 1 / gain)
    return gain


def prepare_network(network: nn.Module, device: torch.device | str) -> nn.Module:
    """Move ``network`` to ``device`` in channels_last, convolutions' fastest layout on AVX512 and tensor cores.

    Batch normalisation is made to see the batch of all processes.
    """
    device = torch.device(device)  # a knob gives its name
    network = synchronise(network, device).to(device)
    # nn.Module.to(memory_format=...) converts the four-dimensional parameters and leaves the others.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class PrecisionInferer(Inferer):
    """A forward pass under the chosen numerics, the same for training, validation and inference.

    MONAI's engines open autocast for CUDA alone, so it is opened here. The output is float32.

    Args:
        device: where the network is.
        precision: ``auto``, ``bf16`` or ``fp32``, see :func:`choose_precision`.
    """

    def __init__(self, device: torch.device | str = "cpu", precision: str = "auto") -> None:
        super().__init__()
        self.device = torch.device(device)
        self.precision = choose_precision(self.device, precision)
        keep_full_precision(self.device, self.precision)

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        """Run ``network`` on ``inputs`` (B, C, W, H); what it gives is a tensor, or a dictionary of tensors."""
        # Every operation on a MetaTensor copies its metadata; the network has no use for it.
        plain = inputs.as_subclass(torch.Tensor)
        plain = plain.to(self.device).contiguous(memory_format=torch.channels_last)
        training = getattr(network, "training", False)  # dropout draws for the batch of all processes
        draws = whole_batch_draws(len(plain)) if training else contextlib.nullcontext()
        with draws, torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            output = network(plain, *args, **kwargs)
        if isinstance(output, dict):
            return {name: _finished(found, inputs) for name, found in output.items()}
        return _finished(output, inputs)


def _finished(output: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """In float32, with the metadata of the inputs: MONAI's transforms find there how to invert it."""
    output = output.float()
    if isinstance(inputs, MetaTensor):
        output = MetaTensor(output, meta=inputs.meta, applied_operations=inputs.applied_operations)
        output.is_batch = inputs.is_batch
    return output
