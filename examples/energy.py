"""Where the energy of a spiking transformer goes: the count of Yao et al. (2023), measured.

Builds an untrained spike-driven transformer of CIFAR10-DVS size (2 blocks, width 256; T = 4 here),
feeds it random events, and counts every operation on the spikes that really occur. The published
formula takes a firing rate per layer, E = 0.9 pJ * T * rate * MACs; the exact count, which knows
where a spike at the border meets fewer weights, is printed next to it.

    python examples/energy.py

Reference: Yao et al. (2023), *Spike-driven Transformer*, section 4 and table 1 (energy of MAC and
AC: Horowitz, 2014).
"""

import torch
from rich.console import Console

from spikesim.energy import LayerEnergy, estimate
from spikesim.models import create

STEPS, BATCH, SIZE = 4, 2, 64
EVENTS_PER_PIXEL = 0.3


def calibrate(model: torch.nn.Module, x: torch.Tensor) -> None:
    """Give batch norm the statistics of the data: without them an untrained network is silent."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the plain mean over what it sees
    with torch.no_grad():
        model.train()(x)


def counted(layer: LayerEnergy) -> float:
    """Accumulations that really occur."""
    return layer.effective_acs


def by_rate(layer: LayerEnergy) -> float:
    """Accumulations as published: all operations times the mean rate of the input."""
    return layer.macs * (layer.rate or 0.0) if layer.values == "binary" else 0.0


def main() -> None:
    torch.manual_seed(0)
    model = create("sdt", num_classes=10, steps=STEPS, image_size=SIZE, dim=256, depth=2, heads=8)
    x = torch.poisson(torch.full((STEPS, BATCH, 2, SIZE, SIZE), EVENTS_PER_PIXEL))
    calibrate(model, x)

    report = estimate(model, [x])
    Console(width=110).print(report.table())
    assert not report.uncovered, report.uncovered

    totals = report.totals
    weighted = [layer for layer in report.layers if layer.kind in ("conv", "linear")]
    exact, published = (sum(f(layer) for layer in weighted) for f in (counted, by_rate))
    print(f"accumulations in weighted layers: {exact:,.0f} counted, {published:,.0f} by mean rate")
    print(f"one recording: {totals.snn_uj:.1f} uJ as SNN, {totals.ann_uj:.1f} uJ as ANN, "
          f"{totals.ratio:.2f} times as much")  # fmt: skip


if __name__ == "__main__":
    main()
