"""Parameters as an optimiser takes them: weights decay, delays do not and learn faster."""

from typing import Any

from torch import nn

from spikesim.delays.layer import Delayed


def parameter_groups(
    model: nn.Module, *, lr: float = 1e-3, weight_decay: float = 1e-5, delay_lr: float = 0.1
) -> list[dict[str, Any]]:
    """Weights, then norms and other arrays of one axis, then delays, as groups of an optimiser.

    Args:
        model: with or without delays.
        lr: of all but delays.
        weight_decay: of arrays of two or more axes, delays left out.
        delay_lr: of delays, in their unit.

    The defaults are those of Hammouamri et al. (2024), whose optimisers are two of Adam.

    >>> import torch
    >>> from spikesim.delays.linear import DelayedLinear
    >>> groups = parameter_groups(DelayedLinear(2, 3, max_delay=4, bias=True))
    >>> [(len(group["params"]), group["lr"], group["weight_decay"]) for group in groups]
    [(1, 0.001, 1e-05), (1, 0.001, 0.0), (1, 0.1, 0.0)]
    >>> optimiser = torch.optim.Adam(groups)
    """
    delays = [m.delay for m in model.modules() if isinstance(m, Delayed) and m.delay.requires_grad]
    known = {id(delay) for delay in delays}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in others if p.dim() > 1], "lr": lr, "weight_decay": weight_decay},
        {"params": [p for p in others if p.dim() <= 1], "lr": lr, "weight_decay": 0.0},
        {"params": delays, "lr": delay_lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
