"""``package_bundle``: write a self-contained bundle of one modality."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle.run.atomic import atomic_folder, write_json, write_text

if TYPE_CHECKING:
    from bundle.data.modality import Modality

DESCRIPTION = """\
Write a folder coldstart_<modality>_segmentation with configs and metadata of that modality, weights, the package, the
licence and the docs. It runs in its own folder, wherever that lies, and MONAI Label takes it as a segmentation model.

  with the weights that ship:
    coldstart package_bundle --modality chest_xray --out packages

  with your own:
    coldstart package_bundle --modality jsrt.yaml --model run/train/model.pt \\
        --ssl-weights run/pretrain/model_ssl_pretrained.pt --out packages
"""

FOLDERS = ("docs",)
FILES = ("LICENSE", "README.md", "CITATION.cff", "pyproject.toml")
_MODALITY_LINE = re.compile(r"^modality: \w+", re.MULTILINE)
_LEAVE_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "resources", ".*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--modality", required=True, help="dermoscopy, chest_xray or your own YAML file")
    parser.add_argument("--out", required=True, help="folder to write the package into")
    parser.add_argument("--model", help="fine-tuned weights (default: those shipped for the modality)")
    parser.add_argument("--ssl-weights", help="SSL weights (default: those shipped for the modality)")
    parser.add_argument("--overwrite", action="store_true", help="replace a package that is there")


def run(args: argparse.Namespace) -> int:
    """Write the package and print its path."""
    from bundle.data.modality import load_modality
    from bundle.run.stages import bundle_root

    modality = load_modality(args.modality)
    root = bundle_root()
    weights = {
        "model.pt": _weights("model", modality, args.model),
        "model_ssl_pretrained.pt": _weights("model_ssl_pretrained", modality, args.ssl_weights),
    }
    target = Path(args.out) / f"coldstart_{modality.name}_segmentation"
    with atomic_folder(target, overwrite=args.overwrite, mark="configs/metadata.json") as folder:
        package = Path(__file__).resolve().parent.parent
        shutil.copytree(package, folder / "bundle", ignore=_LEAVE_OUT)
        own = Path(args.modality)
        if own.suffix in (".yaml", ".yml"):
            shutil.copy(own, folder / "bundle" / "data" / "modalities" / f"{modality.name}.yaml")
        _write_configs(root / "configs", folder / "configs", modality)
        for name in FOLDERS:
            if (root / name).is_dir():
                shutil.copytree(root / name, folder / name, ignore=_LEAVE_OUT)
        for name in FILES:
            if (root / name).is_file():
                shutil.copy(root / name, folder / name)
        (folder / "models").mkdir()
        for name, source in weights.items():
            shutil.copy(source, folder / "models" / name)
        for card in (root / "models").glob("*.md"):
            shutil.copy(card, folder / "models" / card.name)
    print(target)
    return 0


def describe_bundle(metadata: dict[str, Any], modality: Modality) -> dict[str, Any]:
    """The bundle's metadata with everything that depends on the modality set for ``modality``."""
    grey = modality.channels == 1
    labels = ", ".join(f"{value} {name}" for value, name in modality.channel_names.items())
    shape = [modality.size, modality.size]
    image = {
        "type": "image",
        "format": "magnitude" if grey else "RGB",
        "modality": modality.name,
        "num_channels": modality.channels,
        "spatial_shape": shape,
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {"0": "intensity"} if grey else {"0": "red", "1": "green", "2": "blue"},
    }
    prediction = {
        "type": "image",
        "format": "segmentation",
        "num_channels": modality.classes,
        "spatial_shape": shape,
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": {str(value): name for value, name in modality.channel_names.items()},
    }
    return metadata | {
        "name": f"Cold-start segmentation: {modality.name}",
        "task": f"Segmentation: {modality.description}, trained from few labels chosen by self-supervised features",
        "data_source": modality.data_source or "the user's own images",
        "image_classes": f"{'one channel, grey' if grey else 'three channels, RGB'}, intensity scaled to [0, 1]",
        "label_classes": f"one channel, {labels}",
        "pred_classes": f"{modality.classes} channels of logits: {labels}",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": prediction}},
    }


def _write_configs(source: Path, target: Path, modality: Modality) -> None:
    """Copy the configs with the one knob set; they are otherwise the same for every modality."""
    for file in sorted(source.iterdir()):
        if file.name == "metadata.json":
            write_json(target / file.name, describe_bundle(json.loads(file.read_text(encoding="utf-8")), modality))
        elif file.suffix in (".yaml", ".conf"):
            text = file.read_text(encoding="utf-8")
            write_text(target / file.name, _MODALITY_LINE.sub(f"modality: {modality.name}", text))


def _weights(kind: str, modality: Modality, given: str | None) -> Path:
    """The weight file to ship: the one given, or the bundle's own for this modality."""
    from bundle.weights import check_settings, load_weights, shipped_weights

    path = Path(given) if given else shipped_weights(kind, modality.name)
    if path is None:
        option = "--model" if kind == "model" else "--ssl-weights"
        raise ValueError(f"the bundle ships no {kind} weights for {modality.name}: give {option}")
    wanted: dict[str, Any] = {"modality": modality.name, "in_channels": modality.channels}
    if kind == "model":
        wanted |= {"labels": list(modality.labels), "out_channels": modality.classes, "size": modality.size}
    check_settings(path, load_weights(path).settings, wanted)
    return path
