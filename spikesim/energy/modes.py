"""What stands around a watched model: calls as the user wrote them, and places unseen."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spikesim.energy.decompose import MADE_OF


@contextmanager
def unwatched() -> Iterator[None]:
    """Operations inside go past all modes."""
    with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
        yield


class Calls(TorchFunctionMode):
    """Keeps the arguments of the outermost call, whose shapes are as the user wrote them."""

    def __init__(self) -> None:
        super().__init__()
        self.args: tuple[Any, ...] = ()

    def __torch_function__(
        self, func: Any, types: Sequence[Any], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        before, self.args = self.args, args
        try:
            if func in MADE_OF:
                with self:
                    return MADE_OF[func](*args, **(kwargs or {}))
            return func(*args, **(kwargs or {}))
        finally:
            self.args = before


def is_mapped(x: Tensor) -> bool:
    """Whether it hides a dimension, as in ``torch.vmap``."""
    return bool(torch._C._functorch.is_batchedtensor(x))


def look_away(module: nn.Module, inputs: Any, output: Any) -> None:
    """A hook that does nothing."""


def set_fast_path(wanted: bool) -> bool:
    """Whether attention of torch may take its fast path; gives what was set before."""
    before: bool = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(wanted)
    return before
