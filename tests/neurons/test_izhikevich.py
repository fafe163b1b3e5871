"""The cortical cells and the scheme of 2003."""

import pytest
import torch

from spikesim.errors import UserError
from spikesim.neurons import Izhikevich

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


@pytest.mark.parametrize("wrong", [0.04, (0.04, 5.0)])
def test_a_polynomial_has_three_coefficients(wrong: object) -> None:
    with pytest.raises(UserError, match="quadratic must be three numbers"):
        Izhikevich(quadratic=wrong)  # type: ignore[arg-type]
