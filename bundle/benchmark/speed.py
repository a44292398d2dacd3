"""How fast each stage is beside the plain way of doing it, and beside what the machine allows."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset, Dataset
from monai.engines import SupervisedTrainer
from PIL import Image

from bundle.benchmark.plain_ways import (
    PlainPretraining,
    as_plain_items,
    plain_decode,
    plain_inference,
    plain_trainer,
    published_distortion,
)
from bundle.benchmark.stopwatch import Speed, matrix_rate, operations, side_by_side
from bundle.data.demo.computed_radiograph import write_computed_radiograph
from bundle.data.modality import Modality, load_modality
from bundle.data.sampling import StepSeed, endless_loader
from bundle.data.transforms import preprocessing
from bundle.network import PretrainingNetwork, UNet
from bundle.numerics import PrecisionInferer, choose_precision, prepare_network
from bundle.pretraining.distortions import distort
from bundle.pretraining.step import Pretrainer, PretrainingStep
from bundle.pretraining.views import view_side
from bundle.run.history import History
from bundle.run.seeds import derive_seed, numpy_stream
from bundle.run.workflow import run_workflow
from bundle.schedule import cosine_schedule
from bundle.segmentation.losses import DeepSupervisionLoss
from bundle.segmentation.trainer import FiniteLoss, Schedule
from bundle.weights import save_weights

CPU = torch.device("cpu")
BATCH = 16  # images a training step, as train.yaml has it
POOL = 64  # images that the steps draw from
PICTURE = (1024, 768)  # width and height of a dermoscopy JPEG as cameras give it, in pixels
RADIOGRAPH = 2048  # side of a radiograph, in pixels


def training_step(modality: Modality, folder: Path, *, steps: int, repeats: int, seed: int) -> Speed:
    """Fine-tuning with augmentation, loss and optimiser; the rate is of whole engine steps."""
    images, labels = _drawn(modality, seed)
    plain = plain_trainer(as_plain_items(images, labels), modality, batch_size=BATCH, steps=steps)
    bundle, step = _trainer(images, labels, modality, folder, steps=steps, seed=seed)
    precision = choose_precision(CPU)
    work = operations(step) / BATCH
    rates = side_by_side({"plain": plain.run, "bundle": bundle.run}, steps * BATCH, repeats)
    return Speed(
        f"training step, {modality.size}x{modality.size}, batch {BATCH}",
        rates["plain"],
        rates["bundle"],
        3.2,
        f"{work / 1e9:.2f} GFLOP",
        matrix_rate(precision) / work,
        f"plain: fp32, NCHW, dictionary transforms per sample, in one process; here {precision}, channels_last",
    )


def pretraining_step(modality: Modality, folder: Path, *, steps: int, repeats: int, seed: int) -> Speed:
    """Contrast of two views and restoration, the objective ``joint`` without the contrast of places."""
    images, labels = _drawn(modality, seed)
    side = view_side(modality.size)
    plain = PlainPretraining(as_plain_items(images, labels), modality, size=side, batch_size=BATCH)
    torch.manual_seed(derive_seed(seed, "benchmark"))
    network = PretrainingNetwork(UNet(modality.channels, modality.classes))
    prepare_network(network, CPU)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-4, fused=True)
    precision = choose_precision(CPU)
    step = PretrainingStep(
        network,
        optimizer,
        cosine_schedule(optimizer, 10_000),
        modality=modality,
        images=POOL,
        objective="joint",
        precision=precision,
        seed=seed,
        local_weight=0.0,
    )
    items = [{"image": image, "index": i} for i, image in enumerate(images)]
    loader = endless_loader(Dataset(items), batch_size=BATCH, seed=seed)
    history = History(folder / "history.csv", ["loss"])
    trainer = Pretrainer(CPU, 1, loader, steps, step, [history])
    batch = next(iter(loader))
    work = operations(lambda: step(trainer, batch)) / BATCH
    rates = side_by_side({"plain": lambda: plain.run(steps), "bundle": trainer.run}, steps * BATCH, repeats)
    return Speed(
        f"SSL step (two views of {side}x{side} and restoration), batch {BATCH}",
        rates["plain"],
        rates["bundle"],
        4.0,
        f"{work / 1e9:.2f} GFLOP",
        matrix_rate(precision) / work,
        f"plain: fp32, NCHW, dictionary transforms per sample; here {precision}, channels_last, views of whole batches",
    )


def distortions(modality: Modality, folder: Path, *, steps: int, repeats: int, seed: int) -> Speed:  # noqa: ARG001
    """Models Genesis at 256x256; the plain way takes a twentieth of the images, its cost an image being the same."""
    torch.manual_seed(derive_seed(seed, "benchmark"))
    images = torch.rand(64, modality.channels, 256, 256)
    few = images[:4].numpy()
    rng = numpy_stream(seed, "benchmark", "published")
    plain = side_by_side({"plain": lambda: [published_distortion(image, rng) for image in few]}, len(few), repeats)
    rates = side_by_side(
        {"bundle": lambda: distort(images, modality.augmentation), "copy": images.clone}, len(images), repeats
    )
    size = images[0].nbytes
    return Speed(
        "Models Genesis distortions, 256x256",
        plain["plain"],
        rates["bundle"],
        25.0,
        f"{2 * size / 1e6:.1f} MB moved",
        rates["copy"],
        "plain: per-image loop with 10 000 shuffle windows; floor: a copy of the images",
    )


def whole_epoch(modality: Modality, folder: Path, *, steps: int, repeats: int, seed: int) -> Speed:
    """Everything that an epoch is, against network, loss and optimiser alone on one batch in memory."""
    images, labels = _drawn(modality, seed)
    trainer, step = _trainer(images, labels, modality, folder, steps=steps, seed=seed)

    def bare() -> None:
        for _ in range(steps):
            step()

    rates = side_by_side({"bare": bare, "epoch": trainer.run}, steps * BATCH, repeats)
    return Speed(
        "whole epoch against the bare step",
        rates["bare"],
        rates["epoch"],
        0.9,
        f"{operations(step) / BATCH / 1e9:.2f} GFLOP",
        rates["bare"],
        f"images from the cache in memory, {choose_precision(CPU)}; the first epoch is not counted",
    )


def decode(modality: Modality, folder: Path, *, steps: int, repeats: int, seed: int) -> list[Speed]:  # noqa: ARG001
    """A cold folder of each format onto the canvas, and then from the cache. The page cache is emptied before a run."""
    rows = []
    radiograph = load_modality("chest_xray")
    kinds = (
        ("JPEG", f"{PICTURE[0]}x{PICTURE[1]} RGB", modality, 48),
        ("PNG", f"{PICTURE[0]}x{PICTURE[0]} grey", radiograph, 32),
        ("DICOM", f"{RADIOGRAPH}x{RADIOGRAPH} of 12 bits", radiograph, 16),
    )
    for format_, shape, kind, count in kinds:
        files = _files(folder / format_, format_, count, seed)
        entries = [{"id": file.stem, "image": str(file)} for file in files]
        held: dict[str, CacheDataset] = {}

        def plain(files: list[Path] = files, kind: Modality = kind) -> None:
            _forget(files)
            plain_decode(files, kind.size)

        def cold(
            files: list[Path] = files, kind: Modality = kind, entries: list[dict] = entries, held: dict = held
        ) -> None:
            _forget(files)
            held["cache"] = CacheDataset(
                entries, preprocessing(kind, cached=True), num_workers=len(os.sched_getaffinity(0)), progress=False
            )

        def cached(held: dict = held, count: int = count) -> None:
            for i in range(count):
                held["cache"][i]

        rates = side_by_side({"plain": plain, "bundle": cold, "cached": cached}, count, repeats)
        size = statistics.fmean(file.stat().st_size for file in files)
        rows.append(
            Speed(
                f"decode {format_}, {shape}",
                rates["plain"],
                rates["bundle"],
                1.8,
                f"{size / 1e6:.2f} MB",
                None,
                f"plain: PIL or pydicom in one process; from the cache {rates['cached'] / rates['bundle']:.0f} times "
                f"as fast (reach 20)",
            )
        )
    return rows


def inference(modality: Modality, folder: Path, *, images: int, repeats: int, seed: int) -> list[Speed]:
    """A folder of images to masks on disk, in fp32 and in the precision that the machine is best at."""
    files = _files(folder / "images", "small JPEG", images, seed)
    torch.manual_seed(derive_seed(seed, "benchmark"))
    network = UNet(modality.channels, modality.classes).eval()
    save_weights(folder / "model.pt", network, {"modality": modality.name, "size": modality.size})

    def predict(precision: str) -> None:
        run_workflow(
            "infer",
            {
                "dataset_dir": folder / "images",
                "output_dir": folder / precision,
                "modality": modality.name,
                "model": folder / "model.pt",
                "precision": precision,
            },
        )

    ways: dict[str, Callable[[], object]] = {
        "plain": lambda: plain_inference(files, modality, network, folder / "plain"),
        "fp32": lambda: predict("fp32"),
    }
    if choose_precision(CPU) == "bf16":
        ways["bf16"] = lambda: predict("bf16")
    rates = side_by_side(ways, images, repeats)
    with torch.inference_mode():
        work = operations(lambda: network(torch.rand(1, modality.channels, modality.size, modality.size)))
    rows = []
    for precision in [name for name in ways if name != "plain"]:
        differ = _differing(folder / "plain", folder / precision)
        rows.append(
            Speed(
                f"inference, {images} images of 256x256 to masks, {precision}",
                rates["plain"],
                rates[precision],
                4.0,
                f"{work / 1e9:.2f} GFLOP",
                matrix_rate(precision) / work,
                f"plain: MONAI's evaluator, batch 1, fp32, files decoded twice; {differ:.1e} of the pixels differ",
            )
        )
    return rows


def start(modality: Modality, folder: Path, *, steps: int, repeats: int, seed: int) -> list[Speed]:  # noqa: ARG001
    """Commands a second, from the shell to the first useful work: here a request with no image, which is refused."""
    (folder / "empty").mkdir(parents=True)
    datalist = folder / "datalist.json"
    datalist.write_text('{"modality": "dermoscopy", "root": "empty", "pool": []}', encoding="utf-8")
    weights = folder / "model.pt"
    save_weights(weights, UNet(3, 2), {"modality": "dermoscopy", "size": 128})
    data, empty, out = ["--datalist", str(datalist)], str(folder / "empty"), ["--out", str(folder / "out")]
    commands = {
        "make_datalist": ["--images", empty, "--modality", "dermoscopy", "--out", str(folder / "new.json")],
        "pretrain": [*data, *out],
        "embed": [*data, *out, "--weights", str(weights)],
        "train": [*data, *out, "--warm-start", "none"],
        "evaluate": [*data, *out, "--model", str(weights)],
        "infer": ["--images", empty, "--modality", "dermoscopy", "--model", str(weights), *out],
    }
    measured = _seconds({"import": [sys.executable, "-c", "import monai.bundle"]}, repeats)["import"]
    helped = _seconds({verb: [*_front(), verb, "--help"] for verb in commands}, repeats)
    begun = _seconds({verb: [*_front(), verb, *words] for verb, words in commands.items()}, repeats, folder / "out")
    slowest_help, slowest = max(helped, key=lambda v: helped[v]), max(begun, key=lambda v: begun[v])
    return [
        Speed(
            f"start of {slowest}, the slowest command",
            1 / measured,
            1 / begun[slowest],
            measured / (measured + 1.5),
            f"{begun[slowest]:.2f} s, of which `import monai.bundle` takes {measured:.2f}",
            None,
            "; ".join(f"{verb} {seconds:.2f} s" for verb, seconds in begun.items()),
        ),
        Speed(
            f"--help of {slowest_help}, the slowest",
            1 / measured,
            1 / helped[slowest_help],
            measured / 0.5,
            f"{helped[slowest_help]:.2f} s, reach 0.5 s",
            None,
            "plain: `import monai.bundle`",
        ),
    ]


STAGES: dict[str, Callable[..., Any]] = {
    "train": training_step,
    "pretrain": pretraining_step,
    "distort": distortions,
    "epoch": whole_epoch,
    "decode": decode,
    "start": start,
}


def measure(stage: str, folder: Path, *, steps: int, repeats: int, images: int, seed: int) -> Sequence[Speed]:
    """Measure one of ``STAGES`` or ``infer``, on drawn images of dermoscopy; ``folder`` is new and removed after."""
    modality = load_modality("dermoscopy")
    folder.mkdir(parents=True)
    try:
        if stage == "infer":
            return inference(modality, folder, images=images, repeats=repeats, seed=seed)
        found = STAGES[stage](modality, folder, steps=steps, repeats=repeats, seed=seed)
    finally:
        shutil.rmtree(folder)
    return found if isinstance(found, list) else [found]


def _drawn(modality: Modality, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``POOL`` random canvases and labels, uint8."""
    rng = numpy_stream(seed, "benchmark", "pool")
    side = modality.size
    images = rng.integers(0, 256, (POOL, modality.channels, side, side), dtype=np.uint8)
    labels = rng.integers(0, modality.classes, (POOL, 1, side, side), dtype=np.uint8)
    return torch.from_numpy(images), torch.from_numpy(labels)


