"""Compiled rows of a convolution; called by :mod:`spikesim.network.convolution`.

Importing this module imports numba, so it is imported inside functions. An axis is ``(start,
output, tap)``: position ``p`` reaches ``output[start[p]:start[p + 1]]``, ascending, through the
entries ``tap`` of the kernel; both are multiplied by their strides already.
"""
# mypy: disable-error-code="no-untyped-def"

from numba import njit


@njit(cache=True, nogil=True)
def convolve(channel, depth, height, width, target, index):
    """Targets and kernel entries of each source in the order channel, depth, height, width."""
    found = 0
    for c in range(channel[0].size - 1):
        for z in range(depth[0].size - 1):
            for y in range(height[0].size - 1):
                for x in range(width[0].size - 1):
                    for a in range(channel[0][c], channel[0][c + 1]):
                        for b in range(depth[0][z], depth[0][z + 1]):
                            output_ab = channel[1][a] + depth[1][b]
                            tap_ab = channel[2][a] + depth[2][b]
                            for d in range(height[0][y], height[0][y + 1]):
                                output = output_ab + height[1][d]
                                tap = tap_ab + height[2][d]
                                for e in range(width[0][x], width[0][x + 1]):
                                    target[found] = output + width[1][e]
                                    index[found] = tap + width[2][e]
                                    found += 1
