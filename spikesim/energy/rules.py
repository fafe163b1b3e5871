"""What calls of known layers cost, and how users tell it of their own.

Layers with a rule are those that run kernels of their own, which no operation of torch shows, and
those whose operations are not what a chip would do.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import inf, prod
from numbers import Real
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikesim.attention import SDSA, SSA
from spikesim.conv import FewChannelConv2d, int_padding
from spikesim.delays import DelayedConv1d, DelayedConv2d, DelayedLinear, DelayedRecurrent, delayed
from spikesim.delays.layer import Delayed
from spikesim.energy.cost import Cost, Rule, product
from spikesim.energy.elementwise import pooling
from spikesim.energy.fan_out import Window, spread
from spikesim.energy.layer import KINDS
from spikesim.energy.neurons import neuron
from spikesim.energy.products import convolution, padded_inside
from spikesim.errors import UserError, nearest

Costs: TypeAlias = Mapping[type[nn.Module], Rule]

NUMBERS = ("macs", "effective", "inputs", "additions", "multiplications", "functions", "states")
"""What of a cost is a count; ``effective`` may be an array of them."""


def register(module_type: type[nn.Module], rule: Rule) -> None:
    """Tell what a call of a layer costs: of this type, and of types derived from it.

    What runs inside such a layer is not counted, but for neurons, which have lines of their own.

    Args:
        module_type: the layer's class.
        rule: called as ``rule(module, inputs, output)`` after each call; gives a
            :class:`~spikesim.energy.cost.Cost` of the whole call, or several.

    Raises:
        UserError: this is no class of modules, or the rule cannot be called.

    >>> class Gate(nn.Module):
    ...     def forward(self, x):
    ...         return x.cumprod(-1)
    >>> register(Gate, lambda gate, inputs, output: Cost(
    ...     kind="elementwise", multiplications=output.numel()))
    >>> from spikesim.energy import count
    >>> count(Gate(), torch.ones(4, 1, 3)).total("multiplications")
    12.0
    """
    checked({module_type: rule})
    RULES[module_type] = rule


def checked(costs: Costs | Iterable[tuple[type[nn.Module], Rule]]) -> dict[type[nn.Module], Rule]:
    """Rules of a user, as a dictionary.

    Raises:
        UserError: see :func:`register`.
    """
    found = dict(costs)
    for module_type, rule in found.items():
        if not (isinstance(module_type, type) and issubclass(module_type, nn.Module)):
            raise UserError(
                f"a cost is registered for a class of torch.nn.Module, got {module_type!r}"
            )
        if not callable(rule):
            raise UserError(
                f"the cost of {module_type.__name__} must be a function of (module, inputs, "
                f"output), got {rule!r}"
            )
    return found


def costs_of(rule: Rule, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> list[Cost]:
    """What a rule says of a call.

    Raises:
        UserError: it gives no costs, a kind that does not exist, or counts that are negative or
            not finite.
    """
    found: Any = rule(module, inputs, output)
    is_one = isinstance(found, str | Tensor) or not isinstance(found, Iterable)
    costs = [found] if is_one else list(found)
    name = type(module).__name__
    for cost in costs:
        if not isinstance(cost, Cost):
            raise UserError(f"the cost of {name} must be a Cost or several, got {cost!r}")
        if cost.kind not in KINDS:
            raise UserError(f"the cost of {name} has kind={cost.kind!r}{nearest(cost.kind, KINDS)}")
        for what in NUMBERS:
            number = getattr(cost, what)
            may_be = what == "effective" and isinstance(number, Tensor)
            may_be = may_be or (number is None and what in ("effective", "inputs"))
            if not (may_be or (isinstance(number, Real) and 0 <= float(number) < inf)):
                raise UserError(f"the cost of {name} has {what}={number!r}, expected a count >= 0")
        for what in ("weight", "bias", "output", "emitted", "done"):
            array = getattr(cost, what)
            if not (array is None or isinstance(array, Tensor)):
                raise UserError(f"the cost of {name} has {what}={array!r}, expected a tensor")
    return costs


def rule_of(module: nn.Module, costs: Costs) -> Rule | None:
    """The rule of a module's class, or of the nearest of its ancestors that has one."""
    for kin in type(module).__mro__:
        found = costs.get(kin) or RULES.get(kin)
        if found is not None:
            return found
    return None


def ssa(module: SSA, inputs: tuple[Any, ...], output: Tensor) -> list[Cost]:
    """Both products of spiking self-attention, in the order that ran, and the scale."""
    q, k, v = inputs
    if module.tokens_first(*q.shape[-2:]):
        scores = q @ k.mT
        products = [product(q, k.mT, "QK^T", scores), product(scores, v, "(QK^T)V", output)]
    else:
        summary = k.mT @ v
        products = [product(k.mT, v, "K^TV", summary), product(q, summary, "Q(K^TV)", output)]
    return [*products, Cost(kind="elementwise", part="scale", multiplications=output.numel())]


