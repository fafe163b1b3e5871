"""Convolutions over space whose synapses have delays."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from spikesim.delays.functional_conv import delayed_conv
from spikesim.delays.layer import NARROW, Delayed, Kind
from spikesim.errors import UserError
from spikesim.kernels.delay_taps import Shape


class _DelayedConv(Delayed):
    dims: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        *,
        max_delay: float,
        bumps: int = 1,
        delays: Kind = "synapse",
        shape: Shape = "gauss",
        width: float = NARROW,
        bias: bool = False,
        lengthen: bool = False,
        dt: float = 1.0,
    ) -> None:
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise UserError(
                f"groups={groups} must divide {in_channels} and {out_channels} channels"
            )
        if groups > 1 and delays == "axon":
            raise UserError("delays='axon' needs groups=1; take 'dendrite' or 'synapse'")
        kernel = self._sizes(kernel_size)
        super().__init__(
            (out_channels, in_channels // groups, *kernel),
            max_delay=max_delay,
            bumps=bumps,
            delays=delays,
            shape=shape,
            width=width,
            bias=bias,
            lengthen=lengthen,
            dt=dt,
        )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = kernel
        self.stride, self.padding, self.dilation = map(self._sizes, (stride, padding, dilation))

    def _sizes(self, size: int | Sequence[int]) -> tuple[int, ...]:
        sizes = (size,) * self.dims if isinstance(size, int) else tuple(size)
        if len(sizes) != self.dims:
            raise UserError(f"{size} must be one number or {self.dims}, one for each dimension")
        return sizes

    def forward(self, x: Tensor) -> Tensor:
        """The whole sequence; nothing is kept."""
        fits = x.dim() == 3 + self.dims and x.shape[2] == self.in_channels
        self.check_input(x, fits, f"{self.in_channels}, {'L' if self.dims == 1 else 'H, W'}")
        self.clamp_delays()
        y = self.mapped(x, self.weight, self.delay_steps())
        return y if self.bias is None else y + self.bias.view(-1, *[1] * self.dims)

    def mapped(self, x: Tensor, weight: Tensor, delay: Tensor) -> Tensor:
        """The map itself, of any weights and delays in steps."""
        return delayed_conv(
            self.lengthened(x),
            weight,
            delay,
            self.width,
            max_delay=self.steps,
            shape=self.shape,
            rounded=self.rounded,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


class DelayedConv1d(_DelayedConv):
    """``nn.Conv1d`` of each step, in which each synapse passes on after a learned delay.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups: as for
            ``nn.Conv1d``, with zeros as padding.
        max_delay, bumps, delays, shape, width, bias, lengthen, dt: see
            :class:`~spikesim.delays.layer.Delayed`; delays per axon are one per input channel and
            need ``groups=1``, those per dendrite one per output channel.

    Shape: ``[T, B, C, L]`` -> ``[T, B, O, L']``; ``weight`` is ``[O, C / groups, k]``, or with
    ``K`` bumps ``[O, C / groups, k, K]``.

    Raises:
        UserError: an argument out of its range, or an input of another size.
    """

    dims = 1


class DelayedConv2d(_DelayedConv):
    """``nn.Conv2d`` of each step, in which each synapse passes on after a learned delay.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups: as for
            ``nn.Conv2d``, with zeros as padding.
        max_delay, bumps, delays, shape, width, bias, lengthen, dt: see
            :class:`~spikesim.delays.layer.Delayed`; delays per axon are one per input channel and
            need ``groups=1``, those per dendrite one per output channel.

    Shape: ``[T, B, C, H, W]`` -> ``[T, B, O, H', W']``; ``weight`` is ``[O, C / groups, h, w]``,
    or with ``K`` bumps ``[O, C / groups, h, w, K]``.

    Raises:
        UserError: an argument out of its range, or an input of another size.

    >>> import torch
    >>> layer = DelayedConv2d(2, 4, 3, padding=1, max_delay=8)
    >>> layer(torch.zeros(5, 1, 2, 6, 7)).shape
    torch.Size([5, 1, 4, 6, 7])
    """

    dims = 2
