"""What every backend of the fused kernels must compute, against the torch reference.

``check(backend, case)`` runs a case through a :class:`~spikesim.kernels.call.Backend` and through
``neuron.step`` in torch and compares outputs, states and all gradients. A test that takes the
fixture ``case`` runs once for each of ``CASES``.
"""

from collections.abc import Callable

import pytest
from guarded import Guarded
from neuron_cases import CASES, Case
from torch import Tensor
from torch_reference import compare

from spikesim.kernels import fused
from spikesim.kernels.call import Backend


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def cases() -> dict[str, Case]:
    return CASES


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Callable[[Backend], None]:
    """Puts a backend, with its results guarded, in the place of whatever would serve."""
    return lambda of: monkeypatch.setattr(fused, "backend", lambda name: Guarded(of))


@pytest.fixture
def check(guarded: Callable[[Backend], None]) -> Callable[..., None]:
    """``check(backend, case, device="cpu", x=None)``."""

    def run(backend: Backend, case: Case, device: str = "cpu", x: Tensor | None = None) -> None:
        guarded(backend)
        compare(case, device, x)

    return run
