"""Names that people give to structures, as class indices of a modality."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from bundle.data.modality import LabelCode

BACKGROUND = "background"


class LabelNames:
    """Finds the class of a name; case, and whether words are joined by a space, ``-`` or ``_``, do not matter.

    Args:
        labels: of the modality, in the order of their class indices.
        codes: label to its code, where it has one.
        aliases: further names, each for a label, for ``background``, or for nothing (an empty text): objects of that
            name, such as a ruler or hair, are left out.

    Raises:
        ValueError: an alias for what is no label.
    """

    def __init__(
        self,
        labels: Sequence[str],
        *,
        codes: Mapping[str, LabelCode] | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self._labels = tuple(labels)
        self._classes: dict[str, int | None] = {_plain(BACKGROUND): 0}
        self._classes |= {_plain(label): index for index, label in enumerate(labels, start=1)}
        self._codes = {(code.scheme, code.value): label for label, code in (codes or {}).items()}
        known = dict(self._classes)
        for name, label in (aliases or {}).items():
            if label and _plain(label) not in known:
                near = difflib.get_close_matches(label, labels, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; labels are {', '.join(labels)}"
                raise ValueError(f"--label {name}={label}: {label!r} is no label{hint}")
            self._classes[_plain(name)] = known[_plain(label)] if label else None

    def index(self, name: str) -> int | None:
        """The class index of a name, 0 for background, None for what is left out.

        Raises:
            ValueError: a name that nobody has told the meaning of.
        """
        if _plain(name) not in self._classes:
            shown = name[:64]
            raise ValueError(
                f"label {shown!r} is none of {', '.join(self._labels)}; tell which it is with --label "
                f"'{shown}={self._labels[0]}', or leave it out with --label '{shown}='"
            )
        return self._classes[_plain(name)]

    def index_of_code(self, scheme: str, value: str, name: str) -> int | None:
        """As :meth:`index`, for a term with a code: a told name comes first, then the code."""
        if _plain(name) not in self._classes and (scheme, value) in self._codes:
            name = self._codes[scheme, value]
        return self.index(name)


class AnyName(LabelNames):
    """Of a file that holds one structure: whatever it is called there, it is that."""

    def __init__(self) -> None:
        super().__init__(("structure",))

    def index(self, name: str) -> int:  # noqa: ARG002 - of no consequence here
        """1, whatever the name."""
        return 1


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
