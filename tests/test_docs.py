"""The documentation says what is there: its commands, options, knobs, links and examples are held against the code."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from bundle.commands import VERBS
from bundle.data.modality import load_modality

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
CONFIGS = ("pretrain", "embed", "train", "evaluate", "inference", "uncertainty", "multi_gpu_train")


def fenced(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def command_lines(page: Path) -> list[list[str]]:
    """Every command in a page's shell examples as words, continued lines joined."""
    lines = "\n".join(fenced(page, "sh")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def parser_of(verb: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=verb)
    importlib.import_module(f"bundle.commands.{verb}").add_arguments(parser)
    return parser


def sections(page: Path) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_to_a_file_and_a_heading(page):
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith("http"):
            continue
        place, _, heading = target.partition("#")
        found = (page.parent / place).resolve() if place else page
        assert found.exists(), f"{target} is not there"
        if heading:
            titles = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in map(anchor, titles), f"{target} has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_example_command_is_one_that_the_code_takes(page):
    for words in command_lines(page):
        if words[0] == "coldstart":
            verb, arguments = words[1], words[2:]
        elif words[:2] == ["python", "-m"] and words[2].startswith("scripts."):
            assert (ROOT / "scripts" / f"{words[2].removeprefix('scripts.')}.py").is_file(), words[2]
            verb, arguments = words[2].removeprefix("scripts."), words[3:]
        else:
            continue
        assert verb in VERBS
        try:
            parser_of(verb).parse_args(arguments)
        except SystemExit as end:
            assert end.code == 0, " ".join(words)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_monai_command_sets_knobs_that_its_configs_have(page):
    for words in command_lines(page):
        if words[0] not in ("python", "torchrun") or "monai.bundle" not in words:
            continue
        words = words[words.index("run") + 1 :]
        given = dict(zip(words[::2], words[1::2], strict=True))
        files = re.findall(r"configs/\w+\.yaml", given.pop("--config_file"))
        known = {name for file in files for name in yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))}
        assert files and {name.removeprefix("--") for name in given} <= known, " ".join(words)


@pytest.mark.parametrize("verb", VERBS)
def test_the_reference_has_exactly_the_options_of_every_verb(verb):
    text = sections(ROOT / "docs/reference/commands.md")[verb]
    rows = set(re.findall(r"^\| `(--[\w-]+)", text, re.MULTILINE))
    options = {name for action in parser_of(verb)._actions for name in action.option_strings if name.startswith("--")}
    assert rows == options - {"--help"}


@pytest.mark.parametrize("config", CONFIGS)
def test_the_reference_has_exactly_the_knobs_of_every_config_with_their_defaults(config):
    content = yaml.safe_load((ROOT / "configs" / f"{config}.yaml").read_text(encoding="utf-8"))
    text = sections(ROOT / "docs/reference/configs.md")[f"{config}.yaml"]
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", text, re.MULTILINE))
    plain = {
        name: value
        for name, value in content.items()
        if "#" not in name and not isinstance(value, (dict, list)) and not str(value).startswith("$")
    }
    assert set(plain) <= set(rows)
    for name, shown in rows.items():
        assert name in content
        if name in plain:
            assert yaml.safe_load(shown) == plain[name], name
        else:  # a path that follows another knob: "$@dataset_dir + '/datalist.json'"
            assert "$@" + shown.replace("/", " + '/", 1) + "'" == content[name], name


def test_the_reference_has_exactly_the_strategies_and_their_options():
    from bundle.selection import available_strategies

    text = sections(ROOT / "docs/reference/commands.md")["select_samples"]
    rows = re.findall(r"^\| `(\w+)` \| (yes|no) \| .*? \|(.*)\|$", text, re.MULTILINE)
    assert {name: nested == "yes" for name, nested, _ in rows} == {
        name: found.nested for name, found in available_strategies().items()
    }
    for name, _, options in rows:
        shown = dict(re.findall(r"`(\w+)=?([^`]*)`", options))
        told = {option: yaml.safe_load(value) for option, value in shown.items()}
        assert told == dict(available_strategies()[name].options), name


