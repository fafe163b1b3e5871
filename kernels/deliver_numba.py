"""Spikes to the rings of their targets.

A thread walks through the lists of spikes and adds weights to its own neurons, so that no two
threads write to the same place; and where a slot of a ring does not fit into the nearest cache,
through a part of them at a time.
Importing this module imports numba, so it is imported inside functions.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped"

from functools import cache

from numba import cfunc, int64, njit, types
from numba.extending import intrinsic

from spikesim.kernels.engine_numba import APART, SIGNATURE, zero
from spikesim.kernels.memory_numba import (
    I64,
    apart,
    least,
    load_int64,
    prefetch_to_read,
    read,
    select,
)

AHEAD = 4
"""Spikes between the announcement of a row of synapses and its use."""
LINE = 64
"""Bytes of a line of the cache."""
ANNOUNCED = 32
"""Lines of a row that are announced; the processor finds the others itself."""


@intrinsic
def add(typing, zero, array, index, value):
    """Add an integer to ``array[index]``, of the type of ``zero``."""

    def code(context, builder, signature, args):
        element = args[0].type
        place = builder.gep(builder.inttoptr(args[1], element.as_pointer()), [args[2]])
        value = builder.trunc(args[3], element) if element != I64 else args[3]
        builder.store(builder.add(builder.load(place), value), place)
        return context.get_dummy_value()

    return types.void(zero, types.int64, types.int64, types.int64), code


@njit(cache=True, forceinline=True)
def announce(array, start, stop, size):
    """Fetch the first elements of ``array[start:stop]`` into the nearest cache."""
    address = array + size * start
    for i in range(0, least(size * (stop - start), ANNOUNCED * LINE), LINE):
        prefetch_to_read(address + i)


@cache
def deliver(place, weight, ring, is_spread):
    """The operation for arrays of these dtypes; ``weight`` is ``None`` where all are equal.

    Where ``is_spread``, a place holds the delay too: ``delay * neurons + target``.

    Table: lists of spikes, length of a thread's, counts, threads; cuts of the rows of synapses,
    sources, parts of a thread; places, weights or the only one; ring, neurons, slots, delay.
    """
    place_0, ring_0 = zero(place), zero(ring)
    weight_0 = zero("int64" if weight is None else weight)
    is_equal = weight is None
    place_size, weight_size = place_0.itemsize, 0 if is_equal else weight_0.itemsize

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def operation(table, begin, steps, thread):
        apart()
        lists, length, counts = load_int64(table, 0), load_int64(table, 1), load_int64(table, 2)
        threads, cuts, sources = load_int64(table, 3), load_int64(table, 4), load_int64(table, 5)
        parts, places, weights = load_int64(table, 6), load_int64(table, 7), load_int64(table, 8)
        inputs, neurons = load_int64(table, 9), load_int64(table, 10)
        slots, delay = load_int64(table, 11), load_int64(table, 12)
        size = slots * neurons
        for part in range(parts * thread, parts * (thread + 1)):
            starts = cuts + 8 * sources * part
            stops = starts + 8 * sources
            for turn in range(threads):
                # Its own first, which it has just written.
                other = (thread + turn) % threads
                spikes = lists + 8 * length * other
                many = load_int64(counts, APART * other)
                for k in range(many):
                    if k + 2 * AHEAD < many:
                        later = load_int64(spikes, k + 2 * AHEAD) & 0xFFFFFFFF
                        prefetch_to_read(starts + 8 * later)
                        prefetch_to_read(stops + 8 * later)
                    if k + AHEAD < many:
                        soon = load_int64(spikes, k + AHEAD) & 0xFFFFFFFF
                        start, stop = load_int64(starts, soon), load_int64(stops, soon)
                        announce(places, start, stop, place_size)
                        announce(weights, start, stop, weight_size)
                    spike = load_int64(spikes, k)
                    source = spike & 0xFFFFFFFF
                    slot = ((spike >> 32) + delay) & (slots - 1)
                    start, stop = load_int64(starts, source), load_int64(stops, source)
                    for synapse in range(start, stop):
                        at = slot * neurons + int64(read(place_0, places, synapse))
                        if is_spread:
                            at = select(at >= size, at - size, at)
                        w = weights if is_equal else int64(read(weight_0, weights, synapse))
                        add(ring_0, inputs, at, w)

    return operation


@njit(cache=True, nogil=True, error_model="numpy")
def cut(place, indptr, neurons, is_spread, limits, cuts):
    """Where the targets of each row pass the limits of the parts.

    Args:
        place: of each synapse; targets ascend in a row.
        indptr: of the rows.
        neurons: of the ring.
        is_spread: whether a place holds the delay too.
        limits: of the parts, ascending.
        cuts: written, ``[parts + 1, rows]``.

    Returns:
        The first row whose targets do not ascend, or -1.
    """
    for r in range(len(indptr) - 1):
        k = indptr[r]
        last = int64(0)
        cuts[0, r] = k
        for part in range(1, len(limits)):
            while k < indptr[r + 1]:
                target = int64(place[k])
                if is_spread:
                    target %= neurons
                if target < last:
                    return r
                last = target
                if target >= limits[part]:
                    break
                k += 1
            cuts[part, r] = k
        if k != indptr[r + 1]:
            return r
    return -1
