"""Real MONAI Label servers on free loopback ports, in their own environment, always stopped."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from bundle.data.modality import load_modality
from bundle.network import UNet
from bundle.weights import save_weights

PATIENCE = 600  # s; a server that hangs must end the test, and a busy machine must not
MODEL = "coldstart_dermoscopy_segmentation"


@dataclasses.dataclass
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclasses.dataclass
class Server:
    """A running server and what it works on."""

    process: subprocess.Popen[str]
    address: str
    studies: Path
    out: Path

    def get(self, path: str, **query: Any) -> Answer:
        return self._ask("GET", path, query)

    def delete(self, path: str, **query: Any) -> Answer:
        return self._ask("DELETE", path, query)

    def post(self, path: str, content: Mapping[str, Any] | None = None, **query: Any) -> Answer:
        return self._ask("POST", path, query, json.dumps(content or {}).encode(), "application/json")

    def send(
        self,
        method: str,
        path: str,
        files: Mapping[str, tuple[str, bytes]] | None = None,
        fields: Mapping[str, str] | None = None,
        **query: Any,
    ) -> Answer:
        """A form with files (name: file name and content) and fields."""
        mark = uuid.uuid4().hex
        parts = b""
        for name, value in (fields or {}).items():
            parts += f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, (file, content) in (files or {}).items():
            head = f'--{mark}\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\n\r\n'
            parts += head.encode() + content + b"\r\n"
        return self._ask(
            method, path, query, parts + f"--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"
        )

    def next_sample(self, strategy: str = "coldstart", **params: Any) -> dict[str, Any]:
        answer = self.post(f"/activelearning/{strategy}", params)
        assert answer.status == 200, answer.body
        return answer.json

    def label(self, image: str, mask: Path) -> Answer:
        """Submit a final label."""
        return self.send("PUT", "/datastore/label", {"label": (mask.name, mask.read_bytes())}, image=image)

    def infer(self, model: str = MODEL, *, image: str = "", file: Path | None = None, **params: Any) -> Answer:
        """The predicted mask, of an image of the datastore or of an uploaded file."""
        files = {"file": (file.name, file.read_bytes())} if file else None
        return self.send("POST", f"/infer/{model}", files, {"params": json.dumps(params)}, image=image, output="image")

    def train(self, model: str = MODEL, **params: Any) -> dict[str, Any]:
        """Train to the end; the task's last state."""
        answer = self.post(f"/train/{model}", params)
        assert answer.status == 200, answer.body
        return self.wait_for(lambda: self.ended("train"), "the training")

    def ended(self, kind: str) -> dict[str, Any] | None:
        """The last background task of a kind, once it has ended."""
        answer = self.get(f"/{kind}/")
        return answer.json if answer.status == 200 and answer.json["status"] not in ("SUBMITTED", "RUNNING") else None

    def ranking(self) -> list[str]:
        """The ids in ranked order, as kept on disk."""
        file = self.out / "ranking" / "ranking.json"
        return [row["id"] for row in json.loads(file.read_text())["images"]] if file.is_file() else []

    def wait_for_ranking(self, count: int) -> list[str]:
        return self.wait_for(lambda: ids if len(ids := self.ranking()) >= count else None, f"{count} ranks")

    def wait_for(self, found: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + PATIENCE
        while not (value := found()):
            assert time.monotonic() < end, f"waited in vain for {what}; {self.log()[-3000:]}"
            assert self.process.poll() is None, self.log()[-3000:]
            time.sleep(0.3)
        return value

    def log(self) -> str:
        return (self.out / "logs" / "server.log").read_text(errors="replace")

    def account(self) -> dict[str, Any]:
        """What the datastore holds: the files of the studies with their bytes, and its list."""
        files = {str(p.relative_to(self.studies)): p.read_bytes() for p in self.studies.rglob("*") if p.is_file()}
        files.pop(".lock", None)
        return files

    def stop(self) -> int:
        """What Ctrl-C does; the exit code. Nothing where it was stopped already."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    @property
    def group(self) -> int:
        """The process group of the server and all that it starts."""
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=True)
        return int(children.stdout.split()[0])

    def kill(self) -> None:
        """What a power cut does to the server and all that it started."""
        os.killpg(self.group, signal.SIGKILL)
        self.process.kill()
        self.process.wait(60)

    def _ask(
        self, method: str, path: str, query: Mapping[str, Any], body: bytes | None = None, kind: str = ""
    ) -> Answer:
        url = f"{self.address}{path}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, body, {"Content-Type": kind} if kind else {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return Answer(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read())


def uploads_left(server: Server) -> list[Path]:
    """What clients sent and the server has not removed; background tasks answer in JSON files at the same place."""
    return [path for path in (server.out / "tmp").iterdir() if path.suffix != ".json"]


@pytest.fixture(scope="session")
def label_python(repository: Path) -> Path:
    """The Python of the MONAI Label environment; the test is skipped where it is not asked for."""
    if os.environ.get("COLDSTART_LABEL_TESTS") != "1":
        pytest.skip("set COLDSTART_LABEL_TESTS=1: the environment takes gigabytes and minutes")
    command = ["bash", str(repository / "scripts" / "label_server.sh"), "--install-only"]
    return Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


@pytest.fixture(scope="session")
def run_cli(label_python: Path, repository: Path) -> Callable[..., None]:
    """``run_cli(verb, argument, ...)`` runs a verb in the server's environment, on one thread as the server does."""

    def run(*argv: object) -> None:
        code = "import sys; from bundle.commands import main; sys.exit(main())"
        command = [str(label_python), "-c", code, *map(str, argv)]
        subprocess.run(command, cwd=repository, env=_environment(repository), check=True, capture_output=True)

    return run


@pytest.fixture(scope="session")
def start_server(repository: Path, label_python: Path) -> Iterator[Callable[..., Server]]:  # noqa: ARG001 - or skips
    """``start_server(studies, out, option, ...)`` gives a server that answers."""
    running: list[subprocess.Popen[str]] = []

    def start(studies: Path, out: Path, *options: object) -> Server:
        script = repository / "scripts" / "label_server.sh"
        # A test run that is killed takes its servers along.
        command = [
            "setpriv",
            "--pdeathsig",
            "TERM",
            "bash",
            str(script),
            "--studies",
            str(studies),
            "--out",
            str(out),
            *map(str, options),
        ]
        process = subprocess.Popen(
            command, env=_environment(repository), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        running.append(process)
        assert process.stdout and process.stderr
        first = process.stdout.readline()
        found = re.search(r"http://[\w.:]+", first)
        assert found, first + process.stderr.read()
        return Server(process, found[0].rstrip(";"), studies, out)

    yield start
    for process in running:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


@pytest.fixture(scope="session")
def unskilled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``unskilled(modality)`` gives a weight file that claims to be trained and knows nothing."""

    def draw(modality: str) -> Path:
        kind = load_modality(modality)
        torch.manual_seed(0)
        network = UNet(kind.channels, kind.classes)
        path = tmp_path_factory.mktemp("unskilled") / "model.pt"
        return save_weights(path, network, {"modality": kind.name, "size": kind.size})

    return draw


def _environment(repository: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
