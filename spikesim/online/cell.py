"""Neurons of a layer, seen as maps of their own past: how states depend on states and inputs.

Shape legend: ``K`` steps of a chunk, ``B`` batch, ``S`` state variables; ``...`` neurons.
"""

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd import grad

from spikesim.kernels.reverse import reverse
from spikesim.kernels.tape import TraceError, trace
from spikesim.neuron import Neuron
from spikesim.neurons.li import LI
from spikesim.types import Named

States: TypeAlias = tuple[Tensor, ...]
"""State variables of neurons, ``[B, ...]`` each."""


@dataclass(frozen=True)
class Cell:
    """A neuron and, where a leaky readout follows, the readout's leak of its spikes.

    A leak and a linear map commute, so that what the readout shows is a map of leaked spikes.
    """

    neuron: Neuron
    leak: LI | None = None

    def initial(self, like: Tensor) -> States:
        """States before the first step, for steps shaped like ``like``."""
        start = tuple(self.neuron.initial_state(like).values())
        return start if self.leak is None else (*start, torch.zeros_like(start[0]))

    def run(self, x: Tensor, states: States) -> tuple[Tensor, Tensor, States]:
        """Spikes of all steps, what the next layer sees of them, and the states after."""
        spikes, after = self.neuron.run(x, self.named(states))
        end = tuple(after.values())
        if self.leak is None:
            return spikes, spikes, end
        shown, leaked = self.leak.run(spikes, Named(v=states[-1]))
        return spikes, shown, (*end, leaked.v)

    def at_once(self, x: Tensor, states: States) -> Tensor:
        """What is shown of each step, with a gradient by the input of that step alone.

        All steps run side by side, as a batch that starts from the states before each.
        """
        start = self.named(states)
        with torch.no_grad():
            after = self.neuron.trace(x, start)
        before = {
            name: torch.cat((start[name][None], after[name][:-1])).flatten(0, 1) for name in start
        }
        out = self.neuron.run(x.flatten(0, 1)[None], Named(before))[0]
        if self.leak is not None:
            out = self.leak.run(out)[0]
        return out.view(x.shape)

    def named(self, states: States) -> Named:
        """Those of the neuron."""
        return Named(zip(self.neuron.states, states, strict=False))


def has_traces(neuron: Neuron) -> bool:
    """Whether states follow the input with the same fixed coefficients in all neurons.

    Then what a state owes to a weight is a trace of the sender's spikes, the same for all
    receivers. It holds for integrate-and-fire neurons whose reset subtracts and is detached.
    """
    if any(isinstance(getattr(neuron, name), Tensor) for name in neuron.parameter_names):
        return False
    try:
        tape = trace(neuron)
    except TraceError:
        return False
    fixed = set(tape.parameters)
    for line in tape.lines:
        if _read(line.args) <= fixed:
            fixed.add(line.name)
    fixed |= {f"d_{name}" for name in tape.states}
    for line in reverse(replace(tape, output=0.0)).lines:
        if not _read(line.args) <= fixed:
            return False
        fixed.add(line.name)
    return True


def _read(args: tuple[Any, ...]) -> set[str]:
    return {arg for arg in args if isinstance(arg, str)}


def coefficients(neuron: Neuron) -> tuple[Tensor, Tensor]:
    """Of neurons that :func:`has_traces` holds for: ``A [S, S]`` and ``b [S]``, float64.

    A step makes of states ``h`` and input ``x`` the states ``A h + b x``, but for resets.
    """
    leaves = torch.zeros(1 + len(neuron.states), 1, dtype=torch.float64, requires_grad=True)
    x, *states = leaves
    p = neuron.values(x.detach())
    after = neuron.step(Named(zip(neuron.states, states, strict=True)), Named(x=x), p)[0]
    none = 0.0 * leaves.sum()  # a state may depend on no leaf
    rows = [grad((after[n] + none).sum(), leaves, retain_graph=True)[0] for n in neuron.states]
    found = torch.stack(rows)[..., 0]
    return found[:, 1:], found[:, 0]


def derivatives(end: States, x: Tensor, start: States) -> tuple[Tensor, Tensor]:
    """Of states after a chunk, by those before it and by each input.

    Args:
        end: what :meth:`Cell.run` made of ``x`` and ``start``, which autograd has to know.

    Returns:
        ``[B, N, S, S]``, the last axis being that of ``start``, and ``[K, B, N, S]``.
    """
    by_start, by_input = [], []
    for state in end:
        found: tuple[Tensor | None, ...] = (None,) * (1 + len(start))
        if state.requires_grad:
            ones = torch.ones_like(state)
            found = grad(state, (x, *start), ones, retain_graph=True, allow_unused=True)
        known = [
            torch.zeros_like(like) if one is None else one
            for one, like in zip(found, (x, *start), strict=True)
        ]
        by_input.append(known[0])
        by_start.append(torch.stack(known[1:], -1))
    return torch.stack(by_start, -2), torch.stack(by_input, -1)
