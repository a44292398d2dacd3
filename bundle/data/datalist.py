"""The datalist: which images there are, whose they are, and what each is for.

A JSON file in the manner of the Medical Segmentation Decathlon::

    {
      "modality": "dermoscopy",
      "root": "/data/dermoscopy/images",
      "label_root": "/data/dermoscopy/masks",
      "pool":       [{"id": "ISIC_01", "image": "ISIC_01.jpg", "label": "ISIC_01.png", "group": "patient-7"}, ...],
      "training":   [...],
      "validation": [...],
      "test":       [...]
    }

- ``pool``: every image that is not for the test, labelled or not. Pretraining and selection look at it.
- ``training``: the images of the pool to learn from.
- ``validation``: a part of the labelled pool that no training image and no training patient is in.
- ``test``: for the final score alone; no image and no patient of it is anywhere else.

``image`` is relative to ``root`` and ``label`` to ``label_root``; ``label`` and ``group`` may be absent. An image
without a group is a group of its own.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle.data.identity import Pseudonyms, derive_id
from bundle.data.modality import Modality, load_modality
from bundle.data.split import Entry, group_of, split_entries
from bundle.data.tree import ImageTree, root_of
from bundle.run.atomic import write_json
from bundle.run.quarantine import Quarantine
from bundle.run.record import content_fingerprint

if TYPE_CHECKING:
    from bundle.data.annotations.folder import AnnotationFolder

logger = logging.getLogger(__name__)

SECTIONS = ("pool", "training", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Datalist:
    """A datalist in memory. Entries are sorted by id and their paths are relative, as in the file.

    Attributes:
        modality_name: name of a shipped modality, or the path of the user's own.
        root: folder that every ``image`` lies below.
        label_root: folder that every ``label`` lies below; None where there are no labels.
        sections: name of each of ``SECTIONS`` to its entries.
        unpacked_root: folder of what the zip archives below ``root`` hold; None where there are none.
        archives: path of each archive below ``root`` to the folder below ``unpacked_root`` that has its content; None
            where they lie in that folder itself.

    Raises:
        ValueError: an id twice in a section, a test image or patient elsewhere, validation mixed with training, or a
            path that leaves its root.
    """

    modality_name: str
    root: Path
    label_root: Path | None
    sections: Mapping[str, tuple[Entry, ...]]
    unpacked_root: Path | None = None
    archives: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        unknown = set(self.sections) - set(SECTIONS)
        if unknown:
            raise ValueError(f"sections must be out of {', '.join(SECTIONS)}, got also {', '.join(sorted(unknown))}")
        ordered = {n: tuple(sorted(self.sections.get(n, ()), key=lambda entry: entry["id"])) for n in SECTIONS}
        object.__setattr__(self, "sections", ordered)
        _check_sections(ordered)

    @property
    def modality(self) -> Modality:
        """What kind of image these are."""
        return load_modality(self.modality_name)

    def ids(self, name: str) -> list[str]:
        """The sorted ids of a section."""
        return [entry["id"] for entry in self._entries(name)]

    def section(self, name: str, *, labelled: bool = False) -> list[dict[str, str]]:
        """The entries of a section, sorted by id, with absolute paths; a missing section is empty.

        Args:
            name: one of ``SECTIONS``.
            labelled: leave out entries without a label.

        Raises:
            ValueError: an unknown section, or a path that leaves its root (by ``..`` or a link).
        """
        found = [entry for entry in self._entries(name) if "label" in entry or not labelled]
        root, label_root, unpacked_root = (
            folder.resolve() if folder else None for folder in (self.root, self.label_root, self.unpacked_root)
        )
        assert root is not None
        resolved = []
        for entry in found:
            place = root_of(entry["image"], root, unpacked_root, self.archives)
            absolute = {**entry, "image": str(_below(place, entry["image"], "image"))}
            if "label" in entry:
                if label_root is None:
                    raise ValueError(f"entry {entry['id']!r} has a label, so the datalist must tell its label_root")
                absolute["label"] = str(_below(label_root, entry["label"], "label"))
            resolved.append(absolute)
        return resolved

    def image_paths(self) -> dict[str, Path]:
        """Id to file of every image of all sections."""
        return {entry["id"]: Path(entry["image"]) for name in self.sections for entry in self.section(name)}

    def candidates(self) -> list[str]:
        """Ids of the pool that may be annotated for training: none of validation, no other image of its patients."""
        taken = {group_of(entry) for entry in self.sections["validation"]}
        return [entry["id"] for entry in self.sections["pool"] if group_of(entry) not in taken]

    def with_training(self, ids: Iterable[str]) -> Datalist:
        """The same datalist with exactly these images of the pool as its training section.

        Entries keep their labels where known. Pool, validation and test stay as they are: the pool goes on to be
        every image that is not for the test, so nothing is lost.

        Raises:
            ValueError: an id that is given twice, is not in the pool, or shares a patient with validation.
        """
        chosen = list(ids)
        if len(set(chosen)) != len(chosen):
            twice = next(identifier for identifier in chosen if chosen.count(identifier) > 1)
            raise ValueError(f"training ids must differ, {twice!r} is given twice")
        known = {entry["id"]: entry for entry in self.sections["pool"]}
        allowed = set(self.candidates())
        for identifier in chosen:
            if identifier not in known:
                raise ValueError(f"training ids must come from the pool, {identifier!r} is not in it")
            if identifier not in allowed:
                raise ValueError(
                    f"image {identifier!r} is of the validation section or of one of its patients; "
                    f"choose training images from Datalist.candidates()"
                )
        training = tuple(known[identifier] for identifier in chosen)
        return dataclasses.replace(self, sections={**self.sections, "training": training})

    def without(self, ids: Iterable[str]) -> Datalist:
        """The same datalist less these images of the pool, where they are in it; the other sections stay."""
        gone = set(ids)
        left = tuple(entry for entry in self.sections["pool"] if entry["id"] not in gone)
        return dataclasses.replace(self, sections={**self.sections, "pool": left})

    def fingerprint(self) -> str:
        """SHA-256 over modality, ids, paths and groups of all sections; where the roots lie does not matter."""
        return content_fingerprint(self._facts())

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the datalist as JSON and return its path; an existing file is replaced."""
        content: dict[str, Any] = {"modality": self.modality_name, "root": str(self.root)}
        if self.label_root is not None:
            content["label_root"] = str(self.label_root)
        if self.unpacked_root is not None:
            content["unpacked_root"] = str(self.unpacked_root)
        if self.archives is not None:
            content["archives"] = dict(self.archives)
        return write_json(path, {**content, **{name: list(self.sections[name]) for name in SECTIONS}})

    def _entries(self, name: str) -> tuple[Entry, ...]:
        if name not in SECTIONS:
            raise ValueError(f"section must be one of {', '.join(SECTIONS)}, got {name!r}")
        return self.sections[name]

    def _facts(self) -> Iterator[str]:
        yield self.modality_name
        for name in SECTIONS:
            yield name
            for entry in self.sections[name]:
                yield json.dumps(entry, sort_keys=True)


