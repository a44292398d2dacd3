"""The one knob: a modality sets channels, reader, labels and the augmentations its anatomy allows.

A modality is a small YAML file. The two that ship lie in ``bundle/data/modalities``; a third is a file of the user's
own, given by its path wherever a modality is asked for::

    # jsrt.yaml
    description: lungs, heart and clavicles in frontal chest radiographs
    channels: 1
    reader: radiograph
    labels: [lung, heart, clavicle]
    size: 128
    augmentation: {flip: [], rotation: 10, scale: [0.9, 1.1], shift: 0.05,
                   brightness: 0.1, contrast: [0.8, 1.25], gamma: [0.7, 1.4], colour: 0.0}
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

READERS = ("picture", "radiograph")
# PS3.3 C.7.3.1.1.1, and names of old exports: what is projected or photographed, a plane by itself.
RADIOGRAPHS = ("CR", "DX", "DR", "RG", "RF", "XA", "MG", "PX", "IO", "OT", "SC")
PHOTOGRAPHS = ("XC", "DMS", "GM", "ES", "OP", "OT", "SC")
_SHIPPED = Path(__file__).parent / "modalities"


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How far a random change may go without leaving the anatomy or the appearance of the modality.

    Attributes:
        flip: axes that may be mirrored, out of ``"x"`` (left to right) and ``"y"`` (top to bottom).
        rotation: largest angle to either side, degrees, 0 to 180.
        scale: smallest and largest zoom, 1 is none.
        shift: largest displacement as a fraction of the side, 0 to 1.
        brightness: largest additive change; images are in [0, 1].
        contrast: smallest and largest factor about the image's mean.
        gamma: smallest and largest exponent on [0, 1].
        colour: largest additive change of each channel on its own.
    """

    flip: tuple[str, ...] = ()
    rotation: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0
    brightness: float = 0.0
    contrast: tuple[float, float] = (1.0, 1.0)
    gamma: tuple[float, float] = (1.0, 1.0)
    colour: float = 0.0


@dataclasses.dataclass(frozen=True)
class Code:
    """A term of a coding scheme, as DICOM writes it (PS3.3 8.1).

    Attributes:
        value: the code; SNOMED CT's are numbers, kept as text.
        scheme: designator of the coding scheme, such as ``SCT`` for SNOMED CT.
        meaning: what the code says, in words, 1 to 64 characters.
    """

    value: str
    scheme: str
    meaning: str

    def __post_init__(self) -> None:
        _require(bool(self.value), "codes value", "a code", self.value)
        _require(0 < len(self.scheme) <= 16, "codes scheme", "a designator of 1 to 16 characters", self.scheme)
        _require(0 < len(self.meaning) <= 64, "codes meaning", "1 to 64 characters", self.meaning)


@dataclasses.dataclass(frozen=True)
class LabelCode(Code):
    """The code of a label's structure, and of the category that it belongs to (PS3.16 CID 7150)."""

    category: Code


