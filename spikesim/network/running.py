"""The loop of a run: pieces short enough to be interrupted, recorded, and shown."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from spikesim.kernels.engine import Cells, CpuEngine, Operation, SpikeRecorder, StateRecorder
from spikesim.network.build import Machine, renew
from spikesim.network.population import Group
from spikesim.network.probe import Probe, RateProbe, SpikeProbe, StateProbe

if TYPE_CHECKING:
    from spikesim.network.network import Network

SECONDS = 0.1
"""Wall time that a piece aims at; a person notices 0.2 s."""
ROOM = 1 << 25
"""Bytes that are recorded in a piece."""


class Player:
    """A machine with the recorders of some probes, ready to run."""

    def __init__(self, machine: Machine, probes: list[Probe], threads: int) -> None:
        self.machine, self.probes = machine, list(probes)
        self._spikes: dict[Group, SpikeRecorder] = {}
        self._states: dict[StateProbe, StateRecorder] = {}
        for source in machine.groups.values():
            if isinstance(source, Cells):
                source.traces = {}
        for probe in probes:
            self._record(probe)
        self.engine = CpuEngine(self._operations(), machine.block, threads)
        row = sum(recorder.bits.nbytes for recorder in self._spikes.values())
        row += sum(recorder.values.nbytes for recorder in self._states.values())
        self.longest = max(ROOM // max(row, 1), machine.block)
        """Steps of a piece for which there is room."""

    def _record(self, probe: Probe) -> None:
        source = self.machine.groups[probe.group]
        if isinstance(probe, StateProbe):
            assert isinstance(source, Cells)
            shape, dtype = (self.machine.block, source.count), source.dtype
            source.traces = {**source.traces, probe.state: np.zeros(shape, dtype)}
            values = np.zeros((1, probe.neurons.size), dtype)
            self._states[probe] = StateRecorder(source, probe.state, probe.neurons, values)
        elif probe.group not in self._spikes:
            bits = np.zeros((1, source.spikes.shape[1]), np.uint32)
            self._spikes[probe.group] = SpikeRecorder(source, bits)

    def _operations(self) -> list[Operation]:
        """Inputs; then each group, what records it, and what delivers its spikes."""
        machine = self.machine
        operations: list[Operation] = list(machine.inputs.values())
        for group, source in machine.groups.items():
            operations.append(source)
            if group in self._spikes:
                operations.append(self._spikes[group])
            operations += [r for probe, r in self._states.items() if probe.group is group]
            operations += [d for d in machine.deliveries.values() if d.source is source]
        return operations

    def run(self, first: int, steps: int) -> None:
        """Run steps and hand what was recorded to the probes."""
        for recorder in self._spikes.values():
            recorder.bits = np.empty((steps, recorder.bits.shape[1]), np.uint32)
            recorder.first = first
        for state in self._states.values():
            state.values = np.empty((steps, state.neurons.size), state.values.dtype)
            state.first = first
        self.engine.run(first, steps)
        for probe in self.probes:
            if isinstance(probe, StateProbe):
                probe.take(self._states[probe].values)
            elif isinstance(probe, SpikeProbe | RateProbe):
                probe.take(self._spikes[probe.group].bits)


def run(network: "Network", player: Player, steps: int, progress: bool) -> None:
    """Run ``steps`` further, in pieces."""
    first, block = network.step, player.machine.block
    end, longest = first + steps, block
    with _interrupts() as interrupted, _bar(network, steps, progress) as show:
        while network.step < end:
            last = min(network.step + min(longest, player.longest), end)
            if last < end:  # rounds of the engine begin at multiples of the block
                last = max(last // block * block, network.step + 1)
            last = min(last, _renew(player.machine, network.step, network.step == first))
            done, began = last - network.step, time.perf_counter()
            player.run(network.step, done)
            network.step = last
            spent = max(time.perf_counter() - began, 1e-6)
            longest = max(min(int(done * SECONDS / spent), 2 * longest), block)
            show()
            if interrupted():
                raise KeyboardInterrupt


def _renew(machine: Machine, step: int, all_: bool) -> int:
    """Ask the functions of time that are due, or all; returns the step at which the next one is."""
    due = sys.maxsize
    for drive, input_ in machine.inputs.items():
        if drive.every is not None:
            if all_ or step % drive.every == 0:
                renew(drive, input_, step // drive.every * drive.every)
            due = min(due, (step // drive.every + 1) * drive.every)
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
def _bar(network: "Network", steps: int, progress: bool) -> Iterator[Callable[[], None]]:
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
