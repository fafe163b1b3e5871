"""The maximum over windows of a map, with four bits a window kept for its gradient."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spikesim.kernels.pool import (
    Window,
    memory_format,
    pool_backward,
    pool_bits_forward,
    pool_forward,
    takes_bits,
)


class MaxPool2d(nn.MaxPool2d):
    """``nn.MaxPool2d`` that keeps which value of each window won, and not its input.

    torch keeps the input and eight bytes a window; this keeps four bits a window, which at a
    stride of 2 is one bit a value of the input, whatever the values are. Output and gradient are
    the same, bit for bit on the CPU: NaN passes, and of equal values the first in scan order gets
    the gradient. Second derivatives are refused.

    A window or a stride of more than 16 values, dilation, ``ceil_mode``, ``return_indices`` and
    unbatched maps are torch's own, and so is everything inside ``torch.compile``, which keeps one
    byte a window.

    Shape: ``[M, C, H, W]`` -> ``[M, C, H', W']``, channels-last where the input is.

    >>> spikes = torch.tensor([[0.0, 1.0], [0.0, 1.0]]).view(1, 1, 2, 2).requires_grad_()
    >>> MaxPool2d(2)(spikes).sum().backward()
    >>> spikes.grad.flatten().tolist()
    [0.0, 1.0, 0.0, 0.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        """The maxima."""
        window = self.window()
        keeps = torch.is_grad_enabled() and input.requires_grad
        if window is None or input.dim() != 4 or not keeps or torch.compiler.is_compiling():
            return cast(Tensor, super().forward(input))
        return cast(Tensor, _MaxPool.apply(input, window))  # type: ignore[no-untyped-call]

    def window(self) -> Window | None:
        """What torch was told, if it is a case for the kernels."""
        stride = self.kernel_size if self.stride is None else self.stride
        window = Window(_pair(self.kernel_size), _pair(stride), _pair(self.padding))
        is_plain = _pair(self.dilation) == (1, 1) and not self.ceil_mode and not self.return_indices
        halves = zip(window.padding, window.kernel, strict=True)
        is_small = all(down * across <= 16 for down, across in (window.kernel, window.stride))
        fits = is_small and all(2 * p <= k for p, k in halves)
        return window if is_plain and fits else None


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


class AfterNeuron:
    """The pooling of a neuron's spikes ``[T, B, C, H, W]`` as part of the neuron's own call.

    The spikes are gone when it returns, and their gradient makes place for that of the input.
    Where channels lie innermost, ``binary`` spikes are handed over as one bit each.
    """

    def __init__(self, window: Window, *, binary: bool) -> None:
        self._window = window
        self._is_binary = binary

    def spikes(self, like: Tensor) -> torch.dtype | None:
        """``torch.int32``, bits, where the kernel of the pooling takes them."""
        is_packed = self._is_binary and takes_bits(like.flatten(0, 1), self._window)
        return torch.int32 if is_packed else None

    def forward(self, output: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """The maxima, and which value of each window won."""
        if output.dtype == torch.int32:
            y, winners = pool_bits_forward(output, like.flatten(0, 1), self._window)
        else:
            y, winners = pool_forward(output.flatten(0, 1), self._window)
        return y.view(*like.shape[:2], *y.shape[1:]), winners

    def backward(self, kept: Tensor, gradient: Tensor, like: Tensor) -> Tensor:
        """The gradient of the spikes, which lie as ``like``."""
        maps = like.flatten(0, 1)
        lies = memory_format(maps)
        of_x = pool_backward(gradient.flatten(0, 1), kept, maps.shape, lies, self._window)
        return of_x.view(like.shape)


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, window: Window) -> Tensor:
        y, winners = pool_forward(x, window)
        ctx.save_for_backward(winners)
        ctx.shape, ctx.lies, ctx.window = x.shape, memory_format(x), window
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (winners,) = ctx.saved_tensors
        return pool_backward(grad, winners, ctx.shape, ctx.lies, ctx.window), None
