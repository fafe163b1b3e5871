"""The order in which populations are updated, and how many steps at once.

Spikes over a delay of ``d`` steps may be handed on after their sender has run ``b`` steps at once
where ``d >= b``; over a shorter delay the receiver must run after the sender. So ``b`` steps can be
run at once if the projections shorter than ``b`` form no cycle, and populations follow their order.
Plastic ones are never shorter: what they send depends on spikes of their receivers too. Nor is
feedback of a readout, which is found when all its neurons have run.
"""

from collections.abc import Sequence
from typing import TypeAlias

from spikesim.errors import UserError
from spikesim.network.population import Group
from spikesim.network.projection import Projection
from spikesim.network.readout import Readout

Link: TypeAlias = Projection | Readout
LARGEST_BLOCK = 32
"""Steps at once; more gain nothing and lengthen rings."""


def schedule(groups: Sequence[Group], projections: Sequence[Link]) -> tuple[int, list[Group]]:
    """The largest power of two of steps that can be run at once, and the order of the groups.

    Raises:
        UserError: projections of zero delay form a cycle; names its groups.
    """
    block = LARGEST_BLOCK
    while True:
        order, cycle = in_order(groups, [p for p in projections if p.least_delay < block])
        shortest = min((p.least_delay for p in projections if p.is_plastic), default=block)
        if not cycle and shortest >= block:
            return block, order
        if block == 1:
            names = " -> ".join(group.name for group in (*cycle, cycle[0]))
            raise UserError(
                f"zero delays form a cycle, {names}: one of its projections needs at least a step"
            )
        block //= 2


def stages(
    order: Sequence[Group], projections: Sequence[Projection], block: int
) -> list[list[Group]]:
    """The groups of an order in as few parts as can run before their spikes are handed on."""
    found: list[list[Group]] = [[]]
    for group in order:
        short = {p.pre for p in projections if p.post is group and p.least_delay < block}
        if not short.isdisjoint(found[-1]):
            found.append([])
        found[-1].append(group)
    return found


def in_order(
    groups: Sequence[Group], projections: Sequence[Link]
) -> tuple[list[Group], list[Group]]:
    """Groups so that each projection leads on, otherwise as given, and a cycle if there is one."""
    before: dict[Group, set[Group]] = {group: set() for group in groups}
    for projection in projections:
        before[projection.post].add(projection.pre)
    order: list[Group] = []
    left = list(groups)
    while left:
        free = next((group for group in left if before[group].isdisjoint(left)), None)
        if free is None:
            return order, _cycle(left, before)
        order.append(free)
        left.remove(free)
    return order, []


def _cycle(left: list[Group], before: dict[Group, set[Group]]) -> list[Group]:
    """Walk back, where each group has another one before it, until one comes again."""
    path = [left[0]]
    while True:
        earlier = next(group for group in left if group in before[path[-1]])
        if earlier in path:
            return path[path.index(earlier) :][::-1]
        path.append(earlier)
