"""What e-prop has to know of receiving neurons: how their membranes answer, and what they show."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import new_class
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.kernels.eprop_state import Response
from spikesim.network.plasticity.eprop import EProp
from spikesim.network.population import Population
from spikesim.neuron import Neuron
from spikesim.neurons import ALIF, CUBALIF, LI, LIF, LIFDelta, LIFExp
from spikesim.neurons.membrane import Membrane
from spikesim.ops import where
from spikesim.surrogate import Surrogate
from spikesim.types import Named, Number

PSI, OPEN, RATE = "psi", "open", "rate"
"""States that a watched neuron has more: the pretended derivative, whether the step's past still
counts in the next one, and its rate in Hz."""


class Watched(Membrane):
    """What is laid over a neuron so that it shows what e-prop needs; it runs as before."""

    of: type[Neuron]
    rule: EProp

    def emit(self, state: Named, excess: Tensor, p: Named) -> tuple[Named, Tensor]:
        """Spike, and show how a little more would have changed the spike."""
        after, s = super().emit(state, excess, p)
        surrogate: Surrogate = self.rule.surrogate or self.surrogate
        shown = {PSI: surrogate.derivative(excess) * self.rule.damping, OPEN: 1.0 - s}
        if self.is_refractory:
            shown = {name: where(state.wait > 0.0, 0.0, value) for name, value in shown.items()}
        if RATE in self.states:
            per_ms = self.dt / self.rule.tau_rate
            shown[RATE] = state.rate + (s * (1e3 / self.dt) - state.rate) * per_ms
        return after.replace(**{name: shown[name] for name in shown if name in self.states}), s


@cache
def _watched(kind: type[Membrane]) -> type[Watched]:
    made = new_class(
        f"Watched{kind.__name__}", (Watched, kind), {}, lambda body: body.update(of=kind)
    )
    return cast(type[Watched], made)


def watch(post: Population, rule: EProp) -> None:
    """Let the neurons of a population show what a rule needs.

    Raises:
        UserError: another rule needs something else of them.
    """
    neuron = post.neuron
    if isinstance(neuron, LI):
        return
    if isinstance(neuron, Watched):
        own = _needs(neuron.rule), _needs(rule)
        if own[0] != own[1]:
            raise UserError(
                f"rules of e-prop onto {post.name} must share surrogate, damping, and what they "
                "say of rates"
            )
        return
    assert isinstance(neuron, Membrane)
    neuron.__class__ = _watched(type(neuron))
    assert isinstance(neuron, Watched)
    neuron.rule = rule
    more = [PSI, *([OPEN] if _wipes(neuron) else []), *([] if rule.rate is None else [RATE])]
    neuron.states = (*neuron.states, *more)
    post.take(neuron)


def _needs(rule: EProp) -> tuple[object, ...]:
    return rule.surrogate, rule.damping, rule.rate is None, rule.tau_rate


def _wipes(neuron: Neuron) -> bool:
    """Whether a spike makes the membrane forget."""
    return isinstance(neuron, Membrane) and neuron.v_reset is not None


@dataclass(frozen=True)
class _Answer:
    """Of a membrane to a spike at one receptor, in the symbols of :class:`Response`."""

    keeps: Number
    gain: Number
    left: Number = 0.0
    lag: int = 0
    rho: Number = 0.0
    beta: Number = 0.0
    jump: Number = 0.0


def _lif(neuron: LIF, receptor: str, p: Named) -> _Answer:
    return _Answer(1.0 - p.k, p.k if neuron.decay_input else 1.0)


def _alif(neuron: ALIF, receptor: str, p: Named) -> _Answer:
    jump = p.k_adaptation if neuron.normalize else 1.0
    return _Answer(1.0 - p.k, p.k, rho=1.0 - p.k_adaptation, beta=p.beta, jump=jump)


def _cuba_lif(neuron: CUBALIF, receptor: str, p: Named) -> _Answer:
    return _Answer(1.0 - p.k, p.k, left=1.0 - p.k_synapse)


def _li(neuron: LI, receptor: str, p: Named) -> _Answer:
    return _Answer(1.0 - p.k, p.k)


def _lif_delta(neuron: LIFDelta, receptor: str, p: Named) -> _Answer:
    return _Answer(1.0 - p.k, 1.0 if receptor == "delta" else p.v_per_current)


def _lif_exp(neuron: LIFExp, receptor: str, p: Named) -> _Answer:
    if receptor == "current":
        return _Answer(1.0 - p.k, p.v_per_current)
    short = receptor[:2]
    # A current acts from the step on that follows its arrival.
    return _Answer(1.0 - p.k, p[f"v_per_{short}"], left=p[f"left_{short}"], lag=1)


ANSWERS: dict[type[Neuron], Callable[[Any, str, Named], _Answer]] = {
    LIF: _lif,
    ALIF: _alif,
    CUBALIF: _cuba_lif,
    LI: _li,
    LIFDelta: _lif_delta,
    LIFExp: _lif_exp,
}


def response(post: Population, receptor: str) -> Response:
    """How the neurons of a population answer a spike.

    Raises:
        UserError: their model is none that e-prop knows.
    """
    neuron = post.neuron
    kind = neuron.of if isinstance(neuron, Watched) else type(neuron)
    if kind not in ANSWERS:
        known = ", ".join(known.__name__ for known in ANSWERS)
        raise UserError(f"e-prop knows {known}; {post.name} is {kind.__name__}")
    is_held = isinstance(neuron, Membrane) and neuron.is_refractory and kind is not ALIF
    if is_held and not _wipes(neuron):
        raise UserError(
            f"e-prop knows no refractory {kind.__name__} with a soft reset: give {post.name} "
            "v_reset, or be ALIF(beta=0.0)"
        )
    answer = ANSWERS[kind](neuron, receptor, post.values())

    def each(value: Number) -> np.ndarray[Any, np.dtype[Any]]:
        wide = torch.as_tensor(value, dtype=torch.float64).expand(1, *post.shape)
        return wide.reshape(-1).numpy().astype(post.dtype)

    return Response(
        keeps=each(answer.keeps),
        gain=each(answer.gain),
        left=each(answer.left),
        rho=each(answer.rho),
        beta=each(answer.beta),
        jump=each(answer.jump),
        lag=answer.lag,
        adapts=kind is ALIF,
        wipes=_wipes(neuron),
    )
