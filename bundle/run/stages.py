"""The stages of this bundle as files: which configs each runs, and what these say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bundle.run.knobs import merged_configs

# A later file is an overlay on those before it.
CONFIGS = {
    "pretrain": ("pretrain.yaml",),
    "embed": ("embed.yaml",),
    "train": ("train.yaml",),
    "evaluate": ("train.yaml", "evaluate.yaml"),
    "infer": ("inference.yaml",),
    "uncertainty": ("uncertainty.yaml",),
}


def bundle_root() -> Path:
    """The folder with ``configs/``, ``models/`` and ``docs/``: the repository, a package or the installed resources."""
    package = Path(__file__).resolve().parent.parent
    return package.parent if (package.parent / "configs" / "metadata.json").is_file() else package / "resources"


def config_files(stage: str, root: Path | None = None) -> list[Path]:
    """The configs of a stage, in this bundle or another; a later one is an overlay on those before it."""
    return [(root or bundle_root()) / "configs" / name for name in CONFIGS[stage]]


def written_setting(stage: str, name: str) -> Any:
    """What the config of a stage, one of ``CONFIGS``, says of a name of its top level: the default of a knob."""
    return merged_configs([bundle_root() / "configs" / file for file in CONFIGS[stage]])[name]