def make_datalist(
    images: str | os.PathLike[str],
    *,
    modality: str | os.PathLike[str],
    key_file: str | os.PathLike[str],
    masks: str | os.PathLike[str] | None = None,
    annotators: str | None = None,
    label_names: Mapping[str, str] | None = None,
    drawn: str | os.PathLike[str] | None = None,
    copies: str | os.PathLike[str] | None = None,
    test_fraction: float = 0.0,
    split_csv: str | os.PathLike[str] | None = None,
    validation_fraction: float = 0.1,
    group: str | None = None,
    seed: int = 0,
    keep_uids: bool = False,
    frames: str = "first",
    unpacked: str | os.PathLike[str] | None = None,
    quarantine: Quarantine | None = None,
) -> Datalist:
    """List a folder of images, and its masks where there are some.

    Every image and mask is decoded once. What cannot be used is set aside in ``quarantine``: unreadable images;
    of byte-identical images, and of images with one id, all but the first by path; masks that are unreadable, of
    another size than their image, or without an image. An image whose mask is set aside stays, without label.

    Args:
        images: the data root; walked with all its folders, hidden files left out. Or a zip archive, or a DICOMDIR.
        modality: name of a modality, or the path of the user's own.
        key_file: the secret of the pseudonyms of DICOM files, made when it is needed and not there.
        masks: folder of the masks, or one file of annotations. A mask belongs to the image with the same path below
            its folder, suffixes aside; the mask's name may end in ``_mask``, ``_segmentation``, ``_seg`` or ``_label``.
            CVAT and COCO files name their images, and DICOM segmentations refer to them.
        annotators: rule that makes one mask of several people's, see ``annotations.annotators.combine``; their masks
            lie in a folder of each one's name. None where there is one.
        label_names: what annotators call structures to the modality's label, ``background``, or an empty text for what
            is to be left out.
        drawn: folder for the masks that are not pictures yet; needed for such.
        copies: folder of handed-over images (:mod:`bundle.data.handover`) whose names the masks have.
        test_fraction: part of the images for the test, 0 to below 1, whether they have masks or not.
        split_csv: instead, a table with the columns id and split (pool, training, validation, test).
        validation_fraction: part of the labelled pool for validation, 0 to below 1.
        group: regular expression on the path below the root that gives the group (patient); for DICOM it
            replaces PatientID.
        seed: of both draws. The order of the files changes nothing.
        keep_uids: SOPInstanceUID and PatientID as they are, without hash.
        frames: of DICOM files with several frames the ``first`` alone, or ``all``, each an image of its own.
        unpacked: where zip archives are unpacked; None passes them over.
        quarantine: collects what is set aside.

    Raises:
        ValueError: nothing readable, or a request that cannot be met.
    """
    from bundle.data import dicom
    from bundle.data.annotations.matching import names_of_copies
    from bundle.data.handover import TABLE as COPIES_TABLE
    from bundle.data.inventory import take_inventory  # brings MONAI along, which a mere load has no need of

    kind = load_modality(modality)
    labels = _annotations(kind, masks, annotators, label_names, drawn)
    unpacked = Path(unpacked).resolve() if unpacked is not None else None
    pseudonyms = Pseudonyms(key_file, keep=keep_uids)
    apart = [labels.place] if labels is not None else []
    apart += [Path(drawn).resolve()] if drawn is not None else []  # what an earlier listing drew
    tree = ImageTree(images, unpacked=unpacked, leave_out=apart)
    found = take_inventory(
        tree,
        modality=kind,
        masks=labels,
        copies=names_of_copies(Path(copies) / COPIES_TABLE) if copies is not None else None,
        pseudonyms=pseudonyms,
        group=group,
        quarantine=quarantine if quarantine is not None else Quarantine(tree.root),
        frames=frames,
    )

    def pseudonym(entry: Entry, group: str) -> str:
        """As for what a rule finds in a path: of DICOM files it may be what their tags hold."""
        return pseudonyms.of("patient", group) if dicom.is_dicom(tree.path_of(entry["image"])) else group

    sections = split_entries(
        found.entries,
        test_fraction=test_fraction,
        split_csv=split_csv,
        validation_fraction=validation_fraction,
        seed=seed,
        pseudonym=pseudonym,
        copies=found.copies,
    )
    own = Path(modality).suffix in (".yaml", ".yml")
    archives = tree.archives or None
    name = str(Path(modality).resolve()) if own else kind.name
    label_root = labels.root if labels is not None else None
    return Datalist(name, tree.root, label_root, sections, unpacked if archives else None, archives)


