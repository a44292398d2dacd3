"""What a folder really holds: images that decode, without copies, with their ids, groups and masks."""

from __future__ import annotations

import functools
import logging
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bundle.data import dicom, nifti, pictures
from bundle.data.annotations.matching import JOINTS, ImageIndex
from bundle.data.frames import split_frame, split_name
from bundle.data.groups import Tie, join_ties
from bundle.data.identity import (
    NOT_PLAIN,
    Pseudonyms,
    group_by_rule,
    identify_dicom,
    is_plain,
    path_of_id,
    strip_suffix,
)
from bundle.data.modality import Modality
from bundle.data.pictures import UnreadableImage
from bundle.data.reader import image_size
from bundle.data.split import Entry
from bundle.data.threads import in_threads
from bundle.data.tree import ImageTree
from bundle.run.quarantine import Quarantine
from bundle.run.record import file_fingerprint

if TYPE_CHECKING:
    from bundle.data.annotations.folder import AnnotationFolder

logger = logging.getLogger(__name__)

FRAMES = ("first", "all")
SUPERPIXELS = "_superpixels"  # that ISIC 2016 to 2018 put beside each image
Size = tuple[int, int]


class Inventory(NamedTuple):
    """What a folder holds.

    Attributes:
        entries: of every usable image, sorted by id.
        copies: path below the root, without suffix, of each file with the same bytes as an image, to that one's id.
    """

    entries: list[Entry]
    copies: dict[str, str]


class NothingUsable(ValueError):
    """A folder without a usable image."""


def take_inventory(
    tree: ImageTree,
    *,
    modality: Modality,
    masks: AnnotationFolder | None = None,
    copies: Mapping[str, str] | None = None,
    pseudonyms: Pseudonyms,
    group: str | None = None,
    quarantine: Quarantine,
    for_inference: bool = False,
    frames: str = "first",
) -> Inventory:
    """Every usable image of a folder as a datalist entry; the rest goes to ``quarantine``.

    Args:
        tree: the folder of the images.
        masks: the annotations; their folder may be inside the tree, or its root itself.
        copies: names that annotations may know images by, see :class:`~bundle.data.annotations.matching.ImageIndex`.
        pseudonyms: gives DICOM files their ids and groups.
        group: regular expression for the group, on the path below ``root`` without suffix.
        for_inference: keep images with the same bytes under other names, since each is owed an answer, and decode only
            those that compete for an id: the others are decoded when they are segmented.
        frames: of DICOM files with several frames the ``first`` alone, or ``all``, each an image of its own.

    Raises:
        NothingUsable: no usable image at all.
        ValueError: a rule for the group that fits none, or a word for ``frames`` that is none.
    """
    # What decoders say of a broken file is told by its reason, without any tag's value.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="pydicom")
    if frames not in FRAMES:
        raise ValueError(f"frames must be one of {', '.join(FRAMES)}, got {frames!r}")
    mask_files = masks.files(tree.root) if masks is not None else []
    candidates = find_images(tree, modality, quarantine, mask_files=set(mask_files))
    if frames == "all":
        candidates = [image for path in candidates for image in dicom.frames_of(path)]
    doubtful = namesakes(candidates) if for_inference else candidates
    sizes = _decode_images(doubtful, tree, modality, quarantine)
    kept = sorted(set(candidates) - (set(doubtful) - set(sizes)), key=_in_order)
    twins: dict[Path, Path] = {}
    if not for_inference:
        kept = without_companions(kept, tree, quarantine)
        kept, twins = _without_copies(kept, tree, quarantine)
    entries = _identified(kept, tree, pseudonyms, group, quarantine)
    if not entries:
        raise NothingUsable(
            f"no usable {modality.name} image below {tree.root} ({quarantine.summary()}); "
            f"a {modality.reader} modality reads {', '.join(_suffixes(modality))}"
        )
    of_path = {entry["image"]: entry["id"] for entry in entries}
    of_twins = {strip_suffix(tree.relative(twin)): of_path.get(tree.relative(first)) for twin, first in twins.items()}
    if masks is not None:
        index = ImageIndex(_ids_by_name(candidates, entries, of_twins, tree), pseudonyms, copies or {})
        images = {tree.relative(path): (path, size) for path, size in sizes.items()}
        aside = len(quarantine)
        masks.attach(entries, mask_files, index=index, images=images, quarantine=quarantine)
        if mask_files and not any("label" in entry for entry in entries):
            why = quarantine.rows[aside]["reason"] if len(quarantine) > aside else "their images cannot be used"
            raise ValueError(
                f"none of the {len(mask_files)} masks below {masks.place} can be used; of the first: {why}. A mask has "
                f"the name of its image, such as {entries[0]['id']!r}, and may end in _mask and the like; where the "
                "folders of both differ, give the folder in which the masks lie"
            )
    usable = {name: identifier for name, identifier in of_twins.items() if identifier is not None}
    return Inventory(sorted(entries, key=lambda entry: entry["id"]), usable)


