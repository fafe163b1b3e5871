"""What the tests of packed spikes compare: a training step, and the memory that it keeps."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from spikesim import models
from spikesim.neuron import Neuron


@pytest.fixture
def build() -> Callable[..., models.SpikingModel]:
    """``build(name, backend="torch")``: a small model.

    Neurons run in torch, as compiling their kernels takes longer than all of these tests.
    """

    def build(name: str, backend: str = "torch") -> models.SpikingModel:
        sizes = {"num_classes": 3, "steps": 3, "image_size": (17, 16), "threshold": 0.3}
        model = models.create(name, preset="tiny", **sizes).train()
        for module in model.modules():
            if isinstance(module, Neuron):
                module.backend = backend
        return model

    return build


@pytest.fixture
def grown() -> Callable[[Tensor, nn.Module], list[Tensor]]:
    """Output, running statistics and all gradients of one training step."""

    def grown(x: Tensor, model: nn.Module) -> list[Tensor]:
        x = x.detach().clone().requires_grad_()
        model.zero_grad(set_to_none=True)
        torch.manual_seed(1)
        y = model(x)
        y.float().square().sum().backward()
        found = [y, x.grad, *(p.grad for p in model.parameters()), *model.buffers()]
        return [value for value in found if value is not None]

    return grown


@pytest.fixture
def assert_same() -> Callable[[list[Tensor], list[Tensor]], None]:
    """Bit for bit."""

    def assert_same(got: list[Tensor], expected: list[Tensor]) -> None:
        assert len(got) == len(expected)
        for a, b in zip(got, expected, strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            assert torch.equal(a, b)

    return assert_same


@pytest.fixture
def kept_bytes() -> Callable[[Callable[[], Tensor], nn.Module], int]:
    """Memory that the graph of ``run()`` keeps beside the parameters."""

    def kept_bytes(run: Callable[[], Tensor], model: nn.Module) -> int:
        of_parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
        storages = {}

        def keep(x: Tensor) -> Tensor:
            storages[x.untyped_storage().data_ptr()] = (x, x.untyped_storage().nbytes())
            return x

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            run()
        return sum(size for at, (_, size) in storages.items() if at not in of_parameters)

    return kept_bytes


class Fire(nn.Module):
    """Spikes of any shape, with a gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return (x > 0).to(x) * 1.0 if not x.requires_grad else _Fire.apply(x)


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return (x > 0).to(x)

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return grad


@pytest.fixture
def fire() -> type[nn.Module]:
    return Fire
