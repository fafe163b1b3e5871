"""One layer, a chunk of steps at a time."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from spikesim.errors import UserError
from spikesim.layers import TimeDistributed
from spikesim.neuron import Neuron
from spikesim.neurons.li import LI
from spikesim.online.cell import Cell, States, derivatives, has_traces
from spikesim.online.eligibility import Eligibility, Kept, Synaptic, Traces, tied
from spikesim.online.parts import Part
from spikesim.online.standardised import ScaledWSLinear


@dataclass(frozen=True)
class LayerState:
    """What a layer carries from chunk to chunk."""

    cells: States
    last: Tensor | None
    """The last spikes of a recurrent layer, ``[B, ...]``."""
    kept: tuple[Kept, ...]
    """The eligibilities of its maps."""


class Layer:
    """Maps, neurons, and the eligibilities of the maps.

    Args:
        part: the layer's modules.
        leak: that of a readout behind these neurons, to be learned through.
        is_behind_leak: this layer is that readout.
    """

    def __init__(self, part: Part, neuron: Neuron, leak: LI | None, is_behind_leak: bool) -> None:
        self.part, self.cell, self.is_behind_leak = part, Cell(neuron, leak), is_behind_leak
        self.maps: list[nn.Module] = [part.maps]
        if part.recurrent is not None:
            self.maps.append(TimeDistributed(part.recurrent.lateral))
        self.eligibilities = [self._eligibility(maps) for maps in self.maps]

    def _eligibility(self, maps: nn.Module) -> Eligibility | None:
        if not any(p.requires_grad for p in maps.parameters()):
            return None
        if self.cell.leak is None and has_traces(self.cell.neuron):
            return Traces(maps, self.cell.neuron)
        before, last = _last(maps)
        is_linear = type(last) in (nn.Linear, ScaledWSLinear)
        if not is_linear or any(_learns(module) for module in before):
            neuron = type(self.cell.neuron).__name__
            raise UserError(
                f"{self.part.name}, {neuron}, needs an eligibility of each synapse, which is kept "
                "behind one nn.Linear alone; behind other maps use rule='ottt' with neurons that "
                "have traces, such as LIF(v_reset=None, detach_reset=True)"
            )
        return Synaptic(nn.Sequential(*before), cast(nn.Linear, last))

    def run(
        self, z: Tensor, signal: Tensor | None, state: LayerState | None
    ) -> tuple[Tensor, Tensor, LayerState]:
        """Run inputs ``[K, B, ...]`` on from a state.

        Args:
            z: what the layer below sent, without gradients.
            signal: what the layer below shows, to which gradients are to go; ``None``: nothing.

        Returns:
            spikes, without gradients; what the layer shows, with them; the state after.
        """
        x = self.part.maps(z)
        state = state or self._initial(z, x)
        self.cell.neuron.checked(self.cell.named(state.cells), x[0])
        seen, sent, last = x, [z], state.last
        if self.part.recurrent is not None:
            seen, back, last = self._alone(x.detach(), state)
            sent.append(back)
            seen = tied(seen, x, self.maps[1](back))
        start = state.cells
        for own, kept in zip(self.eligibilities, state.kept, strict=True):
            if own is not None:
                start = own.tie(start, kept)
        spikes, shown, end = self.cell.run(seen, start)
        if signal is not None:
            shown = tied(shown, self._heard(signal, seen.detach(), state.cells))
        by = None
        if any(isinstance(own, Synaptic) for own in self.eligibilities):
            by = derivatives(end, seen, start)
        with torch.no_grad():
            kept = tuple(
                None if own is None else own.advance(kept, z, by)
                for own, kept, z in zip(self.eligibilities, state.kept, sent, strict=True)
            )
        after = LayerState(tuple(one.detach() for one in end), last, kept)
        return spikes.detach(), shown, after

    def _initial(self, z: Tensor, x: Tensor) -> LayerState:
        like = x[0].detach()
        cells, last = self.cell.initial(like), None
        sent = [z[0]]
        if self.part.recurrent is not None:
            last = torch.zeros_like(like)
            sent.append(last)
        kept = tuple(
            None if own is None else own.initial(first, cells)
            for own, first in zip(self.eligibilities, sent, strict=True)
        )
        return LayerState(cells, last, kept)

    @torch.no_grad()
    def _alone(self, x: Tensor, state: LayerState) -> tuple[Tensor, Tensor, Tensor]:
        """Step by step: what recurrent neurons see, the spikes of the step before, the last."""
        assert self.part.recurrent is not None
        assert state.last is not None
        cells = self.cell.named(state.cells)
        seen, outputs = [], [state.last]
        for now, output, _ in self.part.recurrent.steps(x, (cells, state.last)):
            seen.append(now)
            outputs.append(output)
        return torch.stack(seen), torch.stack(outputs[:-1]), outputs[-1]

    def _heard(self, signal: Tensor, seen: Tensor, cells: States) -> Tensor:
        """What the layer shows, as it depends on the layer below in the same step."""
        maps = self.part.maps
        fixed = {name: p.detach() for name, p in maps.named_parameters()}
        x: Tensor = functional_call(maps, fixed, (signal,))
        return x if self.is_behind_leak else self.cell.at_once(tied(seen, x), cells)


def _last(maps: nn.Module) -> tuple[list[nn.Module], nn.Module]:
    """What comes before the last map, and that map."""
    *before, last = maps if type(maps) is nn.Sequential and len(maps) else [maps]
    if isinstance(last, TimeDistributed):
        *inner, last = last
        before.append(TimeDistributed(*inner))
    return before, last


def _learns(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())
