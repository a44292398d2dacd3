"""What the server does about an archive that does not do what it is asked."""

from __future__ import annotations

import socket
import time

import pytest

from bundle.label import dicomweb
from bundle.label.dicomweb import ArchiveClient, Unreachable


@pytest.mark.parametrize("login", [None, "somebody"])
def test_an_archive_that_accepts_and_never_answers_is_given_up(monkeypatch, login):
    monkeypatch.setattr(dicomweb, "READ_SECONDS", 0.2)
    monkeypatch.setattr(dicomweb.settings, "MONAI_LABEL_DICOMWEB_USERNAME", login)
    monkeypatch.setattr(dicomweb.settings, "MONAI_LABEL_DICOMWEB_PASSWORD", login)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        client = ArchiveClient.connect(f"http://127.0.0.1:{silent.getsockname()[1]}/dicom-web")
        start = time.monotonic()
        with pytest.raises(Unreachable) as told:
            client.series({"Modality": "CR"})
    assert told.value.status_code == 502 and "ReadTimeout" in told.value.detail
    assert time.monotonic() - start < 30
