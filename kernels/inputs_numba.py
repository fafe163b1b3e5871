"""What a network's rings receive from outside: Poisson spikes, noise and currents.

Each makes operations of :mod:`spikesim.kernels.engine_numba` for a ring's dtype. Random numbers are
words of Philox blocks ``philox(seed, element, 0, step, stream << 8)`` as in
:mod:`spikesim.random`; neighbouring neurons share a block, so that none is left over, and vectors
hold 16 neurons side by side.
Importing this module imports numba, so it is imported inside functions.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped"

from functools import cache

from numba import cfunc
from numpy import float32, float64, int64, uint32, uint64

from spikesim.kernels.engine_numba import SIGNATURE, zero
from spikesim.kernels.memory_numba import (
    apart,
    least,
    load_float64,
    load_int64,
    nearest,
    read,
    select,
    wide,
    write,
)
from spikesim.kernels.philox_numba import normal, philox
from spikesim.kernels.tile_numba import (
    give_int32,
    give_int64,
    room,
    take_float64,
    take_int32,
    take_int64,
)
from spikesim.kernels.time_loop_numba import WIDTH

LANES = 16
"""Neurons side by side in a vector; ``l`` below."""


@cache
def poisson(ring):
    """Spike counts times a weight.

    Neuron ``64 j + 16 w + l`` takes word ``w`` of element ``16 j + l``. Each of its limits that the
    word exceeds adds the weight to the base.

    Table: ranges, neurons, ring, last slot, weight, seed, stream; bases, limits uint32 in rows,
    how many rows, neurons in a row, 1 where these are of each neuron and 0 where they serve all;
    which neuron the first one is.
    """
    number, is_wide = zero(ring), ring == "int64"
    kind = type(number)

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def operation(table, begin, steps, thread):
        wide()
        apart()
        ranges, neurons = load_int64(table, 0), load_int64(table, 1)
        inputs, last_slot = load_int64(table, 2), load_int64(table, 3)
        weight = kind(load_int64(table, 4))
        key, stream = uint64(load_int64(table, 5)), load_int64(table, 6)
        bases, limits = load_int64(table, 7), load_int64(table, 8)
        rows, stride, moves = load_int64(table, 9), load_int64(table, 10), load_int64(table, 11)
        element = load_int64(table, 12) // 4
        start, stop = load_int64(ranges, thread), load_int64(ranges, thread + 1)
        spare, words, totals, firsts, row = room(), room(), room(), room(), room()
        for first in range(start, stop, WIDTH):
            n = least(WIDTH, stop - first)
            if is_wide:
                take_int64(firsts, bases, first * moves, WIDTH, spare)
            else:
                take_int32(firsts, bases, first * moves, WIDTH, spare)
            for step in range(begin, begin + steps):
                at = (step & last_slot) * neurons + first
                for i in range(LANES):
                    a, b, c, d = philox(
                        key, key >> uint64(32), element + first // 4 + i, 0, step, stream << 8
                    )
                    write(words, i, uint32(a))
                    write(words, i + LANES, uint32(b))
                    write(words, i + 2 * LANES, uint32(c))
                    write(words, i + 3 * LANES, uint32(d))
                if is_wide:
                    take_int64(totals, inputs, at, n, spare)
                else:
                    take_int32(totals, inputs, at, n, spare)
                for i in range(WIDTH):
                    total = read(number, totals, i) + read(number, firsts, i)
                    write(totals, i, kind(total))
                for k in range(rows):
                    take_int32(row, limits, k * stride + first * moves, WIDTH, spare)
                    for i in range(WIDTH):
                        more = read(uint32(0), words, i) > read(uint32(0), row, i)
                        total = read(number, totals, i) + select(more, weight, kind(0))
                        write(totals, i, kind(total))
                if is_wide:
                    give_int64(inputs, at, totals, n, spare)
                else:
                    give_int32(inputs, at, totals, n, spare)

    return operation


@cache
def noise(ring):
    """Normal numbers, rounded to whole quanta.

    Neuron ``32 j + 16 w + l`` takes words ``2 w`` and ``2 w + 1`` of element ``16 j + l``.

    Table: ranges, neurons, ring, last slot, seed, stream; means and deviations float64 in quanta,
    and as for :func:`poisson` whether they are of each neuron, and which one is the first.
    """
    number, is_wide = zero(ring), ring == "int64"
    kind = type(number)

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def operation(table, begin, steps, thread):
        wide()
        apart()
        ranges, neurons = load_int64(table, 0), load_int64(table, 1)
        inputs, last_slot = load_int64(table, 2), load_int64(table, 3)
        key, stream = uint64(load_int64(table, 4)), load_int64(table, 5)
        means, deviations, moves = (
            load_int64(table, 6),
            load_int64(table, 7),
            load_int64(table, 8),
        )
        element = load_int64(table, 9) // 2
        start, stop = load_int64(ranges, thread), load_int64(ranges, thread + 1)
        spare, totals, mean, deviation, z = room(), room(), room(), room(), room()
        for first in range(start, stop, WIDTH):
            n = least(WIDTH, stop - first)
            take_float64(mean, means, first * moves, WIDTH, spare)
            take_float64(deviation, deviations, first * moves, WIDTH, spare)
            for step in range(begin, begin + steps):
                at = (step & last_slot) * neurons + first
                for half in range(2):
                    for i in range(LANES):
                        a, b, c, d = philox(
                            key,
                            key >> uint64(32),
                            element + first // 2 + LANES * half + i,
                            0,
                            step,
                            stream << 8,
                        )
                        write(z, 2 * LANES * half + i, normal(a, b))
                        write(z, 2 * LANES * half + LANES + i, normal(c, d))
                if is_wide:
                    take_int64(totals, inputs, at, n, spare)
                else:
                    take_int32(totals, inputs, at, n, spare)
                for i in range(WIDTH):
                    value = load_float64(mean, i)
                    value += load_float64(deviation, i) * float64(read(float32(0), z, i))
                    write(totals, i, kind(read(number, totals, i) + int64(nearest(value))))
                if is_wide:
                    give_int64(inputs, at, totals, n, spare)
                else:
                    give_int32(inputs, at, totals, n, spare)

    return operation


@cache
def current(ring):
    """Constant numbers.

    Table: ranges, neurons, ring, last slot, values.
    """
    number = zero(ring)
    kind = type(number)

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def operation(table, begin, steps, thread):
        wide()
        apart()
        ranges, neurons = load_int64(table, 0), load_int64(table, 1)
        inputs, last_slot = load_int64(table, 2), load_int64(table, 3)
        values = load_int64(table, 4)
        start, stop = load_int64(ranges, thread), load_int64(ranges, thread + 1)
        for step in range(begin, begin + steps):
            at = (step & last_slot) * neurons
            for i in range(start, stop):
                total = read(number, inputs, at + i) + read(number, values, i)
                write(inputs, at + i, kind(total))

    return operation
