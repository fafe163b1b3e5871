"""What early exit refuses, and what it says then."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikesim.delays import DelayedLinear
from spikesim.early_exit import (
    DynamicConfidence,
    Levels,
    calibrate,
    counts_until_exit,
    curve,
    expected_calibration_error,
    oracle,
    paired_difference,
    to_spiking,
)
from spikesim.energy import count
from spikesim.errors import UserError
from spikesim.neurons import IF, PoissonNeuron

OUTPUTS, TARGETS = torch.zeros(3, 2, 4), torch.tensor([0, 1])
RULE = DynamicConfidence(1.0, 0.5)
X = torch.rand(3, 2, 4)


class Readout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.neuron = IF()

    def forward(self, x: Tensor) -> Tensor:
        return self.neuron(x).mean(0)


def shared() -> nn.Module:
    neuron = IF()
    return nn.Sequential(neuron, nn.Linear(4, 4), neuron)


def nan_at(t: int) -> Tensor:
    outputs = torch.zeros(3, 2, 4)
    outputs[t, 1, 2] = math.nan
    return outputs


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DynamicConfidence(0.0, 0.5), r"alpha must be > 0 .* got 0\.0"),
        (lambda: DynamicConfidence(-1.0, 0.5), "alpha must be > 0"),
        (lambda: DynamicConfidence(math.nan, 0.5), "alpha must be > 0"),
        (lambda: DynamicConfidence(math.inf, 0.5), "alpha must be > 0"),
        (lambda: DynamicConfidence(1.0, 1.01), r"threshold must be in \[0, 1\].* got 1.01"),
        (lambda: DynamicConfidence(1.0, -0.1), "threshold must be in"),
        (lambda: DynamicConfidence(1.0, math.nan), "threshold must be in"),
        (lambda: RULE(torch.zeros(2, 4)), r"must be \[T, B, K\].* got \[2, 4\]; leave out the"),
        (lambda: RULE(torch.zeros(0, 2, 4)), r"must be \[T, B, K\]"),
        (lambda: RULE(nan_at(0)), "NaN or infinity"),
        (lambda: RULE(torch.full((1, 1, 2), math.inf)), "NaN or infinity"),
        (lambda: RULE.run(nn.Sequential(nn.Identity(), IF()), X[0, 0]), r"must be \[T, B, ...\]"),
        (lambda: RULE.run(nn.Sequential(IF()), X[:0]), r"T and B >= 1, got \[0, 2, 4\]"),
        (lambda: RULE.run(Readout(), X), "leave out the readout over time"),
        (lambda: RULE.run(nn.Linear(4, 4), X), "Linear has no neurons of spikesim.*step.*keep"),
        (lambda: RULE.run(shared(), X), "IF runs twice in a step"),
        (lambda: RULE.run(nn.Sequential(DelayedLinear(4, 4, max_delay=3), IF()), X), "has delays"),
        (lambda: RULE.run(nn.Sequential(PoissonNeuron()), X), "draws random numbers"),
        (lambda: calibrate(OUTPUTS, TARGETS[:1]), r"targets must be classes \[B\]"),
        (lambda: calibrate(OUTPUTS, TARGETS.float()), "targets must be classes"),
        (lambda: calibrate(OUTPUTS, TARGETS, tolerance=-0.1), "tolerance must be"),
        (lambda: calibrate(OUTPUTS, TARGETS, alphas=()), "alphas is empty"),
        (lambda: calibrate(OUTPUTS, TARGETS, alphas=(1.0, -2.0)), "alpha must be > 0"),
        (lambda: calibrate(nan_at(2), TARGETS), "NaN or infinity"),
        (lambda: curve(OUTPUTS, TARGETS, 1.0, (0.5, 1.5)), "threshold must be in"),
        (lambda: oracle(OUTPUTS, TARGETS, "last"), "'first' or 'settled', got 'last'"),  # type: ignore[arg-type]
        (lambda: expected_calibration_error(torch.ones(2), torch.ones(3)), "must both be"),
        (lambda: expected_calibration_error(torch.full((2,), 1.5), torch.ones(2)), r"in \[0, 1\]"),
        (lambda: expected_calibration_error(torch.ones(2), torch.ones(2), 0), "bins must be >= 1"),
        (lambda: paired_difference(TARGETS > 0, TARGETS[:1] > 0), "of the same samples"),
        (lambda: paired_difference(TARGETS > 0, TARGETS > 0, level=1.0), "level must be in"),
        (lambda: Levels(0), "bits must be >= 1"),
        (lambda: Levels(2, math.nan), "scale > 0"),
        (lambda: to_spiking([nn.Linear(2, 2), nn.ReLU()]), "ReLU has no spiking counterpart"),
        (lambda: to_spiking([nn.BatchNorm2d(2)]), "BatchNorm2d has no spiking counterpart"),
        (lambda: counts_until_exit(count, nn.Identity(), X[:2], RULE(OUTPUTS)), "2 samples in 3"),
        (lambda: RULE(OUTPUTS).accuracy(TARGETS[:, None]), r"classes \[2\].* got \[2, 1\]"),
        (lambda: RULE(OUTPUTS).accuracy(TARGETS[:1]), r"classes \[2\].* got \[1\]"),
        (lambda: calibrate(OUTPUTS, TARGETS + 4), "classes 0 to 3.* got 4 to 5"),
        (lambda: oracle(OUTPUTS, TARGETS - 1), "classes 0 to 3.* got -1 to 0"),
    ],
)
def test_bad_input(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        call()


def test_a_run_names_the_step_that_is_not_finite() -> None:
    class Broken:
        def __init__(self) -> None:
            self.outputs = iter(nan_at(1))

        def step(self, x: Tensor) -> Tensor:
            return next(self.outputs)

        def keep(self, rows: Tensor) -> None:
            raise AssertionError

    with pytest.raises(UserError, match="outputs at step 2 hold NaN"):
        RULE.run(Broken(), X)


def test_an_alpha_at_the_end_of_the_range_is_refused() -> None:
    outputs = torch.tensor([1.0, 0.0]).expand(1, 100, 2)  # right half the time: alpha is infinite
    targets = torch.arange(100) % 2
    with pytest.raises(UserError, match="an end of what was tried; give a wider range"):
        calibrate(outputs, targets, alphas=(0.1, 1.0, 10.0))
