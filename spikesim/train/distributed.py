"""A trainer's model on several processes: its buffers, and batch norm over all of them."""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from spikesim.batch_norm import BatchNorm
from spikesim.world import World


def share_buffers(model: nn.Module, world: World) -> None:
    """Give every process the first one's buffers (running statistics)."""
    if world.size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def synchronise_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with every batch norm synchronised, the same parameters and buffers in it.

    Norms that a neuron takes over share their statistics from now on; others are replaced: by
    torch's own on CUDA, which refuses the CPU, and by ours elsewhere.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BatchNorm):
                child.synchronised = True
            elif isinstance(child, _BatchNorm):
                setattr(parent, name, _synchronised(child, device))
    return model


def _synchronised(norm: _BatchNorm, device: torch.device) -> nn.Module:
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(norm)  # type: ignore[no-untyped-call]
        return converted
    made = BatchNorm(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    )
    made.weight, made.bias = norm.weight, norm.bias
    made.running_mean, made.running_var = norm.running_mean, norm.running_var
    made.num_batches_tracked = norm.num_batches_tracked
    made.synchronised = True
    made.train(norm.training)
    return made
