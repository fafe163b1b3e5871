"""Recorded bits of spikes as counts and lists.

Importing this module imports numba, so it is imported inside functions.
"""
# mypy: disable-error-code="no-untyped-def"

from numba import njit, types
from numba.extending import intrinsic
from numpy import int32, uint64

from spikesim.kernels.engine_numba import lowest


@intrinsic
def ones(typing, bits):
    """How many bits are 1."""

    def code(context, builder, signature, args):
        return builder.zext(builder.ctpop(args[0]), context.get_value_type(types.int64))

    return types.int64(types.uint32), code


@njit(cache=True, nogil=True, error_model="numpy")
def count_rows(bits, out):
    """How many bits are 1 in each row of ``bits [rows, words]``."""
    for row in range(len(bits)):
        count = 0
        for word in bits[row]:
            count += ones(word)
        out[row] = count


@njit(cache=True, nogil=True, error_model="numpy")
def list_rows(bits, step, neuron, steps, neurons):
    """The places of the ones, row by row.

    Args:
        bits: ``[rows, words]``; bit ``i`` of word ``j`` is that of neuron ``32 j + i``.
        step: of the first row.
        neuron: the first one.
        steps, neurons: of each one, to be filled.
    """
    at = 0
    for row in range(len(bits)):
        for word in range(bits.shape[1]):
            left = uint64(bits[row, word])
            while left:
                steps[at] = step + row
                neurons[at] = int32(neuron + 32 * word + lowest(left))
                left &= left - uint64(1)
                at += 1
