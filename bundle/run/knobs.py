"""The knobs of the configs: an unknown name or a value that no run can have is refused before any work."""

from __future__ import annotations

import ast
import difflib
import inspect
import math
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

_SEPARATOR = re.compile(r"#|::")  # of the levels in a name, as MONAI has it
_META = ("_target_", "_requires_", "_disabled_", "_desc_", "_mode_")  # that any component of a config may have

# Where the words are that a knob may be.
_CHOICES = {
    "objective": "bundle.pretraining.step:OBJECTIVES",
    "warm_start": "bundle.warm_start:SCOPES",
    "features": "bundle.pretraining.descriptor:FEATURES",
    "precision": "bundle.numerics:PRECISIONS",
}
# What a knob's number must be. What it is for is told in the configs.
_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    **dict.fromkeys(
        ("steps", "epochs", "epoch_length", "batch_size", "val_interval"), ("at least 1", lambda value: value >= 1)
    ),
    **dict.fromkeys(("cache_images",), ("at least 0", lambda value: value >= 0)),
    **dict.fromkeys(("learning_rate", "weight_decay", "local_weight"), ("at least 0", lambda value: value >= 0)),
    **dict.fromkeys(("temperature",), ("above 0", lambda value: value > 0)),
    **dict.fromkeys(("warmup", "momentum"), ("0 to 1", lambda value: 0 <= value <= 1)),
    **dict.fromkeys(("dropout",), ("at least 0 and below 1", lambda value: 0 <= value < 1)),
    **dict.fromkeys(("refuse_below",), ("a confidence from 0 to 1, or null", lambda value: 0 <= value <= 1)),
}
_PLAIN = (bool, int, float, list, dict, type(None))  # what else a YAML file can hold
_COUNTS = ("epochs",)  # knobs whose default may be null


def check_knobs(overrides: Mapping[str, Any], files: Iterable[Path]) -> None:
    """Refuse overrides that do not fit the configs.

    Args:
        overrides: name, with ``#`` or ``::`` between levels, to value.
        files: the configs; a later one is an overlay on those before it.

    Raises:
        ValueError: an unknown name, with the nearest known one, or a value of another type or out of range.
    """
    files = list(files)
    known = merged_configs(files)
    for name, value in overrides.items():
        _check_name(name.lstrip("+"), known, " + ".join(file.name for file in files))
        if name in known:
            _check_value(name, value, known[name])


def check_command_line() -> None:
    """Check the overrides of ``python -m monai.bundle run``, which would take any name and never look at it again.

    Every config calls it first. In a process that was started in another way there is nothing to check.

    Raises:
        SystemExit: with what :func:`check_knobs` says; MONAI would bury any other error.
    """
    if not Path(sys.argv[0]).as_posix().endswith("monai/bundle/__main__.py") or sys.argv[1:2] != ["run"]:
        return
    from monai.bundle import ConfigParser, ConfigWorkflow, create_workflow, run

    given = _parse_flags(sys.argv[2:])
    if "args_file" in given:
        given = ConfigParser.load_config_file(given["args_file"]) | given
    config_file = given.get("config_file", [])
    files = [Path(file) for file in ([config_file] if isinstance(config_file, str) else config_file)]
    own = {name for taker in (run, create_workflow, ConfigWorkflow) for name in inspect.signature(taker).parameters}
    try:
        check_knobs({name: value for name, value in given.items() if name not in own}, files)
    except ValueError as error:
        raise SystemExit(f"monai.bundle run: {error}") from None


def merged_configs(files: Sequence[Path]) -> dict[str, Any]:
    """The configs as they are written, as one nested mapping; a later one is an overlay on those before it."""
    import yaml

    merged: dict[str, Any] = {}
    for file in files:
        for name, value in yaml.safe_load(file.read_text(encoding="utf-8")).items():
            *places, last = _SEPARATOR.split(name)
            node = merged
            for place in places:
                node = node[int(place)] if isinstance(node, list) else node.setdefault(place, {})
            node[int(last) if isinstance(node, list) else last] = value
    return merged


