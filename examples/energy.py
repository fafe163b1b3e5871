"""Where the energy of a spiking transformer goes, by four accounts of the same counted operations.

Builds an untrained spike-driven transformer (2 blocks, width 256; T = 4 here), feeds it random
events, and counts every operation on the spikes that really occur. Then: joules under four energy
models, each beside the same architecture without time, with intervals and the constant that
decides; the published formula, E = 0.9 pJ * T * rate * MACs (Yao et al.), beside the exact count;
and the pictures.

    python examples/energy.py
    python examples/energy.py --figures energy-figures --model step --model truenorth

Reference: Yao et al. (2023), *Spike-driven Transformer*, section 4 and table 1 (energy of MAC and
AC: Horowitz, 2014).
"""

import argparse
from pathlib import Path

import torch
from rich.console import Console
from torch.optim.swa_utils import update_bn

from spikesim.energy import LayerEnergy, estimate
from spikesim.models import create
from spikesim.report.energy_pictures import of_energy, save

STEPS, BATCH, SIZE = 4, 2, 64
EVENTS_PER_PIXEL = 0.3
MODELS = ("classical", "step", "lemaire", "loihi")


def by_rate(layer: LayerEnergy) -> float:
    """Accumulations as published: all operations times the mean rate of the input."""
    return layer.macs * (layer.rate or 0.0) if layer.values == "binary" else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description="energy of a spiking transformer")
    parser.add_argument("--model", action="append", help=f"default: {', '.join(MODELS)}")
    parser.add_argument("--figures", type=Path, default=Path("energy-figures"))
    given = parser.parse_args()

    torch.manual_seed(0)
    model = create("sdt", num_classes=10, steps=STEPS, image_size=SIZE, dim=256, depth=2, heads=8)
    x = torch.poisson(torch.full((STEPS, BATCH, 2, SIZE, SIZE), EVENTS_PER_PIXEL))
    update_bn([x], model)  # as batch norm begins, an untrained network is silent

    report = estimate(model, [x], models=given.model or MODELS)
    Console(width=100).print(report.table())
    assert not report.uncovered, report.uncovered

    weighted = [layer for layer in report.layers if layer.kind in ("conv", "linear")]
    exact, published = sum(layer.effective_acs for layer in weighted), sum(map(by_rate, weighted))
    print(f"accumulations in weighted layers: {exact:,.0f} counted, {published:,.0f} by mean rate")
    for path in save([*of_energy(report.to_dict())], given.figures):
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
