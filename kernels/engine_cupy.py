"""The loop that runs a network on a CUDA device.

A step is two kernels for most networks: one updates all populations of a program, with what is
drawn for them, and lists the neurons that spike; one adds the weights of those synapses, of all
spikes of the last steps, whose delay ends now, or for most of them a step ahead of that, beside
other steps. Where projections have no delay, both come once for each level. Steps are captured in a
CUDA graph and replayed; the step number lies on the device, and so does what is recorded, until a
part of the run ends. Sums are of whole numbers: the bits are those of
:class:`~spikesim.kernels.engine.CpuEngine`.
"""

from collections.abc import Sequence
from contextlib import nullcontext

import torch

from spikesim.kernels.engine import Delivery, Operation, PlasticDelivery
from spikesim.kernels.engine_check import check, check_room
from spikesim.kernels.engine_cuda_circuit import Circuit, parts
from spikesim.kernels.engine_cuda_launch import NOW, REPLAYED, Step, overlapped
from spikesim.kernels.engine_cuda_pending import Pending
from spikesim.kernels.engine_cuda_records import Records


class CudaEngine:
    """Runs operations step by step on a CUDA device.

    States and spikes stay there: the first run takes what it begins with from the arrays of the
    operations, and :meth:`download` puts it back. Arrays of a delivery may be tensors on the device
    already.

    Args:
        operations: in the order of execution.
        block: as of :class:`~spikesim.kernels.engine.CpuEngine`; any gives the same bits.
        device: which one.
        before: an engine of the same operations but for what records; its synapses, states and
            spikes are taken over.

    Raises:
        BackendError: an operation that has no kernel.
        ValueError: arrays of an operation do not fit each other.
        UserError: too little memory.
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
            # Synapses are checked on the device, or were made there.
            if not isinstance(operation, Delivery | PlasticDelivery):
                check(operation, block)
        self.operations, self.block, self.device = operations, block, device
        with self._chosen():
            if before is not None and before.circuit.parts == same:
                circuit, pending = before.circuit, before.pending
            else:
                circuit = Circuit(operations, device)
                pending = Pending(circuit)
            self.circuit: Circuit = circuit
            self.pending: Pending = pending
            self._records = Records(operations, self.circuit)
        self._steps: dict[tuple[int, int], Step] = {}
        self._replayed = REPLAYED - REPLAYED % self.circuit.period
        """Steps of a graph."""
        self._numbers = torch.zeros(self._replayed, dtype=torch.int64, device=device)
        """Of these, where some run beside others."""
        self._end = 0
        """Of the part of a run that is enqueued."""
        self._graph: torch.cuda.CUDAGraph | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether states and rings are on the device; where not, the next run takes them."""
        return self.circuit.is_loaded

    @is_loaded.setter
    def is_loaded(self, value: bool) -> None:
        self.circuit.is_loaded = value
        self.circuit.plastics.hold(value)

    def upload(self, step: int, *, rings: bool = True) -> None:
        """Take states, and what is on its way before ``step``, from the operations' arrays."""
        with self._chosen():
            for joint in self.circuit.joint:
                joint.upload()
            if rings:
                self.pending.upload(step)
                self.circuit.plastics.upload()
        self.is_loaded |= rings

    def download(self, step: int, *, rings: bool = True) -> None:
        """Put states, and what is on its way before ``step``, into these arrays."""
        with self._chosen():
            for joint in self.circuit.joint:
                joint.download()
            if rings:
                self.pending.download(step)
                self.circuit.plastics.download(step)

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
            self.circuit.plastics.refresh()
            end = first + steps
            while first < end:
                many = min(end - first, self._records.rows)
                self.circuit.set_clock(first)
                self._end = first + many
                self._advance(first, many)
                self._records.keep(first, many)
                first += many
            self.circuit.plastics.tell(steps)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)

    def _advance(self, first: int, steps: int) -> None:
        """Enqueue some steps, and what comes between them."""
        end, plastics = first + steps, self.circuit.plastics
        while first < end:
            window = plastics.until(first)
            last = int(min(window, end))
            if self.pending.is_inherited:
                self.pending.inherit(first)
                last = first + 1
            self._enqueue(first, last - first)
            if last == window:
                plastics.fold(self.circuit.clock)
            first = last

    def _enqueue(self, first: int, steps: int) -> None:
        end, period = first + steps, self.circuit.period
        replayed = self._replayed
        if self.device.type == "cuda" and steps > replayed + period:
            # Outside of a graph first, so that its kernels are loaded.
            lead = -first % period or (0 if self._graph else period)
            self._once(first, lead)
            first += lead
            if self._graph is None:
                self._graph = self._captured(first)
            if self.circuit.is_ahead:
                self._numbers.copy_(torch.arange(first, first + replayed))
            for _ in range((end - first) // replayed):
                self._graph.replay()
                first += replayed
            self.circuit.clock[NOW] = first
        while first < end:
            self._once(first, min(end - first, REPLAYED))
            first += REPLAYED

    def _once(self, first: int, steps: int) -> None:
        """Enqueue as many steps as synapses need not catch up in."""
        for step in range(first, first + steps):
            self._step(step)()
        self.circuit.plastics.catch_up(self.circuit.clock)

    def _exchanged_after(self, step: int) -> int:
        """Of how many steps, this one the last, other processes are told the spikes."""
        # Those that were told before are empty now.
        block, is_last = self.circuit.exchanged, step + 1 == self._end
        return step % block + 1 if is_last or (step + 1) % block == 0 else 0

    def _step(self, step: int) -> Step:
        exchanged, slot = self._exchanged_after(step), step % len(self.circuit.sums)
        if (exchanged, slot) not in self._steps:
            records = self._records
            parts_ = self.circuit.launches(step, records.words, records.bits, exchanged)
            parts_ += records.launches()
            found = Step(parts_, self.circuit.tick(), self.circuit.clock)
            self._steps[exchanged, slot] = found
        return self._steps[exchanged, slot]

    def forget_graph(self) -> None:
        """Let go of the graph, which holds what processes talk through."""
        if self._graph is not None:
            torch.cuda.synchronize(self.device)
            self._graph = None

    def _captured(self, first: int) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        steps = [self._step(step).launches for step in range(first, first + self._replayed)]
        # NCCL asks for its events in a thread of its own, which must not end the capture.
        # What waits for nothing is to leave the processors to what others wait for.
        stream: torch.cuda.Stream = torch.cuda.Stream(self.device, priority=-1)  # type: ignore[no-untyped-call]
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            if self.circuit.is_ahead:
                overlapped(steps, self._numbers)
                self.circuit.plastics.catch_up(self._numbers)
            else:
                self._once(first, self._replayed)
        return graph

    def _chosen(self) -> "torch.cuda.device | nullcontext[None]":
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()
