"""A picture as a CR object (PS3.3 A.2), with the varieties that come out of hospitals."""

from __future__ import annotations

import hashlib
import os
import re
import uuid

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    PYDICOM_IMPLEMENTATION_UID,
    UID,
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    RLELossless,
)

WHITE = 4095  # 12 bits stored
MOST_CHARACTERS = 64  # of a Long String (LO) such as PatientID: PS3.5, table 6.2-1
FIELD_MM = 380.0  # height of the plate that the picture shows, near the 35 x 43 cm format


def write_computed_radiograph(
    path: str | os.PathLike[str], picture: np.ndarray, rng: np.random.Generator, *, name: str, patient: str
) -> None:
    """Write ``picture`` with 12 bits in 16, explicit VR little endian, one in twelve compressed as RLE.

    A third is MONOCHROME1 (low is bright), and 60 % name the window to be shown with.

    Args:
        path: the file.
        picture: (H, W) float32 in [0, 1], bright bone.
        rng: source of the varieties.
        name: what the UIDs are derived of; other names give other UIDs.
        patient: names the invented patient; other names give other PatientIDs, see :func:`patient_id`.
    """
    inverted, windowed, compressed = rng.random() < 1 / 3, rng.random() < 0.6, rng.random() < 1 / 12
    black, white = rng.uniform(0, 300), rng.uniform(3300, WHITE)
    stored = np.rint(black + picture * (white - black)).astype("<u2")
    if inverted:
        stored = WHITE - stored

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = derived_uid("image", name)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = derived_uid("study", name)
    dataset.SeriesInstanceUID = derived_uid("series", name)
    # Type 2 elements must be there and may be empty: there is no patient, so there is nothing to say.
    for empty in ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID", "Manufacturer"):
        setattr(dataset, empty, "")
    for empty in ("PatientBirthDate", "PatientSex", "Laterality"):
        setattr(dataset, empty, "")
    dataset.PatientName = "Drawn^Demo"
    dataset.PatientID = patient_id(patient)
    dataset.Modality = "CR"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = "PA"
    dataset.PatientOrientation = ["L", "F"]
    dataset.SeriesNumber, dataset.InstanceNumber = 1, 1

    spacing = f"{FIELD_MM / picture.shape[0]:.4f}"
    dataset.ImagerPixelSpacing = dataset.PixelSpacing = [spacing, spacing]
    if windowed:
        low, high = np.percentile(stored, (1, 99))
        dataset.WindowCenter = f"{(low + high) / 2 + rng.normal(0, 60):.0f}"
        dataset.WindowWidth = f"{max(256.0, (high - low) * rng.uniform(0.9, 1.2)):.0f}"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.add_new("PixelData", "OW", stored.tobytes())
    _save(dataset, path, compressed=compressed)


def patient_id(name: str) -> str:
    """The PatientID of an invented patient: ``DEMO-`` and the name, or a hash of it where it is no plain short text.

    A PatientID in the default repertoire is ASCII, a backslash parts its values, spaces at its ends do not count, and
    what is longer than ``MOST_CHARACTERS`` may be cut: each would make two patients one.
    """
    told = f"DEMO-{name}"
    plain = re.fullmatch(r"[ -[\]-~]+", told) and not told.endswith(" ") and len(told) <= MOST_CHARACTERS
    # A name that looks like a hash is hashed too, so that none is another's hash.
    if plain and not re.fullmatch(r"[0-9a-f]{32}", name):
        return told
    return f"DEMO-{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def derived_uid(*names: str) -> UID:
    """A valid UID that depends on ``names`` alone: a name-based UUID under 2.25 (PS3.5 B.2)."""
    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, '/'.join(('coldstart_segmentation', 'demo', *names))).int}")


def _save(dataset: FileDataset, path: str | os.PathLike[str], *, compressed: bool) -> None:
    modern = hasattr(dataset, "pixel_array_options")  # pydicom 3, which tells the encoding from the transfer syntax
    if not modern:
        dataset.is_little_endian, dataset.is_implicit_VR = True, False
    if compressed:
        uid = dataset.SOPInstanceUID
        dataset.compress(RLELossless)
        # pydicom 3 gives what it compressed a random UID, as if pixels were lost; none are.
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    if modern:
        dataset.save_as(path, enforce_file_format=True)
    else:
        dataset.save_as(path, write_like_original=False)
