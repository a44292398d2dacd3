"""The tests of what imports MONAI Label run in its environment, without a server."""

from __future__ import annotations

import subprocess

import pytest

pytestmark = pytest.mark.label


def test_what_imports_monai_label_passes_its_tests_in_that_environment(label_python, repository):
    command = [str(label_python), "-m", "pytest", "-q", "tests/label/inside"]
    ran = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-3000:]
