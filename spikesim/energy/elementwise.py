"""What torch's elementwise operations, reductions and poolings cost, and which ones are free."""

from math import prod
from typing import Any

from torch import Tensor

from spikesim.energy.arithmetic import Arithmetic
from spikesim.energy.fan_out import Window, spread

_NONE, _ADD = Arithmetic(), Arithmetic(1)
_MULTIPLY, _FUNCTION = Arithmetic(0, 1), Arithmetic(0, 0, 1)

ELEMENTWISE: dict[str, Arithmetic] = {
    **dict.fromkeys(("add", "sub", "rsub", "cumsum", "heaviside", "sign", "relu"), _ADD),
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge", "maximum", "minimum", "isnan"), _ADD),
    **dict.fromkeys(("clamp_min", "clamp_max", "floor", "ceil", "round", "trunc", "frac"), _ADD),
    **dict.fromkeys(("clamp", "hardtanh", "relu6"), Arithmetic(2)),
    "hardsigmoid": Arithmetic(3, 1),
    "threshold": _ADD,
    **dict.fromkeys(("mul", "div", "square", "reciprocal", "remainder", "fmod"), _MULTIPLY),
    **dict.fromkeys(("exp", "exp2", "expm1", "log", "log2", "log1p", "log10", "sqrt"), _FUNCTION),
    **dict.fromkeys(("sin", "cos", "tan", "sinh", "cosh", "tanh", "atan", "asin"), _FUNCTION),
    **dict.fromkeys(("erf", "erfc", "sigmoid", "pow", "rsqrt", "softplus", "atan2"), _FUNCTION),
    **dict.fromkeys(("addcmul", "addcdiv", "leaky_relu", "_prelu_kernel"), Arithmetic(1, 1)),
    "hardswish": Arithmetic(3, 2),
    "lerp": Arithmetic(2, 1),
    "elu": Arithmetic(1, 1, 1),
    "silu": Arithmetic(0, 1, 1),
    "gelu": Arithmetic(1, 3, 1),
    **dict.fromkeys(("glu", "celu"), Arithmetic(1, 1, 1)),
    "softshrink": Arithmetic(3),
    **dict.fromkeys(("mish", "logaddexp", "logaddexp2"), Arithmetic(2, 1, 2)),
    # The largest is found and taken away, exponentials are added up, each is divided by the sum.
    **dict.fromkeys(("_softmax", "_safe_softmax"), Arithmetic(3, 1, 1)),
    "_log_softmax": Arithmetic(3, 0, 1),
}
"""Of one element of the output."""

REDUCTIONS: dict[str, tuple[Arithmetic, Arithmetic]] = {
    **dict.fromkeys(("sum", "nansum", "amax", "amin", "max", "min", "argmax"), (_ADD, _NONE)),
    **dict.fromkeys(("argmin", "any", "all", "count_nonzero"), (_ADD, _NONE)),
    "aminmax": (Arithmetic(2), _NONE),
    "mean": (_ADD, _MULTIPLY),
    "prod": (_MULTIPLY, _NONE),
    "logsumexp": (Arithmetic(3, 0, 1), _FUNCTION),
    **dict.fromkeys(("linalg_vector_norm", "norm"), (Arithmetic(1, 1), _FUNCTION)),
    **dict.fromkeys(("var", "var_mean"), (Arithmetic(3, 1), Arithmetic(0, 2))),
    **dict.fromkeys(("std", "std_mean"), (Arithmetic(3, 1), Arithmetic(0, 2, 1))),
    # Sum, difference, sum of squares, shift; square, scale, weight. A root for each mean.
    **dict.fromkeys(("native_layer_norm", "native_group_norm"), (Arithmetic(4, 3), _FUNCTION)),
}
"""Of one element of the input, and of one of the (last) output."""

NORMS = (
    "native_batch_norm",
    "_native_batch_norm_legit_no_training",
    "_native_batch_norm_legit",
    "cudnn_batch_norm",
    "miopen_batch_norm",
)

_RANDOM = """
    rand randn randint randperm rand_like randn_like randint_like bernoulli uniform normal
    exponential random poisson multinomial
"""
RANDOM = frozenset(_RANDOM.split())
"""What draws numbers, each of which counts as one function; they come from no tensor."""

ACTIVATIONS = ("relu", "sigmoid")
"""Activation functions whose zeros NeuroBench counts."""

