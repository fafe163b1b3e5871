"""Connections that cannot be: one line names the value, what was wanted and the cure."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from spikesim.errors import UserError
from spikesim.network import (
    AllToAll,
    Convolution,
    DistanceDependent,
    Explicit,
    FixedIndegree,
    FixedProbability,
    FlatProfile,
    GaussianProfile,
    LogNormal,
    Network,
    Normal,
    OneToOne,
    Uniform,
    lattice,
    memory,
)
from spikesim.network.plasticity import PairSTDP
from spikesim.neurons import ILIF, LIFDelta

POINTS = lattice((2, 3))
CASES: dict[str, tuple[Callable[[Any], object], str]] = {
    "delay between steps": (
        lambda b: b.wire(delay=0.25),
        r"^delta -> cells: delay must be a multiple of dt = 0.1 ms, such as 0.2 ms, got 0.25 ms$",
    ),
    "delay below a step": (lambda b: b.wire(delay=0.04), "at least one step.*got 0.04 ms"),
    "negative delay": (lambda b: b.wire(delay=-1.0), "not negative, got -1.0 ms"),
    "NaN delay": (lambda b: b.wire(delay=np.nan), "delay must be finite, got nan"),
    "NaN among delays": (
        lambda b: b.wire(delay=[1.0] * 23 + [math.nan]),
        r"delta -> cells: delay\[23\] must be finite, got nan",
    ),
    "infinite delay": (lambda b: b.wire(delay=np.inf), "delay must be finite, got inf"),
    "delay in words": (lambda b: b.wire(delay="long"), "delay must be numbers .*, got 'long'"),
    "a negative delay among others": (
        lambda b: b.wire(delay=[1.0] * 23 + [-0.1]),
        "not negative, got -0.1 ms",
    ),
    "a delay of many off the grid": (
        lambda b: b.wire(delay=np.linspace(0.1, 1.0, 24)),
        "must be a multiple of dt",
    ),
    "long delay": (
        lambda b: (b.wire(delay=2e8), b.net.run(1.0)),
        "the ring buffers of this network need about .* GiB are free",
    ),
    "endless delay": (lambda b: b.wire(delay=1e10), "at most 2147483647 steps of dt .* 1e.10 ms"),
    "a delay of more steps than are counted": (
        lambda b: b.wire(delay=1e300),
        r"at most 2\*\*62 steps of dt = 0.1 ms, got 1e\+300 ms",
    ),
    "long drawn delays": (
        lambda b: b.wire(delay=Uniform(0.0, 1e8)),
        r"their product must stay below 2\*\*32",
    ),
    "endless drawn delays": (lambda b: b.wire(delay=LogNormal(900.0, 1.0)), "reach 2147483647"),
    "NaN weight": (lambda b: b.wire(weight=math.nan), "delta -> cells: weight must be finite"),
    "infinite weights": (
        lambda b: b.wire(weight=np.full((4, 6), np.inf)),
        r"weight\[0, 0\] must be finite, got inf",
    ),
    "weights in words": (lambda b: b.wire(weight=["a"]), r"weight must be numbers .*, got \['a'\]"),
    "no weight": (lambda b: b.wire(weight=None), "weight must be numbers of one shape, got None"),
    "ragged weights": (lambda b: b.wire(weight=[[1.0], [2.0, 3.0]]), "numbers of one shape"),
    "complex weights": (lambda b: b.wire(weight=1j), "weight must be numbers .*, got 1j"),
    "a weight that float32 cannot hold": (
        lambda b: b.wire(weight=1e300),
        "weight reaches 1e.300, more than float32 holds: use dtype='float64'",
    ),
    "weights that float32 cannot hold": (
        lambda b: b.wire(weight=np.full(24, -1e300)),
        "weight reaches 1e.300, more than float32 holds: use dtype='float64'",
    ),
    "weights that float32 rounds to 0": (
        lambda b: b.wire(weight=np.full(24, 1e-46)),
        "weight reaches 1e-46, less than float32 holds: use dtype='float64'",
    ),
    "drawn weights that float32 cannot hold": (
        lambda b: b.wire(weight=Uniform(1e300, 2e300)),
        "weights of delta -> cells lie between inf and inf, more than float32 holds",
    ),
    "weights whose sum float32 cannot hold": (
        lambda b: (b.wire(weight=3e38), b.net.run(1.0)),
        "cells, receptor 'excitatory', neuron 0: what may arrive in a step reaches 1.2e.39",
    ),
    "weights of another number": (lambda b: b.wire(weight=np.ones(5)), r"\[5\].*24 synapses"),
    "weights of both signs": (
        lambda b: b.wire(weight=Normal(mean=0.0, std=1.0)),
        "onto cells lie between -.* and .*: name the receptor",
    ),
    "a distribution in words": (lambda b: Uniform("a", 1.0), "low must be a number, got 'a'"),  # type: ignore[arg-type]
    "a distribution of arrays": (
        lambda b: Normal(np.ones(3), 1.0),  # type: ignore[arg-type]
        r"mean must be a number, got array\(\[1., 1., 1.\]\)",
    ),
    "unknown receptor": (
        lambda b: b.wire(receptor="exitatory"),
        "cells has no receptor 'exitatory'; did you mean 'excitatory'",
    ),
    "a receptor by number": (lambda b: b.wire(receptor=1), "no receptor 1; known: excitatory"),
    "no rule": (lambda b: b.wire(None), r"rule must be one such as FixedProbability\(0.1\)"),
    "a rule's class": (lambda b: b.wire(AllToAll), "rule must be one such as .* got <class"),
    "plasticity in words": (lambda b: b.wire(plasticity="stdp"), "must be a rule such as PairSTDP"),
    "a plasticity's class": (lambda b: b.wire(plasticity=PairSTDP), "must be a rule such as"),
    "a probability in words": (lambda b: FixedProbability("0.1"), "between 0 and 1, got '0.1'"),  # type: ignore[arg-type]
    "a probability of none": (lambda b: FixedProbability(None), "between 0 and 1, got None"),  # type: ignore[arg-type]
    "an indegree of truth": (lambda b: FixedIndegree(True), "whole number >= 0, got True"),
    "half an indegree": (lambda b: FixedIndegree(2.5), "whole number >= 0, got 2.5"),  # type: ignore[arg-type]
    "autapses in words": (
        lambda b: b.wire(AllToAll(autapses="no")),  # type: ignore[arg-type]
        "autapses must be True or False, got 'no'",
    ),
    "indegree above the source": (
        lambda b: b.wire(FixedIndegree(5, multapses=False)),
        "indegree of 5 .*there are 4",
    ),
    "sizes of one to one": (lambda b: b.wire(OneToOne()), "equal sizes, got 4 sources, 6 targets"),
    "pairs out of range": (
        lambda b: b.wire(Explicit([0, 9], [0, 0])),
        r"pre\[1\] = 9 is out of range",
    ),
    "negative pairs": (
        lambda b: b.wire(Explicit([0], [-1])),
        r"post\[0\] = -1 is out of range: the population has 6 neurons, 0 to 5",
    ),
    "a dense matrix as sparse": (
        lambda b: Explicit.from_scipy(np.eye(3)),
        "must be one of scipy.sparse, got ndarray",
    ),
    "positions in words": (lambda b: DistanceDependent(FlatProfile(), "here"), "positions pre"),
    "no profile": (lambda b: DistanceDependent(None, POINTS), "such as FlatProfile"),  # type: ignore[arg-type]
    "a profile in words": (
        lambda b: b.net.connect(b.cells, b.cells, DistanceDependent(lambda d: "near", POINTS)),
        "the profile gives <U4 .* a probability is needed for each",
    ),
    "a profile of another number": (
        lambda b: b.net.connect(b.cells, b.cells, DistanceDependent(lambda d: d[:1], POINTS)),
        r"the profile gives float64 \[1\] of \[6\] distances",
    ),
    "a width of none": (lambda b: GaussianProfile("a"), "sigma must be > 0, got 'a'"),  # type: ignore[arg-type]
    "a lattice without extent": (lambda b: lattice((2, 3), (1.0,)), "an entry an axis"),
    "an empty lattice": (lambda b: lattice((2, 0)), "whole number >= 1, got 0"),
    "an image of half pixels": (
        lambda b: Convolution((1, 2.5, 3), 1, 1),  # type: ignore[arg-type]
        "an entry of shape must be a whole number >= 1, got 2.5",
    ),
    "a kernel in words": (
        lambda b: Convolution((1, 2, 3), 1, "3"),  # type: ignore[arg-type]
        "kernel_size must be a whole number >= 1, got '3'",
    ),
    "onto given spikes": (
        lambda b: b.net.connect(b.cells, b.given, AllToAll()),
        "only a population can receive",
    ),
    "a membrane as spikes": (
        lambda b: b.net.connect(b.reader, b.cells, AllToAll()),
        "reader emits no spikes",
    ),
    "counts as spikes": (
        lambda b: b.net.connect(b.net.population(ILIF(), 2), b.cells, AllToAll()),
        "ILIF emits no spikes of 0 or 1",
    ),
    "another network's population": (
        lambda b: b.net.connect(b.other, b.cells, AllToAll()),
        "'other' is not of this network",
    ),
    "a population's name": (
        lambda b: b.net.connect(b.cells, "delta", AllToAll()),
        r"'delta' is not of this network: pass what population\(\) returned",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_named_in_one_line(name: str, bench: Any) -> None:
    call, message = CASES[name]
    with pytest.raises(UserError, match=message) as caught:
        call(bench)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [np.float32, torch.float16, torch.bfloat16, "learnable"])
def test_weights_may_be_tensors_and_arrays_of_any_kind(kind: Any, bench: Any) -> None:
    values = np.arange(1.0, 25.0).reshape(4, 6)
    given: Any = torch.tensor(values, requires_grad=True)
    if isinstance(kind, torch.dtype):
        given = torch.tensor(values, dtype=kind)
    elif kind != "learnable":
        given = values.astype(kind)
    assert bench.wire(weight=given).table()["weight"].tolist() == values.reshape(-1).tolist()


def test_what_does_not_fit_into_memory_is_refused_before_it_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda: 10 * 2**20)
    net = Network()
    cells = net.population(LIFDelta(), 20_000, name="cells")
    with pytest.raises(
        UserError, match=r"the synapses of cells -> cells need about 2.98 GiB, 0.00977 GiB"
    ):
        net.connect(cells, cells, AllToAll())
    net.connect(cells, cells, FixedProbability(1e-4), delay=30.0)
    with pytest.raises(UserError, match=r"ring buffers .* GiB are free"):
        net.run(1.0)
    with pytest.raises(UserError, match=r"the neurons of all need about 0.0\d+ GiB"):
        net.population(LIFDelta(), 10**6, name="all")
