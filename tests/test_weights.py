"""A weight file is tensors and plain values, whole or absent, and says what it belongs to."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine

from bundle.network import PretrainingNetwork, UNet
from bundle.numerics import prepare_network
from bundle.weights import LoadWeights, SaveWeights, check_settings, load_weights, save_weights

NARROW = (4, 6, 8, 10)


@pytest.fixture
def network() -> UNet:
    torch.manual_seed(0)
    return UNet(3, 2, NARROW)


class Malicious:
    """What a pickle may do when it is loaded as code."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self):
        return (Path.touch, (self.victim,))


def test_what_is_saved_is_loaded(tmp_path, network):
    path = save_weights(tmp_path / "new" / "model.pt", network, {"modality": "own", "steps": 3})
    weights = load_weights(path)
    assert weights.settings == {
        "in_channels": 3,
        "out_channels": 2,
        "filters": list(NARROW),
        "modality": "own",
        "steps": 3,
    }
    assert weights.heads == {}
    assert weights.model.keys() == network.state_dict().keys()
    assert all(torch.equal(weights.model[name], tensor) for name, tensor in network.state_dict().items())


def test_half_precision_halves_the_file_and_comes_back_as_float32(tmp_path):
    torch.manual_seed(0)
    network = UNet(3, 2)
    full, half = (save_weights(tmp_path / f"{h}.pt", network, {}, half=h) for h in (False, True))
    assert half.stat().st_size < 0.55 * full.stat().st_size
    for name, tensor in load_weights(half).model.items():
        assert tensor.dtype == network.state_dict()[name].dtype
        torch.testing.assert_close(tensor, network.state_dict()[name], atol=1e-3, rtol=1e-3)
    UNet(3, 2).load_state_dict(load_weights(half).model)


def test_parts_and_heads_are_those_that_were_asked_for(tmp_path, network):
    both = PretrainingNetwork(network, projection_dim=5)
    path = save_weights(tmp_path / "ssl.pt", network, {}, parts=("encoder",), heads={"projection": both.projection})
    weights = load_weights(path)
    assert weights.model and all(name.startswith("encoder.") for name in weights.model)
    assert set(weights.heads) == {"projection"}
    PretrainingNetwork(UNet(3, 2, NARROW), projection_dim=5).projection.load_state_dict(weights.heads["projection"])


def test_the_file_holds_no_memory_layout_and_no_gradient(tmp_path, network):
    path = save_weights(tmp_path / "model.pt", prepare_network(network, torch.device("cpu")), {})
    content = torch.load(path, weights_only=True)
    assert all(t.is_contiguous() and not t.requires_grad for t in content["model"].values())
    assert sum(t.untyped_storage().nbytes() for t in content["model"].values()) == sum(
        t.numel() * t.element_size() for t in content["model"].values()
    )


def test_code_in_a_file_is_refused_and_not_run(tmp_path):
    victim, file = tmp_path / "victim", tmp_path / "model.pt"
    for writer in (torch.save, lambda thing, path: Path(path).write_bytes(pickle.dumps(thing))):
        writer({"model": {"weight": Malicious(victim)}, "settings": {}}, file)
        with pytest.raises(ValueError, match=r"model\.pt.*read safely"):
            load_weights(file)
        assert not victim.exists()
    pickle.loads(file.read_bytes())  # the file would have done it
    assert victim.exists()


@pytest.mark.parametrize("content", [[1, 2], {"weights": {}}, {"model": [1]}])
def test_a_file_of_another_layout_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt.*'model'"):
        load_weights(tmp_path / "other.pt")


def test_no_weight_file_is_told_by_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.pt"):
        load_weights(tmp_path / "absent.pt")


def test_a_mismatch_names_what_differs_and_only_that():
    found = {"modality": "chest_xray", "in_channels": 1, "size": 128}
    check_settings("model.pt", found, {"in_channels": 1, "size": 128, "filters": [1]})
    with pytest.raises(ValueError, match=r"model\.pt") as caught:
        check_settings("model.pt", found, {"modality": "dermoscopy", "in_channels": 3, "size": 128})
    assert "modality is 'chest_xray', not 'dermoscopy'" in str(caught.value)
    assert "in_channels is 1, not 3" in str(caught.value) and "size" not in str(caught.value)


def run_with(handler: object) -> None:
    engine = Engine(lambda *_: None)
    handler.attach(engine)  # type: ignore[attr-defined]
    engine.run([0], max_epochs=1)


def test_a_network_is_filled_at_the_start(tmp_path, network):
    path = save_weights(tmp_path / "model.pt", network, {"modality": "own"})
    torch.manual_seed(1)
    other = UNet(3, 2, NARROW)
    run_with(LoadWeights(path, other, {"modality": "own"}))
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))


def test_a_network_is_never_filled_by_half(tmp_path, network):
    part = save_weights(tmp_path / "part.pt", network, {"modality": "own"}, parts=("encoder",))
    with pytest.raises(ValueError, match=r"(?s)part\.pt does not fill.*decoder"):
        run_with(LoadWeights(part, network, {}))
    with pytest.raises(ValueError, match="modality is 'own'"):
        run_with(LoadWeights(part, network, {"modality": "other"}))


def test_the_best_weights_are_those_of_the_highest_score(tmp_path, network):
    saver = SaveWeights(tmp_path / "last.pt", network, {"modality": "own"}, best=tmp_path / "best.pt")
    bias = network.heads[0].bias
    for score in (0.3, 0.6, 0.5):
        with torch.no_grad():
            bias.fill_(score)
        saver.saw(score)
    resumed = SaveWeights(tmp_path / "last.pt", network, {}, best=tmp_path / "best.pt")
    resumed.load_state_dict(saver.state_dict())
    resumed.saw(0.55)
    best = load_weights(tmp_path / "best.pt")
    assert best.settings["validation_dice"] == 0.6
    assert best.model["heads.0.bias"].tolist() == pytest.approx([0.6, 0.6])
    assert not (tmp_path / "last.pt").exists()
    run_with(saver)
    assert load_weights(tmp_path / "last.pt").model["heads.0.bias"].tolist() == pytest.approx([0.5, 0.5])


def test_an_interrupted_save_leaves_the_old_weights(tmp_path, network, monkeypatch):
    path = save_weights(tmp_path / "model.pt", network, {"round": 1})

    def broken(self: Path, content: bytes) -> None:
        with self.open("wb") as handle:
            handle.write(content[: len(content) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", broken)
    with pytest.raises(OSError, match="disk full"):
        save_weights(path, network, {"round": 2})
    assert load_weights(path).settings["round"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]
