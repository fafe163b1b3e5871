import pytest
import torch

from spikesim.errors import UserError
from spikesim.neurons import ILIF


def test_trace_computed_by_hand() -> None:
    x = torch.tensor([0.25, 1.5, 9.0, -8.0, 3.75]).view(5, 1, 1)
    rows = ILIF(tau=2.0).trace(x)
    # u: .25 | .125+1.5 | -.1875+9 | 2.40625-8 | -2.796875+3.75
    assert rows["output"].flatten().tolist() == [0, 2, 4, 0, 1]
    assert rows["v"].flatten().tolist() == [0.25, -0.375, 4.8125, -5.59375, -0.046875]


def test_default_leak_keeps_a_quarter() -> None:
    _, state = ILIF().run(torch.tensor([0.25, 0.0]).view(2, 1, 1))
    assert state.v.item() == pytest.approx(0.0625, rel=1e-6)


def test_without_memory_it_is_the_quantiser_of_quantised_transformers() -> None:
    """floor(clip(D x, 0, D) + 1/2), away from its ties, with a straight-through gradient."""
    D = 4
    x = torch.linspace(-1, 2, 30_001, dtype=torch.float64)
    x = x[((D * x - 0.5) % 1.0 - 0.0).abs() > 1e-9].view(1, 1, -1).requires_grad_()
    counts = ILIF(tau=1.0, v_threshold=1 / D, levels=D)(x)
    assert torch.equal(counts, torch.floor((D * x).clamp(0, D) + 0.5))
    (counts / D).sum().backward()
    assert torch.equal(x.grad, ((x >= 0) & (x <= 1)).double())


def test_counts_equal_the_spikes_of_an_unrolled_neuron() -> None:
    """For event-driven inference: D virtual steps of a soft-reset IF, started at 1/2."""
    D = 4
    x = torch.rand(1, 1, 1000, dtype=torch.float64) * 1.5 - 0.25
    counts = ILIF(tau=1.0, v_threshold=1 / D, levels=D)(x)
    v, total = torch.full((1, 1000), 0.5, dtype=torch.float64), 0.0
    for _ in range(D):
        v = v + x[0]
        s = (v >= 1.0).double()
        v, total = v - s, total + s
    assert torch.equal(counts[0], total)


def test_detach_reset_cuts_the_count() -> None:
    grads = []
    for detach_reset in (False, True):
        x = torch.tensor([1.2, 0.4]).view(2, 1, 1).requires_grad_()
        ILIF(tau=2.0, detach_reset=detach_reset)(x)[1].sum().backward()
        grads.append(x.grad.flatten().tolist())
    # du2/dx1 = (1 - k)(1 - theta ds/du): 0 with the straight-through count, 1/2 without.
    assert grads == [[0.0, 1.0], [0.5, 1.0]]


def test_levels_must_count() -> None:
    with pytest.raises(UserError, match="levels must be >= 1, got 0"):
        ILIF(levels=0)
