"""A folder of annotations: which files they are, whose, of which image, and the label that comes of it.

Pictures of class indices are labels as they lie. Everything else, and whatever several people drew, is drawn into a
folder of its own::

    datalist_labels/
        used/<id>.png               what the datalist names
        annotators/NAME/<id>.png    what each person drew, where a rule for several was given
        agreement.csv               Dice of every two of them on every image
        sources.csv                 which file each mask comes from
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bundle.data import dicom, nifti, nrrd
from bundle.data.annotations import coco, cvat
from bundle.data.annotations.annotation import Annotation, Grid
from bundle.data.annotations.annotators import RULES, agreement, combine
from bundle.data.annotations.matching import MASK_PICTURES, PLANES, ImageIndex, last_part, mask_stem, without_ending
from bundle.data.annotations.names import AnyName, LabelNames
from bundle.data.annotations.placement import place_mask
from bundle.data.annotations.segmentation_object import is_segmentation, read_segmentation
from bundle.data.identity import path_of_id, strip_suffix
from bundle.data.masks import read_mask_with_place, write_mask
from bundle.data.modality import Modality
from bundle.data.pictures import UnreadableImage
from bundle.data.split import Entry
from bundle.data.threads import in_threads
from bundle.data.tree import walk
from bundle.run.atomic import atomic_folder
from bundle.run.claim import REQUEST
from bundle.run.quarantine import Quarantine
from bundle.run.record import FILE_NAME as RECORD
from bundle.run.table import write_csv

logger = logging.getLogger(__name__)

SOURCES_FILE = "sources.csv"
AGREEMENT_FILE = "agreement.csv"
UNREAD = (".webp", ".npy", ".npz", ".mat", ".pgm", ".jp2")  # formats that masks come in and are not read
STRANGERS = 0.2  # a mean Dice below which two folders hardly hold two people's masks of the same thing
FULL, MOSTLY = 0.98, 0.7  # parts of an image: a mask that leaves nothing out, and what no median lesion or lung fills
ODD = 0.1  # part of the masks that may be full or empty without a question
ONE_PERSON = ""  # the annotator of everything where no rule for several was given


@dataclasses.dataclass
class _Outcome:
    """What became of the annotations of one image."""

    label: Path | None = None
    cover: float | None = None  # part of the image that the label marks
    faults: list[tuple[Path, str]] = dataclasses.field(default_factory=list)
    sources: list[dict[str, str]] = dataclasses.field(default_factory=list)
    dice: dict[tuple[str, str], float] = dataclasses.field(default_factory=dict)


class AnnotationFolder:
    """Annotations and how they are to be read.

    Args:
        place: resolved folder, or one file.
        modality: gives the labels.
        names: finds the class of a name.
        rule: how several people's masks of one image become one, see ``annotators.RULES``; None where there is one
            person. With a rule the first folder below ``place`` is the annotator's name, or, for CVAT and COCO files
            that lie there themselves, the file's name. With ``union`` and several labels that folder may also be
            called as ``names`` knows a label: its pictures then mark that label alone.
        whole: with ``union``, an image has a label only where every folder has a mask of it: others are on their way.
        drawn: folder for the masks that have to be drawn; replaced if an earlier listing has left it.

    Attributes:
        place: as given.
        folder: that folder, or the one of the file.
        root: the folder that labels lie below, once they are attached.
    """

    def __init__(
        self,
        place: Path,
        *,
        modality: Modality,
        names: LabelNames,
        rule: str | None = None,
        whole: bool = False,
        drawn: Path | None = None,
    ) -> None:
        if rule is not None and rule not in RULES:
            raise ValueError(f"the rule for several annotators must be one of {', '.join(RULES)}, got {rule!r}")
        self.place, self.folder = place, place if place.is_dir() else place.parent
        self.root = self.folder
        self._modality, self._names, self._drawn = modality, names, drawn
        self._rule, self._whole = rule, whole

    def files(self, images: Path) -> list[Path]:
        """The annotation files, sorted. Among the images themselves only what cannot be an image is taken for one."""
        if self.place.is_file():
            return [self.place]
        found = list(walk(self.folder, {images} - {self.folder}, drawn=True))
        if self.folder != images:
            return sorted(path for path in found if _is_annotation(path))
        stems = {strip_suffix(path.name) for path in found}
        return sorted(
            path
            for path in found
            if _ends(path, (*nrrd.SUFFIXES, cvat.SUFFIX, coco.SUFFIX))
            or (_ends(path, PLANES) and without_ending(mask_stem(path.name)) in stems)
            or is_segmentation(path)
        )

    def attach(
        self,
        entries: Sequence[Entry],
        files: Sequence[Path],
        *,
        index: ImageIndex,
        images: Mapping[str, tuple[Path, tuple[int, int]]],
        quarantine: Quarantine,
    ) -> None:
        """Give entries the label that fits them; what fits none, or is broken, goes to ``quarantine``.

        Args:
            entries: changed in place.
            files: of :meth:`files`.
            images: path of every image as entries have it, to its file and (rows, columns).
        """
        chosen = self._chosen(files, index, quarantine)
        if self._rule == "union":
            chosen = self._with_their_parts(chosen)

        def draw(entry: Entry, folder: Path | None) -> _Outcome:
            return self._draw(entry["id"], *images[entry["image"]], chosen.get(entry["id"], {}), folder)

        if self._rule is None and all(_ends(path, (*MASK_PICTURES, *UNREAD)) for path in files):
            outcomes = in_threads(functools.partial(draw, folder=None), entries, "decode masks")
        elif self._drawn is None:
            raise ValueError("these annotations must be drawn as masks first, so a folder for these is needed")
        else:
            # A listing that was killed has left a folder without its datalist, so this one may always be replaced.
            with atomic_folder(self._drawn, overwrite=True, mark=SOURCES_FILE) as folder:
                outcomes = in_threads(functools.partial(draw, folder=folder), entries, "draw masks")
                self._write_tables(folder, entries, outcomes)
                (folder / "used").mkdir(exist_ok=True)
            self.root = self._drawn / "used"
        for entry, outcome in zip(entries, outcomes, strict=True):
            for path, reason in outcome.faults:
                quarantine.add(path, f"{reason}; not used for image {entry['id']}")
            if outcome.label is not None:
                entry["label"] = outcome.label.as_posix()
        _tell([outcome.cover for outcome in outcomes if outcome.cover is not None])

    def _with_their_parts(self, chosen: Mapping[str, dict[str, Annotation]]) -> dict[str, dict[str, Annotation]]:
        """What images of a union to go on with; those without a mask in every folder are counted, or left out."""
        folders = {folder for given in chosen.values() for folder in given}
        structures = {self._structure(folder) for folder in folders}
        wanted = set(range(1, self._modality.classes))
        # A part is missing as well while its folder has not been begun.
        begun = len(folders) > 1 and (len(wanted) == 1 or None in structures or structures >= wanted)
        whole = {name: given for name, given in chosen.items() if begun and len(given) == len(folders)}
        kept = whole if self._whole else dict(chosen)
        lacking = len(chosen) - sum(len(given) == len(folders) for given in chosen.values())
        if self._whole and len(kept) < len(chosen):
            logger.warning("%d images wait for a part of their mask and have no label yet", len(chosen) - len(kept))
        elif lacking:
            logger.warning("%d images have a mask in some folders only, and count as empty in the others", lacking)
        return kept

    def _chosen(
        self, files: Sequence[Path], index: ImageIndex, quarantine: Quarantine
    ) -> dict[str, dict[str, Annotation]]:
        """Id to annotator to the one annotation of that image."""
        found: defaultdict[str, dict[str, Annotation]] = defaultdict(dict)
        ranks: dict[tuple[str, str], tuple[bool, bool]] = {}
        read: list[tuple[str, Annotation]] = []
        for path in files:
            try:
                annotator, annotations = self._read(path)
            except UnreadableImage as error:
                quarantine.add(path, f"unreadable mask: {error.reason}")
                continue
            read += [(annotator, annotation) for annotation in annotations]
        # A mask may lie in another folder than its image, as long as no other one has its name.
        names = Counter((annotator, last_part(annotation.image)) for annotator, annotation in read)
        for annotator, given in read:
            only = bool(given.image) and names[annotator, last_part(given.image)] == 1
            annotation = dataclasses.replace(given, loose=given.loose or only)
            named = f"{given.image}: " if given.loose else ""  # behind the colon, up to which reasons are counted
            match = index.find(annotation)
            if match is None:
                quarantine.add(given.source, f"mask without an image: {named}no image of its name, or several")
            elif match.id is not None:  # else its image is in quarantine, which says enough
                given_to, best = found[match.id], ranks.get((match.id, annotator))
                if best is None or match.rank > best:
                    aside, why = [given_to.pop(annotator, None)], "another mask has it"
                    given_to[annotator], ranks[match.id, annotator] = annotation, match.rank
                elif match.whole or match.rank < best:
                    aside, why = [annotation], "another mask has it"
                else:  # one of them may be of an image outside of the set, and nothing tells which
                    aside, why = [annotation, given_to.pop(annotator, None)], "another mask fits as well"
                for other in filter(None, aside):
                    quarantine.add(other.source, f"mask without an image: {named}{why}")
        return {identifier: given for identifier, given in found.items() if given}

    def _read(self, path: Path) -> tuple[str, list[Annotation]]:
        """Whose a file is and what is in it."""
        if not path.resolve().is_relative_to(self.folder):
            raise UnreadableImage(path, "a link that leaves the folder of the masks")
        relative = path.relative_to(self.folder)
        annotator = ONE_PERSON
        if self._rule is not None:
            if len(relative.parts) > 1:
                annotator, relative = relative.parts[0], Path(*relative.parts[1:])
            elif _ends(path, (cvat.SUFFIX, coco.SUFFIX)):
                annotator = path.stem
            else:
                raise UnreadableImage(
                    path, "nobody's: with several annotators masks lie in a folder of each one's name"
                )
        if _ends(path, (cvat.SUFFIX,)):
            return annotator, cvat.read_cvat(path, self._names)
        if _ends(path, (coco.SUFFIX,)):
            return annotator, coco.read_coco(path, self._names)
        if _ends(path, PLANES):
            label = self._structure(annotator)
            if label == 0:
                return annotator, []
            draw = functools.partial(_draw_plane, path, self._modality, self._names, label)
            return annotator, [Annotation(path, draw, image=mask_stem(relative.as_posix()))]
        if not is_segmentation(path):
            if dicom.is_dicom(path):
                raise UnreadableImage(path, "DICOM, but no segmentation")
            raise UnreadableImage(path, "masks in this format are not read; store them as PNG, unpack an archive")
        return annotator, read_segmentation(path, self._names)

    def _structure(self, folder: str) -> int | None:
        """The one class of all masks in a folder; 0 where they are left out, None where they hold class indices."""
        if self._rule != "union" or len(self._modality.labels) == 1:
            return None
        try:
            return self._names.index(folder) or 0
        except ValueError:  # a person's name
            return None

    def _draw(
        self,
        identifier: str,
        image: Path,
        size: tuple[int, int],
        annotations: Mapping[str, Annotation],
        folder: Path | None,
    ) -> _Outcome:
        """Draw the annotations of one image; into ``folder``, or only to see whether they can be used."""
        outcome = _Outcome()
        if not annotations:
            return outcome
        grid = Grid(*size, nifti.read_affine(image) if nifti.is_nifti(image) else None)
        masks: dict[str, np.ndarray] = {}
        for annotator, annotation in sorted(annotations.items()):
            try:
                mask = annotation.draw(grid)
            except UnreadableImage as error:
                outcome.faults.append((annotation.source, f"unreadable mask: {error.reason}"))
                continue
            except (ValueError, OverflowError) as error:
                outcome.faults.append((annotation.source, f"wrong mask: {error}"))
                continue
            if mask.shape != size:
                got, wanted = (f"{shape[1]} x {shape[0]}" for shape in (mask.shape, size))
                outcome.faults.append((annotation.source, f"mask of another size: {got}, its image has {wanted}"))
                continue
            masks[annotator] = mask
            source = annotation.source.relative_to(self.folder).as_posix()
            outcome.sources.append({"id": identifier, "annotator": annotator, "source": source})
        if not masks or (self._rule == "union" and outcome.faults):  # part of a union would be a wrong mask
            return outcome
        classes = self._modality.classes
        used = masks[ONE_PERSON] if self._rule is None else combine(masks, classes, self._rule)
        outcome.cover = float((used > 0).mean())
        if folder is None:
            outcome.label = annotations[ONE_PERSON].source.relative_to(self.folder)
            return outcome
        target = write_mask(path_of_id(folder / "used", identifier, ".png"), used, classes)
        outcome.label = target.relative_to(folder / "used")
        if self._rule is not None:
            outcome.dice = agreement(masks, classes)
            for annotator, mask in masks.items():
                write_mask(path_of_id(folder / "annotators" / annotator, identifier, ".png"), mask, classes)
        return outcome

    def _write_tables(self, folder: Path, entries: Sequence[Entry], outcomes: Sequence[_Outcome]) -> None:
        sources = [row for outcome in outcomes for row in outcome.sources]
        write_csv(folder / SOURCES_FILE, sources, ["id", "annotator", "source"])
        if self._rule is None:
            return
        rows: list[dict[str, Any]] = []
        pairs: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        for entry, outcome in zip(entries, outcomes, strict=True):
            for (a, b), dice in outcome.dice.items():
                rows.append({"id": entry["id"], "annotator_a": a, "annotator_b": b, "dice": round(dice, 5)})
                pairs[a, b].append(dice)
        write_csv(folder / AGREEMENT_FILE, rows, ["id", "annotator_a", "annotator_b", "dice"])
        for (a, b), scores in sorted(pairs.items()):
            mean = sum(scores) / len(scores)
            logger.info("%s and %s agree with a mean Dice of %.3f on %d images", a, b, mean, len(scores))
            if mean < STRANGERS and self._rule != "union":
                logger.warning("%s and %s drew different things; structures in a folder each want `union`", a, b)


def _tell(covers: Sequence[float]) -> None:
    """Say what the masks mark, and so loudly where that looks like masks that were read the wrong way."""
    if not covers:
        return
    full, empty = sum(cover > FULL for cover in covers), sum(cover == 0 for cover in covers)
    doubtful = full + empty > len(covers) * ODD or float(np.median(covers)) > MOSTLY
    logger.log(
        logging.WARNING if doubtful else logging.INFO,
        "%d masks mark %.0f %% to %.0f %% of their image, in the median %.0f %%; %d mark nearly all, %d nothing%s",
        len(covers),
        *(100 * float(np.quantile(covers, q)) for q in (0, 1, 0.5)),
        full,
        empty,
        ": look at some, they may be inverted or of another kind" if doubtful else "",
    )


def _ends(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.name.lower().endswith(suffixes)


def _is_annotation(path: Path) -> bool:
    if path.name in (RECORD, REQUEST):  # of a run whose masks a person has corrected
        return False
    return _ends(path, (*PLANES, *UNREAD, cvat.SUFFIX, coco.SUFFIX)) or dicom.is_dicom(path)


def _draw_plane(path: Path, modality: Modality, names: LabelNames, label: int | None, grid: Grid) -> np.ndarray:
    """The mask in a file; where all of it is one ``label``, whatever value or name it is stored with."""
    if label is None:
        mask, affine = read_mask_with_place(path, labels=modality.labels, names=names)
        return place_mask(mask, affine, grid)
    mask, affine = read_mask_with_place(path, labels=modality.labels[label - 1 : label], names=AnyName())
    return place_mask((mask > 0) * np.uint8(label), affine, grid)
