"""What holds for every neuron, in every variant."""

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from spikesim.kernels.tape import trace
from spikesim.neuron import Neuron
from spikesim.neurons import (
    ALIF,
    CUBALIF,
    EIF,
    IF,
    ILIF,
    LI,
    LIF,
    PLIF,
    QIF,
    AdEx,
    ALIFCondExp,
    HodgkinHuxley,
    Izhikevich,
    Izhikevich2007,
    LevyBaxter,
    LIFAlpha,
    LIFCondExp,
    LIFDelta,
    LIFExp,
    MetaNeuron,
    TempotronMembrane,
)
from spikesim.neurons import __all__ as all_names
from spikesim.surrogate import ATan, Smoothed
from spikesim.types import Named

# Sums of a gradient run in another order when a sequence is cut in two.
GRADIENT_TOLERANCE = 1e-12  # relative to the largest, in float64

NEURONS: dict[str, Callable[..., Neuron]] = {
    "IF": IF,
    "IF soft": lambda **k: IF(v_reset=None, **k),
    "LIF": LIF,
    "LIF soft": lambda **k: LIF(tau=3.0, v_reset=None, **k),
    "LIF reset -0.3": lambda **k: LIF(tau=3.0, v_reset=-0.3, **k),
    "LIF input not decayed": lambda **k: LIF(tau=3.0, v_reset=0.2, decay_input=False, **k),
    "LIF exact": lambda **k: LIF(tau=0.7, leak="exact", **k),
    "LIF refractory": lambda **k: LIF(tau=3.0, v_reset=-0.1, refractory=2.0, **k),
    "PLIF": lambda **k: PLIF(tau=3.0, **k),
    "CUBALIF": lambda **k: CUBALIF(tau=3.0, tau_synapse=2.0, **k),
    "CUBALIF refractory": lambda **k: CUBALIF(tau=2.0, v_reset=None, refractory=1.0, **k),
    "ALIF": lambda **k: ALIF(tau=2.0, tau_adaptation=5.0, **k),
    "ALIF plain sum": lambda **k: ALIF(tau=2.0, tau_adaptation=5.0, normalize=False, **k),
    "ALIF refractory": lambda **k: ALIF(tau=2.0, refractory=2.0, **k),
    "Izhikevich": Izhikevich,
    "Izhikevich Euler": lambda **k: Izhikevich(scheme="euler", dt=0.5, **k),
    "Izhikevich2007": lambda **k: Izhikevich2007(c_m=20.0, dt=0.5, **k),
    "LI": LI,
    "ILIF": ILIF,
    "LIFDelta": LIFDelta,
    "LIFExp": LIFExp,
    "LIFExp at once": lambda **k: LIFExp(tau_ex=10.0, t_ref=0.0, **k),
    "LIFExp one current": lambda **k: LIFExp(tau_in=None, **k),
    "LIFAlpha": LIFAlpha,
    "LIFCondExp": LIFCondExp,
    "ALIFCondExp": lambda **k: ALIFCondExp(v_threshold=-60.0, theta_plus=2.0, **k),
    "EIF": EIF,
    "AdEx": lambda **k: AdEx(dt=0.5, **k),
    "AdEx currents Runge-Kutta": lambda **k: AdEx(
        e_ex=None, e_in=None, t_ref=1.0, scheme="rk4", **k
    ),
    "HodgkinHuxley": lambda **k: HodgkinHuxley(t_ref=1.0, **k),
    "QIF": QIF,
    "LevyBaxter": LevyBaxter,
    "MetaNeuron": MetaNeuron,
    "TempotronMembrane": lambda **k: TempotronMembrane(5.0, 2.0, **k),
    "TempotronMembrane open": lambda **k: TempotronMembrane(5.0, 2.0, shunt=False, **k),
}
RANDOM = {"LIFEscape", "PoissonNeuron"}
"""These draw other numbers in each run; their tests are in test_noise.py."""
PHYSICAL = {
    "Izhikevich2007": (150.0, 250.0),
    "Izh": (30.0, 40.0),
    "LIFDelta": (6.0, 8.0),
    "LIFExp": (200.0, 250.0),
    "LIFAlpha": (100.0, 150.0),
    "LIFCond": (20.0, 30.0),
    "ALIFCond": (2.0, 3.0),
    "EIF": (20.0, 40.0),
    "AdEx": (100.0, 150.0),
    "Hodgkin": (100.0, 200.0),
}
"""Spread and mean of an exciting input, of neurons in mV."""
UNDETACHED = ("LI ", "Hodgkin", "QIF", "Levy", "Tempotron")
DETACHED = {
    name: make for name, make in NEURONS.items() if not name.startswith(UNDETACHED) and name != "LI"
}
every = pytest.mark.parametrize("name", NEURONS)


