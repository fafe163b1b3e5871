"""Bumps that start wide, so that delays find their way, and end as narrow as a step."""

from torch import nn

from spikesim.delays.layer import NARROW, Delayed
from spikesim.errors import UserError


class WidthSchedule:
    r"""Lets the widths of a model's delays shrink by the same factor in each epoch.

    .. math:: w_e = w_0 (w_1 / w_0)^{\min(e, n) / n}

    Made before the first epoch, it sets :math:`w_0`; ``step`` is called after each epoch. Widths
    are a function of the epoch, so a run is resumed by ``set_epoch``.

    Args:
        model: its layers with delays are changed.
        epochs: of the whole training, >= 1.
        start: :math:`w_0`, steps; by default half of the steps that a layer's delays span.
        end: :math:`w_1`, steps.
        until: the part of the epochs after which the end is reached, :math:`n` whole ones.

    The defaults are those of Hammouamri et al. (2024). Queant et al. (2025), DelRec, take
    ``start=10, end=10 * 0.95**100, until=1``.

    Raises:
        UserError: a number out of its range, or a model without delays.

    >>> from spikesim.delays.linear import DelayedLinear
    >>> layer = DelayedLinear(2, 2, max_delay=24)
    >>> schedule = WidthSchedule(layer, epochs=16)
    >>> for _ in range(4):
    ...     schedule.step()
    >>> round(float(layer.width), 6)
    0.23
    """

    def __init__(
        self,
        model: nn.Module,
        epochs: int,
        *,
        start: float | None = None,
        end: float = NARROW,
        until: float = 0.25,
    ) -> None:
        if epochs < 1:
            raise UserError(f"epochs must be >= 1, got {epochs}")
        if (start is not None and not start > 0) or not end > 0:
            raise UserError(f"start and end must be > 0 steps, got {start} and {end}")
        if not 0 < until <= 1:
            raise UserError(f"until must be in (0, 1], got {until}")
        self.layers = [module for module in model.modules() if isinstance(module, Delayed)]
        if not self.layers:
            raise UserError("this model has no delays; see spikesim.delays.add_delays")
        self.start, self.end = start, end
        self.epochs = max(1, int(epochs * until))
        self.set_epoch(0)

    def step(self) -> None:
        """On to the next epoch."""
        self.set_epoch(self.epoch + 1)

    def set_epoch(self, epoch: int) -> None:
        """Set the widths of an epoch, counted from 0."""
        self.epoch = epoch
        part = min(epoch, self.epochs) / self.epochs
        for layer in self.layers:
            start = (layer.steps + 1) // 2 if self.start is None else self.start
            # A delay of one step at most has nowhere to be wide.
            start = max(start, self.end)
            layer.set_width(start * (self.end / start) ** part)
