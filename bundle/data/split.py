"""Which side of a split an image is on. Patients are split, not images: a group goes to one side as a whole."""

from __future__ import annotations

import csv
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from unicodedata import normalize

from bundle.data.groups import Tie, join_ties
from bundle.data.identity import strip_suffix

logger = logging.getLogger(__name__)

Entry = dict[str, str]
SIDES = {"pool": "pool", "train": "training", "training": "training", "test": "test"} | dict.fromkeys(
    ("validation", "valid", "val"), "validation"
)
KEPT_COLUMNS = ("site", "device", "view")  # of a split table; any other column may hold what is a patient's
GROUP_COLUMN = "group"  # of a split table: images that belong together, of one patient or of one lesion
_TOGETHER = ("patient", "lesion", "subject", "case")  # what such a column may be called where it is passed over


def group_of(entry: Mapping[str, str]) -> str:
    """The group (patient) that an entry belongs to; without one it is a group of its own."""
    return entry.get("group") or f"\0{entry['id']}"  # no real group starts so


def split_entries(
    entries: Sequence[Entry],
    *,
    test_fraction: float = 0.0,
    split_csv: str | os.PathLike[str] | None = None,
    validation_fraction: float = 0.1,
    seed: int = 0,
    pseudonym: Callable[[Entry, str], str] = lambda _, group: group,
    copies: Mapping[str, str] | None = None,
) -> dict[str, tuple[Entry, ...]]:
    """Make the sections of a datalist.

    The pool is all that is not test. Validation is drawn from the pool's labelled images by whole groups, and training
    is the pool's other labelled images; with a split table that names training or validation images, they are those,
    training as far as labelled.

    Args:
        entries: with id, and label and group where known. Their order does not matter.
        test_fraction: wanted part of all images, 0 to below 1. Which have labels does not matter: the test stays the
            same as labels come.
        split_csv: a table with the columns id and split; excludes ``test_fraction``.
        validation_fraction: wanted part of the labelled pool, 0 to below 1.
        seed: of both draws.
        pseudonym: what stands for a group that the table gives an entry.
        copies: path, without suffix, of files that were left out as copies, to the id of their image: a table may name
            either.

    Returns:
        pool, training, validation and test.

    Raises:
        ValueError: a fraction out of range, a table that does not fit, or too few groups to split.
    """
    for name, value in (("--test-fraction", test_fraction), ("--validation-fraction", validation_fraction)):
        if not 0.0 <= value < 1.0:
            raise ValueError(f"{name} must be at least 0 and below 1, got {value:g}")
    if split_csv is not None and test_fraction:
        raise ValueError("--split-csv already says what the test is; leave out --test-fraction")
    sides: dict[str, str] = {}
    if split_csv is not None:
        entries, sides = _read_table(split_csv, entries, pseudonym, copies or {})
        _refuse_split_groups(entries, sides)
        test = {group_of(entry) for entry in entries if sides.get(entry["id"]) == "test"}
    else:
        test = draw_groups(Counter(map(group_of, entries)), test_fraction, seed=seed, stream="test")
        if test_fraction and not test:
            raise ValueError("--test-fraction needs at least two patients (groups), got one; check --group")
    pool = [entry for entry in entries if group_of(entry) not in test]
    labelled = [entry for entry in pool if "label" in entry]
    named = set(sides.values())
    if "validation" in named:
        held = {group_of(entry) for entry in pool if sides.get(entry["id"]) == "validation"}
    else:
        # Drawn among what the table does not want for training, where it wants anything.
        free = labelled if "training" not in named else [e for e in labelled if sides.get(e["id"]) == "training"]
        held = draw_groups(
            Counter(map(group_of, free)), validation_fraction, seed=seed, stream="validation", floor_from=10
        )
    # What a table holds back stays held back until it has a label, too: nobody is asked for it.
    validation = [
        entry
        for entry in pool
        if group_of(entry) in held and ("label" in entry or sides.get(entry["id"]) == "validation")
    ]
    training = [entry for entry in labelled if group_of(entry) not in held]
    if "training" in named:
        training = [entry for entry in training if sides.get(entry["id"]) == "training"]
    return {
        "pool": tuple(pool),
        "training": tuple(training),
        "validation": tuple(validation),
        "test": tuple(entry for entry in entries if group_of(entry) in test),
    }


def draw_groups(sizes: Mapping[str, int], fraction: float, *, seed: int, stream: str, floor_from: int = 1) -> set[str]:
    """Draw groups that hold about ``fraction`` of all images between them.

    Groups come in an order that the seed and their own names decide, so that a group more or less in the data moves few
    others. Each is taken when that brings the count nearer to what is wanted.

    Args:
        sizes: group to its number of images; one without images is never drawn.
        fraction: 0 to below 1.
        stream: name of the draw.
        floor_from: with that many images or more, at least one is drawn.

    Returns:
        the groups; never all of them, so with a single group none.
    """
    from bundle.run.seeds import derive_seed  # brings torch along, which a mere load has no need of

    sizes = {group: size for group, size in sizes.items() if size > 0}
    total = sum(sizes.values())
    wanted = round(fraction * total)
    if fraction > 0 and total >= floor_from:
        wanted = max(wanted, 1)
    order = sorted(sizes, key=lambda group: (derive_seed(seed, stream, group), group))
    taken: set[str] = set()
    count = 0
    for group in order:
        if abs(count + sizes[group] - wanted) < abs(count - wanted) and len(taken) < len(sizes) - 1:
            taken.add(group)
            count += sizes[group]
    if wanted and not taken and len(sizes) > 1:  # every group is more than twice what is wanted
        taken.add(min(order, key=lambda group: sizes[group]))
    return taken


