"""A plasticity rule as straight lines of operations, recorded once, free of numbers and backends.

``on_pre`` and ``on_post`` of a :class:`~spikesim.network.plasticity.rule.Plasticity` run once on
tape values. What they return falls into three parts: how traces of the sending neuron jump, how
those of the receiving neuron jump, and what becomes of a synapse. Rules that differ in their
numbers alone share one program, and so one compiled kernel.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from spikesim.kernels.program import without_numbers
from spikesim.kernels.step_numba import needed
from spikesim.kernels.tape import Argument, Line, TraceError, Value, as_argument
from spikesim.types import Named

if TYPE_CHECKING:
    from spikesim.network.plasticity.rule import Plasticity

WEIGHT, ELIGIBILITY, SENT = "w", "e", "sent"
"""What a synapse may have beside traces; ``sent`` is what the receptor gets."""


@dataclass(frozen=True)
class Part:
    """Lines, and the names that they give a new value."""

    lines: tuple[Line, ...]
    after: Mapping[str, Argument]

    def reads(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of ``names`` that a line or a result reads."""
        read = {arg for line in self.lines for arg in line.args} | set(self.after.values())
        return tuple(name for name in names if name in read)


@dataclass(frozen=True, eq=False)
class PlasticProgram:
    """A rule, ready to be printed; equal ``key``, equal text."""

    pre: tuple[str, ...]
    """Traces of the sending neuron."""
    post: tuple[str, ...]
    """Traces of the receiving neuron."""
    has_eligibility: bool
    jump_pre: Part
    """Traces of the sender at its spike, from their values just before."""
    jump_post: Part
    """Traces of the receiver at its spike, from their values just before."""
    on_pre: Part
    """The synapse at a spike of the sender: ``w``, ``e``, ``sent`` from all values before it."""
    on_post: Part
    """The synapse at a spike of the receiver."""

    @cached_property
    def key(self) -> str:
        """A name for the text."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @property
    def parts(self) -> tuple[Part, ...]:
        """All four."""
        return self.jump_pre, self.jump_post, self.on_pre, self.on_post

    @property
    def is_plastic(self) -> bool:
        """Whether weights change."""
        return self.has_eligibility or any(WEIGHT in p.after for p in (self.on_pre, self.on_post))

    @property
    def heard(self) -> tuple[str, ...]:
        """Traces of the receiver that a sender's spike meets."""
        return self.on_pre.reads(self.post)

    @property
    def looks_back(self) -> bool:
        """Whether spikes of the receiver matter."""
        return bool(self.on_post.after or self.heard)

    @property
    def before_post(self) -> tuple[str, ...]:
        """Traces of the receiver whose value before its spike a synapse needs."""
        return self.on_post.reads(self.post)


PROGRAMS: dict[str, PlasticProgram] = {}
"""Every program by its key."""


@dataclass(frozen=True)
class BoundRule:
    """A program with the numbers of one rule."""

    program: PlasticProgram
    numbers: tuple[float, ...]
    """The literals, read by the lines as ``c0``, ``c1``, ..."""


def bind_rule(rule: "Plasticity") -> BoundRule:
    """Record a rule.

    Raises:
        TraceError: it leaves the operator set, names a value that it has not, or lets a trace of
            one neuron depend on the other neuron or on a synapse.
    """
    pre, post = tuple(rule.pre()), tuple(rule.post())
    has_eligibility = rule.eligibility() is not None
    own = (WEIGHT, ELIGIBILITY) if has_eligibility else (WEIGHT,)
    who = type(rule).__name__
    taken = (WEIGHT, ELIGIBILITY, SENT)
    if len({*pre, *post, *taken}) != len(pre) + len(post) + len(taken):
        raise TraceError(f"{who}: each trace needs a name of its own, none of {list(taken)}")
    if not all(name.isidentifier() for name in (*pre, *post)):
        raise TraceError(f"{who}: names of traces must be Python names")
    lines: list[Line] = []
    s = Named({name: Value(name, lines) for name in (*own, *pre, *post)})
    numbers: dict[float, str] = {}
    changes = {}
    for event, traces, given in (
        ("on_pre", pre, rule.on_pre(s)),
        ("on_post", post, rule.on_post(s)),
    ):
        results = (*own, *((SENT,) if event == "on_pre" else ()), *traces)
        changes[event] = _changes(f"{who}.{event}", given, results)
    free = [without_numbers(line, numbers) for line in lines]

    def part(event: str, names: tuple[str, ...]) -> Part:
        after = {name: changes[event][name] for name in names if name in changes[event]}
        return Part(tuple(needed(free, after.values())), after)

    program = PlasticProgram(
        pre=pre,
        post=post,
        has_eligibility=has_eligibility,
        jump_pre=part("on_pre", pre),
        jump_post=part("on_post", post),
        on_pre=part("on_pre", (*own, SENT)),
        on_post=part("on_post", own),
    )
    for jump, traces in ((program.jump_pre, pre), (program.jump_post, post)):
        others = jump.reads(name for name in (*own, *pre, *post) if name not in traces)
        if others:
            raise TraceError(
                f"{who}: {list(traces)} belong to a neuron, so that they cannot depend on "
                f"{others[0]!r}"
            )
    return BoundRule(PROGRAMS.setdefault(program.key, program), tuple(numbers))


def _changes(where: str, given: Any, names: tuple[str, ...]) -> dict[str, Argument]:
    """What an event changes; what it leaves as it is does not count."""
    if not isinstance(given, Mapping):
        raise TraceError(f"{where} must return dict(w=...), got {given!r}")
    wrong = [name for name in given if name not in names]
    if wrong:
        raise TraceError(f"{where} gives {wrong[0]!r}; it may give {list(names)}")
    changes = {name: as_argument(where, value) for name, value in given.items()}
    return {name: value for name, value in changes.items() if value != name}
