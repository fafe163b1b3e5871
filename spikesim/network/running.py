"""The loop of a run: pieces short enough to be interrupted, recorded, and shown."""

import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from spikesim.errors import UserError
from spikesim.kernels.engine import (
    Cells,
    CpuEngine,
    EPropDelivery,
    Operation,
    PlasticDelivery,
    SpikeRecorder,
    StateRecorder,
)
from spikesim.kernels.engine_cupy import CudaEngine
from spikesim.kernels.exchange import Exchanged
from spikesim.kernels.plastic_state import LAST_STEP
from spikesim.network.build import Machine, Stage, renew
from spikesim.network.distributed import Together, at_end
from spikesim.network.plasticity.probe import WeightProbe
from spikesim.network.population import Group
from spikesim.network.probe import (
    Probe,
    RateProbe,
    SpikeCountProbe,
    SpikeProbe,
    StateProbe,
)
from spikesim.network.readout import ReadoutProbe
from spikesim.world import World

SECONDS = 0.1
"""Wall time that a piece aims at; a person notices 0.2 s."""
ROOM = 1 << 25
"""Bytes that are recorded in a piece."""


class Player:
    """A machine with the recorders of some probes, ready to run.

    Args:
        machine: what to run.
        probes: whom to hand what is recorded.
        threads: on the CPU.
        device: where to run.
        before: the player of this machine so far, with other probes.
    """

    def __init__(
        self,
        machine: Machine,
        probes: list[Probe],
        threads: int,
        device: torch.device,
        before: "Player | None" = None,
    ) -> None:
        self.machine, self.probes = machine, list(probes)
        self._spikes: dict[Group, SpikeRecorder] = {}
        self._states: dict[StateProbe, StateRecorder] = {}
        self._weights: list[WeightProbe] = []
        for source in machine.groups.values():
            if isinstance(source, Cells):
                source.traces = {}
        for delivery in machine.deliveries.values():
            if isinstance(delivery, EPropDelivery):
                for state in delivery.shown:
                    self._trace(delivery.target, state)
        for readout, sums in machine.sums.items():
            self._trace(sums.cells, readout.state)
        for probe in probes:
            self._record(probe)
        operations, block = self._operations(), machine.block
        self.engine: CpuEngine | CudaEngine
        if device.type == "cpu":
            self.engine = CpuEngine(operations, block, threads)
        else:
            earlier = None if before is None else before.engine
            taken = earlier if isinstance(earlier, CudaEngine) else None
            self.engine = CudaEngine(operations, block, device, taken)
            if any(isinstance(operation, Exchanged) for operation in operations):
                at_end(_forgetting(weakref.ref(self.engine)))
        row = sum(recorder.bits.nbytes for recorder in self._spikes.values())
        row += sum(sums.values[:1].nbytes for sums in machine.sums.values())
        row += sum(recorder.values.nbytes for recorder in self._states.values())
        self.longest = max(ROOM // max(row, 1), machine.block)
        """Steps of a piece for which there is room."""
        self.pace = machine.block
        """Steps of a piece that take ``SECONDS``, as far as runs have shown by now."""

    def _record(self, probe: Probe) -> None:
        if isinstance(probe, WeightProbe):
            self._weights.append(probe)
            return
        if isinstance(probe, ReadoutProbe):
            return  # sums are kept in any case
        source = self.machine.groups[probe.group]
        if isinstance(probe, StateProbe):
            assert isinstance(source, Cells)
            self._trace(source, probe.state)
            values = np.zeros((1, probe.neurons.size), source.dtype)
            neurons = probe.neurons - np.int32(probe.group.share.first)
            self._states[probe] = StateRecorder(source, probe.state, neurons, values)
        elif probe.group not in self._spikes:
            bits = np.zeros((1, source.spikes.shape[1]), np.uint32)
            self._spikes[probe.group] = SpikeRecorder(source, bits)

    def _trace(self, cells: Cells, state: str) -> None:
        """Let a state be kept in each step of a block."""
        if state not in cells.traces:
            trace = np.zeros((self.machine.block, cells.count), cells.dtype)
            cells.traces = {**cells.traces, state: trace}

    def _operations(self) -> list[Operation]:
        """Inputs; then each group, what records it, and what delivers its spikes.

        Groups of which other processes have all neurons are left out.
        """
        machine = self.machine
        operations: list[Operation] = [
            input_ for drive, input_ in machine.inputs.items() if drive.post.share.count
        ]
        operations += machine.modulations.values()
        for group, source in machine.groups.items():
            if group.share.count:
                operations.append(source)
                if group in self._spikes:
                    operations.append(self._spikes[group])
                operations += [r for probe, r in self._states.items() if probe.group is group]
            if group in machine.stages:
                operations += self._handing_on(machine.stages[group])
            operations += [sums for sums in machine.sums.values() if sums.cells is source]
        return operations

    def _handing_on(self, stage: Stage) -> Iterator[Operation]:
        if stage.exchange is not None:
            yield stage.exchange.operation
            yield from stage.exchange.received.values()
        for projection, delivery in self.machine.deliveries.items():
            if projection.pre in stage.groups and projection.post.share.count:
                yield delivery

    @property
    def due(self) -> int:
        """The step before which weights are next looked at."""
        return min((probe.due for probe in self._weights), default=sys.maxsize)

    def look(self, step: int) -> None:
        """Let probes of weights look at them, before a step."""
        for probe in self._weights:
            probe.take(step)

    def begin(self, step: int) -> None:
        """Go on at ``step`` with the states of the machine, which may have been changed."""
        for readout in self.machine.sums:
            readout.check()
        if isinstance(self.engine, CudaEngine):
            self.engine.upload(step, rings=not self.engine.is_loaded)

    def end(self, step: int) -> None:
        """Let the machine have the states before ``step``."""
        if isinstance(self.engine, CudaEngine):
            self.engine.download(step, rings=False)

    def fetch(self, step: int) -> None:
        """Let the machine have all that a run changes, as it is before ``step``."""
        if isinstance(self.engine, CudaEngine) and self.engine.is_loaded:
            self.engine.download(step)

    def forget(self) -> None:
        """The machine has other states and rings now."""
        if isinstance(self.engine, CudaEngine):
            self.engine.is_loaded = False

    def run(self, first: int, steps: int) -> None:
        """Run steps and hand what was recorded to the probes."""
        for recorder in self._spikes.values():
            recorder.bits = np.empty((steps, recorder.bits.shape[1]), np.uint32)
            recorder.first = first
        for state in self._states.values():
            state.values = np.empty((steps, state.neurons.size), state.values.dtype)
            state.first = first
        for sums in self.machine.sums.values():
            sums.values, sums.first = np.empty((steps, len(sums.weight))), first
        self.engine.run(first, steps)
        for probe in self.probes:
            if isinstance(probe, ReadoutProbe):
                probe.take(self.machine.sums[probe.readout].values)
            elif isinstance(probe, StateProbe):
                probe.take(self._states[probe].values)
            elif isinstance(probe, SpikeProbe | SpikeCountProbe | RateProbe):
                probe.take(self._spikes[probe.group].bits)


def _forgetting(engine: "weakref.ref[CudaEngine]") -> Callable[[], None]:
    """What lets an engine forget its graph, if it is still there."""

    def act() -> None:
        found = engine()
        if found is not None:
            found.forget_graph()

    return act


class Timed(Protocol):
    """What has a time that a run moves on: a network."""

    step: int
    dt: float
    world: World

    @property
    def time(self) -> float:
        """Time run so far, ms."""


def run(network: Timed, player: Player, steps: int, progress: bool) -> None:
    """Run ``steps`` further, in pieces."""
    first, block = network.step, player.machine.block
    end = first + steps
    if end > LAST_STEP:
        for projection, delivery in player.machine.deliveries.items():
            if isinstance(delivery, PlasticDelivery | EPropDelivery):
                raise UserError(
                    f"{projection.name} is plastic, and counts {LAST_STEP} steps at most "
                    f"({LAST_STEP * network.dt / 3.6e6:.3g} h); this run would end at step {end}"
                )
    with (
        Together(network.world, end) as together,
        _lent(network, player),
        _interrupts() as interrupted,
        _bar(network, steps, progress) as show,
    ):
        while True:
            last = min(network.step + min(player.pace, player.longest), end)
            if last < end:  # rounds of the engine begin at multiples of the block
                last = max(last // block * block, network.step + 1)
            if last > network.step:
                last = min(last, _renew(player.machine, network.step, network.step == first))
                last = min(last, player.due)
            last, is_interrupted = together.agree(last, interrupted())
            if is_interrupted or last == network.step:
                break
            done, began = last - network.step, time.perf_counter()
            player.run(network.step, done)
            network.step = last
            player.look(last)
            spent = max(time.perf_counter() - began, 1e-6)
            player.pace = max(min(int(done * SECONDS / spent), 2 * player.pace), block)
            show()
    if is_interrupted:
        raise KeyboardInterrupt


@contextmanager
def _lent(network: Timed, player: Player) -> Iterator[None]:
    """The player has the states during a run, and gives them back however it ends."""
    player.begin(network.step)
    try:
        yield
    finally:
        player.end(network.step)


def _renew(machine: Machine, step: int, all_: bool) -> int:
    """Ask the functions of time that are due, or all; returns the step at which the next one is."""
    due = sys.maxsize
    for drive, input_ in machine.inputs.items():
        if drive.every is not None:
            if all_ or step % drive.every == 0:
                renew(drive, input_, step // drive.every * drive.every)
            due = min(due, (step // drive.every + 1) * drive.every)
    for modulator in machine.modulations:
        if modulator.every is not None:
            if all_ or step % modulator.every == 0:
                modulator.renew(step // modulator.every * modulator.every)
            due = min(due, (step // modulator.every + 1) * modulator.every)
    return due


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Ctrl-C is noted, to be asked for between pieces: none is left half recorded."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # signals go to the main thread
        return
    before = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        yield lambda: bool(seen)
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _bar(network: Timed, steps: int, progress: bool) -> Iterator[Callable[[], None]]:
    """A bar with the biological time and the ratio of wall to biological time."""
    if not progress:
        yield lambda: None
        return
    first, began = network.step, time.perf_counter()
    total = (first + steps) * network.dt
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[factor]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bar:
        task = bar.add_task("", total=steps, factor="")

        def show() -> None:
            done = network.step - first
            factor = (time.perf_counter() - began) / (done * network.dt * 1e-3)
            text = f"{network.time:.0f} of {total:.0f} ms"
            bar.update(task, completed=done, description=text, factor=f"{factor:.2f} x real time")

        yield show
