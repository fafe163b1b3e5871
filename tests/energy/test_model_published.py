"""Published energies, from published activity; and the page that shows them."""

import re
from pathlib import Path

import pytest
import torch

from spikesim.backend import set_backend
from spikesim.energy import count
from spikesim.energy.layer import BINARY, REAL, Counts, LayerCounts
from spikesim.energy.model import joules
from spikesim.energy.models import get
from spikesim.energy.models.measured import networks
from spikesim.energy.models.table import written
from spikesim.models import create

PAGE = (Path(__file__).parents[2] / "docs/energy-models.md").read_text(encoding="utf-8")
STEPS = 4

SPIKINGFORMER = {384: (3.88e9, 4.69e-3), 512: (6.52e9, 7.46e-3), 768: (12.54e9, 13.68e-3)}
"""Synaptic operations and joules of 8 blocks by width, ImageNet at 224 pixels: README of QKFormer
(github.com/zhouchenlin2096/QKFormer)."""

SDT = {
    (8, 384): 3.90e-3,
    (6, 512): 3.56e-3,
    (8, 512): 4.50e-3,
    (10, 512): 5.53e-3,
    (8, 768): 6.09e-3,
}
"""Joules by blocks and width: README of BICLab/Spike-Driven-Transformer."""


def products(
    depth: int, dim: int, *, size: int = 224, classes: int = 1000, padding: bool = True
) -> dict[str, float]:
    """Products of one pass of a spike-driven transformer, with or without those on padding."""
    found = {}
    widths = [3, dim // 8, dim // 4, dim // 2, dim]
    for stage in range(4):
        found[f"stem {stage + 1}"] = _taps(size, padding) * widths[stage] * widths[stage + 1]
        size //= 2
    found["position"] = _taps(size, padding) * dim * dim
    found["blocks"] = depth * (3 + 1 + 2 * 4) * dim * dim * size * size
    found["head"] = dim * classes
    return found


def _taps(size: int, padding: bool) -> int:
    return (3 * size if padding else 3 * size - 2) ** 2


def classical(first: float, others: float) -> float:
    stem = LayerCounts(name="stem", kind="conv", values=REAL, effective_macs=first)
    rest = LayerCounts(name="rest", kind="conv", values=BINARY, effective_acs=others)
    return joules(get("classical"), Counts((stem, rest), samples=1, steps=STEPS)).total


@pytest.mark.parametrize("dim", SPIKINGFORMER)
def test_energies_of_spikingformer_follow_from_its_operations(dim: int) -> None:
    operations, published = SPIKINGFORMER[dim]
    first = products(8, dim)["stem 1"]  # its stem begins as that of the spike-driven transformer
    computed = classical(STEPS * first, operations)
    assert computed == pytest.approx(published, rel=2e-3)
    assert f"| Spikingformer 8-{dim} | {1e3 * published:.2f} | {1e3 * computed:.2f} |" in PAGE


def test_products_of_the_spike_driven_transformer_are_those_that_are_counted() -> None:
    model = create(
        "sdt", num_classes=7, steps=1, in_channels=3, image_size=64, dim=32, depth=2, pooling="1111"
    )
    set_backend(model, "torch")  # nothing to compile for one pass
    found = count(model, torch.rand(1, 1, 3, 64, 64))
    dense = sum(layer.ann_macs for layer in found if layer.kind in ("conv", "linear"))
    assert dense == sum(products(2, 32, size=64, classes=7, padding=False).values())


@pytest.mark.parametrize(("depth", "dim"), SDT)
def test_energies_of_the_spike_driven_transformer_imply_rates(depth: int, dim: int) -> None:
    found = products(depth, dim)
    first = found.pop("stem 1")
    most = classical(0.0, STEPS * sum(found.values()))
    rates = [(SDT[depth, dim] - classical(n * first, 0.0)) / most for n in (1, STEPS)]
    assert 0.0 < rates[1] < rates[0] < 0.25
    line = (
        f"| {depth}-{dim} | {1e3 * SDT[depth, dim]:.2f} | {1e3 * classical(first, 0.0):.2f} | "
        f"{1e3 * most:.1f} | {rates[0]:.3f} | {rates[1]:.3f} |"
    )
    assert line in PAGE


def test_published_energies_leave_less_than_a_first_layer_in_each_step() -> None:
    # What a block costs, by two more of them, taken off the smallest network.
    block = (SDT[10, 512] - SDT[6, 512]) / 4
    without_blocks = SDT[6, 512] - 6 * block
    first = products(6, 512)["stem 1"]
    assert classical(first, 0.0) < without_blocks < classical(STEPS * first, 0.0)


def test_chips_are_computed_within_the_errors_that_the_page_shows() -> None:
    errors = {found.name: found.error for found in networks()}
    for name, error in errors.items():
        print(f"{name}: {error:+.1%}")
    assert abs(errors["nearest neighbours on Loihi"]) < 0.2
    assert abs(errors["recurrent network on TrueNorth, 20 Hz"]) < 0.05
    assert abs(errors["recurrent network on TrueNorth, 20.07 Hz"]) < 0.01
    bound = "keyword spotting on Loihi, all neurons firing in every step"
    assert errors[bound] == pytest.approx(-0.85, abs=0.01)


def test_tables_of_the_page_are_current() -> None:
    assert written(PAGE) == PAGE, "python -m spikesim.energy.models.table docs/energy-models.md"
    assert re.search(r"TrueNorth.*\+?-2\.0%", PAGE)
