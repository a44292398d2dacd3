"""Every stage has its configs."""

from __future__ import annotations

from bundle.run.stages import CONFIGS, bundle_root


def test_the_root_is_the_repository_and_holds_every_config(repository):
    assert bundle_root() == repository
    for files in CONFIGS.values():
        assert all((repository / "configs" / name).is_file() for name in files)
