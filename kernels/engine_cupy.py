"""The loop that runs a network on a CUDA device.

A step is two kernels for most networks: one updates all populations of a program, with what is
drawn for them, and lists the neurons that spike; one adds the weights of their synapses to the
rings of later steps. Where projections have no delay, both come once for each level. Steps are
captured in a CUDA graph and replayed; the step number lies on the device, and so does what is
recorded, until a part of the run ends. Sums are of whole numbers: the bits are those of
:class:`~spikesim.kernels.engine.CpuEngine`.
"""

from collections.abc import Sequence
from contextlib import nullcontext

import torch

from spikesim.kernels.engine import Delivery, Operation
from spikesim.kernels.engine_check import check, check_room
from spikesim.kernels.engine_cuda_circuit import Circuit, parts
from spikesim.kernels.engine_cuda_launch import Step
from spikesim.kernels.engine_cuda_records import Records

REPLAYED = 32
"""Steps of a graph."""


class CudaEngine:
    """Runs operations step by step on a CUDA device.

    States and rings stay there: the first run takes them from the arrays of the operations, and
    :meth:`download` puts them back. Arrays of a delivery may be tensors on the device already.

    Args:
        operations: in the order of execution.
        block: as of :class:`~spikesim.kernels.engine.CpuEngine`; any gives the same bits.
        device: which one.
        before: an engine of the same operations but for what records; its synapses, states and
            rings are taken over.

    Raises:
        BackendError: an operation that has no kernel.
        ValueError: arrays of an operation do not fit each other.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        block: int,
        device: torch.device,
        before: "CudaEngine | None" = None,
    ) -> None:
        same = parts(operations)
        for operation in operations:
            if not isinstance(operation, Delivery):  # those are checked on the device
                check(operation, block)
        self.operations, self.block, self.device = operations, block, device
        with self._chosen():
            if before is not None and before.circuit.parts == same:
                circuit = before.circuit
            else:
                circuit = Circuit(operations, device)
            self.circuit: Circuit = circuit
            self._records = Records(operations, self.circuit)
            launches = self.circuit.launches(self._records.words, self._records.bits)
            launches += self._records.launches()
            self._step = Step(launches, self.circuit.tick(), self.circuit.clock)
        self._graph: torch.cuda.CUDAGraph | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether states and rings are on the device; where not, the next run takes them."""
        return self.circuit.is_loaded

    @is_loaded.setter
    def is_loaded(self, value: bool) -> None:
        self.circuit.is_loaded = value

    def upload(self, step: int, *, rings: bool = True) -> None:
        """Take states, and what is on its way before ``step``, from the operations' arrays."""
        with self._chosen():
            for joint in self.circuit.joint:
                joint.upload()
                if rings:
                    joint.upload_rings(step)
        self.is_loaded |= rings

    def download(self, step: int, *, rings: bool = True) -> None:
        """Put states, and what is on its way before ``step``, into these arrays."""
        with self._chosen():
            for joint in self.circuit.joint:
                joint.download()
                if rings:
                    joint.download_rings(step)

    def run(self, first: int, steps: int) -> None:
        """Run the steps ``[first, first + steps)``; nothing interrupts it.

        Raises:
            ValueError: a recorder has no room for these steps.
        """
        for operation in self.operations:
            check_room(operation, first, steps)
        if not self.is_loaded:
            self.upload(first)
        with self._chosen():
            for joint in self.circuit.joint:
                joint.refresh()
            end = first + steps
            while first < end:
                many = min(end - first, self._records.rows)
                self.circuit.set_clock(first)
                self._advance(many)
                self._records.keep(first, many)
                first += many
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)

    def _advance(self, steps: int) -> None:
        """Enqueue some steps."""
        if self.device.type == "cuda" and steps > REPLAYED:
            if self._graph is None:
                self._step()  # outside of a graph first, so that its kernels are loaded
                steps -= 1
                self._graph = self._captured()
            for _ in range(steps // REPLAYED):
                self._graph.replay()
            steps %= REPLAYED
        for _ in range(steps):
            self._step()

    def _captured(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(REPLAYED):
                self._step()
        return graph

    def _chosen(self) -> "torch.cuda.device | nullcontext[None]":
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()
