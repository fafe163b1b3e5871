"""Operations of torch on arrays of a run that is watched: views, sums and products of spikes.

Each array stands for a :class:`Form`, and for the axes with which it begins: ``[T, B]`` or
``[T * B]``.
"""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim.counts import emitted
from spikesim.errors import UserError
from spikesim.network.convert_form import Form, Shape, averaged, chosen

KNOWN = "linear maps, convolutions, batch norm, pooling, views, and sums of spikes"
LOOP = "in place of a loop over steps take spikesim.recurrent.Recurrent"
PRODUCTS = "values times values cannot be synapses, whose weights are fixed; only spikes times "

MOVES = (
    *("flatten", "unflatten", "view", "reshape", "permute", "transpose", "swapaxes", "movedim"),
    *("squeeze", "unsqueeze", "__getitem__", "cat", "concat", "chunk", "split", "flip", "roll"),
    *("contiguous", "clone", "detach", "narrow", "select", "expand"),
)
"""They only rearrange, repeat or leave out."""
CASTS = ("to", "float", "double", "type_as", "cpu")
SUMS = {"add": 1.0, "add_": 1.0, "sub": -1.0, "sub_": -1.0, "__rsub__": -1.0, "rsub": -1.0}
"""With the sign of the second operand."""
PRODUCT_NAMES = ("mul", "mul_", "div", "div_", "true_divide", "neg")


@dataclass(frozen=True, eq=False)
class Value:
    """What an array of the run stands for, in ``shape`` without its ``lead`` first axes."""

    form: Form
    shape: Shape
    lead: int


