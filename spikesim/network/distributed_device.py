"""Spikes of a block of steps between devices: their bits, by one collective operation of NCCL.

A row of bits has a fixed size, so that nothing overflows, and the host sees nothing of it: an
exchange is part of the CUDA graph that it belongs to.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from spikesim.kernels.engine import Cells, Received, SpikeSource
from spikesim.kernels.exchange import Exchanged, Member
from spikesim.network.distributed import Share, at_end, contact
from spikesim.network.population import Group
from spikesim.world import World


class DeviceExchange:
    """Groups whose spikes are exchanged at once.

    Args:
        world: the processes.
        shares: of the groups.
        sources: the part of each group that runs here.
        block: of the machine.
        steps: from one exchange to the next; no synapse is faster.
        device: of this process.

    Attributes:
        operation: what the engine runs.
        received: spikes of all neurons of each group.
    """

    def __init__(
        self,
        world: World,
        shares: Mapping[Group, Share],
        sources: Mapping[Group, Cells | SpikeSource],
        block: int,
        steps: int,
        device: torch.device,
    ) -> None:
        self.received = {
            group: Received(group.size, np.zeros((block, -(-group.size // 32)), np.uint32))
            for group in shares
        }
        members = []
        for group, share in shares.items():
            own = sources[group]
            assert isinstance(own, Cells)
            members.append(Member(own, self.received[group], share.limits))
        self._group = _nccl() if device.type == "cuda" else None
        self.operation = Exchanged(members, world.rank, steps, self._gather)

    def _gather(self, own: Tensor, all_: Tensor) -> None:
        _gather(all_, own, group=self._group)


# TODO: dist.all_gather_single when torch >= 2.13, which warns of the older name.
_gather = getattr(dist, "all_gather_single", dist.all_gather_into_tensor)

_GROUPS: list[dist.ProcessGroup] = []
"""That of NCCL, once a network needs it."""


def _nccl() -> dist.ProcessGroup:
    if not _GROUPS:
        with contact():
            _GROUPS.append(dist.new_group(backend="nccl"))
        at_end(_GROUPS.clear)
    return _GROUPS[0]
