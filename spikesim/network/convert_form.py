"""What reaches a layer of neurons in a step: spikes of others through linear maps, and a constant.

Between two layers of neurons a module in evaluation mode computes

.. math:: x = c + \\sum_k s_k M_{k1} M_{k2} \\cdots

of the spikes :math:`s_k` of layers before it. That sum is a :class:`Form`, one of its products a
:class:`Term`, and a factor a :class:`Map`. Neurons of a step are counted in the order of its shape.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.network.connect import AllToAll, Explicit, OneToOne
from spikesim.network.rule import Rule
from spikesim.neuron import Neuron

Array: TypeAlias = NDArray[np.float64]
Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Map:
    """A linear map of one step: who reaches whom, and how strongly.

    Args:
        rule: of the synapses.
        n_in, n_out: sizes of a step.
        values: the weights as a module holds them: ``[out, in, ...]`` of a linear map or a
            convolution; otherwise as ``rule`` takes them.
        parameter: what the module calls them; ``None`` where they are no parameter.
        scale: of each output channel ``[out]``, by a batch norm that follows.
    """

    rule: Rule
    n_in: int
    n_out: int
    values: Array
    parameter: str | None = None
    scale: Array | None = None

    @property
    def weight(self) -> Array:
        """As the rule takes them."""
        values = self.values
        if self.scale is not None:
            values = values * self.scale.reshape(-1, *[1] * (values.ndim - 1))
        return values.T.reshape(-1) if isinstance(self.rule, AllToAll) else values

    def matrix(self) -> Any:
        """A ``scipy.sparse.csr_array [n_in, n_out]``."""
        return self.rule.build(self.n_in, self.n_out).to_scipy(self.weight)

    @property
    def synapses(self) -> int:
        """How many synapses it is."""
        return self.rule.expected(self.n_in, self.n_out)

    def scaled(self, channels: Array) -> "Map":
        """The same, and then each output channel times a number."""
        return replace(self, scale=channels if self.scale is None else self.scale * channels)


@dataclass(frozen=True, eq=False, kw_only=True)
class Late(Map):
    """Those synapses of a map that have one delay; ``rule`` is :class:`Explicit`.

    Args:
        index: of each pair of the rule the entry of ``values``, counted through.
    """

    index: NDArray[np.int64]

    @property
    def weight(self) -> Array:
        """As the rule takes them."""
        return super().weight.reshape(-1)[self.index]


@dataclass(frozen=True, eq=False)
class Term:
    """Spikes of a layer, and the maps that they pass in turn; no map: one to one.

    Args:
        source: whose spikes.
        maps: the first to pass first.
        delay: steps that it takes them.
    """

    source: "Layer"
    maps: tuple[Map, ...] = ()
    delay: int = 0

    @property
    def is_late(self) -> bool:
        """Whether it is a part of a map whose synapses have several delays."""
        return any(isinstance(map_, Late) for map_ in self.maps)

    def later(self, steps: int) -> "Term":
        """With more delay."""
        return replace(self, delay=self.delay + steps)

    def through(self, map_: Map) -> "Term":
        """One map further."""
        return replace(self, maps=(*self.maps, map_))

    def scaled(self, each: Array, channels: Array | None) -> "Term":
        """Times a number for each neuron, all the same in a channel if ``channels`` are given.

        A last map with these channels takes the numbers into its own.
        """
        last = self.maps[-1] if self.maps else None
        if last is not None and last.parameter is not None:
            if (each == each[0]).all():
                channels = np.full(len(last.values), each[0])
            if channels is not None and channels.size == len(last.values):
                return replace(self, maps=(*self.maps[:-1], last.scaled(channels)))
        return self.through(Map(OneToOne(), each.size, each.size, each))

    def matrix(self) -> Any:
        """The product of the maps, ``[n_in, n_out]``."""
        if not self.maps:
            from scipy.sparse import eye_array

            return eye_array(prod(self.source.shape), format="csr")
        return reduce(lambda a, b: a @ b, (map_.matrix() for map_ in self.maps))

    def wiring(self) -> tuple[Rule, float | Array]:
        """One rule and its weights."""
        if not self.maps:
            return OneToOne(), 1.0
        if len(self.maps) == 1:
            return self.maps[0].rule, self.maps[0].weight
        product = self.matrix()
        return Explicit.from_scipy(product), product.data

    @property
    def synapses(self) -> int:
        """How many synapses it becomes; of several maps, as if their pairs were spread evenly."""
        if not self.maps:
            return prod(self.source.shape)
        count = float(self.maps[0].synapses)
        for map_ in self.maps[1:]:
            count = min(count * map_.synapses / map_.n_in, self.maps[0].n_in * map_.n_out)
        return round(count)


@dataclass(frozen=True, eq=False)
class Form:
    """A constant and a sum of terms, for each neuron of a step.

    Args:
        terms: what spikes bring.
        constant: ``[n]``.
        is_binary: whether it is known to be 0 or 1.
    """

    terms: tuple[Term, ...]
    constant: Array
    is_binary: bool = False

    @classmethod
    def of(cls, layer: "Layer") -> "Form":
        """The output of a layer itself."""
        return cls((Term(layer),), np.zeros(prod(layer.shape)), is_binary=True)

    @property
    def layer(self) -> "Layer | None":
        """The layer whose output it is, with nothing in between."""
        plain = len(self.terms) == 1 and not self.terms[0].maps and not self.constant.any()
        return self.terms[0].source if plain else None

    def through(self, map_: Map, added: Array | None = None, *, is_binary: bool = False) -> "Form":
        """A map further, and something added."""
        terms = tuple(term.through(map_) for term in self.terms)
        has_constant = bool(self.constant.any())
        constant = map_.matrix().T @ self.constant if has_constant else np.zeros(map_.n_out)
        return Form(terms, constant if added is None else constant + added, is_binary)

    def scaled(self, each: Array, channels: Array | None = None) -> "Form":
        """Times a number for each neuron; see :meth:`Term.scaled`."""
        terms = tuple(term.scaled(each, channels) for term in self.terms)
        return Form(terms, self.constant * each)

    def plus(self, added: Array) -> "Form":
        """With something added."""
        return Form(self.terms, self.constant + added)

    def later(self, steps: int) -> "Form":
        """Spikes with more delay; the constant is there from the start."""
        return replace(self, terms=tuple(term.later(steps) for term in self.terms))

    @classmethod
    def joined(cls, forms: Sequence["Form"], *, is_binary: bool = False) -> "Form":
        """The sum of forms."""
        terms = tuple(term for form in forms for term in form.terms)
        constant = np.sum([form.constant for form in forms], axis=0)
        return cls(terms, constant, is_binary)


@dataclass(eq=False)
class Layer:
    """A population to be.

    Attributes:
        name: the path of the module it stands for.
        neuron: the model, at the module's own ``dt``.
        shape: of a step.
        arriving: what reaches it; the input of the module gets nothing.
        is_module: whether a module of that name gives the same spikes.
    """

    name: str
    neuron: Neuron
    shape: tuple[int, ...]
    arriving: list[Form] = field(default_factory=list)
    is_module: bool = False

    def terms(self) -> Iterator[Term]:
        """All terms."""
        for form in self.arriving:
            yield from form.terms

    @property
    def constant(self) -> Array:
        """What is added in each step."""
        return sum((form.constant for form in self.arriving), np.zeros(prod(self.shape)))


def chosen(form: Form, index: NDArray[np.int64]) -> Form:
    """Values of a form at ``index [n_out]``, in this order; -1 is a value of 0."""
    n_in, n_out = form.constant.size, index.size
    if n_in == n_out and (index == np.arange(n_in)).all():
        return form
    post = np.flatnonzero(index >= 0)
    map_ = Map(Explicit(index[post], post), n_in, n_out, np.ones(post.size))
    return form.through(map_, is_binary=form.is_binary)


def averaged(form: Form, shape: Shape, axes: Shape, *, total: bool) -> Form:
    """The mean over axes of a step, or the sum."""
    places = np.moveaxis(np.arange(form.constant.size).reshape(shape), axes, range(len(axes)))
    places = places.reshape(prod(shape[axis] for axis in axes), -1)
    count, n_out = places.shape
    pairs = Explicit(places.reshape(-1), np.tile(np.arange(n_out), count))
    values = np.full(places.size, 1.0 if total else 1.0 / count)
    return form.through(Map(pairs, places.size, n_out, values))


def output_state(neuron: Neuron) -> str:
    """The state that neurons without spikes give as their output.

    Raises:
        UserError: it is none.
    """
    after = neuron.bound().program.after
    for state in neuron.states:
        if after[state] == after["output"]:
            return state
    raise UserError(
        f"the output of {type(neuron).__name__} is neither spikes of 0 or 1 nor a state that a "
        "network could show"
    )
