r"""The taps of a synapse's bump that count: few neighbouring delays, and what arrives with each.

A synapse of weight :math:`w` and delay :math:`d` reaches its target :math:`n` steps late with
:math:`w\, g(n - d) / \sum_m g(m - d)`, :math:`0 \le n \le N`. Far from the delay :math:`g` is next
to nothing, so only ``n`` neighbours around it are kept, with which :math:`m` runs too: a synapse
still gives its whole weight. What is cut is below ``cut`` of the bump's peak.

Legend: ``K`` bumps of a synapse, ``I`` inputs, ``O`` outputs, which lie innermost.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Shape: TypeAlias = Literal["gauss", "triangle"]
CUT = 1e-3
"""The part of a bump's peak below which nothing is kept, by default."""
NARROWEST = 0.27
"""What a Gaussian's standard deviation has beyond its width, steps."""


@dataclass(frozen=True)
class Bump:
    """A shape: ``height(distance, width)``, and where it falls below a part of its peak."""

    height: Callable[[Tensor, Tensor], Tensor]
    reach: Callable[[float, float], float]


BUMPS: Mapping[str, Bump] = {
    "gauss": Bump(
        lambda n, width: torch.exp(-0.5 * (n / (width + NARROWEST)).square()),
        lambda width, cut: (width + NARROWEST) * math.sqrt(-2.0 * math.log(cut)),
    ),
    "triangle": Bump(
        lambda n, width: torch.relu(width + 1.0 - n.abs()),
        lambda width, cut: (width + 1.0) * (1.0 - cut),
    ),
}


def count(width: float, shape: Shape, max_delay: int, cut: float) -> int:
    """How many neighbouring delays a bump of a width needs, wherever it lies."""
    return min(int(2.0 * BUMPS[shape].reach(width, cut)) + 1, max_delay + 1)


def smooth(
    weight: Tensor, delay: Tensor, width: Tensor, taps: int, max_delay: int, shape: Shape
) -> tuple[Tensor, Tensor]:
    """Values of the taps ``[n, K, I, O]``, differentiable, and the first one's delay ``[K, I, O]``.

    Args:
        weight: ``[O, I, K]``.
        delay: steps, broadcasting against ``weight``.
        width: as ``delay``.
        taps: ``n``; see :func:`count`.
        max_delay: the largest delay.
        shape: of a bump.
    """
    weight, delay, width = (_turned(a, weight) for a in (weight, delay, width))
    first = torch.ceil(delay.detach() - 0.5 * taps).clamp_(0, max_delay + 1 - taps)
    n = torch.arange(taps, dtype=delay.dtype, device=delay.device).view(-1, 1, 1, 1)
    g = BUMPS[shape].height(n + (first - delay), width)
    return g * (weight / g.sum(0)), first.to(torch.int32)


def rounded(weight: Tensor, delay: Tensor, max_delay: int) -> tuple[Tensor, Tensor]:
    """As :func:`smooth`: one tap, the weight, at the nearest whole delay."""
    turned = _turned(weight, weight)
    first = _turned(delay.detach(), weight).round().clamp(0, max_delay)
    return turned[None], first.to(torch.int32)


def dense(
    weight: Tensor,
    delay: Tensor,
    width: Tensor,
    max_delay: int,
    shape: Shape,
    is_rounded: bool,
) -> Tensor:
    """All taps, what is nothing too: ``[O, I, D]``, from the largest delay to none."""
    delay = delay.expand(weight.shape)[..., None]
    steps = torch.arange(max_delay, -1, -1, dtype=delay.dtype, device=delay.device)
    if is_rounded:
        g = (steps == delay.detach().round().clamp(0, max_delay)).to(weight.dtype)
        return (weight[..., None] * g).sum(2)
    width = width if width.dim() == 0 else width.expand(weight.shape)[..., None]
    g = BUMPS[shape].height(steps - delay, width)
    kernel = g * (weight / g.sum(-1))[..., None]
    return kernel.sum(2) if kernel.shape[2] > 1 else kernel.squeeze(2)


def _turned(a: Tensor, like: Tensor) -> Tensor:
    """``[O, I, K]`` as ``[K, I, O]``; a number for all stays one."""
    return a if a.dim() == 0 else a.expand(like.shape).permute(2, 1, 0).contiguous()


def folded(taps: Tensor, start: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """More taps than a kernel takes at once, ``size``, as bumps more: ``[size, rows, O]``.

    Args:
        taps: ``[n, K, I, O]``.
        start: ``[K, I, O]``.
        size: zeros are added up to a multiple of it.

    Returns:
        Taps, and starts ``[rows, O]``; row ``(m * K + k) * I + i`` begins ``m * size`` later.
    """
    n, *shape = taps.shape
    parts = -(-n // size)
    if n % size:
        taps = torch.cat([taps, taps.new_zeros(parts * size - n, *shape)])
    if parts > 1:
        taps = taps.view(parts, size, *shape).transpose(0, 1)
        later = torch.arange(0, parts * size, size, dtype=start.dtype, device=start.device)
        start = start + later.view(-1, 1, 1, 1)
    outputs = shape[-1]
    return taps.reshape(size, -1, outputs).contiguous(), start.reshape(-1, outputs).contiguous()


def unfolded(gradient: Tensor, like: Tensor) -> Tensor:
    """The gradient of ``like``, the taps, from that of what :func:`folded` made of them."""
    size, n = gradient.shape[0], like.shape[0]
    parts = gradient.view(size, -1, *like.shape[1:]).transpose(0, 1)
    return parts.reshape(-1, *like.shape[1:])[:n].contiguous()
