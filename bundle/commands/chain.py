"""Verbs run one after another, as a person would type them, each skipped where its output says that it is done."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from pathlib import Path


def run_stage(verb: str, *, done: Path, **options: object) -> float:
    """Run a verb unless ``done`` is there; its own last line is not shown.

    Args:
        verb: one of ``bundle.commands.VERBS``.
        done: a file or folder that the verb writes last.
        options: its options by name, ``_`` for ``-``; a list repeats the option, True is a flag, None leaves it out.

    Returns:
        The seconds it took, 0 where it was done.

    Raises:
        ValueError: the verb ended with another code than 0.
    """
    from bundle.commands import run_verb

    if done.exists():
        return 0.0
    argv: list[str] = []
    for name, value in options.items():
        for item in value if isinstance(value, list) else [value]:
            if item is not None:
                argv += [f"--{name.replace('_', '-')}"] + ([] if item is True else [str(item)])
    started = time.monotonic()
    print(f"== {verb} {Path(str(options['out'])).name}", file=sys.stderr)
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        code = run_verb(verb, argv)
    if code:
        sys.stderr.write(shown.getvalue())
        raise ValueError(f"the stage {verb} ended with code {code}; what is done is kept, the same command goes on")
    spent = time.monotonic() - started
    print(f"== {verb}: {spent:.0f} s", file=sys.stderr)
    return spent