def _read_table(
    path: str | os.PathLike[str],
    entries: Sequence[Entry],
    pseudonym: Callable[[Entry, str], str],
    copies: Mapping[str, str],
) -> tuple[list[Entry], dict[str, str]]:
    """The entries with the harmless columns of the table added, and id to side."""
    file = Path(path)
    try:
        with file.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            columns = [str(column).strip().lower() for column in reader.fieldnames or []]
            reader.fieldnames = columns
            rows = list(reader)
    except UnicodeDecodeError:
        raise ValueError(f"{file} must be a CSV table in UTF-8; save it so") from None
    except csv.Error as error:
        raise ValueError(f"{file} must be a CSV table, got {error}; is a quotation mark not closed?") from None
    except OSError as error:
        raise ValueError(f"--split-csv {file} cannot be read: {error.strerror}") from None
    if not {"id", "split"} <= set(columns):
        raise ValueError(f"{file} must have the columns id and split, got {', '.join(columns) or 'none'}")
    ignored = [column for column in columns if column not in ("id", "split", GROUP_COLUMN, *KEPT_COLUMNS)]
    if ignored:
        logger.info("%s: columns left out of the datalist: %s", file, ", ".join(ignored))
    together = [column for column in ignored if any(word in column for word in _TOGETHER)]
    if together and GROUP_COLUMN not in columns:
        logger.warning(
            "%s: images are not kept together by %s; call that column %s if they should be",
            file,
            together[0],
            GROUP_COLUMN,
        )
    names = _names(entries, copies)
    extra: dict[str, Entry] = {}
    sides: dict[str, str] = {}
    absent = 0
    for number, row in enumerate(rows, start=2):
        side = SIDES.get((row["split"] or "").strip().lower())
        if side is None:
            raise ValueError(f"{file} line {number}: split must be one of {', '.join(SIDES)}, got {row['split']!r}")
        identifier = names.get(normalize("NFC", strip_suffix((row["id"] or "").strip())))
        if identifier is None:
            absent += 1
            continue
        if sides.setdefault(identifier, side) != side:
            raise ValueError(f"{file} line {number}: image {identifier!r} is given two splits; one is needed")
        cells = {name: (row.get(name) or "").strip() for name in (GROUP_COLUMN, *KEPT_COLUMNS)}
        told = {name: cell for name, cell in cells.items() if cell}
        if extra.setdefault(identifier, told).get(GROUP_COLUMN) != told.get(GROUP_COLUMN):
            raise ValueError(f"{file} line {number}: image {identifier!r} is given two groups; one is needed")
    if rows and not sides:
        raise ValueError(
            f"{file}: none of its {len(rows)} ids is an image here, such as {entries[0]['id']!r}; "
            "ids are paths without suffix"
        )
    if absent:
        logger.warning("%s: %d of %d rows have no usable image", file, absent, len(rows))
    if len(sides) < len(entries):
        logger.warning("%s: %d images are in no row and go to the pool", file, len(entries) - len(sides))
    described: list[Entry] = []
    ties: list[list[Tie]] = []
    for entry in entries:
        cells = dict(extra.get(entry["id"], {}))
        told_group = cells.pop(GROUP_COLUMN, None)
        groups = {"rule": pseudonym(entry, told_group) if told_group else None, "patient": entry.get("group")}
        ties.append([(kind, group) for kind, group in groups.items() if group])
        described.append({**entry, **cells})
    for entry, joined in zip(described, join_ties(ties), strict=True):
        if joined:
            entry["group"] = joined
    _tell_of_known_patients(entries, described, sides, file)
    return described, sides


def _tell_of_known_patients(
    known: Sequence[Entry], described: Sequence[Entry], sides: Mapping[str, str], file: Path
) -> None:
    """Say so where a table's groups part what one PatientID holds together: it may be a placeholder, or a patient."""
    held: defaultdict[str, set[bool]] = defaultdict(set)
    test = {group_of(entry) for entry in described if sides.get(entry["id"]) == "test"}
    for entry, after in zip(known, described, strict=True):
        if "group" in entry:
            held[entry["group"]].add(group_of(after) in test)
    parted = sum(len(found) > 1 for found in held.values())
    if parted:
        logger.warning(
            "%s: its groups put images of %d patients (PatientID or --group) on both sides of the test; give each "
            "patient one group, unless PatientID is a placeholder here",
            file,
            parted,
        )


def _names(entries: Sequence[Entry], copies: Mapping[str, str]) -> dict[str, str]:
    """All names that a table may call an image by, to its id: the id, its path, and its file's name if unique."""
    paths = {entry["id"]: strip_suffix(entry["image"]) for entry in entries}
    by_name: defaultdict[str, set[str]] = defaultdict(set)
    for path, identifier in [*((path, identifier) for identifier, path in paths.items()), *copies.items()]:
        by_name[path.rsplit("/", 1)[-1]].add(identifier)
    names = {name: next(iter(owners)) for name, owners in by_name.items() if len(owners) == 1}
    names.update(copies)
    names.update({path: identifier for identifier, path in paths.items()})
    names.update({identifier: identifier for identifier in paths})
    return {normalize("NFC", name): identifier for name, identifier in names.items()}


def _refuse_split_groups(entries: Sequence[Entry], sides: Mapping[str, str]) -> None:
    """A table must not put one patient on both sides of the test, or of validation and training."""
    members: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for entry in entries:
        side = sides.get(entry["id"], "pool")
        members[group_of(entry)].setdefault(side, entry["id"])
    for found in members.values():
        if ("test" in found and len(found) > 1) or {"validation", "training"} <= set(found):
            told = ", ".join(f"{identifier!r} {side}" for side, identifier in sorted(found.items()))
            raise ValueError(f"--split-csv puts images of one patient (group) on two sides: {told}; give them one side")
