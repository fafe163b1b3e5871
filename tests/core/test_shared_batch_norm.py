"""Batch norm over several processes, taken over by the neuron."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor

import spikesim
from spikesim.batch_norm import BatchNorm
from spikesim.layers import SpikingSequential, TimeDistributed
from spikesim.neurons import LIF

SHARED = """
import sys
import torch
import torch.distributed as dist
from spikesim.batch_norm import BatchNorm
from spikesim.layers import SpikingSequential, TimeDistributed
from spikesim.neurons import LIF

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
x, g = (torch.load(f"{folder}/{name}.pt") for name in "xg")
x, g = (v.split((3, 2), dim=1)[rank].contiguous() for v in (x, g))
for backend in ("torch", "numba"):
    y = x.clone().requires_grad_()
    neuron = LIF(v_threshold=0.5)
    neuron.backend = backend
    norm = BatchNorm(6)
    norm.synchronised = True
    out = SpikingSequential(TimeDistributed(norm), neuron).double()(y)
    out.backward(g)
    found = (out.detach(), y.grad, norm.weight.grad, norm.bias.grad, norm.state_dict())
    torch.save(found, f"{folder}/{backend}-{rank}.pt")
dist.destroy_process_group()
"""


def near(got: Tensor, expected: Tensor | None) -> None:
    """In 64 bits: the same sums in another order."""
    assert expected is not None
    assert (got - expected).abs().max() <= 1e-10 * expected.abs().max()


def test_two_processes_of_unequal_batches_equal_one(tmp_path: Path) -> None:
    x = 100 + torch.randn(4, 5, 6, 3, 3, dtype=torch.float64)
    g = torch.randn_like(x)
    torch.save(x, tmp_path / "x.pt"), torch.save(g, tmp_path / "g.pt")
    root = Path(spikesim.__file__).resolve().parent.parent
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SHARED, str(rank), str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    neuron = LIF(v_threshold=0.5)
    neuron.backend = "torch"
    one = SpikingSequential(TimeDistributed(BatchNorm(6)), neuron).double()
    y = x.requires_grad_()
    out = one(y)
    out.backward(g)
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    for backend in ("torch", "numba"):
        found = [torch.load(tmp_path / f"{backend}-{rank}.pt") for rank in range(2)]
        assert torch.equal(torch.cat([f[0] for f in found], 1), out.detach())
        near(torch.cat([f[1] for f in found], 1), y.grad)
        for i, parameter in enumerate(one.parameters()):
            near(found[0][2 + i] + found[1][2 + i], parameter.grad)
        for name, value in one[0][0].state_dict().items():
            for f in found:
                torch.testing.assert_close(f[4][name], value, rtol=1e-10, atol=1e-10)
