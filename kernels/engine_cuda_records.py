"""What is recorded of a network on a device, a part of a run at a time."""

from collections.abc import Sequence

import numpy as np
import torch

from spikesim.kernels.engine import Operation, Source, SpikeRecorder, StateRecorder
from spikesim.kernels.engine_cuda_circuit import Circuit
from spikesim.kernels.engine_cuda_launch import FIRST, Launch, at, table
from spikesim.kernels.print_update import deliver_text

ROOM = 1 << 26
"""Bytes for what is recorded."""
MOST_ROWS = 1 << 14
SHARES = 16
"""Blocks that copy the states of one recorder."""


class Records:
    """Rows for the recorders of a list of operations."""

    def __init__(self, operations: Sequence[Operation], circuit: Circuit) -> None:
        self._circuit, device = circuit, circuit.device
        self._spikes = [r for r in operations if isinstance(r, SpikeRecorder)]
        self._states = [r for r in operations if isinstance(r, StateRecorder)]
        self.words: dict[Source, int] = {}
        many = 0
        for recorder in self._spikes:
            if recorder.source not in self.words:
                self.words[recorder.source] = many
                many += -(-recorder.source.count // 32)
        of_states = sum(r.neurons.size * np.dtype(r.cells.dtype).itemsize for r in self._states)
        row = 4 * many + of_states
        self.rows = min(max(ROOM // max(row, 1), 1), MOST_ROWS)
        """Steps that there is room for."""
        self.bits = torch.zeros((self.rows, many), dtype=torch.int32, device=device)
        self._values = [
            torch.zeros((self.rows, r.neurons.size), dtype=getattr(torch, r.cells.dtype)).to(device)
            for r in self._states
        ]

    def launches(self) -> list[Launch]:
        """What copies states at the end of a step."""
        if not self._states:
            return []
        circuit, kept, rows = self._circuit, [], []
        for recorder, values in zip(self._states, self._values, strict=True):
            joint = circuit.of[recorder.cells]
            columns = recorder.neurons + np.int32(joint.column(recorder.cells))
            kept.append(torch.from_numpy(columns).to(circuit.device))
            state = recorder.cells.neuron.bound().program.states.index(recorder.state)
            rows.append((at(joint.state[state]), at(kept[-1]), at(values), values.shape[1]))
        kept.append(table(rows, circuit.device))
        arguments = at(circuit.clock, FIRST), at(kept[-1]), SHARES
        text = deliver_text(circuit.real, 1)
        return [Launch(text, "watch", SHARES * len(rows), arguments, tuple(kept))]

    def keep(self, first: int, steps: int) -> None:
        """Hand the rows of the steps that were run to the recorders."""
        for recorder in self._spikes:
            word, row = self.words[recorder.source], first - recorder.first
            many = recorder.bits.shape[1]
            found = self.bits[:steps, word : word + many].cpu().numpy().view(np.uint32)
            recorder.bits[row : row + steps] = found
        for state, values in zip(self._states, self._values, strict=True):
            row = first - state.first
            state.values[row : row + steps] = values[:steps].cpu().numpy()
