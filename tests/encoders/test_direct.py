"""Direct code: a repetition, and no copy."""

import torch

from spikesim.encoders import Direct


def test_each_step_is_the_value_and_gradients_add_up() -> None:
    x = torch.randn(3, 2, requires_grad=True)
    out = Direct(5)(x)
    assert all(torch.equal(step, x) for step in out)
    (out * torch.arange(5.0).view(5, 1, 1)).sum().backward()
    assert torch.equal(x.grad, torch.full((3, 2), 10.0))


def test_takes_no_memory() -> None:
    x = torch.zeros(4, 4)
    assert Direct(1000)(x).untyped_storage().nbytes() == x.untyped_storage().nbytes()
