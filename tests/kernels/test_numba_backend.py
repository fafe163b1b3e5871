"""The CPU backend against the reference, and what is its own: files, threads, 16-bit numbers."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spikesim import ops
from spikesim.kernels import fused, numba_backend, operator, threads
from spikesim.kernels.numba_backend import NumbaBackend
from spikesim.neuron import Neuron
from spikesim.neurons import CUBALIF, LI, LIF
from spikesim.surrogate import FastSigmoid, Smoothed, Triangle
from spikesim.types import Named

SECONDS_FROM_CACHE = 0.2  # of one core, for forward and backward, after numba's own start


def test_every_neuron_is_the_reference(check: Any, case: Any) -> None:
    check(NumbaBackend(), case)


@pytest.mark.parametrize("steps", [1, 16, 17, 63, 130])
@pytest.mark.parametrize("neurons", [1, 33, 1025])
def test_odd_sizes(check: Any, cases: Any, steps: int, neurons: int) -> None:
    case = cases["LIF per channel"]
    check(NumbaBackend(), replace(case, steps=steps, shape=(1, neurons), spread="neuron"))


def test_nan_goes_where_the_reference_lets_it(check: Any, cases: Any) -> None:
    case = cases["LIF per channel"]
    x = case.input()
    x[7, 1, 2] = x[20, 0, 0, 1, 3] = float("nan")
    check(NumbaBackend(), case, x=x)


def test_decay_through_subnormal_numbers() -> None:
    neuron = LI(tau=2.0)
    x = torch.zeros(140, 1, 33)
    start = Named(v=torch.rand(1, 33) * 1e-36)
    neuron.backend = "torch"
    expected, _ = neuron.run(x, start)
    neuron.backend = "numba"
    got, _ = neuron.run(x, start)
    tiny = torch.finfo(torch.float32).tiny
    assert ((expected > 0) & (expected < tiny)).any()
    assert torch.equal(got, expected)


@pytest.mark.parametrize(
    "neuron",
    [
        LIF(3.0, surrogate=Smoothed(FastSigmoid(2.0)), learnable=("tau", "v_threshold", "v_reset")),
        CUBALIF(3.0, 2.0, v_reset=None, surrogate=Smoothed(Triangle(2.0)), learnable=("tau",)),
    ],
    ids=["LIF", "CUBALIF"],
)
def test_gradcheck(neuron: Neuron) -> None:
    neuron.double().backend = "numba"
    x = torch.randn(18, 1, 2, dtype=torch.float64).requires_grad_()
    start = [torch.rand(1, 2, dtype=torch.float64).requires_grad_() for _ in neuron.states]
    names = [name for name, _ in neuron.named_parameters()]

    def function(x: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        state = Named(zip(neuron.states, others, strict=False))
        parameters = dict(zip(names, others[len(start) :], strict=True))
        out, end = torch.func.functional_call(_Run(neuron), _prefixed(parameters), (x, state))
        return out, *end.values()

    leaves = (x, *start, *(p.detach().clone().requires_grad_() for p in neuron.parameters()))
    assert torch.autograd.gradcheck(function, leaves, eps=1e-7, atol=1e-6, rtol=1e-5)


class _Run(torch.nn.Module):
    def __init__(self, neuron: Neuron) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, x: Tensor, state: Named) -> tuple[Tensor, Named]:
        return self.neuron.run(x, state)


def _prefixed(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"neuron.{name}": value for name, value in parameters.items()}


def test_a_comparison_is_all_that_backward_keeps() -> None:
    class Larger(Neuron):
        states = ("v",)

        def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
            v = ops.where(inputs.x > state.v, 0.5 * inputs.x, 0.25 * state.v)
            return Named(v=v), v

    neuron = Larger()
    (kept,) = neuron.bound().program.kept
    assert next(line.op for line in neuron.bound().program.lines if line.name == kept) == ">"
    found = []
    for backend in ("torch", "numba"):
        neuron.backend = backend
        x = torch.randn(20, 1, 70, generator=torch.Generator().manual_seed(0)).requires_grad_()
        output = neuron(x)
        found.append((output, *torch.autograd.grad((output * output.detach()).sum(), x)))
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("neurons", [1, 32, 1025])
@pytest.mark.parametrize("spikes", [torch.uint8, torch.int32])
def test_spikes_as_bytes_and_bits(guarded: Any, neurons: int, spikes: torch.dtype) -> None:
    guarded(NumbaBackend())
    neuron = LIF()
    x = torch.randn(5, 1, neurons) + 1.0
    job, tensors = operator.prepare(neuron, "numba", Named(x=x), None)
    stored = fused.forward(job, tensors, spikes=spikes).output
    neuron.backend = "torch"
    expected = neuron(x).view(5, neurons).to(torch.uint8)
    assert stored.dtype == spikes
    if spikes == torch.uint8:
        assert torch.equal(stored.view(5, neurons), expected)
        return
    padded = torch.nn.functional.pad(expected, (0, -neurons % 32))
    bits = np.unpackbits(stored.numpy().view(np.uint8), axis=1, bitorder="little")
    assert np.array_equal(bits, padded.numpy())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_numbers_are_converted_as_torch_does(dtype: torch.dtype) -> None:
    every = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype)
    assert _same(_stateless(every), every)
    # Halves between neighbours, what lies beside them, and every exponent.
    wide = every.float()
    edges = torch.cat([wide, (wide[1:] + wide[:-1]) / 2])
    around = torch.cat([edges, edges.nextafter(edges + 1), edges.nextafter(edges - 1)])
    random = torch.randint(-(2**31), 2**31, (100_000,)).to(torch.int32).view(torch.float32)
    values = torch.cat([around, random])
    assert _same(_converted(values, dtype), values.to(dtype))


def _same(got: Tensor, expected: Tensor) -> bool:
    is_nan = expected.isnan()
    same = torch.equal(got.view(torch.int16)[~is_nan], expected.view(torch.int16)[~is_nan])
    return same and bool(got.isnan()[is_nan].all())


def _stateless(values: Tensor) -> Tensor:
    class Same(Neuron):
        def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
            return state, inputs.x * 1.0

    neuron = Same()
    neuron.backend = "numba"
    return neuron(values.view(1, 1, -1)).view(-1)


def _converted(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Through a state of float32."""

    class State(Neuron):
        states = ("v",)

        def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
            return state, state.v * 1.0

    neuron = State()
    neuron.backend = "numba"
    x = torch.zeros(1, 1, len(values), dtype=dtype)
    return neuron.run(x, Named(v=values.view(1, -1)))[0].view(-1)


