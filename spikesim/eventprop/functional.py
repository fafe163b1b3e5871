"""A layer of event-based neurons as a function of its weights, delays and incoming spike times."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from spikesim.errors import UserError
from spikesim.eventprop.spikes import Spikes
from spikesim.kernels.threads import pool

TOUCHES = 1e-7
"""Of the threshold: a slope below this is zero up to rounding, as times near a peak are."""


@dataclass(frozen=True)
class Constants:
    """Of one call: ms, and the unit of the weights."""

    tau_m: float
    tau_s: float
    v_threshold: float
    duration: float
    dt: float | None


def cuba_lif(
    spikes: Spikes,
    weight: Tensor,
    delay: Tensor,
    own_weight: Tensor | None = None,
    own_delay: Tensor | None = None,
    *,
    tau_m: float = 20.0,
    tau_s: float = 5.0,
    v_threshold: float = 1.0,
    dt: float | None = None,
) -> Spikes:
    r"""Spikes of CUBA-LIF neurons, with gradients by the adjoint of what happens between events.

    .. math::
        \tau_m \dot V_j = -V_j + I_j, \quad \tau_s \dot I_j = -I_j; \qquad
        V_j = \theta: \; V_j \leftarrow 0; \qquad t_k + d_{ji}: \; I_j \leftarrow I_j + w_{ji}

    for each spike :math:`k` of neuron :math:`i`. Backward in time, with :math:`' = -d/dt`,

    .. math::
        \tau_m \lambda_V' = -\lambda_V, \quad \tau_s \lambda_I' = -\lambda_I + \lambda_V, \qquad
        \lambda_V^- = \lambda_V^+ + \frac{\theta \lambda_V^+ + dL/dt_k}{\tau_m \dot V}

    at each spike of a neuron, where :math:`dL/dt_k` holds the terms of all synapses that it passes,

    .. math::
        \frac{dL}{dw_{ji}} = -\tau_s \sum_k \lambda_{I,j}(t_k + d_{ji}), \quad
        \frac{dL}{dd_{ji}} = w_{ji} \sum_k (\lambda_V - \lambda_I)_j(t_k + d_{ji}), \quad
        \frac{dL}{dt_k} = \sum_j w_{ji} (\lambda_V - \lambda_I)_j(t_k + d_{ji})

    Gradients hold while no spike appears or vanishes.

    Args:
        spikes: what comes in.
        weight: ``[out, in]``, in units of the threshold.
        delay: ``[out, in]``, ms, >= 0.
        own_weight, own_delay: ``[out, out]``, of the layer's own spikes.
        tau_m, tau_s: time constants of membrane and current, ms.
        v_threshold: :math:`\theta`.
        dt: ``None`` finds each spike to rounding (float64). Otherwise a step in ms: a delay is
            rounded to steps, and a neuron spikes at the end of the step in which it crosses; the
            gradient is that of the equations above at these times, whose error is O(dt).

    Returns:
        The spikes of the layer up to ``spikes.duration``.

    Raises:
        UserError: sizes that do not fit, a negative delay, a constant out of its range; exact
            spikes that excite each other without end; backward, a neuron that touches its threshold
            without crossing it, where no gradient exists.

    Reference: C. Wunderlich & C. Pehle (2021), *Event-based backpropagation can compute exact
    gradients for spiking neural networks*, Sci. Rep. 11:12829; delays: B. Meszaros, J. Knight &
    T. Nowotny (2025), Nat. Commun. The stepped form takes as slope the current at the beginning of
    the step less the threshold, which is never 0, where theirs takes I - V at its end.

    >>> one = Spikes.of([([1.0], [0])], size=1, duration=50.0)
    >>> weight = torch.tensor([[8.0]], dtype=torch.float64)
    >>> cuba_lif(one, weight, torch.tensor([[2.0]])).times.round(decimals=6).tolist()
    [7.116609]
    """
    constants = Constants(tau_m, tau_s, v_threshold, spikes.duration, dt)
    outputs = weight.shape[0]
    if (own_weight is None) != (own_delay is None):
        raise UserError("own_weight and own_delay go together; give both or none")
    own = [0, 0] if own_weight is None else [outputs, outputs]
    own_weight = weight.new_empty(0, 0) if own_weight is None else own_weight
    own_delay = weight.new_empty(0, 0) if own_delay is None else own_delay
    _check(constants, spikes.size, weight, delay, own_weight, own_delay, own)
    times, neurons, offsets = _CUBALIF.apply(
        spikes.times,
        weight,
        delay,
        own_weight,
        own_delay,
        spikes.neurons,
        spikes.offsets,
        constants,
    )  # type: ignore[no-untyped-call]
    return Spikes(times, neurons, offsets, outputs, spikes.duration)


def _check(
    constants: Constants,
    inputs: int,
    weight: Tensor,
    delay: Tensor,
    own_weight: Tensor,
    own_delay: Tensor,
    own: list[int],
) -> None:
    for name in ("tau_m", "tau_s", "v_threshold", "dt"):
        value = getattr(constants, name)
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{name} must be finite and > 0, got {value}")
    sizes = {"weight": weight, "delay": delay, "own_weight": own_weight, "own_delay": own_delay}
    for name, tensor in sizes.items():
        wanted = own if name.startswith("own") else [weight.shape[0], inputs]
        if tensor.device.type != "cpu":
            raise UserError(f"event-based layers run on the CPU, got {name} on {tensor.device}")
        if list(tensor.shape) != wanted:
            raise UserError(f"{name} is {list(tensor.shape)}; expected {wanted}")
        if not tensor.isfinite().all():
            raise UserError(f"{name} holds values that are not finite")
        if name.endswith("delay") and tensor.numel() and tensor.min() < 0:
            raise UserError(
                f"delays must be >= 0 ms, got {float(tensor.min()):g} in {name}: clamp them after "
                "each step of the optimiser, as EventLIF does"
            )


def _pieces(work: Callable[[int, int], Any], batch: int) -> list[Any]:
    """``work(first, last)`` for all samples, on as many threads as torch would use."""
    threads = max(1, min(torch.get_num_threads(), batch))
    bounds = [batch * n // threads for n in range(threads + 1)]
    # The calling thread takes part: the pool may be busy.
    waiting = [pool().submit(work, *pair) for pair in pairwise(bounds[1:])]
    return [work(bounds[0], bounds[1]), *(other.result() for other in waiting)]


def _steps(delay: NDArray[Any], dt: float) -> NDArray[np.int32]:
    return np.rint(delay / dt).astype(np.int32)


def _synapses(tensors: Sequence[Tensor]) -> list[NDArray[np.float64]]:
    """``[post, pre]`` of any dtype as ``[pre, post]``, in which a spike's synapses lie together."""
    # Copies: an optimiser may change a tensor before the backward pass.
    return [tensor.detach().double().t().numpy().copy() for tensor in tensors]


