"""What an option of a strategy or a criterion may be: rules that name the option, the rule and the value got."""

from __future__ import annotations

import math
from collections.abc import Sequence


def require_whole(name: str, value: object, *, least: int) -> None:
    """Raise ValueError unless the option ``name`` is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"option {name} must be a whole number, at least {least}, got {value!r}")


def require_number(
    name: str, value: object, *, least: float = 0.0, most: float = math.inf, above: bool = False
) -> None:
    """Raise ValueError unless the option ``name`` is a finite number from ``least`` to ``most``.

    Args:
        above: ``least`` itself is not allowed.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    fits = number and math.isfinite(value) and least <= value <= most and not (above and value == least)  # type: ignore[arg-type, operator]
    if not fits:
        limit = "" if math.isinf(most) else f" and at most {most:g}"
        rule = f"above {least:g}" if above else f"of at least {least:g}"
        raise ValueError(f"option {name} must be a number {rule}{limit}, got {value!r}")


def require_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise ValueError unless the option ``name`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"option {name} must be one of {', '.join(choices)}, got {value!r}")