def _input(name: str, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    spread, mean = _physical(name) or (1.2, 0.8)
    return spread * torch.randn(shape, dtype=dtype) + mean


def _physical(name: str) -> tuple[float, float] | None:
    return next((of for start, of in PHYSICAL.items() if name.startswith(start)), None)


def _all(neuron: Neuron, x: Tensor) -> Tensor | dict[str, Tensor]:
    """``x`` at the first receptor, and a little of it at the others."""
    first, *others = neuron.inputs
    return {first: x, **dict.fromkeys(others, 0.1 * x)} if others else x


def _smooth(name: str, neuron: Neuron) -> dict[str, Smoothed]:
    if not hasattr(neuron, "surrogate"):
        return {}
    # As wide as the excursion of the membrane: about 1, or some ten mV.
    return {"surrogate": Smoothed(ATan(0.05 if _physical(name) else 2.0))}


def test_the_catalogue_is_complete() -> None:
    assert {type(make()).__name__ for make in NEURONS.values()} | RANDOM == set(all_names)


@every
def test_output_is_spikes_and_the_test_input_excites(name: str) -> None:
    neuron = NEURONS[name]()
    out = neuron(_all(neuron, _input(name, 40, 3, 17)))
    assert out.shape == (40, 3, 17)
    if neuron.spiking:
        levels = range(1 + getattr(neuron, "levels", 1))
        assert set(out.unique().tolist()) == set(map(float, levels))


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tape_computes_bitwise_what_torch_computes(name: str, dtype: torch.dtype) -> None:
    neuron = NEURONS[name]()
    tape = trace(neuron)
    x = _input(name, 20, 2, 33, dtype=dtype)
    state, p = neuron.initial_state(x[0]), neuron.values(x[0])
    for x_t in x:
        given = _all(neuron, x_t)
        inputs = Named(given if isinstance(given, dict) else {neuron.inputs[0]: given})
        expected, out = neuron.step(state, inputs, p)
        state, out_tape = tape.evaluate(state, inputs, p)
        assert torch.equal(out_tape, out)
        assert tuple(state) == neuron.states
        for variable in neuron.states:
            assert torch.equal(state[variable], expected[variable])
            assert state[variable].dtype == dtype


@every
def test_detach_reset_traces_too(name: str) -> None:
    if name in DETACHED:
        ops = [line.op for line in trace(DETACHED[name](detach_reset=True)).lines]
        assert "detach" in ops


@every
def test_two_runs_of_t_are_one_of_2t_with_its_gradient(name: str) -> None:
    neuron = NEURONS[name]()
    x = _input(name, 24, 2, 9, dtype=torch.float64).requires_grad_()
    whole, end = neuron.run(_all(neuron, x))
    first, middle = neuron.run(_all(neuron, x[:12]))
    second, last = neuron.run(_all(neuron, x[12:]), middle)
    assert torch.equal(whole, torch.cat([first, second]))
    assert all(torch.equal(end[k], last[k]) for k in neuron.states)
    weight = torch.randn_like(whole)
    (once,) = torch.autograd.grad((whole * weight).sum(), x)
    (twice,) = torch.autograd.grad((torch.cat([first, second]) * weight).sum(), x)
    largest = once.abs().max()
    assert largest > 0
    assert (once - twice).abs().max() <= GRADIENT_TOLERANCE * largest


@every
def test_truncation_cuts_the_gradient_at_the_state(name: str) -> None:
    neuron = NEURONS[name]()
    x = _input(name, 8, 1, 5, dtype=torch.float64).requires_grad_()
    _, state = neuron.run(_all(neuron, x[:4]))
    assert not any(value.requires_grad for value in state.detach().values())
    neuron.run(_all(neuron, x[4:]), state.detach())[0].sum().backward()
    assert torch.count_nonzero(x.grad[:4]) == 0


@every
def test_trace_holds_the_run(name: str) -> None:
    neuron = NEURONS[name]()
    x = _input(name, 6, 2, 5)
    out, state = neuron.run(_all(neuron, x))
    rows = neuron.trace(_all(neuron, x))
    assert torch.equal(rows["output"], out)
    assert set(rows) == {*neuron.states, "output"}
    assert all(torch.equal(rows[k][-1], state[k]) for k in neuron.states)


@every
@pytest.mark.parametrize("shape", [(1, 2, 3), (5, 0, 3), (5, 2, 0), (2, 1), (3, 2, 2, 4, 4)])
def test_odd_shapes(name: str, shape: tuple[int, ...]) -> None:
    neuron = NEURONS[name]()
    out, state = neuron.run(_all(neuron, _input(name, *shape)))
    assert out.shape == shape
    assert all(value.shape == shape[1:] for value in state.values())


@every
def test_nothing_is_read_back_from_the_device(name: str) -> None:
    # Tensors of the meta device hold no data: any branch or number read from one fails.
    neuron = NEURONS[name]()
    everything = [n for n in neuron.parameter_names if _is_trainable(neuron, n)]
    neuron = NEURONS[name](learnable=everything).to("meta")
    out, _ = neuron.run(_all(neuron, torch.zeros(3, 2, 4, device="meta")))
    assert out.shape == (3, 2, 4)
    assert out.device.type == "meta"


@every
def test_compiled_neuron_has_the_same_spikes_and_gradients(name: str) -> None:
    torch._dynamo.reset()
    neuron = NEURONS[name]()
    compiled = torch.compile(neuron, fullgraph=True, backend="aot_eager")
    x = _input(name, 2, 2, 9, dtype=torch.float64)
    pair = x.clone().requires_grad_(), x.clone().requires_grad_()
    outputs = neuron(_all(neuron, pair[0])), compiled(_all(neuron, pair[1]))
    assert torch.equal(*outputs)
    weight = torch.randn_like(x)
    for output in outputs:
        (output * weight).sum().backward()
    assert torch.equal(pair[0].grad, pair[1].grad)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every
def test_cuda_gives_the_same_spikes_without_waiting(name: str) -> None:
    x = _input(name, 12, 2, 65, dtype=torch.float64)
    neuron = NEURONS[name]().cuda()
    on_device = x.cuda().requires_grad_()
    torch.cuda.set_sync_debug_mode("error")
    try:
        spikes = neuron(_all(neuron, on_device))
        spikes.sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.allclose(spikes.cpu(), neuron.cpu()(_all(neuron, x)), rtol=1e-9, atol=0)


def _is_trainable(neuron: Neuron, name: str) -> bool:
    return name not in ("refractory", "t_ref") and getattr(neuron, name) is not None


@every
def test_copy_pickle_and_state_dict_keep_the_neuron(name: str) -> None:
    plain = NEURONS[name]()
    everything = [n for n in plain.parameter_names if _is_trainable(plain, n)]
    neuron = NEURONS[name](learnable=everything)
    x = _input(name, 10, 2, 5)
    expected = neuron(_all(neuron, x))
    assert torch.equal(copy.deepcopy(neuron)(_all(neuron, x)), expected)
    assert torch.equal(pickle.loads(pickle.dumps(neuron))(_all(neuron, x)), expected)
    file = io.BytesIO()
    torch.save(neuron.state_dict(), file)
    file.seek(0)
    other = NEURONS[name](learnable=everything)
    for parameter in other.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    assert not torch.equal(other(_all(neuron, x)), expected)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(_all(neuron, x)), expected)


