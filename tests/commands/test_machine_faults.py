"""Want of memory, dead workers, a loss that is no number, weights and settings that do not fit are told."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bundle.benchmark.drill import differences, result_of, run_apart
from bundle.commands import run_verb
from bundle.network import UNet
from bundle.run.advice import advice
from bundle.run.knobs import _CHOICES, _RANGES, check_command_line, check_knobs
from bundle.run.stages import CONFIGS, config_files
from bundle.segmentation.losses import DeepSupervisionLoss
from bundle.weights import load_weights, save_weights

from .sabotage import kill_workers, limit_memory
from .stages import arguments


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def test_a_loss_that_is_no_number_keeps_the_last_checkpoint_and_the_training_goes_on_from_it(
    stocked, undisturbed, tmp_path, capsys, monkeypatch
):
    forward, calls = DeepSupervisionLoss.forward, []

    def spoilt(self, *given):
        calls.append(1)
        return forward(self, *given) * (float("nan") if len(calls) == 5 else 1.0)

    monkeypatch.setattr(DeepSupervisionLoss, "forward", spoilt)
    out = tmp_path / "out"
    assert run_verb("train", arguments("train", stocked, out)) == 2
    error = last_line(capsys.readouterr().err)
    assert "loss is nan at step 5" in error and "lower learning_rate" in error
    assert torch.load(out / "checkpoint.pt", weights_only=True)["epoch"] == 1 and not (out / "model.pt").exists()
    assert run_verb("train", arguments("train", stocked, out)) == 0
    assert differences(undisturbed("train"), result_of(out)) == []


def test_want_of_memory_says_what_to_lower_and_keeps_the_last_checkpoint(stocked, undisturbed, tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    code = run_apart("train", arguments("train", stocked, out), log=log, prepare=limit_memory, prepare_with=(1 << 28,))
    error = last_line(log.read_text())
    assert code == 2 and error.startswith("train: the machine is out of memory") and "batch_size" in error
    assert torch.load(out / "checkpoint.pt", weights_only=True)["epoch"] == 1
    assert run_verb("train", arguments("train", stocked, out)) == 0
    assert differences(undisturbed("train"), result_of(out)) == []


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total ..."), "the GPU is"),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be ..."), "the GPU is out of memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "the GPU is"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."), "the machine is"),
        (MemoryError(), "the machine is out of memory"),
        (RuntimeError("DataLoader worker (pid(s) 41, 42) exited unexpectedly"), "was killed"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that ..."), "shared"),
    ],
)
def test_the_words_of_every_want_are_known_also_below_other_errors(error, told):
    wrapped = RuntimeError("Failed to evaluate")
    wrapped.__cause__ = error
    assert told in (advice(error) or "") and told in (advice(wrapped) or "")
    assert advice(RuntimeError("shape mismatch")) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_full_gpu_says_what_to_lower():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50, dtype=torch.uint8, device="cuda")
    assert "the GPU is out of memory" in (advice(caught.value) or "")


def test_a_dead_worker_says_what_to_set(stocked, tmp_path):
    # With a cache the canvases of the validation are read before there are workers.
    workers = ["--set", "validate#dataloader#num_workers=1", "--set", "cache_images=0"]
    words = [*arguments("train", stocked, tmp_path / "out"), *workers]
    code = run_apart("train", words, log=tmp_path / "log", prepare=kill_workers)
    error = last_line((tmp_path / "log").read_text())
    assert code == 2 and "worker that loads data was killed" in error and "validate#dataloader#num_workers=0" in error
    assert not (tmp_path / "out" / "model.pt").exists()


class Mine:
    """What a file with code in it holds."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def with_model(stocked, tmp_path):
    """``with_model(stage, path)`` is the stage's command line with another weight file."""

    def give(stage: str, path: Path) -> list[str]:
        words = arguments(stage, stocked, tmp_path / "out")
        if stage == "pretrain":
            return [*words, "--init", str(path)]
        return [str(path) if word.endswith(".pt") else word for word in words]

    return give


