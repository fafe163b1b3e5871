"""What the tests of the engine share: given spikes, synapses, and a neuron that shows its input."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim.kernels.engine import Cells, Ring, SpikeSource
from spikesim.neuron import Neuron
from spikesim.types import Named


class Relay(Neuron):
    """Its state is the input of the step: the trace shows what arrived."""

    states = ("v",)

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        return Named(v=inputs.x), inputs.x


def words(count: int) -> int:
    return -(-count // 32)


def bits(count: int, steps: int) -> NDArray[np.uint32]:
    return np.full((steps, words(count)), 0xA5A5A5A5, np.uint32)


def unpacked(rows: NDArray[np.uint32], count: int) -> NDArray[np.bool_]:
    """``[steps, count]``; the bits behind the last neuron must be 0."""
    flags = np.unpackbits(rows.view(np.uint8), axis=1, bitorder="little").astype(bool)
    assert not flags[:, count:].any()
    return flags[:, :count]


def given(raster: NDArray[np.bool_], block: int) -> SpikeSource:
    steps, senders = map(np.ascontiguousarray, np.nonzero(raster))
    count = raster.shape[1]
    return SpikeSource(count, bits(count, block), steps, senders.astype(np.int32))


def cells(
    neuron: Neuron,
    count: int,
    dtype: str,
    rings: Mapping[str, Ring | None],
    block: int,
    **more: Any,
) -> Cells:
    """Cells in the initial state of the neuron, with a trace of each state."""
    like = torch.zeros(1, count, dtype=getattr(torch, dtype))
    values = neuron.bound().values(neuron.values(like))
    parameters = {
        name: value.detach().numpy() if isinstance(value, Tensor) else value
        for name, value in values.items()
    }
    state = {name: v[0].numpy().copy() for name, v in neuron.initial_state(like).items()}
    traces = {name: np.full((block, count), np.nan, dtype) for name in state}
    return Cells(neuron, count, dtype, parameters, state, rings, bits(count, block), traces, **more)


@pytest.fixture(scope="session")
def make() -> Any:
    """The functions above."""

    class Make:
        Relay = Relay
        bits = staticmethod(bits)
        cells = staticmethod(cells)
        given = staticmethod(given)
        unpacked = staticmethod(unpacked)

    return Make
