"""Random and given connections as compressed rows, by CUDA kernels: the rows of ``connect``.

Kernels draw the synapses of :mod:`spikesim.kernels.connect` as keys, ``source * n_post + target``,
in no order, and a sort makes rows of them: 44 bytes a synapse at the peak. Torch allocates
everything.
"""

from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor

from spikesim.kernels.connect import GROUP, gaps
from spikesim.kernels.print_cuda import cuda_file

if TYPE_CHECKING:
    from spikesim.kernels.cupy_module import Module

Rows: TypeAlias = tuple[Tensor, Tensor]
"""``indptr [rows + 1]``, int64, and the columns, int32, ascending inside a row."""

THREADS = 128
_SEEN = 1 << 27
"""Bytes of the bits that tell which columns have been drawn."""


def every_pair(n_pre: int, n_post: int, *, skip: bool, device: torch.device) -> Rows:
    """Each source reaches each target."""
    columns = max(n_post - skip, 0)
    target = torch.arange(columns, dtype=torch.int32, device=device).repeat(n_pre, 1)
    if skip:
        target += target >= torch.arange(n_pre, dtype=torch.int32, device=device)[:, None]
    return torch.arange(n_pre + 1, device=device) * columns, target.view(-1)


def diagonal(size: int, *, device: torch.device) -> Rows:
    """Source ``i`` reaches target ``i``."""
    indptr = torch.arange(size + 1, device=device)
    return indptr, indptr[:-1].to(torch.int32)


def bernoulli(
    rows: int, columns: int, p: float, *, skip: bool, seed: int, device: torch.device
) -> Rows:
    """Each row takes each column with probability ``p``, to 2**-32."""
    longer, guide = (torch.from_numpy(table).to(device) for table in _signed(gaps(p)))
    indptr = torch.zeros(rows + 1, dtype=torch.int64, device=device)
    target = torch.empty(0, dtype=torch.int32, device=device)

    def run() -> None:
        pointers = (x.data_ptr() for x in (indptr, target, longer, guide))
        numbers = rows, max(columns - skip, 0), skip, len(longer)
        _launch("draw_gaps", device, 32 * rows, *pointers, seed, *numbers)

    run()
    torch.cumsum(indptr, 0, out=indptr)
    target = target.new_empty(int(indptr[-1]))
    if len(target):
        run()
    return indptr, target


def drawn(
    rows: int,
    columns: int,
    degree: int,
    skip: bool,
    distinct: bool,
    seed: int,
    is_by_target: bool,
    device: torch.device,
) -> Tensor:
    """The keys of the ``degree`` columns that each row draws; rows are sources or targets."""
    keys = torch.empty(rows * degree, dtype=torch.int64, device=device)
    if not len(keys):
        return keys
    strides = (1, rows) if is_by_target else (columns, 1)
    columns -= skip
    words = -(-columns // 32)
    numbers = (seed, rows, degree, columns, skip, *strides)
    if not distinct:
        threads = rows * -(-degree // 4)
        _launch("draw_rows", device, threads, keys.data_ptr(), 0, *numbers)
        return keys
    blocks = min(rows, max(_SEEN // (4 * words), 1))
    seen = torch.empty(blocks * words, dtype=torch.int32, device=device)
    pointers = keys.data_ptr(), seen.data_ptr()
    _launch("draw_different", device, blocks * THREADS, *pointers, *numbers)
    return keys


def pairs(
    total: int,
    n_pre: int,
    n_post: int,
    skip: bool,
    seed: int,
    device: torch.device,
    first: int = 0,
) -> Tensor:
    """The keys of ``total`` pairs from the list of all, ``first`` and on; it is an even one."""
    keys = torch.empty(total, dtype=torch.int64, device=device)
    numbers = (seed, first, total, n_pre, n_post, skip)
    _launch("draw_pairs", device, -(-total // 2), keys.data_ptr(), *numbers)
    return keys


def distinct_pairs(
    total: int, n_pre: int, n_post: int, skip: bool, seed: int, device: torch.device
) -> Tensor:
    """The keys of ``total`` different pairs."""
    how = (n_pre, n_post, skip, seed, device)
    few = min(total, n_pre * (n_post - skip) - total)
    found, first = torch.empty(0, dtype=torch.int64, device=device), 0
    # Each round draws what is missing and so never too many: the first `few` different pairs.
    while len(found) < few:
        missing = few - len(found)
        found = torch.cat((found, pairs(missing, *how, first))).sort()[0]
        found = found[torch.cat((found.new_ones(1), found.diff())) != 0]
        first += -(-missing // GROUP) * GROUP
    if few == total:
        return found
    is_left = torch.ones(n_pre * n_post, dtype=torch.bool, device=device)
    is_left[found] = False
    if skip:
        is_left[:: n_post + 1] = False
    return is_left.nonzero().view(-1)


def sorted_rows(keys: Tensor, n_pre: int, n_post: int) -> Rows:
    """The rows of keys in any order."""
    keys = keys.sort()[0]
    starts = torch.arange(n_pre + 1, device=keys.device) * n_post
    indptr = torch.searchsorted(keys, starts)
    return indptr, keys.remainder_(max(n_post, 1)).to(torch.int32)


def _signed(tables: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """Tables without a sign by their bits."""
    return [x.view(np.int64) if x.dtype == np.uint64 else x for x in tables]


def _launch(name: str, device: torch.device, threads: int, *arguments: int) -> None:
    """Run a kernel on the 64-bit numbers of its struct; none if there is nothing to do."""
    if threads:
        packed = np.array([int(x) & 0xFFFFFFFFFFFFFFFF for x in arguments], np.uint64)
        _module().launch(name, device, -(-threads // THREADS), THREADS, packed)


@cache
def _module() -> "Module":
    from spikesim.kernels.cupy_module import module

    return module(cuda_text())


def cuda_text() -> str:
    """The kernels that draw."""
    head = f"#define THREADS {THREADS}\n"
    return head + "".join(map(cuda_file, ("maths.cuh", "philox.cuh", "connect.cuh")))
