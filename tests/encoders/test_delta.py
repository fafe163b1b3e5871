"""Send-on-delta: the spikes rebuild the series."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikesim.encoders import Delta, on_off
from spikesim.errors import UserError

ROUNDING = 1e-9  # of the test's own arithmetic in float64


def walk(steps: int = 400, stride: float = 1.0) -> torch.Tensor:
    return (torch.rand(steps, 3, 2, dtype=torch.float64) * 2 - 1).mul(stride).cumsum(0)


@pytest.mark.parametrize("theta", [0.3, 1.0])
def test_series_is_rebuilt_within_threshold_when_it_moves_slowly(theta: float) -> None:
    x, delta = walk(stride=theta), Delta(theta)
    spikes = delta(x)
    assert set(spikes.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert ((delta.decode(spikes, x[0]) - x).abs() < theta + ROUNDING).all()


@given(
    st.lists(st.floats(-100, 100), min_size=1, max_size=30),
    st.floats(0.01, 10),
)
def test_several_spikes_rebuild_any_series(values: list[float], theta: float) -> None:
    x = torch.tensor(values, dtype=torch.float64).unsqueeze(1)
    delta = Delta(theta, several=True)
    assert ((delta.decode(delta(x), x[0]) - x).abs() < theta * (1 + ROUNDING) + ROUNDING).all()


def test_fast_series_is_caught_up_with_one_spike_per_step() -> None:
    x = torch.tensor([0.0, 3.2, 3.2, 3.2, 3.2, 3.2]).unsqueeze(1)
    assert Delta(1.0)(x).flatten().tolist() == [0, 1, 1, 1, 0, 0]
    assert Delta(1.0, several=True)(x).flatten().tolist() == [0, 3, 0, 0, 0, 0]


def test_reference_moves_by_the_threshold_not_to_the_value() -> None:
    # after 1.9 the reference is 1, not 1.9; so 2.0 fires again
    x = torch.tensor([0.0, 1.9, 2.0]).unsqueeze(1)
    assert Delta(1.0)(x).flatten().tolist() == [0, 1, 1]


def test_constant_and_subthreshold_series_are_silent() -> None:
    x = 5.0 + 0.99 * torch.sin(torch.arange(100.0)).unsqueeze(1)
    assert (Delta(1.0)(x - x[0] + 5.0)[1:].abs().sum()) == 0
    assert Delta(0.1)(torch.full((50, 2), 7.0)).abs().sum() == 0


def test_run_in_two_parts_equals_one() -> None:
    x, delta = walk(101), Delta(0.4)
    whole, end = delta.run(x)
    first, reference = delta.run(x[:40])
    second, last = delta.run(x[40:], reference)
    assert torch.equal(whole, torch.cat([first, second]))
    assert torch.allclose(end, last, atol=ROUNDING, rtol=0)


def test_negated_series_swaps_on_and_off() -> None:
    x, delta = walk(), Delta(0.3)
    ours, mirrored = on_off(delta(x)), on_off(delta(-x))
    assert ours.shape == (400, 3, 2, 2)
    assert torch.equal(ours.flip(2), mirrored)
    assert torch.equal(ours[:, :, 1] - ours[:, :, 0], delta(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_is_kept(dtype: torch.dtype) -> None:
    x = walk().to(dtype)
    before = x.clone()
    assert Delta(0.5)(x).dtype == dtype
    assert torch.equal(Delta(0.1)(x).double(), Delta(0.1)(x.double()))
    assert torch.equal(x, before)


def test_bad_input_is_refused() -> None:
    with pytest.raises(UserError, match="threshold must be > 0, got 0"):
        Delta(0.0)
    with pytest.raises(UserError, match=r"x must be \[T, B, \.\.\.\], got shape \[4\]"):
        Delta(1.0)(torch.zeros(4))
    with pytest.raises(UserError, match="got NaN or infinite"):
        Delta(1.0)(torch.full((2, 2), float("nan")))
    with pytest.raises(UserError, match="no steps"):
        Delta(1.0)(torch.zeros(0, 2))
