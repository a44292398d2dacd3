"""What every catalogue of named functions needs: a name found or corrected, and options checked against a signature."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def keyword_options(function: Callable[..., Any], name: str) -> dict[str, Any]:
    """The keyword-only arguments of ``function``, name to default; ``name`` is what it is registered as."""
    parameters = inspect.signature(function).parameters.values()
    options = {entry.name: entry.default for entry in parameters if entry.kind is entry.KEYWORD_ONLY}
    assert inspect.Parameter.empty not in options.values(), f"every option of {name!r} needs a default"
    return options


def find_named(registry: Mapping[str, T], name: str, kind: str) -> T:
    """The entry called ``name``. Raises ValueError, with the nearest name there is, where there is none."""
    if name not in registry:
        near = difflib.get_close_matches(name, registry, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(registry))}"
        raise ValueError(f"{kind} {name!r} is unknown; {hint}")
    return registry[name]


def resolve_options(options: Mapping[str, Any], given: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The defaults with ``given`` over them. Raises ValueError for a name that is no option of the ``owner``."""
    for name in given:
        if name not in options:
            near = difflib.get_close_matches(name, options, n=1)
            known = f"its options are {', '.join(options)}" if options else "it has no options"
            raise ValueError(f"{owner} has no option {name!r}; " + (f"did you mean {near[0]!r}?" if near else known))
    return {**options, **given}
