"""The example, on little data; and on MNIST, where the claim is tested."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from spikesim.early_exit import paired_difference

EXAMPLE = Path(__file__).parents[2] / "examples" / "dynamic_confidence.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location(EXAMPLE.stem, EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.COUNTED = 50  # type: ignore[attr-defined]
    return module


def test_most_bars_are_told_early(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = torch.arange(900) % 4
    images = 0.5 * torch.rand(900, 1, 8, 8)
    for image, label in zip(images, labels, strict=True):
        image[0, :, 2 * label : 2 * label + 2] += 0.3
    parts = [(images[some], labels[some]) for some in (slice(0, 700), slice(700, 900))]
    found = example.experiment(*parts, steps=6, epochs=6, held=150, tolerance=0.01, seed=0)
    right = found.outputs.sum(0).argmax(-1) == found.targets
    assert right.double().mean() > 0.7
    assert found.exits.latency < 0.7 * 6
    assert found.exits.accuracy(found.targets) > right.double().mean() - 0.05
    printed = capsys.readouterr().out
    assert f"6 -> {found.exits.latency:.2f}" in printed
    found.draw(str(tmp_path / "pareto.png"))
    assert (tmp_path / "pareto.png").stat().st_size > 10_000


@pytest.mark.data
def test_mnist_keeps_its_accuracy_in_a_third_fewer_steps(
    example: ModuleType, data_root: Path
) -> None:
    (x, y), test = example.mnist(data_root / "mnist")
    little = (x[:15_000], y[:15_000])
    found = example.experiment(little, test, steps=8, epochs=2, held=5000, tolerance=0.0, seed=0)
    targets = test[1]
    full = found.outputs.sum(0).argmax(-1) == targets
    assert len(full) == 10_000
    assert full.double().mean() > 0.95
    lost = paired_difference(found.exits.predictions == targets, full)
    assert lost.low > -0.003
    assert found.exits.latency < 0.7 * 8
