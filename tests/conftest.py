"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

# Before anything imports torch: tests compare results bit by bit, also of processes that they start, and the order of a
# sum depends on the number of threads. Networks as small as these are faster with one.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parent.parent

# The same examples in every run, and no limit on their time: a busy machine is no fault of the code.
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images: ``COLDSTART_DATA`` or ``../shared/data``; the test is skipped where neither is."""
    root = Path(os.environ.get("COLDSTART_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (root / "dermoscopy").is_dir():
        pytest.skip(f"the real data are not at {root}; set COLDSTART_DATA")
    return root


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository, which is the root of the bundle."""
    return REPOSITORY
