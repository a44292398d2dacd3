"""What the code may never do with data from outside, read from its syntax; and which releases it asks for."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:  # Python 3.10 has no TOML reader of its own
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted([*(ROOT / "bundle").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")])
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "pty.spawn"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "torch.hub.load", "numpy.fromregex"),
    *("tempfile.mktemp", "zipfile.ZipFile.extractall", "tarfile.TarFile.extractall"),
}
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "telnetlib", "ftplib"}
LABEL = ROOT / "bundle" / "label"  # speaks with the server and the archive that a person names; nothing else may
NETWORK = {"urllib.request", "requests", "http.client", "socket", "ftplib", "smtplib"}
# Releases before these have a known hole on a way that this project takes; what it is stands in pyproject.toml.
SAFE_FROM = {
    *(("torch", "2.10"), ("monai", "1.5.1"), ("jinja2", "3.1.6"), ("pillow", "13"), ("pyyaml", "5.4")),
    *(("tqdm", "4.66.3"), ("scikit-learn", "1.5")),
}
NETWORK_ROOTS = {name.partition(".")[0] for name in NETWORK}


def faults(source: str) -> Iterator[str]:
    """What a module does that it may not: line and words."""
    tree = ast.parse(source)
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        imported = []
        if isinstance(node, ast.Import):
            imported = [(alias.asname or alias.name.split(".")[0], alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported = [(alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names]
        for short, full in imported:
            names[short] = full if isinstance(node, ast.ImportFrom) else full if "." not in full else short
            if full.split(".")[0] in FORBIDDEN_IMPORTS or any(f"{full}.".startswith(f"{n}.") for n in NETWORK):
                yield f"{node.lineno}: imports {full}"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        first, _, rest = called.partition(".")
        called = f"{names.get(first, first)}.{rest}" if rest else names.get(first, first)
        called = re.sub(r"^np\.|^numpy\.", "numpy.", called)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if called in FORBIDDEN_CALLS:
            yield f"{node.lineno}: calls {called}"
        if given.get("shell", "False") != "False":
            yield f"{node.lineno}: runs a shell"
        if called == "torch.load" and given.get("weights_only") != "True":
            yield f"{node.lineno}: torch.load without weights_only=True"
        if called == "numpy.load" and given.get("allow_pickle", "False") != "False":
            yield f"{node.lineno}: numpy.load of pickles"
        if called.endswith("Environment") and given.get("autoescape") != "True":
            yield f"{node.lineno}: a template environment that does not escape"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_from_outside_can_run_as_code(path):
    found = list(faults(path.read_text(encoding="utf-8")))
    if path.is_relative_to(LABEL):
        found = [fault for fault in found if fault.split(": imports ")[-1].partition(".")[0] not in NETWORK_ROOTS]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "eval(text)",
        "import os\nos.system(name)",
        "from os import system as run\nrun(name)",
        "import subprocess\nsubprocess.run(name, shell=True)",
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.load(path)",
        "from torch import load\nload(path, weights_only=False)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
        "from jinja2 import Environment\nEnvironment()",
        "import urllib.request",
    ],
)
def test_the_search_finds_what_it_looks_for(line):
    assert list(faults(line))


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = [Requirement(text) for text in project["dependencies"]]
    return [requirement for requirement in found if requirement.marker is None or requirement.marker.evaluate()]


@pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: requirement.name)
def test_every_dependency_has_a_lower_bound_that_what_is_installed_meets(requirement):
    lower = [one.version for one in requirement.specifier if one.operator in (">=", "==", "~=")]
    assert lower, f"{requirement.name} may be of any age"
    installed = importlib.metadata.version(requirement.name)
    assert requirement.specifier.contains(installed, prereleases=True), f"{requirement}, but {installed} is installed"


def test_no_release_with_a_known_hole_is_let_in():
    if sys.version_info < (3, 11):
        pytest.skip("Python 3.10 is at its end and gets no mended releases")
    lower = {
        re.sub(r"[-_.]+", "-", requirement.name).lower(): max(
            Version(one.version) for one in requirement.specifier if one.operator == ">="
        )
        for requirement in requirements()
    }
    assert {name: str(lower[name]) for name, safe in SAFE_FROM if lower[name] < Version(safe)} == {}


def test_the_metadata_names_releases_that_the_project_allows():
    metadata = json.loads((ROOT / "configs" / "metadata.json").read_text(encoding="utf-8"))
    named = {**metadata["required_packages_version"], "torch": metadata["pytorch_version"]}
    named |= {"monai": metadata["monai_version"], "numpy": metadata["numpy_version"]}
    allowed = {requirement.name: requirement.specifier for requirement in requirements()}
    assert {name: version for name, version in named.items() if not allowed[name].contains(version)} == {}
