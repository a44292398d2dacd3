"""How a server ranks and serves: what ``--conf`` may say, checked when the server starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from bundle.run.record import content_fingerprint
from bundle.run.settings import parse_setting
from bundle.selection import find_criterion, find_strategy

OPTION = "option."


@dataclasses.dataclass(frozen=True)
class Plan:
    """The ranking that is served, and the rules of serving.

    Attributes:
        strategy: what ranks the pool, a name of ``coldstart select_samples --strategy help``.
        options: of the strategy.
        budget: images that a strategy which is not nested ranks; ``coldstart`` ranks those after them.
        criterion: what ``uncertainty`` goes by, a name of ``coldstart score_uncertainty --criterion help``.
        seed: of strategy, criterion and the random order.
        lease_minutes: how long an image that was handed out is kept for whom it was handed to.
    """

    strategy: str = "coldstart"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    budget: int | None = None
    criterion: str = "entropy"
    seed: int = 0
    lease_minutes: float = 30.0  # longer than a radiograph takes, shorter than a lunch that blocks the last images

    def __post_init__(self) -> None:
        found = find_strategy(self.strategy)
        found.resolve(self.options)
        if not found.nested and self.budget is None:
            raise ValueError(
                f"strategy {self.strategy!r} is not nested, so it has to be told how many images will be annotated: "
                f"add --conf budget N, or take a nested one such as coldstart"
            )
        if find_criterion(self.criterion).opinions == "ensemble":
            raise ValueError(f"conf criterion {self.criterion!r} compares several models, and a server has one")
        if self.budget is not None and self.budget < 1:
            raise ValueError(f"conf budget must be at least 1 image, got {self.budget}")
        if not self.lease_minutes > 0:
            raise ValueError(f"conf lease_minutes must be above 0, got {self.lease_minutes}")

    @classmethod
    def from_conf(cls, conf: Mapping[str, str]) -> Plan:
        """The plan in MONAI Label's ``--conf`` pairs; pairs of other names are not looked at.

        The names are those of the attributes; ``option.NAME`` is an option of the strategy, as in ``--conf strategy ca
        --conf option.k 8``.

        Raises:
            ValueError: a value that cannot be, an unknown strategy or option.
        """
        given: dict[str, Any] = {}
        given |= {name: conf[name] for name in ("strategy", "criterion") if name in conf}
        for name, kind in (("budget", int), ("seed", int), ("lease_minutes", float)):
            if name in conf:
                try:
                    given[name] = kind(conf[name])
                except ValueError:
                    raise ValueError(f"conf {name} must be a number, got {conf[name]!r}") from None
        options = {name.removeprefix(OPTION): text for name, text in conf.items() if name.startswith(OPTION)}
        return cls(options=dict(parse_setting(f"{name}={text}") for name, text in options.items()), **given)

    @property
    def nested(self) -> bool:
        """Whether the strategy gives one ranking for every budget."""
        return find_strategy(self.strategy).nested

    def fingerprint(self, *more: object) -> str:
        """SHA-256 over all that decides the ranking besides the images, and ``more`` such as the weights."""
        options = sorted(find_strategy(self.strategy).resolve(self.options).items())
        return content_fingerprint((self.strategy, options, self.budget, self.seed, *more))
