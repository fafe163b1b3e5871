"""Weighted sums of states, and their way back, as operations of a network's run.

Importing this module imports numba, so it is imported inside functions.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped"

from functools import cache

from numba import cfunc
from numpy import float64, int64

from spikesim.kernels.engine_numba import SIGNATURE, zero
from spikesim.kernels.memory_numba import apart, load_float64, load_int64, nearest, read, write
from spikesim.kernels.tile_numba import room
from spikesim.kernels.time_loop_numba import WIDTH


@cache
def sums(real):
    """Sums of a state of dtype ``real``; the first thread takes all neurons, in one order.

    Table: trace, neurons of a step, last row; weights, sums; their values and the step of the first
    row.
    """
    number = zero(real)

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def operation(table, begin, steps, thread):
        if thread != 0:
            return
        apart()
        trace, neurons = load_int64(table, 0), load_int64(table, 1)
        last_row, weights, many = load_int64(table, 2), load_int64(table, 3), load_int64(table, 4)
        values, first = load_int64(table, 5), load_int64(table, 6)
        parts, whole = room(), neurons // WIDTH * WIDTH
        for step in range(begin, begin + steps):
            row = neurons * (step & last_row)
            for k in range(many):
                for i in range(WIDTH):
                    write(parts, i, 0.0)
                for start in range(0, whole, WIDTH):
                    for i in range(WIDTH):
                        value = float64(read(number, trace, row + start + i))
                        value *= load_float64(weights, k * neurons + start + i)
                        write(parts, i, load_float64(parts, i) + value)
                total = 0.0
                for i in range(WIDTH):
                    total += load_float64(parts, i)
                for i in range(whole, neurons):
                    value = float64(read(number, trace, row + i))
                    total += value * load_float64(weights, k * neurons + i)
                write(values, many * (step - first) + k, total)

    return operation


@cache
def feedback(ring):
    """What the sums add to a ring of later steps, rounded to whole quanta.

    Table: ring, neurons, last slot, delay; the sums' values, how many, the step of the first row;
    weights in quanta, and the largest sum.
    """
    number = zero(ring)
    kind = type(number)

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def operation(table, begin, steps, thread):
        if thread != 0:
            return
        apart()
        inputs, neurons = load_int64(table, 0), load_int64(table, 1)
        last_slot, delay = load_int64(table, 2), load_int64(table, 3)
        values, many, first = load_int64(table, 4), load_int64(table, 5), load_int64(table, 6)
        weights, largest = load_int64(table, 7), load_float64(load_int64(table, 8), 0)
        for step in range(begin, begin + steps):
            at = ((step + delay) & last_slot) * neurons
            for k in range(many):
                value = load_float64(values, many * (step - first) + k)
                value = max(min(value, largest), -largest)
                for i in range(neurons):
                    added = int64(nearest(value * load_float64(weights, k * neurons + i)))
                    write(inputs, at + i, kind(read(number, inputs, at + i) + added))

    return operation
