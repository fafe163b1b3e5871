"""The bias of a convolution right before batch statistics, which is never added."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from spikesim.batch_norm import BatchNorm
from spikesim.layers import SpikingSequential, TimeDistributed
from spikesim.neurons import LIF


def layers(momentum: float | None = 0.1) -> SpikingSequential:
    """With a bias that is large beside the rest, in float64."""
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 4, 3), BatchNorm(4, momentum=momentum)
    nn.init.uniform_(conv.bias, -5.0, 5.0)  # type: ignore[arg-type]
    nn.init.normal_(norm.weight)
    return SpikingSequential(TimeDistributed(conv, norm), LIF(v_threshold=0.3)).double()


def by_torch(ours: SpikingSequential, x: Tensor) -> Tensor:
    """The same parameters in torch's modules, the bias added."""
    conv, norm = ours[0]
    y = nn.functional.conv2d(x.flatten(0, 1), conv.weight, conv.bias)
    y = nn.functional.batch_norm(
        y,
        norm.running_mean,
        norm.running_var,
        norm.weight,
        norm.bias,
        training=norm.training,
        momentum=0.1 if norm.momentum is None else norm.momentum,
        eps=norm.eps,
    )
    return ours[1](y.view(*x.shape[:2], *y.shape[1:]))


def example(seed: int) -> Tensor:
    """``[T, B, C, H, W]``."""
    return torch.randn(5, 2, 3, 6, 7, dtype=torch.float64, generator=torch.manual_seed(seed))


def test_training_is_as_if_it_were_added_and_its_gradient_is_exactly_zero() -> None:
    ours = layers()
    theirs = copy.deepcopy(ours)
    for seed in range(3):
        x = example(seed)
        got, expected = ours(x), by_torch(theirs, x)
        assert 0 < got.sum() < got.numel()
        assert torch.equal(got, expected)
        weights = torch.randn_like(got)
        (got * weights).sum().backward()
        (expected * weights).sum().backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-9, atol=1e-9)
    bias = ours[0][0].bias.grad
    assert bias is not None
    assert not bias.any()
    torch.testing.assert_close(ours[0][1].running_mean, theirs[0][1].running_mean)
    torch.testing.assert_close(ours[0][1].running_var, theirs[0][1].running_var)
    ours.eval(), theirs.eval()
    assert torch.equal(ours(x), by_torch(theirs, x))


def test_running_mean_over_all_batches_is_their_mean() -> None:
    ours = layers(momentum=None)
    means = []
    for seed in range(3):
        ours(example(seed))
        with torch.no_grad():
            means.append(ours[0][0](example(seed).flatten(0, 1)).mean((0, 2, 3)))
    torch.testing.assert_close(ours[0][1].running_mean, torch.stack(means).mean(0))


def test_recomputation_moves_the_running_mean_once() -> None:
    ours, again = layers(), layers()
    x = example(0).requires_grad_()
    ours(x).sum().backward()
    checkpoint(again, x, use_reentrant=False).sum().backward()
    assert torch.equal(ours[0][1].running_mean, again[0][1].running_mean)


def test_hook_on_the_convolution_sees_its_bias() -> None:
    ours = layers()
    seen: list[Tensor] = []
    ours[0][0].register_forward_hook(lambda _, given, made: seen.append(made))
    expected = copy.deepcopy(ours[0][0])(example(0).flatten(0, 1))
    ours(example(0))
    assert torch.equal(seen[0], expected)


@pytest.mark.parametrize("frozen", ["bias", "all"])
def test_no_gradient_where_none_is_wanted(frozen: str) -> None:
    ours = layers()
    ours[0][0].bias.requires_grad_(False)
    if frozen == "all":
        ours.requires_grad_(False)
        assert not ours(example(0)).requires_grad
        return
    ours(example(0)).sum().backward()
    assert ours[0][0].bias.grad is None
    assert ours[0][0].weight.grad is not None
