"""A PACS of one's own: Debian's Orthanc with its DICOMweb plugin, to annotate DICOM files without a hospital's."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from bundle.data.dicom import is_dicom
from bundle.run.atomic import write_json

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
PLUGIN = "libOrthancDicomWeb.so"
PLUGIN_FOLDERS = ("/usr/share/orthanc/plugins", "/usr/local/share/orthanc/plugins")
START_SECONDS = 120  # Orthanc itself takes two, and looks through a large index before
STOP_SECONDS = 20  # it writes its index to the end
NOTED_EVERY = 100  # files; a killed start sends at most so many again


class Orthanc:
    """A running Orthanc; a context manager that stops it.

    It refuses every other machine, knows no password and speaks DICOMweb alone: no port takes DICOM's own protocol.

    Args:
        folder: holds images, index and settings, readable by its owner alone. What an earlier one left stays.
        log: what it says is added to this file.
        port: to listen on.
    """

    def __init__(self, folder: str | os.PathLike[str], log: str | os.PathLike[str], port: int) -> None:
        self.folder, self._log, self._port = Path(folder), Path(log), port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it speaks DICOMweb."""
        return f"{self._root}/dicom-web"

    def __enter__(self) -> Orthanc:
        """Start it.

        Raises:
            ValueError: it is not installed, or does not answer.
        """
        program, plugin = _program(), _plugin()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        settings = write_json(self.folder / "orthanc.json", self._settings(plugin))
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C must not stop it before the server that writes to it.
            self._process = subprocess.Popen(
                [program, str(settings)], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            self._wait()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def fill(self, images: str | os.PathLike[str]) -> int:
        """Send the DICOM files below a folder that were not sent before, and return how many it has taken.

        What it does not take is told by path, and tried again at the next start.
        """
        root, index = Path(images), self.folder / "sent.json"
        sent = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else {}
        files = sorted(path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
        taken = 0
        for path in tqdm(files, desc="send to Orthanc", unit="file", disable=None):
            name, stamp = str(path.relative_to(root)), f"{path.stat().st_size}:{path.stat().st_mtime_ns}"
            if sent.get(name) == stamp or not is_dicom(path):
                continue
            if self._send(path):
                taken += 1
                sent[name] = stamp
                if taken % NOTED_EVERY == 0:
                    write_json(index, sent)
            else:
                logger.warning("Orthanc does not take %s: it is no sound DICOM file", path)
        write_json(index, sent)
        return taken

    @property
    def _root(self) -> str:
        return f"http://{HOST}:{self._port}"

    def _settings(self, plugin: Path) -> dict[str, object]:
        return {
            "Name": "coldstart_segmentation",
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "index"),
            "Plugins": [str(plugin)],
            "HttpPort": self._port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,  # nobody but this machine reaches it
            "DicomServerEnabled": False,
            "SaveJobs": False,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }

    def _send(self, path: Path) -> bool:
        try:
            with urllib.request.urlopen(f"{self._root}/instances", data=path.read_bytes(), timeout=600):
                return True
        except urllib.error.HTTPError:
            return False

    def _wait(self) -> None:
        assert self._process is not None
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise ValueError(f"Orthanc did not start on port {self._port}; see {self._log}")
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._root}/system", timeout=10):
                return True
        except OSError:
            return False

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _program() -> str:
    """Debian puts the program where only an administrator's search path leads."""
    found = shutil.which("Orthanc", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
    if found is None:
        raise ValueError("Orthanc is not installed: sudo apt-get install orthanc orthanc-dicomweb")
    return found


def _plugin() -> Path:
    for folder in PLUGIN_FOLDERS:
        if (Path(folder) / PLUGIN).is_file():
            return Path(folder) / PLUGIN
    raise ValueError(f"Orthanc's plugin {PLUGIN} is not installed: sudo apt-get install orthanc-dicomweb")
