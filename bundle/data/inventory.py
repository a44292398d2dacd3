"""What a folder really holds: images that decode, without copies, with their ids, groups and masks."""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from bundle.data import dicom, nifti, pictures
from bundle.data.identity import Pseudonyms, derive_id, group_by_rule, identify_dicom, strip_suffix
from bundle.data.masks import read_mask
from bundle.data.modality import Modality
from bundle.data.pictures import UnreadableImage
from bundle.data.reader import read_image
from bundle.data.split import Entry
from bundle.data.workers import worker_count
from bundle.run.quarantine import Quarantine
from bundle.run.record import file_fingerprint

logger = logging.getLogger(__name__)

MASK_ENDINGS = ("_mask", "_segmentation", "_seg", "_label")
MASK_SUFFIXES = (*pictures.SUFFIXES, *nifti.SUFFIXES)
Size = tuple[int, int]
T = TypeVar("T")


def take_inventory(
    root: Path,
    *,
    modality: Modality,
    masks: Path | None = None,
    pseudonyms: Pseudonyms,
    group: str | None = None,
    quarantine: Quarantine,
    for_inference: bool = False,
) -> list[Entry]:
    """Every usable image below ``root`` as a datalist entry, sorted by id; the rest goes to ``quarantine``.

    Args:
        root: resolved folder of the images.
        masks: resolved folder of the masks; inside ``root``, or ``root`` itself, will do as well.
        pseudonyms: gives DICOM files their ids and groups.
        group: regular expression for the group, on the path below ``root`` without suffix.
        for_inference: keep images with the same bytes under other names, since each is owed an answer, and decode only
            those that compete for an id: the others are decoded when they are segmented.

    Raises:
        ValueError: no usable image at all, or a rule for the group that fits none.
    """
    mask_files = _find_masks(masks, root) if masks is not None else []
    candidates = _find_images(root, modality, quarantine, leave_out=masks, mask_files=set(mask_files))
    doubtful = _namesakes(candidates) if for_inference else candidates
    sizes = _decode_images(doubtful, modality, quarantine)
    kept = sorted(set(candidates) - (set(doubtful) - set(sizes)))
    if not for_inference:
        kept = _without_copies(kept, root, quarantine)
    dicom_files = {path for path in kept if modality.reader == "radiograph" and dicom.is_dicom(path)}
    entries = _identified(kept, dicom_files, root, pseudonyms, group, quarantine)
    if not entries:
        raise ValueError(
            f"no usable {modality.name} image below {root} ({quarantine.summary()}); "
            f"a {modality.reader} modality reads {', '.join(_suffixes(modality))}"
        )
    if masks is not None:
        stems = {strip_suffix(path.relative_to(root).as_posix()) for path in candidates}
        _attach_masks(entries, mask_files, masks, stems, sizes, root, modality, quarantine)
    return sorted(entries, key=lambda entry: entry["id"])


def _suffixes(modality: Modality) -> tuple[str, ...]:
    if modality.reader == "picture":
        return pictures.SUFFIXES
    return (*pictures.SUFFIXES, *dicom.SUFFIXES, *nifti.SUFFIXES)


def _walk(folder: Path, leave_out: Path | None = None) -> Iterator[Path]:
    """All files below ``folder``, sorted within each folder, but hidden ones and those below ``leave_out``."""
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and here / name != leave_out)
        for name in folders:
            if (here / name).is_symlink():
                logger.warning("%s is a link to a folder and is not followed", here / name)
        yield from (here / name for name in sorted(names) if not name.startswith("."))


def _find_images(
    root: Path, modality: Modality, quarantine: Quarantine, *, leave_out: Path | None, mask_files: set[Path]
) -> list[Path]:
    """Files that are, or claim to be, images of the modality. Other files are none of our business, but counted."""
    found, other = [], 0
    for path in _walk(root, leave_out if leave_out != root else None):
        if path in mask_files:
            continue
        named = path.name.lower().endswith(_suffixes(modality))
        # A hospital's export has no suffixes or any; so what no suffix speaks for is looked into.
        if not named and not (modality.reader == "radiograph" and dicom.is_dicom(path)):
            other += 1
        elif not path.resolve().is_relative_to(root):
            quarantine.add(path, "link that leaves the data root")
        else:
            found.append(path)
    if other:
        logger.info("%d other files below %s were passed over", other, root)
    return sorted(found)


def _namesakes(paths: Sequence[Path]) -> list[Path]:
    """Paths that differ in their suffix alone, and so have one id."""
    stems = [strip_suffix(path.as_posix()) for path in paths]
    shared = Counter(stems)
    return [path for path, stem in zip(paths, stems, strict=True) if shared[stem] > 1]


def _decode_images(paths: Sequence[Path], modality: Modality, quarantine: Quarantine) -> dict[Path, Size]:
    """Path to (height, width) of all that decode."""

    def size_or_reason(path: Path) -> Size | str:
        try:
            height, width = read_image(path, modality).shape[:2]
        except UnreadableImage as error:
            return error.reason
        return height, width

    sizes = {}
    for path, outcome in zip(paths, _in_threads(size_or_reason, paths, "decode images"), strict=True):
        if isinstance(outcome, str):
            quarantine.add(path, f"unreadable: {outcome}")
        else:
            sizes[path] = outcome
    return sizes


