"""The twenty kinds of firing, the cortical cells, and the scheme of 2003."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.neurons import Izhikevich

Current = Callable[[Tensor], Tensor]


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


@pytest.mark.parametrize("name", TYPES)
def test_kind_of_firing_has_its_spikes_at_their_times(name: str) -> None:
    (a, b, c, d, v0), dt, length, current, others, (count, first, last) = TYPES[name]
    t = torch.arange(round(length / dt) + 1, dtype=torch.float64) * dt
    neuron = Izhikevich(a, b, c, d, v_initial=v0, scheme="euler", dt=dt, **others)
    times = t[neuron(current(t).view(-1, 1, 1)).flatten().bool()]
    assert len(times) == count
    assert times[0].item() == pytest.approx(first, abs=1.001 * dt)
    assert times[-1].item() == pytest.approx(last, abs=1.001 * dt)


def test_all_twenty_kinds_are_here() -> None:
    assert [name[0] for name in TYPES] == list("ABCDEFGHIJKLMNOPQRST")


CORTICAL = {
    "RS": (0.02, 0.2, -65.0, 8.0),
    "IB": (0.02, 0.2, -55.0, 4.0),
    "CH": (0.02, 0.2, -50.0, 2.0),
    "FS": (0.1, 0.2, -65.0, 2.0),
    "LTS": (0.02, 0.25, -65.0, 2.0),
    "TC": (0.02, 0.25, -65.0, 0.05),
    "RZ": (0.1, 0.26, -65.0, 2.0),
}


@pytest.mark.parametrize("name", CORTICAL)
def test_half_steps_are_the_loop_of_2003(name: str) -> None:
    """The published loop resets at the start of the next step; the spikes are the same."""
    a, b, c, d = CORTICAL[name]
    v, u, expected = -65.0, b * -65.0, []
    for t in range(400):
        if v >= 30.0:
            expected.append(t - 1)
            v, u = c, u + d
        v = v + (0.04 * v * v + 5.0 * v + 140.0 - u + 10.0) * 0.5
        v = v + (0.04 * v * v + 5.0 * v + 140.0 - u + 10.0) * 0.5
        u = u + a * (b * v - u)
    spikes = Izhikevich(a, b, c, d)(torch.full((400, 1, 1), 10.0, dtype=torch.float64)).flatten()
    times = spikes.nonzero().flatten().tolist()
    assert len(expected) > 5
    assert times == expected


def test_fast_spiking_cells_outpace_regular_ones_and_chattering_ones_burst() -> None:
    x = torch.full((500, 1, 1), 10.0, dtype=torch.float64)
    rs, fs, ch = (Izhikevich(*CORTICAL[k])(x).flatten() for k in ("RS", "FS", "CH"))
    assert fs.sum() > 3 * rs.sum()
    gaps = ch.nonzero().flatten().diff()
    assert gaps.min() * 5 < gaps.max()


def test_neurons_of_several_kinds_share_a_layer() -> None:
    kinds = torch.tensor(list(CORTICAL.values()), dtype=torch.float64)
    a, b, c, d = kinds.T
    x = torch.full((300, 2, 7), 10.0, dtype=torch.float64)
    together = Izhikevich(a, b, c, d)(x)
    for n, values in enumerate(CORTICAL.values()):
        alone = Izhikevich(*values)(x[:, :1, :1])
        assert torch.equal(together[:, :1, n : n + 1], alone)


def test_starts_where_it_is_told() -> None:
    like = torch.zeros(1, 1, dtype=torch.float64)
    assert dict(Izhikevich(v_initial=-70.0).initial_state(like)) == {"v": -70.0, "u": -14.0}
    assert Izhikevich(u_initial=-16.0).initial_state(like).u.item() == -16.0


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(UserError, match="scheme must be 'half_steps' or 'euler', got 'rk4'"):
        Izhikevich(scheme="rk4")