def _suffixes(modality: Modality) -> tuple[str, ...]:
    if modality.reader == "picture":
        return (*pictures.SUFFIXES, *dicom.SUFFIXES)
    return (*pictures.SUFFIXES, *dicom.SUFFIXES, *nifti.SUFFIXES)


def find_images(tree: ImageTree, modality: Modality, quarantine: Quarantine, *, mask_files: set[Path]) -> list[Path]:
    """Files that are, or claim to be, images of the modality. Other files are none of our business, but counted."""
    found, other = [], 0
    for path in tree.files(quarantine):
        if path in mask_files:
            continue
        named = path.name.lower().endswith(_suffixes(modality))
        # A hospital's export has no suffixes or any; so what no suffix speaks for is looked into.
        if not named and not dicom.is_dicom(path):
            if path.name.lower().endswith(pictures.UNREAD_SUFFIXES):
                quarantine.add(tree.shown(path), "format that is not read: convert it to PNG")
            elif not os.access(path, os.R_OK):
                quarantine.add(tree.shown(path), "unreadable: the file cannot be opened")
            else:
                other += 1
        elif not is_plain(tree.relative(path)):
            quarantine.add(tree.shown(path), NOT_PLAIN)
        elif not tree.holds(path):
            quarantine.add(tree.shown(path), "link that leaves the data root: copy the file itself (cp -L)")
        else:
            found.append(path)
    if other:
        logger.info("%d other files below %s were passed over", other, tree.root)
    return sorted(found)


def namesakes(paths: Sequence[Path]) -> list[Path]:
    """Paths that differ in their suffix alone, and so have one id."""
    stems = [strip_suffix(path.as_posix()) for path in paths]
    shared = Counter(stems)
    return [path for path, stem in zip(paths, stems, strict=True) if shared[stem] > 1]


def _in_order(path: Path) -> tuple[Path, int]:
    """By path, and frames by their number: the second before the tenth."""
    file, frame = split_frame(path)
    return file, frame or 0


def _decode_images(
    paths: Sequence[Path], tree: ImageTree, modality: Modality, quarantine: Quarantine
) -> dict[Path, Size]:
    """Path to (height, width) of all that decode."""

    def size_or_reason(path: Path) -> Size | str:
        try:
            return image_size(path, modality)
        except UnreadableImage as error:
            return f"{error.kind}: {error.reason}"

    sizes = {}
    for path, outcome in zip(paths, in_threads(size_or_reason, paths, "decode images"), strict=True):
        if isinstance(outcome, str):
            quarantine.add(tree.shown(path), outcome)
        else:
            sizes[path] = outcome
    return sizes


def _ids_by_name(
    candidates: Sequence[Path], entries: Sequence[Entry], of_twins: Mapping[str, str | None], tree: ImageTree
) -> dict[str, str | None]:
    """Path without suffix of every file that is an image to its id; a copy's, in ``of_twins``, is that of its twin.

    None where the image was set aside. A name that two images have is left out: nothing tells which one is meant.
    """
    ids: dict[str, str | None] = dict.fromkeys(strip_suffix(tree.relative(path)) for path in candidates)
    ids |= of_twins
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for entry in entries:
        owners[strip_suffix(entry["image"])].append(entry["id"])
    ids |= {name: found[0] for name, found in owners.items()}
    return {name: identifier for name, identifier in ids.items() if len(owners[name]) < 2}


def without_companions(paths: Sequence[Path], tree: ImageTree, quarantine: Quarantine) -> list[Path]:
    """What is no picture that came along with an image: a preview beside its DICOM file, a mask, superpixels.

    A preview has no patient, so it could lie on both sides of a split. A mask is what has few values and the name of an
    image, or one that begins with it: a name alone may be another image's.
    """
    stems = Counter(strip_suffix(path.name) for path in paths)
    suspects = [path for path in paths if _named_as_another(strip_suffix(path.name), stems)]
    looks = in_threads(_looks_like_mask, suspects, "look for masks among the images")
    masks = {path for path, mask in zip(suspects, looks, strict=True) if mask}
    images = {strip_suffix(path.name) for path in paths if path not in masks}
    dicoms = {strip_suffix(path.as_posix()) for path in paths if not _is_picture(path) and not nifti.is_nifti(path)}
    kept = []
    for path in paths:
        stem = strip_suffix(path.name)
        if _is_picture(path) and strip_suffix(path.as_posix()) in dicoms:
            quarantine.add(tree.shown(path), "preview: a DICOM file beside it has its name; rename it if it is another")
        elif stem.lower().endswith(SUPERPIXELS) and stem[: -len(SUPERPIXELS)] in images:
            quarantine.add(tree.shown(path), "superpixels: an image without that ending is there")
        elif path in masks and not images.isdisjoint(_names_within(stem)):
            quarantine.add(tree.shown(path), "mask among the images: an image of its name is there; use --masks")
        else:
            kept.append(path)
    return kept


