"""A linear layer whose synapses have delays."""

from torch import Tensor

from spikesim.delays.functional import delayed
from spikesim.delays.layer import NARROW, Delayed, Kind
from spikesim.kernels.backends import BackendName, describe
from spikesim.kernels.delay_taps import Shape


class DelayedLinear(Delayed):
    """``nn.Linear`` over time, in which each synapse passes on after a delay that is learned.

    Args:
        in_features, out_features: neurons before and after.
        max_delay, bumps, delays, shape, width, bias, lengthen, dt: see
            :class:`~spikesim.delays.layer.Delayed`.

    Shape: ``[T, B, ..., in]`` -> ``[T, B, ..., out]``; ``weight`` is ``[out, in]`` or
    ``[out, in, K]``, ``delay`` the same, ``[1, in]`` or ``[out, 1]``.

    ``backend`` is that of :func:`spikesim.backend.set_backend`; see
    :func:`spikesim.delays.functional.delayed`.

    Raises:
        UserError: an argument out of its range, or an input of another size.

    >>> import torch
    >>> layer = DelayedLinear(1, 1, max_delay=4).eval()
    >>> _ = torch.nn.init.ones_(layer.weight), torch.nn.init.constant_(layer.delay, 1.8)
    >>> layer(torch.tensor([1.0, 0.0, 0.0, 0.0]).view(4, 1, 1)).flatten().tolist()
    [0.0, 0.0, 1.0, 0.0]
    """

    backend: BackendName = "auto"

    def __init__(
        self,
        in_features: int,
        out_features: int,
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
        super().__init__(
            (out_features, in_features),
            max_delay=max_delay,
            bumps=bumps,
            delays=delays,
            shape=shape,
            width=width,
            bias=bias,
            lengthen=lengthen,
            dt=dt,
        )
        self.in_features, self.out_features = in_features, out_features

    def forward(self, x: Tensor) -> Tensor:
        """The whole sequence; nothing is kept."""
        fits = x.dim() >= 3 and x.shape[-1] == self.in_features
        self.check_input(x, fits, f"{self.in_features}")
        self.clamp_delays()
        y = self.mapped(x, self.weight, self.delay_steps())
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Sizes, delays and their unit, and what runs."""
        return f"{super().extra_repr()}, backend={describe(self.backend)}"

    def mapped(self, x: Tensor, weight: Tensor, delay: Tensor) -> Tensor:
        """The map itself, of any weights and delays in steps."""
        x = self.lengthened(x)
        y = delayed(
            x.flatten(1, -2),
            weight,
            delay,
            self.width,
            max_delay=self.steps,
            shape=self.shape,
            rounded=self.rounded,
            backend=self.backend,
            widest=self.widest(),
        )
        return y.view(*x.shape[:-1], self.out_features)
