"""A convolution over space whose synapses pass on late; see :mod:`spikesim.delays.functional`."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from spikesim.delays.functional import bumps, convolve
from spikesim.kernels.delay_taps import Shape

SPATIAL: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d}
WITH_TIME: dict[int, Callable[..., Tensor]] = {1: F.conv2d, 2: F.conv3d}


def delayed_conv(
    x: Tensor,
    weight: Tensor,
    delay: Tensor,
    width: Tensor,
    *,
    max_delay: int,
    shape: Shape = "gauss",
    rounded: bool = False,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int = 1,
) -> Tensor:
    """A convolution whose kernel spans space and the delays.

    Args:
        x: ``[T, B, C, L]`` or ``[T, B, C, H, W]``.
        weight: ``[O, C / groups, ...]`` with the size in space, and maybe ``K`` bumps at the end.
        delay: as ``weight``, or ``[1, C, 1, ...]`` (per input channel; one group) or
            ``[O, 1, 1, ...]`` (per output channel), which cost much less.
        width, max_delay, shape, rounded: see :func:`~spikesim.delays.functional.bumps`.
        stride, padding, dilation: of each dimension of space.
        groups: as for torch's convolutions.

    Shape: -> ``[T, B, O, ...]``.
    """
    g = bumps(delay, width, max_delay=max_delay, shape=shape, rounded=rounded)
    dims = x.dim() - 3
    if weight.dim() == 2 + dims:
        weight, g = weight[..., None], g[..., None, :]  # [O, C, ..., K], [., ., ..., K, D]
    place = stride, padding, dilation, groups
    if g.shape[:-2].numel() == g.shape[1] == x.shape[2] and groups == 1:
        spread = _over_time(x, g[0].flatten(0, -2)[:, None], x.shape[2])
        return _over_space(spread, weight.movedim(-1, 2).flatten(1, 2), *place)
    if g.shape[:-2].numel() == g.shape[0] == weight.shape[0]:
        y = _over_space(x, weight.movedim(-1, 1).flatten(0, 1), *place)
        return _over_time(y, g.flatten(1, -3)[:, 0], weight.shape[0])
    kernel = (weight[..., None] * g).sum(-2).movedim(-1, 2)  # [O, C / groups, D, ...]
    x = F.pad(x.movedim(0, 2), (*[0, 0] * dims, max_delay, 0))  # [B, C, D - 1 + T, ...]
    y = WITH_TIME[dims](x, kernel, None, (1, *stride), (0, *padding), (1, *dilation), groups)
    return y.movedim(2, 0)


def _over_time(x: Tensor, kernel: Tensor, groups: int) -> Tensor:
    """Each place in space by itself: ``[T, B, C, ...]`` -> ``[T, B, O, ...]``."""
    last = x.movedim(2, -1)
    y = convolve(last.flatten(1, -2), kernel, groups)
    return y.reshape(*last.shape[:-1], len(kernel)).movedim(-1, 2)


def _over_space(x: Tensor, weight: Tensor, *geometry: Any) -> Tensor:
    """Each step by itself: ``[T, B, C, ...]`` -> ``[T, B, O, ...]``."""
    y: Tensor = SPATIAL[x.dim() - 3](x.flatten(0, 1), weight, None, *geometry)
    return y.view(*x.shape[:2], *y.shape[1:])
