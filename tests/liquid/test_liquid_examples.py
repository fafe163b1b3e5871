"""The two examples, on little data."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from spikesim.liquid.stimuli import PoissonStimuli, brightness

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nalsm_reads_liquids_and_their_input(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    bars = np.zeros((4, 6, 6))
    for k in range(4):
        bars[k, :, k + 1] = 1.0
    labels = np.arange(80) % 4
    images = brightness(bars[labels] + 0.2 * random.random((80, 6, 6)))
    parts = tuple(
        (PoissonStimuli(images[some], seed), labels[some])
        for seed, some in enumerate((slice(0, 40), slice(40, 60), slice(60, 80)))
    )
    module = example("nalsm")
    found = module.experiment(parts, tmp_path, snapshots=50, grid=(4, 4, 4))
    assert list(found.scores) == ["input alone", "NALSM"]
    assert all(score.accuracy > 0.8 for score in found.scores.values())
    assert found.activity.liquid.shape == (250, 64)
    module.draw(str(tmp_path / "nalsm.png"), found, found.scores)
    assert (tmp_path / "nalsm.png").stat().st_size > 10_000


def test_zero_shot_liquid_finds_digits_that_were_paired(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    module = example("zero_shot_liquid")
    parts = {}
    for kind, inputs in (("picture", 256), ("sound", 140)):
        rates = torch.rand(10, inputs, generator=generator) ** 2
        for split, n in (("train", 200), ("test", 100)):
            labels = np.arange(n) % 10
            p = rates[labels].expand(40, n, inputs)
            frames = torch.bernoulli(p * 0.5, generator=generator).to(torch.uint8)
            parts[kind, split] = module.Part(frames, labels)
    found = module.experiment(parts, 0, neurons=60, epochs=5)
    for source in ("liquid", "input alone"):
        assert found["seen digits", source].accuracy > 0.5
        assert found["sound", source].accuracy > 0.8
    assert found["seen digits", "shuffled pairs"].accuracy < 0.45
    assert found["unseen digits", "liquid"].total == 20
    module.draw(str(tmp_path / "zero_shot.png"), [found, found])
    assert (tmp_path / "zero_shot.png").stat().st_size > 10_000
