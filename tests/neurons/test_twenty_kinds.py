"""The twenty kinds of firing: their spikes, and what makes each the kind it is.

Izhikevich (2004), *Which model to use for cortical spiking neurons?*, figure 1.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from spikesim.network import Network
from spikesim.neurons import Izhikevich

Current = Callable[[Tensor], Tensor]
Array = np.ndarray


def pulse(height: float, *between: tuple[float, float], base: float = 0.0) -> Current:
    def current(t: Tensor) -> Tensor:
        on = sum(((t > start) & (t < stop)).double() for start, stop in between)
        return base + (height - base) * on

    return current


def after(start: float, height: float) -> Current:
    return lambda t: height * (t > start).double()


def ramp(start: float, slope: float, base: float = 0.0) -> Current:
    return lambda t: base + slope * (t - start).clamp(min=0.0)


def accommodation(t: Tensor) -> Tensor:
    slow = (t / 25.0) * (t < 200.0)
    return slow + (t - 300.0) / 12.5 * 4.0 * ((t >= 300.0) & (t < 312.5))


def inhibition(t: Tensor) -> Tensor:
    return 80.0 - 5.0 * ((t >= 50.0) & (t <= 250.0))


CLASS_1 = {"quadratic": (0.04, 4.1, 108.0)}
ACCOMMODATION = {"u_reference": -65.0, "u_decay": 0.0, "u_initial": -16.0}
TWICE = [(40, 44), (60, 64), (280, 284), (320, 324)]
FOUR = [(9.09, 11.09), (14.09, 16.09), (70, 72), (80, 82)]
# name: (a, b, c, d, v0), dt, length, current, other parameters, (spikes, first, last)
TYPES = {
    "A tonic spiking": ((0.02, 0.2, -65, 6, -70), 0.25, 100, after(10, 14.0), {}, (5, 13, 86.75)),
    "B phasic spiking": (
        (0.02, 0.25, -65, 6, -64), 0.25, 200, after(20, 0.5), {}, (1, 43.75, 43.75),
    ),
    "C tonic bursting": (
        (0.02, 0.2, -50, 2, -70), 0.25, 220, after(22, 15.0), {}, (28, 25, 204.5),
    ),
    "D phasic bursting": (
        (0.02, 0.25, -55, 0.05, -64), 0.2, 200, after(20, 0.6), {}, (6, 39, 67.2),
    ),
    "E mixed mode": ((0.02, 0.2, -55, 4, -70), 0.25, 160, after(16, 10.0), {}, (6, 20, 131.5)),
    "F adaptation": ((0.01, 0.2, -65, 8, -70), 0.25, 85, after(8.5, 30.0), {}, (6, 10.25, 71.5)),
    "G class 1": (
        (0.02, -0.1, -55, 6, -60), 0.25, 300, ramp(30, 0.075), CLASS_1, (10, 84.5, 290.5),
    ),
    "H class 2": (
        (0.2, 0.26, -65, 0, -64), 0.25, 300, ramp(30, 0.015, -0.5), {}, (14, 105.75, 293),
    ),
    "I latency": (
        (0.02, 0.2, -65, 6, -70), 0.2, 100, pulse(7.04, (10, 13)), {}, (1, 26.6, 26.6),
    ),
    "J subthreshold oscillation": (
        (0.05, 0.26, -60, 0, -62), 0.25, 200, pulse(2.0, (20, 25)), {}, (1, 26.5, 26.5),
    ),
    "K resonator": ((0.1, 0.26, -60, -1, -62), 0.25, 400, pulse(0.65, *TWICE), {}, (1, 338, 338)),
    "L integrator": (
        (0.02, -0.1, -55, 6, -60), 0.25, 100, pulse(9.0, *FOUR), CLASS_1, (1, 20, 20),
    ),
    "M rebound spike": (
        (0.03, 0.25, -60, 4, -64), 0.2, 200, pulse(-15.0, (20, 25)), {}, (1, 68, 68),
    ),
    "N rebound burst": (
        (0.03, 0.25, -52, 0, -64), 0.2, 200, pulse(-15.0, (20, 25)), {}, (7, 68, 92.2),
    ),
    "O threshold variability": (
        (0.03, 0.25, -60, 4, -64), 0.25, 100,
        lambda t: pulse(1.0, (10, 15), (80, 85))(t) + pulse(-6.0, (70, 75))(t),
        {}, (1, 93.25, 93.25),
    ),
    "P bistability": (
        (0.1, 0.26, -60, 0, -61), 0.25, 300,
        pulse(1.24, (37.5, 42.5), (216, 221), base=0.24), {}, (5, 45.25, 208),
    ),
    "Q afterpotential": (
        (1, 0.2, -60, -21, -70), 0.1, 50, lambda t: 20.0 * ((t - 10).abs() < 1).double(),
        {}, (1, 11.3, 11.3),
    ),
    "R accommodation": (
        (0.02, 1, -55, 4, -65), 0.5, 400, accommodation, ACCOMMODATION, (1, 311.5, 311.5),
    ),
    "S inhibition-induced spiking": (
        (-0.02, -1, -60, 8, -63.8), 0.5, 350, inhibition, {}, (3, 94.5, 236),
    ),
    "T inhibition-induced bursting": (
        (-0.026, -1, -45, -2, -63.8), 0.5, 350, inhibition, {}, (12, 86.5, 204),
    ),
}  # fmt: skip


def neuron_of(name: str) -> Izhikevich:
    (a, b, c, d, v0), dt, _, _, others, _ = TYPES[name]
    return Izhikevich(a, b, c, d, v_initial=v0, scheme="euler", dt=dt, **others)


def current_of(name: str) -> Tensor:
    """``[steps]``; whole multiples of 2**-20, which fixed point holds exactly."""
    _, dt, length, current, *_ = TYPES[name]
    x = current(torch.arange(round(length / dt) + 1, dtype=torch.float64) * dt)
    return (x * 2.0**20).round() / 2.0**20


def plain_loop(name: str) -> list[int]:
    """Steps that end in a spike, by the loop of the published protocol."""
    (a, b, c, d, v), dt, _, _, others, _ = TYPES[name]
    e, f, g = others.get("quadratic", (0.04, 5.0, 140.0))
    reference, decay = others.get("u_reference", 0.0), others.get("u_decay", 1.0)
    u, found = others.get("u_initial", b * v), []
    for step, current in enumerate(current_of(name).tolist()):
        v = v + (e * v * v + f * v + g - u + current) * dt
        u = u + a * (b * (v - reference) - decay * u) * dt
        if v >= 30.0:
            v, u = c, u + d
            found.append(step)
    return found


@pytest.mark.parametrize("name", TYPES)
def test_kind_of_firing_has_its_spikes_at_their_times(name: str) -> None:
    _, dt, _, _, _, (count, first, last) = TYPES[name]
    steps = neuron_of(name)(current_of(name).view(-1, 1, 1)).flatten().nonzero().flatten()
    times = steps.double() * dt
    assert len(times) == count
    assert times[0].item() == pytest.approx(first, abs=1.001 * dt)
    assert times[-1].item() == pytest.approx(last, abs=1.001 * dt)
    assert steps.tolist() == plain_loop(name)


@pytest.mark.parametrize("name", TYPES)
def test_kind_of_firing_is_the_same_in_a_network(name: str) -> None:
    current, dt = current_of(name).numpy(), TYPES[name][1]
    net = Network(dt=dt, dtype="float64")
    cells = net.population(neuron_of(name), 3)
    net.current(cells, lambda ms: current[round(ms / dt)], largest=float(np.abs(current).max()))
    probe = net.probe(cells, "spikes")
    net.run(len(current) * dt)
    assert [probe.steps[probe.senders == i].tolist() for i in range(3)] == [plain_loop(name)] * 3


def test_all_twenty_kinds_are_here() -> None:
    assert [name[0] for name in TYPES] == list("ABCDEFGHIJKLMNOPQRST")


def bursts(times: Array, gap: float = 15.0) -> list[Array]:
    """Spikes, parted where more than ``gap`` ms pass."""
    return np.split(times, np.flatnonzero(np.diff(times) > gap) + 1)


def within(times: Array, start: float, stop: float) -> bool:
    return len(times) > 0 and bool(((times > start) & (times < stop)).all())


KINDS: dict[str, Callable[[Array, Array], bool]] = {
    # Spikes that go on at a rate of their own.
    "A": lambda t, gap: len(t) > 4 and abs(gap[-1] / gap[-2] - 1) < 0.05,
    # One spike, or one burst, at the onset of a current that stays.
    "B": lambda t, gap: len(t) == 1 and t[0] < 60,
    "C": lambda t, gap: len(bursts(t)) >= 3 and min(map(len, bursts(t))) >= 5,
    "D": lambda t, gap: len(bursts(t)) == 1 and len(t) >= 5 and t[-1] < 100,
    # A burst, then single spikes.
    "E": lambda t, gap: [len(b) for b in bursts(t)] == [3, 1, 1, 1],
    "F": lambda t, gap: bool((np.diff(gap) > 0).all()) and gap[-1] > 5 * gap[0],
    # A ramp: the rate rises from low values, or begins high.
    "G": lambda t, gap: bool((np.diff(gap) < 0).all()) and gap[0] > 2.5 * gap[-1],
    "H": lambda t, gap: bool((np.diff(gap) <= 0).all()) and gap[0] < 2.0 * gap[-1],
    # The pulse ends at 13 ms.
    "I": lambda t, gap: within(t, 23, 30),
    "J": lambda t, gap: within(t, 25, 30),
    # Two pulses fire it at its own period, 40 ms, not at 20 ms ...
    "K": lambda t, gap: within(t, 320, 340),
    # ... or near to each other, at 5 ms, not at 10 ms.
    "L": lambda t, gap: within(t, 14.09, 25),
    # Inhibition ends at 25 ms, and there is no excitation.
    "M": lambda t, gap: len(t) == 1 and t[0] > 25,
    "N": lambda t, gap: len(bursts(t)) == 1 and len(t) >= 5 and t[0] > 25,
    # Of two equal pulses, the one after inhibition.
    "O": lambda t, gap: within(t, 80, 100),
    # One pulse starts it, an equal one stops it.
    "P": lambda t, gap: within(t, 37.5, 221) and len(t) >= 4 and np.ptp(gap) < 1,
    "Q": lambda t, gap: within(t, 9, 12),
    # The steep ramp, though the slow one reached twice as far.
    "R": lambda t, gap: within(t, 300, 320),
    # While the current is less.
    "S": lambda t, gap: within(t, 50, 250) and min(map(len, bursts(t))) == 1 and len(t) >= 3,
    "T": lambda t, gap: within(t, 50, 250) and len(bursts(t)) == 2 and min(gap) < 5,
}


@pytest.mark.parametrize("name", TYPES)
def test_kind_of_firing_is_what_its_name_says(name: str) -> None:
    times = np.array(plain_loop(name)) * TYPES[name][1]
    assert KINDS[name[0]](times, np.diff(times)), times


def test_membrane_after_the_spike_swings_or_stays_up() -> None:
    def after_spike(name: str) -> Array:
        rows = neuron_of(name).trace(current_of(name).view(-1, 1, 1))
        last = int(rows["output"].flatten().nonzero()[-1])
        return rows["v"].flatten().numpy()[last + 1 :]

    swings = after_spike("J subthreshold oscillation")
    around = np.sign(swings - swings[-100:].mean())
    assert np.count_nonzero(np.diff(around)) >= 4
    afterpotential = after_spike("Q afterpotential")
    assert afterpotential.max() > afterpotential[-1] + 2.0
