"""What a drill needs: verbs in processes that may be killed, and results that can be compared."""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import io
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Imported once; every process is then forked from one that has done no work yet.
_PRELOAD = ["monai.bundle", "monai.engines", "matplotlib.pyplot", "sklearn.cluster", "bundle.commands"]
# What differs between two runs of one request: times.
_VOLATILE = ("started", "seconds", "timings")


def run_apart(
    verb: str,
    arguments: Sequence[str],
    *,
    log: Path,
    kill_after: float | None = None,
    prepare: Callable[..., None] | None = None,
    prepare_with: Sequence[Any] = (),
) -> int:
    """Run a verb in a process of its own and give its exit code, negative where a signal ended it.

    Args:
        log: file that gets what it says on stderr and stdout.
        kill_after: seconds of work after which it is killed by SIGKILL, if it still runs.
        prepare: called in the process before the verb, such as to set a limit; it must be importable.
        prepare_with: its arguments.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_perform, args=(verb, list(arguments), log, sender, prepare, tuple(prepare_with)))
    process.start()
    sender.close()
    with contextlib.suppress(EOFError):  # it died before it began
        receiver.recv()
    process.join(kill_after)
    if process.is_alive() and process.pid is not None:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    return int(process.exitcode or 0)


def _perform(
    verb: str, arguments: list[str], log: Path, begun: Any, prepare: Callable[..., None] | None, prepare_with: tuple
) -> None:
    import torch
    from tqdm import tqdm

    from bundle.commands import run_verb

    torch.set_num_threads(1)
    multiprocessing.set_start_method(None, force=True)  # that of any process, for the verb's own workers
    tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system, which a killed process would leave behind
    with (
        log.open("w", encoding="utf-8") as handle,
        contextlib.redirect_stderr(handle),
        contextlib.redirect_stdout(handle),
    ):
        if prepare is not None:
            prepare(*prepare_with)
        begun.send(True)
        code = run_verb(verb, arguments)
    raise SystemExit(code)


def result_of(folder: Path) -> dict[str, Any]:
    """Everything below ``folder`` in a form that is equal for two runs of one request: path to content.

    Times are left out, and so is the folder's own path. Hidden files are there, since a run leaves none behind.
    """
    return {
        str(path.relative_to(folder)): _content(path, str(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """The paths that only one of two results has, or that differ, each with a word on how."""
    told = [f"{name} is missing" for name in wanted if name not in found]
    told += [f"{name} is left over" for name in found if name not in wanted]
    return told + [f"{name} differs" for name in wanted if name in found and wanted[name] != found[name]]


def _content(path: Path, root: str) -> Any:
    if path.suffix == ".pt":
        import torch

        return _steady(torch.load(path, map_location="cpu", weights_only=True))
    if path.suffix == ".html":  # it tells times
        return path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    if path.name == "identity.key":
        return len(path.read_text(encoding="ascii"))
    if path.suffix in (".json", ".csv", ".txt"):
        text = path.read_text(encoding="utf-8").replace(root, "")
        if path.suffix == ".json":
            return _steady(json.loads(text))
        return _steady(list(csv.DictReader(io.StringIO(text)))) if path.suffix == ".csv" else text
    content = path.read_bytes()
    return hashlib.sha256(gzip.decompress(content) if path.suffix == ".gz" else content).hexdigest()


def _steady(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _steady(item) for name, item in value.items() if name not in _VOLATILE}
    if isinstance(value, (list, tuple)):
        return [_steady(item) for item in value]
    if hasattr(value, "numpy"):
        plain = value.detach().cpu().contiguous()
        return [str(plain.dtype), list(plain.shape), hashlib.sha256(plain.numpy().tobytes()).hexdigest()]
    return value
