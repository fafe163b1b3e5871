"""Shared fixtures."""

import os
from pathlib import Path

import pytest

# As the command line does, and for the same reason: waiting threads must not spin.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of recordings that are not shipped; see the marker ``data``."""
    root = os.environ.get("SPIKESIM_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("set SPIKESIM_DATA to the folder of recordings that are not shipped")
    return Path(root)
