"""How many operations one call of one layer is: dense, and without a zero factor.

An operation is one weight (or one factor of a product of activations) meeting one input. Counts
are sums of integers in float64, exact up to 2**53.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from spikesim.attention import SDSA, SSA

BINARY, INTEGER, REAL = 0, 1, 2
VALUES = ("binary", "integer", "real")

Conv: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
Weighted: TypeAlias = nn.Linear | Conv
CONVS: tuple[type[Conv], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Operations:
    """Operations of one call, over the whole batch.

    Attributes:
        part: which product of the module, empty for its only one.
        dense: operations, zero or not.
        effective: operations in which no factor is zero.
        values: ``BINARY`` if an accumulation is enough, else ``INTEGER`` or ``REAL``.
        nonzero: non-zero inputs.
        elements: inputs.
    """

    part: str
    dense: float
    effective: float
    values: int
    nonzero: float
    elements: float


Rule = Callable[[Any, tuple[Any, ...], Any], Sequence[Operations]]


def values_of(x: Tensor) -> int:
    """What the elements are: only 0 and 1, whole numbers, or any number."""
    if bool(((x == 0) | (x == 1)).all()):
        return BINARY
    return INTEGER if bool((x == x.round()).all()) else REAL


def fan_out(layer: Weighted, shape: Sequence[int], *, dense: bool) -> Tensor:
    """How many non-zero weights (``dense``: weights) each element of one input meets.

    Args:
        layer: a linear or convolutional layer.
        shape: of one sample: ``[F]``, or ``[C, ...]`` with the spatial size.
    """
    weight = layer.weight.detach()
    mask = torch.ones_like(weight, dtype=torch.float64) if dense else (weight != 0).double()
    if isinstance(layer, nn.Linear):
        return mask.sum(0)
    base = next(conv for conv in CONVS if isinstance(layer, conv))
    # Summed over its outputs, a convolution is a depthwise one; the gradient of the sum of that
    # one's output says how often each input is used, whatever the stride, dilation or padding.
    channels, groups = layer.in_channels, layer.groups
    depthwise = base(
        channels,
        channels,
        layer.kernel_size,  # type: ignore[arg-type]
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        layer.dilation,  # type: ignore[arg-type]
        groups=channels,
        bias=False,
        padding_mode=layer.padding_mode,
        device=weight.device,
        dtype=torch.float64,
    )
    per_input = mask.view(groups, -1, *mask.shape[1:]).sum(1).reshape(channels, 1, *mask.shape[2:])
    x = torch.zeros(1, *shape, dtype=torch.float64, device=weight.device, requires_grad=True)
    with torch.enable_grad():
        used = torch.func.functional_call(depthwise, {"weight": per_input}, (x,)).sum()
        (gradient,) = torch.autograd.grad(used, x)
    return gradient[0]


def count_layer(layer: Weighted, inputs: tuple[Any, ...], output: Any) -> list[Operations]:
    """A linear or convolutional layer: each non-zero input times its fan-out."""
    x: Tensor = inputs[0]
    dims = 1 if isinstance(layer, nn.Linear) else 1 + len(layer.kernel_size)
    rows = x.reshape(-1, *x.shape[-dims:])
    active = (rows != 0).sum(0, dtype=torch.float64)
    shape = rows.shape[1:]
    return [
        Operations(
            part="",
            dense=float(fan_out(layer, shape, dense=True).sum()) * rows.shape[0],
            effective=float((active * fan_out(layer, shape, dense=False)).sum()),
            values=values_of(x),
            nonzero=float(active.sum()),
            elements=x.numel(),
        )
    ]


def count_product(part: str, a: Tensor, b: Tensor) -> Operations:
    """A matrix product ``a [..., I, K] @ b [..., K, J]`` of activations.

    One binary factor is enough to accumulate: it says which elements of the other to add.
    """
    columns = (a != 0).sum(-2, dtype=torch.float64)  # [..., K]
    rows = (b != 0).sum(-1, dtype=torch.float64)  # [..., K]
    return Operations(
        part=part,
        dense=float(a.numel() * b.shape[-1]),
        effective=float((columns * rows).sum()),
        values=min(values_of(a), values_of(b)),
        nonzero=float(columns.sum() + rows.sum()),
        elements=a.numel() + b.numel(),
    )


def count_ssa(ssa: SSA, inputs: tuple[Any, ...], output: Any) -> list[Operations]:
    """Both products of spiking self-attention, in the order that ran; its scale is free."""
    q, k, v = inputs
    if ssa.tokens_first(q.shape[-2], q.shape[-1]):
        scores = q @ k.mT
        return [count_product("QK^T", q, k.mT), count_product("(QK^T)V", scores, v)]
    summary = k.mT @ v
    return [count_product("K^TV", k.mT, v), count_product("Q(K^TV)", q, summary)]


def count_sdsa(sdsa: SDSA, inputs: tuple[Any, ...], output: Any) -> list[Operations]:
    """Spike-driven self-attention: the column sum of ``K * V``, and the mask ``Q * g``."""
    q, k, v = inputs
    agreed = sdsa._spread(k * v)
    # .forward: no hook may take this for a second run of the neuron.
    neuron = sdsa.neuron.forward if isinstance(sdsa.neuron, nn.Module) else sdsa.neuron
    gate = neuron(agreed.sum(-2, keepdim=True))
    return [
        _count_elementwise("sum K*V", agreed, torch.ones_like(agreed)),
        _count_elementwise("Q*g", q, gate),
    ]


def _count_elementwise(part: str, a: Tensor, b: Tensor) -> Operations:
    return Operations(
        part=part,
        dense=float(a.numel()),
        effective=float(torch.count_nonzero(a * b)),
        values=min(values_of(a), values_of(b)),
        nonzero=float(torch.count_nonzero(a)),
        elements=a.numel(),
    )
