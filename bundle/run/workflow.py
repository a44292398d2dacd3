"""A front to the MONAI workflows: the configs of this bundle, run from any folder with overrides."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle.run.advice import causes
from bundle.run.atomic import OutputExists, retire_folder, write_json
from bundle.run.knobs import check_knobs, merged_configs
from bundle.run.temporary import TEMPORARY, clear_leftovers

if TYPE_CHECKING:
    from monai.bundle import ConfigWorkflow

logger = logging.getLogger(__name__)

# A later file is an overlay on those before it.
CONFIGS = {
    "pretrain": ("pretrain.yaml",),
    "embed": ("embed.yaml",),
    "train": ("train.yaml",),
    "evaluate": ("train.yaml", "evaluate.yaml"),
    "infer": ("inference.yaml",),
    "uncertainty": ("uncertainty.yaml",),
}
REQUEST = "request.json"


def bundle_root() -> Path:
    """The folder with ``configs/``, ``models/`` and ``docs/``: the repository, a package or the installed resources."""
    package = Path(__file__).resolve().parent.parent
    return package.parent if (package.parent / "configs" / "metadata.json").is_file() else package / "resources"


def shipped_weights(kind: str, modality: str) -> Path | None:
    """The bundle's own weight file of a modality, or None where it ships none.

    Args:
        kind: ``model`` or ``model_ssl_pretrained``.
        modality: name or path; a file named for it comes before the unnamed one, which is the bundle's own modality.
    """
    from bundle.weights import load_weights

    folder, name = bundle_root() / "models", Path(modality).stem
    named, unnamed = folder / f"{kind}_{name}.pt", folder / f"{kind}.pt"
    if named.is_file():
        return named
    return unnamed if unnamed.is_file() and load_weights(unnamed).settings.get("modality") == name else None


def written_setting(stage: str, name: str) -> Any:
    """What the config of a stage, one of ``CONFIGS``, says of a name of its top level: the default of a knob."""
    return merged_configs([bundle_root() / "configs" / file for file in CONFIGS[stage]])[name]


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


def open_workflow(stage: str, overrides: Mapping[str, Any], *, root: Path | None = None) -> ConfigWorkflow:
    """The configs of ``stage`` with these overrides, read and not yet run.

    Args:
        stage: key of ``CONFIGS``.
        overrides: id of a config entry to its value.
        root: the bundle whose configs these are; this one where None.

    Raises:
        ValueError: an override that no config of the stage knows, or a text that would be run as code.
    """
    root = root or bundle_root()
    files = config_files(stage, root)
    overrides = {name: _as_data(name, value) for name, value in overrides.items()}
    check_knobs(overrides, files)
    from monai.bundle import ConfigWorkflow

    logging.getLogger(ConfigWorkflow.__module__).setLevel(logging.ERROR)  # it warns where no logging file is given
    return ConfigWorkflow(
        config_file=[str(file) for file in files],
        meta_file=str(root / "configs" / "metadata.json"),
        logging_file=False,  # the command has set logging up
        workflow_type="infer" if stage == "infer" else "train",
        bundle_root=str(root),
        **overrides,
    )


def _as_data(name: str, value: Any) -> Any:
    """A value that the config's parser takes as it is, whatever texts of files and datalists are in it.

    The parser runs a text that starts with ``$`` as Python, and looks for such texts in lists and mappings. It takes
    anything else as it is, so entries of images go in as a tuple.
    """
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, str) and is_code(value):
        raise ValueError(f"{name} must be plain, and {value!r} would be run as code")
    entries = isinstance(value, list) and all(isinstance(entry, Mapping) and "image" in entry for entry in value)
    return tuple(value) if entries else value


def run_workflow(stage: str, overrides: Mapping[str, Any], *, root: Path | None = None) -> None:
    """Run the configs of ``stage`` as ``python -m monai.bundle run`` does; arguments as of :func:`open_workflow`.

    Raises:
        ValueError: an override that no config of the stage knows; and what a component of the workflow raises.
    """
    workflow = open_workflow(stage, overrides, root=root)
    try:
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    except RuntimeError as error:
        # MONAI wraps whatever a component raises; a person is served by what the component said.
        for cause in causes(error):
            if isinstance(cause, (ValueError, OSError, ArithmeticError)):
                raise cause from None
        raise


def claim_folder(folder: str | os.PathLike[str], request: Mapping[str, Any], *, overwrite: bool) -> Path:
    """Make ``folder`` this request's own. The same request may come back and goes on; another one is refused.

    Args:
        folder: where the run writes.
        request: what was asked for, kept as ``request.json``.
        overwrite: remove what another request left.

    Raises:
        OutputExists: the folder holds something else, and ``overwrite`` is false.
        ValueError: it holds something that no request left, such as a person's images, or that another command made,
            or that the request is to read, and ``overwrite`` is true.
    """
    folder = Path(folder)
    wanted = json.loads(json.dumps(dict(request), default=str))
    found = folder / REQUEST
    clear_leftovers(folder.parent, of=folder.name)
    clear_leftovers(folder, deep=True)
    # A request alone is one that failed before it made anything; its correction may take the place.
    if folder.exists() and any(path != found and not TEMPORARY.fullmatch(path.name) for path in folder.iterdir()):
        same = found.is_file() and json.loads(found.read_text(encoding="utf-8")) == wanted
        if same and not overwrite:
            return folder
        if not overwrite:
            raise OutputExists(folder)
        if not found.is_file():
            raise ValueError(
                f"{folder} holds files that no run has made; --overwrite leaves it alone, give another place"
            )
        _check_loss(folder, json.loads(found.read_text(encoding="utf-8")), wanted)
        retire_folder(folder)
    write_json(found, wanted)
    return folder


def _check_loss(folder: Path, made: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse to remove what another command has made, or what this request is to read."""
    if made.get("stage") != wanted.get("stage"):
        raise ValueError(
            f"{folder} was made by {made.get('stage')}; --overwrite replaces what the same command has made, give "
            "another place"
        )
    values = [item for value in wanted.values() for item in (value if isinstance(value, list) else [value])]
    for value in values:
        path = Path(value).absolute() if isinstance(value, str) else folder.absolute()
        if path != folder.absolute() and path.is_relative_to(folder.absolute()) and path.exists():
            raise ValueError(f"{path} is to be read and lies in {folder}, which would be replaced; give another place")


def run_claimed(stage: str, folder: str | os.PathLike[str], overrides: Mapping[str, Any], *, overwrite: bool) -> Path:
    """Check the overrides, claim ``folder`` for them, run the stage, and return the folder.

    Raises:
        OutputExists, ValueError: see :func:`claim_folder` and :func:`run_workflow`.
    """
    check_knobs(overrides, config_files(stage))
    claimed = claim_folder(folder, {"stage": stage, **overrides}, overwrite=overwrite)
    run_workflow(stage, overrides)
    return claimed


def config_files(stage: str, root: Path | None = None) -> list[Path]:
    """The configs of a stage, in this bundle or another; a later one is an overlay on those before it."""
    return [(root or bundle_root()) / "configs" / name for name in CONFIGS[stage]]
