"""2-D convolution of maps with few channels, such as frames of events."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from spikesim.kernels.few_channels import conv_forward, conv_weight_gradient, is_served
from spikesim.kernels.pool import Window


class FewChannelConv2d(nn.Conv2d):
    """``nn.Conv2d`` that is quick where its input has one to four channels.

    Parameters, buffers and results are those of ``nn.Conv2d``. On a CUDA device with CuPy,
    channels-last maps of float32, float16 or bfloat16 go through kernels of their own if the layer
    has at most four input channels and a multiple of eight output channels, zeros as padding, no
    groups and no dilation, a kernel of at most 3 x 3 and strides of at most 4. Products are summed
    in float32, never in TF32, and the sum with the bias is rounded once. All else is torch's own:
    larger kernels, other layouts, ``torch.compile``, ``torch.func``, the gradient of the input,
    second derivatives.

    With ``is_made_again``, a batch norm and a neuron right after it do not keep the map that this
    layer gives, which is much larger than its input, for the backward pass, but have it made again:
    :func:`spikesim.memory.pack_spikes` sets it.

    Shape: ``[M, C, H, W]`` -> ``[M, O, H', W']``, channels-last where the input is.

    >>> FewChannelConv2d(2, 8, 3, padding=1)(torch.zeros(1, 2, 5, 4)).shape
    torch.Size([1, 8, 5, 4])
    """

    is_made_again = False

    def extra_repr(self) -> str:
        """Sizes, and ``made again`` where the output is."""
        sizes = str(super().extra_repr())  # type: ignore[no-untyped-call]
        return sizes + ", made again" * self.is_made_again

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        window = self._window()
        if window is not None and not _is_transformed() and is_served(input, weight, window):
            x, w, b = autocast(input, weight, bias)
            # What is mixed otherwise torch refuses, with its own words.
            if {a.dtype for a in (w, b) if a is not None} == {x.dtype}:
                y = _Convolution.apply(x, w, b, window)  # type: ignore[no-untyped-call]
                return cast(Tensor, y)
        return cast(Tensor, super()._conv_forward(input, weight, bias))

    def _window(self) -> Window | None:
        """What torch was told, if it may be a case for the kernels."""
        padding = int_padding(self)
        if padding is None or self.groups != 1 or self.dilation != (1, 1):
            return None
        sizes = self.kernel_size, self.stride, padding
        return Window(*cast("tuple[tuple[int, int], ...]", sizes))


def int_padding(conv: nn.modules.conv._ConvNd) -> tuple[int, ...] | None:
    """Rows of zeros on both sides of each dimension; ``None`` if it is not as simple as that."""
    if conv.padding_mode != "zeros":
        return None
    if not isinstance(conv.padding, str):
        return tuple(conv.padding)
    spans = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
    if conv.padding == "valid":
        return (0,) * len(spans)
    return None if any(span % 2 for span in spans) else tuple(span // 2 for span in spans)


def autocast(x: Tensor, *parameters: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """What the operation inside sees, as its own autocast rule would cast it."""
    device = x.device.type
    cast_ = [x, *parameters]
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        cast_ = [a if a is None or a.dtype == torch.float64 else a.to(dtype) for a in cast_]
    return cast("tuple[Tensor, Tensor, Tensor | None]", tuple(cast_))


def _is_transformed() -> bool:
    """Whether arrays may have no memory that a kernel could read."""
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, window: Window) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.window = window
        return conv_forward(x, weight, bias, window)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        # A gradient that is to be derived again is made of torch's operations alone.
        is_ours = of_weight and not torch.is_grad_enabled()
        wanted = [of_x, of_weight and not is_ours, of_bias]
        gradients: list[Tensor | None] = [None, None, None]
        if any(wanted):
            window: Window = ctx.window
            geometry = window.stride, window.padding, (1, 1), False, (0, 0), 1
            gradients[:] = torch.ops.aten.convolution_backward(
                grad, x, weight, weight.shape[:1], *geometry, wanted
            )
        if is_ours:
            gradients[1] = conv_weight_gradient(grad, x, weight, ctx.window)
        return *gradients, None
