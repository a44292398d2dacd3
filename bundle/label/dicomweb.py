"""A DICOMweb archive: what this project asks it for (PS3.18, QIDO-RS and WADO-RS) and stores in it (STOW-RS)."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import create_session_from_user_pass
from fastapi import HTTPException
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMwebClientX
from pydicom import config as pydicom_config
from pydicom.dataset import Dataset
from requests import Session
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException

CONNECT_SECONDS = 5.0  # a machine of the same network takes milliseconds; a lost packet is sent again after 1 and 3
READ_SECONDS = 60.0  # of silence, not of a whole answer: a large archive thinks that long about a list of all series
ATTEMPTS = 2  # one more for an archive that is busy for a moment; the server serves nobody else meanwhile

_UID = re.compile(r"[0-9.]{1,64}")  # PS3.5 9.1; it becomes a file's name
_AS_STORED = (("application/dicom", "*"),)  # else the archive decompresses what it sends
_COUNT = "00201209"  # NumberOfSeriesRelatedInstances, which PS3.18 10.6.3.3 has an archive tell of every series


class Unreachable(HTTPException):
    """The archive does not do what it is asked: the server answers with 502 and ``detail``."""

    def __init__(self, reason: str) -> None:
        super().__init__(502, reason)


@dataclasses.dataclass(frozen=True)
class Series:
    """A series in the archive.

    Attributes:
        uid: its SeriesInstanceUID.
        study: StudyInstanceUID of the study that it belongs to.
        modality: the defined term, such as ``CR``.
        count: how many objects it has; None where the archive does not tell.
    """

    uid: str
    study: str
    modality: str
    count: int | None = None


class TimedAdapter(HTTPAdapter):
    """Gives up on an archive that says nothing; ``requests`` by itself waits for ever."""

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Send ``request``, within the time of the constants above."""
        return super().send(request, *args, **{**kwargs, "timeout": (CONNECT_SECONDS, READ_SECONDS)})


class ArchiveClient:
    """Asks a DICOMweb archive. Every method raises :class:`Unreachable` where the archive fails.

    Args:
        client: knows the address and the login.
    """

    def __init__(self, client: DICOMwebClient) -> None:
        self._client = client
        self.address = str(client.base_url)

    @classmethod
    def connect(cls, address: str) -> ArchiveClient:
        """A client for ``address``, with login and URL prefixes from MONAI Label's variables."""
        login = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
        session = create_session_from_user_pass(*login) if all(login) else Session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, TimedAdapter())
        # MONAI Label's own client also takes an archive that names another content type than the standard.
        client = DICOMwebClientX(
            url=address,
            session=session,
            qido_url_prefix=settings.MONAI_LABEL_QIDO_PREFIX,
            wado_url_prefix=settings.MONAI_LABEL_WADO_PREFIX,
            stow_url_prefix=settings.MONAI_LABEL_STOW_PREFIX,
        )
        client.set_http_retry_params(max_attempts=ATTEMPTS)
        return cls(client)

    def series(self, wanted: Mapping[str, Any]) -> list[Series]:
        """The series that match ``wanted``, sorted by UID, each once.

        Args:
            wanted: attribute to its value. Several values of Modality, as a list or parted by commas, are asked for
                one after the other: the standard matches one value only.
        """
        terms = wanted.get("Modality") or [""]
        found = {}
        for term in terms.split(",") if isinstance(terms, str) else terms:
            asked = {**wanted, "Modality": term} if term else dict(wanted)
            with self._asked("list series"):
                answer = self._client.search_for_series(search_filters=asked, fields=[_COUNT], get_remaining=True)
            found.update({one.uid: one for one in map(_series, answer) if one is not None})
        return [found[uid] for uid in sorted(found)]

    def headers(self, series: Series) -> list[Dataset]:
        """All objects of a series without their pixels."""
        with self._asked("send a header"), pydicom_config.disable_value_validation():
            answer = self._client.retrieve_series_metadata(series.study, series.uid)
            return [Dataset.from_json(item, bulk_data_uri_handler=lambda *_: None) for item in answer]

    def instances(self, series: Series) -> list[str]:
        """The SOPInstanceUIDs of a series."""
        with self._asked("list a series"):
            answer = self._client.search_for_instances(series.study, series.uid, get_remaining=True)
            return [_first(item, "00080018") for item in answer]

    def objects(self, series: Series) -> list[Dataset]:
        """All objects of a series, in the transfer syntax that they are stored in."""
        with self._asked("send a series"), pydicom_config.disable_value_validation():
            return list(self._client.retrieve_series(series.study, series.uid, media_types=_AS_STORED))

    def store(self, made: Dataset) -> None:
        """Store an object."""
        with self._asked("store an object"), pydicom_config.disable_value_validation():
            answer = self._client.store_instances([made])
        if answer.get("FailedSOPSequence"):
            code = answer.FailedSOPSequence[0].get("FailureReason", "unknown")
            raise Unreachable(f"the archive at {self.address} refused to store an object, reason {code} (PS3.18 I.2)")

    @contextlib.contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        """Tell what failed without the client's message, which holds identifiers."""
        try:
            yield
        except (RequestException, OSError) as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            cause = f"HTTP {status}" if status else type(error).__name__
            raise Unreachable(f"the archive at {self.address} did not {what}: {cause}") from None
        except Exception as error:  # an answer that is no DICOM JSON, or no multipart
            cause = type(error).__name__
            raise Unreachable(f"the archive at {self.address} did not {what} as DICOMweb asks: {cause}") from None


def _series(item: Mapping[str, Any]) -> Series | None:
    """A series of an answer in DICOM JSON (PS3.18 F.2); None where an identifier is missing or no UID."""
    uid, study = _first(item, "0020000E"), _first(item, "0020000D")
    if not _UID.fullmatch(uid) or not _UID.fullmatch(study) or {uid, study} & {".", ".."}:
        return None
    count = _first(item, _COUNT)
    return Series(uid, study, _first(item, "00080060"), int(count) if count.isdecimal() else None)


def _first(item: Mapping[str, Any], tag: str) -> str:
    values: Sequence[Any] = item.get(tag, {}).get("Value") or ("",)
    return str(values[0])
