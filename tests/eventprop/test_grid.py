"""Spikes in steps of dt, and gradients that converge to the exact ones."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from spikesim.eventprop import Spikes, cuba_lif
from spikesim.kernels.eventprop_grid_numba import grid_backward, grid_forward
from spikesim.kernels.eventprop_numba import exact_backward

SAME = 1e-11  # of the largest value: the order of some hundred additions


def test_spikes_of_a_trace_by_hand() -> None:
    """tau_m = 2, tau_s = 1, dt = 2 log 2: V keeps 1/2, I 1/4, and V gains I / 4 in a step."""
    dt = 2 * np.log(2.0)
    spikes = Spikes.of([([dt, 2 * dt], [0, 0])], size=1, duration=6 * dt)
    weight, delay = torch.tensor([[4.5], [8.5]]), torch.tensor([[0.0], [1.4 * dt]])
    # Neuron 0: I = 4.5 in step 1, V = 1.125, a spike at step 2; then I = 1.125 + 4.5, V = 1.406.
    # Neuron 1: 8.5 in steps 2 and 3.
    got = cuba_lif(spikes, weight, delay, tau_m=2.0, tau_s=1.0, dt=dt)
    assert torch.round(got.times / dt).tolist() == [2.0, 3.0, 3.0, 4.0]
    assert got.neurons.tolist() == [0, 0, 1, 1]
    # To itself, 0.6 steps late, rounded to 1: 2.5 in step 3, which takes the second spike away.
    own = (torch.tensor([[-2.5]]), torch.tensor([[0.6 * dt]]))
    weight = torch.tensor([[4.5]])
    got = cuba_lif(spikes, weight, delay[:1], *own, tau_m=2.0, tau_s=1.0, dt=dt)
    assert torch.round(got.times / dt).tolist() == [2.0, 3.0]
    own = (own[0], torch.zeros(1, 1))  # now in step 2
    got = cuba_lif(spikes, weight, delay[:1], *own, tau_m=2.0, tau_s=1.0, dt=dt)
    assert torch.round(got.times / dt).tolist() == [2.0]


def test_stepped_adjoint_is_the_closed_form_between_events(make_case: Callable) -> None:
    """The exact backward pass adds up the same numbers, given the same times and slopes."""
    case, dt = make_case(3), 0.25
    w, d, own_w, own_d = (a.t().contiguous().numpy() for a in case.arguments[1:])
    late, own_late = (np.rint(delay / dt).astype(np.int32) for delay in (d, own_d))
    at = np.rint(case.spikes.times.numpy() / dt).astype(np.int32)
    inputs = (case.spikes.neurons.numpy(), case.spikes.offsets.numpy())
    constants = (20.0, 5.0, 1.0)
    arguments = (at, *inputs, w, late, own_w, own_late, *constants, 240, dt, 41)
    assert max(late.max(), own_late.max()) == 40
    found, places, slopes, counts = grid_forward(0, 3, *arguments)
    assert len(found) >= 40
    assert slopes.min() > 0
    offsets = np.concatenate(([0], np.cumsum(counts)))
    incoming = np.random.default_rng(2).normal(size=len(found))
    times = [np.full(len(at), np.nan) for _ in range(2)]
    out = (places, slopes, offsets, incoming)
    stepped = grid_backward(0, 3, *arguments, found, *out, times[0])
    synapses = (w, late * dt, own_w, own_late * dt)
    closed = exact_backward(
        0, 3, at * dt, *inputs, *synapses, *constants, found * dt, *out, times[1]
    )
    for a, b in zip((*stepped, times[0]), (*closed, times[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=SAME * np.abs(b).max())
        assert np.abs(b).max() > 0


def gradients(case, dt: float | None) -> tuple[Spikes, list[Tensor]]:
    """Of the sum of all times, neuron ``n``'s counted ``cos n`` times."""
    leaves = case.leaves()
    spikes = case.run(*leaves, dt=dt)
    (torch.cos(spikes.neurons.double()) * spikes.times).sum().backward()
    return spikes, [leaf.grad for leaf in leaves[1:]]


def test_gradients_converge_to_the_exact_ones_in_dt(make_case: Callable) -> None:
    """Steps of a quarter make the median error a quarter; of each, weights and delays."""
    cases = [make_case(1, strength=1.0, seed=seed) for seed in range(60)]
    steps = (0.04, 0.01, 0.0025)
    exact = [gradients(case, None) for case in cases]
    errors = []
    for case, (spikes, wanted) in zip(cases, exact, strict=True):
        rows = [gradients(case, dt) for dt in steps]
        if all(torch.equal(row.counts(), spikes.counts()) for row, _ in rows):
            errors.append(
                [[float((a - b).norm() / b.norm()) for a, b in zip(got, wanted, strict=True)]
                 for _, got in rows]
            )  # fmt: skip
    assert len(errors) >= 50
    median = np.median(errors, axis=0)  # [steps, arguments]
    order = np.log(median[0] / median[2]) / np.log(steps[0] / steps[2])
    assert np.all((order > 0.85) & (order < 1.15))
    assert np.all(median[2] < 0.01)


def test_threads_change_no_bit(make_case: Callable) -> None:
    """Sums over samples of each thread are added up; spikes are the same."""
    case = make_case(5)
    threads = torch.get_num_threads()
    found = {}
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found[count] = gradients(case, 0.5)
    finally:
        torch.set_num_threads(threads)
    (spikes, one), (others, two) = found.values()
    assert torch.equal(spikes.times, others.times)
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dt", [None, 0.5])
def test_samples_do_not_see_each_other(make_case: Callable, dt: float | None) -> None:
    case = make_case(3)
    whole = case.run(dt=dt)
    one = slice(*case.spikes.offsets[1:3].tolist())
    times, neurons = case.spikes.times[one], case.spikes.neurons[one]
    spikes = Spikes(times, neurons, torch.tensor([0, len(times)]), 4, 60.0)
    alone = cuba_lif(spikes, *case.arguments[1:], dt=dt)
    part = slice(*whole.offsets[1:3].tolist())
    assert torch.equal(whole.times[part], alone.times)
    assert torch.equal(whole.neurons[part], alone.neurons)
