"""The mean over mirrorings, against a plain loop."""

from __future__ import annotations

import pytest
import torch
from monai.data.meta_tensor import MetaTensor
from monai.inferers import SimpleInferer

from bundle.data.modality import load_modality
from bundle.network import Inspection, UNet
from bundle.numerics import PrecisionInferer
from bundle.segmentation.mirroring import MirroredInferer, mirrorings

FLIPS = [(), ("x",), ("y",), ("x", "y")]


@pytest.fixture(scope="module")
def unet() -> UNet:
    torch.manual_seed(0)
    return UNet(3, 3, (2, 4, 4, 8)).eval()


def pictures(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, 16, 32, generator=torch.Generator().manual_seed(1))


def infer(network: torch.nn.Module, images: torch.Tensor, flip: tuple[str, ...]):
    with torch.inference_mode():
        return MirroredInferer(PrecisionInferer("cpu", "fp32"), flip)(images, network)


@pytest.mark.parametrize("flip", FLIPS)
def test_probabilities_are_the_mean_over_the_mirrorings(unet, flip):
    images = pictures()
    expected = torch.zeros(2, 3, 16, 32)
    ways = 0
    for x in (False, True) if "x" in flip else (False,):
        for y in (False, True) if "y" in flip else (False,):
            seen = images
            seen = torch.flip(seen, [2]) if x else seen
            seen = torch.flip(seen, [3]) if y else seen
            with torch.inference_mode():
                found = unet(seen).softmax(dim=1)
            found = torch.flip(found, [2]) if x else found
            expected += torch.flip(found, [3]) if y else found
            ways += 1
    assert len(mirrorings(flip)) == ways
    assert torch.allclose(infer(unet, images, flip).softmax(dim=1), expected / ways, atol=1e-6)


@pytest.mark.parametrize("axis", [2, 3])
def test_a_mirrored_image_gets_the_mirrored_mask(unet, axis):
    once = infer(unet, pictures(), ("x", "y"))
    assert torch.allclose(infer(unet, pictures().flip(axis), ("x", "y")), once.flip(axis), atol=1e-4)
    assert not torch.allclose(infer(unet, pictures().flip(axis), ()), infer(unet, pictures(), ()).flip(axis), atol=1e-4)


def test_every_head_is_averaged_and_the_descriptor_is_of_the_image_itself(unet):
    network = Inspection(unet)
    single, found = infer(network, pictures(), ()), infer(network, pictures(), ("x", "y"))
    assert torch.equal(found["descriptor"], single["descriptor"])
    assert found["heads"].shape == single["heads"].shape
    assert torch.allclose(found["heads"].exp().sum(dim=2), torch.ones(2, 3, 16, 32), atol=1e-5)
    main = infer(unet, pictures(), ("x", "y"))
    assert torch.allclose(found["heads"][:, 0].softmax(dim=1), main.softmax(dim=1), atol=1e-6)
    assert not torch.allclose(found["heads"].softmax(dim=2), single["heads"].softmax(dim=2), atol=1e-4)


def test_metadata_of_the_image_stay_with_what_is_found(unet):
    images = MetaTensor(pictures(1), meta={"filename_or_obj": ["one.png"]})
    found = infer(unet, images, ("x",))
    assert isinstance(found, MetaTensor) and found.meta["filename_or_obj"] == ["one.png"]
    assert torch.equal(found.as_tensor(), infer(unet, pictures(1), ("x",)))


@pytest.mark.parametrize(("modality", "passes"), [("dermoscopy", 4), ("chest_xray", 1)])
def test_a_modality_is_seen_in_as_many_ways_as_it_allows(modality, passes):
    seen = []

    def network(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return torch.zeros(len(images), 2, *images.shape[2:])

    MirroredInferer(SimpleInferer(), load_modality(modality).augmentation.flip)(pictures(), network)
    assert len(seen) == passes and torch.equal(seen[0], pictures())


def test_a_class_that_no_view_believes_in_stays_finite():
    logits = torch.tensor([1000.0, -1000.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    found = MirroredInferer(SimpleInferer(), ("x",))(pictures(1)[..., :4, :4], lambda _: logits.clone())
    assert torch.isfinite(found).all() and (found.argmax(dim=1) == 0).all()
