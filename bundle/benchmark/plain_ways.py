"""The plain ways that the stages are held against: MONAI as its tutorials use it, and the methods as published."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.inferers import SimpleInferer
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    EnsureType,
    Invertd,
    RandAdjustContrastd,
    RandAffined,
    RandCoarseDropoutd,
    RandCoarseShuffled,
    RandFlipd,
    RandGaussianSmoothd,
    RandHistogramShiftd,
    RandScaleIntensityd,
    RandShiftIntensityd,
)
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import RandomSampler

from bundle.data.modality import Augmentation, Modality
from bundle.data.reader import read_image
from bundle.data.transforms import preprocessing
from bundle.network import PretrainingNetwork, UNet
from bundle.pretraining.contrast import MomentumContrast
from bundle.pretraining.step import RESTORATION_WEIGHT
from bundle.segmentation.losses import DeepSupervisionLoss
from bundle.segmentation.postprocessing import WithoutSpecksd

WINDOWS = 10_000  # of the published local shuffling


def random_transforms(limits: Augmentation, size: int, *, label: bool = False) -> Compose:
    """The augmentation of a modality as MONAI's dictionary transforms, for one sample at a time."""
    keys = ["image", "label"] if label else ["image"]
    modes = ("bilinear", "nearest") if label else ("bilinear",)
    turn, zoom, shift = np.deg2rad(limits.rotation), limits.scale[1] - 1, limits.shift * size
    return Compose(
        [
            *(RandFlipd(keys, prob=0.5, spatial_axis="xy".index(axis)) for axis in limits.flip),
            RandAffined(
                keys,
                prob=1.0,
                rotate_range=turn,
                scale_range=(zoom, zoom),
                translate_range=(shift, shift),
                spatial_size=(size, size),
                mode=modes,
                padding_mode="reflection",
            ),
            RandAdjustContrastd("image", prob=1.0, gamma=limits.gamma),
            RandScaleIntensityd("image", factors=limits.contrast[1] - 1, prob=1.0),
            RandShiftIntensityd("image", offsets=limits.brightness, prob=1.0),
        ]
    )


def plain_trainer(
    items: Sequence[dict[str, Any]], modality: Modality, *, batch_size: int, steps: int
) -> SupervisedTrainer:
    """Fine-tuning in fp32 and NCHW, with dictionary transforms of every sample, on items that are in memory."""
    network = UNet(modality.channels, modality.classes)
    transforms = random_transforms(modality.augmentation, modality.size, label=True)
    # One pass is as long as the epoch: started again, ignite takes the length of the loader in place of epoch_length.
    drawn = RandomSampler(items, replacement=True, num_samples=steps * batch_size)
    return SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=DataLoader(Dataset(items, transforms), batch_size=batch_size, sampler=drawn),
        epoch_length=steps,
        network=network,
        optimizer=torch.optim.AdamW(network.parameters(), lr=1e-3),
        loss_function=DeepSupervisionLoss(),
        inferer=SimpleInferer(),
    )


