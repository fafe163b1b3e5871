r"""Linear maps of spikes that arrive late: work for events and taps, not delays.

.. math:: y_o[t] = \sum_i \sum_{j=0}^{n-1} k_{jio}\, x_i[t - d_{io} - j]

A dense convolution over time costs as much for a delay at which a synapse has nothing as for one at
which it has all. :func:`delayed_taps` takes the few taps of each synapse that are not nothing, and
of the input what is not zero; :func:`delayed` makes these taps from weights, delays and widths.
Sums are float32 whatever is stored (float64 of float64), in a fixed order: no atomics, the same
bits in each run. Where bumps are so wide, or the input has so many steps, that the convolution is
cheaper, :func:`delayed` takes that.

Legend: ``T`` steps, ``B`` batch, ``D = max_delay + 1`` delays, ``K`` bumps of a synapse, ``n``
taps.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from spikesim.kernels import delay_taps
from spikesim.kernels.backends import serving
from spikesim.kernels.delay_dense import convolved, cost
from spikesim.kernels.delay_taps import CUT, Shape

WORTH = 2
"""A tap of a synapse costs what so many delays of a dense convolution in time do."""
_STEPS = 1 << 16
"""More steps than lists of events tell apart."""


def delayed(
    x: Tensor,
    weight: Tensor,
    delay: Tensor,
    width: Tensor | float,
    *,
    max_delay: int,
    shape: Shape = "gauss",
    rounded: bool = False,
    cut: float = CUT,
    widest: float | None = None,
) -> Tensor:
    """What arrives through synapses with delays, ``[T, B, O]``; steps before the first are zero.

    Args:
        x: ``[T, B, I]``; the fewer of its values are not zero, the quicker.
        weight: ``[O, I]`` or ``[O, I, K]``.
        delay: steps, from 0 to ``max_delay``; broadcasts against ``weight``.
        width: steps; a number, or broadcasting against ``weight``.
        max_delay: the largest delay.
        shape: ``"gauss"``, of standard deviation ``width + 0.27``, or ``"triangle"``.
        rounded: all of a weight arrives at its nearest whole delay: exact, and ``delay`` and
            ``width`` have no gradient.
        cut: taps below this part of their bump's peak are left out, and the others scaled to the
            synapse's weight. Next to all taps of ``"gauss"`` at 1e-3, the error of a kernel is at
            most 1.5e-3 of the weight, summed over its taps.
        widest: no width is larger; by default the largest is looked up, for which a GPU is waited.

    Gradients reach ``x``, ``weight``, ``delay`` and ``width``.
    """
    if weight.dim() == 2:
        weight, delay = weight[..., None], delay[..., None] if delay.dim() == 2 else delay
        width = width[..., None] if isinstance(width, Tensor) and width.dim() == 2 else width
    if not isinstance(width, Tensor):
        widest = float(width)
        width = weight.new_full((), widest)
    delays = max_delay + 1
    if rounded:
        taps = 1
    else:
        widest = float(width.detach().max()) if widest is None else widest
        taps = delay_taps.count(widest, shape, max_delay, cut)
    is_dense = not rounded and WORTH * taps > cost(x, len(weight), delays)
    if is_dense or not served(x, delays):
        kernel = delay_taps.dense(weight, delay, width, max_delay, shape, rounded)
        return convolved(x, kernel)
    if rounded:
        values, start = delay_taps.rounded(weight, delay, max_delay)
    else:
        values, start = delay_taps.smooth(weight, delay, width, taps, max_delay, shape)
    return delayed_taps(x, values, start, delays)


def served(x: Tensor, delays: int) -> bool:
    """Whether there are kernels for ``x``, ``[T, B, I]``, and so many delays."""
    return len(x) + delays < _STEPS and serving("auto", x.device.type) != "torch"


def delayed_taps(x: Tensor, taps: Tensor, start: Tensor, delays: int) -> Tensor:
    """The sum of this module's head, ``[T, B, O]``, by kernels of numba or CuPy.

    Args:
        x: ``[T, B, I]``.
        taps: ``[n, K, I, O]``.
        start: int32 ``[K, I, O]``: the delay of a synapse's first tap.
        delays: none of all taps' is as large.
    """
    y: Tensor = torch.ops.spikesim.delayed_taps(x, taps, start, delays)
    return y


def _kernels(x: Tensor) -> Any:
    name = "delay_cupy" if x.is_cuda else "delay_cpu"
    return importlib.import_module(f"spikesim.kernels.{name}")


def _forward(x: Tensor, taps: Tensor, start: Tensor, delays: int) -> Tensor:
    y: Tensor = _kernels(x).forward(x.contiguous(), taps, start, delays)
    return y


def _backward(
    grad: Tensor,
    x: Tensor,
    taps: Tensor,
    start: Tensor,
    delays: int,
    wanted: Sequence[bool],
) -> list[Tensor]:
    given = (grad.contiguous(), x.contiguous(), taps, start, delays)
    found = _kernels(x).backward(*given, *wanted)
    return [gradient for gradient in found if gradient is not None]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, taps, start, ctx.delays = inputs
    ctx.save_for_backward(x, taps, start)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    wanted = ctx.needs_input_grad[:2]
    given = (grad, *ctx.saved_tensors, ctx.delays, wanted)
    found = iter(torch.ops.spikesim.delayed_taps_backward(*given))
    of_x, of_taps = (next(found) if is_wanted else None for is_wanted in wanted)
    return of_x, of_taps, None, None


_LIBRARY: Any = torch.library.Library("spikesim", "FRAGMENT")  # type: ignore[no-untyped-call]
_LIBRARY.define("delayed_taps(Tensor x, Tensor taps, Tensor start, int delays) -> Tensor")
_LIBRARY.define(
    "delayed_taps_backward(Tensor grad, Tensor x, Tensor taps, Tensor start, int delays, "
    "bool[] wanted) -> Tensor[]"
)


def _forward_fake(x: Tensor, taps: Tensor, start: Tensor, delays: int) -> Tensor:
    return x.new_empty(*x.shape[:2], taps.shape[-1])


def _backward_fake(
    grad: Tensor,
    x: Tensor,
    taps: Tensor,
    start: Tensor,
    delays: int,
    wanted: Sequence[bool],
) -> list[Tensor]:
    pairs = zip((x, taps), wanted, strict=True)
    return [like.new_empty(like.shape) for like, is_wanted in pairs if is_wanted]


for _name, _real, _fake in (
    ("delayed_taps", _forward, _forward_fake),
    ("delayed_taps_backward", _backward, _backward_fake),
):
    _LIBRARY.impl(_name, _real, "CompositeExplicitAutograd")
    torch.library.register_fake(f"spikesim::{_name}", _fake, lib=_LIBRARY)
torch.library.register_autograd(
    "spikesim::delayed_taps", _gradient, setup_context=_setup, lib=_LIBRARY
)
