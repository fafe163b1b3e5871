r"""Sums over synapses of which each releases at random, and their gradients.

.. math::
    y_{tbj} = \sum_i w_{ji} \, \phi_{tbji} \, (1 + a (2 U_{tbji} - 1)) \, x_{tbi}, \qquad
    P(\phi = 1) = s_{ji}

The draws of synapse ``[j, i]``, the first for :math:`\phi`, the second for :math:`U`, are those of
element ``j * in + i`` in :mod:`spikesim.random`: functions of where they happen, so that nothing
is kept for the backward pass, and synapses of silent inputs need none. On the CPU numba does it;
torch, a step at a time, elsewhere and inside ``torch.compile``. Shape legend: ``x [T, B, in]``,
``weight [out, in]``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from spikesim.kernels.backends import serving
from spikesim.kernels.threads import share
from spikesim.random import Stream


@dataclass(frozen=True)
class Synapses:
    """``weight`` and ``release`` are ``[out, in]`` of one dtype, float32 or float64.

    Args:
        weight: :math:`w`.
        release: :math:`s`, in [0, 1].
        spread: :math:`a`, one number, in [0, 1].
        stream: where they draw.
    """

    weight: Tensor
    release: Tensor
    spread: Tensor
    stream: Stream


@dataclass(frozen=True)
class Gradients:
    """Of the draws as they were; that of a release goes to its probability as it is."""

    x: Tensor | None
    weight: Tensor
    release: Tensor
    spread: Tensor


def forward(x: Tensor, to: Synapses) -> Tensor:
    """The sums ``[T, B, out]``."""
    if not _is_compiled(x):
        return _forward_numba(x, to)
    out = x.new_empty(*x.shape[:2], len(to.weight))
    for t, x_BI in enumerate(x):
        is_out, jitter = _draws(t, x_BI, to)
        out[t] = torch.einsum("bi,boi->bo", x_BI, is_out * to.weight * (1 + to.spread * jitter))
    return out


def backward(x: Tensor, grad: Tensor, to: Synapses, *, wants_x: bool) -> Gradients:
    """Gradients for that of the sums, ``grad [T, B, out]``."""
    sums, of_x = (_backward_numba if not _is_compiled(x) else _backward_torch)(x, grad, to, wants_x)
    return Gradients(of_x, sums[0], to.weight * sums[1], (to.weight * sums[2]).sum())


def _backward_torch(
    x: Tensor, grad: Tensor, to: Synapses, wants_x: bool
) -> tuple[Tensor, Tensor | None]:
    sums = x.new_zeros(3, *to.weight.shape)
    of_x = torch.empty_like(x) if wants_x else None
    for t, (x_BI, grad_BO) in enumerate(zip(x, grad, strict=True)):
        is_out, jitter = _draws(t, x_BI, to)
        size = 1 + to.spread * jitter
        here = grad_BO[:, :, None] * x_BI[:, None, :]  # [B, out, in]
        for total, draws in zip(sums, (is_out * size, size, is_out * jitter), strict=True):
            total += (here * draws).sum(0)
        if of_x is not None:
            of_x[t] = torch.einsum("bo,boi->bi", grad_BO, is_out * size * to.weight)
    return sums, of_x


def _draws(t: int, like: Tensor, to: Synapses) -> tuple[Tensor, Tensor]:
    """Whether each synapse releases, and how far its amplitude is off, in [-1, 1)."""
    shape = (len(like), *to.weight.shape)
    is_out = to.stream.uniform(t, 0, shape) < to.release
    jitter = to.stream.uniform(t, 1, shape) * 2.0 - 1.0
    return is_out.to(like.dtype), jitter.to(like.dtype)


def _is_compiled(x: Tensor) -> bool:
    """Whether torch has to do it."""
    return torch.compiler.is_compiling() or serving("auto", x.device.type) != "numba"


def _lines(of: Tensor) -> Tensor:
    """As the compiled loops read it."""
    return of.detach().t().contiguous()


def _forward_numba(x: Tensor, to: Synapses) -> Tensor:
    from spikesim.kernels import release_numba

    steps, batch, _ = x.shape
    out = x.new_empty(steps, batch, len(to.weight))
    arrays = [_lines(to.weight).numpy(), _lines(to.release).numpy(), to.spread.detach().numpy()[()]]
    where = (max(batch, 1), to.stream.position.numpy(), to.stream.layer)
    rows, result = x.detach().flatten(0, 1).contiguous().numpy(), out.flatten(0, 1).numpy()

    def work(first: int, last: int) -> None:
        release_numba.release_forward(first, last, *where, rows, *arrays, result)

    share(work, len(rows), max(to.weight.numel(), 1), 1)
    return out


def _backward_numba(
    x: Tensor, grad: Tensor, to: Synapses, wants_x: bool
) -> tuple[Tensor, Tensor | None]:
    from spikesim.kernels import release_numba

    sums = x.new_zeros(3, *reversed(to.weight.shape))
    of_x = x.new_empty(x.shape) if wants_x else x.new_empty(0, 0, x.shape[-1])
    arrays = [_lines(to.weight).numpy(), _lines(to.release).numpy(), to.spread.detach().numpy()[()]]
    where = (max(x.shape[1], 1), to.stream.position.numpy(), to.stream.layer)
    rows = x.detach().flatten(0, 1).contiguous().numpy()
    grads, found = grad.flatten(0, 1).contiguous().numpy(), of_x.flatten(0, 1).numpy()

    def work(first: int, last: int) -> None:
        release_numba.release_backward(
            first, last, *where, rows, grads, *arrays, sums.numpy(), found
        )

    share(work, x.shape[-1], max(grad.numel(), 1), 1)
    return sums.transpose(1, 2), of_x if wants_x else None