@every
def test_a_state_survives_saving(name: str) -> None:
    neuron = NEURONS[name]()
    x = _input(name, 10, 2, 5)
    _, state = neuron.run(_all(neuron, x))
    again = pickle.loads(pickle.dumps(state))
    assert torch.equal(neuron.run(_all(neuron, x), again)[0], neuron.run(_all(neuron, x), state)[0])


@every
def test_double_precision_is_double_throughout(name: str) -> None:
    neuron = NEURONS[name]()
    x = _input(name, 5, 2, 3, dtype=torch.float64)
    out, state = neuron.run(_all(neuron, x))
    assert out.dtype == torch.float64
    assert all(value.dtype == torch.float64 for value in state.values())
    assert torch.equal(copy.deepcopy(neuron).double()(_all(neuron, x)), out)


@every
def test_one_value_per_channel_is_the_scalar_neuron_per_channel(name: str) -> None:
    neuron = NEURONS[name]()
    x = _input(name, 12, 2, 3, 4)
    everything = [n for n in neuron.parameter_names if _is_trainable(neuron, n)]
    wide = NEURONS[name](learnable=everything)
    for key, parameter in list(wide.named_parameters()):
        setattr(wide, key, torch.nn.Parameter(parameter.detach().expand(3).clone()))
    out = wide(_all(neuron, x))
    single = NEURONS[name](learnable=everything)
    for c in range(3):
        assert torch.equal(out[:, :, c], single(_all(neuron, x[:, :, c])))
    out.sum().backward()
    for key, parameter in wide.named_parameters():
        assert torch.isfinite(parameter.grad).all(), key


