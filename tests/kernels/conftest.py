"""What every backend of the fused kernels must compute, against the torch reference.

``check(backend, case)`` runs a case through a :class:`~spikesim.kernels.call.Backend` and through
``neuron.step`` in torch and compares outputs, states and all gradients. A test that takes the
fixture ``case`` runs once for each of ``CASES``.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import pytest
import torch
from torch import Tensor

from spikesim.kernels import fused
from spikesim.kernels.call import Backend, Call, Gradients, Outputs
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
    LIFAlpha,
    LIFCondExp,
)
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

# Sums run in another order than autograd's, over up to some thousand terms.
GRADIENT_TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}  # relative to the largest
# exp, log and tanh of torch and ours differ in the last bits.
FUNCTION_TOLERANCE = 1e-5
# A gradient stored in 16 bits may be the neighbour of the reference's: half an ulp and a bit.
STORAGE_TOLERANCE = {torch.float16: 1e-3, torch.bfloat16: 8e-3}


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
    "LI": Case(LI, steps=40, learnable=False),
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


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def cases() -> dict[str, Case]:
    return CASES


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Callable[[Backend], None]:
    """Puts a backend, with its results guarded, in the place of whatever would serve."""
    return lambda of: monkeypatch.setattr(fused, "backend", lambda name: Guarded(of))


@pytest.fixture
def check(guarded: Callable[[Backend], None]) -> Callable[..., None]:
    """``check(backend, case, device="cpu", x=None)``."""

    def run(backend: Backend, case: Case, device: str = "cpu", x: Tensor | None = None) -> None:
        guarded(backend)
        compare(case, device, x)

    return run


@dataclass(frozen=True)
class Result:
    output: Tensor
    states: dict[str, Tensor]
    d_input: Tensor
    d_state: dict[str, Tensor]
    d_parameters: dict[str, Tensor]


def compare(case: Case, device: str, x: Tensor | None) -> None:
    """Through whatever backend serves, and through torch."""
    # The reference runs on the same device: exp, from which constants derive, is its own there.
    neuron = case.neuron().to(device)
    x = (case.input() if x is None else x).to(device)
    fused_neuron = copy.deepcopy(neuron)
    neuron.backend, fused_neuron.backend = "torch", "numba" if device == "cpu" else "cupy"
    weights = [torch.randn(x.shape, dtype=torch.float64) for _ in range(1 + len(neuron.states))]
    start = neuron.initial_state(x[0].to(_real(x))).detach()
    start = start.map(lambda v: v + torch.rand(v.shape, dtype=v.dtype).to(device))
    expected = run(case, neuron, x, weights, start)
    got = run(case, fused_neuron, x, weights, start)
    check_states = same if case.bitwise else close
    check_states(got.output, expected.output)
    for name, value in expected.states.items():
        check_states(got.states[name], value)
    tolerance = GRADIENT_TOLERANCE[_real(x)]
    near(got.d_input, expected.d_input, max(tolerance, STORAGE_TOLERANCE.get(x.dtype, 0.0)))
    for name, value in expected.d_state.items():
        near(got.d_state[name], value, tolerance)
    for name, value in expected.d_parameters.items():
        near(got.d_parameters[name], value, tolerance)


def run(case: Case, neuron: Neuron, x: Tensor, weights: Sequence[Tensor], start: Named) -> Result:
    """Outputs, states and the gradients of a weighted sum of all of them."""
    x = x.detach().requires_grad_()
    state = None
    if case.given_state:
        state = start.map(lambda v: v.to(x.device).detach().requires_grad_())
    # The first input is x, others are a little of it.
    given = {name: 0.1 * x if k else x for k, name in enumerate(neuron.inputs)}
    if case.traces:
        rows = neuron.trace(given, state)
        output = rows["output"].to(x.dtype)
        states = {name: rows[name] for name in neuron.states}
    else:
        output, last = neuron.run(given, state)
        states = dict(last)
    loss = (output * weights[0].to(output)).sum()
    for weight, value in zip(weights[1:], states.values(), strict=True):
        loss = loss + (value * (weight if case.traces else weight[0]).to(value)).sum()
    loss.backward()
    return Result(
        output.detach(),
        {name: value.detach() for name, value in states.items()},
        x.grad,
        {} if state is None else {name: value.grad for name, value in state.items()},
        {name: p.grad for name, p in neuron.named_parameters() if p.grad is not None},
    )


def _real(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def same(got: Tensor, expected: Tensor) -> None:
    """Equal bit for bit, but for the sign of zero and what a NaN holds."""
    assert got.dtype == expected.dtype
    assert torch.equal(got.isnan(), expected.isnan())
    assert torch.equal(got.nan_to_num(7.0), expected.nan_to_num(7.0))


def near(got: Tensor, expected: Tensor, tolerance: float) -> None:
    """Equal up to a part of the largest."""
    assert got.dtype == expected.dtype
    assert torch.equal(got.isnan(), expected.isnan())
    if expected.numel():
        difference = (got.double() - expected.double()).nan_to_num(0.0).abs().max()
        assert difference <= tolerance * expected.double().nan_to_num(0.0).abs().max()


def close(got: Tensor, expected: Tensor) -> None:
    near(got, expected, FUNCTION_TOLERANCE)


class Guarded:
    """A backend that finds its results full of NaN, and guards before and behind them."""

    GUARD = 64

    def __init__(self, of: Backend) -> None:
        self.of = of
        self.made: list[tuple[Tensor, Tensor, Tensor | None]] = []

    def group(self, call: Call) -> int:
        return self.of.group(call)

    def forward(self, call: Call, out: Outputs) -> None:
        call = replace(call, checkpoints=self._poisoned(call.checkpoints))
        final, traces = (list(map(self._poisoned, arrays)) for arrays in (out.final, out.traces))
        self.of.forward(call, Outputs(self._poisoned(out.output), final, traces))
        self._check()

    def backward(self, call: Call, gradients: Gradients) -> None:
        inputs, initial = (
            list(map(self._poisoned, arrays)) for arrays in (gradients.inputs, gradients.initial)
        )
        partials = self._poisoned(gradients.partials)
        written = replace(gradients, inputs=inputs, initial=initial, partials=partials)
        self.of.backward(call, written)
        self._check()

    def _poisoned(self, wanted: Tensor | None) -> Any:
        if wanted is None:
            return None
        filling = float("nan") if wanted.is_floating_point() else 77
        whole = torch.full(
            (wanted.numel() + 2 * self.GUARD,), filling, dtype=wanted.dtype, device=wanted.device
        )
        inside = whole.as_strided(wanted.shape, wanted.stride(), self.GUARD)
        self.made.append((whole, inside, wanted))
        return inside

    def _check(self) -> None:
        for whole, inside, wanted in self.made:
            untouched = torch.cat([whole[: self.GUARD], whole[-self.GUARD :]])
            assert bool((untouched.isnan() | (untouched == 77)).all()), "wrote beyond its result"
            wanted.copy_(inside)
        self.made.clear()
