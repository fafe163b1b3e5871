"""Fabricated report data, and a small run that really trained."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from spikesim.energy import estimate
from spikesim.layers import TimeDistributed
from spikesim.neurons.lif import LIF
from spikesim.probe import record
from spikesim.report import Clip, ReportData
from spikesim.report.page import render
from spikesim.train.config import Config
from spikesim.train.loop import train
from spikesim.train.run import Run

T, SIDE = 6, 12


@pytest.fixture(scope="session")
def data() -> ReportData:
    """Everything a page can show; the class names try to break out of the page."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    model = nn.Sequential(
        TimeDistributed(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)),
        LIF(v_threshold=0.3),
        nn.Flatten(2),
        TimeDistributed(nn.Linear(4 * SIDE * SIDE, 3)),
        LIF(v_threshold=0.1),
    )
    x = torch.from_numpy(random.poisson(0.3, (T, 2, 2, SIDE, SIDE))).float()
    recording = record(model, x, traces=2)
    energy = estimate(model, [x], models=("classical", "step")).to_dict()
    clips = []
    for b, (truth, answer) in enumerate([(0, 0), (1, 2)]):
        evidence = random.dirichlet(np.ones(3), T)
        clips.append(Clip(x[:, b].numpy(), truth, answer, evidence, f"recording {b}"))
    return ReportData(
        name="bars & <script>alert(1)</script>",
        config={
            "data": {"name": "folder", "steps": T},
            "model": {"name": "sdt"},
            "train": {"epochs": 4, "seed": 7},
        },
        metrics=[
            {
                "epoch": e,
                "loss": 2 / e,
                "accuracy": 1 - 0.8 / e,
                "lr": 1e-3 / e,
                "seconds": 3.0,
                "validation_loss": 2.2 / e,
                "validation_accuracy": 0.9 - 0.7 / e,
            }
            for e in range(1, 5)
        ],
        result={
            "accuracy": 0.8571,
            "interval": [0.6541, 0.9502],
            "correct": 18,
            "total": 21,
            "selection": "last",
            "seed": 7,
            "epochs": 4,
            "parameters": 123_456,
            "seconds": 75.4,
            "firing_rates": recording.rates,
        },
        classes=["down", "<i>left</i>", "right"],
        confusion=np.array([[7, 0, 0], [1, 5, 1], [0, 1, 6]]),
        clips=clips,
        recording=recording,
        energy=energy,
    )


@pytest.fixture(scope="session")
def page(data: ReportData) -> str:
    return render(data)


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory, write_bars: Callable[..., None]) -> Config:
    """Two epochs of a tiny model on bars that move down or right."""
    root = tmp_path_factory.mktemp("moving")
    write_bars(root, ("down", "<b>right"), {"train": 8, "test": 5}, 200)
    tree = {
        "run": {"name": "bars", "dir": str(tmp_path_factory.mktemp("runs"))},
        "data": {"name": "folder", "root": str(root), "steps": T, "batch_size": 8},
        "model": {"name": "sdt", "preset": "tiny", "sizes": {"dim": 32, "depth": 1, "heads": 4}},
        "train": {"epochs": 2, "lr": 3e-3, "report": False, "tensorboard": False, "threads": 1},
    }
    path = root / "recipe.yaml"
    path.write_text(yaml.safe_dump(tree))
    return Config.load(path)


@pytest.fixture(scope="session")
def finished(settings: Config) -> Run:
    """A run that trained to its end."""
    train(settings)
    return Run(settings.run.path)
