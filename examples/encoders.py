"""One value through every encoder: a picture of the spikes, and what a receiver can read back.

Side by side as in the comparison of codes by Guo, Fouda, Eltawil and Salama (2021), with the
number of spikes that each needs and the error of the value read back from them.

    python examples/encoders.py --value 0.7 --steps 40
"""

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor

from spikesim.encoders import Burst, Delta, Direct, Latency, Phase, Population, Rate


def rows(value: float, steps: int) -> list[tuple[str, Tensor, float]]:
    """For each code: its name, what it sends ``[T, M]``, and the value read back from that."""
    x = torch.tensor([value])
    generator = torch.Generator().manual_seed(0)

    rate = Rate(steps)(x, generator)
    linear = Latency(steps)
    rc = Latency(steps, form="rc", threshold=0.2, tau=steps / 4)
    phase = Phase(steps)
    sent = phase(x)
    burst = Burst(steps, isi_max=(steps - 1) // 4)
    population = Population(steps)
    fields = population(x)[:, 0]  # [T, M]
    centres = (torch.arange(1, 11) - 1.5) / 8

    # a static value has no changes to send: a ramp up to it stands in
    ramp = torch.linspace(0, value, steps).unsqueeze(1)
    delta = Delta(threshold=0.1)
    moves = delta(ramp)

    # the decoders read the formulas of each code backwards
    rc_time = rc.times(x).item() + 0.5
    response = 1 - (fields.argmax(0) + 0.5) / steps
    seen = fields.sum(0) * response
    return [
        ("direct", Direct(steps)(x), value),
        ("rate", rate, rate.mean().item()),
        ("latency, linear", linear(x), 1 - linear.times(x).item() / (steps - 1)),
        ("latency, RC", rc(x), 0.2 / (1 - math.exp(-rc_time / (steps / 4)))),
        ("phase", sent, (phase.weights() * sent[:, 0])[:8].sum().item()),
        ("burst", burst(x), burst(x).sum().item() / burst.n_max),
        ("population", fields, ((seen * centres).sum() / seen.sum()).item()),
        ("delta (of a ramp)", moves, delta.decode(moves, ramp[0])[-1].item()),
    ]


def picture(table: list[tuple[str, Tensor, float]], value: float, path: Path) -> None:
    """One raster per code, time to the right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    heights = [2.5 if sent.shape[1] > 1 else 1 for _, sent, _ in table]
    figure, axes = plt.subplots(
        len(table), sharex=True, figsize=(9, 6), gridspec_kw={"height_ratios": heights}
    )
    for axis, (name, sent, _) in zip(axes, table, strict=True):
        if name == "direct":
            axis.fill_between(range(len(sent)), sent[:, 0], step="mid", color="0.6")
            axis.set_ylim(0, 1)
        else:
            t, neuron = sent.nonzero(as_tuple=True)
            axis.vlines(t, neuron - 0.4, neuron + 0.4, color="black", linewidth=2)
            axis.set_ylim(-0.6, sent.shape[1] - 0.4)
        axis.set_ylabel(name, rotation=0, ha="right", va="center")
        axis.set_yticks([])
    axes[0].set_title(f"the value {value:g} in each code")
    axes[-1].set_xlabel("step")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--value", type=float, default=0.7, help="in (0.2, 1]: what all encode")
    parser.add_argument("--steps", type=int, default=40, help="number of steps, >= 9")
    parser.add_argument("--out", type=Path, default=Path("encoders.png"))
    arguments = parser.parse_args()
    if not 0.2 < arguments.value <= 1 or arguments.steps < 9:
        parser.error("--value must lie in (0.2, 1] and --steps be at least 9")

    table = rows(arguments.value, arguments.steps)
    print(f"{'code':<20}{'spikes':>8}{'first':>8}{'read back':>12}{'error':>9}")
    for name, sent, decoded in table:
        is_spikes = name != "direct"
        spikes = f"{int(sent.abs().sum())}" if is_spikes else "-"
        first = f"{int(sent.abs().sum(1).nonzero()[0])}" if is_spikes and sent.any() else "-"
        error = abs(decoded - arguments.value)
        print(f"{name:<20}{spikes:>8}{first:>8}{decoded:>12.4f}{error:>9.4f}")
    picture(table, arguments.value, arguments.out)
    print(f"picture: {arguments.out}")


if __name__ == "__main__":
    main()
