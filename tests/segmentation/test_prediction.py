"""A mask has the size and the geometry of its image, and lies where its id says."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.data import Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from PIL import Image

from bundle.data.read_ahead import ReadAhead
from bundle.run.record import file_fingerprint
from bundle.segmentation.prediction import WritePredictions


def result(identifier: str, source: str, pred: torch.Tensor, affine: np.ndarray | None = None) -> dict:
    """An item of the dataset with the mask that its postprocessing is to give."""
    image = MetaTensor(torch.zeros(1, 4, 4), meta={"filename_or_obj": source, "original_affine": affine})
    return {"id": identifier, "image": image, "mask": pred}


def write(folder: Path, results: list[dict], classes: int) -> list[dict[str, str]]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    (folder.parent / "model.pt").write_bytes(b"weights")
    handler = WritePredictions(
        folder,
        postprocessing=lambda item: {**item, "pred": MetaTensor(item["mask"])},
        classes=classes,
        model=folder.parent / "model.pt",
        settings={"a": 1},
    )
    engine = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=ReadAhead(Dataset(results), batch_size=2),
        network=torch.nn.Identity(),
        decollate=False,
        val_handlers=[handler],
    )
    engine.run()
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_a_picture_s_mask_is_a_png_of_its_size(tmp_path):
    mask = torch.zeros(7, 5, dtype=torch.uint8)  # 7 wide, 5 high
    mask[6, 1] = 1
    rows = write(tmp_path / "out", [result("sub/a", "/in/sub/a.jpg", mask)], classes=2)
    path = tmp_path / "out" / "sub" / "a.png"
    told = {name: value for name, value in rows[0].items() if value}
    assert len(rows) == 1 and told == {"id": "sub/a", "image": "/in/sub/a.jpg", "mask": str(path)}
    image = Image.open(path)
    assert image.size == (7, 5) and image.mode == "L"
    pixels = np.asarray(image)
    assert pixels[1, 6] == 255 and pixels.sum() == 255


def test_several_labels_keep_their_numbers(tmp_path):
    mask = torch.arange(4, dtype=torch.uint8).reshape(2, 2)
    write(tmp_path / "out", [result("a", "/in/a.PNG", mask)], classes=4)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "a.png")), mask.numpy().T)


@pytest.mark.parametrize("shape", [(6, 4), (1, 6, 4, 1)])
def test_a_radiograph_s_mask_is_a_nifti_on_its_grid(tmp_path, shape):
    affine = np.diag([-0.2, -0.1, 1.0, 1.0])
    mask = torch.arange(24, dtype=torch.uint8).remainder(3).reshape(shape)
    write(tmp_path / "out", [result("a.b", "/in/a.dcm", mask, affine)], classes=3)
    file = nibabel.load(tmp_path / "out" / "a.b.nii.gz")
    assert file.shape == (6, 4, 1) and file.get_data_dtype() == np.uint8
    np.testing.assert_allclose(file.affine, affine)
    np.testing.assert_array_equal(np.asarray(file.dataobj).reshape(-1), mask.numpy().reshape(-1))


@pytest.mark.parametrize("identifier", ["../a", "sub/../../a", "/etc/a"])
def test_an_id_cannot_lead_out_of_the_folder(tmp_path, identifier):
    with pytest.raises(ValueError, match="would leave the output folder"):
        write(tmp_path / "deep" / "out", [result(identifier, "/in/a.png", torch.zeros(2, 2))], classes=2)
    assert not list(tmp_path.rglob("*.png"))


def test_the_record_names_model_and_count_and_no_path_of_a_patient(tmp_path):
    write(tmp_path / "out", [result(n, f"/in/{n}.png", torch.zeros(2, 2)) for n in "abc"], classes=2)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["results"]["images"] == 3
    assert record["fingerprints"]["model"] == file_fingerprint(tmp_path / "model.pt")
    assert "/in/" not in json.dumps(record)


def test_images_in_a_folder_of_the_drafts_name_keep_their_masks(tmp_path):
    names = [*(f"review/{i}" for i in range(4)), *(str(i) for i in range(4))]
    masks = {name: torch.full((3, 3), at % 2, dtype=torch.uint8) for at, name in enumerate(names)}
    rows = write(tmp_path / "out", [result(name, f"/in/{name}.png", mask) for name, mask in masks.items()], classes=2)
    assert len({row["mask"] for row in rows}) == 8
    for row in rows:
        np.testing.assert_array_equal(np.asarray(Image.open(row["mask"])) > 0, masks[row["id"]].numpy() > 0)
