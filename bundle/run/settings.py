"""Settings as a person types them, ``name=value``: plain YAML, and nothing that a config's parser would run."""

from __future__ import annotations

import re
from typing import Any


def parse_setting(text: str) -> tuple[str, Any]:
    """``name=value`` to the name and the YAML value.

    Raises:
        ValueError: no ``=``, or a value that would be run as Python.
    """
    import yaml

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"--set takes name=value, got {text!r}")
    try:
        plain = value if value.lstrip().startswith(("@", "%")) else yaml_value(value)  # neither is YAML
    except yaml.YAMLError:
        raise ValueError(f"--set takes a value in YAML, got {text!r}") from None
    if is_code(plain):
        raise ValueError(f"--set takes plain values; {text!r} would be run as code, so write it into a config file")
    return name, plain


def yaml_value(text: str) -> Any:
    """What a text is in YAML, where ``1e-3`` is a number as well: YAML itself wants ``1.0e-3``.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    import yaml

    plain = yaml.safe_load(text)
    number = isinstance(plain, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", plain)
    return float(plain) if number else plain


def is_code(value: Any) -> bool:
    """Whether a config's parser would evaluate, replace or instantiate anything in ``value``."""
    if isinstance(value, dict):
        return "_target_" in value or any(map(is_code, value.values()))
    if isinstance(value, list):
        return any(map(is_code, value))
    return isinstance(value, str) and value.lstrip().startswith(("$", "@", "%"))