@every
def test_gradcheck_of_the_smoothed_neuron(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finite differences against autograd: input, state and all parameters at once."""
    # The integer neuron's surrogate is straight-through: without its rounding it is smooth.
    monkeypatch.setattr("spikesim.neurons.ilif.round_", lambda a: a)
    plain = NEURONS[name]()
    everything = [n for n in plain.parameter_names if _is_trainable(plain, n)]
    neuron = NEURONS[name](learnable=everything, **_smooth(name, plain)).double()
    # The arctangent is no operator of a step.
    neuron.backend = "torch"
    x = _input(name, 4, 2, 3, dtype=torch.float64).requires_grad_()
    start = neuron.initial_state(x[0]).detach()
    start = start.map(lambda value: (value + 0.03 * torch.rand_like(value)).requires_grad_())
    keys = [key for key, _ in neuron.named_parameters()]

    def function(x: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        state = Named(dict(zip(neuron.states, others, strict=False)))
        parameters = dict(zip(keys, others[len(neuron.states) :], strict=True))
        named = {f"neuron.{key}": value for key, value in parameters.items()}
        rows = torch.func.functional_call(_Trace(neuron), named, (x, state))
        return tuple(rows[k] for k in (*neuron.states, "output") if k != "wait")

    values = [start[k] for k in neuron.states]
    parameters = [p.detach().clone().requires_grad_() for p in neuron.parameters()]
    if "wait" in neuron.states:  # a whole count of steps, without a derivative
        values[neuron.states.index("wait")] = torch.zeros_like(x[0])
    arguments = (x, *values, *parameters)
    assert torch.autograd.gradcheck(function, arguments, eps=1e-7, atol=1e-6, rtol=1e-5)


class _Trace(torch.nn.Module):
    def __init__(self, neuron: Neuron) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, x: Tensor, state: Named) -> dict[str, Tensor]:
        return self.neuron.trace(_all(self.neuron, x), state)
