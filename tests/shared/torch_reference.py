"""Through whatever backend serves, and through ``neuron.step`` in torch: the same results."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from neuron_cases import Case
from torch import Tensor

from spikesim.neuron import Neuron
from spikesim.types import Named

# Sums run in another order than autograd's, over up to some thousand terms.
GRADIENT_TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}  # relative to the largest
# exp, log and tanh of torch and ours differ in the last bits.
FUNCTION_TOLERANCE = 1e-5
# A gradient stored in 16 bits may be the neighbour of the reference's: half an ulp and a bit.
STORAGE_TOLERANCE = {torch.float16: 1e-3, torch.bfloat16: 8e-3}


def compare(case: Case, device: str, x: Tensor | None) -> None:
    """Through whatever backend serves, and through torch."""
    # The reference runs on the same device: exp, from which constants derive, is its own there.
    neuron = case.neuron().to(device)
    x = (case.input() if x is None else x).to(device)
    fused_neuron = copy.deepcopy(neuron)
    neuron.backend, fused_neuron.backend = "torch", "numba" if device == "cpu" else "cupy"
    weights = [torch.randn(x.shape, dtype=torch.float64) for _ in range(1 + len(neuron.states))]
    start = neuron.initial_state(x[0].to(_real(x))).detach()
    start = start.map(lambda v: v + torch.rand(v.shape, dtype=v.dtype).to(device))
    expected = run(case, neuron, x, weights, start)
    got = run(case, fused_neuron, x, weights, start)
    check_states = same if case.bitwise else close
    check_states(got.output, expected.output)
    for name, value in expected.states.items():
        check_states(got.states[name], value)
    tolerance = GRADIENT_TOLERANCE[_real(x)]
    near(got.d_input, expected.d_input, max(tolerance, STORAGE_TOLERANCE.get(x.dtype, 0.0)))
    for name, value in expected.d_state.items():
        near(got.d_state[name], value, tolerance)
    for name, value in expected.d_parameters.items():
        near(got.d_parameters[name], value, tolerance)


@dataclass(frozen=True)
class Result:
    output: Tensor
    states: dict[str, Tensor]
    d_input: Tensor
    d_state: dict[str, Tensor]
    d_parameters: dict[str, Tensor]


def run(case: Case, neuron: Neuron, x: Tensor, weights: Sequence[Tensor], start: Named) -> Result:
    """Outputs, states and the gradients of a weighted sum of all of them."""
    x = x.detach().requires_grad_()
    state = None
    if case.given_state:
        state = start.map(lambda v: v.to(x.device).detach().requires_grad_())
    # The first input is x, others are a little of it.
    given = {name: 0.1 * x if k else x for k, name in enumerate(neuron.inputs)}
    if case.traces:
        rows = neuron.trace(given, state)
        output = rows["output"].to(x.dtype)
        states = {name: rows[name] for name in neuron.states}
    else:
        output, last = neuron.run(given, state)
        states = dict(last)
    loss = (output * weights[0].to(output)).sum()
    for weight, value in zip(weights[1:], states.values(), strict=True):
        loss = loss + (value * (weight if case.traces else weight[0]).to(value)).sum()
    loss.backward()
    return Result(
        output.detach(),
        {name: value.detach() for name, value in states.items()},
        x.grad,
        {} if state is None else {name: value.grad for name, value in state.items()},
        {name: p.grad for name, p in neuron.named_parameters() if p.grad is not None},
    )


def _real(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def same(got: Tensor, expected: Tensor) -> None:
    """Equal bit for bit, but for the sign of zero and what a NaN holds."""
    assert got.dtype == expected.dtype
    assert torch.equal(got.isnan(), expected.isnan())
    assert torch.equal(got.nan_to_num(7.0), expected.nan_to_num(7.0))


def near(got: Tensor, expected: Tensor, tolerance: float) -> None:
    """Equal up to a part of the largest."""
    assert got.dtype == expected.dtype
    assert torch.equal(got.isnan(), expected.isnan())
    if expected.numel():
        difference = (got.double() - expected.double()).nan_to_num(0.0).abs().max()
        assert difference <= tolerance * expected.double().nan_to_num(0.0).abs().max()


def close(got: Tensor, expected: Tensor) -> None:
    near(got, expected, FUNCTION_TOLERANCE)
