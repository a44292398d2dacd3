"""Bundles of another release are refused: one process has room for one package called ``bundle``."""

from __future__ import annotations

import json
import shutil

import pytest
from monai.bundle import ConfigParser

from bundle import __version__
from bundle.run.release import require_release


@pytest.fixture
def other(repository, tmp_path):
    """A bundle that tells version 9.9.9."""
    shutil.copytree(repository / "configs", tmp_path / "configs")
    metadata = tmp_path / "configs" / "metadata.json"
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"version": "9.9.9"}))
    return tmp_path


def test_this_bundle_is_of_this_release(repository):
    assert require_release(repository) == __version__


def test_configs_beside_no_bundle_are_taken(tmp_path):
    assert require_release(tmp_path) == __version__


def test_a_bundle_of_another_release_is_refused_and_both_are_named(other):
    with pytest.raises(ValueError, match=rf"version 9\.9\.9.*{__version__}.*package it again"):
        require_release(other)


@pytest.mark.parametrize("config", ["inference", "train"])
def test_the_network_of_another_release_is_not_built(config, other, repository):
    for root, refused in ((repository, False), (other, True)):
        parser = ConfigParser()
        parser.read_config(str(root / "configs" / f"{config}.yaml"))
        parser["bundle_root"] = str(root)
        if refused:
            with pytest.raises(RuntimeError) as raised:
                parser.get_parsed_content("network_def")
            assert "9.9.9" in str(raised.value.__cause__)
        else:
            assert parser.get_parsed_content("network_def").in_channels == 3
