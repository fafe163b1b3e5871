"""Compiled loops over synapses that release at random; called through ``kernels.release``.

Importing this module imports numba, so it is imported inside functions. Legend: ``x [rows, in]``
and ``grad [rows, out]``, a row for each sample of each step; synapses lie as ``[in, out]`` here, so
that the innermost loop runs along memory and is vector code. ``position`` holds seed, sample and
step.
"""
# mypy: disable-error-code="no-untyped-def"

from numba import njit
from numpy import float32

from spikesim.kernels.philox_numba import philox, uniform


@njit(cache=True, nogil=True, error_model="numpy")
def release_forward(first, last, batch, position, layer, x, weight, release, spread, out):
    """Rows ``[first, last)``: only synapses of inputs that are not 0 draw."""
    kind = x.dtype.type
    inputs, outputs = weight.shape
    for row in range(first, last):
        sample, step = position[1] + row % batch, position[2] + row // batch
        out[row] = kind(0)
        for i in range(inputs):
            value = x[row, i]
            if value == kind(0):
                continue
            for j in range(outputs):
                words = philox(
                    position[0], position[0] >> 32, j * inputs + i, sample, step, layer << 8
                )
                if uniform(words[0], words[1]) < release[i, j]:
                    jitter = kind(uniform(words[2], words[3]) * float32(2) - float32(1))
                    out[row, j] += weight[i, j] * value * (kind(1) + spread * jitter)


@njit(cache=True, nogil=True, error_model="numpy")
def release_backward(
    first, last, batch, position, layer, x, grad, weight, release, spread, sums, of_x
):
    """Inputs ``[first, last)``: the same draws again.

    Args:
        sums: ``[3, in, out]``, zeros: what grows are the gradients of the weight, of the release
            over the weight, and of the spread over the weight.
        of_x: ``[rows, in]``, or of no rows where it is not wanted.
    """
    kind = x.dtype.type
    inputs, outputs = weight.shape
    for row in range(len(x)):
        sample, step = position[1] + row % batch, position[2] + row // batch
        for i in range(first, last):
            value = x[row, i]
            if value == kind(0) and not len(of_x):
                continue
            total = kind(0)
            for j in range(outputs):
                words = philox(
                    position[0], position[0] >> 32, j * inputs + i, sample, step, layer << 8
                )
                jitter = kind(uniform(words[2], words[3]) * float32(2) - float32(1))
                size = kind(1) + spread * jitter
                is_out = kind(uniform(words[0], words[1]) < release[i, j])
                here = grad[row, j] * value
                sums[0, i, j] += here * is_out * size
                sums[1, i, j] += here * size
                sums[2, i, j] += here * is_out * jitter
                total += grad[row, j] * weight[i, j] * is_out * size
            if len(of_x):
                of_x[row, i] = total
