"""Shared types. Shapes: ``T`` steps, ``B`` batch, ``N`` neurons, ``C`` channels; time first."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

Number: TypeAlias = Tensor | float
"""A parameter value: one number, or an array that broadcasts against one step."""


class Named(Mapping[str, Tensor]):
    """An immutable record of named arrays: a state, the inputs of one step, or parameters.

    >>> s = Named(v=torch.zeros(2))
    >>> s.replace(v=s.v + 1).v.tolist()
    [1.0, 1.0]
    """

    __slots__ = ("_values",)

    def __init__(
        self, values: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), /, **named: Any
    ) -> None:
        object.__setattr__(self, "_values", {**dict(values), **named})

    def __getattr__(self, name: str) -> Tensor:
        if name == "_values":  # not set yet, as in a copy
            raise AttributeError(name)
        # Plain access: torch.compile cannot look into object.__getattribute__.
        values: dict[str, Tensor] = self._values  # type: ignore[assignment]
        if name not in values:
            raise AttributeError(f"no {name!r} here; there is {', '.join(values)}")
        return values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a record never changes; use .replace({name}=...)")

    def __getitem__(self, name: str) -> Tensor:
        values: dict[str, Tensor] = self._values  # type: ignore[assignment]
        return values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        inside = ", ".join(
            f"{k}={list(v.shape) if isinstance(v, torch.Tensor) else v}" for k, v in self.items()
        )
        return f"Named({inside})"

    def __reduce__(self) -> tuple[type["Named"], tuple[dict[str, Tensor]]]:
        return Named, (dict(self),)

    def replace(self, **changed: Any) -> "Named":
        """A copy with some values changed or added."""
        return Named({**self, **changed})

    def map(self, function: Callable[[Tensor], Tensor]) -> "Named":
        """A copy with ``function`` applied to each array."""
        return Named({name: function(value) for name, value in self.items()})

    def detach(self) -> "Named":
        """A copy cut from the autograd graph, for truncated backpropagation through time."""
        return self.map(lambda value: value.detach())
