"""Pseudo labels stay apart from labels and weigh what they are said to weigh."""

from __future__ import annotations

import pytest
import torch

from bundle.data.sampling import StepSeed, WeightedLabels
from bundle.segmentation.losses import DeepSupervisionLoss
from bundle.segmentation.pseudo_labels import FILE_NAME, with_pseudo_labels

LABELLED = [{"id": "a", "image": "/data/a.png", "label": "/masks/a.png"}]


def table_of(folder, *rows: tuple[str, str]):
    (folder / "masks").mkdir(exist_ok=True)
    (folder / "masks" / "b.png").touch()
    lines = [
        "id,image,mask,agreement,confidence",
        *(f"{name},/data/{name}.png,{mask},0.95,0.99" for name, mask in rows),
    ]
    (folder / FILE_NAME).write_text("\n".join(lines) + "\n")
    return folder / FILE_NAME


def test_without_a_table_the_entries_are_as_they_were():
    assert with_pseudo_labels(LABELLED, None, 0.5) == LABELLED


def test_pseudo_labels_join_behind_the_labels_with_their_weight(tmp_path):
    found = with_pseudo_labels(LABELLED, table_of(tmp_path, ("b", "masks/b.png")), 0.3)
    assert found[0] == {**LABELLED[0], "weight": 1.0}
    assert found[1] == {"id": "b", "image": "/data/b.png", "label": str(tmp_path / "masks/b.png"), "weight": 0.3}


@pytest.mark.parametrize(
    ("rows", "weight", "told"),
    [
        ([("a", "masks/b.png")], 0.5, "image 'a' has a true label"),
        ([("b", "../b.png")], 0.5, "must lie below the folder"),
        ([("b", "/etc/hostname")], 0.5, "must lie below the folder"),
        ([("b", "masks/c.png")], 0.5, "is not there"),
        ([("b", "masks/b.png")], 0.0, "above 0 and at most 1"),
        ([("b", "masks/b.png")], 1.5, "above 0 and at most 1"),
    ],
)
def test_a_table_that_breaks_a_rule_is_refused(tmp_path, rows, weight, told):
    with pytest.raises(ValueError, match=told):
        with_pseudo_labels(LABELLED, table_of(tmp_path, *rows), weight)


def test_a_table_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ValueError, match="no table of pseudo labels"):
        with_pseudo_labels(LABELLED, tmp_path / FILE_NAME, 0.5)


def test_weights_multiply_the_loss_of_each_image_in_plain_loops():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 3, 2, 6, 5, generator=generator)
    target = torch.randint(0, 2, (3, 1, 6, 5), generator=generator)
    weights = torch.tensor([1.0, 0.3, 0.0])
    loss = DeepSupervisionLoss()
    wanted = sum(float(w) * float(loss(logits[i : i + 1], target[i : i + 1])) for i, w in enumerate(weights)) / 3
    assert float(loss(logits, WeightedLabels(target, weights))) == pytest.approx(wanted, abs=1e-6)
    assert float(loss(logits, WeightedLabels(target, torch.ones(3)))) == pytest.approx(float(loss(logits, target)))


def test_a_batch_hands_its_weights_to_the_loss_and_one_without_does_not():
    batch = {"image": torch.zeros(2, 1, 4, 4, dtype=torch.uint8), "label": torch.zeros(2, 1, 4, 4, dtype=torch.uint8)}
    _, plain = StepSeed()(batch)
    assert isinstance(plain, torch.Tensor)
    _, weighted = StepSeed()(batch | {"weight": torch.tensor([1.0, 0.5], dtype=torch.float64)})
    assert weighted.weights.tolist() == [1.0, 0.5] and torch.equal(weighted.labels, plain)
