"""Words of the DICOM standard that may be shown. What is none of them may be anybody's name, and is not."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import UID, UID_dictionary

from bundle.data.modality import PHOTOGRAPHS, RADIOGRAPHS

# PS3.3 C.7.3.1.1.1: waveforms, documents, plans and derived objects, some of which carry pixels all the same.
NOT_IMAGES = {
    *("AU", "DOC", "ECG", "EEG", "EMG", "EOG", "EPS", "FID", "HD", "KO", "M3D", "PLAN", "PR", "REG", "RESP", "RWV"),
    *("RTDOSE", "RTINTENT", "RTPLAN", "RTRAD", "RTRECORD", "RTSEGANN", "RTSTRUCT", "SEG", "SMR", "SR", "STAIN", "TG"),
}
MODALITIES = {
    *RADIOGRAPHS,
    *PHOTOGRAPHS,
    *NOT_IMAGES,
    *("AR", "ASMT", "BDUS", "BI", "BMD", "CFM", "CT", "CTPROTOCOL", "DG", "IVOCT", "IVUS", "KER", "LEN", "LS", "MR"),
    *("NM", "OAM", "OCT", "OPM", "OPR", "OPT", "OPTBSV", "OPTENF", "OPV", "OSS", "PA", "POS", "PT", "RTIMAGE", "SM"),
    *("SRF", "TEXTUREMAP", "US", "VA", "XAPROTOCOL"),
}
# PS3.16 Annex L: those that photographs and radiographs are made of, and the wider regions.
BODY_PARTS = {
    *("ABDOMEN", "ABDOMENPELVIS", "ANKLE", "ARM", "AXILLA", "BACK", "BODY", "BREAST", "CALCANEUS", "CALF", "CHEEK"),
    *("CHEST", "CHESTABDOMEN", "CHESTABDPELVIS", "CLAVICLE", "COCCYX", "CSPINE", "CTSPINE", "EAR", "ELBOW"),
    *("EXTREMITY", "EYE", "EYELID", "FACE", "FEMUR", "FINGER", "FOOT", "FOREARM", "HAND", "HEAD", "HEADNECK"),
    *("HEART", "HIP", "HUMERUS", "JAW", "KNEE", "LEG", "LIP", "LOWERLEG", "LSPINE", "LSSPINE", "LUNG", "MAXILLA"),
    *(
        "NECK",
        "NECKCHEST",
        "NECKCHESTABDOMEN",
        "NECKCHESTABDPELV",
        "NOSE",
        "ORBIT",
        "PATELLA",
        "PELVIS",
        "RIB",
        "SCALP",
    ),
    *("SCALP", "SCAPULA", "SHOULDER", "SKIN", "SKULL", "SPINE", "SSPINE", "STERNUM", "THIGH", "THUMB", "TIBIAFIBULA"),
    *("TLSPINE", "TMJ", "TOE", "TSPINE", "ULNA", "WHOLEBODY", "WRIST", "ZYGOMA"),
}
OTHER = "another word"  # in place of what the standard does not know
ABSENT = "not told"


def term(value: object, known: set[str]) -> str:
    """A code string in capitals where it is ``known``, else ``OTHER``, or ``ABSENT`` where there is none."""
    text = str(value or "").strip().upper()
    return (text if text in known else OTHER) if text else ABSENT


def uid_name(value: object) -> str:
    """The standard's name of a SOP class or transfer syntax, else ``OTHER`` or ``ABSENT``."""
    text = str(value or "").strip()
    return (UID(text).name if text in UID_dictionary else OTHER) if text else ABSENT


def object_name(dataset: Dataset) -> str:
    """What kind of object a data set is, in the standard's words: ``CT (CT Image Storage)``."""
    return f"{term(dataset.get('Modality'), MODALITIES)} ({uid_name(dataset.get('SOPClassUID'))})"
