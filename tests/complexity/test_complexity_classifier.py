"""Classes by complexity, and the regression below it."""

import math

import pytest
import torch
from torch import Tensor

from spikesim.complexity import ComplexityClassifier, LogisticReadout
from spikesim.encoders import Markov
from spikesim.errors import UserError


def sources(samples: int, seed: int, neurons: int = 4) -> tuple[Tensor, Tensor]:
    """Trains of one rate, with and without memory."""
    generator = torch.Generator().manual_seed(seed)
    rate = torch.full((samples, neurons), 0.2)
    parts = [Markov(400, rho)(rate, generator) for rho in (0.0, 0.5)]
    return torch.cat(parts, 1), torch.arange(2).repeat_interleave(samples)


@pytest.mark.parametrize("parsing", ["lz76", "lz78"])
@pytest.mark.parametrize("is_joint", [False, True])
def test_complexity_tells_sources_of_equal_rate_and_rates_do_not(
    parsing: str, is_joint: bool
) -> None:
    (x, y), (x_test, y_test) = sources(60, 0), sources(200, 1)
    classifier = ComplexityClassifier(parsing, is_joint=is_joint)  # type: ignore[arg-type]
    features = classifier.features(x_test)
    assert features.shape == (400, 1 if is_joint else 4)
    assert classifier.fit(x, y).accuracy(features, y_test) > 0.95
    by_rate = LogisticReadout.fit(x.mean(0), y).accuracy(x_test.mean(0), y_test)
    assert abs(by_rate - 0.5) < 4 * 0.5 / math.sqrt(400)


def test_regression_is_at_the_minimum() -> None:
    """Without a penalty, the mean probabilities of each class are its share, whatever weighs."""
    torch.manual_seed(0)
    y = torch.randint(3, (300,))
    features = torch.randn(300, 5) * torch.tensor([1.0, 100.0, 0.01, 1.0, 1.0]) + y[:, None]
    features[:, 3] = 7.0  # constant
    found = LogisticReadout.fit(features, y, penalty=0.0, iterations=500)
    p = found(features).softmax(1)
    share = torch.nn.functional.one_hot(y).double()
    assert torch.allclose(p.mean(0), share.mean(0), atol=1e-5)
    assert torch.allclose(p.T @ features.double(), share.T @ features.double(), rtol=1e-3)
    heavy = LogisticReadout.fit(features, y, penalty=1e6)
    assert heavy.weight.abs().max() < 1e-3


def test_a_readout_can_be_fitted_where_no_gradients_are() -> None:
    with torch.no_grad():
        found = LogisticReadout.fit(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]))
    assert found.accuracy(torch.tensor([[-1.0], [3.0]]), torch.tensor([0, 1])) == 1.0


def test_refused_features() -> None:
    with pytest.raises(UserError, match=r"features must be \[B, F\] and finite"):
        LogisticReadout.fit(torch.tensor([[float("nan")]]), torch.tensor([0]))
    with pytest.raises(UserError, match=r"spikes must be \[T, B, N\]"):
        ComplexityClassifier().features(torch.zeros(5, 2))
    for labels, penalty in (([0.0], 1.0), ([0, 1], 1.0), ([-1], 1.0), ([0], -1.0)):
        with pytest.raises(UserError, match=r"labels must be|penalty must be >= 0"):
            LogisticReadout.fit(torch.ones(1, 1), torch.tensor(labels), penalty=penalty)
    with pytest.raises(UserError, match="features must be"):
        LogisticReadout.fit(torch.ones(0, 1), torch.zeros(0, dtype=torch.int64))
