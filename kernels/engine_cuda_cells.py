"""Populations of one program side by side on a device, updated by one launch."""

from collections.abc import Container, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from spikesim.kernels.engine import Cells, Real, Ring, Source, Whole
from spikesim.kernels.engine_cuda_drives import NOTHING, SLOTS, Drive, Input
from spikesim.kernels.engine_cuda_launch import Launch, at, on_device, processors, table
from spikesim.kernels.print_update import THREADS, UpdateVariant, update_text

TURNS = 2
"""Neurons of each thread that updates them, where there are many."""
MANY = 16
"""Blocks of threads for each multiprocessor, with a neuron for each: more of these are many."""

Key = tuple[str, tuple[str, ...]]


def key(cells: Cells) -> Key:
    """Populations with the same one may be updated together."""
    program = cells.neuron.bound().program
    return program.key, tuple(name for name in program.dividends if _is_number(cells, name))


class JointCells:
    """Arrays of several populations, one after the other in whole blocks.

    Args:
        cells: of one :func:`key` and dtype.
        level: of all of them.
        inputs: what is drawn or given for each.
        ringed: rings, by their ``id``, that have one on the device: where something is added for
            later steps.
        device: where the arrays are.
    """

    sums: Tensor
    """``[slots, inputs, columns]``, what arrives in a step, by step; part of a circuit's sums."""
    first_sum: int
    """Where this part begins."""

    def __init__(
        self,
        cells: Sequence[Cells],
        level: int,
        inputs: Mapping[Cells, Sequence[Input]],
        ringed: Container[int],
        device: torch.device,
    ) -> None:
        self.cells, self.level, self.device = tuple(cells), level, device
        bound = cells[0].neuron.bound()
        self._program, self._numbers = bound.program, len(bound.numbers)
        is_many = sum(group.count for group in cells) > MANY * THREADS * processors(device)
        width = self._width = THREADS * (TURNS if is_many else 1)
        """Neurons of a block."""
        self._blocks = [-(-group.count // width) for group in cells]
        firsts = np.cumsum([0, *self._blocks]).tolist()
        self.block: dict[Cells, int] = dict(zip(cells, firsts[:-1], strict=True))
        """The first block of each population."""
        self.blocks: int = firsts[-1]
        self.columns: int = self.blocks * width
        self.real = np.dtype(cells[0].dtype)
        whole = torch.int64 if self.real == np.float64 else torch.int32
        program = self._program
        self.state = on_device(np.zeros((len(program.states), self.columns), self.real), device)
        self.inputs = len(program.inputs)
        self.rings: list[Tensor | None] = []
        """By input; ``None`` where there is none on the device."""
        self._driven: list[str] = []
        for name in program.inputs:
            rings = [ring for group in cells if (ring := group.rings.get(name)) is not None]
            shape = max((len(ring.array) for ring in rings), default=0), self.columns
            is_ringed = any(id(ring) in ringed for ring in rings)
            self.rings.append(torch.zeros(shape, dtype=whole, device=device) if is_ringed else None)
            self._driven += [name] if rings else []
        self._arrays = tuple(
            name
            for name in program.parameters
            if not all(_is_number(group, name) for group in cells)
        )
        values = [self._spread(name) for name in self._arrays]
        self._values = on_device(np.array(values, self.real).reshape(-1, self.columns), device)
        self._constants = on_device(self._rows(), device)
        self._table = table(
            (
                (min(group.count - first, width), first, group.seed, group.stream, group.first, 0)
                for group in cells
                for first in range(0, group.count, width)
            ),
            device,
        )
        self._drives = [
            [Drive(given, self.input_of(group, given.ring), device) for given in inputs[group]]
            for group in cells
        ]
        self._most = max(map(len, self._drives))
        shape = self.blocks, self._most * SLOTS
        self._entries = torch.zeros(shape, dtype=torch.int64, device=device)
        self.text = update_text(program, self._variant(), self._numbers)

    def column(self, cells: Cells) -> int:
        """Where the neurons of a population begin."""
        return self._width * self.block[cells]

    def input_of(self, cells: Cells, ring: Ring) -> int:
        """Which input a ring is of."""
        names = [name for name in self._program.inputs if cells.rings.get(name) is ring]
        return self._program.inputs.index(names[0])

    def place(self, input_: int, column: int) -> int:
        """Of a sum, among those of all joint cells."""
        return self.first_sum + input_ * self.columns + column

    def refresh(self) -> None:
        """Take note of what drives the neurons from now on."""
        changed = [drive.refresh() for drives in self._drives for drive in drives]
        if any(changed):
            nothing = (NOTHING,) * SLOTS
            rows = []
            for blocks, drives in zip(self._blocks, self._drives, strict=True):
                entries = [drive.entry for drive in drives]
                entries += [nothing] * (self._most - len(drives))
                rows += [[number for entry in entries for number in entry]] * blocks
            self._entries.copy_(torch.tensor(rows, dtype=torch.int64))

    def upload(self) -> None:
        """Take the states from the arrays of the populations."""
        states = np.zeros(self.state.shape, self.real)
        for group in self.cells:
            first = self.column(group)
            for i, name in enumerate(self._program.states):
                states[i, first : first + group.count] = group.state[name]
        self.state.copy_(torch.from_numpy(states))

    def download(self) -> None:
        """Put the states into the arrays of the populations."""
        states = self.state.cpu().numpy()
        for group in self.cells:
            first = self.column(group)
            for i, name in enumerate(self._program.states):
                group.state[name][:] = states[i, first : first + group.count]

    def arriving(self, step: int, first: int) -> Iterator[tuple[int, slice, Whole]]:
        """What the rings of the populations hold for ``step``, if they begin with ``first``.

        Yields the input, the columns of a population, and its row.
        """
        for group in self.cells:
            columns = slice(self.column(group), self.column(group) + group.count)
            for i, name in enumerate(self._program.inputs):
                ring = group.rings.get(name)
                if ring is not None and step - first < len(ring.array):
                    yield i, columns, ring.array[step % len(ring.array)]

    def total(self, step: int) -> Tensor:
        """What has been added so far for ``step``: ``sums``, with what rings have."""
        found = self.sums[step % len(self.sums)].clone()
        for total, ring in zip(found, self.rings, strict=True):
            if ring is not None:
                total += ring[step % len(ring)]
        return found

    def launch(
        self,
        ids: tuple[int, int, int, int, int],
        bits: tuple[int, int, int],
        words: Mapping[Source, int],
        slot: int,
    ) -> Launch:
        """The update.

        Args:
            ids: the list of spikes (its struct), and the id of column 0 in it.
            bits: what is recorded (its struct).
            words: of populations that are recorded, where their bits begin in a row.
            slot: of the sums.
        """
        slots = [0 if ring is None else len(ring) - 1 for ring in self.rings]
        rings = (*map(at, self.rings), *slots) if slots else (0, 0)
        kept: tuple[Tensor, ...] = ()
        if not words.keys().isdisjoint(self.cells):
            places = [
                words[group] + self._width // 32 * k if group in words else -1
                for group, blocks in zip(self.cells, self._blocks, strict=True)
                for k in range(blocks)
            ]
            kept = (torch.tensor(places, dtype=torch.int32).to(self.device),)
        arguments = (
            *map(at, (self.state, self._values, self._constants, self._table, self._entries)),
            *(self.columns, *ids, *bits, at(kept[0]) if kept else 0),
            *(at(self.sums[slot]), *rings),
        )
        return Launch(self.text, "update", self.blocks, arguments, kept)

    def _variant(self) -> UpdateVariant:
        inputs = zip(self._program.inputs, self.rings, strict=True)
        return UpdateVariant(
            real=self.real.name,
            driven=tuple(self._driven),
            ringed=tuple(name for name, ring in inputs if ring is not None),
            arrays=self._arrays,
            divided=key(self.cells[0])[1],
            drives=self._most,
            width=self._width,
        )

    def _spread(self, name: str) -> Real:
        """A parameter of each neuron."""
        values = np.zeros(self.columns, self.real)
        for group in self.cells:
            first = self.column(group)
            values[first : first + group.count] = group.parameters[name]
        return values

    def _rows(self) -> Real:
        """The constants of each block, as the text counts them."""
        rows = []
        for group, blocks in zip(self.cells, self._blocks, strict=True):
            rings = [group.rings.get(name) for name in self._program.inputs]
            row = [1.0 if ring is None else ring.quantum for ring in rings]
            names = (name for name in self._program.parameters if name not in self._arrays)
            row += [float(group.parameters[name]) for name in names]
            rows += [[*row, *group.neuron.bound().numbers]] * blocks
        return np.array(rows, self.real)


def _is_number(cells: Cells, name: str) -> bool:
    return isinstance(cells.parameters[name], int | float)
