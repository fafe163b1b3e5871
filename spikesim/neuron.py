"""The neuron base: parameters in the object, state outside it, one pure ``step``.

Shape legend: ``T`` steps, ``B`` batch, ``...`` neurons (``[N]`` or ``[C, H, W]``); time first.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from spikesim import ops
from spikesim.errors import UserError
from spikesim.kernels import operator
from spikesim.kernels.backends import BackendName, check_name, describe, serving
from spikesim.kernels.call import real_dtype
from spikesim.kernels.program import Bound, bind
from spikesim.kernels.tape import TraceError
from spikesim.parameters import Parameters
from spikesim.random import Placed, drawing
from spikesim.surrogate import Surrogate
from spikesim.types import Named, Number

if TYPE_CHECKING:
    from spikesim.batch_norm import Normalisation


class _Complete(type):
    """Checks each new neuron, and records its step, so that no later call has to."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__call__(*args, **kwargs)
        made.check_learnable()
        made.record()
        return made


class Neuron(Placed, Parameters, metaclass=_Complete):
    """Base of all neurons. A subclass declares names, parameters and one pure ``step``.

    ``neuron(x)`` runs a whole sequence ``[T, B, ...]`` from the initial state and keeps nothing,
    so there is no reset to forget. ``neuron.run(x, state)`` continues from a state and returns the
    new one. Storage may be float16 or bfloat16; arithmetic and state are then float32.
    """

    inputs: tuple[str, ...] = ("x",)
    """Names of what arrives in a step; a plain tensor is the only one."""
    states: tuple[str, ...] = ()
    """Names of the state variables; an option such as refractoriness may add one."""
    spiking: ClassVar[bool] = True
    """Whether the output is spikes: 0 or 1, or small counts for integer neurons."""

    surrogate: Surrogate
    dt: float
    backend: BackendName = "auto"
    """What runs it: a class or an instance may name another, see :mod:`spikesim.kernels`."""
    _bound: dict[bool, Bound]
    jobs: dict[Any, Any]
    """What backends were told of this neuron, where its parameters are numbers."""

    def __init__(self, *, dt: float = 1.0, learnable: Collection[str] = ()) -> None:
        super().__init__(learnable)
        if not (isinstance(dt, Real) and 0 < dt < math.inf):
            raise UserError(f"dt must be > 0, got {dt!r}")
        self.dt = float(dt)
        self._begin()

    def initial(self, p: Named) -> dict[str, Number]:
        """Initial values of the state variables; zero where not overridden."""
        return dict.fromkeys(self.states, 0.0)

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        """One step: pure, elementwise, in the operator set of :mod:`spikesim.ops`."""
        raise NotImplementedError

    def initial_state(self, like: Tensor) -> Named:
        """The initial state for steps shaped like ``like`` ``[B, ...]``."""
        start = self.initial(self.values(like))
        state = {}
        for name in self.states:
            value = start[name]
            state[name] = (
                value.expand(like.shape).clone()
                if isinstance(value, Tensor)
                else torch.full(like.shape, value, dtype=like.dtype, device=like.device)
            )
        return Named(state)

    def _sequence(self, x: Tensor | Mapping[str, Tensor]) -> Named:
        named = Named({self.inputs[0]: x} if isinstance(x, Tensor) else x)
        if set(named) != set(self.inputs):
            raise UserError(
                f"{type(self).__name__} takes the inputs {', '.join(self.inputs)}, "
                f"got {', '.join(named)}"
            )
        first = named[self.inputs[0]]
        for name, value in named.items():
            if value.dim() < 2:
                raise UserError(f"input {name} must be [T, B, ...], got shape {list(value.shape)}")
            if not value.is_floating_point():
                raise UserError(f"input {name} must be floating point, got {value.dtype}")
            if value.shape != first.shape:
                raise UserError(
                    f"input {name} has shape {list(value.shape)}, {self.inputs[0]} has "
                    f"{list(first.shape)}; all inputs share one [T, B, ...]"
                )
        if first.shape[0] == 0:
            raise UserError(f"input has no time steps: {list(first.shape)}; T must be >= 1")
        return named

    def _steps(self, named: Named, state: Named | None) -> Iterator[tuple[Named, Tensor]]:
        """The plain torch reference: state and output of each step."""
        first = named[self.inputs[0]]
        dtype = real_dtype(first.dtype)
        like = first[0].to(dtype)
        state = self.initial_state(like) if state is None else self.checked(state, like)
        p, stream = self.values(like), self.stream(first)
        # One unbind for all steps (its backward is one stack), one cast a step: no second copy
        # of a half-precision sequence.
        for t, arrays in enumerate(
            zip(*(value.unbind(0) for value in named.values()), strict=True)
        ):
            inputs = Named(
                {name: value.to(dtype) for name, value in zip(named, arrays, strict=True)}
            )
            with drawing(stream, t, like):
                state, out = self.step(state, inputs, p)
            yield state, out

    def checked(self, state: Named, like: Tensor) -> Named:
        """``state``, if its names and shapes are those of a step shaped like ``like``.

        Raises:
            UserError: they are not.
        """
        if set(state) != set(self.states):
            raise UserError(
                f"state of {type(self).__name__} has {', '.join(self.states)}; "
                f"got {', '.join(state)}"
            )
        for name, value in state.items():
            if value.shape != like.shape:
                raise UserError(
                    f"state {name} has shape {list(value.shape)}, a step of the input is "
                    f"{list(like.shape)}; was the batch size or [T, B, ...] order changed?"
                )
        return state

    def bound(self, *, batch_norm: bool = False) -> "Bound":
        """The recorded step with its gradient, from which kernels are printed.

        Raises:
            TraceError: ``step`` leaves the operator set of :mod:`spikesim.ops`.
        """
        found: Bound | None = self._bound.get(batch_norm)
        if found is None:
            self._bound[batch_norm] = found = bind(self, batch_norm=batch_norm)
        return found

    def kernel_source(self, backend: BackendName, dtype: torch.dtype = torch.float32) -> str:
        """The text that a backend compiles for this neuron, forward and backward, to be read.

        Numba has a module for each of the two, one after the other; CUDA has both kernels in one
        text, shown as it is cut for 16 steps of a large layer.

        Args:
            backend: ``"numba"`` or ``"cupy"``; neither has to be installed.
            dtype: of the input.

        Raises:
            UserError: a backend or dtype without kernels.
            TraceError: ``step`` leaves the operator set of :mod:`spikesim.ops`.
        """
        from spikesim.kernels.source import source  # no run needs the printers of both

        return source(self, backend, dtype)

    def record(self) -> None:
        """Find :meth:`bound` now, where the step can be recorded: a compiled call could not."""
        with suppress(TraceError):  # raised again when a kernel is asked for
            for batch_norm in (False, True):
                self.bound(batch_norm=batch_norm)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "backend":
            check_name(value)
        super().__setattr__(name, value)
        # Options such as detach_reset are part of the recorded step, marks of torch.compile not.
        if name[0] != "_" and name not in ("training", "backend", "layer", "position"):
            self.__dict__["_bound"] = {}
            self.__dict__["jobs"] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Kernels are of this process; a copy finds its own.
        return {**self.__dict__, "_bound": {}, "jobs": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.record()

    def serving(self, device: torch.device) -> str:
        """The backend that runs tensors of a device.

        Raises:
            BackendError: the chosen one cannot.
        """
        return serving(self.backend, device.type)

    def run(
        self, x: Tensor | Mapping[str, Tensor], state: Named | None = None
    ) -> tuple[Tensor, Named]:
        """Run ``[T, B, ...]`` from ``state`` (or the initial one): ``(output, state)``."""
        inputs = self._sequence(x)
        backend = self.serving(inputs[self.inputs[0]].device)
        if backend != "torch":
            found = operator.run(self, backend, inputs, state, final=True)
            return found.output, Named(zip(self.states, found.final, strict=True))
        return self._reference(inputs, state)

    def _reference(self, inputs: Named, state: Named | None) -> tuple[Tensor, Named]:
        dtype, outputs, latest = inputs[self.inputs[0]].dtype, [], Named()
        # Only the latest state is kept: without gradients, just the output grows with T.
        for after, out in self._steps(inputs, state):
            outputs.append(out.to(dtype))
            latest = after
        return torch.stack(outputs), latest

    def trace(
        self, x: Tensor | Mapping[str, Tensor], state: Named | None = None
    ) -> dict[str, Tensor]:
        """Every state variable after each step, and ``"output"``: each ``[T, B, ...]``."""
        inputs = self._sequence(x)
        backend = self.serving(inputs[self.inputs[0]].device)
        if backend != "torch":
            found = operator.run(self, backend, inputs, state, traces=True)
            named = zip(self.states, found.traces, strict=True)
            return {**dict(named), "output": found.output}
        rows = [{**after, "output": out} for after, out in self._steps(inputs, state)]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def forward(
        self, x: Tensor | Mapping[str, Tensor], norm: "Normalisation | None" = None
    ) -> Tensor:
        """The whole sequence ``[T, B, ...]`` from the initial state; nothing is kept.

        With ``norm`` the neuron sees ``norm(x)``, which is computed on the way and not stored.
        """
        if norm is not None:
            assert isinstance(x, Tensor)
            return norm.run(self, x)
        if isinstance(x, Tensor):
            output = operator.again(self, x)
            if output is not None:
                return output
        inputs = self._sequence(x)
        backend = self.serving(inputs[self.inputs[0]].device)
        if backend != "torch":
            return operator.run(self, backend, inputs, None).output
        return self._reference(inputs, None)[0]

    def spike(self, u: Tensor) -> Tensor:
        """1 where ``u >= 0``, with this neuron's surrogate gradient."""
        spikes: Tensor = ops.spike(u, self.surrogate)
        return spikes

    def extra_repr(self) -> str:
        """The parameters, for ``print(model)``, and what runs it."""
        parts = [super().extra_repr()]
        if "surrogate" in self.__dict__:
            parts.append(f"surrogate={self.surrogate}")
        return ", ".join(filter(None, (*parts, f"backend={describe(self.backend)}")))
