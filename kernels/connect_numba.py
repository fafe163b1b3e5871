"""Compiled loops that draw connections; called through :mod:`spikesim.kernels.connect`.

Importing this module imports numba, so it is imported inside functions. Legend: ``seed`` is two
words of 32 bits, ``columns`` how many numbers a row draws from, ``skip`` whether row ``r`` leaves
out column ``r``, ``cursor[c]`` where the next entry of column ``c`` goes.
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np
from numba import njit
from numpy import int32, int64, uint32, uint64

from spikesim.kernels.philox_numba import philox

_MASK, _HIGH = uint64(0xFFFFFFFF), uint64(32)
_CONNECTIONS = uint64(0xFFFFFF01)
"""The last word of the counter: no layer of stochastic neurons has it."""
_BUFFER = 1024


@njit(cache=True, nogil=True)
def fill_words(words, count, seed, row, block, stage):
    """The words of blocks ``block, block + 1, ...`` of a row, ``count`` rounded up to fours."""
    for i in range((count + 3) >> 2):
        a, b, c, d = philox(seed[0], seed[1], row, block + i, stage, _CONNECTIONS)
        words[4 * i] = uint32(a)
        words[4 * i + 1] = uint32(b)
        words[4 * i + 2] = uint32(c)
        words[4 * i + 3] = uint32(d)


@njit(cache=True, forceinline=True)
def rejected(columns):
    """Words ``w`` whose ``w * columns`` ends below this are drawn anew (Lemire, 2019)."""
    n = uint64(columns)
    return (_MASK + uint64(1) - n) % n


@njit(cache=True, nogil=True)
def draw_anew(columns, seed, row, draw):
    """One draw of a row whose first word was rejected."""
    stage = 0
    while True:
        stage += 1
        block = philox(seed[0], seed[1], row, draw >> 2, stage, _CONNECTIONS)
        product = block[draw & 3] * uint64(columns)
        if (product & _MASK) >= rejected(columns):
            return int32(product >> _HIGH)


@njit(cache=True, nogil=True)
def draw_columns(out, first, columns, words, seed, row):
    """Draws ``first, first + 1, ...`` of a row, all below ``columns``; ``first`` is one of fours.

    A word ``w`` gives ``w * columns >> 32``; a rejected one is replaced by that of the next stage.
    """
    if out.size == 0:
        return
    bound = rejected(columns)
    for start in range(0, out.size, _BUFFER):
        size = min(_BUFFER, out.size - start)
        fill_words(words, size, seed, row, (first + start) >> 2, 0)
        bad = 0
        for i in range(size):
            product = uint64(words[i]) * uint64(columns)
            out[start + i] = int32(product >> _HIGH)
            bad += (product & _MASK) < bound
        if bad > 0:
            for i in range(size):
                if (uint64(words[i]) * uint64(columns) & _MASK) < bound:
                    out[start + i] = draw_anew(columns, seed, row, first + start + i)


@njit(cache=True, nogil=True)
def draw_different(out, columns, seen, words, seed, row):
    """The first ``out.size`` different draws of a row, which ``seen`` then holds."""
    batch = np.empty(_BUFFER, np.int32)
    found, first = 0, 0
    while found < out.size:
        draws = batch[: min(_BUFFER, (out.size - found + 3) & ~3)]
        draw_columns(draws, first, columns, words, seed, row)
        first += draws.size
        for value in draws:
            if found < out.size and not seen[value]:
                seen[value] = True
                out[found] = value
                found += 1


@njit(cache=True, nogil=True)
def draw_row(out, columns, skip, seen, words, seed, row):
    """All numbers that a row draws; without repetition those that stay out, if these are fewer."""
    count = out.size
    if seen.size == 0:
        draw_columns(out, 0, columns, words, seed, row)
    elif 2 * count <= columns:
        draw_different(out, columns, seen, words, seed, row)
        for i in range(count):
            seen[out[i]] = False
    else:
        draw_different(np.empty(columns - count, np.int32), columns, seen, words, seed, row)
        found = 0
        for c in range(columns):
            if not seen[c]:
                out[found] = c
                found += 1
            seen[c] = False
    if skip:
        for i in range(count):
            out[i] += int32(out[i] >= row)


@njit(cache=True, nogil=True)
def drawn(first, last, degree, columns, skip, distinct, seed, cursor, rows):
    """Write rows ``[first, last)`` into the columns that they draw; only count without ``rows``."""
    out = np.empty(degree, np.int32)
    seen = np.zeros(columns if distinct else 0, np.bool_)
    words = np.empty(_BUFFER, np.uint32)
    for row in range(first, last):
        draw_row(out, columns, skip, seen, words, seed, row)
        for i in range(degree):
            column = out[i]
            if rows.size > 0:
                rows[cursor[column]] = row
            cursor[column] += 1


@njit(cache=True, nogil=True)
def pair_anew(pair, n_pre, columns, seed):
    """A pair one of whose first words was rejected, as ``(source, column)``."""
    block, at = pair >> 1, 2 * (pair & 1)
    stage = 0
    while True:
        stage += 1
        words = philox(seed[0], seed[1], block, block >> 32, stage, _CONNECTIONS)
        by_source = words[at] * uint64(n_pre)
        by_column = words[at + 1] * uint64(columns)
        if (by_source & _MASK) >= rejected(n_pre) and (by_column & _MASK) >= rejected(columns):
            return int32(by_source >> _HIGH), int32(by_column >> _HIGH)


@njit(cache=True, nogil=True)
def draw_pairs(sources, targets, n_pre, n_post, skip, words, seed, group):
    """The pairs of one group.

    Pair ``i`` of all takes two words of block ``i >> 1``, those of the next stage if one of them is
    rejected.
    """
    count, columns = sources.size, n_post - int64(skip)
    first_block = group * (_BUFFER >> 1)
    for i in range((count + 1) >> 1):
        block = first_block + i
        a, b, c, d = philox(seed[0], seed[1], block, block >> 32, 0, _CONNECTIONS)
        words[4 * i] = uint32(a)
        words[4 * i + 1] = uint32(b)
        words[4 * i + 2] = uint32(c)
        words[4 * i + 3] = uint32(d)
    least_pre, least_column = rejected(n_pre), rejected(columns)
    bad = 0
    for i in range(count):
        by_source = uint64(words[2 * i]) * uint64(n_pre)
        by_column = uint64(words[2 * i + 1]) * uint64(columns)
        sources[i] = int32(by_source >> _HIGH)
        targets[i] = int32(by_column >> _HIGH)
        bad += (by_source & _MASK) < least_pre or (by_column & _MASK) < least_column
    if bad > 0:
        for i in range(count):
            by_source = uint64(words[2 * i]) * uint64(n_pre)
            by_column = uint64(words[2 * i + 1]) * uint64(columns)
            if (by_source & _MASK) < least_pre or (by_column & _MASK) < least_column:
                pair = group * _BUFFER + i
                sources[i], targets[i] = pair_anew(pair, n_pre, columns, seed)
    if skip:
        for i in range(count):
            targets[i] += int32(targets[i] >= sources[i])


@njit(cache=True, nogil=True)
def pairs(first, last, total, n_pre, n_post, skip, seed, cursor, rows):
    """Write sources of groups ``[first, last)`` into the lists of their targets, or only count."""
    sources, targets = np.empty(_BUFFER, np.int32), np.empty(_BUFFER, np.int32)
    words = np.empty(2 * _BUFFER, np.uint32)
    for group in range(first, last):
        size = min(_BUFFER, total - group * _BUFFER)
        draw_pairs(sources[:size], targets[:size], n_pre, n_post, skip, words, seed, group)
        for i in range(size):
            target = targets[i]
            if rows.size > 0:
                rows[cursor[target]] = sources[i]
            cursor[target] += 1


@njit(cache=True, nogil=True)
def list_pairs(first_group, n_pre, n_post, skip, seed, flat):
    """Pairs of groups from ``first_group`` on, as ``source * n_post + target``."""
    words = np.empty(2 * _BUFFER, np.uint32)
    sources, targets = np.empty(_BUFFER, np.int32), np.empty(_BUFFER, np.int32)
    for start in range(0, flat.size, _BUFFER):
        size = min(_BUFFER, flat.size - start)
        group = first_group + start // _BUFFER
        draw_pairs(sources[:size], targets[:size], n_pre, n_post, skip, words, seed, group)
        for i in range(size):
            flat[start + i] = int64(sources[i]) * n_post + targets[i]


@njit(cache=True, nogil=True)
def bernoulli(first, last, columns, skip, longer, guide, seed, indptr, target):
    """Columns that each row takes with one probability, by the gaps between them.

    ``longer[g]`` of 2**32 gaps are longer than ``g``; one longer than the table goes on from its
    end, as gaps have no memory. ``guide[w >> 24]`` is where the search for word ``w`` begins.
    If ``target`` is empty only ``indptr[row + 1]``, the count, is set.
    """
    words = np.empty(_BUFFER, np.uint32)
    for row in range(first, last):
        place = indptr[row]
        found, block, position, filled = 0, 0, 0, 0
        column = int64(0)
        while True:
            if position == filled:
                filled = 64 if block == 0 else _BUFFER
                fill_words(words, filled, seed, row, block, 0)
                block += filled >> 2
                position = 0
            word = uint64(words[position])
            position += 1
            gap = int64(guide[word >> uint64(24)])
            while gap < longer.size and word < longer[gap]:
                gap += 1
            column += gap
            if column >= columns:
                break
            if gap < longer.size:
                if target.size > 0:
                    target[place + found] = column + int64(skip and column >= row)
                found += 1
                column += 1
        if target.size == 0:
            indptr[row + 1] = found


@njit(cache=True, nogil=True)
def transposed(first, last, indptr, columns_of, cursor, rows):
    """Write rows ``[first, last)`` into the columns that they hold, or only count."""
    for row in range(first, last):
        for i in range(indptr[row], indptr[row + 1]):
            column = columns_of[i]
            if rows.size > 0:
                rows[cursor[column]] = row
            cursor[column] += 1


@njit(cache=True, nogil=True)
def stable_order(keys, before, cursor, order):
    """Counting sort by key of the places in ``before``; empty: of all, in order."""
    for i in range(keys.size):
        place = before[i] if before.size > 0 else i
        key = keys[place]
        order[cursor[key]] = place
        cursor[key] += 1