def _trainer(
    images: torch.Tensor, labels: torch.Tensor, modality: Modality, folder: Path, *, steps: int, seed: int
) -> tuple[SupervisedTrainer, Callable[[], object]]:
    """The engine that train.yaml describes, and its network, loss and optimiser alone on one fixed batch."""
    torch.manual_seed(derive_seed(seed, "benchmark"))
    network = prepare_network(UNet(modality.channels, modality.classes), CPU)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    loss, inferer = DeepSupervisionLoss(), PrecisionInferer(CPU)
    items = [{"image": image, "label": label} for image, label in zip(images, labels, strict=True)]
    trainer = SupervisedTrainer(
        device=CPU,
        max_epochs=1,
        train_data_loader=endless_loader(Dataset(items), batch_size=BATCH, seed=seed),
        epoch_length=steps,
        network=network,
        optimizer=optimizer,
        loss_function=loss,
        inferer=inferer,
        prepare_batch=StepSeed(seed, modality.augmentation),
        train_handlers=[
            History(folder / "history.csv"),
            FiniteLoss(),
            Schedule(cosine_schedule(optimizer, 10_000)),
        ],
        decollate=False,
    )
    fixed = images[:BATCH].float() / 255

    def step() -> None:
        network.train()
        optimizer.zero_grad()
        loss(inferer(fixed, network), labels[:BATCH]).backward()
        optimizer.step()

    return trainer, step


