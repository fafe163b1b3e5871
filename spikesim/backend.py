"""Which backend runs the neurons of a model."""

from typing import TypeVar

from torch import nn

from spikesim.delays.linear import DelayedLinear
from spikesim.kernels.backends import BackendName
from spikesim.neuron import Neuron

Model = TypeVar("Model", bound=nn.Module)


def set_backend(model: Model, name: BackendName) -> Model:
    """Let every neuron and every linear layer with delays run on one backend, in place.

    Args:
        model: any module, or one neuron.
        name: ``"auto"`` (cupy for CUDA tensors, numba on the CPU, torch where these are not
            installed), ``"torch"``, ``"numba"`` or ``"cupy"``. Whether a named one serves is seen
            when the model is called: then it runs, or a ``BackendError`` says why not.

    Returns:
        ``model``; ``print(model)`` shows the backend of each neuron.

    Raises:
        UserError: no such backend.

    >>> from spikesim.neurons import LIF
    >>> set_backend(nn.Sequential(nn.Linear(3, 8), LIF()), "torch")[1].backend
    'torch'
    """
    for module in model.modules():
        if isinstance(module, Neuron | DelayedLinear):
            module.backend = name
    return model