def _without_copies(paths: Sequence[Path], root: Path, quarantine: Quarantine) -> list[Path]:
    """The first, by path, of all files with the same bytes. Only files of one length are hashed."""
    by_length: defaultdict[int, list[Path]] = defaultdict(list)
    for path in paths:
        by_length[path.stat().st_size].append(path)
    suspects = sorted(path for same in by_length.values() if len(same) > 1 for path in same)
    digests = dict(zip(suspects, _in_threads(file_fingerprint, suspects, "find copies"), strict=True))
    first: dict[str, Path] = {}
    kept = []
    for path in paths:
        original = first.setdefault(digests.get(path, str(path)), path)
        if original is path:
            kept.append(path)
        else:
            quarantine.add(path, f"duplicate: same bytes as {original.relative_to(root).as_posix()}")
    return kept


def _identified(
    paths: Sequence[Path],
    dicom_files: set[Path],
    root: Path,
    pseudonyms: Pseudonyms,
    rule: str | None,
    quarantine: Quarantine,
) -> list[Entry]:
    """Entries with id, image and group; of two images with one id the first by path stays."""
    entries: list[Entry] = []
    owners: dict[str, str] = {}
    unmatched = 0
    for path in paths:
        relative = path.relative_to(root).as_posix()
        identifier, group = derive_id(path, root), None
        if rule is not None:
            group = group_by_rule(identifier, rule)
            unmatched += group is None
        if path in dicom_files:
            try:
                identifier, patient = identify_dicom(path, pseudonyms)
            except UnreadableImage as error:
                quarantine.add(path, f"unreadable: {error.reason}")
                continue
            # The path of a DICOM file may hold what its tags hold, so what a rule finds in it is hashed too.
            group = patient if rule is None else group and pseudonyms.of("patient", group)
        if identifier in owners:
            quarantine.add(path, f"same id: {owners[identifier]} has it already")
            continue
        owners[identifier] = relative
        entries.append({"id": identifier, "image": relative, **({"group": group} if group else {})})
    if unmatched and unmatched == len(paths):
        raise ValueError(
            f"--group {rule!r} must fit the images' paths without suffix; it fits none of the {unmatched} images"
        )
    if unmatched:
        logger.warning("--group does not fit %d images; each of them is a group of its own", unmatched)
    _warn_of_one_patient(entries)
    return entries


def _warn_of_one_patient(entries: Sequence[Entry]) -> None:
    """Say so when most images seem to be of one patient: many exports give every patient the same name."""
    counts = Counter(entry["group"] for entry in entries if "group" in entry)
    largest = max(counts.values(), default=0)
    if largest >= 10 and 2 * largest > len(entries):  # ten images of one patient are rare in either modality
        logger.warning(
            "%d of %d images carry the same patient (group); if that is a placeholder of the export, give --group",
            largest,
            len(entries),
        )


def _find_masks(masks: Path, root: Path) -> list[Path]:
    """The mask files, sorted. In a folder that holds the images too, only names with a mask's ending are masks."""
    files = [path for path in _walk(masks, root) if path.name.lower().endswith(MASK_SUFFIXES)]
    if masks != root:
        return sorted(files)
    stems = {strip_suffix(path.name) for path in _walk(masks)}
    return sorted(path for path in files if _trimmed(strip_suffix(path.name)) in stems)


def _trimmed(stem: str) -> str | None:
    """A stem without its mask's ending, or None where it has none."""
    for ending in MASK_ENDINGS:
        if stem.lower().endswith(ending) and len(stem) > len(ending):
            return stem[: -len(ending)]
    return None


def _attach_masks(
    entries: Sequence[Entry],
    mask_files: Sequence[Path],
    masks: Path,
    stems: set[str],
    sizes: dict[Path, Size],
    root: Path,
    modality: Modality,
    quarantine: Quarantine,
) -> None:
    """Give entries the label that fits them; ``stems`` are of all image files, also of those set aside."""
    exact: dict[str, Path] = {}
    ended: dict[str, Path] = {}
    for path in mask_files:
        stem = strip_suffix(path.relative_to(masks).as_posix())
        exact.setdefault(stem, path)
        short = _trimmed(stem)
        if short is not None and stem not in stems:
            ended.setdefault(short, path)
    belonging = {stem: exact.get(stem) or ended.get(stem) for stem in stems}
    claimed = set(belonging.values())
    for path in mask_files:
        if path not in claimed:
            quarantine.add(path, "mask without an image: no image of its name, or another mask has it")

    def reason_against(entry: Entry) -> str | None:
        path = belonging[strip_suffix(entry["image"])]
        if path is None:
            return None
        if not path.resolve().is_relative_to(masks):
            return "link that leaves the folder of the masks"
        try:
            size = read_mask(path, labels=modality.labels).shape
        except UnreadableImage as error:
            return f"unreadable mask: {error.reason}"
        except ValueError as error:
            return f"wrong mask: {error}"
        image = sizes[root / entry["image"]]
        if size != image:
            return f"mask of another size: {size[1]} x {size[0]}, its image has {image[1]} x {image[0]}"
        return None

    for entry, reason in zip(entries, _in_threads(reason_against, entries, "decode masks"), strict=True):
        mask = belonging[strip_suffix(entry["image"])]
        if mask is not None and reason is not None:
            quarantine.add(mask, f"{reason}; the image stays without label")
        elif mask is not None:
            entry["label"] = mask.relative_to(masks).as_posix()


def _in_threads(function: Callable[..., T], items: Sequence[object], title: str) -> list[T]:
    """``function`` of every item, in order, with a progress bar where stderr is a terminal."""
    with ThreadPoolExecutor(worker_count()) as pool:
        return list(tqdm(pool.map(function, items), total=len(items), desc=title, disable=None, leave=False))
