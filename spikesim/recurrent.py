"""Neurons that see their own spikes.

Shape legend: ``T`` steps, ``B`` batch, ``...`` neurons; time first.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from spikesim.errors import UserError
from spikesim.neuron import Neuron
from spikesim.types import Named


class Recurrent(nn.Module):
    r"""A layer of neurons whose output of the step before comes back through a map.

    .. math:: s_t = \mathrm{SN}(x_t + W s_{t-1}), \qquad s_{-1} = 0

    Args:
        neuron: with one input.
        lateral: maps a step ``[B, ...]`` to one of the same shape, such as ``nn.Linear(n, n)``.

    Shape: ``[T, B, ...]`` -> the same.

    Raises:
        UserError: the neuron has several inputs, or the map changes the shape.

    >>> from spikesim.neurons import IF
    >>> layer = Recurrent(IF(), nn.Linear(2, 2, bias=False))
    >>> _ = nn.init.constant_(layer.lateral.weight, 1.0)
    >>> x = torch.zeros(3, 1, 2)
    >>> x[0, 0, 0] = 1.0
    >>> layer(x).squeeze(1).tolist()  # one spike reaches both neurons, and so on
    [[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
    """

    def __init__(self, neuron: Neuron, lateral: nn.Module) -> None:
        super().__init__()
        if len(neuron.inputs) > 1:
            raise UserError(
                f"{type(neuron).__name__} takes the inputs {', '.join(neuron.inputs)}; a recurrent "
                "layer has one"
            )
        self.neuron, self.lateral = neuron, lateral

    def forward(self, x: Tensor) -> Tensor:
        """The whole sequence from the initial state; nothing is kept."""
        return self.run(x)[0]

    def run(
        self, x: Tensor, state: tuple[Named, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Named, Tensor]]:
        """Run ``[T, B, ...]`` on from the neurons' state and their last output ``[B, ...]``."""
        outputs = []
        for _, output, cells in self.steps(x, state):  # noqa: B007
            outputs.append(output)
        return torch.stack(outputs), (cells, outputs[-1])

    def steps(
        self, x: Tensor, state: tuple[Named, Tensor] | None = None
    ) -> Iterator[tuple[Tensor, Tensor, Named]]:
        """What the neurons see in each step ``[B, ...]``, what they send, and their state after."""
        cells, last = state if state is not None else (None, torch.zeros_like(x[0]))
        for now in x.unbind(0):
            back = self.lateral(last)
            if back.shape != now.shape:
                raise UserError(
                    f"the lateral map of a recurrent layer gives {list(back.shape)}, a step of the "
                    f"input is {list(now.shape)}"
                )
            seen = now + back
            output, cells = self.neuron.run(seen[None], cells)
            last = output[0]
            yield seen, last, cells
