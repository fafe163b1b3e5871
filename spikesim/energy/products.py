"""Operations of torch that multiply and add up: matrix products and convolutions.

A factor is a weight if it was made of the model's parameters and buffers alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from torch import Tensor

from spikesim.energy.cost import Cost, product
from spikesim.energy.fan_out import FanOut, Window, dense, spread

IsWeight: TypeAlias = Callable[[Tensor], bool]

# Where the factors are among the arguments; what is added to the product is before them.
MATRIX = {
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot", "_int_mm", "_sparse_mm"), 0),
    **dict.fromkeys(("addmm", "baddbmm", "addmv", "_sparse_addmm", "_addmm_activation"), 1),
}
CONVOLUTIONS = ("convolution", "_convolution", "convolution_overrideable")


def products(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor, is_weight: IsWeight,
    inside: Sequence[int] | None,
) -> Cost | None:  # fmt: skip
    """What an operation costs; ``None`` if it is no product.

    Args:
        name: of the operation, without its overload.
        args, kwargs: of the call.
        out: what it gave.
        is_weight: tells weights from activations.
        inside: the map's size without the zeros that were padded to it, if there are any.
    """
    if name in MATRIX:
        added = args[0] if MATRIX[name] else None
        a, b = args[MATRIX[name] : MATRIX[name] + 2]
        cost = _matrix(a, b, out, is_weight)
        if added is None or kwargs.get("beta", 1) == 0:
            return cost
        if is_weight(added):
            return replace(cost, bias=added)
        return replace(cost, additions=float(out.numel()))
    if name in CONVOLUTIONS:
        x, weight, bias, stride, padding, dilation, transposed, _, groups = args[:9]
        return convolution(
            x, weight, bias, out, stride, padding, dilation,
            groups=groups, transposed=transposed, inside=inside,
        )  # fmt: skip
    if name == "linear":
        cost = _matrix(args[0], args[1].mT, out, is_weight)
        return replace(cost, bias=args[2] if len(args) > 2 else None)
    return None


def _matrix(a: Tensor, b: Tensor, out: Tensor, is_weight: IsWeight) -> Cost:
    """``a @ b``, of whatever dimensions."""
    left, right = is_weight(a), is_weight(b)
    # Activations may be kept sparse for a product.
    a, b = a if left else dense(a), b if right else dense(b)
    a = a[None] if a.dim() == 1 else a
    b = b[:, None] if b.dim() == 1 else b
    if left == right:
        return product(dense(a), dense(b), output=dense(out))
    x, weight, outputs = (b.mT, a, -2) if left else (a, b, -1)
    # The same matrix for a whole batch is one matrix.
    if weight.dim() == 3 and (weight.shape[0] == 1 or weight.stride(0) == 0):
        weight = weight[0]
    macs = float(a.numel() * b.shape[-1])
    cost = Cost(kind="linear", macs=macs, factors=(x,), output=out, weight=weight)
    if weight.dim() == 2:
        return replace(cost, fan_out=FanOut(weight, outputs))
    # Steps may lie anywhere among so many matrices.
    done = product(a, b).effective
    assert isinstance(done, Tensor)
    return replace(cost, effective=done.sum()[None])


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    out: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    *,
    groups: int = 1,
    transposed: bool = False,
    inside: Sequence[int] | None = None,
) -> Cost:
    """A convolution ``[M, C, ...]``; taps on padding are no operation.

    Args:
        x, weight, bias, stride, padding, dilation, groups, transposed: as torch has them.
        out: what it gave.
        inside: first and last place (excluded) of each dimension of the map that are no padding,
            one after the other; all of it where not given.
    """
    dims = x.dim() - 2
    size = tuple(x.shape[2:])
    edges = inside or [edge for n in size for edge in (0, n)]
    window = Window(
        size, tuple(weight.shape[2:]), tuple(out.shape[2:]), spread(stride, dims),
        spread(padding, dims), spread(dilation, dims),
        tuple(zip(edges[::2], edges[1::2], strict=True)), transposed,
    )  # fmt: skip
    return Cost(
        kind="conv",
        macs=float(x.shape[0] * weight.shape[0] * weight.shape[1] * window.pairs),
        factors=(x,),
        fan_out=FanOut(weight, window=window, groups=groups),
        inputs=float(x.shape[0] * x.shape[1] * window.places),
        output=out,
        weight=weight,
        bias=bias,
    )


def padded_inside(args: tuple[Any, ...]) -> list[int] | None:
    """Where a map padded with zeros has none of them, for :func:`convolution`; ``None`` if other.

    ``args`` are those of ``constant_pad_nd``: the map ``[M, C, ...]``, widths, and the value.
    """
    x, widths = args[0], list(args[1])
    value = args[2] if len(args) > 2 else 0
    if value != 0 or min(widths, default=0) < 0 or len(widths) > 2 * (x.dim() - 2):
        return None
    widths += [0] * (2 * (x.dim() - 2) - len(widths))
    edges = []
    # Widths begin with the last dimension.
    for d, n in enumerate(x.shape[2:]):
        before = widths[2 * (x.dim() - 3 - d)]
        edges += [before, before + n]
    return edges
