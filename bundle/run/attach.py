"""A handler that other parts of a config also refer to, as an entry of a handlers' list."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine


class Attach:
    """Attaches ``handler``, which stands elsewhere in the config.

    MONAI Label edits ``train#handlers`` before it runs a training, and takes every entry for a mapping with a
    ``_target_``; a plain reference would break it.
    """

    def __init__(self, handler: Any) -> None:
        self.handler = handler

    def attach(self, engine: Engine) -> None:
        """Attach the handler to ``engine``."""
        self.handler.attach(engine)
