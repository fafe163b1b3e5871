"""Count what a model does on data, and charge it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch import nn

from spikesim.energy.count import Data, count
from spikesim.energy.layer import Widths
from spikesim.energy.model import EnergyModel
from spikesim.energy.models import several
from spikesim.energy.report import EnergyReport

if TYPE_CHECKING:
    from spikesim.network import Network


def estimate(
    model: "nn.Module | Network",
    data: Data | float,
    *,
    models: Iterable[str | EnergyModel] = ("classical",),
    widths: Widths | None = None,
    seed: int = 0,
    **how: Any,
) -> EnergyReport:
    """Count what a model does on data and charge it.

    Args:
        model: a torch model, or a simulator's network.
        data: batches of a model, or the time of a network, ms.
        models: names of energy models, see :func:`spikesim.energy.models.names`, or models.
        widths: bits of weights, activations, spikes and states; ``None``: what a model assumes.
        seed: of the draws behind the intervals.
        **how: to run and count, as for :func:`~spikesim.energy.count`.

    Raises:
        UserError: unknown energy model or two of one name, and as :func:`~spikesim.energy.count`.

    >>> import torch
    >>> report = estimate(nn.Linear(3, 2, bias=False), torch.eye(3).unsqueeze(1))
    >>> report.totals.effective_acs, round(1e12 * report.totals.joules["classical"], 3)
    (6.0, 5.4)
    """
    chosen = several(models, widths)  # before a long count: a name that does not exist
    return EnergyReport.of(count(model, data, **how), models=chosen, widths=widths, seed=seed)
