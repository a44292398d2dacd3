"""Tests of what imports MONAI Label, run by the Python of its environment: see ``tests/label/test_inside.py``."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("monailabel") else ["test_*.py"]
