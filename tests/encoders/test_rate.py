"""Rate code against the binomial and Poisson laws; seeds are fixed, bounds are 5 sigma."""

import math

import pytest
import torch

from spikesim.encoders import Rate
from spikesim.errors import UserError

STEPS = 40_000
SIGMAS = 5.0  # one false alarm in two million
X = torch.tensor([0.0, 0.01, 0.3, 0.5, 0.97, 1.0], dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_binomial(counts: torch.Tensor, p: torch.Tensor) -> None:
    sigma = (STEPS * p * (1 - p)).sqrt()
    assert ((counts - STEPS * p).abs() <= SIGMAS * sigma).all(), (counts / STEPS, p)


def test_bernoulli_probability_is_the_value() -> None:
    assert_binomial(Rate(STEPS)(X, generator()).sum(0), X)


def test_bernoulli_probability_is_rate_times_dt() -> None:
    spikes = Rate(STEPS, f_max=200.0, dt=0.5)(X, generator())
    assert_binomial(spikes.sum(0), X * 0.1)


def test_poisson_probability_is_exact() -> None:
    spikes = Rate(STEPS, f_max=700.0, dt=2.0, law="poisson")(X, generator())
    assert_binomial(spikes.sum(0), 1 - (-1.4 * X).exp())


def test_zero_is_silent_even_for_the_smallest_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.zeros(shape))
    assert Rate(5)(torch.tensor([0.0, 0.001])).sum(0).tolist() == [0.0, 5.0]


def test_half_precision_does_not_bias_small_probabilities() -> None:
    x = torch.tensor([2.0**-10], dtype=torch.bfloat16)
    spikes = Rate(STEPS * 10)(x, generator())
    n, p = STEPS * 10, 2.0**-10
    assert abs(spikes.float().sum().item() - n * p) <= SIGMAS * math.sqrt(n * p)


def test_counts_have_variance_equal_to_mean_and_the_poisson_law() -> None:
    rate = 1.5 * X[1:]
    counts = Rate(STEPS, f_max=1500.0, law="counts")(X, generator())
    assert counts[:, 0].sum() == 0
    mean, variance = counts[:, 1:].mean(0), counts[:, 1:].var(0)
    assert ((mean - rate).abs() <= SIGMAS * (rate / STEPS).sqrt()).all()
    # the variance of a sample variance of Poisson numbers is (rate + 2 rate^2) / n
    assert ((variance - rate).abs() <= SIGMAS * ((rate + 2 * rate**2) / STEPS).sqrt()).all()
    for k in range(4):
        # from x = 0.3 on, where every expected number is large enough for a normal bound
        p = ((-rate).exp() * rate**k / math.factorial(k))[1:]
        assert_binomial((counts[:, 2:] == k).sum(0), p)


@pytest.mark.parametrize("law", ["bernoulli", "poisson", "counts"])
def test_steps_are_independent(law: str) -> None:
    spikes = Rate(STEPS, f_max=600.0, law=law)(torch.full((1,), 0.5), generator()).squeeze()
    centred = (spikes - spikes.mean()) / spikes.std()
    for lag in (1, 2, 7):
        correlation = (centred[lag:] * centred[:-lag]).mean().item()
        assert abs(correlation) <= SIGMAS / math.sqrt(STEPS)


def test_values_are_drawn_independently() -> None:
    spikes = Rate(STEPS)(torch.full((2,), 0.5), generator())
    both = spikes.prod(1).sum()
    assert_binomial(both, torch.tensor(0.25))


@pytest.mark.parametrize("law", ["bernoulli", "poisson", "counts"])
def test_same_generator_same_spikes_and_global_generator_untouched(law: str) -> None:
    encoder, x = Rate(50, law=law), torch.rand(3, 4)
    state = torch.random.get_rng_state()
    first = encoder(x, generator(3))
    assert torch.equal(first, encoder(x, generator(3)))
    assert not torch.equal(first, encoder(x, generator(4)))
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"f_max": 1001.0}, r"f_max \* dt must be <= 1 per step, got 1.001"),
        ({"f_max": 0.0}, "must be > 0, got 0"),
        ({"dt": -1.0}, "must be > 0, got 1000"),
        ({"law": "gamma"}, "law must be 'bernoulli', 'poisson' or 'counts', got 'gamma'"),
    ],
)
def test_bad_parameters_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Rate(10, **arguments)
