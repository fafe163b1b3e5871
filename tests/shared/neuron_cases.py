"""Neurons and what they are run with: what every backend of the fused kernels must compute."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

from spikesim.neuron import Neuron
from spikesim.neurons import (
    ALIF,
    CUBALIF,
    IF,
    ILIF,
    LI,
    LIF,
    PLIF,
    AdEx,
    ALIFCondExp,
    HodgkinHuxley,
    Izhikevich,
    Izhikevich2007,
    LevyBaxter,
    LIFAlpha,
    LIFCondExp,
    LIFDelta,
    TempotronMembrane,
)
from spikesim.neurons.synaptic import synaptic
from spikesim.ops import absolute, bernoulli, clamp, detach, exp, log, noise, spike, tanh, where
from spikesim.surrogate import (
    ATan,
    FastSigmoid,
    Gaussian,
    MultiGaussian,
    Rectangle,
    Sigmoid,
    Triangle,
)
from spikesim.types import Named


class Custom(Neuron):
    """Every operation; lines of parameters alone; a parameter divided by a state."""

    states = ("v", "table")

    def __init__(self, gain: Any = 0.7, scale: Any = 1.3, learnable: Sequence[str] = ()) -> None:
        super().__init__(learnable=learnable)
        self.surrogate = FastSigmoid(2.0)
        self.add_parameter("gain", gain)
        self.add_parameter("n", scale)
        self.check_learnable()

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        v, x = state.v, inputs.x
        # torch on CUDA divides by a number through its reciprocal: that of 4 is exact.
        a = p.gain / (1.5 + v * v) + x * (p.gain * p.n) / 4.0 + 0.3 / (2.0 + absolute(x))
        table = clamp(state.table * 0.9 + detach(a), -1.0, 2.0) - (p.gain - p.n) * x
        s = self.spike(where(x <= table, a, 0.1) - 0.2 * p.n)
        return Named(v=where(s > 0.5, a - 1.0, -(x - a)), table=table), s


class Functions(Neuron):
    """The functions whose last bits differ from torch's."""

    states = ("v",)

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        v = 0.5 * tanh(state.v) + log(1.0 + inputs.x * inputs.x) - exp(-absolute(inputs.x))
        return Named(v=v), v


class Noisy(Neuron):
    """Two kinds of random numbers, three a step; a rate learns through its draws."""

    states = ("v",)
    stochastic = True

    def __init__(self, learnable: Sequence[str] = ()) -> None:
        super().__init__(learnable=learnable)
        self.surrogate = ATan()
        self.add_parameter("rate", 0.4)
        self.check_learnable()

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        first, z = bernoulli(p.rate * inputs.x), noise(inputs.x)
        v = 0.8 * state.v + inputs.x * bernoulli(inputs.x) + 0.1 * z + first
        s = self.spike(v - 1.0)
        return Named(v=v - s), s


class Threshold(Neuron):
    """No state."""

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        return state, spike(inputs.x - 0.8, ATan())


def _synaptic(learnable: Sequence[str] = ()) -> Neuron:
    own = [name for name in learnable if name in ("tau_rise", "tau_decay")]
    return synaptic(
        LIFDelta(learnable=[name for name in learnable if name not in own]), learnable=own
    )


Make: TypeAlias = Callable[..., Neuron]


@dataclass(frozen=True)
class Case:
    """One comparison of a backend with the reference; all parameters learn."""

    make: Make
    options: dict[str, Any] = field(default_factory=dict)
    steps: int = 20
    shape: tuple[int, ...] = (2, 33)
    """``[B, ...]`` of one step."""
    dtype: torch.dtype = torch.float32
    spread: str = "scalar"
    """Parameters: one each, ``"scalar"``, or one per ``"channel"`` or per ``"neuron"``."""
    learnable: bool = True
    bitwise: bool = True
    """Whether outputs and states must be equal bit for bit."""
    traces: bool = True
    """Give and differentiate the states of every step, rather than of the last."""
    given_state: bool = False
    channels_last: bool = False
    scale: float = 1.0
    """Of the input."""

    def neuron(self) -> Neuron:
        neuron = self.make(**self.options)
        if self.learnable:
            names = [n for n in neuron.parameter_names if getattr(neuron, n) is not None]
            names = [n for n in names if n not in ("refractory", "t_ref")]
            neuron = self.make(**self.options, learnable=names)
        sizes = {"scalar": (), "channel": self.shape[1:2], "neuron": self.shape[1:]}
        for key, value in list(neuron.named_parameters()):
            # Not all the same, so that a mixed-up index shows.
            factor = 1.0 + 0.05 * torch.rand(sizes[self.spread])
            setattr(neuron, key, torch.nn.Parameter(value.detach() * factor))
        return neuron.double() if self.dtype == torch.float64 else neuron

    def input(self) -> Tensor:
        x = 1.2 * torch.randn(self.steps, *self.shape, dtype=torch.float64) + 0.8
        x = (self.scale * x).to(self.dtype)
        return x.movedim(2, -1).contiguous().movedim(-1, 2) if self.channels_last else x


