"""Start a MONAI Label server: package the models, lay the app out, set the variables, run it until it is stopped."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bundle.commands import run_verb
from bundle.data.modality import load_modality
from bundle.label.models import PackagedModel
from bundle.label.orthanc import HOST as LOOPBACK
from bundle.label.orthanc import Orthanc
from bundle.label.plan import Plan
from bundle.label.stand_in import write_stand_in
from bundle.run.atomic import OutputExists
from bundle.run.claim import claim_folder
from bundle.run.record import file_fingerprint
from bundle.run.stages import bundle_root

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Start a MONAI Label server for a folder of images or a DICOMweb address, and print its address. Ctrl-C stops it.

  # dermoscopy, with the weights that ship
  bash scripts/label_server.sh --studies photos --modality dermoscopy

  # your own weights of the pretraining, and another strategy
  bash scripts/label_server.sh --studies photos --modality dermoscopy \\
      --weights run/pretrain/model_ssl_pretrained.pt --conf strategy maxherding

  # radiographs of a PACS, or DICOM files in a PACS that is started along; both are seen in the browser, at /ohif
  bash scripts/label_server.sh --studies http://127.0.0.1:8042/dicom-web --modality chest_xray
  bash scripts/label_server.sh --studies dicom --with-orthanc --modality chest_xray

Labels go to STUDIES/labels/final, or into the PACS. Models, ranks and logs go to OUT; the same
command goes on with them.
"""

# Of an archive, which holds more kinds than a folder that was chosen to be annotated.
SEARCHED = {"radiograph": "CR,DX", "picture": "XC,DMS"}
ADDRESS = "COLDSTART_LABEL_ADDRESS"  # the variable that tells background tasks where their server is
HOST = "127.0.0.1"  # MONAI Label asks nobody for a password unless told to: docs/how-to/monai-label.md
START_SECONDS = 600  # imports alone take a minute on a busy machine
STOP_SECONDS = 10  # for open requests; what is still there then is killed


def main(argv: Sequence[str] | None = None) -> int:
    """Run a server as the options say; the exit code is 0 when it was stopped."""
    args = parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as Ctrl-C, so that what was started is stopped
    try:
        with contextlib.ExitStack() as started:
            app = lay_out(args)
            if args.with_orthanc:
                orthanc = started.enter_context(
                    Orthanc(app.folder / "orthanc", app.folder / "logs" / "orthanc.log", free_port(LOOPBACK))
                )
                logger.info("%d new files are in Orthanc at %s", orthanc.fill(app.studies), orthanc.address)
                app = dataclasses.replace(app, studies=orthanc.address)
            return serve(app, host=args.host, port=args.port or free_port(args.host))
    except KeyboardInterrupt:
        return 0
    except (ValueError, OSError) as error:
        print(f"label_server: {error}", file=sys.stderr)
        return 2


@dataclasses.dataclass(frozen=True)
class App:
    """A laid-out app.

    Attributes:
        folder: what ``monailabel start_server --app`` is given.
        studies: the images' folder or address.
        conf: its ``--conf`` pairs.
        search: what images of an archive must match, DICOM attribute to value.
    """

    folder: Path
    studies: str
    conf: Mapping[str, str]
    search: Mapping[str, str]