def load_datalist(path: str | os.PathLike[str]) -> Datalist:
    """Load a datalist. A relative root is meant from the folder of the file.

    Raises:
        ValueError: no datalist, an entry without id or image, a root that is not there, or what
            :class:`Datalist` refuses.
    """
    file = Path(path)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} must be a JSON datalist: {error}") from None
    if not isinstance(content, dict) or not {"modality", "root"} <= set(content):
        raise ValueError(f"{file} must be a datalist with modality and root; make one with scripts/make_datalist.py")
    sections: dict[str, tuple[Entry, ...]] = {}
    for name in SECTIONS:
        entries = content.get(name, [])
        if not isinstance(entries, list):
            raise ValueError(f"{file}: section {name} must be a list, got {type(entries).__name__}")
        for entry in entries:
            _check_entry(entry, f"{file}: section {name}")
        sections[name] = tuple(entries)
    label_root, unpacked_root = content.get("label_root"), content.get("unpacked_root")
    return Datalist(
        modality_name=str(content["modality"]),
        root=_root(file, content["root"], "root"),
        label_root=_root(file, label_root, "label_root") if label_root is not None else None,
        sections=sections,
        unpacked_root=_root(file, unpacked_root, "unpacked_root") if unpacked_root is not None else None,
        archives=_archives(file, content.get("archives")),
    )


def entries_from(
    source: str | os.PathLike[str] | Datalist | Sequence[Mapping[str, Any]],
    section: str = "pool",
    *,
    labelled: bool = False,
    needed: bool = False,
    root: str | os.PathLike[str] | None = None,
) -> list[dict[str, str]]:
    """Entries with ``id`` and absolute paths, from a datalist (or its path) or from a plain list.

    Args:
        source: a datalist, its path, or a list of ``{"image": path, "label": path}`` as MONAI Label hands it over.
        section: which section of a datalist.
        labelled: leave out entries without a label.
        needed: refuse an empty section: MONAI's engines pass over one without a word.
        root: folder that ids of a plain list are relative to; None is the nearest folder that holds all its images.

    Returns:
        entries sorted by id; those of a plain list keep any entry of their own and get an ``id`` where they lack one.

    Raises:
        ValueError: as :func:`load_datalist`, two entries of a list with one id, no label in a section of images
            where labels are asked for, or no image where one is needed.
    """
    if isinstance(source, (str, os.PathLike)):
        source = load_datalist(source)
    if isinstance(source, Datalist):
        found, listed = source.section(section, labelled=labelled), len(source.ids(section))
        if needed and not listed:
            filled = [name for name in SECTIONS if source.ids(name)]
            raise ValueError(f"section {section} of the datalist has no image; {', '.join(filled)} have")
        if listed and not found:
            raise ValueError(
                f"none of the {listed} images of section {section} has a label: annotate them, then list them again "
                f"with make_datalist --masks"
            )
        if listed > len(found):
            logger.warning("%d of %d images of section %s have no label yet", listed - len(found), listed, section)
        return found
    entries = []
    for entry in source:
        if not isinstance(entry, Mapping) or not entry.get("image"):
            raise ValueError(f"an entry of a data list must be a mapping with an image, got keys {_keys(entry)}")
        if entry.get("label") or not labelled:
            entries.append({**entry, "image": os.path.abspath(entry["image"])})  # noqa: PTH100 - links stay as they are
    if not entries:
        return []
    base = root if root is not None else os.path.commonpath([os.path.dirname(e["image"]) for e in entries])  # noqa: PTH120
    entries = [{"id": derive_id(entry["image"], base), **entry} for entry in entries]
    _check_unique(entries, "the data list")
    return sorted(entries, key=lambda entry: entry["id"])


