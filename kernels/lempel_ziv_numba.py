"""Compiled Lempel-Ziv parsing; called through :mod:`spikesim.complexity`.

Importing this module imports numba, so it is imported inside functions. Legend: ``words`` are
uint32 ``[trains, words]``, bit ``k`` of word ``j`` is step ``32 j + k``; ``out`` takes the number
of components of each train.
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np
from numba import njit
from numpy import int32, int64, uint32


@njit(cache=True, forceinline=True)
def symbol_at(words, t):
    """The symbol of a step, 0 or 1."""
    return int64((words[t >> 5] >> uint32(t & 31)) & uint32(1))


@njit(cache=True, nogil=True)
def count_lz76(words, first, last, steps, out):
    """Components of the exhaustive history, in time and memory linear in ``steps``.

    A suffix automaton holds all substrings of the text so far. The component being read is a state
    of it, and is complete with the first symbol that leads to none.
    """
    goes = np.empty((2 * steps + 2, 2), int32)  # 0: nowhere; states count from 1, the root
    link = np.empty(2 * steps + 2, int32)
    length = np.empty(2 * steps + 2, int32)
    for train in range(first, last):
        row = words[train]
        link[1] = length[1] = goes[1, 0] = goes[1, 1] = 0
        states, whole = 1, 1  # so far; the state of the whole text
        here, matched, components = 1, 0, 0  # the component being read
        for t in range(steps):
            symbol = symbol_at(row, t)
            target = goes[here, symbol]
            if target:
                here, matched = target, matched + 1
            else:
                here, matched, components = 1, 0, components + 1
            # The text grows by the symbol (Blumer et al., 1985).
            states += 1
            new, at = states, whole
            length[new] = length[whole] + 1
            link[new] = 1
            goes[new, 0] = goes[new, 1] = 0
            while at and not goes[at, symbol]:
                goes[at, symbol] = new
                at = link[at]
            whole = new
            if not at:
                continue
            old = goes[at, symbol]
            if length[old] == length[at] + 1:
                link[new] = old
                continue
            states += 1
            length[states] = length[at] + 1
            link[states] = link[old]
            goes[states, 0], goes[states, 1] = goes[old, 0], goes[old, 1]
            link[old] = link[new] = states
            while at and goes[at, symbol] == old:
                goes[at, symbol] = states
                at = link[at]
            # Shorter strings of a state that was divided belong to its new half.
            if here == old and matched <= length[states]:
                here = states
        out[train] = components + (matched > 0)


@njit(cache=True, nogil=True)
def count_lz78(words, first, last, steps, out):
    """Phrases, each the longest one known and a symbol more; the last may be a known one."""
    goes = np.empty((steps + 2, 2), int32)
    for train in range(first, last):
        row = words[train]
        goes[1, 0] = goes[1, 1] = 0
        phrases, here = 0, 1
        for t in range(steps):
            symbol = symbol_at(row, t)
            if goes[here, symbol]:
                here = goes[here, symbol]
                continue
            phrases += 1
            goes[here, symbol] = phrases + 1
            goes[phrases + 1, 0] = goes[phrases + 1, 1] = 0
            here = 1
        out[train] = phrases + (here != 1)
