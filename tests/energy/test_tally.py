"""What enters a layer, counted: against Python's own loop over the values."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikesim.energy.tally import tally, tally_torch
from spikesim.errors import UserError

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
WHOLES = (torch.bool, torch.uint8, torch.int8, torch.int32, torch.int64)
ODD = (0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 1e-7, math.nan, math.inf, -math.inf, 300.0)


def by_hand(x: Tensor, fan_out: Tensor, groups: int) -> list[list[float]]:
    """One value after the other, in Python."""
    values, fans = x.flatten().tolist(), fan_out.flatten().tolist()
    size = len(values) // groups
    sums = []
    for group in range(groups):
        part = values[group * size : (group + 1) * size]
        active = [(v, fans[i % len(fans)]) for i, v in enumerate(part) if v != 0]
        sums.append(
            [
                float(len(active)),
                float(sum(fan for _, fan in active)),
                float(sum(v != 1 for v, _ in active)),
                float(sum(not math.isfinite(v) or v != int(v) for v, _ in active)),
                float(sum(abs(v) for v, _ in active)),
            ]
        )
    return sums


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, Tensor, int]:
    groups, rows = draw(st.integers(1, 4)), draw(st.integers(0, 5))
    features = draw(st.lists(st.integers(1, 5), max_size=3))
    dtype = draw(st.sampled_from((*FLOATS, *WHOLES)))
    size = groups * rows * math.prod(features)
    if dtype.is_floating_point:
        values = draw(st.lists(st.sampled_from(ODD), min_size=size, max_size=size))
    else:
        values = draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    shape = (groups * rows, *features) if draw(st.booleans()) else (groups, rows, *features)
    x = torch.tensor(values).to(dtype).reshape(shape)
    fan_out = torch.randint(0, 1000, features).double()
    return x, fan_out, groups


@given(cases())
@settings(max_examples=60, deadline=None)
def test_equals_a_loop_over_the_values(case: tuple[Tensor, Tensor, int]) -> None:
    """Both the compiled loop and the reference of it."""
    x, fan_out, groups = case
    sums = tally(x, fan_out, groups)
    assert (sums.dtype, tuple(sums.shape)) == (torch.float64, (groups, 5))
    want = torch.tensor(by_hand(x, fan_out, groups), dtype=torch.float64)
    lines = x.reshape(groups, -1, fan_out.numel()), fan_out.flatten()
    for found in (sums, tally_torch(*lines)):
        torch.testing.assert_close(found, want, rtol=1e-12, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", FLOATS)
def test_layouts_in_memory(dtype: torch.dtype) -> None:
    x = (torch.rand(6, 5, 4, 3) * 3).to(dtype) * (torch.rand(6, 5, 4, 3) < 0.4)
    fan_out = torch.randint(0, 9, (5, 4, 3)).float()
    want = by_hand(x, fan_out, 3)
    layouts = [
        x.contiguous(memory_format=torch.channels_last),
        x.permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0),
        torch.nn.functional.pad(x, (1, 1))[..., 1:-1],
        torch.cat([x, x])[:6],
    ]
    for layout in layouts:
        assert tally(layout, fan_out, 3)[:, :4].tolist() == [sums[:4] for sums in want]
        plain = tally(x.contiguous(), None, 3)
        torch.testing.assert_close(tally(layout, None, 3), plain, rtol=1e-12, atol=0)
    last = fan_out.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert tally(x, last, 3).tolist() == tally(x, fan_out, 3).tolist()
    one = x[:1].expand(6, -1, -1, -1)
    assert tally(one, fan_out, 3).tolist() == tally(one.clone(), fan_out, 3).tolist()


def test_groups_within_the_first_dimension() -> None:
    x = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]]).T[None]  # [1, 3, 2], outermost last
    assert tally(x, None, 3)[:, 0].tolist() == [2, 1, 2]


def test_large_sums_are_exact() -> None:
    x = torch.ones(3, 2**14 + 1, dtype=torch.bool)
    fan_out = torch.full((2**14 + 1,), 2.0**30 + 1, dtype=torch.float64)
    ones = 3 * (2**14 + 1)
    assert tally(x, fan_out).tolist() == [[ones, ones * (2**30 + 1), 0, 0, ones]]


def test_one_fan_out_for_all() -> None:
    x = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    assert tally(x, torch.tensor(7.0), 2).tolist() == [[1, 7, 0, 0, 1], [2, 14, 0, 0, 2]]
    assert tally(x, None, 2).tolist() == [[1, 1, 0, 0, 1], [2, 2, 0, 0, 2]]


def test_needs_no_gradient() -> None:
    x = torch.ones(2, 3, requires_grad=True)
    assert not tally(x, torch.ones(3, requires_grad=True)).requires_grad


@pytest.mark.parametrize(
    ("x", "features", "groups", "message"),
    [
        (torch.ones(4, 3), 2, 4, r"\(4, 3\) needs groups x rows x \(2,\), got 4 groups"),
        (torch.ones(4, 3), 3, 3, "3 groups"),
        (torch.ones(4, 3), 3, 0, "0 groups"),
        (torch.ones(4, 3), 0, 1, r"\(0,\)"),
        (torch.ones(4, 3, dtype=torch.complex64), 3, 1, "complex"),
    ],
)
def test_what_cannot_be_tallied(x: Tensor, features: int, groups: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tally(x, torch.ones(features), groups)
