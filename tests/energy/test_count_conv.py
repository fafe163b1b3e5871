"""Operation counts of convolutions: by hand, by loops over all taps, NeuroBench."""

import itertools

import pytest
import torch
from counted import only, spikes
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from spikesim.conv import FewChannelConv2d
from spikesim.energy import count
from spikesim.layers import TimeDistributed

T, B = 3, 2


def loops(layer: nn.Module, x: Tensor, y: Tensor) -> tuple[int, int]:
    """Every tap of every output of every image, one at a time; of a transposed one, every input."""
    is_transposed = isinstance(layer, nn.ConvTranspose2d)
    (kh, kw), (sh, sw) = layer.kernel_size, layer.stride
    (ph, pw), (dh, dw) = layer.padding, layer.dilation
    outputs, inputs = layer.out_channels // layer.groups, layer.in_channels // layer.groups
    small, large = (x, y) if is_transposed else (y, x)
    dense = effective = 0
    for n, g, o, c, i, j, a, b in itertools.product(
        *map(range, (len(x), layer.groups, outputs, inputs, *small.shape[-2:], kh, kw))
    ):
        row, column = i * sh + a * dh - ph, j * sw + b * dw - pw
        if 0 <= row < large.shape[-2] and 0 <= column < large.shape[-1]:
            dense += 1
            at = (i, j) if is_transposed else (row, column)
            of = (g * inputs + c, o) if is_transposed else (g * outputs + o, c)
            active = x[(n, g * inputs + c, *at)] != 0
            effective += bool(active) and bool(layer.weight[(*of, a, b)] != 0)
    return dense, effective


@pytest.mark.parametrize(
    ("make", "channels", "kernel", "options"),
    [
        (nn.Conv2d, (2, 3), 3, {}),
        (nn.Conv2d, (2, 3), 3, {"padding": 1}),
        (nn.Conv2d, (2, 3), (1, 3), {"padding": (0, 1), "stride": (2, 1)}),
        (nn.Conv2d, (2, 2), 3, {"padding": 2, "stride": 2}),
        (nn.Conv2d, (2, 2), 2, {"padding": 1, "dilation": 3}),
        (nn.Conv2d, (4, 6), 3, {"padding": 1, "groups": 2}),
        (nn.Conv2d, (4, 4), 3, {"padding": 1, "groups": 4, "stride": 2, "bias": False}),
        (FewChannelConv2d, (2, 8), 3, {"padding": 1, "stride": 2}),
        (nn.ConvTranspose2d, (4, 6), 3, {"padding": 1, "stride": 2, "groups": 2}),
        (nn.ConvTranspose2d, (2, 3), 2, {"dilation": 2, "output_padding": 1, "stride": 2}),
    ],
    ids=str,
)
def test_conv_equals_loops(
    make: type[nn.Module], channels: tuple[int, int], kernel: int, options: dict
) -> None:
    layer = make(*channels, kernel, **options)
    layer.weight.data[torch.rand(layer.weight.shape) < 0.2] = 0
    x = spikes(T, 1, channels[0], 5, 4)
    dense, effective = loops(layer, x[:, 0], layer(x[:, 0]))
    line = only(count(nn.Sequential(TimeDistributed(layer)), x))
    assert (line.macs, line.effective_acs, line.ann_macs) == (dense, effective, dense / T)
    assert 0 < effective < dense
    assert len(line.operations_per_step) == T
    assert sum(line.operations_per_step) == effective


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(4, 9), kernel=st.integers(1, 4), stride=st.integers(1, 3),
    padding=st.integers(0, 3), dilation=st.integers(1, 2), transposed=st.booleans(),
    groups=st.integers(1, 2), seed=st.integers(0, 99),
)  # fmt: skip
def test_conv_of_odd_sizes_adds_up_as_convolution_of_ones(
    size: int, kernel: int, stride: int, padding: int, dilation: int,
    transposed: bool, groups: int, seed: int,
) -> None:  # fmt: skip
    """The same convolution of what is not zero, with ones for weights that are not."""
    padding = min(padding, kernel - 1)
    if dilation * (kernel - 1) + 1 > size:
        dilation, kernel = 1, min(kernel, size)
    make = nn.ConvTranspose1d if transposed else nn.Conv1d
    layer = make(2 * groups, 3 * groups, kernel, stride, padding, dilation=dilation, groups=groups)
    torch.manual_seed(seed)
    layer.weight.data[torch.rand(layer.weight.shape) < 0.3] = 0
    x = spikes(2, 2, 2 * groups, size)
    line = only(count(TimeDistributed(layer), x))
    layer.bias.data.zero_()
    layer.weight.data.copy_(layer.weight != 0)
    effective = layer.double()(x.flatten(0, 1).double()).detach().sum()
    layer.weight.data.fill_(1)
    dense = layer(torch.ones_like(x.flatten(0, 1)).double()).detach().sum()
    assert (2 * line.operations, 2 * line.macs) == (float(effective), float(dense))


