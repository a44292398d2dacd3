"""Options that several verbs share."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OWN = {"output_dir", "evaluation_dir", "bundle_root", "run", "initialize"}  # what a command claims and tells of


class CatalogueName(argparse.Action):
    """Keeps the name; for ``help`` and ``help:NAME`` it shows what there is and ends, as ``--help`` does.

    Args:
        shows: which catalogues, out of ``strategy`` and ``criterion``.
    """

    def __init__(self, *args: Any, shows: Sequence[str] = ("strategy",), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shows = shows

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,  # noqa: ARG002 - argparse hands it over
    ) -> None:
        word, _, name = str(values).partition(":")
        if word == "help":
            from bundle.selection import catalogue

            if not name:
                print("\n\n".join(catalogue.TABLES[kind]() for kind in self.shows))
                parser.exit(0)
            kind = next((kind for kind in self.shows if name in catalogue.ENTRIES[kind]()), self.shows[-1])
            try:
                print(catalogue.PAGES[kind](name))
            except ValueError as error:
                parser.error(str(error))
            parser.exit(0)
        setattr(namespace, self.dest, values)


def add_workflow_options(parser: argparse.ArgumentParser, *, seed: bool = True, datalist: bool = True) -> None:
    """``--modality``, ``--set``, ``--overwrite`` and, where something is random, ``--seed``.

    Args:
        datalist: the verb has one, which tells the modality where the option does not.
    """
    rest = "else as the datalist says" if datalist else "default dermoscopy"
    parser.add_argument("--modality", help=f"dermoscopy, chest_xray or your own YAML file; {rest}")
    if seed:
        parser.add_argument("--seed", type=int, default=0, help="seed of every random choice (default 0)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any knob of the config, such as --set batch_size=16; may be given several times",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what another run left in OUT")


def add_annotation_options(parser: argparse.ArgumentParser) -> None:
    """``--annotators`` and ``--label``: how masks are to be read."""
    parser.add_argument(
        "--annotators",
        metavar="RULE",
        choices=("consensus", "first", "staple", "union"),
        help="several people drew, each in a folder of their name below --masks: how their masks become one",
    )
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="NAME=LABEL",
        help="what annotators call a label of the modality; an empty LABEL leaves the objects out; may be repeated",
    )


def label_aliases(texts: Sequence[str]) -> dict[str, str]:
    """``["left lung=lung"]`` to a mapping.

    Raises:
        ValueError: a text without ``=``, or without a name before it.
    """
    found = {}
    for text in texts:
        name, equals, label = text.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"--label takes NAME=LABEL, such as 'left lung=lung', got {text!r}")
        found[name] = label.strip()
    return found


def settings(args: argparse.Namespace, **overrides: Any) -> dict[str, Any]:
    """The overrides of a workflow: those given, the modality of the datalist, the seed, and ``--set`` last."""
    from bundle.run.settings import parse_setting

    found = {name: value for name, value in overrides.items() if value is not None}
    if getattr(args, "seed", None) is not None:
        found["seed"] = args.seed
    modality = args.modality or datalist_modality(getattr(args, "datalist", None))
    if modality:
        found["modality"] = modality
    given = dict(parse_setting(text) for text in args.set)
    for name in sorted(OWN & given.keys()):
        raise ValueError(f"--set {name} is the command's own to set: its --out says where results go, and it runs all")
    return found | given


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """``["k=8", "start=farthest"]`` to a mapping; values are read as YAML."""
    import yaml

    from bundle.run.settings import yaml_value

    options = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name.strip():
            raise ValueError(f"--option must have the form key=value, got {pair!r}")
        try:
            options[name.strip()] = yaml_value(value)
        except yaml.YAMLError:
            raise ValueError(f"--option {name.strip()} must have a YAML value, got {value!r}") from None
    return options


def parse_budget(text: str, pool: int, *, option: str = "--budget") -> int:
    """A number of images from ``"30"`` or from a share of the pool such as ``"10%"``; errors name the ``option``.

    A share is rounded down, since more than was granted must not be spent, but it is one image at least.
    """
    try:
        if text.strip().endswith("%"):
            share = float(text.strip()[:-1])
            if 0 < share <= 100:
                return max(1, math.floor(pool * share / 100 + 1e-9))  # 1e-9: 29 % of 100 is 28.999999999999996
        else:
            return int(text)
    except ValueError:
        pass
    raise ValueError(f"{option} must be a number of images or a share over 0 % and up to 100 %, got {text!r}")


def require_least(args: argparse.Namespace, **least: int) -> None:
    """Refuse an option below the least it may be, as in ``require_least(args, seeds=1)``."""
    for name, limit in least.items():
        if getattr(args, name) < limit:
            raise ValueError(f"--{name.replace('_', '-')} must be at least {limit}, got {getattr(args, name)}")


def absolute(path: str | Path | None) -> str | None:
    """An absolute path, for configs run from the bundle's own folder; None stays None."""
    return None if path is None else str(Path(path).absolute())


def datalist_modality(datalist: str | Path | None) -> str | None:
    """The modality that a datalist was made for."""
    if datalist is None:
        return None
    path = Path(datalist)
    if not path.is_file():
        raise ValueError(f"there is no datalist {path}: make one with `coldstart make_datalist`")
    content = json.loads(path.read_text(encoding="utf-8"))
    return str(content["modality"]) if isinstance(content, dict) and "modality" in content else None
