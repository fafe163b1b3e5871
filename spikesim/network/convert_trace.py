"""A module as layers of neurons with linear maps between them, found by watching one run.

The module runs once on zeros. Layers of torch (:mod:`spikesim.network.convert_rules`) and
operations (:mod:`spikesim.network.convert_operations`) change the form that an array stands for;
neurons begin a new one.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spikesim.counts import emitted
from spikesim.delays import DelayedRecurrent
from spikesim.errors import UserError
from spikesim.network.convert_delays import late, taps_of_recurrent
from spikesim.network.convert_form import Form, Layer, Shape, output_state
from spikesim.network.convert_operations import Operations, Value
from spikesim.network.convert_rules import CURES, RULES, Call
from spikesim.neuron import Neuron
from spikesim.neurons import LI, LIF
from spikesim.probe import evaluating
from spikesim.recurrent import Recurrent

Result = TypeVar("Result")

INPUT, OUTPUT = "(input)", "(output)"
"""Names of the layers that stand for no module; no path of a module has brackets."""
SAMPLES = 2
"""Of the run that is watched: with one, an axis of steps could be taken for that of samples."""
WHOLE = (Neuron, Recurrent, DelayedRecurrent, *(kind for types, _, _ in RULES for kind in types))
"""Modules that are taken as a whole; others are looked into."""


def trace(module: nn.Module, steps: int, shape: Shape, *, spikes: bool) -> list[Layer]:
    """The layers of a module that takes ``[T, B, *shape]``: the input first, the output last.

    Args:
        module: on the CPU, in float64.
        steps: of the run, >= 2.
        shape: of a step of one sample.
        spikes: whether the input is 0 or 1.

    Raises:
        UserError: something that cannot be neurons and synapses, named with its path.
    """
    return _Tracer(module, steps).run(shape, spikes)


class _Tracer(Operations):
    def __init__(self, module: nn.Module, steps: int) -> None:
        super().__init__(steps, SAMPLES)
        self._module, self._dt = module, _step_of(module)
        self._layers: list[Layer] = []
        self._path: list[tuple[str, nn.Module]] = [("", module)]
        self._inside = 0
        """How many modules are running that are taken as a whole."""
        self._names = {id(weight): name for name, weight in module.named_parameters()}

    def run(self, shape: Shape, spikes: bool) -> list[Layer]:
        x = torch.zeros(self.steps, SAMPLES, *shape, dtype=torch.float64)
        given = Layer(INPUT, self._gate(0.5), shape)
        self._layers.append(given)
        form = Form.of(given)
        self.keep(x, Value(form if spikes else Form(form.terms, form.constant), shape, 2))
        with evaluating(self._module), self._watched():
            output = self._module(x)
        if not self.is_known(output):
            raise self.error("it must return one array [T, B, ...] that is made from its input")
        value = self._values[id(output)][1]
        last = value.form.layer
        if last is None or last is given:
            value = self.value(output)
            last = Layer(OUTPUT, LI(tau=self._dt, dt=self._dt), value.shape, [value.form])
        if emitted(last.neuron) != 1:
            self._path.append((last.name, last.neuron))
            self._tried(output_state, last.neuron)
            self._path.pop()
        if value.lead != 2:
            raise self.error(f"it must return [T, B, ...], not {list(output.shape)}")
        return [*(layer for layer in self._layers if layer is not last), last]

    def error(self, why: str) -> UserError:
        name, module = self._path[-1]
        return UserError(f"{name or 'the module'} ({type(module).__name__}): {why}")

    def fires_at(self, form: Form, shape: Shape, threshold: float, suffix: str = "") -> Form:
        return Form.of(self._layer(self._gate(threshold), form, shape, suffix))

    def _gate(self, threshold: float) -> Neuron:
        """Neurons without memory: all of ``v`` is lost in a step, exactly for whole numbers."""
        return LIF(tau=self._dt, v_threshold=threshold, dt=self._dt)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        with ExitStack() as stack:
            for name, module in self._module.named_modules():
                stack.callback(module.register_forward_pre_hook(self._entering(name)).remove)
                stack.callback(module.register_forward_hook(self._leave).remove)
            stack.enter_context(_Functions(self))
            yield

    def _entering(self, name: str) -> Any:
        def enter(module: nn.Module, args: Any) -> None:
            self._path.append((name, module))
            for types, why in CURES:
                if isinstance(module, types):
                    raise self.error(why)
            if isinstance(module, Neuron) and len(module.inputs) > 1:
                names = ", ".join(module.inputs)
                raise self.error(f"it takes the inputs {names}; only neurons with one input can be")
            self._inside += isinstance(module, WHOLE)

        return enter

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        # Counted down only afterwards: what a module is taken for runs operations too.
        if isinstance(module, WHOLE):
            if self._inside == 1:
                self._take(module, args[0], output)
            self._inside -= 1
        self._path.pop()

    def _take(self, module: nn.Module, x: Any, output: Tensor) -> None:
        """A module that is taken as a whole has run."""
        value = self.value(x)
        if isinstance(module, Neuron | Recurrent | DelayedRecurrent):
            self.keep(output, self._neurons(module, value))
            return
        rule, over_time = next(
            (rule, over_time) for types, rule, over_time in RULES if isinstance(module, types)
        )
        if over_time and value.lead == 2:
            raise self.error("it takes [T * B, ...]: put it into spikesim.layers.TimeDistributed")
        out = tuple(output.shape[value.lead :])
        call = Call(value.form, value.shape, out, self._parameter, self.fires_at)
        self.keep(output, Value(self._tried(rule, module, call), out, value.lead))

    def _tried(self, rule: Callable[..., Result], *args: Any) -> Result:
        """What a rule gives; its errors say where."""
        try:
            return rule(*args)
        except UserError as error:
            raise self.error(str(error)) from error

    def _parameter(self, weight: Tensor) -> str:
        return self._names[id(weight)]

    def _neurons(self, module: Neuron | Recurrent | DelayedRecurrent, value: Value) -> Value:
        if value.lead != 2:
            raise self.error("neurons take [T, B, ...], so they belong outside of TimeDistributed")
        neuron = module if isinstance(module, Neuron) else module.neuron
        layer = self._layer(neuron, value.form, value.shape, "")
        layer.is_module = True
        if isinstance(module, Recurrent):
            last = torch.zeros(self.steps * SAMPLES, *value.shape, dtype=torch.float64)
            self.keep(last, Value(Form.of(layer), value.shape, 1))
            self._inside -= 1
            layer.arriving.append(self.value(module.lateral(last)).form.later(1))
            self._inside += 1
        if isinstance(module, DelayedRecurrent):
            taps, name = taps_of_recurrent(module), self._parameter(module.weight)
            layer.arriving.append(late(Form.of(layer), module, taps, name).later(1))
        return Value(Form.of(layer), value.shape, 2)

    def _layer(self, neuron: Neuron, form: Form, shape: Shape, suffix: str) -> Layer:
        """A new layer, named by the path of what is running."""
        base = ".".join(filter(None, (self._path[-1][0], suffix))) or "module"
        taken = {layer.name for layer in self._layers}
        names = (base if n == 1 else f"{base}#{n}" for n in range(1, len(taken) + 2))
        layer = Layer(next(n for n in names if n not in taken), neuron, shape, [form])
        self._layers.append(layer)
        return layer

    def operation(self, name: str, function: Any, args: Any, kwargs: Any, out: Any) -> None:
        if not self._inside:
            super().operation(name, function, args, kwargs, out)


class _Functions(TorchFunctionMode):
    """Tells a tracer of each operation of torch."""

    def __init__(self, tracer: _Tracer) -> None:
        super().__init__()
        self._tracer = tracer

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self._tracer.operation(getattr(func, "__name__", ""), func, args, kwargs or {}, out)
        return out


def _step_of(module: nn.Module) -> float:
    """The step that all neurons of a module share."""
    found = {part.dt: name for name, part in module.named_modules() if isinstance(part, Neuron)}
    if not found:
        raise UserError("the module has no neurons of spikesim.neurons")
    if len(found) > 1:
        (a, one), (b, two), *_ = found.items()
        raise UserError(f"{one} has dt = {a}, {two} has dt = {b}; a network has one step")
    return float(next(iter(found)))