def test_the_reference_has_exactly_the_criteria_and_their_options():
    from bundle.selection import available_criteria

    text = sections(ROOT / "docs/reference/commands.md")["score_uncertainty"]
    rows = re.findall(r"^\| `(\w+)` \| (\w+(?: \[\d+\])?) \| .*? \|(.*)\|$", text, re.MULTILINE)
    assert [name for name, _, _ in rows] == list(available_criteria())
    for name, kind, options in rows:
        found = available_criteria()[name]
        assert kind == (f"{found.opinions} [{found.count}]" if found.count else found.opinions)
        assert dict(re.findall(r"`(\w+)=([^`]*)`", options)) == dict(found.options), name


def test_the_reference_has_exactly_the_diversities_and_their_options():
    from bundle.selection.query import OPTIONS

    text = sections(ROOT / "docs/reference/commands.md")["run_rounds"]
    rows = re.findall(r"^\| `(\w+)` \| .*? \|(.*)\|$", text, re.MULTILINE)
    assert [name for name, _ in rows] == list(OPTIONS)
    for name, options in rows:
        shown = {key: yaml.safe_load(value) for key, value in re.findall(r"`(\w+)=([^`]*)`", options)}
        assert shown == OPTIONS[name], name


def test_the_example_of_an_own_strategy_runs(tmp_path):
    (tmp_path / "k_center.py").write_text(fenced(ROOT / "docs/how-to/own-strategy.md", "python")[0], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "k_center.py"], cwd=tmp_path, capture_output=True, text=True, env=_environment(), check=True
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["1", "2", "3", "4", "5"]


def test_the_example_of_an_own_modality_is_one_and_its_conversion_gives_what_the_bundle_reads(tmp_path):
    from bundle.data.masks import read_mask
    from bundle.data.reader import read_image

    page = ROOT / "docs/how-to/own-modality.md"
    (tmp_path / "jsrt.yaml").write_text(fenced(page, "yaml")[0], encoding="utf-8")
    modality = load_modality(tmp_path / "jsrt.yaml")
    assert modality.labels == ("lung", "heart", "clavicle")

    stored = np.full((2048, 2048), 4095, dtype=">u2")
    stored[:1024] = 0  # bone in the upper half
    (tmp_path / "All247images").mkdir()
    stored.tofile(tmp_path / "All247images" / "JPCLN001.IMG")
    rows = {"left lung": 100, "right lung": 200, "heart": 150, "left clavicle": 300, "right clavicle": 400}
    for name, first in rows.items():
        drawn = np.zeros((1024, 1024), np.uint8)
        drawn[first : first + 100] = 255
        folder = tmp_path / "scratch" / "fold1" / "masks" / name
        folder.mkdir(parents=True)
        Image.fromarray(drawn).save(folder / "JPCLN001.gif")
    (tmp_path / "convert_jsrt.py").write_text(fenced(page, "python")[0], encoding="utf-8")
    command = [sys.executable, "convert_jsrt.py", "All247images", "scratch", "jsrt"]
    subprocess.run(command, cwd=tmp_path, env=_environment(), check=True)

    image = read_image(tmp_path / "jsrt/images/JPCLN001.png", modality)[..., 0]
    assert image[:512].min() > 0.99 and image[512:].max() == 0
    mask = read_mask(tmp_path / "jsrt/masks/JPCLN001.png", labels=modality.labels)
    assert mask.shape == image.shape == (1024, 1024)
    assert list(mask[[0, 120, 170, 240, 260, 320, 420], 0]) == [0, 1, 2, 2, 1, 3, 3]


def test_the_citation_is_of_this_version():
    from bundle import __version__

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == __version__
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
