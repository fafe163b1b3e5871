"""The base class, shown on a neuron with two receptors."""

import pytest
import torch
from torch import Tensor

from spikesim.constraint import Positive, TimeConstant
from spikesim.errors import UserError
from spikesim.kernels.tape import trace
from spikesim.neuron import Neuron
from spikesim.neurons.integrate_and_fire import IF
from spikesim.neurons.lif import LIF
from spikesim.surrogate import ATan
from spikesim.types import Named


class Conductance(Neuron):
    """Excitatory and inhibitory conductances that drive the membrane to 3 and -1."""

    inputs = ("ex", "in")
    states = ("v", "g_ex", "g_in")

    def __init__(self, tau: Tensor | float = 4.0, learnable: tuple[str, ...] = ()) -> None:
        super().__init__(learnable=learnable)
        self.surrogate = ATan()
        self.add_parameter("tau", tau, TimeConstant(1.0))
        self.check_learnable()

    def derived(self, p: Named) -> dict[str, Tensor | float]:
        return {"k": self.dt / p.tau}

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        g_ex = state.g_ex * 0.5 + inputs["ex"]
        g_in = state.g_in * 0.5 + inputs["in"]
        drive = g_ex * (3.0 - state.v) + g_in * (-1.0 - state.v)
        v = state.v + (drive - state.v) * p.k
        s = self.spike(v - 1.0)
        return Named(v=v * (1.0 - s), g_ex=g_ex, g_in=g_in), s


def _both(T: int = 6) -> dict[str, Tensor]:
    return {"ex": torch.rand(T, 2, 3), "in": torch.rand(T, 2, 3) * 0.1}


def test_several_receptors_are_named_inputs() -> None:
    x = _both()
    spikes, state = Conductance().run(x)
    assert spikes.shape == (6, 2, 3)
    assert 0 < spikes.mean() < 1
    assert set(state) == {"v", "g_ex", "g_in"}
    g = torch.zeros(2, 3)
    for ex in x["ex"]:
        g = 0.5 * g + ex
    assert torch.equal(state.g_ex, g)
    # The order in which they are given does not matter; the receptor does.
    swapped = {"in": x["in"], "ex": x["ex"]}
    assert torch.equal(Conductance()(swapped), spikes)
    assert not torch.equal(Conductance()({"ex": x["in"], "in": x["ex"]}), spikes)


