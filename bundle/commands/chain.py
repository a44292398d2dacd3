"""Verbs run one after another, as a person would type them, each skipped where its output says that it is done."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Iterable
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


def list_public_set(data: Path, out: Path, *, modality: str, as_dicom: bool = False) -> Path:
    """The datalist of a public set: ``images/``, ``masks/`` and ``split.csv`` (columns id, split) below ``data``.

    No validation section: the last step is scored, so every label of the pool can teach.

    Args:
        data: folder of the set.
        out: gets ``datalist.json``, and ``dicom`` where asked for.
        modality: name, or path of a YAML file.
        as_dicom: wrap the pictures into CR DICOM objects first.

    Returns:
        The path of the datalist; what is there is not made again.

    Raises:
        ValueError: the datalist that is there lists other images.
    """
    from bundle.data.datalist import load_datalist

    images = data / "images"
    if as_dicom:
        run_stage("wrap_radiographs", done=out / "dicom", images=images, out=out / "dicom")
        images = out / "dicom"
    datalist = out / "datalist.json"
    listed = {"images": images, "masks": data / "masks", "split_csv": data / "split.csv"}
    run_stage("make_datalist", done=datalist, out=datalist, modality=modality, validation_fraction=0, **listed)
    found = load_datalist(datalist)
    if found.root.resolve() != images.resolve() or found.modality.name != Path(modality).stem:
        raise ValueError(
            f"{datalist} lists {found.modality.name} images of {found.root}, not {Path(modality).stem} images of "
            f"{images}: give another --out, or the same set at the same place"
        )
    return datalist


def labelled_candidates(datalist: Path, *, wanted: int) -> list[str]:
    """The sorted ids of the pool's images that have a mask and may be chosen.

    Args:
        datalist: of :func:`list_public_set`.
        wanted: images that are to be chosen among them.

    Raises:
        ValueError: there are fewer.
    """
    from bundle.data.datalist import load_datalist

    found = load_datalist(datalist)
    labelled = {entry["id"] for entry in found.sections["pool"] if "label" in entry}.intersection(found.candidates())
    if len(labelled) < wanted:
        raise ValueError(f"{wanted} labels are asked for, and {len(labelled)} images of the pool have a mask")
    return sorted(labelled)


def exclude_others(datalist: Path, candidates: Iterable[str], path: Path) -> Path | None:
    """A list at ``path`` of the pool's images outside of ``candidates``; None where there are none."""
    from bundle.data.datalist import load_datalist
    from bundle.run.atomic import write_text

    rest = sorted(set(load_datalist(datalist).ids("pool")) - set(candidates))
    return write_text(path, "\n".join(rest) + "\n") if rest else None
