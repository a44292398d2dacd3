"""As much of a DICOMweb archive as the server asks for, in this process: objects in a list, over HTTP."""

from __future__ import annotations

import io
import json
import threading
from collections import Counter
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

import pydicom
from pydicom.dataset import Dataset

MARK = "parts-of-an-answer"


class SmallArchive:
    """A context manager: an archive of ``objects``, which a test may change at any time."""

    def __init__(self) -> None:
        self.objects: list[Dataset] = []
        self.asked: Counter[str] = Counter()  # last part of the path, such as "metadata", to the number of requests
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"archive": self}))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/dicom-web"

    def __enter__(self) -> SmallArchive:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def series(self, modality: str) -> list[dict[str, object]]:
        of_modality = [one for one in self.objects if modality in ("", one.Modality)]
        count = Counter(str(one.SeriesInstanceUID) for one in of_modality)
        told = {str(one.SeriesInstanceUID): one for one in of_modality}
        tags = ("StudyInstanceUID", "SeriesInstanceUID", "Modality")
        return [
            {**_json(one, tags), "00201209": {"vr": "IS", "Value": [count[series]]}} for series, one in told.items()
        ]

    def of_series(self, series: str) -> list[Dataset]:
        return [one for one in self.objects if one.SeriesInstanceUID == series]


class _Handler(BaseHTTPRequestHandler):
    archive: SmallArchive

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query, parts = parse_qs(address.query), address.path.strip("/").split("/")[1:]
        self.archive.asked[parts[-1] if parts[-1] in ("series", "instances", "metadata") else "objects"] += 1
        if parts == ["series"]:
            found = self.archive.series(query.get("Modality", [""])[0])
        elif parts[-1] == "instances":
            found = [_json(one, ("SOPInstanceUID",)) for one in self.archive.of_series(parts[3])]
        elif parts[-1] == "metadata":
            found = [_json(one) for one in self.archive.of_series(parts[3])]
        else:
            body = b"".join(map(_part, self.archive.of_series(parts[3]))) + f"--{MARK}--\r\n".encode()
            self._answer(body, f'multipart/related; type="application/dicom"; boundary={MARK}')
            return
        self._answer(
            json.dumps(found[int(query.get("offset", ["0"])[0]) :], default=str).encode(), "application/dicom+json"
        )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        _, _, content = body.partition(b"\r\n\r\n")
        self.archive.objects.append(pydicom.dcmread(io.BytesIO(content.rpartition(b"\r\n--")[0])))
        self._answer(b"", "application/dicom+json")

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _json(one: Dataset, tags: Sequence[str] | None = None) -> dict[str, object]:
    told = Dataset()
    told.update({element.tag: element for element in one if element.keyword in tags} if tags else one)
    told.pop("PixelData", None)
    return told.to_json_dict()


def _part(one: Dataset) -> bytes:
    buffer = io.BytesIO()
    one.save_as(buffer, write_like_original=False)
    return f"--{MARK}\r\nContent-Type: application/dicom\r\n\r\n".encode() + buffer.getvalue() + b"\r\n"
