"""How a process is prepared for training."""

import subprocess
import sys

import pytest
import torch

from spikesim.train.config import TrainSettings
from spikesim.train.device import prepare


def test_preparing_needs_no_compiler() -> None:
    # importing torch's compiler takes a second, before anything is seen of the training
    code = (
        "import sys; from spikesim.train.config import TrainSettings;"
        "from spikesim.train.device import prepare; prepare(TrainSettings());"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_determinism_is_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    for wanted in (True, False):
        prepare(TrainSettings(deterministic=wanted))
        assert torch.are_deterministic_algorithms_enabled() is wanted