@pytest.mark.parametrize(
    ("layer", "shape", "effective", "dense"),
    [
        (nn.Linear(30, 20), (30,), 1236, 3600),
        (nn.Conv1d(4, 6, 3, padding=1, stride=2), (4, 17), 1209, 3600),
        (nn.Conv2d(4, 8, (3, 5), (2, 1), (2, 1), (1, 2), groups=2), (4, 13, 17), 34777, 101760),
        (nn.Conv2d(6, 6, 7, padding=3, groups=6, bias=False), (6, 14, 14), 92872, 266256),
        (nn.Conv3d(2, 3, 3, padding=1, stride=2), (2, 5, 6, 7), 6990, 20160),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_counts_equal_neurobench(
    layer: nn.Module, shape: tuple[int, ...], effective: int, dense: int
) -> None:
    """Numbers that NeuroBench 2.3.0 (``single_layer_MACs``) gives for these weights and inputs."""
    layer.weight.data = (torch.arange(layer.weight.numel()) % 7).float().view_as(layer.weight)
    x = torch.zeros(T, B, *shape)
    x = (torch.arange(x.numel()) % 5 // 3).float().view_as(x)
    line = only(count(TimeDistributed(layer), x))
    assert (line.effective_acs * B, line.macs * B) == (effective, dense)


def test_conv1d_by_hand() -> None:
    """Kernel 3, padding 1, five places: an inner spike meets 3 taps, one at the border 2."""
    layer = TimeDistributed(nn.Conv1d(1, 4, 3, padding=1))
    x = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0]).view(1, 1, 1, 5)
    line = only(count(layer, x))
    assert line.macs == 4 * (2 + 3 + 3 + 3 + 2)
    assert line.effective_acs == 4 * (2 + 3)


def test_transposed_conv1d_by_hand() -> None:
    """Kernel 3, stride 2, no padding: each of two places reaches three outputs of each channel."""
    line = only(count(TimeDistributed(nn.ConvTranspose1d(1, 4, 3, 2)), torch.ones(1, 1, 1, 2)))
    assert line.macs == line.effective_acs == 4 * 2 * 3


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_with_values_is_counted(mode: str) -> None:
    """Padding that repeats real values does work: each of 5 places then meets 3 taps."""
    layer = nn.Conv1d(1, 4, 3, padding=1, padding_mode=mode)
    line = only(count(TimeDistributed(layer), torch.ones(1, 1, 1, 5)))
    assert line.macs == line.effective_acs == 4 * 5 * 3


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_zeros_that_are_padded_are_no_operation_however_they_come(kernel: int) -> None:
    """``same``, and zeros padded before: 5 places, kernel 4 loses 1 + 2 + 3 of its 20 taps, ..."""
    x = torch.ones(1, 1, 1, 5)
    lost = {2: 1, 3: 2, 4: 1 + 2 + 1}[kernel]
    same = only(count(TimeDistributed(nn.Conv1d(1, 1, kernel, padding="same")), x))
    assert same.macs == same.effective_acs == 5 * kernel - lost
    before, after = (kernel - 1) // 2, kernel // 2
    padded = nn.Sequential(nn.ConstantPad1d((before, after), 0.0), nn.Conv1d(1, 1, kernel))
    assert only(count(TimeDistributed(padded), x)).macs == same.macs
    assert same.inputs == 5


def test_same_padding_and_three_dimensions() -> None:
    layer = TimeDistributed(nn.Conv3d(1, 1, 3, padding="same"))
    line = only(count(layer, torch.ones(1, 1, 1, 2, 2, 2)))
    assert line.macs == 8 * 8  # of 27 taps, 8 fall inside a 2 x 2 x 2 cube, at each place
