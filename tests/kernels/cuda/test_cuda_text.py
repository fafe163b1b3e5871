"""The CUDA text of neurons, compiled by the host compiler: no GPU is needed to test its logic."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from spikesim.kernels import cupy_backend
from spikesim.kernels.call import EVERY
from spikesim.kernels.cupy_backend import CupyBackend
from spikesim.kernels.print_cuda import Variant, cuda_text
from spikesim.kernels.program import bind
from spikesim.neuron import Neuron
from spikesim.neurons import ALIF, LIF, PLIF, Izhikevich


@pytest.fixture
def varied(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Changes the variant that is chosen."""

    def vary(**changes: Any) -> None:
        choose = cupy_backend.choose
        monkeypatch.setattr(
            cupy_backend, "choose", lambda *a, **k: replace(choose(*a, **k), **changes)
        )

    return vary


def test_every_neuron_equals_the_reference(check: Any, host: CupyBackend, case: Any) -> None:
    check(host, case)


@pytest.mark.parametrize(
    ("width", "segment", "pipelined", "steps"),
    [(1, 4, False, 4), (2, 4, False, 63), (4, 8, True, 40), (4, 16, False, 33), (2, 32, True, 70)],
)
def test_every_variant_equals_the_reference(
    check: Any,
    host: CupyBackend,
    varied: Callable[..., None],
    cases: Any,
    width: int,
    segment: int,
    pipelined: bool,
    steps: int,
) -> None:
    varied(width=width, segment=segment, pipelined=pipelined, threads=32)
    check(host, replace(cases["LIF given state"], steps=steps, shape=(3, 24)))


@pytest.mark.parametrize("spread", ["scalar", "channel", "neuron"])
@pytest.mark.parametrize("shape", [(2, 5, 64), (2, 3, 2, 3)])
def test_parameters_of_every_extent_get_their_gradient(
    check: Any, host: CupyBackend, cases: Any, spread: str, shape: tuple[int, ...]
) -> None:
    # In float64: a sum that nearly cancels differs with the order it is taken in.
    case = replace(cases["LIF per channel"], spread=spread, shape=shape, dtype=torch.float64)
    check(host, case)


@pytest.mark.parametrize("neurons", [1, 33, 1025])
@pytest.mark.parametrize("steps", [1, 17])
def test_odd_sizes(check: Any, host: CupyBackend, cases: Any, neurons: int, steps: int) -> None:
    case = replace(cases["LIF per channel"], shape=(1, neurons), steps=steps, spread="neuron")
    check(host, case)


def test_neurons_that_differ_in_numbers_share_one_text() -> None:
    one, other = bind(LIF(tau=2.0)), bind(LIF(tau=7.0, v_threshold=0.3))
    assert one.program is other.program
    assert bind(PLIF()).program is not one.program


@pytest.mark.parametrize("neuron", [LIF(), ALIF(), Izhikevich()])
def test_text_includes_nothing(neuron: Neuron) -> None:
    variant = Variant("bfloat16", width=4, segment=16, pipelined=False)
    assert "#include" not in cuda_text(bind(neuron).program, variant, EVERY)
