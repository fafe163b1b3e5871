import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spikesim import ops
from spikesim.kernels.tape import OPERATIONS, TraceError, trace
from spikesim.neuron import Neuron
from spikesim.neurons.izhikevich import Izhikevich
from spikesim.neurons.lif import LIF
from spikesim.random import Stream, drawing
from spikesim.surrogate import ATan
from spikesim.types import Named


def _neuron(step: Callable[[Any, Any, Any, Any], Any]) -> Neuron:
    class Custom(Neuron):
        states = ("v",)

        def __init__(self) -> None:
            super().__init__()
            self.surrogate = ATan()
            self.register_buffer("table", torch.ones(3))
            self.add_parameter("gain", 0.5)

        def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
            return step(self, state, inputs, p)

    return Custom()


def test_text_of_a_tape_reads_like_the_step() -> None:
    assert str(trace(LIF(v_reset=None, decay_input=False, detach_reset=True))) == (
        "LIF: x | v | v_threshold, k\n"
        "  t0 = v * k\n"
        "  t1 = v - t0\n"
        "  t2 = t1 + x\n"
        "  t3 = t2 - v_threshold\n"
        "  t4 = spike(t3, ATan(alpha=2.0))\n"
        "  t5 = detach(t4)\n"
        "  t6 = t5 * v_threshold\n"
        "  t7 = t2 - t6\n"
        "  -> t4 | v = t7"
    )


def test_every_operation_is_recorded_and_computed() -> None:
    def step(self: Neuron, state: Named, inputs: Named, p: Named) -> tuple[Named, Any]:
        x, v = inputs.x, state.v
        y = 1.0 - x + 2.0 * v - (-x) / (3.0 + v * v) + 1 / (2.0 + ops.absolute(x))
        y = ops.exp(-ops.absolute(y)) + ops.log(1.0 + x * x) + ops.tanh(v) * p.gain
        y = ops.where(x < v, y, 0.25) + ops.where(x <= 0.0, 1.0, v) + ops.where(x > v, v, x)
        y = y + ops.bernoulli(ops.clamp(x, 0.0, 1.0)) * ops.noise(x) + ops.bernoulli(p.gain)
        y = ops.minimum(y, 2.0) + ops.maximum(v, x) + ops.clamp(y, -1.0, 1.0)
        return Named(v=ops.detach(y) + ops.round_(y)), self.spike(ops.where(y >= x, y, v))

    neuron = _neuron(step)
    tape = trace(neuron)
    composed = {"clamp"}  # recorded as a maximum and a minimum
    assert {line.op for line in tape.lines} == set(OPERATIONS) - composed
    state, inputs = Named(v=torch.randn(4, 5)), Named(x=torch.randn(4, 5))
    p = neuron.values(state.v)
    stream = Stream(torch.tensor([1, 0, 0]), 0)
    with drawing(stream, 0, state.v):
        after, out = neuron.step(state, inputs, p)
    with drawing(stream, 0, state.v):
        again, out_again = tape.evaluate(state, inputs, p)
    assert torch.equal(after.v, again.v)
    assert torch.equal(out, out_again)


def test_gradients_flow_through_an_evaluated_tape() -> None:
    neuron = LIF(tau=3.0, v_reset=-0.2)
    x = torch.randn(2, 5, requires_grad=True)
    state = neuron.initial_state(x)
    p = neuron.values(x)
    grads = [
        torch.autograd.grad(out.sum() + after.v.sum(), x)[0]
        for after, out in (
            neuron.step(state, Named(x=x), p),
            trace(neuron).evaluate(state, Named(x=x), p),
        )
    ]
    assert torch.equal(*grads)


def test_only_parameters_that_the_step_reads_are_listed() -> None:
    assert trace(LIF()).parameters == ("v_threshold", "k")  # tau enters through k
    assert "u_initial" not in trace(Izhikevich()).parameters


def _branch(self: Any, state: Any, inputs: Any, p: Any) -> Any:
    if inputs.x > 1.0:
        return state, inputs.x
    return state, state.v


REFUSED = {
    "branch on data": (_branch, "a branch on data"),
    "max": (lambda n, s, i, p: (s, max(i.x, s.v)), "a branch on data"),
    "torch.sin": (lambda n, s, i, p: (s, torch.sin(i.x)), "torch.sin"),
    "method": (lambda n, s, i, p: (s, i.x.sin()), ".sin"),
    "math": (lambda n, s, i, p: (s, math.exp(i.x)), "float"),
    "numpy": (lambda n, s, i, p: (s, np.sin(i.x)), "numpy.sin"),
    "index": (lambda n, s, i, p: (s, i.x[0]), "getitem"),
    "loop": (lambda n, s, i, p: (s, sum(i.x)), "iter"),
    "power": (lambda n, s, i, p: (s, i.x**2), "pow"),
    "matrix": (lambda n, s, i, p: (s, i.x @ s.v), "matmul"),
    "equal": (lambda n, s, i, p: (s, ops.where(i.x == 0.0, i.x, s.v)), "eq"),
    "buffer": (lambda n, s, i, p: (s, i.x * n.table), "add_parameter"),
    "buffer first": (lambda n, s, i, p: (s, n.table * i.x), "torch.mul"),
    "truth": (lambda n, s, i, p: (s, (i.x > 0.0) * s.v), "condition of where"),
    "number": (lambda n, s, i, p: (s, ops.where(i.x, s.v, 0.0)), "must be a comparison"),
    "state": (lambda n, s, i, p: (Named(v=n.table), i.x), "add_parameter"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_leaving_the_operator_set_names_operator_and_line(case: str) -> None:
    step, expected = REFUSED[case]
    with pytest.raises(TraceError) as error:
        trace(_neuron(step))
    text = str(error.value)
    assert expected in text
    # The result is checked after the step has returned, so no line of it is left to name.
    if case != "state":
        place = re.search(r"test_tape\.py:(\d+): '(.+?)'; ", text)
        assert place is not None, text
        lines = step.__code__.co_firstlineno, max(n for *_, n in step.__code__.co_lines() if n)
        assert lines[0] <= int(place[1]) <= lines[1]
    assert "\n" not in text


def test_names_must_be_unambiguous() -> None:
    class Twice(LIF):
        inputs = ("v",)

    with pytest.raises(TraceError, match="'v' must name one value"):
        trace(Twice())
