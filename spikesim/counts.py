"""Which arrays hold spikes or small counts, known from how they were made, never from the data.

A neuron's recorded step says what it can emit; the operations of a model say what becomes of it:
views and copies keep it, a sum of two spikes is 0 to 2, whatever else forgets it.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from spikesim.kernels.program import Bound
from spikesim.kernels.tape import Argument, TraceError

if TYPE_CHECKING:
    from spikesim.neuron import Neuron

Largest: TypeAlias = int | None
"""The largest value of an array of whole numbers from 0 on; ``None``: not known to be one."""

LARGEST = 255
"""Larger counts are not followed: they fit no byte, and bfloat16 rounds above 256."""


def emitted(neuron: "Neuron") -> Largest:
    """The largest output of a neuron: 1 for spikes, ``D`` for counts, ``None`` for a membrane.

    >>> from spikesim.neurons import ILIF, LI, LIF
    >>> emitted(LIF()), emitted(ILIF(levels=4)), emitted(LI())
    (1, 4, None)
    """
    try:
        bound = neuron.bound()
    except TraceError:
        return None
    return _emitted(bound)


@lru_cache(maxsize=4096)
def _emitted(bound: Bound) -> Largest:
    low, high, is_whole = _range(bound)
    return _bounded(int(high)) if is_whole and low >= 0 and math.isfinite(high) else None


def _range(bound: Bound) -> tuple[float, float, bool]:
    """The lowest and highest output, and whether it is whole."""
    known: dict[str, tuple[float, float, bool]] = {
        f"c{place}": (number, number, number.is_integer())
        for place, number in enumerate(bound.numbers)
    }

    def of(arg: Argument) -> tuple[float, float, bool]:
        if isinstance(arg, float):
            return arg, arg, arg.is_integer()
        return known.get(str(arg), (-math.inf, math.inf, False))

    for line in bound.program.lines:
        ranges = [of(arg) for arg in line.args]
        lows, highs, wholes = zip(*ranges, strict=True) if ranges else ((), (), ())
        if line.op in ("spike", "bernoulli"):
            known[line.name] = 0.0, 1.0, True
        elif line.op == "-":
            known[line.name] = lows[0] - highs[1], highs[0] - lows[1], all(wholes)
        elif line.op == "maximum":
            known[line.name] = max(lows), max(highs), all(wholes)
        elif line.op == "minimum":
            known[line.name] = min(lows), min(highs), all(wholes)
        elif line.op == "where":
            known[line.name] = min(lows[1:]), max(highs[1:]), all(wholes[1:])
        elif line.op == "round_" and math.isfinite(lows[0] + highs[0]):
            known[line.name] = float(round(lows[0])), float(round(highs[0])), True
        elif line.op == "detach":
            known[line.name] = ranges[0]
    return of(bound.program.after["output"])


class Following(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While active, follows counts through every operation; :meth:`largest` of an array asks."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known: dict[int, tuple[int, Tensor]] = {}  # by memory, which is kept alive

    def largest(self, x: Any) -> Largest:
        """The largest value of ``x``, if it is a tensor or number known to hold counts."""
        if isinstance(x, bool | int | float):
            return int(x) if x >= 0 and float(x).is_integer() else None
        if not isinstance(x, Tensor):
            return None
        return 1 if x.dtype == torch.bool else self._known.get(_memory(x), (None,))[0]

    def learn(self, x: Any, largest: Largest) -> None:
        """All of the memory of ``x`` holds counts up to ``largest``; ``None`` forgets."""
        if not isinstance(x, Tensor):
            return
        self._known.pop(_memory(x), None)
        fills = x.numel() * x.element_size() == x.untyped_storage().nbytes()
        if largest is not None and _bounded(largest) is not None and fills:
            self._known[_memory(x)] = largest, x

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one operation and note what it makes."""
        out = func(*args, **(kwargs or {}))
        for place, formal in enumerate(func._schema.arguments):
            if formal.alias_info is not None and formal.alias_info.is_write:
                given = args[place] if place < len(args) else (kwargs or {}).get(formal.name)
                for written in given if isinstance(given, list | tuple) else [given]:
                    self.learn(written, None)
        rule = _RULES.get(func.overloadpacket)
        if rule is not None:
            first = out[0] if isinstance(out, tuple) else out
            self.learn(first, rule(self, args, kwargs or {}))
        return out


def _memory(x: Tensor) -> int:
    return int(x.untyped_storage()._cdata)


def _bounded(largest: int) -> Largest:
    return largest if largest <= LARGEST else None


Rule: TypeAlias = Callable[[Following, tuple[Any, ...], Any], Largest]


def _same(known: Following, args: tuple[Any, ...], options: Any) -> Largest:
    return known.largest(args[0])


def _joined(known: Following, args: tuple[Any, ...], options: Any) -> Largest:
    return _most([known.largest(x) for x in args[0]])


def _either(known: Following, args: tuple[Any, ...], options: Any) -> Largest:
    return _most([known.largest(x) for x in args[-2:]])


def _product(known: Following, args: tuple[Any, ...], options: Any) -> Largest:
    a, b = map(known.largest, args[:2])
    return None if a is None or b is None else a * b


def _sum(known: Following, args: tuple[Any, ...], options: Any) -> Largest:
    a, b = map(known.largest, args[:2])
    return None if a is None or b is None or options.get("alpha", 1) != 1 else a + b


def _complement(known: Following, args: tuple[Any, ...], options: Any) -> Largest:
    """``1 - a`` of spikes; as ``rsub(a, 1)``."""
    is_one = known.largest(args[0]) == 1 and known.largest(args[1]) == 1 and len(args) == 2
    return 1 if is_one and isinstance(args[1], float | int) and not options else None


def _most(of: list[Largest]) -> Largest:
    known = [largest for largest in of if largest is not None]
    return max(known) if known and len(known) == len(of) else None


_aten = torch.ops.aten
_RULES: dict[Any, Rule] = {
    _aten.clone: _same,
    _aten._to_copy: _same,
    _aten.index_select: _same,
    _aten.gather: _same,
    _aten.flip: _same,
    _aten.roll: _same,
    _aten.repeat: _same,
    _aten.max_pool2d_with_indices: _same,
    _aten.max_pool3d_with_indices: _same,
    _aten.cat: _joined,
    _aten.stack: _joined,
    _aten.where: _either,
    _aten.maximum: _either,
    _aten.minimum: _either,
    _aten.mul: _product,
    _aten.add: _sum,
    _aten.rsub: _complement,
}
"""What is made of what; views need no rule, they share the memory."""


@contextmanager
def followed(model: nn.Module) -> Iterator[Following]:
    """A :class:`Following` that knows what the neurons and pools of ``model`` give."""
    from spikesim.attention import SDSA
    from spikesim.neuron import Neuron

    following = Following()
    emits: dict[Any, Largest] = {
        module: emitted(module) for module in model.modules() if isinstance(module, Neuron)
    }

    # Their kernels are no torch operations, so the modules tell.
    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, Neuron):
            following.learn(output, emits[module])
        elif isinstance(module, SDSA):
            of_q, of_gate = following.largest(inputs[0]), emits.get(module.neuron)
            following.learn(output, None if of_q is None or of_gate is None else of_q * of_gate)
        else:
            following.learn(output, following.largest(inputs[0]))

    kinds = (Neuron, SDSA, nn.MaxPool2d)
    handles = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, kinds)]
    try:
        with following:
            yield following
    finally:
        for handle in handles:
            handle.remove()
