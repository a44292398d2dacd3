"""Batches that are split over processes. What they send each other is tested in tests/commands/test_ranks.py."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bundle.run.collectives import Rows, _WholeBatchDraws, gather, own_rows, total, total_figures, whole_batch_draws

WHOLE, CHANNELS = 7, 5
IMAGES = torch.rand(WHOLE, CHANNELS, 6, 4)
DRAWS = {
    "rand": lambda images: torch.rand(len(images), 3),
    "rand, size in a tuple": lambda images: torch.rand((len(images), 3)),
    "randn": lambda images: torch.randn(len(images)),
    "randint": lambda images: torch.randint(0, 9, (len(images), 1)),
    "randint from 0": lambda images: torch.randint(9, (len(images),)),
    "rand_like": torch.rand_like,
    "randn_like": torch.randn_like,
    "dropout": nn.Dropout2d(0.4),
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_parts_draw_what_the_whole_batch_draws(name, layout):
    images = IMAGES.to(memory_format=layout)
    torch.manual_seed(3)
    whole = [DRAWS[name](images) for _ in range(2)]
    for start, count in ((0, 3), (3, 4), (0, 7)):
        torch.manual_seed(3)
        with _WholeBatchDraws(Rows(start, count, WHOLE)):
            own = [DRAWS[name](images[start : start + count]) for _ in range(2)]
        for drawn, expected in zip(own, whole, strict=True):
            assert torch.equal(drawn, expected[start : start + count])


def test_outside_of_training_nothing_is_dropped():
    with _WholeBatchDraws(Rows(0, WHOLE, WHOLE)):
        assert torch.equal(nn.Dropout2d(0.4).eval()(IMAGES), IMAGES)


def test_shares_add_up_to_one_and_no_row_is_no_error():
    assert [Rows(0, 3, 4).share, Rows(3, 1, 4).share, Rows(0, 0, 0).share] == [0.75, 0.25, 0.0]


def test_one_process_has_the_whole_batch():
    assert own_rows(4) == Rows(0, 4, 4)
    (found,), rows = gather(IMAGES)
    assert found is IMAGES and rows == Rows(0, WHOLE, WHOLE)
    assert total(IMAGES) is IMAGES and total_figures({"loss": 2.0}) == {"loss": 2.0}
    with whole_batch_draws(WHOLE):
        torch.manual_seed(0)
        drawn = torch.rand(WHOLE)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(WHOLE))