def _check_name(name: str, known: Mapping[str, Any], where: str) -> None:
    node: Any = known
    parts = _SEPARATOR.split(name)
    for depth, part in enumerate(parts):
        if isinstance(node, str) and node.startswith(("$", "@", "%")):
            return  # what that will be is not known yet
        places = _places(node)
        if part not in places:
            if isinstance(node, dict) and "_target_" in node and _takes(node["_target_"], part):
                return
            near = difflib.get_close_matches(part, places, n=1)
            shown = ["#".join([*parts[:depth], place]) for place in (near or sorted(places))]
            hint = f"did you mean {shown[0]!r}?" if near else f"known are {', '.join(shown) or 'none below it'}"
            raise ValueError(f"the setting {name!r} is unknown to {where}; {hint}")
        node = node[part] if isinstance(node, dict) else node[int(part)]


def _places(node: Any) -> list[str]:
    """What can stand after a ``#`` below a part of a config."""
    if isinstance(node, dict):
        return list(node)
    return [str(i) for i in range(len(node))] if isinstance(node, list) else []


def _takes(target: str, argument: str) -> bool:
    """Whether the component ``target`` has that argument; true where the component cannot be looked at."""
    if argument in _META:
        return True
    from monai.bundle import ComponentLocator, ConfigComponent

    try:
        path = ConfigComponent(config={"_target_": target}, id="", locator=ComponentLocator()).resolve_module_name()
        parameters = inspect.signature(pkgutil.resolve_name(str(path))).parameters
    except (ImportError, AttributeError, TypeError, ValueError):
        return True
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _check_value(name: str, value: Any, default: Any) -> None:
    """Hold a value against the type of the default, and against the rule where the knob has one."""
    if isinstance(value, str) and value.startswith(("$", "@", "%")):
        return
    if value is None and default is None:
        return
    computed = isinstance(default, str) and default.startswith("$")
    if name in _CHOICES:
        choices = pkgutil.resolve_name(_CHOICES[name])
        _require(value in choices, name, f"one of {', '.join(choices)}", value)
    elif name == "device":
        _require(not isinstance(value, _PLAIN) and _is_device(value), name, "a device there is: cpu, cuda:0", value)
    elif name == "model":
        # It is read after the images were looked for, and a folder of results would be begun for nothing.
        for file in value if isinstance(value, (list, tuple)) else [value]:
            _require(Path(str(file)).is_file(), name, "a weight file that is there", str(file))
    elif isinstance(default, bool):
        _require(isinstance(value, bool), name, "true or false", value)
    elif name in _COUNTS or (isinstance(default, int) and not computed):
        _require(isinstance(value, int) and not isinstance(value, bool), name, "a whole number", value)
    elif isinstance(default, float):
        _require(_is_number(value) and math.isfinite(value), name, "a finite number", value)
    elif isinstance(default, str) and not computed:
        # Python code may give the object that the text would name, such as a Modality.
        _require(isinstance(value, str) or not isinstance(value, _PLAIN), name, "a text", value)
    if name in _RANGES:
        rule, holds = _RANGES[name]
        _require(_is_number(value) and holds(value), name, rule, value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_device(value: Any) -> bool:
    """Whether torch knows ``value`` as a device, and this machine has it."""
    import torch

    try:
        torch.empty(0, device=value)
    except (RuntimeError, AssertionError, TypeError):
        return False
    return True


def _require(holds: bool, name: str, rule: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{name} must be {rule}, got {value!r}")


def _parse_flags(words: Sequence[str]) -> dict[str, Any]:
    """``--name value`` and ``--name=value`` to name and value, as python-fire reads them."""
    given: dict[str, Any] = {}
    name = ""
    for word in words:
        if re.match(r"--?[A-Za-z_]", word):
            name, equals, value = word.lstrip("-").partition("=")
            name = name.replace("-", "_")
            given[name] = _literal(value) if equals else True
        elif name:
            given[name] = _literal(word)
            name = ""
    return given


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
