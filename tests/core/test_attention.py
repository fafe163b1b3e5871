"""Products of spikes: order, scale, permutation, heads."""

import pytest
import torch
from torch import Tensor

from spikesim.attention import SDSA, SSA
from spikesim.layers import neuron_factory
from spikesim.models.transformer import merge_heads, split_heads
from spikesim.neurons import LIF


def spikes(*shape: int) -> Tensor:
    return (torch.rand(shape) < 0.4).float()


@pytest.mark.parametrize(("tokens", "channels"), [(3, 8), (8, 8), (16, 4), (1, 1)])
@pytest.mark.parametrize("scale", [0.125, 0.25])
def test_both_orders_are_equal(tokens: int, channels: int, scale: float) -> None:
    q, k, v = (torch.randint(0, 6, (2, 3, 2, tokens, channels)).float() for _ in range(3))
    out = SSA(scale)(q, k, v)
    assert torch.equal(out, (q @ k.transpose(-1, -2)) @ v * scale)
    assert torch.equal(out, q @ (k.transpose(-1, -2) @ v) * scale)


def test_cheaper_order_runs() -> None:
    def cost(tokens: int, channels: int) -> int:
        seen: list[int] = []

        class Counted(torch.Tensor):
            @classmethod
            def __torch_function__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
                out = super().__torch_function__(func, types, args, kwargs or {})
                if func is torch.bmm:
                    seen.append(out.numel() * args[0].shape[-1])
                return out

        q, k, v = (torch.ones(tokens, channels).as_subclass(Counted) for _ in range(3))
        SSA(1.0)(q, k, v)
        return sum(seen)

    for tokens, channels in [(64, 16), (16, 64), (8, 8)]:
        assert cost(tokens, channels) == 2 * tokens * channels * min(tokens, channels)


def test_ssa_by_hand() -> None:
    q = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    k = torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    v = torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    # Q K^T = [[1, 0, 1], [2, 1, 1], [0, 0, 0]]
    expected = torch.tensor([[1.0, 1.0], [2.0, 3.0], [0.0, 0.0]]) * 0.25
    assert torch.equal(SSA(0.25)(q, k, v), expected)


@pytest.mark.parametrize("product", [SSA(0.125), SDSA()])
def test_permuted_tokens_permute_the_output(product: torch.nn.Module) -> None:
    q, k, v = (spikes(4, 2, 3, 10, 5) for _ in range(3))
    order = torch.randperm(10)
    permuted = product(*(x[..., order, :] for x in (q, k, v)))
    assert torch.equal(permuted, product(q, k, v)[..., order, :])


@pytest.mark.parametrize("heads", [2, 3, 12])
def test_sdsa_does_not_see_the_split_into_heads(heads: int) -> None:
    for grid in (None, (3, 3)):
        q, k, v = (spikes(4, 2, 12, 3, 3) for _ in range(3))
        sdsa = SDSA(grid=grid)
        one, many = (
            merge_heads(sdsa(*(split_heads(x, h) for x in (q, k, v))), q) for h in (1, heads)
        )
        assert torch.equal(one, many)
        assert 0 < one.mean() < 1


@pytest.mark.parametrize("tokens", [1, 2, 7])
def test_all_ones_open_every_gate(tokens: int) -> None:
    # u_1 = N / 2, at or above the threshold 0.5 for every N >= 1.
    ones = torch.ones(3, 1, 2, tokens, 4)
    q = spikes(3, 1, 2, tokens, 4)
    assert torch.equal(SDSA()(q, ones, ones), q)


def test_disjoint_keys_and_values_close_every_gate() -> None:
    k = spikes(3, 2, 2, 5, 4)
    assert SDSA()(torch.ones_like(k), k, 1 - k).sum() == 0


def test_sdsa_by_hand() -> None:
    # One channel, one batch. Sums of K * V over two tokens: 0, 1, 0, 2; the membrane of the gate
    # is 0, 0.5 (fires, back to 0), 0, 1 (fires).
    k = torch.tensor([[1, 0], [1, 0], [0, 0], [1, 1]]).float().view(4, 1, 2, 1)
    v = torch.tensor([[0, 1], [1, 1], [1, 1], [1, 1]]).float().view(4, 1, 2, 1)
    out = SDSA()(torch.ones_like(k), k, v)
    assert out.flatten(1).tolist() == [[0, 0], [1, 1], [0, 0], [1, 1]]


def test_grid_spreads_to_neighbours_and_not_further() -> None:
    q = torch.zeros(1, 1, 20, 1)
    q[0, 0, 1 * 5 + 2] = 1  # row 1, column 2 of 4 x 5
    ones = torch.ones_like(q)
    out = SDSA(grid=(4, 5))(q, ones, ones).view(4, 5)
    expected = torch.zeros(4, 5)
    expected[0:3, 1:4] = 1
    assert torch.equal(out, expected)


def test_grid_spreads_the_agreement_of_keys_and_values() -> None:
    k = torch.zeros(1, 1, 20, 1)
    k[0, 0, 1 * 5 + 2] = 1  # its 3 x 3 neighbours agree too: 9 / 2 reaches 4.5, 1 / 2 does not
    q = torch.ones_like(k)
    assert SDSA(LIF(v_threshold=4.5), grid=(4, 5))(q, k, k).all()
    assert not SDSA(LIF(v_threshold=4.5))(q, k, k).any()


def test_grid_must_fit_the_tokens() -> None:
    x = torch.ones(1, 1, 6, 2)
    with pytest.raises(ValueError, match="6 tokens do not fill"):
        SDSA(grid=(2, 2))(x, x, x)


@pytest.mark.parametrize(("scale", "folded"), [(0.125, 4.0), (0.25, 2.0)])
def test_scale_folds_into_the_threshold(scale: float, folded: float) -> None:
    z = torch.randint(0, 40, (16, 3, 50)).float()
    assert torch.equal(neuron_factory()(0.5)(scale * z), neuron_factory()(folded)(z))


def test_gradient_reaches_q_k_and_v() -> None:
    for product in (SSA(0.25), SDSA(), SDSA(grid=(2, 3))):
        inputs = [spikes(3, 2, 2, 6, 4).requires_grad_() for _ in range(3)]
        product(*inputs).square().sum().backward()
        assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in inputs)
