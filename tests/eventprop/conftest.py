"""Networks of a few neurons, whose spikes follow each other with room between."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from spikesim.eventprop import Spikes, cuba_lif


@dataclass(frozen=True)
class Case:
    """A recurrent layer: what comes in, and times, weights and delays, own ones last."""

    spikes: Spikes
    arguments: tuple[Tensor, ...]

    def run(self, *arguments: Tensor, dt: float | None = None, tau_s: float = 5.0) -> Spikes:
        times, *synapses = arguments or self.arguments
        return cuba_lif(replace(self.spikes, times=times), *synapses, dt=dt, tau_s=tau_s)

    def leaves(self) -> list[Tensor]:
        return [argument.detach().clone().requires_grad_() for argument in self.arguments]


@pytest.fixture
def make_case() -> Callable[..., Case]:
    def make_case(
        samples: int, *, inputs: int = 4, outputs: int = 5, strength: float = 2.0, seed: int = 0
    ) -> Case:
        random = np.random.default_rng(seed)
        given = [
            (random.uniform(0, 25, 12), random.integers(0, inputs, 12)) for _ in range(samples)
        ]
        spikes = Spikes.of(given, size=inputs, duration=60.0)
        shapes = ((outputs, inputs), (outputs, inputs), (outputs, outputs), (outputs, outputs))
        w, d, own_w, own_d = (torch.from_numpy(random.random(shape)) for shape in shapes)
        own_d = own_d * 5
        own_d[0] = 0.0
        return Case(spikes, (spikes.times, strength * w + 0.5, d * 10, 0.8 * own_w - 0.4, own_d))

    return make_case
