"""Spiking multilayer perceptron whose synapses have delays, for sounds and other sequences."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikesim.batch_norm import BatchNorm
from spikesim.delays.layer import KINDS, NARROW
from spikesim.delays.linear import DelayedLinear
from spikesim.errors import UserError, nearest
from spikesim.kernels.delay_taps import BUMPS, Shape
from spikesim.layers import NeuronFactory, SpikingSequential, TimeDistributed
from spikesim.models.base import NeuronChoice, SpikingModel, Task
from spikesim.neurons import LI, LIF
from spikesim.surrogate import ATan


@dataclass(frozen=True, kw_only=True)
class DelayMLPSizes(NeuronChoice):
    """Layers of a perceptron with delays.

    Args:
        hidden: neurons of the hidden layers, ``"256-256"``.
        max_delay: the largest delay, steps; the published ``D`` less 1.
        bumps: delays that a synapse has.
        delays: ``"synapse"``, ``"axon"``, ``"dendrite"``, or ``"none"``: linear layers.
        learn: whether delays learn, or stay as they were drawn.
        shape: of a bump, ``"gauss"`` or ``"triangle"``.
        width: of a bump, steps; see :class:`~spikesim.delays.schedule.WidthSchedule`.
        lengthen: each layer runs on for ``max_delay / 2`` steps, as published.
        dropout: part of the neurons of a layer that a sample does without, in all of its steps.
        tau: time constant of the published neuron and of the readout, steps, >= 1.
        neuron: ``"published"``: a LIF with ``tau`` that takes in its whole input, hard reset
            outside the gradient, arctangent surrogate of slope 5; others as in
            :class:`~spikesim.models.base.NeuronChoice`, with its ``surrogate``.
        threshold: see :class:`~spikesim.models.base.NeuronChoice`.

    Raises:
        UserError: a value out of its range.
    """

    neuron: str | NeuronFactory = "published"
    hidden: str = "256-256"
    max_delay: int = 24
    bumps: int = 1
    delays: Literal["synapse", "axon", "dendrite", "none"] = "synapse"
    learn: bool = True
    shape: Shape = "gauss"
    width: float = NARROW
    lengthen: bool = False
    dropout: float = 0.4
    tau: float = 1.005

    def __post_init__(self) -> None:
        if not all(part.isdecimal() and int(part) > 0 for part in self.hidden.split("-")):
            raise UserError(f"hidden must be neurons like '256-256', got {self.hidden!r}")
        kinds = (*KINDS, "none")
        if self.delays not in kinds:
            raise UserError(f"no delays of kind {self.delays!r}{nearest(self.delays, kinds)}")
        if self.shape not in BUMPS:
            raise UserError(f"no bump {self.shape!r}{nearest(self.shape, tuple(BUMPS))}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout must be in [0, 1), got {self.dropout}")

    def make_neuron(self, v_threshold: float) -> nn.Module:
        """One spiking layer."""
        if self.neuron != "published":
            return super().make_neuron(v_threshold)
        return LIF(
            self.tau,
            self.threshold * v_threshold,
            decay_input=False,
            detach_reset=True,
            surrogate=ATan(5.0),
        )

    def make_map(self, inputs: int, outputs: int) -> nn.Module:
        """One layer of synapses, ``[T, B, inputs]`` -> ``[T, B, outputs]``."""
        if self.delays == "none":
            linear = nn.Linear(inputs, outputs, bias=False)
            nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu")
            return TimeDistributed(linear)
        layer = DelayedLinear(
            inputs,
            outputs,
            max_delay=self.max_delay,
            bumps=self.bumps,
            delays=self.delays,
            shape=self.shape,
            width=self.width,
            lengthen=self.lengthen,
        )
        layer.delay.requires_grad_(self.learn)
        return layer


class DelayMLP(SpikingModel):
    r"""Spiking multilayer perceptron with learned synaptic delays (Hammouamri et al., 2024).

    Each hidden layer is a :class:`~spikesim.delays.linear.DelayedLinear`, batch norm over steps and
    batch, a neuron, and dropout of whole neurons. The last one's input leaks like a neuron's that
    never fires, :math:`v_t = (1 - 1/\tau) v_{t-1} + x_t`, and is the class value; the published
    readout of it is :func:`spikesim.readout.readout` of kind ``"softmax"``.

    Args:
        sizes: layers.
        task: its channels and pixels all count as inputs.

    Shape: ``[T, B, P, H, W]`` -> ``[T, B, K]``, with ``lengthen`` of ``max_delay / 2`` more steps
    a layer.
    """

    def __init__(self, sizes: DelayMLPSizes, task: Task) -> None:
        super().__init__(task)
        layers: list[nn.Module] = []
        height, width = task.image_size
        inputs = task.in_channels * height * width
        for outputs in map(int, sizes.hidden.split("-")):
            norm = TimeDistributed(BatchNorm(outputs))
            neuron = sizes.make_neuron(1.0)
            layers += [sizes.make_map(inputs, outputs), norm, neuron, NeuronDropout(sizes.dropout)]
            inputs = outputs
        self.hidden = SpikingSequential(*layers)
        self.head = sizes.make_map(inputs, task.num_classes)
        self.readout = LI(sizes.tau)

    def classify(self, x: Tensor) -> Tensor:
        """Class values ``[T, B, K]`` of a checked input."""
        values: Tensor = self.readout(self.head(self.hidden(x.flatten(2))) * self.readout.tau)
        return values


class NeuronDropout(nn.Dropout):
    """Dropout that silences the same neurons of a sample in all steps.

    Shape: ``[T, B, ...]`` -> the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The input times 0 or ``1 / (1 - p)``."""
        if not self.training:
            return input
        return input * F.dropout(torch.ones_like(input[:1]), self.p)
