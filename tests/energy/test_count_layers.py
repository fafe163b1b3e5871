"""Operation counts of one layer: against hand-computed numbers, loops over all taps, NeuroBench."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from spikesim.attention import SDSA, SSA
from spikesim.conv import FewChannelConv2d
from spikesim.delays import DelayedConv1d
from spikesim.energy import Counts, LayerCounts, count
from spikesim.layers import TimeDistributed
from spikesim.neurons.lif import LIF

T, B = 3, 2


def spikes(*shape: int, rate: float = 0.3) -> Tensor:
    return (torch.rand(shape) < rate).float()


def only(counts: Counts) -> LayerCounts:
    (layer,) = counts.layers
    assert not counts.uncovered
    return layer


def parts(counts: Counts) -> dict[str, LayerCounts]:
    assert not counts.uncovered
    return {layer.name: layer for layer in counts}


class Attend(nn.Module):
    """A product of queries, keys and values that lie in one array ``[T, B, 3, ...]``."""

    def __init__(self, product: nn.Module) -> None:
        super().__init__()
        self.product = product

    def forward(self, qkv: Tensor) -> Tensor:
        q, k, v = qkv.unbind(2)
        return self.product(q, k, v)


def test_linear_by_hand() -> None:
    """Three inputs, two outputs, one weight pruned: input 0 meets 2 weights, input 2 only 1."""
    layer = nn.Linear(3, 2)
    layer.weight.data = torch.tensor([[1.0, -2.0, 0.0], [0.5, 3.0, 4.0]])
    x = torch.tensor([[[1.0, 0.0, 1.0]], [[0.0, 0.0, 1.0]]])  # two steps, one sample
    line = only(count(layer, x))
    assert (line.macs, line.effective_acs, line.effective_macs) == (12, 4, 0)
    assert (line.ann_macs, line.spikes, line.rate, line.values) == (6, 3, 0.5, "binary")
    assert (line.spikes_per_step, line.operations_per_step) == ((2, 1), (3, 1))
    assert (line.weights, line.nonzero_weights, line.biases) == (6, 5, 2)
    assert (line.inputs, line.outputs, line.weight_reads, line.passes) == (6, 4, 4, 2)
    line = only(count(layer, 0.25 * x))
    assert (line.macs, line.effective_acs, line.effective_macs, line.values) == (12, 0, 4, "real")
    assert only(count(layer, 2 * x)).values == "integer"


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


def test_sparse_weights_and_weights_made_of_parameters() -> None:
    """A matrix kept sparse, one that is masked, one that is a sum: weights, all of them."""

    class Made(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Parameter(torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0]]))
            self.register_buffer("mask", torch.tensor([[1.0, 1.0, 0.0]]))
            self.register_buffer("kept", self.a.detach().to_sparse())

        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(0, 1)
            return F.linear(x, self.a * self.mask) + (self.kept @ x.mT).mT + x @ (2 * self.a).mT

    counts = parts(count(Made(), torch.ones(1, 1, 3)))
    products = [line for line in counts.values() if line.kind == "linear"]
    assert [line.effective_acs for line in products] == [1, 3, 3]
    assert {line.macs for line in products} == {6}
    assert [line.nonzero_weights for line in products] == [1, 3, 3]


@pytest.mark.parametrize(("tokens", "channels"), [(3, 5), (6, 2)])
def test_ssa_equals_loops_in_the_order_that_runs(tokens: int, channels: int) -> None:
    qkv = spikes(T, 1, 3, 2, tokens, channels, rate=0.5)  # two heads
    N, D = range(tokens), range(channels)
    first = second = 0
    for q, k, v in (tuple(head) for step in qkv[:, 0] for head in step.transpose(0, 1)):
        if tokens <= channels:
            scores = q @ k.T
            first += sum(bool(q[i, d] * k[j, d]) for i in N for j in N for d in D)
            second += sum(bool(scores[i, j] * v[j, d]) for i in N for j in N for d in D)
        else:
            summary = k.T @ v
            first += sum(bool(k[n, c] * v[n, d]) for n in N for c in D for d in D)
            second += sum(bool(q[n, c] * summary[c, d]) for n in N for c in D for d in D)
    counts = count(Attend(SSA(0.25)), qkv)
    names = ["QK^T", "(QK^T)V"] if tokens <= channels else ["K^TV", "Q(K^TV)"]
    assert list(parts(counts)) == [f"product {name}" for name in (*names, "scale")]
    assert [line.effective_acs for line in counts] == [first, second, 0]
    dense = T * 2 * tokens * channels * min(tokens, channels)
    assert [line.macs for line in counts] == [dense, dense, 0]
    assert counts.total("effective_macs") == 0  # one binary factor is enough to accumulate
    assert counts.total("multiplications") == qkv[:, :, 0].numel()


def test_ssa_of_real_numbers_multiplies() -> None:
    counts = count(Attend(SSA(0.25)), torch.rand(T, 1, 3, 4, 5) + 0.1)
    assert counts.total("effective_acs") == 0
    assert counts.total("effective_macs") == counts.total("macs")


@pytest.mark.parametrize("grid", [None, (2, 3)])
def test_sdsa_equals_loops(grid: tuple[int, int] | None) -> None:
    """SDSA-1, of the first spike-driven transformer."""
    qkv = spikes(T, 1, 3, 6, 4, rate=0.5)
    q, k, v = qkv.unbind(2)
    attention = SDSA(LIF(v_threshold=0.5), grid)
    added = masked = 0
    membrane = torch.zeros(4)
    for t in range(T):
        for d in range(4):
            agreed = {n for n in range(6) if k[t, 0, n, d] and v[t, 0, n, d]}
            if grid is not None:  # a token agrees if one of its neighbours does
                near = {
                    n: {m for m in range(6) if abs(n // 3 - m // 3) < 2 > abs(n % 3 - m % 3)}
                    for n in range(6)
                }
                agreed = {n for n in range(6) if near[n] & agreed}
            added += len(agreed)
            membrane[d] = (membrane[d] + len(agreed)) / 2
            if membrane[d] >= 0.5:
                membrane[d] = 0.0
                masked += int(q[t, 0, :, d].sum())
    counts = count(Attend(attention), qkv)
    lines = parts(counts)
    assert lines["product sum K*V"].effective_acs == added
    assert lines["product Q*g"].effective_acs == masked
    assert lines["product sum K*V"].macs == lines["product Q*g"].macs == T * 6 * 4
    assert lines["product.neuron"].updates == T * 4  # the neuron ran once, and is counted once
    assert counts.total("effective_macs") == 0
    if grid is not None:  # of 54 taps at 2 x 3 places, 28 lie inside; one of each is no comparison
        assert lines["product 3x3 maxima"].additions == 2 * T * 4 * (28 - 6)


def test_sdsa_3_of_functional_products_by_hand() -> None:
    """Of Meta-SpikeFormer: Q (K^T V), scaled, as a user writes it; two tokens, two channels."""

    class SDSA3(nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            summary = k.transpose(-2, -1) @ v
            return (q @ summary) * 0.125

    q = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    k = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    v = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    qkv = torch.stack((q, k, v)).expand(T, B, 3, 2, 2)
    lines = parts(count(Attend(SDSA3()), qkv))
    # Token 0: one key meets one value; token 1: two keys meet two. K^T V is [[1, 2], [1, 1]].
    first = lines["product k.transpose(-2, -1) @ v"]
    second = lines["product q @ summary"]
    assert (first.effective_acs, first.macs, first.ann_macs) == (T * 5, T * 8, 8)
    # Channel 0 is in one query, channel 1 in two; each meets two sums.
    assert (second.effective_acs, second.macs) == (T * 6, T * 8)
    assert first.operations_per_step == (5, 5, 5)
    assert lines["product elementwise"].multiplications == T * 4


def test_softmax_attention_by_hand() -> None:
    """N = 3 tokens of d = 2: two products of N N d, a softmax of N N, no factor is zero."""

    class Softmax(nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(q, k, v)

    class ByHand(nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return F.softmax(q @ k.mT, dim=-1) @ v

    x = torch.rand(T, B, 3, 3, 2) + 0.1
    for module in (Softmax(), ByHand()):
        counts = count(Attend(module), x)
        assert not counts.uncovered
        assert counts.total("macs") == counts.total("effective_macs") == T * 2 * 3 * 3 * 2
        assert counts.total("ann_macs") == 2 * 3 * 3 * 2
        assert counts.total("functions") == T * 9
        products = [line for line in counts if line.kind == "attention"]
        assert all(line.values == "real" and line.weights == 0 for line in products)
    by_hand = parts(counts)["product elementwise"]
    # Largest, difference, sum; one division.
    assert (by_hand.additions, by_hand.multiplications) == (T * 3 * 9, T * 9)


def test_attention_that_looks_back_only_meets_what_it_sees() -> None:
    """Of 3 x 3 weights of a causal softmax, 6 are not zero; scores are computed all the same."""

    class Causal(nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    counts = count(Attend(Causal()), torch.rand(T, B, 3, 3, 2) + 0.1)
    assert counts.total("effective_macs") == T * 2 * (9 + 6)


def test_einsum_by_hand() -> None:
    """A weight and an activation, two activations: five inputs to three outputs, N N d."""

    class Einsum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(5, 3))

        def forward(self, x: Tensor) -> Tensor:
            y = torch.einsum("tbnd,de->tbne", x, self.w)
            return torch.einsum("tbne,tbme->tbnm", y, y)

    x = torch.zeros(T, B, 2, 5)
    x[..., 0, 0] = x[1, ..., 1, 3] = 1
    first, second = count(Einsum(), x)
    assert (first.kind, first.macs, first.effective_acs) == ("linear", T * 2 * 5 * 3, 3 * (T + 1))
    assert (first.ann_macs, first.operations_per_step) == (30, (3, 6, 3))
    assert first.name == 'torch.einsum("tbnd,de->tbne", x, self.w)'
    assert (second.kind, second.macs) == ("attention", T * 2 * 2 * 3)
    # Rows that are not zero meet each other, in each of 3 sums.
    assert second.operations == 3 * (1 + 4 + 1)


def test_delayed_convolution_counts_what_arrives() -> None:
    """Every weight is 1, so outputs count operations; borders are those of a convolution."""
    conv = DelayedConv1d(2, 3, 3, padding=1, max_delay=2).eval()
    conv.weight.data.fill_(1.0)
    x = spikes(6, 2, 2, 5)
    line = only(count(nn.Sequential(conv), x))
    assert line.effective_acs == pytest.approx(conv(x).double().sum().item() / 2)
    assert line.macs == 6 * 2 * 3 * (2 + 3 + 3 + 3 + 2)
    assert line.ann_macs == line.macs / 6
