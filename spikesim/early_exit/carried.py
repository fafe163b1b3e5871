"""A model run step by step, its neurons' states kept between calls and cut to fewer samples."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Protocol, Self

from torch import Tensor, nn

from spikesim.batch_norm import Normalisation
from spikesim.delays.layer import Delayed
from spikesim.errors import UserError
from spikesim.models import SpikingModel
from spikesim.neuron import Neuron
from spikesim.random import Placed
from spikesim.recurrent import Recurrent
from spikesim.types import Named


class Stepper(Protocol):
    """A network that is run one step after the other; the states are its own business."""

    def step(self, x: Tensor) -> Tensor:
        """The next step of the samples left, ``[B, ...]``: outputs ``[B, K]``."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows ``[b]`` of the present batch alone; all others are finished."""
        ...


class Carried:
    """A model whose neurons go on where they stopped, while inside.

    No state of a neuron survives a call of a model; here each call is one step, and each
    :class:`~spikesim.neuron.Neuron` and :class:`~spikesim.recurrent.Recurrent` is handed its state
    back. Afterwards the model is as before. Everything else in it must map each step by itself.

    Args:
        model: ``[T, B, ...]`` -> outputs ``[T, B, K]``, in evaluation mode.

    Raises:
        UserError: a model that has no neurons of this package, or whose layers have delays or draw
            random numbers, named.

    >>> import torch
    >>> from spikesim.neurons import IF
    >>> with Carried(nn.Sequential(IF())) as model:
    ...     first = model.step(torch.tensor([[0.5], [0.9]]))
    ...     model.keep(torch.tensor([1]))
    ...     second = model.step(torch.tensor([[0.2]]))
    >>> first.tolist(), second.tolist()
    ([[0.0], [0.0]], [[1.0]])
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._states: dict[nn.Module, Any] = {}
        self._ran: set[nn.Module] = set()
        named = dict(model.named_modules())
        for name, module in named.items():
            what = f"{name or 'the model'}, {type(module).__name__},"
            if isinstance(module, Delayed):
                raise UserError(f"{what} has delays, whose inputs of the past are not carried on")
            if isinstance(module, Placed) and module.stochastic:
                raise UserError(
                    f"{what} draws random numbers by place in the batch, which changes when "
                    "samples leave; decide from stored outputs instead"
                )
        self._carried = [m for m in named.values() if isinstance(m, Neuron | Recurrent)]
        if not self._carried:
            raise UserError(
                f"{type(model).__name__} has no neurons of spikesim to carry on; wrap it in an "
                "object with step(x) and keep(rows)"
            )

    def __enter__(self) -> Self:
        self._states.clear()
        with ExitStack() as stack:
            for module in self._carried:
                # Not setattr, after which a neuron would record its step anew.
                module.__dict__["forward"] = partial(self._run, module)
                stack.callback(module.__dict__.pop, "forward")
                # What sees a hook calls the neuron itself, also behind a batch norm.
                stack.callback(module.register_forward_pre_hook(lambda *_: None).remove)
            stack.enter_context(stepping(self._model, 1))
            self._afterwards = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._afterwards.close()

    def step(self, x: Tensor) -> Tensor:
        """The next step of the samples left, ``[B, ...]``: outputs ``[B, K]``."""
        self._ran.clear()
        outputs = self._model(x[None])
        if outputs.shape[:2] != (1, len(x)):
            raise UserError(
                f"the model gave {list(outputs.shape)} for one step of {len(x)} samples; it should "
                f"be [1, {len(x)}, K], class values of each step: leave out the readout over time"
            )
        step: Tensor = outputs[0]
        return step

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows ``[b]`` of the present batch alone."""
        self._states = {module: _rows(state, rows) for module, state in self._states.items()}

    def _run(self, module: nn.Module, x: Any, norm: Normalisation | None = None) -> Tensor:
        assert isinstance(module, Neuron | Recurrent)
        if module in self._ran:
            raise UserError(
                f"a {type(module).__name__} runs twice in a step, with one state to carry on; "
                "give each place its own"
            )
        self._ran.add(module)
        seen = x if norm is None else norm(x)
        output, self._states[module] = module.run(seen, self._states.get(module))
        return output if norm is None else output.to(x.dtype)


@contextmanager
def stepping(model: nn.Module, steps: int) -> Iterator[None]:
    """What is made for a number of steps takes another one while inside."""
    before = {part: part.steps for part in model.modules() if isinstance(part, SpikingModel)}
    try:
        for part in before:
            part.steps = steps
        yield
    finally:
        for part, own in before.items():
            part.steps = own


def _rows(state: Any, rows: Tensor) -> Any:
    if isinstance(state, Tensor):
        return state[rows]
    if isinstance(state, Named):
        return state.map(lambda values: values[rows])
    return tuple(_rows(part, rows) for part in state)
