"""Dynamic Confidence: closed forms, and runs that stop samples against stored outputs."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from spikesim.early_exit import Carried, DynamicConfidence, Exits, oracle

LOG = (
    *(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 7.9988, 8.9594, 9.653, 10.047, 10.3062, 10.5022, 10.6575),
    *(10.7855, 10.8938, 10.9872, 11.0685, 11.1401, 11.2036, 11.2605, 11.3108, 11.3578, 11.4004),
    *(11.44, 11.4759, 11.5097),
)
"""Mean latency until step 1 to 27, of 10,000 images: log.txt of the published program."""


def noisy(T: int, B: int, K: int, seed: int, lead: float = 0.3) -> tuple[Tensor, Tensor]:
    """Outputs in which the true class leads by a little, as a rate code does."""
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(T, B, K, generator=generator)
    targets = torch.randint(K, (B,), generator=generator)
    outputs[:, torch.arange(B), targets] += lead
    return outputs, targets


def test_threshold_one_runs_all_steps_and_zero_one(network: nn.Module, events: Tensor) -> None:
    with torch.no_grad():
        outputs = network(events)
    everything = DynamicConfidence(0.01, 1.0).run(network, events)  # saturated: c is 1 at once
    assert everything.steps.eq(7).all()
    assert everything.predictions.equal(outputs.sum(0).argmax(-1))
    nothing = DynamicConfidence(2.0, 0.0).run(network, events)
    assert nothing.steps.eq(1).all()
    assert nothing.predictions.equal(outputs[0].argmax(-1))


def test_a_run_equals_stored_outputs_sample_by_sample(network: nn.Module, events: Tensor) -> None:
    with torch.no_grad():
        outputs = network(events)
    seen = set()
    for threshold in (0.3, 0.4, 0.5, 0.7):
        rule = DynamicConfidence(1.5, threshold)
        stored, run = rule(outputs), rule.run(network, events)
        assert run.steps.equal(stored.steps)
        assert run.predictions.equal(stored.predictions)
        assert run.confidences.equal(stored.confidences)
        seen |= set(run.steps.tolist())
    assert len(seen) >= 5


class Masked:
    """A model that runs the whole batch to the end, and shows the rows that are left."""

    def __init__(self, carried: Carried, x: Tensor) -> None:
        self.carried, self.frames = carried, iter(x)
        self.rows = torch.arange(x.shape[1])

    def step(self, x: Tensor) -> Tensor:
        whole = next(self.frames)
        assert x.equal(whole[self.rows])
        return self.carried.step(whole)[self.rows]

    def keep(self, rows: Tensor) -> None:
        self.rows = self.rows[rows]


def test_leaving_the_batch_equals_masking(network: nn.Module, events: Tensor) -> None:
    rule = DynamicConfidence(1.5, 0.45)
    with torch.no_grad(), Carried(network) as carried:
        masked = rule.run(Masked(carried, events), events)
    run = rule.run(network, events)
    assert run.steps.equal(masked.steps)
    assert run.confidences.equal(masked.confidences)
    assert 1 < run.latency < 7


def test_a_sample_alone_stops_as_in_its_batch(network: nn.Module, events: Tensor) -> None:
    rule = DynamicConfidence(1.5, 0.5)
    together = rule.run(network, events)
    alone = Exits.joined([rule.run(network, events[:, [i]]) for i in range(events.shape[1])])
    assert alone.steps.equal(together.steps)
    assert alone.predictions.equal(together.predictions)


def test_the_model_is_as_before_even_after_an_error(network: nn.Module, events: Tensor) -> None:
    network.train()
    before = {module: dict(module.__dict__) for module in network.modules()}
    rule = DynamicConfidence(1.5, 0.5)
    rule.run(network, events)
    list(network.parameters())[-1].data.fill_(math.nan)
    with pytest.raises(ValueError, match="outputs at step 1 hold NaN"):
        rule.run(network, events)
    for module, attributes in before.items():
        assert module.training
        assert set(module.__dict__) == set(attributes)
        assert not module._forward_pre_hooks


@given(
    margin=st.floats(0.01, 5.0),
    alpha=st.floats(0.1, 50.0),
    threshold=st.floats(0.51, 0.99),
    limit=st.integers(1, 40),
)
@settings(deadline=None, max_examples=80)
def test_constant_outputs_of_two_classes_stop_at_the_closed_form(
    margin: float, alpha: float, threshold: float, limit: int
) -> None:
    outputs = torch.tensor([0.7 + margin, 0.7], dtype=torch.float64).expand(limit, 1, 2)
    found = DynamicConfidence(alpha, threshold)(outputs)
    exact = alpha * math.log(threshold / (1 - threshold)) / margin
    if abs(exact - round(exact)) > 1e-6:
        assert found.steps.item() == min(math.ceil(exact), limit)
    t = found.steps.item()
    assert found.confidences.item() == pytest.approx(1 / (1 + math.exp(-t * margin / alpha)))


def test_constant_outputs_of_many_classes_have_the_softmax_of_t() -> None:
    o = torch.tensor([0.3, -1.0, 2.0, 0.1])
    for t in range(1, 6):
        found = DynamicConfidence(4.0, 1.0)(o.expand(t, 1, 4))
        assert found.confidences[0] == pytest.approx(float((t * o / 4).softmax(0).max()), rel=1e-6)
        assert found.predictions.item() == 2


@given(seed=st.integers(0, 2**30), T=st.integers(1, 9), B=st.integers(1, 12), K=st.integers(2, 6))
@settings(deadline=None, max_examples=60)
def test_latency_never_falls_with_the_threshold_nor_below_the_oracle(
    seed: int, T: int, B: int, K: int
) -> None:
    outputs, targets = noisy(T, B, K, seed)
    best = oracle(outputs, targets)
    settled = oracle(outputs, targets, "settled")
    assert settled.accuracy == DynamicConfidence(1.0, 1.0)(outputs).accuracy(targets)
    before = torch.ones(B)
    for threshold in (0.0, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0):
        found = DynamicConfidence(1.0, threshold)(outputs)
        assert found.steps.ge(before).all()
        before = found.steps
        right = found.predictions == targets
        assert best.right[right].all()
        assert best.steps[right].le(found.steps[right]).all()
        if right.equal(best.right):  # as accurate as can be
            assert best.latency <= found.latency


def test_stopping_as_published_gives_the_published_latencies() -> None:
    running = [round(10_000 * (b - a)) for a, b in zip((0.0, *LOG[:-1]), LOG, strict=True)]
    stops = [a - b for a, b in zip(running, (*running[1:], 0), strict=True)]
    steps = torch.arange(1, 28).repeat_interleave(torch.tensor(stops))
    assert len(steps) == 10_000
    # Two classes, and a lead that passes 0.6 in the middle of the step before.
    lead = 30 * math.log(0.6 / 0.4) / (steps - 0.5)
    lead[steps == 27] = 0.0  # uncertain to the end
    outputs = torch.stack([lead, torch.zeros(10_000)], -1).expand(27, -1, -1)
    found = DynamicConfidence(alpha=30.0, threshold=0.6)(outputs)
    assert [found.latency_until(t) for t in range(1, 28)] == pytest.approx(LOG)
    assert found.latency == pytest.approx(11.5097)
    assert found.running.cumsum(0).tolist() == pytest.approx(LOG)


def test_equals_are_no_certainty_and_the_first_class_is_said() -> None:
    found = DynamicConfidence(1.0, 0.5)(torch.ones(3, 1, 2))
    assert (found.steps.item(), found.predictions.item()) == (3, 0)
    assert found.confidences.item() == 0.5


def test_one_step_of_one_sample() -> None:
    found = DynamicConfidence(1.0, 0.9)(torch.tensor([[[0.0, 1.0]]]))
    assert (found.steps.tolist(), found.limit, found.running.tolist()) == ([1], 1, [1.0])


@pytest.mark.gpu
def test_a_run_on_a_gpu_equals_that_on_the_cpu(network: nn.Module, events: Tensor) -> None:
    rule = DynamicConfidence(1.5, 0.45)
    expected = rule.run(network, events)
    found = rule.run(network.cuda(), events.cuda())
    assert found.steps.cpu().equal(expected.steps)
    assert found.predictions.cpu().equal(expected.predictions)
