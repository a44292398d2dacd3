"""Run a verb and die by SIGKILL right after a step: ``python -m tests.commands.killed STEP VERB [OPTIONS]``."""

from __future__ import annotations

import os
import signal
import sys

from ignite.engine import Engine, Events

from bundle.commands import run_verb
from bundle.run.resume import Resume


def die_after(step: int) -> None:
    """Let every training that can be resumed end in its ``step``-th step, 1-based."""
    attach = Resume.attach

    def attach_with_death(self: Resume, engine: Engine) -> None:
        attach(self, engine)
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=step), lambda: os.kill(os.getpid(), signal.SIGKILL))

    Resume.attach = attach_with_death  # type: ignore[method-assign]


if __name__ == "__main__":
    die_after(int(sys.argv[1]))
    raise SystemExit(run_verb(sys.argv[2], sys.argv[3:]))
