"""Views keep to the modality, and the hardest of those that are still recognised is chosen."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from bundle.data.modality import Augmentation, available_modalities, load_modality
from bundle.pretraining.views import (
    Policy,
    PolicyScore,
    candidate_policies,
    hardest_policy,
    policy_report,
    score_policies,
    view_side,
)

SCORES = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1)), min_size=1, max_size=6).map(
    lambda pairs: [PolicyScore(f"policy {i}", loss, rate) for i, (loss, rate) in enumerate(pairs)]
)


@pytest.mark.parametrize("name", available_modalities())
def test_every_policy_keeps_to_the_flips_and_rotations_of_the_modality(name):
    modality = load_modality(name)
    policies = candidate_policies(modality)
    assert policies[0].limits == modality.augmentation and "mild" in {policy.name for policy in policies}
    assert len({policy.name for policy in policies}) == len(policies) > 1
    for policy in policies:
        assert policy.limits.flip == modality.augmentation.flip
        assert policy.limits.rotation <= modality.augmentation.rotation


@given(st.integers(16, 512))
def test_a_view_fits_the_network_and_is_hardly_larger_than_its_image(side):
    assert view_side(side) % 16 == 0 and 0 < view_side(side) <= max(32, side + 8)


@given(st.sampled_from(available_modalities()), st.integers(0, 5), st.integers(0, 2**31))
def test_views_have_their_side_and_keep_the_range(name, position, seed):
    modality = load_modality(name)
    policies = candidate_policies(modality)
    torch.manual_seed(seed)
    views = policies[position % len(policies)].view(torch.rand(3, modality.channels, 64, 48))
    assert views.shape == (3, modality.channels, view_side(64), view_side(48))
    assert torch.isfinite(views).all() and views.min() >= 0 and views.max() <= 1


def test_two_views_of_an_image_differ_and_the_same_seed_gives_the_same():
    policy = candidate_policies(load_modality("dermoscopy"))[-1]
    images = torch.rand(2, 3, 32, 32)
    torch.manual_seed(0)
    first, second = policy.view(images), policy.view(images)
    torch.manual_seed(0)
    assert torch.equal(policy.view(images), first) and not torch.equal(first, second)


def test_a_policy_of_nothing_changes_nothing_but_the_scale():
    gradient = torch.linspace(0.2, 0.8, 64).view(1, 1, 64, 1).expand(2, 3, 64, 64)
    views = Policy("none", Augmentation()).view(gradient)
    wanted = torch.linspace(0.2, 0.8, views.shape[2]).view(1, 1, -1, 1).expand_as(views)
    torch.testing.assert_close(views, wanted, atol=0.01, rtol=0)


def test_losing_colour_makes_channels_equal_in_that_share_of_the_views():
    torch.manual_seed(0)
    views = Policy("grey", Augmentation(), grey=0.3).view(torch.rand(400, 3, 8, 8))
    grey = (views[:, 0] == views[:, 1]).flatten(1).all(dim=1).float().mean()
    assert float(grey) == pytest.approx(0.3, abs=0.07)


def test_grey_images_have_no_colour_to_lose():
    images = torch.rand(4, 1, 32, 32)
    views = []
    for grey in (0.0, 1.0):
        views.append(Policy("grey", Augmentation(), grey=grey).view(images))
    assert torch.equal(*views)


def test_blur_keeps_the_mean_and_takes_the_contrast_of_half_of_the_views():
    torch.manual_seed(0)
    images = (torch.rand(200, 1, 64, 64) > 0.5).float()
    plain = Policy("none", Augmentation()).view(images)
    views = Policy("blur", Augmentation(), blur=0.05).view(images)
    assert (views.mean(dim=(1, 2, 3)) - plain.mean(dim=(1, 2, 3))).abs().max() < 0.03
    sharp = (views - plain).abs().amax(dim=(1, 2, 3)) < 0.01
    assert 0.35 < sharp.float().mean() < 0.65
    constant = Policy("blur", Augmentation(), blur=0.1).view(torch.full((8, 3, 32, 32), 0.3))
    torch.testing.assert_close(constant, torch.full_like(constant, 0.3), atol=1e-4, rtol=0)


def test_noise_is_no_stronger_than_its_limit():
    torch.manual_seed(0)
    views = Policy("noise", Augmentation(), noise=0.1).view(torch.full((300, 1, 16, 16), 0.5))
    spread = views.flatten(1).std(dim=1)
    assert spread.max() < 0.11 and 0.03 < spread.mean() < 0.07


@given(SCORES)
def test_none_that_is_recognised_as_well_is_harder_than_the_chosen(scores):
    chosen = next(score for score in scores if score.name == hardest_policy(scores))
    assert all(score.loss <= chosen.loss for score in scores if score.retrieval >= chosen.retrieval)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=6), st.floats(0, 1))
def test_among_equally_recognised_the_hardest_wins(losses, rate):
    scores = [PolicyScore(f"policy {i}", loss, rate) for i, loss in enumerate(losses)]
    assert losses[int(hardest_policy(scores).split()[1])] == max(losses)


def test_what_destroys_the_picture_never_wins():
    scores = [PolicyScore("mild", 0.1, 0.99), PolicyScore("hard", 1.0, 0.9), PolicyScore("noise alone", 5.0, 0.01)]
    assert hardest_policy(scores) == "hard"


def test_scores_tell_harmless_from_destructive_views():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(24, 1, 16, 16, generator=generator)

    def project(batch: torch.Tensor) -> torch.Tensor:
        return normalize((batch - 0.5).flatten(1), dim=1)

    torch.manual_seed(0)
    harmless, noisy = score_policies(
        project, images, [Policy("none", Augmentation()), Policy("noise", Augmentation(), noise=20.0)], batch_size=7
    )
    assert harmless.retrieval == 1 and noisy.retrieval < 0.9
    assert harmless.loss < noisy.loss


@pytest.mark.parametrize("images", [2, 9, 30])
def test_of_few_images_chance_is_what_it_is(images):
    pictures = torch.rand(images, 3, 32, 32)

    def project(batch: torch.Tensor) -> torch.Tensor:  # tells nothing
        return torch.nn.functional.normalize(torch.randn(len(batch), 8), dim=1)

    torch.manual_seed(0)
    policy = candidate_policies(load_modality("dermoscopy"))[0]
    (score,) = score_policies(project, pictures, [policy], draws=1500)
    assert score.chance >= 1 / images and score.retrieval == pytest.approx(score.chance, abs=0.06)


def test_at_chance_no_policy_is_eligible_beside_one_that_is_recognised():
    scores = [PolicyScore("mild", 0.3, 0.75, 0.5), PolicyScore("tight", 0.9, 0.5, 0.5)]
    assert hardest_policy(scores) == "mild"


def test_the_report_tells_the_choice_and_its_grounds():
    report = policy_report([PolicyScore("a", 1.23456, 0.5), PolicyScore("b", 2.0, 0.1)], "a")
    assert report["chosen"] == "a" and 0 <= report["retrieval_floor"] <= 0.5
    assert report["policies"][0] == {"name": "a", "loss": 1.2346, "retrieval": 0.5}