POOLS = tuple(f"{kind}_pool{d}d" for kind in ("avg", "max") for d in (1, 2, 3))
ADAPTIVE = tuple(f"adaptive_{kind}_pool{d}d" for kind in ("avg", "max") for d in (1, 2, 3))

_FREE = """
    clone _to_copy copy contiguous cat stack index index_select index_put _unsafe_index
    _unsafe_index_put unsafe_split unsafe_split_with_sizes gather scatter masked_fill
    masked_scatter masked_select where constant_pad_nd
    reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
    replication_pad3d roll flip repeat repeat_interleave embedding zeros_like ones_like full_like
    empty_like new_zeros new_ones new_full new_empty new_empty_strided fill zero detach alias lift
    lift_fresh _unsafe_view _reshape_copy _reshape_alias resize _local_scalar_dense neg abs
    logical_not logical_and logical_or logical_xor bitwise_not bitwise_and bitwise_or bitwise_xor
    __and__ __or__ __xor__ __lshift__ __rshift__ pixel_shuffle pixel_unshuffle channel_shuffle
    im2col upsample_nearest1d upsample_nearest2d upsample_nearest3d tril triu diag_embed nonzero
    set_ _to_dense to_dense _to_sparse _to_sparse_csr _to_sparse_csc _to_sparse_bsr
    _to_sparse_bsc _coalesce _coalesced squeeze unsqueeze transpose t select_scatter slice_scatter
    diagonal_scatter as_strided_scatter equal
"""
FREE = frozenset(_FREE.split())
"""What moves, chooses or names values, changes a sign, or acts on single bits."""


ADDS_AT = ("index_add", "scatter_add")
"""What adds each value of its fourth argument to a place of its first."""


def is_free(func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an operation does nothing but what :data:`FREE` says."""
    if name in ("index_put", "_unsafe_index_put"):
        return not (args[3] if len(args) > 3 else kwargs.get("accumulate", False))
    if name == "scatter":
        return "reduce" not in kwargs
    if name == "abs":
        return not args[0].is_complex()
    return bool(func.is_view or name in FREE)


def elementwise(name: str, args: tuple[Any, ...], out: Any) -> Arithmetic | None:
    """What an elementwise operation or a reduction costs; ``None`` if it is no such operation."""
    entered = [a for a in args if isinstance(a, Tensor)]
    left = [o for o in (out if isinstance(out, tuple | list) else (out,)) if isinstance(o, Tensor)]
    if name in RANDOM and left:
        return left[0].numel() * _FUNCTION
    if not entered or not left:
        return None
    if name == "pow" and args[1:2] == (2,):
        return left[0].numel() * _MULTIPLY
    if name in ADDS_AT:
        return int(args[3].numel()) * _ADD
    if name in ELEMENTWISE:
        return left[0].numel() * ELEMENTWISE[name]
    if name in REDUCTIONS:
        of_input, of_output = REDUCTIONS[name]
        return entered[0].numel() * of_input + left[-1].numel() * of_output
    return None


def pooling(name: str, args: tuple[Any, ...], out: Any) -> Arithmetic | None:
    """Comparisons of a maximum, or additions and a division of a mean; ``None`` for all else."""
    base = name.removeprefix("_").removesuffix("_with_indices")
    if base not in POOLS and base not in ADAPTIVE:
        return None
    x: Tensor = args[0]
    made: Tensor = out[0] if isinstance(out, tuple) else out
    dims = int(base[-2])
    size, places = tuple(x.shape[-dims:]), tuple(made.shape[-dims:])
    if base in ADAPTIVE:
        pairs = prod(
            sum(-(-(i + 1) * n // m) - i * n // m for i in range(m))
            for n, m in zip(size, places, strict=True)
        )
    else:
        pairs = _window(base, args, size, places).pairs
    maps = made.numel() // max(prod(places), 1)
    joined = maps * pairs - made.numel()
    return Arithmetic(joined, 0 if "max" in base else made.numel())


def _window(
    base: str, args: tuple[Any, ...], size: tuple[int, ...], places: tuple[int, ...]
) -> Window:
    """The window of an operation of torch; only one of maxima can be dilated."""
    dims = len(size)
    kernel = spread(args[1], dims)
    stride = spread(args[2], dims) if len(args) > 2 and args[2] else kernel
    padding = spread(args[3], dims) if len(args) > 3 else (0,) * dims
    is_dilated = base.startswith("max") and len(args) > 4
    dilation = spread(args[4], dims) if is_dilated else (1,) * dims
    return Window(size, kernel, places, stride, padding, dilation, tuple((0, n) for n in size))
