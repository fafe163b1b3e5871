"""Plastic synapses of one projection on a device: their arrays, and the way there and back.

Arrays are those of :class:`~spikesim.kernels.plastic_state.PlasticState`, but that more spikes of a
receiver are kept, so that synapses need to catch up less often. A synapse takes its place, its
weight, and as much for an eligibility.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim.kernels.engine import PlasticDelivery
from spikesim.kernels.engine_cuda_launch import REPLAYED, at, on_device
from spikesim.kernels.engine_cuda_synapses import Place
from spikesim.kernels.plastic import ELIGIBILITY, bind_rule
from spikesim.kernels.plastic_state import NEVER, Decay, decay
from spikesim.kernels.print_plastic_cuda import CudaPlasticVariant

ABSENT = -1
"""The id of neurons that are not in a list of spikes."""


class PlasticSynapses:
    """The arrays of one operation.

    Args:
        operation: the synapses; its place and indptr may be on the device already.
        place: of its ring.
        device: where the arrays are.

    Raises:
        ValueError: its ring is too short for its delays.
    """

    def __init__(self, operation: PlasticDelivery, place: Place, device: torch.device) -> None:
        self.operation, self.device = operation, device
        state, weight = operation.state, operation.weight
        bound = bind_rule(operation.rule)
        self.program, (cells, input_, self._column) = bound.program, place
        ring = cells.rings[input_]
        assert ring is not None
        if operation.longest >= len(ring):
            raise ValueError(
                f"a delay of {operation.longest} steps needs more than {len(ring)} slots"
            )
        self._ring = ring
        self.begins = on_device(operation.indptr, device)
        self._place = on_device(operation.place, device)
        self._decays = _decays(operation)
        self._tables = [
            (on_device(d.fine, device), None if d.coarse is None else on_device(d.coarse, device))
            for d in self._decays
        ]
        rule, scale = operation.rule, operation.sign / operation.ring.quantum
        rests = (trace.rest for trace in (*rule.pre().values(), *rule.post().values()))
        self._rests = [trace.rest for trace in rule.post().values()]
        reals = [operation.low, operation.high, scale, *rests, *bound.numbers]
        self._reals = on_device(np.array(reals, weight.dtype), device)
        self.weight = on_device(weight.copy(), device)
        self._lasts = on_device(state.lasts, device).clone()
        self._totals = on_device(state.totals, device).clone()
        self._newest = on_device(state.newest, device).clone()
        self._used = on_device(state.used, device).clone()
        self._pre = self._stacked(state.pre)
        self._newest_post = self._stacked(state.newest_post)
        self._depth = 1 << (state.depth + operation.longest + REPLAYED + 2).bit_length()
        self._limit = self._depth - operation.longest - REPLAYED - 3
        neurons = operation.target.count
        self._steps = torch.full((neurons, self._depth), NEVER, dtype=torch.int32, device=device)
        kept = len(state.post), neurons, self._depth
        self._after = torch.zeros(kept, dtype=self.weight.dtype, device=device)
        self._before = torch.zeros_like(self._after[: len(state.post) if state.before else 0])
        self.full = torch.zeros(1, dtype=torch.int32, device=device)
        self._settled = torch.zeros(1, dtype=torch.int32, device=device)
        room = operation.source.count * (16 + 2 * max(len(state.pre), 1) * weight.itemsize)
        self._rows = torch.empty(room, dtype=torch.uint8, device=device)
        self._counts = torch.zeros(2, dtype=torch.int32, device=device)
        self._modulate()

    def _modulate(self) -> None:
        operation, device = self.operation, self.device
        state, modulation = operation.state, operation.modulation
        self._eligible = self._sums = self._level = None
        self.window = 1
        self._fixed: tuple[Tensor | None, ...] = (None, None, None)
        if modulation is None:
            return
        assert state.sums is not None
        assert state.eligible is not None
        self.window = len(state.sums) - 1
        tau = operation.rule.eligibility()
        assert tau is not None
        left = np.exp(-operation.dt / tau * np.arange(len(state.sums)))
        fixed = np.array([modulation.factor]), left * operation.dt, 1.0 / left
        self._fixed = tuple(on_device(values, device) for values in fixed)
        self._eligible = on_device(state.eligible.copy(), device)
        self._sums = on_device(state.sums.copy(), device)
        self._level = on_device(modulation.values.copy(), device)

    @property
    def variant(self) -> CudaPlasticVariant:
        """What its text is printed for."""
        operation, modulation = self.operation, self.operation.modulation
        return CudaPlasticVariant(
            real=operation.weight.dtype.name,
            place="uint16" if self._place.element_size() == 2 else "uint32",
            is_spread=operation.delay is None,
            long=tuple(d.coarse is not None for d in self._decays),
            is_each=modulation is not None and modulation.values.size > 1,
            numbers=len(self._reals) - 3 - len(self._pre) - len(self._newest_post),
        )

    def struct(self, first_sender: int = ABSENT, first_neuron: int = ABSENT) -> tuple[int, ...]:
        """``Plastic`` of ``cuda/plastic.cuh``, given the ids of its neurons in a list of spikes."""
        operation = self.operation
        tensors = (
            *(self.begins, self._place, self.weight, self._eligible, self._reals),
            *(self._lasts, self._pre, self._totals, self._newest, self._newest_post),
            *(self._steps, self._after, self._before, self._used, self.full, self._settled),
            *(self._rows, self._counts, self._level, self._fixed[0], self._sums),
            *(*self._fixed[1:], self._ring),
        )
        fine, coarse = ([at(t[i]) for t in self._tables] or [0] for i in (0, 1))
        width = 1 if self._level is None else len(self._level)
        return (
            *map(at, tensors),
            *(*fine, *coarse, *([d.last for d in self._decays] or [0])),
            *(operation.source.count, operation.target.count, self._depth, self._limit),
            *(operation.delay or 0, self.window, width),
            *(self._column, self._ring.shape[1], len(self._ring) - 1),
            *(first_sender, first_neuron),
        )

    def upload(self) -> None:
        """Take everything from the operation."""
        operation, state = self.operation, self.operation.state
        for to, array in (
            (self.weight, operation.weight),
            (self._eligible, state.eligible),
            (self._lasts, state.lasts),
            (self._totals, state.totals),
            (self._newest, state.newest),
            (self._used, state.used),
            (self._sums, state.sums),
        ):
            if to is not None and array is not None:
                to.copy_(torch.from_numpy(array))
        self._pre.copy_(self._stacked(state.pre))
        self._newest_post.copy_(self._stacked(state.newest_post))
        columns = self._columns()
        self._steps.fill_(NEVER).scatter_(1, columns, on_device(state.steps, self.device))
        before = state.before.items()
        for kept, i, array in (
            *((self._after, i, array) for i, array in enumerate(state.post)),
            *((self._before, i, array) for i, array in before),
        ):
            kept[i].fill_(self._rests[i]).scatter_(1, columns, on_device(array, self.device))
        self.full.fill_(int(state.used.max(initial=0) > self._limit))
        self._settled.fill_(int(state.clock[1]))

    def download(self, now: int) -> None:
        """Put everything into the operation, after all have caught up until the end of a step."""
        operation, state = self.operation, self.operation.state
        for array, values in (
            (operation.weight, self.weight),
            (state.eligible, self._eligible),
            (state.lasts, self._lasts),
            (state.totals, self._totals),
            (state.newest, self._newest),
            (state.sums, self._sums),
            *zip(state.pre, self._pre, strict=True),
            *zip(state.newest_post, self._newest_post, strict=True),
        ):
            if array is not None and values is not None:
                array[...] = values.cpu().numpy()
        columns = self._columns()
        for array, kept in (
            (state.steps, self._steps),
            *zip(state.post, self._after, strict=True),
            *((array, self._before[i]) for i, array in state.before.items()),
        ):
            array[...] = kept.gather(1, columns).cpu().numpy()
        state.used[:] = (state.steps + operation.longest > now).sum(1)
        state.clock[:] = now

    def refresh(self) -> None:
        """Take the modulator's values, which may have been changed."""
        if self._level is not None and self.operation.modulation is not None:
            self._level.copy_(torch.from_numpy(self.operation.modulation.values))

    def tell(self) -> None:
        """Put the modulator's values, which have decayed, where they are read."""
        if self._level is not None and self.operation.modulation is not None:
            self.operation.modulation.values[:] = self._level.cpu().numpy()

    def _columns(self) -> Tensor:
        """Of each column of the operation's rings, for each receiver, the one here."""
        many = self.operation.state.depth
        last = self._totals[:, None].long() - 1
        spike = last - (last - torch.arange(many, device=self.device)) % many
        return spike % self._depth

    def _stacked(self, arrays: list[NDArray[Any]]) -> Tensor:
        dtype = self.operation.weight.dtype
        return on_device(
            np.array(arrays, dtype) if arrays else np.zeros((0, 1), dtype), self.device
        )


def _decays(operation: PlasticDelivery) -> list[Decay]:
    """Of the traces, and of the eligibility."""
    rule, dtype = operation.rule, operation.weight.dtype.name
    taus = {name: trace.tau for name, trace in (*rule.pre().items(), *rule.post().items())}
    tau = rule.eligibility()
    if tau is not None:
        taus[ELIGIBILITY] = tau
    return [decay(tau, operation.dt, dtype) for tau in taus.values()]
