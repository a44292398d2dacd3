"""What a network says of an image several times."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from bundle.data.modality import Augmentation, load_modality
from bundle.network import UNet
from bundle.segmentation.opinions import ImageSeed, OpinionNetwork, opinion_network
from bundle.weights import save_weights

FILTERS = (2, 4, 4, 8)
LIMITS = Augmentation(flip=("x", "y"), brightness=0.2, contrast=(0.7, 1.4), gamma=(0.7, 1.4))


def network(seed: int = 0, dropout: float = 0.5) -> UNet:
    torch.manual_seed(seed)
    return UNet(3, 2, FILTERS, dropout=dropout).eval()


def picture(seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def opinions(kind: str, *, count: int = 1, networks: int = 1) -> torch.Tensor:
    found = OpinionNetwork([network(i) for i in range(networks)], kind, count=count, limits=LIMITS).eval()
    torch.manual_seed(7)
    with torch.inference_mode():
        return found(picture())[0]


@pytest.mark.parametrize(
    ("kind", "count", "networks", "expected"),
    [("single", 1, 1, 1), ("heads", 1, 1, 3), ("dropout", 5, 1, 5), ("views", 6, 1, 6), ("ensemble", 1, 2, 2)],
)
def test_opinions_are_probabilities_and_as_many_as_asked_for(kind, count, networks, expected):
    found = opinions(kind, count=count, networks=networks)
    assert found.shape == (expected, 2, 16, 16)
    assert torch.allclose(found.sum(dim=1), torch.ones(expected, 16, 16), atol=1e-6) and (found >= 0).all()
    assert torch.equal(found, opinions(kind, count=count, networks=networks)), "the same seed says the same"


def test_the_main_head_comes_first_and_is_what_inference_gives():
    with torch.inference_mode():
        predicted = network()(picture()).softmax(dim=1)[0]
    for kind, count in (("single", 1), ("heads", 1), ("views", 4)):
        assert torch.allclose(opinions(kind, count=count)[0], predicted, atol=1e-6), kind


def test_passes_part_by_dropout_alone_and_leave_the_network_as_it_was():
    one = network()
    before = {name: tensor.clone() for name, tensor in one.state_dict().items()}
    with torch.inference_mode():
        passes = one.forward_passes(picture(), 4)
        still = network(dropout=0.0).forward_passes(picture(), 4)
        plain = network(dropout=0.0)(picture())
    assert not torch.allclose(passes[0], passes[1]) and torch.allclose(still, plain.expand(4, -1, -1, -1), atol=1e-5)
    assert all(torch.equal(before[name], tensor) for name, tensor in one.state_dict().items())
    assert not any(module.training for module in one.modules())


def test_the_mean_of_many_passes_is_that_of_running_the_whole_network_with_dropout_on():
    one = network()
    with torch.inference_mode():
        torch.manual_seed(0)
        fast = one.forward_passes(picture(), 600).softmax(dim=1).mean(dim=0)
        one.dropout.train()
        slow = one(picture().expand(600, -1, -1, -1)).softmax(dim=1).mean(dim=0)
    assert torch.allclose(fast, slow, atol=0.05)


def test_views_are_put_back_into_the_image_s_place():
    class Bright(torch.nn.Module):  # says foreground where the image is bright, so its answer moves with the image
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.stack([-image[:, 0], image[:, 0]], dim=1) * 10

    view = OpinionNetwork([Bright()], "views", count=4, limits=Augmentation(flip=("x", "y"))).eval()
    with torch.inference_mode():
        found = view(picture())[0]
    assert torch.allclose(found, found[:1].expand_as(found), atol=1e-6)


def test_a_modality_that_may_not_be_mirrored_is_lit_otherwise_instead():
    limits = dataclasses.replace(LIMITS, flip=())
    found = OpinionNetwork([network()], "views", count=3, limits=limits).eval()
    torch.manual_seed(0)
    with torch.inference_mode():
        views = found(picture())[0]
    assert not torch.allclose(views[0], views[1]) and not torch.allclose(views[1], views[2])


def test_chance_comes_from_the_seed_and_the_image_s_id_alone():
    draws = {}
    for seed, name in ((0, "a"), (0, "b"), (1, "a"), (0, "a")):
        _, label = ImageSeed(seed)({"items": [{"id": name}], "image": picture()})
        drawn = float(torch.rand(()))
        assert label is None and draws.setdefault((seed, name), drawn) == drawn
    assert len(set(draws.values())) == 3


def test_models_without_dropout_several_models_for_one_and_batches_are_refused():
    with pytest.raises(ValueError, match="without dropout"):
        OpinionNetwork([network(dropout=0.0)], "dropout", count=4)
    with pytest.raises(ValueError, match="two models at least"):
        OpinionNetwork([network()], "ensemble")
    with pytest.raises(ValueError, match="one model's, got 2"):
        OpinionNetwork([network(), network()], "heads")
    with pytest.raises(ValueError, match="one image at a time"):
        OpinionNetwork([network()], "single")(picture().expand(2, -1, -1, -1))


def test_weights_are_checked_before_they_are_asked(tmp_path):
    modality = load_modality("dermoscopy")
    settings = {"modality": modality.name, "size": modality.size, "dropout": 0.25}
    whole = save_weights(tmp_path / "model.pt", network(), settings)
    part = save_weights(tmp_path / "ssl.pt", network(), settings, parts=("encoder",))
    device = torch.device("cpu")
    found = opinion_network(whole, modality, device, criterion="bald", passes=3)
    assert found.count == 3 and found.networks[0].dropout.p == 0.25 and not found.training
    with pytest.raises(ValueError, match="no fine-tuned model"):
        opinion_network(part, modality, device, criterion="dsal")
    with pytest.raises(ValueError, match="modality is 'dermoscopy'"):
        opinion_network(whole, load_modality("chest_xray"), device, criterion="dsal")
    with pytest.raises(ValueError, match="no number of passes"):
        opinion_network(whole, modality, device, criterion="dsal", passes=3)
