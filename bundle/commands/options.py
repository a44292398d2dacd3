"""Options that several verbs share."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add_workflow_options(parser: argparse.ArgumentParser, *, seed: bool = True) -> None:
    """``--modality``, ``--set``, ``--overwrite`` and, where something is random, ``--seed``."""
    parser.add_argument("--modality", help="dermoscopy, chest_xray or your own YAML file; else as the datalist says")
    if seed:
        parser.add_argument("--seed", type=int, default=0, help="seed of every random choice (default 0)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any knob of the config, such as --set epochs=10; may be given several times",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what another run left in OUT")


def settings(args: argparse.Namespace, **overrides: Any) -> dict[str, Any]:
    """The overrides of a workflow: those given, the modality of the datalist, the seed, and ``--set`` last."""
    from bundle.run.workflow import parse_setting

    found = {name: value for name, value in overrides.items() if value is not None}
    if getattr(args, "seed", None) is not None:
        found["seed"] = args.seed
    modality = args.modality or datalist_modality(getattr(args, "datalist", None))
    if modality:
        found["modality"] = modality
    return found | dict(parse_setting(text) for text in args.set)


def absolute(path: str | Path | None) -> str | None:
    """An absolute path, for configs run from the bundle's own folder; None stays None."""
    return None if path is None else str(Path(path).absolute())


def datalist_modality(datalist: str | Path | None) -> str | None:
    """The modality that a datalist was made for."""
    if datalist is None:
        return None
    path = Path(datalist)
    if not path.is_file():
        raise ValueError(f"there is no datalist {path}: make one with `coldstart make_datalist`")
    content = json.loads(path.read_text(encoding="utf-8"))
    return str(content["modality"]) if isinstance(content, dict) and "modality" in content else None
