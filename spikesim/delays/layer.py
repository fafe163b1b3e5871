"""What layers with delays share: their delays, the width of their bumps, and how both are kept."""

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikesim.errors import UserError, nearest
from spikesim.kernels.delay_taps import BUMPS, Shape

Kind: TypeAlias = Literal["synapse", "axon", "dendrite"]
KINDS: tuple[Kind, ...] = ("synapse", "axon", "dendrite")
NARROW = 0.23
"""The published width at the end, steps: a Gaussian of standard deviation 0.5."""


class Delayed(nn.Module):
    r"""Base of :class:`DelayedLinear` and the delayed convolutions.

    In training a weight is spread over neighbouring delays, in evaluation all of it arrives after
    the nearest whole number of steps; ``delay`` itself is never rounded. Each call first brings
    delays back into 0 to ``max_delay``, where an optimiser took them out, as the publication does
    after each step of it.

    Args:
        weight_shape: ``[out, in, ...]`` of one bump.
        max_delay: the largest delay, in the unit of ``dt``; a whole number of steps.
        bumps: delays with a weight of their own that a synapse has, ``K``.
        delays: ``"synapse"``: each has its own; ``"axon"``: one per input; ``"dendrite"``: one per
            output.
        shape: of a bump, ``"gauss"`` or ``"triangle"``.
        width: of a bump, steps, >= 0; see :func:`spikesim.delays.functional.bumps`.
        bias: add a learnable number to each output.
        lengthen: run on for ``max_delay / 2`` steps after the input's last, without input, as the
            publication does; by default the output is as long as the input.
        dt: length of a step.

    Attributes:
        weight: ``[out, in, ...]``, or ``[out, in, ..., K]`` with several bumps; Kaiming-uniform.
        delay: as ``weight``, with 1 where delays are shared, in the unit of ``dt``; larger is
            later. Uniform from 0 to ``max_delay``.
        width: a number that is saved with the model; see
            :class:`~spikesim.delays.schedule.WidthSchedule`.
    """

    weight: nn.Parameter
    delay: nn.Parameter
    bias: nn.Parameter | None
    width: Tensor

    def __init__(
        self,
        weight_shape: Sequence[int],
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
        super().__init__()
        if min(weight_shape) < 1:
            raise UserError(f"sizes must be >= 1, got {list(weight_shape)}")
        if not 0 < dt < math.inf:
            raise UserError(f"dt must be finite and > 0, got {dt}")
        steps = round(max_delay / dt) if math.isfinite(max_delay) else -1
        if steps < 0 or abs(steps * dt - max_delay) > 1e-6 * dt:
            raise UserError(f"max_delay must be whole steps of {dt}, 0 or more, got {max_delay}")
        if lengthen and steps % 2:
            raise UserError(f"lengthen needs an even max_delay, got {steps} steps")
        if bumps < 1:
            raise UserError(f"bumps must be >= 1, got {bumps}")
        if not 0 <= width < math.inf:
            raise UserError(f"width must be finite and >= 0 steps, got {width}")
        if delays not in KINDS:
            raise UserError(f"no delays of kind {delays!r}{nearest(delays, KINDS)}")
        if shape not in BUMPS:
            raise UserError(f"no bump {shape!r}{nearest(shape, tuple(BUMPS))}")
        self.steps, self.dt, self.lengthen = steps, dt, lengthen
        self.bumps, self.delays, self.shape = bumps, delays, shape
        own = [bumps] if bumps > 1 else []
        outputs, *rest = weight_shape
        shared = {
            "synapse": [outputs, *rest],
            "axon": [1, rest[0], *[1] * len(rest[1:])],
            "dendrite": [outputs, *[1] * len(rest)],
        }
        self.weight = nn.Parameter(torch.empty(*weight_shape, *own))
        self.delay = nn.Parameter(torch.empty(*shared[delays], *own))
        self.register_parameter("bias", nn.Parameter(torch.zeros(outputs)) if bias else None)
        self.register_buffer("width", torch.tensor(float(width)))
        self._widest: tuple[Tensor | None, int, float] = (None, 0, 0.0)
        self.reset_parameters()

    @property
    def max_delay(self) -> float:
        """The largest delay, in the unit of ``dt``."""
        return self.steps * self.dt

    def reset_parameters(self) -> None:
        """Draw weights and delays anew."""
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")
        nn.init.uniform_(self.delay, 0.0, self.max_delay)

    @torch.no_grad()
    def clamp_delays(self) -> None:
        """Bring all delays into 0 to ``max_delay``; each call of the layer begins with it."""
        # .data: an earlier call of the same step may have kept the delays for its gradient.
        self.delay.data.clamp_(0.0, self.max_delay)

    @property
    def rounded(self) -> bool:
        """Whether delays are whole steps: in evaluation, and where they do not learn."""
        return not (self.training and self.delay.requires_grad)

    @torch.no_grad()
    def set_width(self, width: float) -> None:
        """Give bumps another width, steps."""
        self.width.fill_(width)
        self.widest()  # now, as nothing may wait for a GPU while a graph is captured

    def delay_steps(self) -> Tensor:
        """Delays in steps, and as evaluation takes them if the layer is in evaluation mode."""
        delay = self.delay if self.dt == 1.0 else self.delay / self.dt
        return delay.detach().round() if self.rounded else delay

    # What it reads is no part of a graph.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def widest(self) -> float:
        """The largest width as a number; a GPU is waited for only where it was changed."""
        of, version, widest = self._widest
        if of is not self.width or version != self.width._version:
            widest = float(self.width.max())
            self._widest = self.width, self.width._version, widest
        return widest

    def extra_repr(self) -> str:
        """Sizes, delays and their unit."""
        size = " x ".join(map(str, self.weight.shape))
        unit = "steps" if self.dt == 1.0 else f"in steps of {self.dt}"
        return f"{size}, delay per {self.delays}, max_delay={self.max_delay:g} {unit}"

    def check_input(self, x: Tensor, fits: bool, wanted: str) -> None:
        """Refuse an input that has not the ``wanted`` shape, no steps, or whole numbers."""
        if not fits:
            raise UserError(f"input is {list(x.shape)}; expected [T, B, {wanted}]")
        if len(x) == 0:
            raise UserError(f"input has no time steps: {list(x.shape)}; T must be >= 1")
        if not x.is_floating_point():
            raise UserError(f"input is {x.dtype}; give x.float()")

    def lengthened(self, x: Tensor) -> Tensor:
        """The input, and the steps without input that ``lengthen`` adds."""
        if not self.lengthen:
            return x
        return F.pad(x, (*[0, 0] * (x.dim() - 1), 0, self.steps // 2))
