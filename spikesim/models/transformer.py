"""What the two spiking transformers share: checked sizes, pooling marks, heads."""

from itertools import pairwise

from torch import Tensor

from spikesim.errors import UserError
from spikesim.layers import TimeDistributed
from spikesim.pool import MaxPool2d


def check_sizes(dim: int, depth: int, heads: int, mlp_ratio: float, pooling: str) -> None:
    """Refuse sizes that do not fit together.

    Raises:
        UserError: naming the size, the wish and the cure.
    """
    if dim < 8 or dim % 8:
        raise UserError(f"dim must be a multiple of 8 (the stem starts at dim / 8), got {dim}")
    if heads < 1 or dim % heads:
        fits = max(n for n in range(1, max(heads, 1) + 1) if dim % n == 0)
        raise UserError(f"heads must divide dim = {dim}, got {heads}; try heads={fits}")
    if depth < 1:
        raise UserError(f"depth must be >= 1 block, got {depth}")
    if mlp_ratio * dim < 1:
        raise UserError(f"mlp_ratio must give at least one hidden channel, got {mlp_ratio}")
    if not isinstance(pooling, str) or len(pooling) != 4 or set(pooling) - set("01"):
        raise UserError(
            f"pooling must be four marks, 1 where a stem stage halves the map, such as '0011'; "
            f"got {pooling!r} (in YAML, quote it)"
        )


def stem_widths(in_channels: int, dim: int) -> list[tuple[int, int]]:
    """``(in, out)`` channels of the four stages: D/8, D/4, D/2, D."""
    widths = [in_channels, dim // 8, dim // 4, dim // 2, dim]
    return list(pairwise(widths))


def halve() -> TimeDistributed:
    """The 3x3 maximum at stride 2: an odd side is rounded up."""
    return TimeDistributed(MaxPool2d(3, stride=2, padding=1))


def token_grid(image_size: tuple[int, int], pooling: str) -> tuple[int, int]:
    """Tokens along H and W after the stem."""
    height, width = image_size
    for _ in range(pooling.count("1")):
        height, width = (height + 1) // 2, (width + 1) // 2
    return height, width


def split_heads(x: Tensor, heads: int) -> Tensor:
    """``[T, B, C, H, W]`` -> ``[T, B, h, N, d]``: a view of a contiguous or channels-last map."""
    steps, batch, channels = x.shape[:3]
    return x.reshape(steps, batch, heads, channels // heads, -1).transpose(-1, -2)


def merge_heads(x: Tensor, like: Tensor) -> Tensor:
    """``[T, B, h, N, d]`` -> the map ``[T, B, C, H, W]``, which lies in memory as ``like`` does."""
    steps, batch, channels, *grid = like.shape
    if like.stride(2) == 1 < channels:
        tokens = x.transpose(2, 3).reshape(steps, batch, *grid, channels)
        return tokens.contiguous().movedim(-1, 2)
    return x.transpose(-1, -2).reshape(like.shape).contiguous()
