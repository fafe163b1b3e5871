"""Delta code: a spike whenever a series has moved by a threshold."""

from dataclasses import dataclass

import torch
from torch import Tensor

from spikesim.encoders.base import check_float
from spikesim.errors import UserError


@dataclass(frozen=True)
class Delta:
    r"""Send-on-delta: signed spikes where a series has left its reference by the threshold.

    .. math::
        s_t = \mathrm{sign}(d)\,\bigl[|d| \ge \theta\bigr], \quad d = x_t - r_{t-1}, \quad
        r_t = r_{t-1} + \theta s_t

    The reference starts at the first value and moves by the threshold, not to ``x``, so the spikes
    alone rebuild the series (:meth:`decode`): within :math:`\theta` as long as it moves by less
    than :math:`\theta` per step, or always with ``several``.

    Args:
        threshold: :math:`\theta`, in the unit of ``x``, > 0.
        several: as many spikes per step as thresholds were passed, not one at most.

    Shape: series ``x [T, B, ...]``, any finite values -> signed spikes ``[T, B, ...]`` in
    {-1, 0, 1} (whole numbers with ``several``). :func:`on_off` splits the sign into two channels.

    Raises:
        UserError: ``threshold`` is not above 0, or ``x`` is not finite.

    Reference: Miskowicz (2006), send-on-delta; Lichtsteiner et al. (2008) for pixels.

    >>> x = torch.tensor([0.0, 0.6, 1.1, 1.1, 0.0]).view(5, 1)
    >>> Delta(threshold=0.5)(x).flatten().tolist()
    [0.0, 1.0, 1.0, 0.0, -1.0]
    """

    threshold: float
    several: bool = False

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            raise UserError(f"threshold must be > 0, got {self.threshold}")

    def run(self, x: Tensor, reference: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(spikes [T, B, ...], reference [B, ...])``, going on from a reference if given."""
        check_float(x, "T, B")
        if x.shape[0] == 0:
            raise UserError(f"x has no steps (T = 0), shape {list(x.shape)}; give at least one")
        if not bool(torch.isfinite(x).all()):
            raise UserError("x must be finite, got NaN or infinite values; drop or fill them first")
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        start = wide[0] if reference is None else reference.to(wide.dtype)
        # The reference is start + theta * level with a whole level: rounding does not pile up.
        level = torch.zeros_like(start)
        spikes = []
        for x_t in wide:
            passed = torch.trunc((x_t - start) / self.threshold - level)
            if not self.several:
                passed = passed.clamp(-1.0, 1.0)
            level = level + passed
            spikes.append(passed)
        return torch.stack(spikes).to(x.dtype), start + self.threshold * level

    def __call__(self, x: Tensor) -> Tensor:
        """Signed spikes ``[T, B, ...]`` of the series ``x [T, B, ...]``."""
        return self.run(x)[0]

    def decode(self, spikes: Tensor, start: Tensor) -> Tensor:
        """The reference after each step ``[T, B, ...]``: ``start [B, ...]`` plus the spikes."""
        return start + self.threshold * spikes.to(start.dtype).cumsum(0)


def on_off(spikes: Tensor) -> Tensor:
    """Signed spikes ``[T, B, ...]`` -> ``[T, B, 2, ...]``: OFF, then ON, as in event frames."""
    return torch.stack([(-spikes).clamp(min=0.0), spikes.clamp(min=0.0)], dim=2)