class _CUBALIF(torch.autograd.Function):
    """Times in, times out; both kernels see samples a range at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        times: Tensor,
        weight: Tensor,
        delay: Tensor,
        own_weight: Tensor,
        own_delay: Tensor,
        neurons: Tensor,
        offsets: Tensor,
        constants: Constants,
    ) -> tuple[Tensor, Tensor, Tensor]:
        c = constants
        weights = _synapses((weight, delay, own_weight, own_delay))
        w, d, own_w, own_d = weights
        incoming = (times.numpy(), neurons.numpy(), offsets.numpy())
        shared: tuple[Any, ...] = (c.tau_m, c.tau_s, c.v_threshold)
        if c.dt is None:
            from spikesim.kernels.eventprop_numba import exact_forward

            arguments = (*incoming, *weights, *shared)
            rows = _pieces(
                lambda a, b: exact_forward(a, b, *arguments, c.duration), len(offsets) - 1
            )
            found, places, slopes, counts = map(np.concatenate, zip(*rows, strict=True))
            _check_counts(counts)
            spikes = found
        else:
            from spikesim.kernels.eventprop_grid_numba import grid_forward

            late, own_late = _steps(d, c.dt), _steps(own_d, c.dt)
            slots = 1 + int(max(late.max(initial=0), own_late.max(initial=0)))
            at = _steps(incoming[0], c.dt)
            shared = (*shared, round(c.duration / c.dt), c.dt, slots)
            arguments = (at, *incoming[1:], w, late, own_w, own_late, *shared)
            rows = _pieces(lambda a, b: grid_forward(a, b, *arguments), len(offsets) - 1)
            found, places, slopes, counts = map(np.concatenate, zip(*rows, strict=True))
            spikes = np.minimum(found * c.dt, c.duration)
        ctx.arguments, ctx.constants = arguments, constants
        ctx.found, ctx.places, ctx.slopes = found, places, slopes
        ctx.out_offsets = np.concatenate(([0], np.cumsum(counts)))
        ctx.dtypes = [tensor.dtype for tensor in (weight, delay, own_weight, own_delay)]
        result = (
            torch.from_numpy(spikes),
            torch.from_numpy(places),
            torch.from_numpy(ctx.out_offsets),
        )
        ctx.mark_non_differentiable(*result[1:])
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        c, arguments = ctx.constants, ctx.arguments
        incoming = np.ascontiguousarray(gradients[0].double().numpy())
        out = (ctx.found, ctx.places, ctx.slopes, ctx.out_offsets, incoming)
        time_gradient = np.empty(len(arguments[0]))
        if c.dt is None:
            _check_slopes(ctx)
            from spikesim.kernels.eventprop_numba import exact_backward as kernel
        else:
            from spikesim.kernels.eventprop_grid_numba import grid_backward as kernel
        rows = _pieces(
            lambda a, b: kernel(a, b, *arguments, *out, time_gradient), len(ctx.out_offsets) - 1
        )
        sums = [torch.from_numpy(np.sum(parts, axis=0)).t() for parts in zip(*rows, strict=True)]
        synapses = [total.to(dtype) for total, dtype in zip(sums, ctx.dtypes, strict=True)]
        # In the order of the inputs: weights, delays, own weights, own delays.
        return torch.from_numpy(time_gradient), *synapses, None, None, None


def _check_counts(counts: NDArray[np.int64]) -> None:
    (wild,) = np.nonzero(counts < 0)
    if len(wild):
        from spikesim.kernels.eventprop_numba import CROWD

        raise UserError(
            f"the spikes of sample {wild[0]} run away: {CROWD} of each neuron within a time "
            "constant; lower the weights among its neurons, or give dt"
        )


def _check_slopes(ctx: Any) -> None:
    flat = np.flatnonzero(ctx.slopes <= TOUCHES * ctx.constants.v_threshold)
    if len(flat):
        k = flat[0]
        sample = int(np.searchsorted(ctx.out_offsets, k, side="right")) - 1
        raise UserError(
            f"neuron {ctx.places[k]} of sample {sample} touches its threshold at "
            f"{ctx.found[k]:g} ms without crossing it: the time of this spike has no derivative; "
            "change the weights a little, or give dt"
        )
