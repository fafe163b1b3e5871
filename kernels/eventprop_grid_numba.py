"""Compiled loops of event-based layers in steps of dt, forward and backward, with ring buffers.

Arrays are those of :mod:`spikesim.kernels.eventprop_numba`, with delays and input times in whole
steps, the latter sorted in each sample. A step begins with what arrives in it; a neuron that has
reached its threshold at the end of a step spikes at the beginning of the next one.

Importing this module imports numba, so it is imported inside functions.
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np
from numba import njit

from spikesim.kernels.eventprop_numba import left


@njit(cache=True, nogil=True, error_model="numpy")
def grid_forward(
    first, last, at, neurons, offsets, weight, delay, own_weight, own_delay,
    tau_m, tau_s, threshold, steps, dt, slots,
):  # fmt: skip
    """Spikes of samples ``first`` to ``last``: steps, neurons, slopes and how many in each.

    A slope is ``I`` at the beginning of the step in which V crossed, less the threshold: more than
    0, as no membrane can rise to the threshold with less.

    Args:
        at: the step of each input spike.
        slots: of the ring, more than the longest delay.
    """
    size = weight.shape[1]
    kept, current, given = left(dt, tau_m, tau_s)
    found_steps, found_neurons = np.empty(64, np.int64), np.empty(64, np.int64)
    found_slopes = np.empty(64)
    counts, found = np.zeros(last - first, np.int64), 0
    v, i, ring = np.empty(size), np.empty(size), np.empty((slots, size))
    for sample in range(first, last):
        v[:], i[:], ring[:] = 0.0, 0.0, 0.0
        place, end, recent = offsets[sample], offsets[sample + 1], found
        begin = found
        for n in range(steps):
            while place < end and at[place] == n:
                send(n, slots, weight[neurons[place]], delay[neurons[place]], ring)
                place += 1
            if own_weight.shape[0] > 0:
                while recent < found:
                    k = found_neurons[recent]
                    send(n, slots, own_weight[k], own_delay[k], ring)
                    recent += 1
            row = ring[n % slots]
            for j in range(size):
                before = i[j] + row[j]
                row[j] = 0.0
                v[j] = v[j] * kept + before * given
                i[j] = before * current
                if v[j] >= threshold:
                    if found == found_steps.size:
                        found_steps = np.concatenate((found_steps, np.empty(found, np.int64)))
                        found_neurons = np.concatenate((found_neurons, np.empty(found, np.int64)))
                        found_slopes = np.concatenate((found_slopes, np.empty(found)))
                    found_steps[found], found_neurons[found] = n + 1, j
                    found_slopes[found] = before - threshold
                    found += 1
                    v[j] = 0.0
        counts[sample - first] = found - begin
    return found_steps[:found], found_neurons[:found], found_slopes[:found], counts


@njit(cache=True, nogil=True, error_model="numpy")
def send(n, slots, weight, delay, ring):
    """Add the weights ``[post]`` of a spike of step ``n`` to the rows in which they arrive."""
    first = n % slots
    for j in range(weight.size):
        slot = first + delay[j]
        ring[slot - slots if slot >= slots else slot, j] += weight[j]


@njit(cache=True, nogil=True, error_model="numpy")
def collect(n, slots, tau_s, weight, delay, ring_i, ring_d, d_weight, d_delay):
    """Gradients of the synapses of a spike of step ``n``, and that of its time.

    Args:
        ring_i, ring_d: :math:`\\lambda_I` and :math:`\\lambda_V - \\lambda_I` of later steps.
    """
    first, total = n % slots, 0.0
    for j in range(weight.size):
        slot = first + delay[j]
        slot = slot - slots if slot >= slots else slot
        change = weight[j] * ring_d[slot, j]
        d_weight[j] -= tau_s * ring_i[slot, j]
        d_delay[j] += change
        total += change
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def grid_backward(
    first, last, at, neurons, offsets, weight, delay, own_weight, own_delay,
    tau_m, tau_s, threshold, steps, dt, slots,
    spikes, places, slopes, out_offsets, incoming, time_gradient,
):  # fmt: skip
    """Gradients of weights and delays over samples ``first`` to ``last``; times' are written.

    Args:
        spikes, places, slopes: steps, neurons and slopes of the layer's own spikes.
        incoming: derivative of the loss for each of their times.
    """
    size = weight.shape[1]
    kept, current, given = left(dt, tau_m, tau_s)
    given *= tau_m / tau_s
    d_weight, d_delay = np.zeros(weight.shape), np.zeros(weight.shape)
    d_own_weight, d_own_delay = np.zeros(own_weight.shape), np.zeros(own_weight.shape)
    lambda_v, lambda_i = np.empty(size), np.empty(size)
    ring_i, ring_d = np.empty((slots, size)), np.empty((slots, size))
    for sample in range(first, last):
        lambda_v[:], lambda_i[:], ring_i[:], ring_d[:] = 0.0, 0.0, 0.0, 0.0
        place, own = offsets[sample + 1] - 1, out_offsets[sample + 1] - 1
        while place >= offsets[sample] and at[place] > steps:
            time_gradient[place] = 0.0
            place -= 1
        for n in range(steps, -1, -1):
            row_i, row_d = ring_i[n % slots], ring_d[n % slots]
            for j in range(size):
                lambda_i[j] = lambda_i[j] * current + lambda_v[j] * given
                lambda_v[j] *= kept
                row_i[j], row_d[j] = lambda_i[j], lambda_v[j] - lambda_i[j]
            while own >= out_offsets[sample] and spikes[own] == n:
                j, drive = places[own], incoming[own]
                if own_weight.shape[0] > 0:
                    drive += collect(
                        n, slots, tau_s, own_weight[j], own_delay[j],
                        ring_i, ring_d, d_own_weight[j], d_own_delay[j],
                    )  # fmt: skip
                lambda_v[j] += (threshold * lambda_v[j] + drive) / slopes[own]
                own -= 1
            while place >= offsets[sample] and at[place] == n:
                j = neurons[place]
                time_gradient[place] = collect(
                    n, slots, tau_s, weight[j], delay[j], ring_i, ring_d, d_weight[j], d_delay[j]
                )
                place -= 1
    return d_weight, d_delay, d_own_weight, d_own_delay
