"""A backend in front of another, which watches where that one writes."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from spikesim.kernels.call import Backend, Call, Gradients, Outputs


class Guarded:
    """A backend that finds its results full of NaN, and guards before and behind them."""

    GUARD = 64

    def __init__(self, of: Backend) -> None:
        self.of = of
        self.made: list[tuple[Tensor, Tensor, Tensor | None]] = []

    def group(self, call: Call) -> int:
        return self.of.group(call)

    def forward(self, call: Call, out: Outputs) -> None:
        call = replace(call, checkpoints=self._poisoned(call.checkpoints))
        final, traces = (list(map(self._poisoned, arrays)) for arrays in (out.final, out.traces))
        self.of.forward(call, Outputs(self._poisoned(out.output), final, traces))
        self._check()

    def backward(self, call: Call, gradients: Gradients) -> None:
        inputs, initial = (
            list(map(self._poisoned, arrays)) for arrays in (gradients.inputs, gradients.initial)
        )
        partials = self._poisoned(gradients.partials)
        written = replace(gradients, inputs=inputs, initial=initial, partials=partials)
        self.of.backward(call, written)
        self._check()

    def _poisoned(self, wanted: Tensor | None) -> Any:
        if wanted is None:
            return None
        filling = float("nan") if wanted.is_floating_point() else 77
        whole = torch.full(
            (wanted.numel() + 2 * self.GUARD,), filling, dtype=wanted.dtype, device=wanted.device
        )
        inside = whole.as_strided(wanted.shape, wanted.stride(), self.GUARD)
        self.made.append((whole, inside, wanted))
        return inside

    def _check(self) -> None:
        for whole, inside, wanted in self.made:
            untouched = torch.cat([whole[: self.GUARD], whole[-self.GUARD :]])
            assert bool((untouched.isnan() | (untouched == 77)).all()), "wrote beyond its result"
            wanted.copy_(inside)
        self.made.clear()