def _annotations(
    modality: Modality,
    masks: str | os.PathLike[str] | None,
    annotators: str | None,
    label_names: Mapping[str, str] | None,
    drawn: str | os.PathLike[str] | None,
) -> AnnotationFolder | None:
    from bundle.data.annotations.folder import AnnotationFolder
    from bundle.data.annotations.names import LabelNames

    if masks is None:
        return None
    place = Path(masks).resolve()
    if not place.exists():
        raise ValueError(f"--masks must be a folder of masks or a file of annotations, got {place}")
    names = LabelNames(modality.labels, codes=modality.codes, aliases=label_names)
    folder = Path(drawn).resolve() if drawn is not None else None
    return AnnotationFolder(place, modality=modality, names=names, rule=annotators, drawn=folder)


def _root(file: Path, folder: Any, name: str) -> Path:
    path = file.resolve().parent / str(folder)
    if not path.is_dir():
        raise ValueError(f"{file}: {name} is {folder}, which is no folder here; set it to where the files are now")
    return path


def _archives(file: Path, archives: Any) -> dict[str, str] | None:
    if archives is None:
        return None
    if not isinstance(archives, dict) or not all(_is_folder_name(name) for name in archives.values()):
        raise ValueError(
            f"{file}: archives must map the path of each zip archive to the name of its folder below unpacked_root, "
            f"got {archives!r}; list the images anew"
        )
    return archives


def _is_folder_name(name: Any) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and "/" not in name


def _check_entry(entry: Any, where: str) -> None:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("id", "image")):
        raise ValueError(f"{where}: an entry must have id and image as text, got keys {_keys(entry)}")
    if not isinstance(entry.get("group", ""), str):
        raise ValueError(f"{where}: image {entry['id']!r} has a group that is no text, {entry['group']!r}; quote it")
    if not isinstance(entry.get("label", ""), str):
        raise ValueError(
            f"{where}: image {entry['id']!r} has a label that is no text, {entry['label']!r}; leave it out"
        )
    for key in ("image", "label"):
        if key in entry:
            _check_relative(entry[key], key)


def _check_relative(path: str, kind: str) -> None:
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ValueError(f"{kind} path must be relative to the root and stay below it, got {path!r}")


def _below(root: Path, relative: str, kind: str) -> Path:
    """The absolute path of ``relative`` below the resolved ``root``, links followed only to check them."""
    _check_relative(relative, kind)
    if not (root / relative).resolve().is_relative_to(root):
        raise ValueError(f"{kind} {relative!r} is a link that leaves the root {root}; copy the file or change the root")
    return root / relative


def _check_sections(sections: Mapping[str, Sequence[Entry]]) -> None:
    for name, entries in sections.items():
        _check_unique(entries, f"section {name}")
    for left, rights in (("test", ("pool", "training", "validation")), ("validation", ("training",))):
        ids = {entry["id"] for entry in sections[left]}
        groups = {group_of(entry) for entry in sections[left]}
        for right in rights:
            for entry in sections[right]:
                if entry["id"] in ids:
                    raise ValueError(f"image {entry['id']!r} is in {left} and in {right}; it may be in one alone")
                if group_of(entry) in groups:
                    raise ValueError(
                        f"image {entry['id']!r} of {right} has the patient (group) of an image of {left}; "
                        f"all images of a patient must be on one side"
                    )


def _check_unique(entries: Iterable[Mapping[str, Any]], where: str) -> None:
    seen: set[str] = set()
    for entry in entries:
        if entry["id"] in seen:
            raise ValueError(f"{where} has the id {entry['id']!r} twice; ids must differ")
        seen.add(entry["id"])


def _keys(entry: Any) -> str:
    return ", ".join(map(str, entry)) if isinstance(entry, Mapping) else type(entry).__name__
