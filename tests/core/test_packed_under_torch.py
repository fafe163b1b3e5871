"""Packed spikes under activation checkpointing, distributed training and ``torch.compile``."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from spikesim.memory import pack_spikes

Helper = Callable[..., Any]


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing(
    reentrant: bool, grown: Helper, assert_same: Helper, kept_bytes: Helper, fire: type[nn.Module]
) -> None:
    plain = nn.Sequential(fire(), nn.Conv2d(3, 4, 3), fire(), nn.Conv2d(4, 2, 3))
    x = torch.randn(2, 3, 9, 8)
    packed = pack_spikes(copy.deepcopy(plain), x)
    again = nn.Sequential(_Checkpointed(packed, reentrant))
    assert_same(grown(x, again), grown(x, plain))
    if not reentrant:
        # Only its input, which is not the region's own.
        assert kept_bytes(lambda: again(x.requires_grad_()), again) <= x.nbytes + 2**14


class _Checkpointed(nn.Module):
    def __init__(self, inside: nn.Module, reentrant: bool) -> None:
        super().__init__()
        self.inside, self.reentrant = inside, reentrant

    def forward(self, x: Tensor) -> Tensor:
        out = checkpoint(self.inside, x, use_reentrant=self.reentrant)
        assert isinstance(out, Tensor)
        return out


@pytest.fixture
def one_process(tmp_path: object) -> Iterator[None]:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


def test_distributed_training(
    one_process: None, build: Helper, grown: Helper, assert_same: Helper
) -> None:
    plain = build("spiking_vgg")
    x = torch.poisson(torch.full((3, 2, *plain.input_shape), 0.5))
    packed = DistributedDataParallel(pack_spikes(copy.deepcopy(plain)))
    assert_same(grown(x, packed), grown(x, plain))


def test_compiled_model_keeps_bits(
    grown: Helper, assert_same: Helper, kept_bytes: Helper, fire: type[nn.Module]
) -> None:
    torch._dynamo.reset()
    plain = nn.Sequential(fire(), nn.Conv2d(3, 8, 3, padding=1), fire(), nn.Conv2d(8, 4, 3))
    x = torch.randn(2, 3, 20, 20)
    packed = pack_spikes(copy.deepcopy(plain), x)
    # aot_eager: Dynamo and AOTAutograd decide what is kept; Inductor would only take longer.
    run = torch.compile(packed, fullgraph=True, backend="aot_eager")
    expected = grown(x, plain)
    got = grown(x, _Called(run, packed))
    assert_same(got[:2], expected[:2])
    x.requires_grad_()
    kept = kept_bytes(lambda: run(x), packed)
    assert kept <= (x.nbytes + 2 * 8 * 20 * 20 * 4) / 32 + 1024


class _Called(nn.Module):
    def __init__(self, run: Callable[[Tensor], Tensor], model: nn.Module) -> None:
        super().__init__()
        self.run, self.model = run, model

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)
