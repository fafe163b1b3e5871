"""Compiled loops over packed events; called through :mod:`spikesim.kernels.events`.

Importing this module imports numba, so it is imported inside functions. Legend: ``events`` are
packed (``spikesim/kernels/events.py``), ``sensor`` is ``(width, height)``, ``warp`` one record of
``WARP_DTYPE``, ``lookup`` scratch memory of one entry per sensor pixel.
"""
# mypy: disable-error-code="no-untyped-def"

import math

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def fill_lookup(lookup, sensor, out_height, out_width, warp):
    """Where each sensor pixel lands in the frame: ``lookup[y * width + x]``, -1 for nowhere."""
    width, height = sensor
    cx = 0.5 * out_width
    cy = 0.5 * out_height
    a = warp.affine
    for y in range(height):
        # one division of two integers: exact wherever a pixel's centre meets a border
        v = (2 * y + 1) * out_height / (2 * height) - cy
        for x in range(width):
            u = (2 * x + 1) * out_width / (2 * width) - cx
            column = math.floor(a[0] * u + a[1] * v + a[2] + cx)
            row = math.floor(a[3] * u + a[4] * v + a[5] + cy)
            target = -1
            if 0 <= column < out_width and 0 <= row < out_height:
                if warp.flip:
                    column = out_width - 1 - column
                column = (column + warp.roll[0]) % out_width
                row = (row + warp.roll[1]) % out_height
                target = row * out_width + column
                for hole in warp.holes:
                    if hole[0] <= column < hole[2] and hole[1] <= row < hole[3]:
                        target = -1
            lookup[y * width + x] = target


@njit(cache=True, nogil=True)
def first_at(events, low, high, time):
    """The first index in ``[low, high)`` of an event at ``time`` or later, else ``high``."""
    while low < high:
        middle = (low + high) >> 1
        if np.int64(events[middle] >> np.uint64(32)) < time:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def target_of(event, i, sensor, lookup, warp):
    """The pixel where an event lands, or -1; ``i`` counts the events of its sample."""
    x = np.int64((event >> np.uint64(1)) & np.uint64(0x7FFF))
    y = np.int64((event >> np.uint64(16)) & np.uint64(0x7FFF))
    if x >= sensor[0] or y >= sensor[1]:
        return np.int64(-1)
    if warp.rate != np.uint64(0):
        # a coin of probability rate / 2**64: the finaliser of SplitMix64 (Steele et al., 2014)
        z = warp.key + np.uint64(i) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        if (z ^ (z >> np.uint64(31))) < warp.rate:
            return np.int64(-1)
    return np.int64(lookup[y * sensor[0] + x])


@njit(cache=True, nogil=True)
def add_events(events, low, high, first, sensor, lookup, warp, frame):
    """Count the events ``[low, high)`` of one step into ``frame [P, H * W]``."""
    for i in range(low, high):
        event = events[i]
        target = target_of(event, i - first, sensor, lookup, warp)
        if target >= 0:
            frame[np.int64(event & np.uint64(1)), target] += np.float32(1.0)


@njit(cache=True, nogil=True)
def bin_forward(events, offsets, start, span, by_time, width, sensor, warps, lookup, size, out):
    """Bin ``B`` samples into ``out [T, B, P, H * W]``, which comes zeroed."""
    steps = out.shape[0]
    for b in range(offsets.shape[0] - 1):
        warp = warps[min(b, warps.shape[0] - 1)]
        if b < warps.shape[0]:
            fill_lookup(lookup, sensor, size[0], size[1], warp)
        begin = offsets[b]
        end = offsets[b + 1]
        gap_low = first_at(events, begin, end, start[b] + np.int64(warp.gap[0] * span[b]))
        gap_high = first_at(events, gap_low, end, start[b] + np.int64(warp.gap[1] * span[b]))
        step = width
        if width == 0:
            step = (span[b] if by_time else end - begin) // steps
        low = begin
        for t in range(steps):
            if width == 0 and t == steps - 1:
                high = end
            elif by_time:
                high = first_at(events, low, end, start[b] + (t + 1) * step)
            else:
                high = min(end, begin + (t + 1) * step)
            # the events of the step without those in the gap
            frame = out[t, b]
            add_events(events, low, min(high, gap_low), begin, sensor, lookup, warp, frame)
            add_events(events, max(low, gap_high), high, begin, sensor, lookup, warp, frame)
            low = high


@njit(cache=True, nogil=True)
def warp_forward(events, start, span, sensor, warp, lookup, size, out):
    """Move the events of one sample, dropping what leaves the frame; returns how many stay."""
    fill_lookup(lookup, sensor, size[0], size[1], warp)
    count = events.shape[0]
    gap_low = first_at(events, 0, count, start + np.int64(warp.gap[0] * span))
    gap_high = first_at(events, gap_low, count, start + np.int64(warp.gap[1] * span))
    kept = 0
    for i in range(count):
        event = events[i]
        target = target_of(event, i, sensor, lookup, warp)
        if target >= 0 and not gap_low <= i < gap_high:
            place = np.uint64(target // size[1]) << np.uint64(16)
            place |= np.uint64(target % size[1]) << np.uint64(1)
            out[kept] = (event & np.uint64(0xFFFFFFFF00000001)) | place
            kept += 1
    return kept
