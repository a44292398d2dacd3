"""The run record: everything a run did can be read beside its output."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import math
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bundle import __version__
from bundle.run import ranks
from bundle.run.atomic import write_json

logger = logging.getLogger(__name__)

FILE_NAME = "run.json"
PACKAGES = ("torch", "monai", "pytorch-ignite", "numpy", "scikit-learn", "pydicom", "itk", "nibabel", "pillow")


def file_fingerprint(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, as ``sha256:`` and 64 hex digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def content_fingerprint(items: Iterable[object]) -> str:
    """SHA-256 over the items' text in the order given; for sets of ids sort them first."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(str(item).encode() + b"\0")
    return f"sha256:{digest.hexdigest()}"


def entries_fingerprint(entries: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 over the ids of datalist entries and the bytes of their labels; order and place do not matter.

    A mask that was corrected makes other data. Images are told by their ids alone: nobody redraws them, and hashing a
    pool of radiographs would take minutes.
    """
    return content_fingerprint(
        sorted(f"{e.get('id')}:{file_fingerprint(e['label']) if e.get('label') else ''}" for e in entries)
    )


def images_fingerprint(entries: Iterable[Mapping[str, Any]]) -> str:
    """As :func:`entries_fingerprint`, for a stage that looks at no label."""
    return entries_fingerprint({"id": entry.get("id")} for entry in entries)


def start_fingerprint(warm_start: str, weights: str | os.PathLike[str] | None) -> str:
    """What a training starts from: ``none``, or the fingerprint of the weights that its warm start copies."""
    return "none" if warm_start == "none" or not weights else f"{warm_start}:{file_fingerprint(weights)}"


class RunRecord:
    """Collects what a run is and writes it as ``run.json`` when it ends.

    Args:
        stage: name of the stage, such as ``"pretrain"``.
        settings: the resolved configuration; values that JSON cannot hold are written as text.
        seed: the one seed of the run, or None where nothing is random.
        fingerprints: name to fingerprint of every input (data, weights).

    Example::

        record = RunRecord("embed", settings={"section": "pool"}, fingerprints={"weights": file_fingerprint(path)})
        with record.timed("encode"):
            ...
        record.note("images", 2075)
        record.write(folder)
    """

    def __init__(
        self,
        stage: str,
        settings: Mapping[str, Any] | None = None,
        *,
        seed: int | None = None,
        fingerprints: Mapping[str, str] | None = None,
    ) -> None:
        self._started, self._before = time.monotonic(), 0.0
        self.content: dict[str, Any] = {
            "stage": stage,
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "seconds": None,
            "seed": seed,
            "settings": _plain(settings or {}),
            "fingerprints": dict(fingerprints or {}),
            "versions": versions(),
            "hardware": hardware(),
            "timings": {},
            "results": {},
        }

    def timed(self, name: str) -> _Timer:
        """A context manager that adds the seconds spent inside to ``timings[name]``."""
        return _Timer(self.content["timings"], name)

    def note(self, name: str, value: Any) -> None:
        """Keep a figure of the run under ``results``."""
        self.content["results"][name] = _plain(value)

    def state_dict(self) -> dict[str, Any]:
        """When the run began and how long it has taken, for a checkpoint."""
        return {"started": self.content["started"], "seconds": self._elapsed()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the time of the process that wrote the checkpoint."""
        self.content["started"], self._before = state["started"], float(state["seconds"])

    def _elapsed(self) -> float:
        return round(self._before + time.monotonic() - self._started, 3)

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``run.json`` into ``folder`` and return its path."""
        self.content["seconds"] = self._elapsed()
        return write_json(Path(folder) / FILE_NAME, self.content)


def versions() -> dict[str, str]:
    """Versions of Python, this project and the packages that results depend on; absent ones are left out."""
    found = {"python": platform.python_version(), "coldstart_segmentation": __version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, usable cores, processes and, when torch is already imported, its threads and GPUs."""
    info: dict[str, Any] = {"machine": platform.machine(), "cores": len(os.sched_getaffinity(0))}
    info["processes"] = ranks.world_size()
    torch = sys.modules.get("torch")
    if torch is not None:
        info["threads"] = torch.get_num_threads()
        info["cpu_capability"] = torch.backends.cpu.get_cpu_capability()
        if torch.cuda.is_available():
            info["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return info


class _Timer:
    def __init__(self, timings: dict[str, float], name: str) -> None:
        self._timings, self._name = timings, name

    def __enter__(self) -> None:
        self._start = time.monotonic()

    def __exit__(self, *_: object) -> None:
        spent = time.monotonic() - self._start
        self._timings[self._name] = round(self._timings.get(self._name, 0.0) + spent, 3)


def _plain(value: Any) -> Any:
    """Only what JSON can hold: containers are walked, NumPy scalars become numbers, anything else its text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))  # Python would write NaN and Infinity, which no other reader of JSON takes
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    return _plain(value.item()) if hasattr(value, "item") and getattr(value, "size", 1) == 1 else str(value)
