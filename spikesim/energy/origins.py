"""What a tensor was made of, known by its memory, while a model runs."""

from collections.abc import Hashable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from spikesim.energy.fan_out import FanOut, storage_of
from spikesim.energy.neurons import kept_states, tensors
from spikesim.energy.products import padded_inside
from spikesim.energy.steps import Timing

WEIGHT, NOTHING, ACTIVE = "weight", "nothing", "active"
OVER_DIMENSIONS = (
    *("mean", "sum", "nansum", "prod", "logsumexp", "std", "var", "median"),
    *("amax", "amin", "max", "min", "any", "all", "argmax", "argmin"),
)
"""Reductions whose second argument is the dimensions."""
SPREADS = ("repeat", "repeat_interleave", "stack", "cat")
"""Operations that make steps of what has none."""
COPIES = ("clone", "_to_copy")
"""Operations that give what entered, elsewhere in memory or of another dtype."""


class Origins:
    """Tells weights from activations.

    What is made of parameters and buffers alone is a weight, what is made of no tensor (zeros,
    noise) is of nothing, all else is an activation. Memory that no operation of torch was seen to
    write is an activation too: it came with the data, or out of a kernel.

    Attributes:
        owners: memory of a parameter or buffer -> name of its module.
        names: place and size of a parameter or buffer -> its name.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.owners = {
            storage_of(tensor): name
            for name, module in model.named_modules()
            for tensor in (*module._parameters.values(), *module._buffers.values())
            if tensor is not None
        }
        self.names = {
            _place(tensor): name
            for name, tensor in (*model.named_parameters(), *model.named_buffers())
        }
        self._parameters = {name for name, _ in model.named_parameters()}
        self._states = set[int]()
        self._fan_outs: dict[Hashable, Tensor] = {}
        self.begin()

    def begin(self) -> None:
        """A batch begins; what the last one made is gone."""
        self._what = dict.fromkeys(self.owners, WEIGHT)
        for state in kept_states(self._model):
            self._what.pop(storage_of(state), None)
        for place in self._states:
            self._what.pop(place, None)
        self._lasting = set(self._what)
        self._first_weights = frozenset(self._what)
        self._made = set[int]()
        self._copies = dict[int, int]()
        self._named = dict[int, str]()
        self._padded = dict[int, tuple[torch.Size, list[int]]]()
        self._timeless = set[int]()

    def found_states(self) -> bool:
        """Whether the batch wrote activations into buffers not known as states; now they are."""
        known = len(self._states)
        self._states |= {
            place
            for buffer in self._model.buffers()
            if (place := storage_of(buffer)) in self._first_weights and place not in self._what
        }
        return len(self._states) > known

    def of(self, tensor: Tensor) -> str:
        """``WEIGHT``, ``NOTHING`` or ``ACTIVE``."""
        return self._what.get(storage_of(tensor), ACTIVE)

    def is_weight(self, tensor: Tensor) -> bool:
        """Whether it is made of parameters and buffers alone."""
        return self.of(tensor) == WEIGHT

    def owner(self, *tensors: Tensor | None) -> str | None:
        """The module to which the first of these belongs that belongs to one."""
        found = (self.owners.get(storage_of(tensor)) for tensor in tensors if tensor is not None)
        return next((name for name in found if name is not None), None)

    def name(self, weight: Tensor) -> str:
        """Of the parameter or buffer that this is, transposed, copied, masked or quantised."""
        return self._named.get(storage_of(weight)) or self.names.get(_place(weight), "")

    def call(self, weight: Tensor, name: str) -> None:
        """Name what a parametrization made."""
        if self.is_weight(weight):
            self._named[storage_of(weight)] = name

    def place(self, weight: Tensor) -> tuple[int, int, int] | None:
        """Where this part of a parameter or buffer lies; ``None`` if it is made."""
        return _place(weight) if storage_of(weight) in self._lasting else None

    def follow(self, func: Any, name: str, entered: list[Tensor], left: list[Tensor]) -> str:
        """An operation ran; gives of what its outputs are made."""
        kinds = {self.of(tensor) for tensor in entered}
        kind = ACTIVE if ACTIVE in kinds else WEIGHT if WEIGHT in kinds else NOTHING
        if func.is_view:
            return kind  # the same memory, to which nothing was written
        made_of = self._made_of(entered, left) if kind == WEIGHT else ""
        copied = self._padded.get(storage_of(entered[0])) if name in COPIES else None
        for tensor in left:
            place = storage_of(tensor)
            self._padded.pop(place, None)
            if copied is not None:
                self._padded[place] = copied
            self._copies.pop(place, None)
            self._named.pop(place, None)
            self._what.pop(place, None)
            if name.startswith(("empty", "new_empty")):
                self._made.discard(place)
                continue
            self._made.add(place)
            if func._schema.is_mutable:
                self._lasting.discard(place)
            if kind != ACTIVE:
                self._what[place] = kind
            if made_of:
                self._named[place] = made_of
            if name == "_to_copy" and storage_of(entered[0]) in self._lasting:
                # As autocast makes of weights.
                self._copies[place] = storage_of(entered[0])
                self._named[place] = self.name(entered[0])
        return kind

    def _made_of(self, entered: list[Tensor], left: list[Tensor]) -> str:
        """The one parameter that values are made of one by one, as by a mask; empty if none is."""
        sizes = {x.numel() for x in left}
        names = {self.name(x) for x in entered if {x.numel()} == sizes} & self._parameters
        return names.pop() if len(names) == 1 else ""

    def is_timeless(self, x: Tensor, timing: Timing) -> bool:
        """Whether it is the same for all steps: made of means, sums and maxima over them."""
        return storage_of(x) in self._timeless and not timing.is_spread(x)

    def follow_time(
        self, name: str, args: tuple[Any, ...], kwargs: Any, left: list[Tensor], timing: Timing
    ) -> None:
        """An operation ran, which may have ended time, or spread something over it again."""
        ends = name in OVER_DIMENSIONS and timing.is_over(args, kwargs)
        if not (ends or self._timeless):
            return
        active = [x for x in tensors((args, kwargs)) if self.of(x) == ACTIVE]
        was = bool(active) and all(self.is_timeless(x, timing) for x in active)
        for x in left:
            again = name in SPREADS and timing.of(x.shape).groups > 1
            known = self._timeless.add if (ends or was) and not again else self._timeless.discard
            known(storage_of(x))

    def activate(self, tensors: Iterable[Tensor], *, is_timeless: bool | None = None) -> None:
        """These are activations, whatever they were made of."""
        for tensor in tensors:
            place = storage_of(tensor)
            self._what.pop(place, None)
            if is_timeless is not None:
                (self._timeless.add if is_timeless else self._timeless.discard)(place)
            self._made.add(place)

    def unseen(self, entered: Iterable[Tensor], left: Iterable[Tensor]) -> bool:
        """Whether something left that neither entered nor was made by an operation of torch."""
        given = {storage_of(tensor) for tensor in entered}
        places = (storage_of(tensor) for tensor in left)
        known = (self._made, self.owners, given)
        return any(all(place not in some for some in known) for place in places)

    def pad(self, args: tuple[Any, ...], padded: Tensor) -> None:
        """A map was padded."""
        edges = padded_inside(args)
        if edges is not None:
            self._padded[storage_of(padded)] = padded.shape, edges

    def inside(self, x: Tensor) -> list[int] | None:
        """Where a padded map has no padding, see :func:`padded_inside`; ``None`` if it is none."""
        shape, edges = self._padded.get(storage_of(x), (None, None))
        return edges if shape == x.shape else None

    def fan_out(self, wanted: FanOut) -> Tensor:
        """The fan-out of a weight, once for all calls if nothing writes to the weight.

        That of a copy in another dtype is found again too, by what it is a copy of.
        """
        place = storage_of(wanted.weight)
        source = self._copies.get(place, place)
        if source not in self._lasting:
            return wanted.values()
        key = source, wanted.weight.dtype, wanted.key[1:]
        found = self._fan_outs.get(key)
        if found is None:
            found = self._fan_outs[key] = wanted.values()
        return found


def _place(tensor: Tensor) -> tuple[int, int, int]:
    """The same for a parameter and its transpose, also where several lie in one memory."""
    return storage_of(tensor), _offset(tensor), tensor.numel()


def _offset(tensor: Tensor) -> int:
    return int(tensor.storage_offset()) if tensor.layout == torch.strided else 0


def written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """Arguments to which an operation writes, which is all that it leaves if it gives nothing."""
    known = func._schema.arguments
    given = {**dict(zip((one.name for one in known), args, strict=False)), **kwargs}
    return [
        tensor
        for one in known
        if one.alias_info is not None and one.alias_info.is_write
        for tensor in tensors(given.get(one.name))
    ]