CASES: dict[str, Case] = {
    "IF soft": Case(IF, {"v_reset": None, "surrogate": FastSigmoid()}, steps=17),
    "LIF per channel": Case(LIF, {"tau": 3.0}, 35, (3, 5, 4, 7), spread="channel"),
    "LIF channels last": Case(
        LIF, {"tau": 3.0}, 35, (3, 5, 4, 7), spread="channel", channels_last=True
    ),
    "LIF per neuron": Case(LIF, {"tau": 3.0}, 5, (3, 700), spread="neuron", traces=False),
    "LIF given state": Case(LIF, {"tau": 3.0}, 33, (2, 9), given_state=True),
    "LIF exact": Case(
        LIF,
        {
            "tau": 3.0,
            "v_reset": -0.3,
            "decay_input": False,
            "leak": "exact",
            "surrogate": Gaussian(),
        },
    ),
    "LIF refractory": Case(
        LIF,
        {"tau": 3.0, "v_reset": -0.1, "refractory": 2.0, "detach_reset": True}
        | {"surrogate": MultiGaussian()},
    ),
    "PLIF fixed threshold": Case(
        PLIF, {"tau": 3.0, "v_reset": None, "surrogate": Sigmoid()}, learnable=False
    ),
    "CUBALIF": Case(CUBALIF, {"tau": 2.0, "v_reset": None, "surrogate": Triangle()}, steps=40),
    "ALIF": Case(ALIF, {"tau": 2.0, "tau_adaptation": 5.0, "surrogate": Rectangle()}),
    "Izhikevich": Case(Izhikevich, steps=40, scale=30.0),
    "Izhikevich float64": Case(
        Izhikevich, {"scheme": "euler"}, 40, dtype=torch.float64, scale=30.0
    ),
    "Izhikevich2007": Case(Izhikevich2007, {"c_m": 20.0, "dt": 0.5}, steps=40, scale=250.0),
    "synaptic": Case(_synaptic, steps=40, dtype=torch.float64, scale=400.0),
    "LI": Case(LI, steps=40, learnable=False),
    "LevyBaxter": Case(LevyBaxter),
    "TempotronMembrane": Case(TempotronMembrane, {"tau": 5.0, "tau_s": 2.0}, dtype=torch.float64),
    "ILIF": Case(ILIF),
    "LIFAlpha": Case(LIFAlpha, {"t_ref": 2.0}, 20, (2, 70), spread="neuron", scale=150.0),
    "LIFCondExp": Case(LIFCondExp, steps=20, dtype=torch.float64, scale=20.0, bitwise=False),
    "ALIFCondExp": Case(
        ALIFCondExp,
        {"v_threshold": -60.0, "theta_plus": 1.0, "tau_theta": 50.0},
        dtype=torch.float64,
        scale=2.0,
        bitwise=False,
    ),
    "AdEx": Case(
        AdEx, {"scheme": "rk4", "t_ref": 1.0}, dtype=torch.float64, scale=150.0, bitwise=False
    ),
    "HodgkinHuxley": Case(HodgkinHuxley, dtype=torch.float64, scale=100.0, bitwise=False),
    "LIF float16": Case(LIF, {"tau": 3.0}, 20, (2, 333), torch.float16),
    "LIF bfloat16": Case(LIF, {"tau": 3.0}, 20, (2, 333), torch.bfloat16),
    "custom": Case(Custom, shape=(2, 3, 11), spread="channel"),
    "custom numbers": Case(Custom, learnable=False),
    "no state": Case(Threshold, steps=20),
    "functions": Case(Functions, bitwise=False),
    "noisy": Case(Noisy, steps=20, shape=(3, 5, 7)),
    "noisy channels last": Case(Noisy, steps=18, shape=(3, 5, 2, 7), channels_last=True),
}
