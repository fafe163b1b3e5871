"""Phase code: binary digits, the table of Kim et al. (2018), and SpikingJelly."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikesim.encoders import Phase
from spikesim.errors import UserError


@pytest.mark.parametrize("bits", [1, 3, 8, 16, 24])
def test_one_cycle_sums_to_the_floor(bits: int) -> None:
    x = torch.cat([torch.linspace(0, 1, 1001, dtype=torch.float64)[:-1], torch.rand(100).double()])
    encoder = Phase(bits, bits=bits)
    total = (encoder.weights()[:, None] * encoder(x)).sum(0)
    assert torch.equal(total, torch.floor(x * 2**bits) / 2**bits)


@given(st.floats(0, 1, width=32))
def test_cycle_is_within_one_digit_of_any_value(x: float) -> None:
    encoder = Phase(8)
    sent = (encoder.weights() * encoder(torch.tensor([x])).squeeze(1)).sum().item()
    assert sent == min(int(x * 256), 255) / 256


def test_published_table() -> None:
    # the example of Kim et al. (2018)
    x = torch.tensor([192.0, 1.0, 128.0, 255.0]) / 256
    rows = ["11000000", "00000001", "10000000", "11111111"]
    assert Phase(8)(x).T.tolist() == [[float(bit) for bit in row] for row in rows]


def test_cycle_repeats_and_may_be_cut() -> None:
    x = torch.rand(50)
    long = Phase(19)(x)
    assert torch.equal(long[8:16], long[:8])
    assert torch.equal(long[16:], long[:3])
    assert torch.equal(Phase(19).weights()[8:], Phase(19).weights()[:11])


@pytest.mark.peers
def test_equals_spikingjelly() -> None:
    encoding = pytest.importorskip(
        "spikingjelly.activation_based.encoding", reason="compares with SpikingJelly"
    )
    x = torch.arange(256).float() / 256
    theirs = encoding.WeightedPhaseEncoder(8)
    assert torch.equal(Phase(8)(x), torch.stack([theirs(x) for _ in range(8)]))


@pytest.mark.parametrize("bits", [0, 25])
def test_bad_bits_are_refused(bits: int) -> None:
    with pytest.raises(UserError, match="bits must lie in 1 to 24"):
        Phase(8, bits=bits)
