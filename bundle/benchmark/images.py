"""The images of a benchmark, decoded once: canvases to learn from, and test images with their masks at native size."""

from __future__ import annotations

import dataclasses
import zlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform
from tqdm import tqdm

from bundle.data.augmentation import augment
from bundle.data.datalist import Datalist
from bundle.data.modality import Augmentation, Modality
from bundle.data.sampling import as_unit_range
from bundle.data.split import draw_groups, group_of
from bundle.data.transforms import KEPT, preprocessing
from bundle.data.workers import beside_the_network
from bundle.run.record import content_fingerprint, file_fingerprint
from bundle.run.seeds import derive_seed
from bundle.segmentation.evaluation import pixel_spacing

# Near-duplicates of a redundant pool: a quarter of the images comes four times more, so half of the pool is copies.
# As many images of one patient or one frame after another are what makes hospitals' pools redundant.
COPIED_SHARE = 0.25
COPIES = 4
NEAR = Augmentation(shift=0.03, brightness=0.04)  # of side and range: another frame of the same view


class Canvases(Transform):
    """Decoded images by id. In a workflow it stands in for the preprocessing, so that no file is read again.

    Args:
        items: id to ``image`` (C, S, S) uint8 in 0..255 and ``label`` (1, S, S) uint8 class indices.
    """

    def __init__(self, items: Mapping[str, dict[Hashable, torch.Tensor]]) -> None:
        self.items = dict(items)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A datalist entry to its item, as ``preprocessing(..., label="canvas", cached=True)`` gives it."""
        names: dict[Hashable, Any] = {name: data[name] for name in KEPT if name in data}
        return names | self.items[data["id"]]


@dataclasses.dataclass(frozen=True, eq=False)
class TestImages:
    """Images to score on.

    Attributes:
        ids: of the N images, sorted.
        canvases: (N, C, S, S) float32 in [0, 1].
        sizes: (W, H) of each image as it is stored.
        spacings: pixel size of each in mm along x and y, None where the file tells none.
        packed: the mask of each, (W, H) uint8 class indices, compressed: of large photographs hundreds fit in memory.
    """

    __test__ = False  # no test class, whatever its name begins with

    ids: tuple[str, ...]
    canvases: torch.Tensor
    sizes: tuple[tuple[int, int], ...]
    spacings: tuple[tuple[float, float] | None, ...]
    packed: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def mask(self, position: int) -> torch.Tensor:
        """(W, H) uint8 class indices of an image."""
        values = np.frombuffer(bytearray(zlib.decompress(self.packed[position])), dtype=np.uint8)
        return torch.from_numpy(values.reshape(self.sizes[position]))

    def batches(self, size: int) -> Iterator[list[int]]:
        """Positions of up to ``size`` images of one native size, so that they leave the canvas together."""
        for shape in sorted(set(self.sizes)):
            members = [position for position, found in enumerate(self.sizes) if found == shape]
            for start in range(0, len(members), size):
                yield members[start : start + size]


def labelled_pool(datalist: Datalist) -> Datalist:
    """The datalist with nothing in its pool but what may be annotated and has a label to reveal; no training section.

    Raises:
        ValueError: no image of the pool, or none of the test, has a label.
    """
    allowed = set(datalist.candidates())
    pool = tuple(e for e in datalist.sections["pool"] if e["id"] in allowed and "label" in e)
    test = tuple(entry for entry in datalist.sections["test"] if "label" in entry)
    for name, entries in (("pool", pool), ("test", test)):
        if not entries:
            raise ValueError(f"a benchmark needs labels in the section {name}, got none: give masks for its images")
    return dataclasses.replace(datalist, sections={"pool": pool, "test": test})


def hold_back(datalist: Datalist, count: int) -> Datalist:
    """A :func:`labelled_pool` with about ``count`` images of its pool in place of the test: what is tuned is tuned on
    them, and the test stays unseen. Whole groups are drawn, always the same, so that trials can be compared.

    Raises:
        ValueError: there is one group, or nothing would be left.
    """
    pool = datalist.sections["pool"]
    share = count / len(pool)
    held = draw_groups(Counter(map(group_of, pool)), share, seed=0, stream="held back") if share < 1 else set()
    if not held:
        raise ValueError(f"{count} of {len(pool)} images cannot be held back: two groups are needed, and one stays")
    kept = tuple(entry for entry in pool if group_of(entry) not in held)
    test = tuple(entry for entry in pool if group_of(entry) in held)
    return dataclasses.replace(datalist, sections={"pool": kept, "test": test})


def images_fingerprint(datalist: Datalist) -> str:
    """SHA-256 over ids, pixels and masks of pool and test, by the bytes of the files; where they lie plays no part."""
    return content_fingerprint(
        f"{section} {entry['id']} {file_fingerprint(entry['image'])} {file_fingerprint(entry['label'])}"
        for section in ("pool", "test")
        for entry in datalist.section(section)
    )


def decode_pool(datalist: Datalist, modality: Modality) -> Canvases:
    """Every image of the pool with its mask."""
    load = preprocessing(modality, label="canvas", cached=True)
    items = _in_threads(load, datalist.section("pool"), "decode pool")
    return Canvases({item["id"]: {"image": item["image"], "label": item["label"]} for item in items})


def decode_test(datalist: Datalist, modality: Modality) -> TestImages:
    """Every image of the test section, exactly as the evaluation reads it."""
    load = preprocessing(modality, label="native")
    canvases, sizes, spacings, packed = [], [], [], []
    entries = datalist.section("test")
    for item in _in_threads(load, entries, "decode test"):
        mask = item["label"].as_tensor()[0].to(torch.uint8).contiguous().numpy()
        canvases.append(item["image"].as_tensor())
        sizes.append((mask.shape[0], mask.shape[1]))
        spacings.append(pixel_spacing(item["image"]))
        packed.append(zlib.compress(mask.tobytes(), level=1))
    ids = tuple(entry["id"] for entry in entries)
    return TestImages(ids, torch.stack(canvases), tuple(sizes), tuple(spacings), tuple(packed))


def add_near_duplicates(datalist: Datalist, canvases: Canvases, *, seed: int = 0) -> tuple[Datalist, Canvases]:
    """A redundant pool: ``COPIES`` near-duplicates of a ``COPIED_SHARE`` of its images, under ids of their own.

    A copy is shifted and made a little brighter or darker, drawn from its id and ``seed``; it belongs to the group of
    its original.
    """
    entries, items = list(datalist.sections["pool"]), dict(canvases.items)
    ranked = sorted(entries, key=lambda entry: derive_seed(seed, "copied", entry["id"]))
    for entry in ranked[: round(COPIED_SHARE * len(entries))]:
        for number in range(1, COPIES + 1):
            identifier = f"{entry['id']}~{number}"
            entries.append({**entry, "id": identifier, "group": group_of(entry)})
            items[identifier] = _near_duplicate(items[entry["id"]], derive_seed(seed, "copy", identifier))
    redundant = dataclasses.replace(datalist, sections={**datalist.sections, "pool": tuple(entries)})
    return redundant, Canvases(items)


def _in_threads(load: Callable[[Any], Any], entries: Sequence[Any], title: str) -> Iterator[Any]:
    with beside_the_network() as pool:
        yield from tqdm(pool.map(load, entries), total=len(entries), desc=title, unit="image", disable=None)


def _near_duplicate(item: Mapping[Hashable, torch.Tensor], seed: int) -> dict[Hashable, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        image, label = augment(as_unit_range(item["image"][None]), item["label"][None], NEAR)
    assert label is not None
    return {"image": image[0].mul(255).round().to(torch.uint8), "label": label[0]}
