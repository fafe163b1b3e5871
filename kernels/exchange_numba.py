"""Bits of spikes as lists and back, and parts of synapses; what processes exchange and keep.

Importing this module imports numba, so it is imported inside functions.
"""
# mypy: disable-error-code="no-untyped-def"

from numba import njit, types
from numpy import int64, uint32, uint64

from spikesim.kernels.engine_numba import APART, SPINS, arrive, look, lowest

_yield = types.ExternalFunction("sched_yield", types.int32())


@njit(cache=True, nogil=True, error_model="numpy")
def list_ones(words, out):
    """Write how many bits are 1, and as many of their places as there is room for."""
    count = 0
    for i in range(words.size):
        bits = uint64(words[i])
        while bits:
            count += 1
            if count < out.size:
                out[count] = i << 5 | lowest(bits)
            bits &= bits - uint64(1)
    out[0] = count


@njit(cache=True, nogil=True, error_model="numpy")
def set_ones(lists, words, own):
    """Undo :func:`list_ones`, row by row but for the own one."""
    for row in range(len(lists)):
        if row == own:
            continue
        words[row] = 0
        for k in range(1, int64(lists[row, 0]) + 1):
            place = lists[row, k]
            words[row, place >> 5] |= uint32(1) << (place & uint32(31))


@njit(cache=True, nogil=True, error_model="numpy")
def come(counters, process):
    """Count that a process has written what the others wait for."""
    arrive(counters + 8 * APART * process)


@njit(cache=True, nogil=True, error_model="numpy")
def met(counters, processes, turn, looks):
    """Wait for the counters of all processes to reach a turn.

    Args:
        counters: their address.
        processes: how many.
        turn: to reach.
        looks: at one, with the core offered to others in between, until this gives up.

    Returns:
        Whether all have come.
    """
    for process in range(processes):
        spins = 0
        while look(counters + 8 * APART * process) < turn:
            spins += 1
            if spins > SPINS:
                _yield()
            if spins > SPINS + looks:
                return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def spread(words, moves, rows, out):
    """Copy blocks of ``rows`` rows.

    Args:
        words: ``[processes, words]``.
        moves: ``[blocks, 5]``: process, first word, words of a row; to where in ``out``, and the
            words of a row there.
        rows: of each block.
        out: flat.
    """
    for k in range(len(moves)):
        process, start, many, to, stride = moves[k]
        for row in range(rows):
            for i in range(many):
                out[to + row * stride + i] = words[process, start + row * many + i]


@njit(cache=True, nogil=True, error_model="numpy")
def keep(places, weights, starts, stops, neurons, first, count, new_places, new_weights):
    """Copy the synapses of each row from ``starts`` to ``stops``.

    Targets are counted from ``first`` on, among ``count`` neurons in place of ``neurons``; a place
    may hold a delay too, ``delay * neurons + target``. ``weights`` may be empty.
    """
    k = 0
    for row in range(starts.size):
        for i in range(starts[row], stops[row]):
            place = int64(places[i])
            delay = place // neurons
            new_places[k] = place - delay * neurons - first + delay * count
            if weights.size > 0:
                new_weights[k] = weights[i]
            k += 1
