"""What encoders share: the check of their input, and one spike at a given time."""

from dataclasses import dataclass

import torch
from torch import Tensor

from spikesim.errors import UserError


@dataclass(frozen=True)
class Encoder:
    """Base of the encoders of static values: ``encoder(x [B, ...]) -> [T, B, ...]``, T = ``steps``.

    The output has the dtype and device of ``x``; times and probabilities are computed in float32
    or wider, so half precision loses nothing but the digits of ``x`` itself.

    Raises:
        UserError: ``steps`` is not a whole number above 0.
    """

    steps: int

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or self.steps < 1:
            raise UserError(f"steps must be a whole number >= 1, got {self.steps}")


def check_float(x: Tensor, axes: str) -> None:
    """Refuse what is no floating-point array of at least as many axes as ``axes`` names."""
    if not x.is_floating_point():
        raise UserError(f"x must be floating point, got {x.dtype}; e.g. images: x.float() / 255")
    if x.dim() < axes.count(",") + 1:
        raise UserError(f"x must be [{axes}, ...], got shape {list(x.shape)}; add a batch axis")


def check_sound(x: Tensor) -> None:
    """Refuse what is no sound ``[B, samples]`` of numbers in float32 or wider."""
    check_float(x, "B, samples")
    if x.dim() > 2 or len(x) == 0 or x.itemsize < 4 or not bool(x.isfinite().all()):
        raise UserError(
            "sounds must be [B, samples] of finite float32 or float64 with B >= 1, got "
            f"{x.dtype} {list(x.shape)}"
        )


def check_range(x: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """``x [B, ...]`` in float32 or wider; refused if a value leaves ``[low, high]`` or is NaN."""
    check_float(x, "B")
    if not bool(((x >= low) & (x <= high)).all()):
        raise UserError(
            f"x must lie in [{low:g}, {high:g}], got values from {x.min():g} to {x.max():g}; "
            "scale or clamp it first"
        )
    return x.to(torch.promote_types(x.dtype, torch.float32))


def one_spike(times: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """Spikes ``[T, ...]`` from whole-numbered times ``[...]``; none where the time is infinite."""
    t = torch.arange(steps, device=times.device).view(-1, *[1] * times.dim())
    return (t == times).to(dtype)
