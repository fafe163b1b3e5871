r"""Random and given connections as compressed rows, by compiled loops.

All numbers come from Philox4x32-10 (:mod:`spikesim.random`) with the seed as its key. Row ``r``
takes in order the words of the blocks of counters ``(r, b, stage, 0xFFFFFF01)``, b = 0, 1, ..., and
pair ``i`` of a list two words of ``(i / 2 mod 2**32, i / 2**33, stage, 0xFFFFFF01)``, so that rows
are drawn by any number of threads, of a GPU too, with the same result. ``stage`` is 0, and counts
on where a word is rejected for being biased.

On the CPU each loop runs twice, first to count and then to place, which costs less than to keep and
sort the numbers: the largest array besides the result is one number per neuron and thread.
"""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from spikesim.kernels.threads import pool

Result = TypeVar("Result")

Rows: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int32]]
"""``indptr [rows + 1]`` and the columns, ascending inside a row."""

GROUP = 1024
"""Pairs that are drawn together; as ``_BUFFER`` of the loops."""
GAPS = 4096


def words_of(seed: int) -> tuple[np.uint64, np.uint64]:
    """The two words of a key."""
    return np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32 & 0xFFFFFFFF)


def drawn(
    rows: int, columns: int, degree: int, *, skip: bool, distinct: bool, seed: int, threads: int
) -> Rows:
    """Each row draws ``degree`` columns; returns by which rows each column was drawn.

    Args:
        skip: row ``r`` does not draw column ``r``.
        distinct: no row draws a column twice.
    """
    from spikesim.kernels import connect_numba

    how = (degree, max(columns - skip, 0), skip, distinct, words_of(seed))
    return _sorted(connect_numba.drawn, how, rows, columns, threads)


def pairs(total: int, n_pre: int, n_post: int, *, skip: bool, seed: int, threads: int) -> Rows:
    """``total`` pairs, source and target uniform, as targets of each source."""
    from spikesim.kernels import connect_numba

    how = (total, n_pre, n_post, skip, words_of(seed))
    groups = -(-total // GROUP)
    by_target = _sorted(connect_numba.pairs, how, groups, n_post, threads)
    return transposed(by_target, n_pre, threads=threads)


def transposed(lists: Rows, columns: int, *, threads: int) -> Rows:
    """The rows that hold each column, ascending; the lists need not be sorted."""
    from spikesim.kernels import connect_numba

    return _sorted(connect_numba.transposed, lists, lists[0].size - 1, columns, threads)


def distinct_pairs(total: int, n_pre: int, n_post: int, *, skip: bool, seed: int) -> Rows:
    """``total`` different pairs out of all, as targets of each source."""
    from spikesim.kernels.connect_numba import list_pairs

    few = min(total, n_pre * (n_post - skip) - total)
    found, group = np.empty(0, np.int64), 0
    # Each round draws what is missing and so never too many: the first `few` different pairs.
    while found.size < few:
        flat = np.empty(few - found.size, np.int64)
        list_pairs(group, n_pre, n_post, skip, words_of(seed), flat)
        group += -(-flat.size // GROUP)
        flat.sort()
        found = np.concatenate((found, flat))
        found.sort(kind="stable")  # which merges two sorted parts
        found = found[np.concatenate(([True], found[1:] != found[:-1]))]
    if few < total:
        is_left = np.ones(n_pre * n_post, np.bool_)
        is_left[found] = False
        if skip:
            is_left[:: n_post + 1] = False
        found = np.flatnonzero(is_left)
    indptr = np.searchsorted(found, np.arange(n_pre + 1, dtype=np.int64) * n_post)
    return indptr, np.remainder(found, n_post, out=found).astype(np.int32)


def bernoulli(rows: int, columns: int, p: float, *, skip: bool, seed: int, threads: int) -> Rows:
    """Each row takes each column with probability ``p``, to 2**-32."""
    from spikesim.kernels import connect_numba

    longer, guide = gaps(p)
    indptr = np.zeros(rows + 1, np.int64)

    def run(target: NDArray[np.int32]) -> None:
        how = (columns - skip, skip, longer, guide, words_of(seed), indptr, target)
        shared(lambda _, *part: connect_numba.bernoulli(*part, *how), rows, threads)

    run(np.empty(0, np.int32))
    np.cumsum(indptr, out=indptr)
    out = np.empty(int(indptr[-1]), np.int32)
    if out.size:
        run(out)
    return indptr, out


def gaps(p: float) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """The distribution of gaps between columns that are taken with probability ``p``.

    Returns:
        ``longer [gaps]``: how many of 2**32 gaps are longer than each; a gap longer than the table
        goes on from its end, as gaps have no memory. ``guide [256]``: where the search for a word
        begins, by its first byte.
    """
    # Whole numbers made of products alone: the same table, and so the same bits, on each machine.
    longer = np.rint(np.cumprod(np.full(GAPS, 1.0 - p)) * 2.0**32).astype(np.uint64)
    longer = longer[: np.count_nonzero(longer) + 1]
    ends = (np.arange(1, 257, dtype=np.uint64) << np.uint64(24)) - np.uint64(1)
    return longer, np.count_nonzero(ends[:, None] < longer, axis=1).astype(np.int32)


def grouped(
    pre: NDArray[np.int64], post: NDArray[np.int64], n_pre: int, n_post: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.signedinteger[Any]]]:
    """Pairs as targets of each source, and the place of each in the lists that were given.

    Equal pairs keep their order.
    """
    from spikesim.kernels.connect_numba import stable_order

    kind: type[np.signedinteger[Any]] = np.int32 if pre.size < 2**31 else np.int64
    by_post, order = np.empty(pre.size, kind), np.empty(pre.size, kind)
    stable_order(post, order[:0], _starts(post, n_post)[:-1], by_post)
    indptr = _starts(pre, n_pre)
    stable_order(pre, by_post, indptr[:-1].copy(), order)
    return indptr, post[order].astype(np.int32), order


def _sorted(
    loop: Callable[..., None], how: tuple[Any, ...], rows: int, columns: int, threads: int
) -> Rows:
    """Run ``loop`` to count what goes to each column, then again to write it there."""
    cursor = np.zeros((threads, columns), np.int64)
    none = np.empty(0, np.int32)
    shared(lambda i, *part: loop(*part, *how, cursor[i], none), rows, threads)
    indptr = np.zeros(columns + 1, np.int64)
    np.cumsum(cursor.sum(0), out=indptr[1:])
    # Of a column, the first thread's rows come first.
    cursor = np.cumsum(cursor, axis=0) - cursor + indptr[:-1]
    out = np.empty(int(indptr[-1]), np.int32)
    if out.size:
        shared(lambda i, *part: loop(*part, *how, cursor[i], out), rows, threads)
    return indptr, out


def shared(work: Callable[[int, int, int], Result], count: int, threads: int) -> list[Result]:
    """Call ``work(i, first, last)`` for up to ``threads`` ranges that cover ``count``, at once."""
    threads = max(min(threads, count), 1)
    edges = [count * i // threads for i in range(threads + 1)]
    if threads == 1:
        return [work(0, 0, count)]
    return list(pool().map(work, range(threads), edges[:-1], edges[1:]))


def _starts(keys: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    indptr = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(keys, minlength=count), out=indptr[1:])
    return indptr