def lay_out(args: argparse.Namespace) -> App:
    """Make OUT an app with every model packaged; what an earlier start of the same command left stays.

    Raises:
        ValueError: an option that cannot be; OUT belongs to another request.
    """
    conf = dict(args.conf)
    Plan.from_conf(conf)
    remote = args.studies.startswith(("http://", "https://"))
    if remote and args.with_orthanc:
        raise ValueError(f"--with-orthanc takes a folder of DICOM files as --studies, got {args.studies}")
    if not remote and not Path(args.studies).is_dir():
        raise ValueError(f"--studies must be a folder of images or an http address, got {args.studies}")
    studies = args.studies if remote else str(Path(args.studies).resolve())
    given = {name: file_fingerprint(path) for name, path in (("ssl", args.weights), ("model", args.model)) if path}
    request = {"studies": studies, "modality": _fingerprints(args.modality), "weights": given}
    try:
        folder = claim_folder(Path(args.out).resolve(), request, overwrite=False)
    except OutputExists:
        raise ValueError(
            f"--out {args.out} belongs to a server of other studies, modalities or weights, and holds its model and "
            f"ranks: give another --out"
        ) from None
    names = [_package(modality, folder / "model", args.weights, args.model) for modality in args.modality]
    main_py = _stock_app() if args.stock else bundle_root() / "scripts" / "label_app" / "main.py"
    shutil.copyfile(main_py, folder / "main.py")
    for name in ("tmp", "sessions", "logs", "bin", "lib"):
        (folder / name).mkdir(exist_ok=True)
    conf = {"models": ",".join(names), "zoo_source": "local", "sam2": "false", **conf}
    return App(folder, studies, conf, {"Modality": SEARCHED[load_modality(args.modality[0]).reader]})


