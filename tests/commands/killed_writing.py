"""Run a verb and die by SIGKILL instead of the N-th rename: ``python -m tests.commands.killed_writing N VERB ...``.

Whatever is kept is renamed into place, so every state that a kill can leave lies between two renames.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from bundle.commands import run_verb


def die_at(rename: int) -> None:
    """Let the process end where its ``rename``-th rename, 1-based, would be."""
    replace, seen = Path.replace, [0]

    def replace_or_die(self: Path, target: Path) -> Path:
        seen[0] += 1
        if seen[0] == rename:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    Path.replace = replace_or_die  # type: ignore[method-assign]


if __name__ == "__main__":
    die_at(int(sys.argv[1]))
    raise SystemExit(run_verb(sys.argv[2], sys.argv[3:]))
