"""Exact spike times and their gradients, against closed forms, differences and an ODE solver."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.eventprop import EventLIF, EventReadout, Spikes, cuba_lif

STEP = 1e-5  # ms and thresholds: rounding of a central difference is 1e-11 then, its bias 1e-9
DIFFERENCE = 1e-6  # of the largest gradient


def differences(function: Callable[..., Tensor], arguments: list[Tensor]) -> list[Tensor]:
    """Central ones of a function of float64 tensors."""
    found = []
    for place, argument in enumerate(arguments):
        gradient = torch.empty_like(argument)
        for index in np.ndindex(*argument.shape):
            values = []
            for step in (STEP, -STEP):
                moved = [a.detach().clone() for a in arguments]
                moved[place][index] += step
                values.append(function(*moved))
            gradient[index] = (values[0] - values[1]) / (2 * STEP)
        found.append(gradient)
    return found


def assert_close(got: Tensor, expected: Tensor, tolerance: float = DIFFERENCE) -> None:
    assert float((got - expected).abs().max()) <= tolerance * float(expected.abs().max())


def first_spike(arrivals: Tensor, weights: Tensor, tau_s: float = 10.0) -> Tensor:
    """The first time after all arrivals, for ``tau_m = 2 tau_s`` and threshold 1: a quadratic.

    With x = exp(-t / tau_m), V is ``a x - b x**2``.
    """
    a = (weights * torch.exp(arrivals / (2 * tau_s))).sum()
    b = (weights * torch.exp(arrivals / tau_s)).sum()
    return -2 * tau_s * torch.log((a + torch.sqrt(a * a - 4 * b)) / (2 * b))


def chain(times: Tensor, w: Tensor, d: Tensor) -> Tensor:
    """Two inputs, a neuron, and one that it reaches: the time of the latter's first spike."""
    hidden = first_spike(times + d[:2], w[:2])
    return first_spike(hidden[None] + d[2:], w[2:])


def test_two_neurons_agree_with_differences_of_the_closed_form() -> None:
    given = [torch.tensor(values, dtype=torch.float64)
             for values in ([1.0, 2.5], [3.0, 2.5, 4.9], [2.0, 0.3, 5.0])]  # fmt: skip
    times, w, d = (value.clone().requires_grad_() for value in given)
    spikes = Spikes(times, torch.tensor([0, 1]), torch.tensor([0, 2]), 2, 50.0)
    hidden = cuba_lif(spikes, w[None, :2], d[None, :2], tau_s=10.0)
    last = cuba_lif(hidden, w[2:, None], d[2:, None], tau_s=10.0)
    # A current of less than 4 is left after a spike, too little for a second one.
    assert (len(hidden.times), len(last.times)) == (1, 1)
    assert last.times.item() == pytest.approx(float(chain(*given)), abs=1e-12)
    last.times.sum().backward()
    for got, expected in zip((times, w, d), differences(chain, given), strict=True):
        assert_close(got.grad, expected)


@pytest.mark.parametrize("tau_s", [5.0, 20.0, 30.0])
def test_recurrent_layer_agrees_with_differences(make_case: Callable, tau_s: float) -> None:
    """All of it: several spikes of a neuron, feedback, any order of time constants."""
    case = make_case(2, inputs=2, outputs=3)
    leaves = case.leaves()
    leaves[4].data += 1e-3  # room for differences of delays of 0
    spikes = case.run(*leaves, tau_s=tau_s)
    assert int(spikes.counts().max()) >= 3
    factors = torch.from_numpy(np.random.default_rng(1).normal(size=len(spikes.times)))

    def loss(*arguments: Tensor) -> Tensor:
        moved = case.run(*arguments, tau_s=tau_s)
        assert torch.equal(moved.neurons, spikes.neurons)
        return (factors * moved.times).sum()

    (factors * spikes.times).sum().backward()
    for leaf, expected in zip(leaves, differences(loss, leaves), strict=True):
        assert_close(leaf.grad, expected)