def sdsa(module: SDSA, inputs: tuple[Any, ...], output: Tensor) -> list[Cost]:
    """Spike-driven self-attention: the column sum of ``K * V``, the mask ``Q * g``, the maxima."""
    q, k, v = inputs
    agreed, masked, maxima = k * v, output, []
    if module.grid is not None:
        agreed = module._spread(agreed)
        # .forward: no hook may take this for a second run of the neuron.
        cell = module.neuron
        run = cell.forward if isinstance(cell, nn.Module) else cell
        masked = q * run(agreed.sum(-2, keepdim=True))
        maps = torch.empty(q.numel() // prod(module.grid), *module.grid, device="meta")
        work = pooling("max_pool2d", (maps, 3, 1, 1), maps)
        assert work is not None
        maxima = [Cost(kind="pool", part="3x3 maxima", additions=2 * work.additions)]
    return [
        _elementwise("sum K*V", agreed, agreed),
        _elementwise("Q*g", q, masked, output),
        *maxima,
    ]


def _elementwise(part: str, entered: Tensor, done: Tensor, output: Tensor | None = None) -> Cost:
    return Cost(
        kind="attention",
        part=part,
        macs=float(entered.numel()),
        factors=(entered,),
        done=done,
        output=output,
    )


def few_channels(module: FewChannelConv2d, inputs: tuple[Any, ...], output: Tensor) -> Cost:
    """A convolution whose kernel no operation of torch shows."""
    (x,) = inputs
    inside: list[int] | None = None
    padding = int_padding(module)
    if padding is None:
        widths = list(module._reversed_padding_repeated_twice)
        is_zero = module.padding_mode == "zeros"
        inside = padded_inside((x, widths)) if is_zero else None
        x = F.pad(x, widths, mode="constant" if is_zero else module.padding_mode)
        padding = (0, 0)
    return convolution(
        x, module.weight, module.bias, output, module.stride, padding, module.dilation,
        groups=module.groups, inside=inside,
    )  # fmt: skip


def delayed_layer(
    module: DelayedLinear | DelayedConv1d | DelayedConv2d, inputs: tuple[Any, ...], output: Tensor
) -> Cost:
    """Each non-zero input times the weights that it reaches within the run.

    Dense is as if no delay were too long. The layer's map of zeros and ones adds up what it does,
    step of arrival by step of arrival; what arrives after the input's last step counts as the last.
    """
    x: Tensor = inputs[0]
    delay, weight = module.delay_steps().double(), module.weight.detach()
    reached = module.mapped((x != 0).double(), (weight != 0).double(), delay)
    T = x.shape[0]
    within = reached[:T].clone()
    within[-1] += reached[T:].sum(0)
    if isinstance(module, DelayedLinear):
        macs = weight.numel() * x.shape[:-1].numel()
    else:
        dims = x.dim() - 3
        size, taps = tuple(x.shape[3:]), tuple(weight.shape[2 : 2 + dims])
        window = Window(
            size, taps, tuple(output.shape[3:]), spread(module.stride, dims),
            spread(module.padding, dims), spread(module.dilation, dims),
            tuple((0, n) for n in size),
        )  # fmt: skip
        synapses = weight.numel() // prod(taps)
        macs = synapses * window.pairs * x.shape[:2].numel()
    return _delayed(module, x, macs, within, output)


def delayed_recurrent(
    module: DelayedRecurrent, inputs: tuple[Any, ...], output: Tensor
) -> list[Cost]:
    """Each of the layer's own spikes times the neurons that it comes back to, and the neurons."""
    weight = module.weight.detach()
    reached = delayed(
        (output != 0).double(),
        (weight != 0).double(),
        module.delay_steps().double(),
        module.width,
        max_delay=module.steps,
        rounded=True,
    )
    # A step later than the map of the delays alone.
    arrived = torch.cat([torch.zeros_like(reached[:1]), reached[:-1]])
    macs = weight.numel() * output.shape[:2].numel()
    cells = neuron(module, inputs, output)
    return [
        _delayed(module, output, macs, arrived, output),
        replace(cells, part=".neuron"),
    ]


def _delayed(module: Delayed, x: Tensor, macs: int, reached: Tensor, output: Tensor) -> Cost:
    return Cost(
        kind="delay",
        macs=float(macs),
        factors=(x,),
        effective=reached,
        output=output,
        weight=module.weight.detach(),
        bias=module.bias,
    )


RULES: dict[type[nn.Module], Rule] = {
    SSA: ssa,
    SDSA: sdsa,
    FewChannelConv2d: few_channels,
    DelayedLinear: delayed_layer,
    DelayedConv1d: delayed_layer,
    DelayedConv2d: delayed_layer,
    DelayedRecurrent: delayed_recurrent,
}
"""Module types and what a call of them costs; :func:`register` adds to it."""
