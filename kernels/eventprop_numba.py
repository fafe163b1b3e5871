"""Compiled loops of event-based layers: exact spike times, and the adjoint between them.

All times in ms, float64. ``weight`` and ``delay`` lie as ``[pre, post]``; ``own_weight`` and
``own_delay``, of synapses among the layer's neurons, are empty where it has none. The equations are
in :func:`spikesim.eventprop.functional.cuba_lif`.

Importing this module imports numba, so it is imported inside functions.
"""
# mypy: disable-error-code="no-untyped-def"

import heapq

import numpy as np
from numba import njit

CROWD = 100
"""So many spikes of each neuron of a recurrent layer in the shorter time constant run away."""
ITERATIONS = 200
"""Newton's, at most: 6 where the membrane crosses, 50 to the last bit where it touches."""


@njit(cache=True, nogil=True, error_model="numpy")
def left(h, tau_m, tau_s):
    """What is left after ``h`` of a unit of V and of I, and how much V a unit of I has given.

    The last is ``h / tau_m`` times a mean of the two decays, as smooth where both are the same.
    """
    x = h * abs(1.0 / tau_s - 1.0 / tau_m)
    lost = -np.expm1(-x)
    slow = np.exp(-h / max(tau_m, tau_s))
    fast = slow * (1.0 - lost)
    mean = slow * (lost / x if x > 0.0 else 1.0)
    if tau_m >= tau_s:
        return slow, fast, h / tau_m * mean
    return fast, slow, h / tau_m * mean


@njit(cache=True, nogil=True, error_model="numpy")
def crossing(v, i, tau_m, tau_s, threshold):
    """Time from now until the membrane reaches its threshold, inf if it does not without input.

    It can only rise where I > V, so that I must exceed the threshold; it is concave until its
    peak, so that Newton's iteration from below never steps beyond the crossing.
    """
    if v >= threshold:
        return 0.0
    if i <= threshold:
        return np.inf
    # The peak is where V = I.
    excess, scale = tau_m - tau_s, v * (tau_m - tau_s) + i * tau_s
    if scale <= 0.0:
        return np.inf
    y = excess * (i - v) / scale
    peak = tau_m * tau_s * (i - v) / scale * (np.log1p(y) / y if y != 0.0 else 1.0)
    kept, current, given = left(peak, tau_m, tau_s)
    if v * kept + i * given < threshold:
        return np.inf
    h, now, current = 0.0, v, i
    for _ in range(ITERATIONS):
        step = (threshold - now) * tau_m / (current - now)
        if not 0.0 < step < peak - h or h + step == h:
            break
        h += step
        kept, current, given = left(h, tau_m, tau_s)
        now, current = v * kept + i * given, i * current
    return h


@njit(cache=True, nogil=True, error_model="numpy")
def plan(soonest, j, time):
    """Put the time of neuron ``j``'s next event into a tree; a node is its earlier child."""
    node = soonest.size // 2 + j
    soonest[node] = time
    while node > 1:
        node //= 2
        time = min(soonest[2 * node], soonest[2 * node + 1])
        if soonest[node] == time:
            break
        soonest[node] = time


@njit(cache=True, nogil=True, error_model="numpy")
def next_neuron(soonest):
    """The neuron whose event is the soonest of all."""
    node = 1
    while node < soonest.size // 2:
        node = 2 * node + (soonest[2 * node] > soonest[2 * node + 1])
    return node - soonest.size // 2


