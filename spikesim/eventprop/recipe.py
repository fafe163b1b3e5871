"""Networks with the published sizes, first values and steps of the optimiser."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from spikesim.eventprop.layer import EventLIF, Pair
from spikesim.eventprop.penalty import count_penalty
from spikesim.eventprop.readout import EventReadout
from spikesim.eventprop.spikes import Spikes


@dataclass(frozen=True)
class Recipe:
    """What the authors of EventProp with delays used (Meszaros, Knight & Nowotny, 2025).

    Args:
        hidden: neurons of each layer.
        recurrent: each layer has synapses among its neurons.
        weight_in, weight_hidden, weight_own, weight_out: mean and standard deviation, of synapses
            from the inputs, from layer to layer, within a layer, and to the readout.
        delay, own_delay: first delays, uniform between the two, ms.
        max_delay: ms.
        tau_m, tau_s, v_threshold: see :class:`~spikesim.eventprop.layer.EventLIF`.
        dt: step, ms; ``None`` is exact.
        lr: of Adam, for weights; ``first_lr * growth**batch`` until it is reached.
        delay_lr: the same for delays, ms; from the first batch on.
        batch: samples.
        target, strength: of the :func:`~spikesim.eventprop.penalty.count_penalty`.
        wake: added to the input weights of silent neurons after each epoch.
    """

    hidden: tuple[int, ...] = (512,)
    recurrent: bool = True
    weight_in: Pair = (0.03, 0.01)
    weight_hidden: Pair = (0.02, 0.03)
    weight_own: Pair = (0.0, 0.02)
    weight_out: Pair = (0.0, 0.03)
    delay: Pair = (0.0, 150.0)
    own_delay: Pair = (0.0, 0.0)
    max_delay: float = 1000.0
    tau_m: float = 20.0
    tau_s: float = 5.0
    v_threshold: float = 1.0
    dt: float | None = 1.0
    lr: float = 1e-3
    first_lr: float = 1e-5
    growth: float = 1.05
    delay_lr: float = 0.1
    batch: int = 256
    target: float = 14.0
    strength: float = 5e-11
    wake: float = 0.002

    def network(self, inputs: int, classes: int) -> "EventNetwork":
        """A network with first values drawn from torch's generator."""
        sizes = (inputs, *self.hidden)
        layers = [
            EventLIF(
                before,
                size,
                recurrent=self.recurrent,
                tau_m=self.tau_m,
                tau_s=self.tau_s,
                v_threshold=self.v_threshold,
                weight=self.weight_in if n == 0 else self.weight_hidden,
                delay=self.delay,
                own_weight=self.weight_own,
                own_delay=self.own_delay,
                max_delay=self.max_delay,
                dt=self.dt,
            )
            for n, (before, size) in enumerate(pairwise(sizes))
        ]
        readout = EventReadout(
            sizes[-1], classes, tau_m=self.tau_m, tau_s=self.tau_s, weight=self.weight_out
        )
        return EventNetwork(layers, readout)

    def optimizer(self, model: nn.Module) -> torch.optim.Adam:
        """Adam with a group of weights, then one of delays; frozen ones are left out."""
        groups: tuple[list[Tensor], list[Tensor]] = ([], [])
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                groups[name.endswith("delay")].append(parameter)
        weights, delays = groups
        return torch.optim.Adam(
            [{"params": weights, "lr": self.first_lr}, {"params": delays, "lr": self.delay_lr}]
        )

    def ease(self, optimizer: torch.optim.Optimizer, batch: int) -> None:
        """Set the rate of the weights before batch number ``batch``, from 0."""
        optimizer.param_groups[0]["lr"] = min(self.lr, self.first_lr * self.growth**batch)

    def penalty(self, hidden: list[Spikes]) -> Tensor:
        """The spike-count penalty of all layers."""
        penalties = [count_penalty(spikes, self.target, self.strength) for spikes in hidden]
        return torch.stack(penalties).sum()


SHD_RECURRENT = Recipe()
SHD_FEED_FORWARD = Recipe(recurrent=False, delay=(0.0, 100.0))
SSC = Recipe(hidden=(1024, 1024), delay=(0.0, 50.0), strength=5e-12)
"""The publication trains these on 700 channels of 1 ms bins, 20 and 35 classes."""


class EventNetwork(nn.Module):
    """Layers of event-based neurons and a readout.

    >>> network = Recipe(hidden=(8,), weight_in=(4.0, 1.0), dt=None).network(2, 3)
    >>> spikes = Spikes.of([([1.0, 2.0], [0, 1]), ([], [])], size=2, duration=200.0)
    >>> values, hidden = network(spikes)
    >>> values.shape, len(hidden), hidden[0].size
    (torch.Size([2, 3]), 1, 8)
    """

    def __init__(self, layers: list[EventLIF], readout: EventReadout) -> None:
        super().__init__()
        self.layers, self.readout = nn.ModuleList(layers), readout

    def forward(self, spikes: Spikes) -> tuple[Tensor, list[Spikes]]:
        """Values ``[B, classes]``, and the spikes of each layer."""
        hidden = []
        for layer in self.layers:
            spikes = layer(spikes)
            hidden.append(spikes)
        return self.readout(spikes), hidden
