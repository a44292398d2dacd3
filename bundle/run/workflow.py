"""A front to the MONAI workflows: the configs of this bundle, run from any folder with overrides."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle.run.advice import causes
from bundle.run.claim import claim_folder
from bundle.run.knobs import check_knobs
from bundle.run.settings import is_code
from bundle.run.stages import bundle_root, config_files

if TYPE_CHECKING:
    from monai.bundle import ConfigWorkflow


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


def run_claimed(stage: str, folder: str | os.PathLike[str], overrides: Mapping[str, Any], *, overwrite: bool) -> Path:
    """Check the overrides, claim ``folder`` for them, run the stage, and return the folder.

    Raises:
        OutputExists, ValueError: see :func:`claim_folder` and :func:`run_workflow`.
    """
    check_knobs(overrides, config_files(stage))
    claimed = claim_folder(folder, {"stage": stage, **overrides}, overwrite=overwrite)
    run_workflow(stage, overrides)
    return claimed
