"""Parameters of a neuron: fixed numbers, fixed arrays, or learnable within a range."""

from collections.abc import Collection
from typing import ClassVar

import torch
from torch import Tensor, nn

from spikesim.constraint import Constraint
from spikesim.errors import UserError
from spikesim.types import Named, Number


class Parameters(nn.Module):
    """What a neuron knows of its parameters; each has a name, a value and a range.

    Fixed numbers stay Python numbers, so no change of dtype rounds them. Fixed arrays are buffers.
    A learnable ``tau`` is the module parameter ``raw_tau``, unbounded, which a
    :class:`~spikesim.constraint.Constraint` maps into the range; ``neuron.tau`` is the value.
    """

    always_learnable: ClassVar[tuple[str, ...]] = ()
    """Names of the parameters that are trained without being asked for."""

    def __init__(self, learnable: Collection[str] = ()) -> None:
        super().__init__()
        self.learnable = tuple(dict.fromkeys((*self.always_learnable, *learnable)))
        self._constraints: dict[str, Constraint] = {}

    def add_parameter(
        self, name: str, value: Number | None, constraint: Constraint | None = None
    ) -> None:
        """Register a parameter.

        Args:
            name: as the step reads it.
            value: a number, or an array ``[C]`` or of one step's neuron shape; ``None`` switches
                the parameter off.
            constraint: its range; by default any finite number.

        Raises:
            UserError: the value is out of its range, or cannot be learnable.
        """
        constraint = constraint or Constraint()
        self._constraints[name] = constraint
        if value is None:
            if name in self.learnable:
                raise UserError(f"{name} is None and cannot be learnable; give it a value")
            setattr(self, name, None)
            return
        # Numbers are checked on the CPU, so that a model can be built on the meta device.
        where = value.device if isinstance(value, Tensor) else "cpu"
        try:
            array = torch.as_tensor(value, dtype=torch.float64, device=where)
        except (TypeError, ValueError, RuntimeError):
            raise UserError(
                f"{name} must be {constraint.wish}, or an array of such, got {value!r}"
            ) from None
        if not bool(constraint.holds(array).all()):
            raise UserError(f"{name} must be {constraint.wish}, got {value}")
        default = torch.get_default_dtype()
        dtype = value.dtype if isinstance(value, Tensor) and value.is_floating_point() else default
        if name in self.learnable:
            raw = constraint.raw(array)
            if not bool(torch.isfinite(raw).all()):
                raise UserError(f"learnable {name} must lie inside its range, got {value}")
            if not isinstance(value, Tensor):
                raw = raw.to(torch.get_default_device())
            self.register_parameter(f"raw_{name}", nn.Parameter(raw.to(dtype)))
        elif array.dim() == 0:
            setattr(self, name, float(array))
        else:
            # An array of numpy keeps its precision too, for a network in float64.
            own = torch.as_tensor(value).dtype
            self.register_buffer(name, array.to(own if own.is_floating_point else default))

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """All parameters, also those that are ``None``."""
        return tuple(self._constraints)

    def check_learnable(self) -> None:
        """Refuse a ``learnable`` name that is no parameter."""
        unknown = [name for name in self.learnable if name not in self._constraints]
        if unknown:
            raise UserError(
                f"learnable={unknown} names no parameter of {type(self).__name__}; "
                f"it has {', '.join(self._constraints)}"
            )

    def __getattr__(self, name: str) -> Tensor:
        constraint = self.__dict__.get("_constraints", {}).get(name)
        if constraint is not None and f"raw_{name}" in self._parameters:
            value: Tensor = constraint.value(self._parameters[f"raw_{name}"])
            return value
        found: Tensor = super().__getattr__(name)  # type: ignore[assignment]
        return found

    def values(self, like: Tensor) -> Named:
        """Parameters and derived constants, shaped to broadcast against one step ``[B, ...]``.

        Of ``like`` only shape and dtype matter.
        """
        aligned: dict[str, Number] = {}
        for name, constraint in self._constraints.items():
            raw = self._parameters.get(f"raw_{name}")
            value: Number | None
            if raw is None:
                value = getattr(self, name)
            else:
                # Cast first: a time constant mapped in half precision would be a coarse one.
                value = constraint.value(raw if raw.dtype == like.dtype else raw.to(like.dtype))
            if value is not None:
                aligned[name] = self._align(name, value, like)
        return Named({**aligned, **self.derived(Named(aligned))})

    def _align(self, name: str, value: Number, like: Tensor) -> Number:
        if not isinstance(value, Tensor):
            return value
        if value.dtype != like.dtype:
            value = value.to(like.dtype)
        if not value.dim():
            return value
        if value.dim() == 1 and like.dim() > 2:
            value = value.view(-1, *[1] * (like.dim() - 2))
        sizes = zip(reversed(value.shape), reversed(like.shape[1:]), strict=False)
        if value.dim() >= like.dim() or any(have not in (1, want) for have, want in sizes):
            raise UserError(
                f"{name} has shape {list(getattr(self, name).shape)} but a step of the input is "
                f"[B, {', '.join(map(str, like.shape[1:]))}]; give one value, one per channel "
                f"[{like.shape[1]}], or one per neuron"
            )
        return value

    def derived(self, p: Named) -> dict[str, Number]:
        """Constants computed once per call from the parameters, such as a leak from ``tau``."""
        return {}

    def extra_repr(self) -> str:
        """The parameters, for ``print(model)``."""
        parts = []
        for name in self._constraints:
            value = getattr(self, name)
            mark = " (learnable)" if f"raw_{name}" in self._parameters else ""
            if isinstance(value, Tensor):
                has_one = value.dim() == 0 and not value.is_meta
                shown = f"{value.item():.4g}" if has_one else f"{list(value.shape)}"
            else:
                shown = f"{value}"
            parts.append(f"{name}={shown}{mark}")
        return ", ".join(parts)
