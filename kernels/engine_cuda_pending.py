"""What is on its way to cells on a device, to and from the rings of their operations.

A device has lists of spikes instead of rings. What they still send is found by steps without
neurons, in which only what is due is added; and the content of rings, which no spikes stand for, is
kept until the step in which it arrives.
"""

import torch
from torch import Tensor

from spikesim.kernels.engine_cuda_circuit import Circuit
from spikesim.kernels.engine_cuda_launch import NOW, between


class Pending:
    """What arrives at the cells of a circuit in later steps."""

    def __init__(self, circuit: Circuit) -> None:
        self._circuit = circuit
        self._inherited: dict[int, Tensor] = {}
        rings = [ring for joint in circuit.joint for g in joint.cells for ring in g.rings.values()]
        self._slots = max((len(ring.array) for ring in rings if ring is not None), default=0)

    def upload(self, step: int) -> None:
        """Take what is on its way before ``step`` from the rings of the operations."""
        circuit = self._circuit
        for tensor in (*circuit.changing(), *circuit.rings()):
            tensor.zero_()
        self._inherited = {}
        for now in range(step, step + self._slots):
            rows = [
                (joint.place(input_, columns.start), values)
                for joint in circuit.joint
                for input_, columns, values in joint.arriving(now, step)
                if values.any()
            ]
            if rows:
                sums = torch.zeros(circuit.sums.shape[1:], dtype=circuit.sums.dtype)
                for place, values in rows:
                    sums[place : place + len(values)] = torch.from_numpy(values)
                self._inherited[now] = sums

    def inherit(self, step: int) -> None:
        """Add, before a step, what of the rings arrives in it."""
        sums = self._inherited.pop(step, None)
        if sums is not None:
            found = self._circuit.sums
            found[step % len(found)] += sums.to(found.device)

    @property
    def is_inherited(self) -> bool:
        """Whether there is anything to :meth:`inherit`."""
        return bool(self._inherited)

    def download(self, step: int) -> None:
        """Put what is on its way before ``step`` into the rings of the operations."""
        circuit = self._circuit
        kept = [tensor.clone() for tensor in circuit.changing()]
        inherited = dict(self._inherited)
        for now in range(step, step + self._slots):
            self.inherit(now)
            circuit.clock[NOW] = now
            for level in circuit.order:
                for joint in (joint for joint in circuit.joint if joint.level == level):
                    total = joint.total(now).cpu().numpy()
                    joint.sums[now % len(joint.sums)].zero_()
                    for input_, columns, values in joint.arriving(now, step):
                        values[:] = total[input_, columns]
                for launch in circuit.deliveries(level, now):
                    between(launch, circuit.clock)
        self._inherited = inherited
        for tensor, before in zip(circuit.changing(), kept, strict=True):
            tensor.copy_(before)