@njit(cache=True, nogil=True, error_model="numpy")
def exact_forward(
    first, last, times, neurons, offsets, weight, delay, own_weight, own_delay,
    tau_m, tau_s, threshold, duration,
):  # fmt: skip
    """Spikes of samples ``first`` to ``last``: times, neurons, slopes and how many in each.

    A slope is ``tau_m dV/dt`` right before the spike. A sample whose spikes run away ends there,
    with a count of -1.
    """
    size = weight.shape[1]
    found_times, found_slopes = np.empty(64), np.empty(64)
    found_neurons = np.empty(64, np.int64)
    counts, found = np.zeros(last - first, np.int64), 0
    v, i, at = np.empty(size), np.empty(size), np.empty(size)
    is_crossing, leaves = np.empty(size, np.bool_), 1
    while leaves < size:
        leaves *= 2
    soonest = np.empty(2 * leaves)
    for sample in range(first, last):
        start, spikes = offsets[sample], offsets[sample + 1] - offsets[sample]
        arrivals = np.empty(spikes * size)
        for k in range(spikes):
            for j in range(size):
                arrivals[k * size + j] = times[start + k] + delay[neurons[start + k], j]
        order = np.argsort(arrivals)
        v[:], i[:], at[:], soonest[:] = 0.0, 0.0, 0.0, np.inf
        due = [(np.inf, 0, 0)]  # own spikes' arrivals: when, at which neuron, from which
        place, begin, crowd, since = 0, found, found, 0.0
        while True:
            outside = arrivals[order[place]] if place < order.size else np.inf
            time, w = min(soonest[1], due[0][0], outside), 0.0
            if not time <= duration:
                break
            is_spike = soonest[1] == time
            if is_spike:
                j = next_neuron(soonest)
                if not is_crossing[j]:
                    h = crossing(v[j], i[j], tau_m, tau_s, threshold)
                    is_crossing[j] = True
                    plan(soonest, j, max(time, at[j] + h))  # but for rounding, the latter
                    continue
            elif due[0][0] == time:
                _, j, k = heapq.heappop(due)
                w = own_weight[k, j]
            else:
                k, j = order[place] // size, order[place] % size
                w = weight[neurons[start + k], j]
                place += 1
            kept, current, given = left(time - at[j], tau_m, tau_s)
            v[j], i[j], at[j] = v[j] * kept + i[j] * given, i[j] * current + w, time
            if is_spike:
                if found == found_times.size:
                    found_times = np.concatenate((found_times, np.empty(found)))
                    found_slopes = np.concatenate((found_slopes, np.empty(found)))
                    found_neurons = np.concatenate((found_neurons, np.empty(found, np.int64)))
                found_times[found], found_neurons[found] = time, j
                found_slopes[found] = i[j] - threshold
                found += 1
                if own_weight.size > 0 and found == crowd + CROWD * size:
                    if time < since + min(tau_m, tau_s):
                        found = begin
                        counts[sample - first] = -1
                        break
                    crowd, since = found, time
                counts[sample - first] += 1
                v[j] = 0.0
                for other in range(own_weight.shape[0]):
                    if own_weight[j, other] != 0.0:
                        heapq.heappush(due, (time + own_delay[j, other], other, j))
            if v[j] >= threshold:
                h = 0.0
            elif i[j] > threshold:
                # Newton's first iterate: no crossing is sooner. Others may come before it.
                h = (threshold - v[j]) * tau_m / (i[j] - v[j])
            else:
                h = np.inf
            is_crossing[j] = False
            plan(soonest, j, time + h)
    return found_times[:found], found_neurons[:found], found_slopes[:found], counts


@njit(cache=True, nogil=True, error_model="numpy")
def adjoint(time, j, spikes, begin, own, lambda_v, lambda_i, tau_m, tau_s):
    """The adjoint of neuron ``j`` at a time, from that right before its next spike, if any.

    Args:
        spikes: their times.
        begin: ``[N + 1]``, where in ``own`` the numbers of a neuron's spikes begin.
    """
    low, high = begin[j], begin[j + 1]
    while low < high:
        middle = (low + high) // 2
        if spikes[own[middle]] > time:
            high = middle
        else:
            low = middle + 1
    if low == begin[j + 1]:
        return 0.0, 0.0
    k = own[low]
    h = spikes[k] - time
    kept, current, given = left(h, tau_m, tau_s)
    return lambda_v[k] * kept, lambda_i[k] * current + lambda_v[k] * given * tau_m / tau_s


@njit(cache=True, nogil=True, error_model="numpy")
def exact_backward(
    first, last, times, neurons, offsets, weight, delay, own_weight, own_delay,
    tau_m, tau_s, threshold, spikes, places, slopes, out_offsets, incoming, time_gradient,
):  # fmt: skip
    """Gradients of weights and delays over samples ``first`` to ``last``; times' are written.

    Args:
        spikes, places, slopes: times, neurons and slopes of the layer's own spikes.
        incoming: derivative of the loss for each of these times.
    """
    size = weight.shape[1]
    d_weight, d_delay = np.zeros(weight.shape), np.zeros(delay.shape)
    d_own_weight, d_own_delay = np.zeros(own_weight.shape), np.zeros(own_delay.shape)
    lambda_v, lambda_i = np.empty(spikes.size), np.empty(spikes.size)
    for sample in range(first, last):
        start, end = out_offsets[sample], out_offsets[sample + 1]
        begin = np.zeros(size + 1, np.int64)
        for k in range(start, end):
            begin[places[k] + 1] += 1
        begin = np.cumsum(begin)
        own, filled = np.empty(end - start, np.int64), begin[:-1].copy()
        for k in range(start, end):
            own[filled[places[k]]] = k
            filled[places[k]] += 1
        for k in range(end - 1, start - 1, -1):
            n, drive = places[k], incoming[k]
            for m in range(own_weight.shape[0]):
                lv, li = adjoint(
                    spikes[k] + own_delay[n, m], m, spikes, begin, own,
                    lambda_v, lambda_i, tau_m, tau_s,
                )  # fmt: skip
                d_own_weight[n, m] -= tau_s * li
                d_own_delay[n, m] += own_weight[n, m] * (lv - li)
                drive += own_weight[n, m] * (lv - li)
            lv, li = adjoint(spikes[k], n, spikes, begin, own, lambda_v, lambda_i, tau_m, tau_s)
            lambda_v[k], lambda_i[k] = lv + (threshold * lv + drive) / slopes[k], li
        for k in range(offsets[sample], offsets[sample + 1]):
            n, total = neurons[k], 0.0
            for m in range(size):
                lv, li = adjoint(
                    times[k] + delay[n, m], m, spikes, begin, own, lambda_v, lambda_i, tau_m, tau_s
                )
                d_weight[n, m] -= tau_s * li
                d_delay[n, m] += weight[n, m] * (lv - li)
                total += weight[n, m] * (lv - li)
            time_gradient[k] = total
    return d_weight, d_delay, d_own_weight, d_own_delay