def _names_within(stem: str) -> list[str]:
    """The names of images that a mask of this name could be of: its own, and what stands before each of its joints."""
    return [stem, *(stem[:place] for place in range(1, len(stem)) if stem[place] in JOINTS)]


def _named_as_another(stem: str, stems: Mapping[str, int]) -> bool:
    return stems[stem] > 1 or any(name in stems for name in _names_within(stem)[1:])


def _looks_like_mask(path: Path) -> bool:
    """Whether a file shows areas of few values, as no photograph and no radiograph does."""
    if not _is_picture(path) and not nifti.is_nifti(path):
        return False
    status = path.stat()
    return _has_few_values(path, (status.st_size, status.st_mtime_ns))


# A server lists its folder anew with every file that comes, and need not decode all the others again.
@functools.lru_cache(maxsize=200_000)
def _has_few_values(path: Path, _stamp: tuple[int, int]) -> bool:
    """Of the file as it was with that size and time of change."""
    return pictures.has_few_values(path) if _is_picture(path) else nifti.has_few_values(path)


def _is_picture(path: Path) -> bool:
    return path.name.lower().endswith(pictures.SUFFIXES)


def _without_copies(
    paths: Sequence[Path], tree: ImageTree, quarantine: Quarantine
) -> tuple[list[Path], dict[Path, Path]]:
    """The first, by path, of all files with the same bytes, and each other one with it.

    Only files of one length are hashed.
    """
    by_length: defaultdict[int, list[Path]] = defaultdict(list)
    for file in {split_frame(path)[0]: None for path in paths}:
        by_length[file.stat().st_size].append(file)
    suspects = sorted(path for same in by_length.values() if len(same) > 1 for path in same)
    digests = dict(zip(suspects, in_threads(file_fingerprint, suspects, "find copies"), strict=True))
    first: dict[tuple[str, int | None], Path] = {}
    kept, twins = [], {}
    for path in paths:
        file, frame = split_frame(path)
        original = first.setdefault((digests.get(file, str(file)), frame), path)
        if original is path:
            kept.append(path)
        else:
            twins[path] = original
            quarantine.add(tree.shown(path), f"duplicate: same bytes as {tree.relative(original)}")
    return kept, twins


def _identified(
    paths: Sequence[Path],
    tree: ImageTree,
    pseudonyms: Pseudonyms,
    rule: str | None,
    quarantine: Quarantine,
) -> list[Entry]:
    """Entries with id, image and group; of two images with one id the first by path stays."""
    entries: list[Entry] = []
    held: list[tuple[Tie, ...]] = []
    owners: dict[str, str] = {}
    unmatched = 0
    for path in paths:
        relative = tree.relative(path)
        identifier, group = strip_suffix(relative), None
        ties: tuple[Tie, ...] = ()
        if rule is not None:
            group = group_by_rule(split_name(identifier)[0], rule)  # the frames of a file stay together
            unmatched += group is None
        if dicom.is_dicom(path):
            try:
                identifier, ties = identify_dicom(path, pseudonyms)
            except UnreadableImage as error:
                quarantine.add(tree.shown(path), f"{error.kind}: {error.reason}")
                continue
            # The path of a DICOM file may hold what its tags hold, so what a rule finds in it is hashed too.
            group = pseudonyms.of("patient", group) if group else None
        try:
            path_of_id(".", identifier, "")
        except ValueError:  # an identifier that was kept as it is may hold anything
            quarantine.add(tree.shown(path), "unreadable: an identifier that would lead out of a folder; hash them")
            continue
        if identifier in owners:
            quarantine.add(tree.shown(path), f"same id: {owners[identifier]} has it already")
            continue
        owners[identifier] = relative
        entries.append({"id": identifier, "image": relative})
        # What a rule fits is of that group, whatever its PatientID: a rule is given where that is a placeholder.
        held.append((("rule", group), *ties) if group else ties)
    for entry, joined in zip(entries, join_ties(held), strict=True):
        if joined:
            entry["group"] = joined
    if unmatched and unmatched == len(paths):
        raise ValueError(
            f"--group {rule!r} must fit the images' paths without suffix; it fits none of the {unmatched} images"
        )
    if unmatched:
        logger.warning(
            "--group does not fit %d images; they are grouped by PatientID or study, and each that tells neither is a "
            "group of its own",
            unmatched,
        )
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