@pytest.fixture
def many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "GRAIN", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)


def _spikes_and_gradient(x: Tensor) -> tuple[Tensor, Tensor]:
    neuron = LIF(tau=3.0)
    neuron.backend = "numba"
    x = x.detach().requires_grad_()
    spikes = neuron(x)
    (grad,) = torch.autograd.grad((spikes * x.detach()).sum(), x)
    return spikes.detach(), grad


def test_threads_change_nothing(many_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(20, 3, 5000) + 0.8
    starts = []
    find = numba_backend._kernel

    def watched(*args: Any) -> Callable[..., None]:
        kernel = find(*args)

        def run(table: Any, start: int, stop: int, scratch: int) -> None:
            starts.append(start)
            kernel(table, start, stop, scratch)

        return run

    monkeypatch.setattr(numba_backend, "_kernel", watched)
    shared = _spikes_and_gradient(x)
    assert len(starts) > 2 * 3
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    alone = _spikes_and_gradient(x)
    assert all(map(torch.equal, shared, alone))


def test_a_forked_process_has_its_own_threads(many_threads: None) -> None:
    x = torch.randn(20, 3, 5000) + 0.8
    neuron = LIF(tau=3.0)
    neuron.backend = "numba"
    expected = neuron(x)  # the threads are there now
    end, pipe = multiprocessing.Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        # Nothing here may use torch's own threads, which do not survive a fork.
        pipe.send_bytes(neuron(x).numpy().tobytes())
        os._exit(0)
    try:
        assert end.poll(30), "the forked process hangs"
        assert end.recv_bytes() == expected.numpy().tobytes()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


PROCESS = """
import time, numba, torch
numba.njit([numba.void(numba.int64)])(lambda n: None)  # numba's own start
from spikesim.kernels import numba_backend
from spikesim.neurons import LIF
neuron = LIF(tau=3.0)
neuron.backend = "numba"
x = torch.full((3, 1, 5), 2.0, requires_grad=True)
begin = time.process_time()
spikes = neuron(x)
only_forward = all(variant.is_forward for _, variant in numba_backend._kernels)
spikes.sum().backward()
seconds = time.process_time() - begin
hits = [sum(kernel.stats.cache_hits.values()) for kernel in numba_backend._kernels.values()]
print(only_forward, hits == [1, 1], seconds, spikes.sum().item(), sep="|")
"""


def test_processes_share_a_cache(tmp_path: Path) -> None:
    env = os.environ | {"SPIKESIM_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def start() -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", PROCESS]
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)

    def result(process: "subprocess.Popen[str]") -> list[str]:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        return out.strip().split("|")

    both = [result(process) for process in [start(), start()]]
    assert both[0][::3] == both[1][::3] == ["True", "5.0"]
    only_forward, from_cache, seconds, spikes = result(start())
    assert (only_forward, from_cache, spikes) == ("True", "True", "5.0")
    assert float(seconds) < SECONDS_FROM_CACHE
    assert len(list((tmp_path / "kernels").glob("*.py"))) == 2


def test_threads_that_compile_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba_backend, "_kernels", {})
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: _stateless(torch.ones(3)).tolist(), range(4)))
    assert found == [[1.0, 1.0, 1.0]] * 4
    assert len(numba_backend._kernels) == 1


def test_without_a_place_to_write_it_runs_uncached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("SPIKESIM_CACHE", str(file))
    monkeypatch.setattr(numba_backend, "_kernels", {})
    assert _stateless(torch.ones(3)).tolist() == [1.0, 1.0, 1.0]


def test_loops_are_vectors_of_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Compiled here: numba does not show what it found in a cache.
    monkeypatch.setenv("SPIKESIM_CACHE", str(tmp_path))
    monkeypatch.setattr(numba_backend, "_kernels", {})
    _spikes_and_gradient(torch.ones(17, 1, 5))
    texts = {
        variant.is_forward: next(iter(kernel.inspect_llvm().values()))
        for (key, variant), kernel in numba_backend._kernels.items()
        if (variant.storage, variant.spikes) == ("float32", "storage")
        and key == LIF(tau=3.0).bound().program.key
    }
    assert set(texts) == {True, False}
    for text in texts.values():
        assert "double" not in text
        assert re.search(r"fsub <\d+ x float>", text)
        assert re.search(r"phi <\d+ x float>", text), "states do not stay in registers"
    assert re.search(r"fdiv <\d+ x float>", texts[False]), "the walk back is not vectorised"