WEIGHED = ("pretrain", "embed", "train", "evaluate", "infer")


@pytest.mark.parametrize("stage", WEIGHED)
@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_code_in_a_weight_file_is_refused_and_not_run(stage, kind, with_model, tmp_path, capsys):
    bad, mark = tmp_path / "bad.pt", tmp_path / "it_ran"
    content = {"model": {"w": Mine(mark)}, "settings": {}}
    torch.save(content, bad) if kind == "torch" else bad.write_bytes(pickle.dumps(content))
    assert run_verb(stage, with_model(stage, bad)) == 2
    error = last_line(capsys.readouterr().err)
    assert f"{bad} is not a weight file that can be read safely" in error
    assert not mark.exists()


def test_code_in_a_checkpoint_or_in_embeddings_is_refused_and_not_run(stocked, tmp_path, capsys):
    mark, out = tmp_path / "it_ran", tmp_path / "out"
    out.mkdir()
    words = arguments("train", stocked, out)
    assert run_verb("train", [*words, "--set", "epochs=1"]) == 0
    torch.save({"fingerprint": Mine(mark)}, out / "checkpoint.pt")
    assert run_verb("train", [*words, "--set", "epochs=1"]) == 2
    assert "checkpoint" in last_line(capsys.readouterr().err) and not mark.exists()
    folder = tmp_path / "embeddings"
    folder.mkdir()
    np.save(folder / "vectors.npy", np.array([[Mine(mark)]], dtype=object), allow_pickle=True)
    (folder / "ids.txt").write_text("spot_02\n")
    words = arguments("select_samples", stocked, out / "selection")
    words[words.index("--embeddings") + 1] = str(folder)
    assert run_verb("select_samples", words) == 2
    assert "vectors.npy is no array of numbers" in last_line(capsys.readouterr().err) and not mark.exists()


@pytest.mark.parametrize("stage", WEIGHED)
@pytest.mark.parametrize(
    ("network", "told"),
    [(UNet(3, 2, (4, 6, 8, 10)), "filters is [4, 6, 8, 10], not ["), (UNet(1, 2), "in_channels is 1, not 3")],
    ids=["narrow", "grey"],
)
def test_weights_of_other_widths_or_channels_are_refused_with_what_differs(
    stage, network, told, with_model, tmp_path, capsys
):
    if stage == "embed" and network.in_channels == 3:
        pytest.skip("embedding takes an encoder of any widths")
    save_weights(tmp_path / "other.pt", network, {"modality": "spots", "size": 32})
    assert run_verb(stage, with_model(stage, tmp_path / "other.pt")) == 2
    assert told in last_line(capsys.readouterr().err)


