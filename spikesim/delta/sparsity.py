"""What the layers of a model that are to be sparse cost, and how sparse they are, in one run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from spikesim.delta.activation import DeltaActivation, L1Activation
from spikesim.errors import UserError
from spikesim.probe import watch


class Sparsity:
    """What was seen: of each layer of each call, its penalty and its density.

    Attributes:
        penalties: with gradients; each holds its layer's rate and fan-out.
        densities: share of what has to be multiplied, by layer, of its last call.
    """

    def __init__(self) -> None:
        self.penalties: list[Tensor] = []
        self.densities: dict[str, Tensor] = {}

    @property
    def penalty(self) -> Tensor:
        """The sum to be added to the loss.

        Raises:
            UserError: the model did not run.
        """
        if not self.penalties:
            raise UserError("nothing was measured; run the model inside `with measured(model)`")
        return torch.stack(self.penalties).sum()


@contextmanager
def measured(model: nn.Module) -> Iterator[Sparsity]:
    """Measure the layers of a model that is run inside.

    Raises:
        UserError: the model has no :class:`DeltaActivation` and no :class:`L1Activation`.

    >>> model = nn.Sequential(DeltaActivation([1], step=1.0, rate=0.5))
    >>> with measured(model) as found:
    ...     _ = model(torch.tensor([0.0, 2.0, 2.0]).view(3, 1, 1))
    >>> found.penalty.item(), found.densities["0"].item()
    (0.5, 0.5)
    """
    kinds = (DeltaActivation, L1Activation)
    if not any(isinstance(module, kinds) for module in model.modules()):
        raise UserError("this model has no DeltaActivation and no L1Activation to measure")
    found = Sparsity()

    def measure(name: str, module: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        assert isinstance(module, kinds)
        found.penalties.append(module.penalty(output))
        found.densities[name] = module.density(output.detach())

    with watch(model, measure, lambda module: isinstance(module, kinds)):
        yield found