class PlainPretraining:
    """Contrast of two views and restoration of a third, every one made sample by sample; fp32 and NCHW.

    Args:
        items: ``image``, MetaTensors (C, size, size) in [0, 1].
        modality: gives channels and augmentation.
        size: side of the views.
        batch_size: images a step.
    """

    def __init__(self, items: Sequence[dict[str, Any]], modality: Modality, *, size: int, batch_size: int) -> None:
        self.network = PretrainingNetwork(UNet(modality.channels, modality.classes)).train()
        self.contrast = MomentumContrast(self.network, len(items))
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-3)
        view = Compose(
            [*random_transforms(modality.augmentation, size).transforms, RandGaussianSmoothd("image", prob=0.5)]
        )
        distort = Compose(
            [
                RandCoarseShuffled("image", holes=5, spatial_size=modality.size // 10, prob=0.5),
                RandHistogramShiftd("image", num_control_points=4, prob=0.9),
                RandCoarseDropoutd("image", holes=5, spatial_size=modality.size // 4, prob=0.9),
            ]
        )

        def sample(item: dict[str, Any]) -> dict[str, Any]:
            first, second, hidden = (change({"image": item["image"]})["image"] for change in (view, view, distort))
            return {"first": first, "second": second, "distorted": hidden, "image": item["image"], "id": item["index"]}

        self.loader = DataLoader(Dataset(items, sample), batch_size=batch_size, shuffle=True, drop_last=True)

    def run(self, steps: int) -> None:
        """Train for ``steps`` steps."""
        batches = self._batches()
        for _ in range(steps):
            batch = next(batches)
            self.optimizer.zero_grad()
            query, key = self.network.project(batch["first"]), self.contrast.keys(batch["second"])
            loss, _ = self.contrast.loss(query, key, batch["id"])
            restored = self.network.restore(batch["distorted"])
            loss = loss + RESTORATION_WEIGHT * torch.nn.functional.mse_loss(restored, batch["image"])
            loss.backward()
            self.optimizer.step()
            self.contrast.follow(self.network)
            self.contrast.push(key, batch["id"])

    def _batches(self) -> Iterator[dict[str, torch.Tensor]]:
        plain = EnsureType(track_meta=False)
        while True:
            for batch in self.loader:
                yield {name: plain(value) for name, value in batch.items()}


def published_distortion(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Models Genesis as published, in 2D, on one image (C, W, H) in [0, 1], with the rates of SAAL."""
    changed: NDArray[Any] = image.copy()
    sides = np.array(image.shape[1:])
    if rng.random() < 0.5:
        draw = random.Random(int(rng.integers(1 << 32))).randrange  # faster for single numbers
        for _ in range(WINDOWS):
            size = draw(1, max(2, image.shape[1] // 10)), draw(1, max(2, image.shape[2] // 10))
            x, y = draw(image.shape[1] - size[0]), draw(image.shape[2] - size[1])
            part = image[:, x : x + size[0], y : y + size[1]].reshape(len(image), -1)
            changed[:, x : x + size[0], y : y + size[1]] = part[:, rng.permutation(part.shape[1])].reshape(-1, *size)
    if rng.random() < 0.9:
        (x1, x2), (y1, y2), t = rng.random(2), rng.random(2), np.linspace(0, 1, 1000)
        curve = [3 * (1 - t) ** 2 * t * a + 3 * (1 - t) * t**2 * b + t**3 for a, b in ((x1, x2), (y1, y2))]
        changed = np.interp(changed, np.sort(curve[0]), np.sort(curve[1])[:: 1 if rng.random() < 0.5 else -1])
    if rng.random() < 0.9:
        inside = rng.random() < 0.2
        kept, noise = changed, rng.random(changed.shape)
        changed = kept.copy() if inside else noise.copy()
        low, high = (sides // 6, sides // 3) if inside else (3 * sides // 7, 4 * sides // 7)
        for _ in range(int(rng.integers(1, 6))):
            box_size = rng.integers(low, high)
            x, y = rng.integers(0, sides - box_size)
            box = (slice(None), slice(x, x + box_size[0]), slice(y, y + box_size[1]))
            changed[box] = noise[box] if inside else kept[box]
    return changed.astype(np.float32)


def plain_decode(files: Sequence[Path], size: int) -> list[NDArray[np.uint8]]:
    """One file after the other by PIL or pydicom onto ``size`` x ``size``; nothing is kept between two calls."""
    import pydicom

    found = []
    for file in files:
        if file.suffix == ".dcm":
            dataset = pydicom.dcmread(file)
            stored = dataset.pixel_array.astype(np.float32)
            centre, width = (float(dataset.get(tag, 2048)) for tag in ("WindowCenter", "WindowWidth"))
            shown = np.clip((stored - (centre - width / 2)) / width, 0, 1)
            shown = 1 - shown if dataset.PhotometricInterpretation == "MONOCHROME1" else shown
            picture = Image.fromarray((255 * shown).astype(np.uint8))
        else:
            opened = Image.open(file)
            picture = opened.convert("L" if opened.mode == "L" else "RGB")
        found.append(np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR)))
    return found


def plain_inference(files: Sequence[Path], modality: Modality, network: UNet, folder: Path) -> None:
    """One image after the other through MONAI's evaluator, dictionary transforms before and behind it; PNG masks."""
    for file in files:  # what cannot be read must not end the run, so everything is read before
        read_image(file, modality)
    forward = preprocessing(modality)
    backward = Compose(
        [
            WithoutSpecksd("pred", modality),
            Invertd("pred", forward, orig_keys="image", nearest_interp=False),
            Activationsd("pred", softmax=True),
            AsDiscreted("pred", argmax=True),
        ]
    )
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset([{"id": f.stem, "image": str(f)} for f in files], forward), batch_size=1),
        network=network,
        inferer=SimpleInferer(),
        postprocessing=backward,
    )
    folder.mkdir(parents=True, exist_ok=True)
    rows = []

    def write(engine: Any) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            target = folder / f"{item['id']}.png"
            Image.fromarray(255 * np.asarray(output["pred"][0]).astype(np.uint8).T).save(target)
            rows.append({"id": item["id"], "mask": str(target)})

    from ignite.engine import Events

    evaluator.add_event_handler(Events.ITERATION_COMPLETED, write)
    evaluator.run()
    with (folder / "predictions.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, ["id", "mask"])
        writer.writeheader()
        writer.writerows(rows)


def as_plain_items(images: torch.Tensor, labels: torch.Tensor) -> list[dict[str, Any]]:
    """What ``CacheDataset`` of MONAI's transforms holds: float MetaTensors, (C, size, size) and (1, size, size)."""
    return [
        {"image": MetaTensor(image.float() / 255), "label": MetaTensor(label.float()), "index": i}
        for i, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
