"""The loop over blocks of a network's run, and its operations that only move spikes and numbers.

An operation is a C function ``run(table, begin, steps, thread)``: it does its work of the steps
``[begin, begin + steps)`` for the neurons ``[ranges[thread], ranges[thread + 1])``; at the address
``table`` are its sizes and addresses. :func:`drive` calls each in turn without the interpreter.
Importing this module imports numba, so it is imported inside functions.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped"

from functools import cache

import numpy as np
from llvmlite import ir
from numba import cfunc, njit, types
from numba.extending import intrinsic
from numpy import int32, uint64

from spikesim.kernels.memory_numba import I64, copy, least, load_int64, load_uint32, read, write

SIGNATURE = types.void(*[types.int64] * 4)
SPINS = 2000
"""Looks at a barrier before the core is offered to others."""
APART = 8
"""Counters that threads write lie this many int64 apart: a line of the cache each."""

_yield = types.ExternalFunction("sched_yield", types.int32())


def zero(dtype):
    """0 of a dtype, which tells compiled code what an address leads to."""
    return np.dtype(dtype).type(0)


@intrinsic
def call(typing, function, table, begin, steps, thread):
    """Call the operation at the address ``function``."""

    def code(context, builder, signature, args):
        kind = ir.FunctionType(ir.VoidType(), [I64] * 4)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), code


@intrinsic
def arrive(typing, address):
    """Add 1 to a counter that threads share."""

    def code(context, builder, signature, args):
        builder.atomic_rmw("add", builder.inttoptr(args[0], I64.as_pointer()), I64(1), "acq_rel")
        return context.get_dummy_value()

    return types.void(types.int64), code


@intrinsic
def look(typing, address):
    """What a counter that threads share is now."""

    def code(context, builder, signature, args):
        return builder.load_atomic(builder.inttoptr(args[0], I64.as_pointer()), "acquire", 8)

    return types.int64(types.int64), code


@intrinsic
def lowest(typing, bits):
    """The place of the lowest bit that is set; there is one."""

    def code(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), code


@njit(types.void(*[types.int64] * 8), cache=True, nogil=True, error_model="numpy")
def drive(operations, count, block, begin, end, thread, threads, arrived):
    """Run the steps ``[begin, end)``; every thread calls this.

    Args:
        operations: address of the rows ``function, table, waits``: before one that waits, all
            threads have ended those before it.
        count: rows.
        block: steps between two rounds, a power of two; rounds begin at its multiples.
        begin: first step.
        end: after the last step.
        thread: which one this is.
        threads: how many call.
        arrived: address of a counter, 0 at first.
    """
    met = 0
    while begin < end:
        steps = least(block - (begin & (block - 1)), end - begin)
        for k in range(count):
            if load_int64(operations, 3 * k + 2):
                met += threads
                arrive(arrived)
                spins = 0
                while look(arrived) < met:
                    spins += 1
                    if spins > SPINS:
                        _yield()
            call(
                load_int64(operations, 3 * k),
                load_int64(operations, 3 * k + 1),
                begin,
                steps,
                thread,
            )
        begin += steps


@cfunc(SIGNATURE, cache=True, error_model="numpy")
def by_first(table, begin, steps, thread):
    """Let the first thread call an operation.

    Table: its address.
    """
    if thread == 0:
        call(load_int64(table, 0), 0, begin, steps, thread)


@cfunc(SIGNATURE, cache=True, error_model="numpy")
def list_spikes(table, begin, steps, thread):
    """List the neurons that spike, in the order of the steps, as ``step << 32 | neuron``.

    Table: ranges, spikes, words of a step, last row; lists, length of a thread's, counts.
    """
    ranges, spikes, words = load_int64(table, 0), load_int64(table, 1), load_int64(table, 2)
    last_row, length, counts = load_int64(table, 3), load_int64(table, 5), load_int64(table, 6)
    found = load_int64(table, 4) + 8 * length * thread
    first = load_int64(ranges, thread) // 32
    last = (load_int64(ranges, thread + 1) + 31) // 32
    k = 0
    for step in range(begin, begin + steps):
        row = spikes + 4 * words * (step & last_row)
        for word in range(first, last):
            bits = load_uint32(row, word)
            while bits:
                write(found, k, step << 32 | word << 5 | lowest(bits))
                bits &= bits - uint64(1)
                k += 1
    write(counts, APART * thread, k)


@cfunc(SIGNATURE, cache=True, error_model="numpy")
def replay(table, begin, steps, thread):
    """Set the bits of given spikes.

    Table: ranges, spikes, words of a step, last row; steps of the spikes, ascending, their
    neurons, how many.
    """
    ranges, spikes, words = load_int64(table, 0), load_int64(table, 1), load_int64(table, 2)
    last_row, times, senders = load_int64(table, 3), load_int64(table, 4), load_int64(table, 5)
    many = load_int64(table, 6)
    start, stop = load_int64(ranges, thread), load_int64(ranges, thread + 1)
    for step in range(begin, begin + steps):
        row = spikes + 4 * words * (step & last_row)
        for word in range(start // 32, (stop + 31) // 32):
            write(row, word, int32(0))
    low, high = 0, many
    while low < high:
        middle = (low + high) // 2
        if load_int64(times, middle) < begin:
            low = middle + 1
        else:
            high = middle
    while low < many and load_int64(times, low) < begin + steps:
        neuron = read(int32(0), senders, low)
        if start <= neuron < stop:
            row = spikes + 4 * words * (load_int64(times, low) & last_row)
            word = read(int32(0), row, neuron >> 5)
            write(row, neuron >> 5, int32(word | int32(1) << (neuron & 31)))
        low += 1


@cfunc(SIGNATURE, cache=True, error_model="numpy")
def record_spikes(table, begin, steps, thread):
    """Copy the bits of a block.

    Table: ranges, spikes, words of a step, last row; the copy and the step of its first row.
    """
    ranges, spikes, words = load_int64(table, 0), load_int64(table, 1), load_int64(table, 2)
    last_row, bits, first = load_int64(table, 3), load_int64(table, 4), load_int64(table, 5)
    start = load_int64(ranges, thread) // 32
    many = (load_int64(ranges, thread + 1) + 31) // 32 - start
    for step in range(begin, begin + steps):
        to, source = words * (step - first) + start, words * (step & last_row) + start
        copy(int32(0), bits, to, spikes, source, many)


@cache
def record_state(dtype):
    """The operation that copies traces of a dtype.

    Table: ranges, trace, neurons of a step, last row; the copy and the step of its first row;
    chosen neurons, how many.
    """
    number = zero(dtype)

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def operation(table, begin, steps, thread):
        ranges, trace, neurons = load_int64(table, 0), load_int64(table, 1), load_int64(table, 2)
        last_row, values, first = load_int64(table, 3), load_int64(table, 4), load_int64(table, 5)
        chosen, many = load_int64(table, 6), load_int64(table, 7)
        start, stop = load_int64(ranges, thread), load_int64(ranges, thread + 1)
        for step in range(begin, begin + steps):
            row = neurons * (step & last_row)
            for i in range(many):
                neuron = read(int32(0), chosen, i)
                if start <= neuron < stop:
                    value = read(number, trace, row + neuron)
                    write(values, many * (step - first) + i, value)

    return operation
