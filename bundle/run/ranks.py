"""The processes of one job, as torchrun starts them: which one this is, and what the first of them does for all.

A job of one process is the first of one: nothing here then communicates, and nothing is imported.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

STEP_MINUTES = 30.0  # torch's own limit with gloo; a cache is filled or a step made in far less
# While the first process alone reads a folder of images, the others wait. One that died is noticed at once whatever
# the limit, since its connections close.
TURN_HOURS = 48.0


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where this process stands in its job; ``turns`` is the group, on processors, in which processes wait."""

    rank: int = 0
    size: int = 1
    local: int = 0
    turns: Any = None


_place = _Place()


def rank() -> int:
    """Number of this process, from 0 to ``world_size() - 1``."""
    return _place.rank


def world_size() -> int:
    """Number of processes of the job."""
    return _place.size


def local_rank() -> int:
    """Number of this process among those on its machine, from 0: the GPU that is its own."""
    return _place.local


def is_first() -> bool:
    """Whether this process writes what belongs to the whole job."""
    return _place.rank == 0


def turns() -> Any:
    """The gloo group for small messages and for waiting; None in a job of one process."""
    return _place.turns


def join(step_minutes: float = STEP_MINUTES) -> None:
    """Join the other processes that torchrun started: by NCCL between GPUs, by gloo between processors.

    Args:
        step_minutes: how long a process waits within a step for one that hangs, before it ends with an error.

    Raises:
        ValueError: torchrun did not start this process, or started more on this machine than it has GPUs.
    """
    global _place
    if _place.turns is not None:
        return
    missing = [name for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK") if name not in os.environ]
    if missing:
        raise ValueError(
            f"multi_gpu_train.yaml is for processes that torchrun starts, which sets {', '.join(missing)}: run "
            f"torchrun --nproc_per_node=2 -m monai.bundle run ..., or leave the file out"
        )
    import torch
    from torch import distributed

    local = int(os.environ["LOCAL_RANK"])
    gpus = torch.cuda.device_count()
    if gpus:
        if local >= gpus:
            raise ValueError(
                f"every process needs a GPU of its own, got process {local + 1} on a machine with {gpus}: lower "
                f"--nproc_per_node, or hide the GPUs with CUDA_VISIBLE_DEVICES="
            )
        torch.cuda.set_device(local)
    patience = timedelta(minutes=step_minutes)
    store, number, size = next(distributed.rendezvous("env://", timeout=patience))
    distributed.init_process_group(
        "nccl" if gpus else "gloo",
        store=_unwritten(store, number, size, patience),
        rank=number,
        world_size=size,
        timeout=patience,
    )
    group = distributed.new_group(backend="gloo", timeout=timedelta(hours=TURN_HOURS))
    _place = _Place(distributed.get_rank(), distributed.get_world_size(), local, group)
    logger.info("process %d of %d, by %s", rank() + 1, world_size(), distributed.get_backend())
    if not is_first():
        logging.disable(logging.INFO)  # the first tells the course; warnings come from all


def _unwritten(store: Any, number: int, size: int, patience: timedelta) -> Any:
    """A part of torchrun's ``store`` that no earlier attempt has written to.

    torchrun keeps the store when it starts the processes again, and gloo would find the addresses of dead ones there.
    So the first process names a part, and tells the name to those who ask under a mark that is new as well.
    """
    from torch.distributed import PrefixStore

    mark = uuid.uuid4().hex
    if number:
        store.set(f"asks/{number}", mark)
        name = store.get(f"named/{mark}").decode()
        store.set(f"joined/{name}/{number}", "")
        return PrefixStore(name, store)
    end = time.monotonic() + patience.total_seconds()
    waited_for = set(range(1, size))
    while waited_for:
        for other in list(waited_for):
            if store.check([f"joined/{mark}/{other}"]):
                waited_for.remove(other)
            elif store.check([f"asks/{other}"]):  # an old question, of a process that is dead, is answered in vain
                store.set(f"named/{store.get(f'asks/{other}').decode()}", mark)
        if time.monotonic() > end:
            raise TimeoutError(f"processes {sorted(waited_for)} of {size} did not join within {patience}")
        time.sleep(0.05)
    return PrefixStore(mark, store)


def leave() -> None:
    """Wait until all have come to the end, so that what the first writes is there when any of them ends."""
    global _place
    if _place.turns is None:
        return
    from torch import distributed

    distributed.barrier(group=_place.turns)
    distributed.destroy_process_group()
    _place = _Place()
    logging.disable(logging.NOTSET)


def check_joined() -> None:
    """Refuse to be one of several processes that do not know of each other, each of which would do the whole job.

    Raises:
        ValueError: torchrun started several processes and :func:`join` was not called.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", 1)) > 1 and _place.turns is None:
        raise ValueError(
            f"torchrun started {os.environ['WORLD_SIZE']} processes, and each would do the whole job: run "
            f"python -m monai.bundle run with configs/multi_gpu_train.yaml as the last of its --config_file"
        )


def part(count: int) -> range:
    """Positions of this process's share of ``count`` items: a contiguous piece, the pieces differ by one at most.

    Where there are fewer items than processes every one gets all of them, since engines and metrics refuse to work on
    nothing; see :func:`repeats`.
    """
    if count < world_size():
        return range(count)
    return range(count * rank() // world_size(), count * (rank() + 1) // world_size())


def repeats(count: int) -> bool:
    """Whether what this process makes of its :func:`part` is made by the first as well, and counts there."""
    return count < world_size() and not is_first()


def only_first(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that does nothing but on the first process."""

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs) if is_first() else None

    return called


def first_for_all(function: Callable[..., Result]) -> Callable[..., Result]:
    """A function that runs on the first process alone and whose result all get; every process must call it."""

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Result:
        if world_size() == 1:
            return function(*args, **kwargs)
        from torch import distributed

        box: list[Any] = [function(*args, **kwargs) if is_first() else None]
        distributed.broadcast_object_list(box, src=0, group=_place.turns)
        return box[0]

    return called


def gather_items(items: Sequence[Result]) -> list[Result]:
    """The items of all processes, in the order of ranks, on every process. They travel as pickles within the job."""
    if world_size() == 1:
        return list(items)
    from torch import distributed

    found: list[Any] = [None] * world_size()
    distributed.all_gather_object(found, list(items), group=_place.turns)
    return [item for some in found for item in some]