def integrated(case, tau_m: float = 20.0, tau_s: float = 5.0) -> tuple[list[float], list[int]]:
    """Spikes of the first sample by a general solver of differential equations."""
    solve = pytest.importorskip("scipy.integrate", reason="the test needs scipy's solver").solve_ivp
    times, w, d, own_w, own_d = (argument.numpy() for argument in case.arguments)
    n, spikes = len(w), case.spikes
    due = [(times[k] + d[j, spikes.neurons[k]], j, w[j, spikes.neurons[k]])
           for k in range(int(spikes.offsets[1])) for j in range(n)]  # fmt: skip
    state, now, found = np.zeros(2 * n), 0.0, ([], [])
    crossings = [lambda t, y, j=j: y[j] - 1.0 for j in range(n)]
    for crossing in crossings:
        crossing.terminal, crossing.direction = True, 1

    def slopes(_: float, y: np.ndarray) -> np.ndarray:
        return np.concatenate(((y[n:] - y[:n]) / tau_m, -y[n:] / tau_s))

    while now < spikes.duration:
        due.sort()
        end = min(due[0][0] if due else np.inf, spikes.duration)
        if end > now:
            part = solve(
                slopes, (now, end), state, "DOP853", events=crossings, rtol=1e-11, atol=1e-12
            )
            state, now = part.y[:, -1].copy(), part.t[-1]
            if part.status == 1:
                (j,) = (j for j in range(n) if len(part.t_events[j]))
                state[j] = 0.0
                found[0].append(now)
                found[1].append(j)
                due += [(now + own_d[m, j], m, own_w[m, j]) for m in range(n)]
                continue
        while due and due[0][0] <= now:
            _, j, weight = due.pop(0)
            state[n + j] += weight
    return found


def test_spikes_are_those_of_an_ode_solver(make_case: Callable) -> None:
    case = make_case(1, outputs=3)
    times, neurons = integrated(case)
    spikes = case.run()
    assert spikes.neurons.tolist() == neurons
    assert len(times) > 8
    np.testing.assert_allclose(spikes.times, times, atol=1e-7)


@pytest.mark.parametrize("dt", [None, 0.5])
def test_delay_moves_from_one_layer_to_the_next(dt: float | None) -> None:
    """The spikes between them shift; what comes out, and a loss of it, stay."""
    layers = [EventLIF(3, 6, weight=(1.5, 0.5), delay=(2.0, 8.0), dt=dt),
              EventLIF(6, 4, weight=(1.2, 0.5), delay=(4.0, 9.0), dt=dt)]  # fmt: skip
    layers[1].delay.data[0, 0] = 4.0
    readout = EventReadout(4, 2)
    random = np.random.default_rng(0)
    given = (np.round(random.uniform(0, 20, 20)), random.integers(0, 3, 20))
    spikes = Spikes.of([given], size=3, duration=120.0)
    between = layers[0](spikes)
    last = layers[1](between)
    assert len(last.times) > 4
    layers[0].delay.data += 4.0
    layers[1].delay.data -= 4.0
    # float32 delays in ms, which 4 ms more rounds in the last bit
    torch.testing.assert_close(layers[0](spikes).times, between.times + 4.0, rtol=0, atol=1e-5)
    moved = layers[1](layers[0](spikes))
    assert torch.equal(moved.neurons, last.neurons)
    torch.testing.assert_close(moved.times, last.times, rtol=0, atol=1e-5)
    torch.testing.assert_close(readout(moved), readout(last), rtol=1e-5, atol=0)


def one(weight: float, own: Tensor | None = None, **constants: float) -> tuple[Spikes, Tensor]:
    """A neuron with an input spike at 1 ms."""
    w = torch.tensor([[weight]], dtype=torch.float64, requires_grad=True)
    spikes = Spikes.of([([1.0], [0])], size=1, duration=100.0)
    return cuba_lif(spikes, w, torch.zeros(1, 1), **constants), w