def test_several_receptors_trace() -> None:
    neuron, x = Conductance(), _both(1)
    like = x["ex"][0]
    state, inputs, p = (
        neuron.initial_state(like),
        Named({k: v[0] for k, v in x.items()}),
        neuron.values(like),
    )
    tape = trace(neuron)
    assert tape.inputs == ("ex", "in")
    after, out = neuron.step(state, inputs, p)
    after_tape, out_tape = tape.evaluate(state, inputs, p)
    assert torch.equal(out, out_tape)
    assert all(torch.equal(after[name], after_tape[name]) for name in neuron.states)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ({"ex": torch.rand(2, 3)}, "takes the inputs ex, in, got ex"),
        (torch.rand(2, 3), "takes the inputs ex, in, got ex"),
        ({"ex": torch.rand(2, 3), "in": torch.rand(2, 4)}, "all inputs share one"),
    ],
)
def test_wrong_receptors_are_refused(x: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Conductance()(x)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.rand(3), r"must be \[T, B, ...\], got shape \[3\]"),
        (torch.ones(3, 2, dtype=torch.int64), "must be floating point, got torch.int64"),
        (torch.rand(0, 2, 3), r"no time steps: \[0, 2, 3\]; T must be >= 1"),
    ],
)
def test_wrong_input_is_refused(x: Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        LIF()(x)


def test_a_state_of_another_batch_is_refused() -> None:
    _, state = LIF().run(torch.rand(4, 2, 3))
    with pytest.raises(UserError, match=r"state v has shape \[2, 3\], a step of the input is"):
        LIF().run(torch.rand(2, 4, 3), state)  # batch first by mistake
    with pytest.raises(UserError, match="state of Conductance has v, g_ex, g_in; got v"):
        Conductance().run(_both(), state)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LIF(tau=0.5), r"tau must be >= dt = 1.0 .*, got 0.5"),
        (lambda: LIF(tau=float("nan")), "tau must be >= dt"),
        (lambda: LIF(tau=-1.0, leak="exact"), "tau must be > 0, got -1.0"),
        (lambda: LIF(v_threshold=float("inf")), "v_threshold must be any finite number, got inf"),
        (lambda: LIF(leak="backward"), "leak must be 'euler' or 'exact', got 'backward'"),
        (lambda: LIF(dt=0.0), "dt must be > 0, got 0.0"),
        (lambda: LIF(dt="1"), "dt must be > 0, got '1'"),
        (lambda: LIF(v_threshold="1"), "v_threshold must be any finite number, or an array"),
        (lambda: LIF(v_threshold=[1, "x"]), r"v_threshold must be .* got \[1, 'x'\]"),
        (lambda: LIF(learnable=("tua",)), r"learnable=\['tua'\] names no parameter of LIF; it has"),
        (lambda: LIF(v_reset=None, learnable=("v_reset",)), "v_reset is None and cannot be learn"),
        (lambda: LIF(tau=1.0, learnable=("tau",)), "learnable tau must lie inside its range"),
        (lambda: LIF(refractory=-1.0), "refractory must be >= 0, got -1.0"),
        (lambda: LIF(refractory=1.0, learnable=("refractory",)), "refractory is counted in steps"),
    ],
)
def test_wrong_parameters_are_refused(make: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_a_parameter_that_does_not_fit_names_both_shapes() -> None:
    neuron = LIF(tau=torch.full((5,), 2.0))
    message = r"tau has shape \[5\] but a step of the input is \[B, 3, 4, 4\]; .* \[3\]"
    with pytest.raises(UserError, match=message):
        neuron(torch.rand(2, 1, 3, 4, 4))


def test_parameters_are_scalar_per_channel_or_per_neuron() -> None:
    x = torch.randn(7, 2, 3, 4, 4) + 0.5
    taus = torch.tensor([1.5, 2.0, 8.0])
    spikes = LIF(tau=taus)(x)
    full = LIF(tau=taus.view(3, 1, 1).expand(3, 4, 4))(x)
    assert torch.equal(spikes, full)
    for c, tau in enumerate(taus.tolist()):
        assert torch.equal(spikes[:, :, c], LIF(tau=tau)(x[:, :, c]))


def test_learnable_parameters_keep_their_range_and_get_gradients() -> None:
    start = torch.tensor([1.5, 2.0, 8.0])
    neuron = LIF(
        tau=start, v_threshold=torch.full((3, 4, 4), 0.9), learnable=("tau", "v_threshold")
    )
    assert torch.allclose(neuron.tau, start)
    assert {name for name, _ in neuron.named_parameters()} == {"raw_tau", "raw_v_threshold"}
    optimizer = torch.optim.SGD(neuron.parameters(), lr=5.0)
    for _ in range(20):
        optimizer.zero_grad()
        (-neuron(torch.rand(6, 2, 3, 4, 4)).mean()).backward()
        assert all(p.grad.abs().sum() > 0 for p in neuron.parameters())
        optimizer.step()
    assert (neuron.tau >= 1.0).all()
    assert not torch.allclose(neuron.tau, start)


def test_whole_numbers_may_be_learnable() -> None:
    assert LIF(tau=torch.tensor([2, 3]), learnable=("tau",)).tau.tolist() == [2.0, 3.0]


@pytest.mark.parametrize("raw", [-50.0, 50.0])
def test_gradient_of_a_time_constant_is_finite_at_both_ends(raw: float) -> None:
    neuron = LIF(learnable=("tau",))
    torch.nn.init.constant_(neuron.raw_tau, raw)
    neuron(torch.ones(3, 1, 2)).sum().backward()
    assert torch.isfinite(neuron.raw_tau.grad)


@pytest.mark.parametrize("constraint", [Positive(), TimeConstant(0.5)])
def test_constraints_are_inverted_by_their_raw_value(constraint: Positive | TimeConstant) -> None:
    value = torch.tensor([0.6, 1.0, 30.0], dtype=torch.float64)
    assert torch.allclose(constraint.value(constraint.raw(value)), value, rtol=1e-14)
    far = constraint.value(torch.tensor([-20.0, 20.0], dtype=torch.float64))
    assert constraint.holds(far).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_storage_only(dtype: torch.dtype) -> None:
    x = (torch.randn(8, 2, 50) + 0.5).to(dtype)
    spikes, state = LIF(tau=3.0).run(x)
    exact, exact_state = LIF(tau=3.0).run(x.float())
    assert spikes.dtype == dtype
    assert state.v.dtype == torch.float32
    assert torch.equal(spikes.float(), exact)
    assert torch.equal(state.v, exact_state.v)


def test_inputs_of_a_step_are_single_precision() -> None:
    class Doubled(LIF):
        def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
            return super().step(state, Named(x=inputs.x * 1.001), p)

    x = (torch.randn(8, 2, 50) + 0.5).bfloat16()
    assert torch.equal(Doubled().run(x)[1].v, Doubled().run(x.float())[1].v)


def test_a_module_in_half_precision_maps_its_parameters_in_single() -> None:
    neuron = LIF(tau=20.0, learnable=("tau",)).bfloat16()
    p = neuron.values(torch.zeros(1, 1))
    raw = neuron.raw_tau.detach().float()
    assert p.tau.dtype == torch.float32
    assert torch.equal(p.tau, 1.0 / torch.sigmoid(raw))


def test_without_gradients_memory_does_not_grow_with_steps() -> None:
    """Each step's temporaries are gone when the next one runs."""
    import gc
    import weakref

    alive: list[weakref.ref[Tensor]] = []
    most = 0

    class Watched(LIF):
        def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
            nonlocal most
            new, s = super().step(state, inputs, p)
            alive.append(weakref.ref(new.v))
            most = max(most, sum(ref() is not None for ref in alive))
            return new, s

    gc.disable()
    try:
        with torch.no_grad():
            Watched()(torch.rand(50, 1, 2))
    finally:
        gc.enable()
    assert most <= 2


def test_inputs_are_never_changed() -> None:
    x = torch.rand(4, 2, 3)
    before = x.clone()
    first = IF()(x)
    assert torch.equal(x, before)
    assert torch.equal(IF()(x), first)


def test_repr_shows_what_is_learned() -> None:
    neuron = LIF(tau=torch.tensor([2.0, 3.0]), learnable=("v_threshold",))
    assert "tau=[2]" in repr(neuron)
    assert "v_threshold=1 (learnable)" in repr(neuron)
    assert "v_threshold=[] (learnable)" in repr(neuron.to("meta"))
