"""Optimizers: torch's AdamW and Adam, and LAMB."""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn

from spikesim.errors import UserError, nearest
from spikesim.train.config import TrainSettings


class LAMB(torch.optim.Optimizer):
    r"""Adam whose step is scaled, tensor by tensor, to the norm of the weights.

    With Adam's bias-corrected averages :math:`\hat m, \hat v`:

    .. math::
        u = \frac{\hat m}{\sqrt{\hat v} + \epsilon} + \lambda w, \quad
        w \leftarrow w - \eta\, \phi\, u, \quad \phi = \min(1, \|w\| / \|u\|)

    :math:`\phi = 1` where either norm is 0, and where :math:`\lambda = 0`: biases and norms take
    Adam's step, as in timm.

    Args:
        params: tensors or groups, as for any torch optimizer.
        lr: learning rate.
        betas: decay of the two averages.
        eps: added to the root.
        weight_decay: :math:`\lambda`.
        trust_clip: keep :math:`\phi \le 1`; without it, as in the paper's algorithm 2.

    Reference: You et al. (2020), "Large batch optimization for deep learning", algorithm 2;
    clipping as in timm's LAMB.
    """

    found_inf: Tensor | None = None
    _step_supports_amp_scaling = True
    """To ``GradScaler``: this optimizer heeds ``found_inf``, which saves a look at it."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        trust_clip: bool = True,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        # Nothing of a step is read on the host, so it can be captured in a CUDA graph.
        super().__init__(params, {**defaults, "trust_clip": trust_clip, "capturable": True})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step for every parameter that has a gradient; none where ``found_inf`` is 1."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._step_one(weight, weight.grad, group)
        return loss

    def _step_one(self, weight: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=weight.device)
            state["exp_avg"] = torch.zeros_like(weight)
            state["exp_avg_sq"] = torch.zeros_like(weight)
        beta1, beta2 = group["betas"]
        step = state["step"] + 1
        # Float64: beta ** step in float32 would be off in the seventh digit.
        count = step.double()
        m = state["exp_avg"].lerp(grad, 1 - beta1)
        v = (state["exp_avg_sq"] * beta2).addcmul_(grad, grad, value=1 - beta2)
        root = (v / (1 - beta2**count)).sqrt_().add_(group["eps"])
        update = (m / (1 - beta1**count)).div_(root)
        if group["weight_decay"] != 0:
            update.add_(weight, alpha=group["weight_decay"])
            # Stays on the device: reading a norm on the host would wait for the GPU per tensor.
            size, length = weight.norm(), update.norm()
            trust = torch.where((size > 0) & (length > 0), size / length, torch.ones_like(size))
            update.mul_(trust.clamp(max=1.0) if group["trust_clip"] else trust)
        before = (state["step"], state["exp_avg"], state["exp_avg_sq"], weight)
        for old, new in zip(before, (step, m, v, weight - update * group["lr"]), strict=True):
            old.copy_(new if self.found_inf is None else torch.where(self.found_inf > 0, old, new))


def build_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimizer of a recipe; weight decay only on arrays of two or more axes.

    Each of its groups says in ``name`` whose settings it has: those of ``settings.groups``, or
    ``""``.

    Raises:
        UserError: a group of settings for a name that no parameter has.
    """
    known = {name.rpartition(".")[2] for name, _ in model.named_parameters()}
    for name in settings.groups:
        if name not in known:
            raise UserError(
                f"train.groups.{name}: the model has no such parameter"
                f"{nearest(name, sorted(known))}; leave the group out"
            )
    members: dict[str, list[nn.Parameter]] = {"": [], **{name: [] for name in settings.groups}}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            last = name.rpartition(".")[2]
            members[last if last in settings.groups else ""].append(parameter)
    groups: list[dict[str, Any]] = []
    for name, parameters in members.items():
        own = settings.of_group(name) if name else settings
        for decay, chosen in (
            (own.weight_decay, [p for p in parameters if p.dim() > 1]),
            (0.0, [p for p in parameters if p.dim() <= 1]),
        ):
            if chosen:
                rates = {"lr": own.lr, "betas": own.betas, "weight_decay": decay}
                groups.append({"name": name, "params": chosen, **rates})
    if settings.optimizer == "lamb":
        return LAMB(groups)
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    optimizer = kind(groups, fused=True, capturable=settings.cuda_graph)
    # Said before the first step that is not captured; ours are not, at first, and that is meant.
    optimizer._warned_capturable_if_run_uncaptured = True
    return optimizer