class Operations:
    """The arrays of a run of ``steps`` and ``samples``, and what operations do to them."""

    def __init__(self, steps: int, samples: int) -> None:
        self.steps, self.samples = steps, samples
        self._values: dict[int, tuple[Tensor, Value]] = {}  # arrays are kept: their ids stay theirs

    def error(self, why: str) -> UserError:
        """What cannot be converted, and where."""
        raise NotImplementedError

    def fires_at(self, form: Form, shape: Shape, threshold: float, suffix: str = "") -> Form:
        """New neurons without memory, which fire where a form reaches a value."""
        raise NotImplementedError

    def keep(self, x: Tensor, value: Value) -> None:
        """From now on ``x`` stands for ``value``."""
        self._values[id(x)] = x, value

    def is_known(self, x: Any) -> bool:
        """Whether an array comes from the module's input."""
        return id(x) in self._values

    def value(self, x: Any) -> Value:
        """What an array stands for, for something that goes on with it."""
        if not self.is_known(x):
            raise self.error("its input is not made from the module's input by operations of torch")
        value = self._values[id(x)][1]
        for term in value.form.terms:
            if emitted(term.source.neuron) != 1:
                kind = type(term.source.neuron).__name__
                raise self.error(
                    f"{kind} at {term.source.name} emits no spikes of 0 or 1, so nothing can follow"
                )
        return value

    def operation(self, name: str, function: Any, args: Any, kwargs: Any, out: Any) -> None:
        """An operation has run."""
        given = [x for x in tensors((args, kwargs)) if self.is_known(x)]
        if not given or next(tensors(out), None) is None:
            return
        if name in CASTS:
            self.keep(out, self.value(given[0]))
        elif name in MOVES:
            self._move(given, function, args, kwargs, out)
        elif name in SUMS and not kwargs:
            a, b = args if name not in ("__rsub__", "rsub") else args[::-1]
            self._add(a, b, SUMS[name], out)
        elif name in PRODUCT_NAMES and not kwargs:
            a, b = args if name != "neg" else (args[0], -1.0)
            self._multiply(name, a, b, out)
        elif name in ("mean", "sum"):
            self._average(args, kwargs, out, total=name == "sum")
        else:
            cure = LOOP if name == "unbind" else f"what can: {KNOWN}"
            raise self.error(f"{name} cannot become neurons and synapses; {cure}")

    def _move(self, given: list[Tensor], function: Any, args: Any, kwargs: Any, out: Any) -> None:
        """Follow each place: the operation is repeated on the numbers of the places."""
        parts: dict[int, list[Form]] = {}
        leads: dict[int, int] = {}
        for x in given:
            value = self.value(x)
            swap = {id(y): torch.zeros(y.shape, dtype=torch.int64) for y in given}
            swap[id(x)] = torch.arange(1, x.numel() + 1).view(x.shape)
            moved = function(*_swapped(args, swap), **_swapped(kwargs, swap))
            for result, places in zip(tensors(out), tensors(moved), strict=True):
                index, leads[id(result)] = self._within(places, prod(value.shape))
                parts.setdefault(id(result), []).append(chosen(value.form, index))
        for result in tensors(out):
            forms, lead = parts[id(result)], leads[id(result)]
            joined = Form.joined(forms, is_binary=all(form.is_binary for form in forms))
            self.keep(result, Value(joined, tuple(result.shape[lead:]), lead))

    def _within(self, places: Tensor, size: int) -> tuple[NDArray[np.int64], int]:
        """Where in its step each place of a step comes from (-1: elsewhere), and the lead axes."""
        rows = self.steps * self.samples
        for lead, begins in ((2, (self.steps, self.samples)), (1, (rows,))):
            if tuple(places.shape[:lead]) == begins:
                at = places.reshape(rows, -1).numpy() - 1
                index = np.where(at[0] < 0, -1, at[0] % size)
                expected = np.where(index < 0, -1, index + size * np.arange(rows)[:, None])
                if (at == expected).all():
                    return index, lead
        raise self.error("it mixes steps or samples; each step of a sample must stay by itself")

    def _add(self, a: Any, b: Any, sign: float, out: Tensor) -> None:
        """``a + sign b``; one of them may be a constant."""
        value = self.value(a if self.is_known(a) else b)
        left, right = self._operand(a, value, out), self._operand(b, value, out)
        if sign < 0:
            right = right.scaled(np.full(right.constant.size, sign))
        is_not = sign < 0 and value.form.is_binary and not left.terms and (left.constant == 1).all()
        form = Form.joined((left, right), is_binary=bool(is_not))
        self.keep(out, Value(form, value.shape, value.lead))

    def _multiply(self, name: str, a: Any, b: Any, out: Tensor) -> None:
        if not self.is_known(a) and name == "mul":
            a, b = b, a
        value = self.value(a)
        other = self._operand(b, value, out)
        if self.is_known(b):
            if name not in ("mul", "mul_") or not (value.form.is_binary and other.is_binary):
                raise self.error(f"{PRODUCTS}spikes can")
            both = Form.joined((value.form, other))
            form = self.fires_at(both, value.shape, 1.5, "and")
        else:
            number = other.constant
            form = value.form.scaled(number if name in ("mul", "mul_", "neg") else 1.0 / number)
        self.keep(out, Value(form, value.shape, value.lead))

    def _operand(self, x: Any, like: Value, out: Tensor) -> Form:
        """An array, or a constant that is the same in each step, in the shape of ``like``."""
        if self.is_known(x):
            value = self.value(x)
            if (value.shape, value.lead) == (like.shape, like.lead):
                return value.form
            raise self.error(f"shapes {list(like.shape)} and {list(value.shape)} of a step differ")
        size = prod(like.shape)
        if not isinstance(x, Tensor):
            return Form((), np.full(size, float(x)))
        if tuple(out.shape[like.lead :]) == like.shape:
            full = x.detach().double().expand(out.shape).reshape(self.steps * self.samples, size)
            if bool((full == full[0]).all()):
                return Form((), full[0].numpy().copy())
        raise self.error("it joins an array that differs between steps, or has more places")

    def _average(self, args: Any, kwargs: Any, out: Tensor, *, total: bool) -> None:
        value = self.value(args[0])
        rank = args[0].dim()
        given = inspect.signature(_reduction).bind(*args, **kwargs).arguments.get("dim")
        dims = range(rank) if given is None else [given] if isinstance(given, int) else given
        axes = tuple(sorted(dim % rank - value.lead for dim in dims))
        if axes[0] < 0:
            raise self.error("it works across steps or samples; convert what comes before it")
        form = averaged(value.form, value.shape, axes, total=total)
        self.keep(out, Value(form, tuple(out.shape[value.lead :]), value.lead))


def _reduction(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> None:
    """The arguments of ``torch.mean`` and ``torch.sum``."""


def tensors(value: Any) -> Iterator[Tensor]:
    """All arrays of arguments or results."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for part in value:
            yield from tensors(part)


def _swapped(value: Any, swap: dict[int, Tensor]) -> Any:
    """Arguments with other arrays in place of some."""
    if isinstance(value, Tensor):
        return swap.get(id(value), value)
    if isinstance(value, dict):
        return {key: _swapped(part, swap) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_swapped(part, swap) for part in value)
    return value