@dataclasses.dataclass(frozen=True)
class Modality:
    """What a kind of image is.

    Attributes:
        name: the file's stem.
        description: one phrase for reports.
        channels: channels of the network's input, 1 (grey) or 3 (RGB).
        reader: ``"picture"`` (photographs: PNG, JPEG, DICOM) or ``"radiograph"`` (DICOM, and grey pictures).
        labels: names of the foreground structures; the mask value of ``labels[i]`` is ``i + 1``, background is 0.
        size: side in pixels of the square canvas the network sees; a multiple of 16.
        augmentation: what random change the modality allows.
        data_source: the images that the shipped weights learned from, for the metadata; empty where none are shipped.
        codes: the coded term of a label, for DICOM segmentations; a label without one is a "Body structure".
        dicom_modalities: the DICOM objects that are of this kind, by their tag Modality; others are set aside. None
            given are those of the reader: ``RADIOGRAPHS`` or ``PHOTOGRAPHS``.
        parts: how many connected parts a label has in an image that shows it whole, such as 2 for lungs; masks with
            another number are flagged, and specks beside large parts dropped. A label without an entry may have any.
        skin: what lies around the labels is bare skin, so that scores are also told by its tone.
    """

    name: str
    description: str
    channels: int
    reader: str
    labels: tuple[str, ...]
    size: int = 128
    augmentation: Augmentation = Augmentation()
    data_source: str = ""
    codes: Mapping[str, LabelCode] = dataclasses.field(default_factory=dict, hash=False)
    dicom_modalities: tuple[str, ...] = ()
    parts: Mapping[str, int] = dataclasses.field(default_factory=dict, hash=False)
    skin: bool = False

    def __post_init__(self) -> None:
        _require(self.channels in (1, 3), "channels", "1 or 3", self.channels)
        _require(self.reader in READERS, "reader", f"one of {', '.join(READERS)}", self.reader)
        _require(0 < len(self.labels) < 255, "labels", "1 to 254 names", self.labels)
        _require(len(set(self.labels)) == len(self.labels), "labels", "names that differ", self.labels)
        _require(self.size > 0 and self.size % 16 == 0, "size", "a multiple of 16", self.size)
        _require(set(self.augmentation.flip) <= {"x", "y"}, "augmentation.flip", "x, y or none", self.augmentation.flip)
        for name, entries in (("codes", self.codes), ("parts", self.parts)):
            _require(set(entries) <= set(self.labels), name, f"of {', '.join(self.labels)}", list(entries))
        for number in self.parts.values():
            _require(isinstance(number, int) and number > 0, "parts", "whole numbers from 1", number)
        _require(not self.skin or self.channels == 3, "skin", "false where there is no colour", self.skin)
        if not self.dicom_modalities:
            own = RADIOGRAPHS if self.reader == "radiograph" else PHOTOGRAPHS
            object.__setattr__(self, "dicom_modalities", own)

    @property
    def classes(self) -> int:
        """Number of output channels: background and every label."""
        return len(self.labels) + 1

    @property
    def channel_names(self) -> dict[int, str]:
        """Output channel to its name, background first, as ``channel_def`` of metadata.json has it."""
        return dict(enumerate(("background", *self.labels)))


def available_modalities() -> list[str]:
    """Names of the modalities that ship with the bundle."""
    return sorted(path.stem for path in _SHIPPED.glob("*.yaml"))


def load_modality(name: str | os.PathLike[str] | Modality) -> Modality:
    """Load a shipped modality by its name or one of the user's own by the path of its YAML file.

    Raises:
        ValueError: the name is unknown, or an entry of the file is unknown, missing or out of range.
    """
    if isinstance(name, Modality):
        return name
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = _SHIPPED / f"{name}.yaml"
    if not path.is_file():
        raise ValueError(
            f"modality {str(name)!r} is unknown: give one of {', '.join(available_modalities())} "
            f"or the path of a YAML file that describes your own (see bundle/data/modality.py)"
        )
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a mapping of modality entries, got {type(content).__name__}")
    augmentation = _build(Augmentation, content.pop("augmentation", {}), f"{path}: augmentation")
    codes = _build_codes(content.pop("codes", None) or {}, f"{path}: codes")
    return _build(Modality, {"name": path.stem, "augmentation": augmentation, "codes": codes, **content}, str(path))


def _build_codes(entries: Any, where: str) -> dict[str, LabelCode]:
    """Label to its code."""
    codes = {}
    for label, entry in _texts(entries, where).items():
        place = f"{where}: {label}"
        terms = _texts(entry, place)
        if "category" in terms:
            terms["category"] = _build(Code, _texts(terms["category"], f"{place}: category"), f"{place}: category")
        codes[label] = _build(LabelCode, terms, place)
    return codes


def _texts(entries: Any, where: str) -> dict[str, Any]:
    """A mapping with its numbers as text: YAML takes a code of digits for one."""
    if not isinstance(entries, dict):
        raise ValueError(f"{where} must be a mapping, got {type(entries).__name__}")
    return {str(name): entry if isinstance(entry, dict) else str(entry) for name, entry in entries.items()}


def _build(kind: Any, entries: dict[str, Any], where: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name in entries:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(fields)}"
            raise ValueError(f"{where} has the unknown entry {name!r}{hint}")
    missing = [
        n
        for n, f in fields.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and n not in entries
    ]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}")
    return kind(**{n: tuple(v) if isinstance(v, list) else v for n, v in entries.items()})


def _require(holds: bool, entry: str, rule: str, value: object) -> None:
    if not holds:
        raise ValueError(f"modality entry {entry!r} must be {rule}, got {value!r}")