def serve(app: App, *, host: str, port: int) -> int:
    """Run the server until SIGINT or SIGTERM; print its address once it answers.

    Returns:
        0 when it was stopped, else the server's exit code.
    """
    command = [str(Path(sys.executable).with_name("monailabel")), "start_server"]
    address = f"http://{host}:{port}"
    command += ["--app", str(app.folder), "--studies", app.studies, "--host", host, "--port", str(port)]
    for name, value in app.conf.items():
        command += ["--conf", name, value]
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _: stopped.append(got))
    with (app.folder / "logs" / "server.log").open("ab") as log:
        # A session of its own: trainings are the server's children, and all end together.
        process = subprocess.Popen(
            command,
            env=environment(app.folder, app.search, address),
            cwd=app.folder / "bin",  # an id that is a file's name here would be taken for that file
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        return _watch(process, address, app.folder / "logs" / "server.log", stopped)
    finally:
        _end(process)


def _watch(process: subprocess.Popen[bytes], address: str, log: Path, stopped: Sequence[int]) -> int:
    """Print the address once the server answers, and wait for its end; its exit code, or 0 once ``stopped`` is filled.

    Raises:
        ValueError: it does not answer.
    """

    def over() -> bool:
        return bool(stopped) or process.poll() is not None

    if not _wait(lambda: over() or answers(address), START_SECONDS):
        raise ValueError(f"the server did not answer within {START_SECONDS} s; see {log}")
    if not over():
        print(f"MONAI Label is at {address}; Ctrl-C stops it, its log is {log}", flush=True)
        _wait(over)
    if stopped:
        return 0
    print(_last_lines(log), file=sys.stderr)
    print(f"label_server: the server has ended, see {log}", file=sys.stderr)
    return process.returncode or 1


def environment(folder: Path, search: Mapping[str, str], address: str) -> dict[str, str]:
    """The variables of the server's process."""
    paths = [str(bundle_root()), *filter(None, [os.environ.get("PYTHONPATH")])]
    defaults = {
        # The app lists a folder by itself; these are for MONAI Label's own app and its remote datastores.
        "MONAI_LABEL_DATASTORE_FILE_EXT": json.dumps(
            ["*.dcm", "*.png", "*.jpg", "*.jpeg", "*.jfif", "*.tif", "*.nii.gz"]
        ),
        "MONAI_LABEL_DICOMWEB_CONVERT_TO_NIFTI": "false",  # the conversion loses window and photometric interpretation
        "MONAI_LABEL_DICOMWEB_SEARCH_FILTER": json.dumps(search),
        "MONAI_LABEL_DICOMWEB_CACHE_EXPIRY": "1",  # s; with the default of two hours a labelled image is served again
        "MONAI_LABEL_TRACKING_ENABLED": "false",
    }
    return {
        **defaults,
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join(paths),
        "TMPDIR": str(folder / "tmp"),  # uploads; the app reads no other file that a client names
        "MONAI_LABEL_SESSION_PATH": str(folder / "sessions"),
        ADDRESS: address,
        "PYTHONUNBUFFERED": "1",
    }


def free_port(host: str) -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def answers(address: str) -> bool:
    """Whether the server at ``address`` answers."""
    try:
        with urllib.request.urlopen(f"{address}/info/", timeout=30) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="label_server.sh", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", required=True, metavar="DIR|URL", help="folder of images, or DICOMweb address")
    parser.add_argument(
        "--modality",
        required=True,
        action="append",
        help="dermoscopy, chest_xray or your own YAML file; given twice, both models are served and the first ranks",
    )
    parser.add_argument("--weights", metavar="W", help="SSL weights (default: those shipped for the modality)")
    parser.add_argument("--model", metavar="M", help="fine-tuned weights to begin with (default: those shipped)")
    parser.add_argument("--out", default="run/label", metavar="DIR", help="models, ranks, logs (default: run/label)")
    parser.add_argument("--host", default=HOST, help=f"address to listen on (default: {HOST})")
    parser.add_argument("--port", type=int, help="port to listen on (default: one that is free)")
    parser.add_argument(
        "--conf",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="strategy, option.NAME, budget, criterion, seed or lease_minutes; may be given several times",
    )
    parser.add_argument(
        "--with-orthanc", action="store_true", help="copy the DICOM files of --studies into a PACS of this server's own"
    )
    parser.add_argument("--stock", action="store_true", help="MONAI Label's own app for bundles, without the ranking")
    return parser


def _fingerprints(modalities: Sequence[str]) -> list[str]:
    """What tells modalities apart: the name, and of a YAML file of one's own its content, too.

    Raises:
        ValueError: two of one name, which would share a package.
    """
    names = [load_modality(modality).name for modality in modalities]
    if len(set(names)) < len(names):
        raise ValueError(f"--modality must name each modality once, and files of different names; got {modalities}")
    return [f"{Path(m).stem} {file_fingerprint(m)}" if _is_own(m) else m for m in modalities]


def _is_own(modality: str) -> bool:
    """Whether a modality is a file of one's own."""
    return Path(modality).suffix in (".yaml", ".yml")


def _package(modality: str, folder: Path, weights: str | None, model: str | None) -> str:
    """Package ``modality`` into ``folder`` unless it is there, and return the bundle's name."""
    name = f"coldstart_{Path(modality).stem}_segmentation"
    if not (folder / name).is_dir():
        argv = ["--modality", modality, "--out", str(folder)]
        if weights:
            argv += ["--ssl-weights", str(Path(weights).resolve())]
        if not model and _is_own(modality):  # no weights ship for a modality of one's own
            model = str(write_stand_in(folder.parent / "untrained.pt", modality, weights))
        if model:
            argv += ["--model", str(Path(model).resolve())]
        with contextlib.redirect_stdout(sys.stderr):  # the only line on stdout is the address
            failed = run_verb("package_bundle", argv, prog="label_server.sh")
        if failed:
            raise ValueError(f"the bundle of {modality} could not be packaged, see above")
    PackagedModel.load(folder / name)
    return name


def _stock_app() -> Path:
    path = Path(sys.prefix) / "monailabel" / "sample-apps" / "monaibundle" / "main.py"
    if not path.is_file():
        raise ValueError(f"MONAI Label's own app is not at {path}; is this its environment?")
    return path


def _wait(holds: Callable[[], bool], seconds: float = float("inf")) -> bool:
    """Look every half second until ``holds``, or for ``seconds``."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop the server and all that it started, politely at first."""
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        if _wait(lambda: process.poll() is not None and not _alive(process.pid), seconds):
            break
    process.wait()


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _last_lines(path: Path, count: int = 15) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


if __name__ == "__main__":
    sys.exit(main())
