"""Which images a step sees, and everything random in it, follow from (seed, step) alone."""

from __future__ import annotations

import dataclasses
from collections import Counter
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.data.modality import load_modality
from bundle.data.sampling import HalvesSampler, SoftLabels, StepSampler, StepSeed, as_unit_range, endless_loader

UNCHANGED_VALUES = {"brightness": 0.0, "contrast": (1.0, 1.0), "gamma": (1.0, 1.0), "colour": 0.0}
COUNTS = st.integers(1, 40)
BATCHES = st.integers(1, 50)


@given(COUNTS, BATCHES, st.integers(0, 5))
def test_iteration_gives_the_batch_of_each_step(count, batch_size, seed):
    sampler = StepSampler(count, batch_size, seed)
    assert list(islice(sampler, 6)) == [sampler.batch(step) for step in range(6)]
    assert all(len(sampler.batch(step)) == batch_size for step in range(6))


@given(COUNTS, BATCHES, st.integers(0, 5))
def test_every_image_comes_once_in_a_pass(count, batch_size, seed):
    drawn = [i for batch in islice(StepSampler(count, batch_size, seed), 12) for i in batch]
    for start in range(0, len(drawn) - count + 1, count):
        assert sorted(drawn[start : start + count]) == list(range(count))
    times = Counter(drawn)
    assert max(times.values()) - min(times.get(i, 0) for i in range(count)) <= 1


@given(COUNTS, BATCHES, st.integers(0, 20))
def test_a_resumed_sampler_goes_on_exactly(count, batch_size, step):
    whole = list(islice(StepSampler(count, batch_size, 3), step + 4))
    resumed = StepSampler(count, batch_size, 3)
    resumed.resume_at(step)
    assert list(islice(resumed, 4)) == whole[step:]
    assert list(islice(StepSampler(count, batch_size, 3, start_step=step), 4)) == whole[step:]


def test_passes_and_seeds_differ():
    sampler = StepSampler(30, 30, 0)
    assert sampler.batch(0) != sampler.batch(1)
    assert sampler.batch(0) != StepSampler(30, 30, 1).batch(0)


@pytest.mark.parametrize(("count", "batch_size"), [(0, 4), (4, 0)])
def test_nothing_to_draw_is_refused(count, batch_size):
    with pytest.raises(ValueError, match="at least one image"):
        StepSampler(count, batch_size)


@given(st.tuples(COUNTS, COUNTS), st.integers(2, 50), st.integers(0, 5))
def test_half_of_a_batch_comes_from_each_set_and_every_image_of_a_set_equally_often(counts, batch_size, seed):
    sampler = HalvesSampler(counts, batch_size, seed)
    batches = list(islice(sampler, 12))
    half = batch_size // 2
    for first, second, size, start in (
        (0, counts[0], batch_size - half, 0),
        (counts[0], sum(counts), half, batch_size - half),
    ):
        drawn = [position for batch in batches for position in batch[start : start + size]]
        assert len(drawn) == 12 * size and all(first <= position < second for position in drawn)
        times = Counter(drawn)
        assert max(times.values()) - min(times.get(i, 0) for i in range(first, second)) <= 1


@given(st.tuples(COUNTS, COUNTS), st.integers(2, 50), st.integers(0, 20))
def test_halves_resume_exactly(counts, batch_size, step):
    whole = list(islice(HalvesSampler(counts, batch_size, 3), step + 4))
    resumed = HalvesSampler(counts, batch_size, 3)
    resumed.resume_at(step)
    assert list(islice(resumed, 4)) == whole[step:]


@pytest.mark.parametrize(("counts", "batch_size"), [((0, 3), 4), ((3, 0), 4), ((3, 3), 1)])
def test_a_half_of_nothing_is_refused(counts, batch_size):
    with pytest.raises(ValueError, match="a half of each set"):
        HalvesSampler(counts, batch_size)


def test_a_loader_is_endless_and_collates_the_sampler_s_batches():
    items = [{"image": torch.full((1, 2, 2), i, dtype=torch.uint8), "id": str(i)} for i in range(5)]
    loader = endless_loader(items, batch_size=8, seed=2)
    for step, batch in enumerate(islice(loader, 4)):
        assert [int(i) for i in batch["id"]] == StepSampler(5, 8, 2).batch(step)
        assert batch["image"][:, 0, 0, 0].tolist() == [int(i) for i in batch["id"]]


def batch_of(count: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "image": torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=generator),
        "label": torch.randint(0, 2, (count, 1, 16, 16), dtype=torch.uint8, generator=generator),
    }


def test_a_step_is_a_function_of_seed_and_step():
    limits = load_modality("dermoscopy").augmentation
    first, other = StepSeed(0, limits), StepSeed(1, limits)
    images = [first(batch_of())[0] for _ in range(3)]
    torch.rand(7)  # what else was drawn does not matter
    again = StepSeed(0, limits)
    again.resume_at(2)
    assert torch.equal(again(batch_of())[0], images[2])
    assert not torch.equal(images[0], images[1])
    assert not torch.equal(other(batch_of())[0], images[0])


def test_the_step_s_seed_covers_what_is_drawn_after_it():
    step = StepSeed(0)
    drawn = []
    for _ in range(2):
        step.resume_at(5)
        step(batch_of())
        drawn.append(torch.rand(4))
    assert torch.equal(*drawn)


def test_without_limits_the_batch_is_only_scaled():
    batch = batch_of()
    images, labels = StepSeed(0)(batch, device="cpu")
    torch.testing.assert_close(images, batch["image"].float() / 255)
    assert torch.equal(labels, batch["label"])


def test_beliefs_become_probabilities_that_sum_to_one_and_go_where_their_images_go():
    generator = torch.Generator().manual_seed(0)
    belief = torch.randint(0, 128, (4, 2, 16, 16), dtype=torch.uint8, generator=generator)
    batch = {"image": belief[:, :1].expand(-1, 3, -1, -1), "belief": belief}
    _, still = StepSeed(0)(batch)
    assert isinstance(still, SoftLabels)
    torch.testing.assert_close(still.probabilities[:, 1:], belief.float() / 255)
    torch.testing.assert_close(still.probabilities.sum(dim=1), torch.ones(4, 16, 16))
    moves = dataclasses.replace(load_modality("dermoscopy").augmentation, **UNCHANGED_VALUES)
    images, moved = StepSeed(0, moves)(batch)
    torch.testing.assert_close(moved.probabilities[:, 1], images[:, 0], atol=1e-3, rtol=0)
    assert not torch.allclose(moved.probabilities[:, 1], still.probabilities[:, 1], atol=0.05)


def test_unit_range_scales_bytes_and_passes_floats():
    assert as_unit_range(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist() == pytest.approx([0, 0.2, 1])
    floats = torch.tensor([0.3])
    assert as_unit_range(floats) is floats
