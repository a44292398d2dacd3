"""What a folder holds before anything is made of it: kinds, formats, sizes, and what would be set aside and why.

Of DICOM tags only words and names of the standard are told, and numbers. What is none of them is counted as another
word, since text may hold a name; patients are counted and not told apart.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from bundle.data import dicom, dicom_terms, nifti, pictures
from bundle.data.dicom_terms import ABSENT, OTHER, term, uid_name
from bundle.data.frames import split_frame
from bundle.data.identity import Pseudonyms
from bundle.data.inventory import NothingUsable, take_inventory
from bundle.data.modality import PHOTOGRAPHS, RADIOGRAPHS, Modality
from bundle.data.pictures import UnreadableImage
from bundle.data.split import Entry
from bundle.data.tree import ImageTree
from bundle.run.quarantine import Quarantine

# Where no modality is given: all that one of the bundle's readers takes, grey.
ANY = Modality(
    name="any",
    description="images of any kind",
    channels=1,
    reader="radiograph",
    labels=("any",),
    dicom_modalities=tuple(dict.fromkeys((*RADIOGRAPHS, *PHOTOGRAPHS))),
)
COLUMNS = (
    *("path", "format", "modality", "body_part", "object", "transfer_syntax", "rows", "columns", "bits", "frames"),
    *("photometric", "shown_by", "spacing", "burned_in", "usable"),
)
COUNTED = (
    *("format", "modality", "body_part", "object", "transfer_syntax", "size", "bits", "frames", "photometric"),
    *("shown_by", "spacing", "burned_in"),
)
PHOTOMETRIC = {
    *("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"),
    *("YBR_PARTIAL_420", "YBR_PARTIAL_422", "HSV", "ARGB", "CMYK", "XYB"),
}
HEADER_TAGS = [
    *("SOPClassUID", "Modality", "BodyPartExamined", "Rows", "Columns", "BitsStored", "NumberOfFrames"),
    *("PhotometricInterpretation", "BurnedInAnnotation", "WindowCenter", "WindowWidth", "VOILUTSequence"),
    *(*dicom.SPACING_TAGS, "PatientID", "StudyInstanceUID"),
]


@dataclasses.dataclass
class Inspection:
    """What was found.

    Attributes:
        rows: one a file that is an image or claims to be one, with ``COLUMNS``.
        entries: the images that a datalist would have, with ``id`` and ``image``, sorted by id.
        patients: different PatientIDs, and ``studies`` different StudyInstanceUIDs, in readable headers.
        others: files that neither are nor claim to be images.
    """

    rows: list[dict[str, Any]]
    entries: list[Entry]
    patients: int
    studies: int
    others: int

    def counts(self) -> dict[str, dict[str, int]]:
        """Of each of ``COUNTED`` how often which value occurs, the most frequent first."""
        found: dict[str, Counter[str]] = {name: Counter() for name in COUNTED}
        for row in self.rows:
            size = f"{row['columns']} x {row['rows']}" if row["rows"] else ""
            for name in COUNTED:
                value = size if name == "size" else row[name]
                if value != "":
                    found[name][str(value)] += 1
        return {name: dict(counter.most_common()) for name, counter in found.items() if counter}


def inspect_images(
    tree: ImageTree, *, quarantine: Quarantine, modality: Modality = ANY, frames: str = "first"
) -> Inspection:
    """Look at every file below ``tree``, and decode every image, as the listing of a datalist would.

    Args:
        tree: the folder; it is not written to.
        quarantine: gets what a listing would set aside.
        modality: what kind of image is wanted.
        frames: as of ``make_datalist``.
    """
    try:
        # Nothing of the entries but their path is told, so nothing needs hiding.
        pseudonyms = Pseudonyms(tree.root / "no key", keep=True)
        entries, _ = take_inventory(
            tree, modality=modality, pseudonyms=pseudonyms, quarantine=quarantine, frames=frames
        )
    except NothingUsable:
        entries = []
    usable = {split_frame(tree.path_of(entry["image"]))[0] for entry in entries}
    inspection = Inspection([], entries, 0, 0, 0)
    patients, studies = set(), set()
    files = list(tree.files(Quarantine()))
    for path in tqdm(files, desc="read headers", disable=None, leave=False):
        facts = _facts(path)
        if facts is None:
            inspection.others += 1
            continue
        row: dict[str, Any] = {**dict.fromkeys(COLUMNS, ""), **facts, "path": tree.relative(path)}
        patients.add(row.pop("patient", ""))
        studies.add(row.pop("study", ""))
        inspection.rows.append({**row, "usable": "yes" if path in usable else "no"})
    inspection.patients, inspection.studies = len(patients - {""}), len(studies - {""})
    return inspection


def _facts(path: Path) -> dict[str, Any] | None:
    """What a file's header tells; None of a file that is no image by name or content."""
    if dicom.is_dicom(path):
        return _dicom_facts(path)
    name = path.name.lower()
    if nifti.is_nifti(path):
        return {"format": "NIfTI"}
    if name.endswith(pictures.SUFFIXES):
        return _picture_facts(path)
    return {"format": "unreadable"} if name.endswith(dicom.SUFFIXES) else None


def _dicom_facts(path: Path) -> dict[str, Any]:
    try:
        header = dicom.read_header(path, HEADER_TAGS)
        table, width = bool(header.get("VOILUTSequence")), header.get("WindowWidth")
        return {
            "format": "DICOM",
            "modality": term(header.get("Modality"), dicom_terms.MODALITIES),
            "body_part": term(header.get("BodyPartExamined"), dicom_terms.BODY_PARTS),
            "object": uid_name(header.get("SOPClassUID")),
            "transfer_syntax": uid_name(getattr(header, "file_meta", {}).get("TransferSyntaxUID")),
            "rows": _whole(header.get("Rows")),
            "columns": _whole(header.get("Columns")),
            "bits": _whole(header.get("BitsStored")),
            "frames": _whole(header.get("NumberOfFrames")) or 1,
            "photometric": term(header.get("PhotometricInterpretation"), PHOTOMETRIC),
            "shown_by": "lookup table" if table else "percentiles" if width in (None, "") else "window",
            "spacing": "told" if dicom.pixel_spacing(header) else ABSENT,
            "burned_in": term(header.get("BurnedInAnnotation"), {"YES", "NO"}),
            "patient": str(header.get("PatientID") or "").strip(),
            "study": str(header.get("StudyInstanceUID") or "").strip(),
        }
    except UnreadableImage:
        return {"format": "DICOM"}


def _picture_facts(path: Path) -> dict[str, Any]:
    try:
        with Image.open(path, formats=pictures.FORMATS) as image:
            return {
                "format": image.format or OTHER,
                "rows": image.height,
                "columns": image.width,
                "frames": getattr(image, "n_frames", 1),
                "photometric": image.mode,
            }
    except Exception:  # a broken file raises nearly anything; the quarantine tells why
        return {"format": "unreadable"}


def _whole(value: Any) -> int | str:
    try:
        return int(value)
    except (TypeError, ValueError):
        return ""
