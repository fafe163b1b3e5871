"""A neuron-astrocyte liquid, a millisecond after the other, and its stimuli.

All synapses of a sender decay alike, as they keep the time since its last spike only. So what the
inputs of a neuron sum to follows from one number a neuron: it decays, a spike fills its synapses up
again, and a weight that changes adds what is left of the last spike times the change. Work is done
for the rows of senders and the columns of receivers that spike, and nothing else.
Importing this module imports numba, so it is imported inside functions.
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np
from numba import njit
from numpy import float32, int32, uint64

from spikesim.kernels.philox_numba import philox, uniform

ZERO, ONE = float32(0.0), float32(1.0)
FORGOTTEN = float32(1e-30)
"""What has decayed below is nothing: subnormal numbers would take a hundred times as long."""


@njit(cache=True, nogil=True, error_model="numpy")
def bernoulli(probability, key, steps, starts, events):
    """Events of step ``t`` into ``events[starts[t]:starts[t + 1]]``, ascending.

    Args:
        probability: of an event in a step, ``[inputs]``.
        key: low and high word of the seed, uint64.
        steps: to be drawn.
        starts: written, ``[steps + 1]``.
        events: written, ``[inputs with a probability * steps]`` at least.
    """
    active = np.flatnonzero(probability > ZERO)
    count = 0
    starts[0] = 0
    for t in range(steps):
        for i in active:
            a, b, _, _ = philox(key[0], key[1], i, uint64(0), t, uint64(0))
            if uniform(a, b) < probability[i]:
                events[count] = i
                count += 1
        starts[t + 1] = count


@njit(cache=True, error_model="numpy")
def follow(a, gain, imbalance, bias, tau):
    """The astrocyte a millisecond later."""
    return a + (gain * imbalance + bias - a) / tau


@njit(cache=True, nogil=True, error_model="numpy")
def show(rows, target, weight, columns, pre, synapse, sign, largest, starts, events, cell,
         learning, astrocyte, trace, counts, raster, levels):  # fmt: skip
    """Show one stimulus to a liquid at rest.

    Args:
        rows, target: compressed rows of synapses by sender; inputs come first.
        weight: changed, ``[synapses]``.
        columns, pre, synapse: the same by receiver: sender and number of each synapse.
        sign: of a sender's weights: 1, -1, or 0 for either, ``[senders]``.
        largest: size of a weight.
        starts, events: events of step ``t`` are ``events[starts[t]:starts[t + 1]]``.
        cell: leak, threshold, steps of refractoriness, decay of a current, its gain, drive of an
            event.
        learning: rate of potentiation, decay of a trace, its jump.
        astrocyte: gain, bias, time constant, level at first, and what the rates keep in a step.
        trace: changed, of the spikes of ``[senders]``.
        counts: spikes are added, ``[neurons]``.
        raster: spikes are set, ``[steps, senders]``, or ``[0, 0]``.
        levels: level after each step is written, ``[steps]``, or ``[0]``.
    """
    senders, neurons = len(rows) - 1, len(columns) - 1
    inputs = senders - neurons
    leak, threshold, refractory, decay, gain, drive = cell
    p, keep, jump = learning
    sensitivity, bias, tau, a, fade = astrocyte
    v, wait = np.zeros(senders, np.float32), np.zeros(senders, np.float32)
    left = np.zeros(senders, np.float32)
    current, later = np.zeros(neurons, np.float32), np.zeros(neurons, np.float32)
    rise = np.empty(senders, np.float32)
    fired, list_ = np.zeros(senders, np.bool_), np.empty(senders, np.int32)
    low, high = np.where(sign <= ZERO, -largest, ZERO), np.where(sign >= ZERO, largest, ZERO)
    own, active = trace[inputs:], fired[inputs:]
    for t in range(len(starts) - 1):
        spikes = 0
        given = 0
        for i in range(senders):
            fired[i] = v[i] >= threshold and wait[i] <= ZERO
            if fired[i]:
                v[i] = ZERO
                list_[spikes] = i
                spikes += 1
                if i < inputs:
                    given += 1
        # Weights change with the traces and rates of before, currents of this step do not: they
        # take the old weight, and what the change is worth arrives with the next one.
        for k in range(spikes):
            i = list_[k]
            filled, left[i] = ONE - left[i], ONE
            on_pre, on_post = (p, -a) if sign[i] < ZERO else (-a, p)
            both = on_post * trace[i]
            for s in range(rows[i], rows[i + 1]):
                j = target[s]
                old = weight[s]
                current[j] += old * filled
                change = on_pre * own[j] + (both if active[j] else ZERO)
                w = min(max(old + change, low[i]), high[i])
                later[j] += w - old
                weight[s] = w
        for i in range(senders):
            rate = -a if sign[i] < ZERO else p
            rise[i] = ZERO if fired[i] else rate * trace[i]
        for k in range(given, spikes):
            j = list_[k] - inputs
            counts[j] += int32(1)
            total = ZERO
            for c in range(columns[j], columns[j + 1]):
                i, s = pre[c], synapse[c]
                old = weight[s]
                w = min(max(old + rise[i], low[i]), high[i])
                total += (w - old) * left[i]
                weight[s] = w
            later[j] += total
        for i in range(inputs):
            v[i] -= v[i] * leak
        for k in range(starts[t], starts[t + 1]):
            v[events[k]] += drive
        for j in range(neurons):
            v[inputs + j] += current[j] * gain - v[inputs + j] * leak
            following = (current[j] + later[j]) * decay
            current[j] = following if abs(following) > FORGOTTEN else ZERO
            later[j] = ZERO
        for i in range(senders):
            left[i] = left[i] * decay if left[i] > FORGOTTEN else ZERO
            wait[i] = refractory if fired[i] else wait[i] - ONE
        for i in range(senders):
            q = keep * (trace[i] + (jump if fired[i] else ZERO))
            trace[i] = q if q > FORGOTTEN else ZERO
        a = follow(a, sensitivity, float32(spikes - 2 * given), bias, tau)
        p, a, sensitivity, bias = p * fade, a * fade, sensitivity * fade, bias * fade
        if len(raster):
            raster[t] = fired
        if len(levels):
            levels[t] = a
