"""A check for tests: which convolutions and linear maps see zeros and ones only."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def binary_inputs(model: nn.Module) -> Iterator[dict[str, bool]]:
    """While active, note for each convolution and linear map, in order of use, if input is 0 or 1.

    >>> layer = nn.Linear(1, 1)
    >>> with binary_inputs(layer) as seen:
    ...     _ = layer(torch.tensor([[0.5]]))
    >>> seen
    {'': False}
    """
    seen: dict[str, bool] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].detach()
            seen[name] = seen.get(name, True) and bool(((x == 0) | (x == 1)).all())

        return hook

    hooks = [
        module.register_forward_pre_hook(note(name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear)
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def assert_binary(model: nn.Module, x: Tensor) -> tuple[str, ...]:
    """Run ``model(x)``; every convolution and linear map but the first must see zeros and ones.

    Returns the names of the layers that passed, in order of use.

    Raises:
        AssertionError: naming the layers that did not.
    """
    with binary_inputs(model) as seen:
        model(x)
    later = list(seen)[1:]
    failed = [name for name in later if not seen[name]]
    assert not failed, f"input is not binary in {', '.join(failed)}"
    return tuple(later)
