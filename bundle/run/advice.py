"""Errors of the machine, in the words of what a person can change."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SMALLER = (
    "lower batch_size or cache_images (--set batch_size=8), or run where there is more memory; a training with another "
    "batch_size begins anew and needs --overwrite or another --out"
)
_NO_WORKERS = "set their number to 0 (--set validate#dataloader#num_workers=0)"
# Of the message, in the order they are tried; PyTorch has no classes of its own for most of these.
_ADVICE = (
    (
        r"CUDA out of memory|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED",
        f"the GPU is out of memory: {_SMALLER}, or end what else uses the GPU",
    ),
    (
        r"shared memory|bus error",
        f"the workers that load data have too little shared memory: {_NO_WORKERS}, or give the machine or container "
        "more (/dev/shm)",
    ),
    (
        r"DataLoader worker .*(exited|killed)",
        f"a worker that loads data was killed, most often for want of memory: {_NO_WORKERS}",
    ),
    (r"can't allocate memory|Unable to allocate|Cannot allocate memory", f"the machine is out of memory: {_SMALLER}"),
)
_KEPT = "What was finished is kept"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what caused it, the outermost first."""
    while error is not None:
        yield error
        error = error.__cause__


def advice(error: BaseException) -> str | None:
    """What is wrong and what to change, where the error or one of its causes is the machine's; else None."""
    for cause in causes(error):
        for pattern, text in _ADVICE:
            if re.search(pattern, str(cause), re.IGNORECASE | re.DOTALL):
                return f"{text}. {_KEPT}"
        if isinstance(cause, MemoryError):
            return f"the machine is out of memory: {_SMALLER}. {_KEPT}"
    return None
