"""The packaged bundles that a server runs."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import yaml

from bundle.data.modality import Modality, available_modalities, load_modality
from bundle.run.record import file_fingerprint
from bundle.run.release import require_release
from bundle.weights import load_weights

UNTRAINED = "untrained"


@dataclasses.dataclass(frozen=True)
class PackagedModel:
    """One bundle of ``APP/model``.

    Attributes:
        root: the bundle's folder.
        modality: what it segments.
    """

    root: Path
    modality: Modality

    @classmethod
    def load(cls, root: Path) -> PackagedModel:
        """The bundle in ``root``.

        Raises:
            ValueError: there is none, or it is of another release than the package in memory
        """
        config = root / "configs" / "inference.yaml"
        if not config.is_file():
            raise ValueError(f"{root} is no packaged bundle: make one with coldstart package_bundle")
        require_release(root)
        name = yaml.safe_load(config.read_text(encoding="utf-8"))["modality"]
        own = root / "bundle" / "data" / "modalities" / f"{name}.yaml"
        return cls(root, load_modality(own if own.is_file() else name))

    @property
    def model(self) -> Path:
        """The fine-tuned weights, which training replaces."""
        return self.root / "models" / "model.pt"

    @property
    def ssl_weights(self) -> Path:
        """The self-supervised weights."""
        return self.root / "models" / "model_ssl_pretrained.pt"

    @property
    def training(self) -> Path:
        """Folder of the course, the checkpoint and the record of trainings in the server."""
        return self.root / "training"

    @property
    def modality_setting(self) -> str:
        """What the configs' ``modality`` is to be set to: a name, or the path of a modality of one's own."""
        own = self.root / "bundle" / "data" / "modalities" / f"{self.modality.name}.yaml"
        return self.modality.name if self.modality.name in available_modalities() else str(own)

    @property
    def is_trained(self) -> bool:
        """Whether ``model.pt`` has seen a label; a stand-in of the first hour has not."""
        return self.model.is_file() and _state(self.model, self.model.stat().st_mtime_ns)[1]

    @property
    def fingerprint(self) -> str:
        """Of ``model.pt``."""
        return _state(self.model, self.model.stat().st_mtime_ns)[0]

    @property
    def last_record(self) -> Path:
        """Record of the last training here that ended; unlike ``run.json`` it outlasts the start of another one."""
        return self.training / "trained.json"

    @property
    def is_trained_here(self) -> bool:
        """Whether a training in the server has ended."""
        return self.last_record.is_file()


@functools.lru_cache(maxsize=16)
def _state(path: Path, changed: int) -> tuple[str, bool]:  # noqa: ARG001 - part of the cache's key
    """Fingerprint of a weight file, and whether it was trained; asked for with every request."""
    return file_fingerprint(path), not load_weights(path).settings.get(UNTRAINED, False)
