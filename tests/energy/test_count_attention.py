"""Operation counts of attention: by hand, by loops over tokens and channels."""

import pytest
import torch
from counted import lines as parts
from counted import spikes
from torch import Tensor, nn
from torch.nn import functional as F

from spikesim.attention import SDSA, SSA
from spikesim.energy import count
from spikesim.neurons.lif import LIF

T, B = 3, 2


class Attend(nn.Module):
    """A product of queries, keys and values that lie in one array ``[T, B, 3, ...]``."""

    def __init__(self, product: nn.Module) -> None:
        super().__init__()
        self.product = product

    def forward(self, qkv: Tensor) -> Tensor:
        q, k, v = qkv.unbind(2)
        return self.product(q, k, v)


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