@pytest.mark.parametrize("stage", ["embed", "evaluate", "infer"])
def test_weights_of_another_modality_are_refused_with_what_differs(stage, stocked, with_model, tmp_path, capsys):
    weights = load_weights(stocked.root / "train" / "model.pt")
    network = UNet(3, 2)
    network.load_state_dict(weights.model)
    save_weights(tmp_path / "other.pt", network, weights.settings | {"modality": "dermoscopy"})
    assert run_verb(stage, with_model(stage, tmp_path / "other.pt")) == 2
    assert "modality is 'dermoscopy', not 'spots'" in last_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("stage", "setting", "told"),
    [
        ("train", "epcohs=3", "did you mean 'epochs'"),
        ("train", "train#optimizer#lrr=3", "did you mean 'train#optimizer#lr'"),
        ("train", "train#optimiser#lr=3", "did you mean 'train#optimizer'"),
        ("train", "batch_size=0", "batch_size must be at least 1, got 0"),
        ("train", "batch_size=2.5", "batch_size must be a whole number, got 2.5"),
        ("train", "epochs=many", "epochs must be a whole number, got 'many'"),
        ("train", "learning_rate=-1", "learning_rate must be at least 0, got -1"),
        ("train", "learning_rate=.nan", "learning_rate must be a finite number, got nan"),
        ("train", "dropout=1", "dropout must be at least 0 and below 1"),
        ("train", "warm_start=half", "warm_start must be one of all, encoder, none"),
        ("pretrain", "temperature=0", "temperature must be above 0"),
        ("pretrain", "objective=supervised", "objective must be one of contrastive, restoration, joint"),
        ("embed", "features=colour", "features must be one of scales, bottleneck"),
        ("infer", "dicom_seg=perhaps", "dicom_seg must be true or false"),
        ("evaluate", "precision=fp8", "precision must be one of auto, bf16, fp32"),
        ("infer", "output_dirs=x", "did you mean 'output_dir'"),
    ],
)
def test_a_wrong_setting_is_refused_before_any_work_and_its_correction_needs_no_overwrite(
    stocked, tmp_path, capsys, stage, setting, told
):
    out = tmp_path / "out"
    assert run_verb(stage, [*arguments(stage, stocked, out), "--set", setting]) == 2
    error = last_line(capsys.readouterr().err)
    assert error.startswith(f"{stage}: ") and told in error
    assert not out.exists(), "not even the folder"


def test_what_a_component_takes_may_be_set_though_the_config_does_not_say_it():
    check_knobs({"train#optimizer#betas": [0.9, 0.99], "train::loss::_disabled_": False}, config_files("train"))
    check_knobs({"train#handlers#0#handler": None, "learning_rate": "@weight_decay"}, config_files("train"))


@pytest.mark.parametrize("stage", CONFIGS)
def test_every_default_keeps_the_rules(stage):
    import yaml

    for file in config_files(stage):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        check_knobs({name: value for name, value in content.items() if name in {*_CHOICES, *_RANGES}}, [file])


@pytest.mark.parametrize(
    ("config", "words", "told"),
    [
        ("embed.yaml", ["--typo", "3"], "the setting 'typo' is unknown to embed.yaml"),
        ("train.yaml", ["--epoch=3"], "did you mean 'epochs'"),
        (["train.yaml", "evaluate.yaml"], ["--sectoin", "test"], "did you mean 'section'"),
        ("inference.yaml", ["--precision", "fp8"], "precision must be one of"),
        (None, [], "did you mean 'section'"),
    ],
)
def test_overrides_on_monai_s_own_command_line_are_checked(repository, tmp_path, monkeypatch, config, words, told):
    names = [config] if isinstance(config, str) else config or ["embed.yaml"]
    files = [str(repository / "configs" / name) for name in names]
    given = ["--config_file", str(files) if len(files) > 1 else files[0], *words]
    if config is None:
        (tmp_path / "args.json").write_text(json.dumps({"config_file": files[0], "sektion": "test"}))
        given = ["--args_file", str(tmp_path / "args.json")]
    command = ["/anywhere/monai/bundle/__main__.py", "run", *given, "--bundle_root", ".", "--run_id=run"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match=told):
        check_command_line()
    for other in (["pytest", *command[1:]], [command[0], "ckpt_export", *command[2:]], [*command[:2], *command[2:4]]):
        if config is not None:
            monkeypatch.setattr(sys, "argv", other)
            check_command_line()


def test_monai_refuses_a_misspelt_override_of_every_config_before_any_work(repository, tmp_path):
    for name in {name for names in CONFIGS.values() for name in names} - {"evaluate.yaml"}:
        assert "initialize:\n  - $check_command_line()" in (repository / "configs" / name).read_text(encoding="utf-8")
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/embed.yaml", "--bundle_root", "."]
    command += ["--typo", "3", "--output_dir", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "the setting 'typo' is unknown" in last_line(done.stderr), done.stderr[-800:]
    assert not (tmp_path / "out").exists()