def _files(folder: Path, format_: str, count: int, seed: int) -> list[Path]:
    """``count`` smooth pictures with some noise, which compress as photographs do."""
    folder.mkdir(parents=True)
    rng = numpy_stream(seed, "benchmark", format_)
    side = {"JPEG": PICTURE, "PNG": (PICTURE[0],) * 2, "DICOM": (RADIOGRAPH,) * 2}.get(format_, (256, 256))
    channels = 3 if "JPEG" in format_ else 1
    files = []
    for i in range(count):
        coarse = rng.integers(30, 226, (max(2, side[1] // 64), max(2, side[0] // 64), channels), dtype=np.uint8)
        smooth = Image.fromarray(coarse if channels == 3 else coarse[..., 0]).resize(side, Image.Resampling.BICUBIC)
        values = np.asarray(smooth, dtype=np.float32)
        values += rng.standard_normal(values.shape, dtype=np.float32) * 2
        file = folder / f"{i:05d}.{ {'PNG': 'png', 'DICOM': 'dcm'}.get(format_, 'jpg') }"
        if format_ == "DICOM":
            write_computed_radiograph(file, values / 255, rng, name=f"{seed}/{i}", patient=str(i))
        else:
            Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(file)
        files.append(file)
    return files


def _forget(files: Sequence[Path]) -> None:
    """Let the system drop the files from its page cache, so that they are read from the disk again (Linux)."""
    for file in files:
        handle = os.open(file, os.O_RDONLY)
        try:
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def _differing(first: Path, second: Path) -> float:
    """The share of pixels in which two folders of PNG masks differ."""
    pairs = [(file, second / file.name) for file in sorted(first.glob("*.png"))]
    return statistics.fmean(float((np.asarray(Image.open(a)) != np.asarray(Image.open(b))).mean()) for a, b in pairs)


def _front() -> list[str]:
    return [sys.executable, "-c", "import sys; from bundle.commands import main; sys.exit(main())"]


def _seconds(commands: dict[str, list[str]], repeats: int, out: Path | None = None) -> dict[str, float]:
    """Median wall time of each command, which may fail; ``out`` is removed after each."""
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, words in commands.items():
            begun = time.perf_counter()
            subprocess.run(words, capture_output=True, check=False, timeout=600)
            found[name].append(time.perf_counter() - begun)
            if out is not None and out.exists():
                shutil.rmtree(out)
    return {name: statistics.median(values) for name, values in found.items()}