def test_no_gradient_where_the_membrane_only_touches() -> None:
    """For tau_m = 2 tau_s, V peaks at a quarter of the weight."""
    low, high = 3.9, 4.1
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (low, middle) if len(one(middle, tau_s=10.0)[0].times) else (middle, high)
    assert high == pytest.approx(4.0, abs=1e-14)
    spikes, _ = one(high, tau_s=10.0)
    assert spikes.times.item() == pytest.approx(1.0 + 20.0 * np.log(2.0), abs=1e-6)
    with pytest.raises(UserError, match=r"neuron 0 of sample 0 touches its threshold at 14\.86"):
        spikes.times.sum().backward()
    spikes, w = one(4.0 + 1e-6, tau_s=10.0)
    spikes.times.sum().backward()
    # t = -20 log((1 + sqrt(1 - 4 / w)) / 2) + 1, whose slope is infinite at 4
    root = np.sqrt(1 - 4 / (4.0 + 1e-6))
    assert float(w.grad) == pytest.approx(-20 / (1 + root) * 2 / (4.0 + 1e-6) ** 2 / root, rel=1e-6)


@pytest.mark.parametrize("dt", [None, 0.1])
def test_silence_has_gradients_of_zero(make_case: Callable, dt: float | None) -> None:
    case = make_case(2)
    leaves = case.leaves()
    leaves[1].data *= 0.01
    spikes = case.run(*leaves, dt=dt)
    assert spikes.counts().tolist() == [[0] * 5] * 2
    spikes.times.sum().backward()
    assert all(float(leaf.grad.abs().max()) == 0.0 for leaf in leaves)
    none = Spikes.of([([], []), ([], [])], size=4, duration=10.0)
    assert cuba_lif(none, *leaves[1:], dt=dt).batch == 2


def test_spikes_that_run_away_are_an_error_and_no_endless_loop() -> None:
    spikes = Spikes.of([([], []), ([1.0], [0])], size=1, duration=50.0)
    own = torch.full((3, 3), 5.0), torch.zeros(3, 3)
    with pytest.raises(UserError, match="spikes of sample 1 run away"):
        cuba_lif(spikes, torch.full((3, 1), 50.0), torch.zeros(3, 1), *own)


@pytest.mark.parametrize("dt", [None, 0.5])
def test_gradients_are_those_of_the_weights_that_were(dt: float | None) -> None:
    found = []
    for later in (8.0, 3.0):
        w, d = torch.tensor([[8.0]]).double(), torch.ones(1, 1).double().requires_grad_()
        spikes = cuba_lif(Spikes.of([([1.0], [0])], size=1, duration=50.0), w, d, dt=dt)
        w.fill_(later)
        spikes.times.sum().backward()
        found.append(d.grad)
    assert torch.equal(*found)


def test_spikes_after_the_end_are_left_out() -> None:
    whole, _ = one(9.0)
    assert len(whole.times) == 1
    cut = Spikes.of([([1.0], [0])], size=1, duration=whole.times.item() - 1e-9)
    assert len(cuba_lif(cut, torch.tensor([[9.0]]), torch.zeros(1, 1)).times) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"delay": torch.tensor([[-0.5]])}, "delays must be >= 0 ms, got -0.5 in delay"),
        ({"own_delay": torch.tensor([[-1.0]])}, "got -1 in own_delay"),
        ({"delay": torch.zeros(2, 1)}, r"delay is \[2, 1\]; expected \[1, 1\]"),
        ({"weight": torch.tensor([[torch.nan]])}, "weight holds values that are not finite"),
        ({"weight": torch.ones(1, 1, device="meta")}, "run on the CPU, got weight on meta"),
        ({"tau_s": 0.0}, "tau_s must be finite and > 0, got 0"),
        ({"tau_m": np.inf}, "tau_m must be finite and > 0, got inf"),
        ({"own_delay": None}, "own_weight and own_delay go together"),
        ({"dt": -1.0}, "dt must be finite and > 0, got -1"),
    ],
)
def test_errors_name_the_value(change: dict, message: str) -> None:
    spikes = Spikes.of([([1.0], [0])], size=1, duration=10.0)
    ones = dict.fromkeys(("weight", "delay", "own_weight", "own_delay"), torch.ones(1, 1))
    with pytest.raises(UserError, match=message):
        cuba_lif(spikes, **{**ones, **change})
