"""Burst code: the larger the value, the more spikes and the closer together."""

from dataclasses import dataclass

import torch
from torch import Tensor

from spikesim.encoders.base import Encoder, check_range
from spikesim.errors import UserError


@dataclass(frozen=True)
class Burst(Encoder):
    r"""Burst code: n spikes, the first at step 0, a constant interval apart.

    .. math::
        n = \lceil N_\mathrm{max}\, x \rceil, \qquad
        \mathrm{ISI} = \lceil (T_\mathrm{max} - T_\mathrm{min})(1 - x) + T_\mathrm{min} \rceil

    Args:
        steps: number of steps T; spikes past the last step are lost.
        n_max: spikes of the value 1, >= 1.
        isi_min: interval of the value 1, steps, >= 1.
        isi_max: interval of a value near 0, steps, >= ``isi_min``; ``None`` is T, as published,
            and loses spikes of middling values. ``(T - 1) // (n_max - 1)`` keeps every spike.

    Shape: ``x [B, ...]`` in [0, 1] -> spikes ``[T, B, ...]``, 0 or 1; the value 0 is silent.

    Raises:
        UserError: a parameter or value out of its range.

    Reference: Guo, Fouda, Eltawil and Salama (2021); burst spikes after Park et al. (2019).

    >>> Burst(steps=9)(torch.tensor([1.0])).flatten().int().tolist()
    [1, 0, 1, 0, 1, 0, 1, 0, 1]
    """

    n_max: int = 5
    isi_min: int = 2
    isi_max: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_max < 1:
            raise UserError(f"n_max must be >= 1, got {self.n_max}")
        if not 1 <= self.isi_min <= self._isi_max:
            raise UserError(
                f"isi_min must lie between 1 and isi_max = {self._isi_max} steps, "
                f"got {self.isi_min}; use more steps or a smaller isi_min"
            )

    @property
    def _isi_max(self) -> int:
        return self.steps if self.isi_max is None else self.isi_max

    def __call__(self, x: Tensor) -> Tensor:
        """Spikes ``[T, B, ...]`` for the values ``x [B, ...]``."""
        value = check_range(x)
        n = torch.ceil(self.n_max * value).long()
        spread = self._isi_max - self.isi_min
        isi = torch.ceil(spread * (1.0 - value) + self.isi_min).long()
        t = torch.arange(self.steps, device=x.device).view(-1, *[1] * x.dim())
        return ((t % isi == 0) & (t < n * isi)).to(x.dtype)
