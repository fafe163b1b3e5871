"""What is left out of a step before it is printed, and how its gradient is put together."""

from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor

from spikesim.kernels.numba_backend import NumbaBackend
from spikesim.kernels.print_cuda import Variant, step_text
from spikesim.kernels.program import bind
from spikesim.kernels.reverse import reverse
from spikesim.kernels.tape import trace
from spikesim.neuron import Neuron
from spikesim.neurons import ALIF, IF, LIF, Izhikevich
from spikesim.types import Named

VARIANT = Variant("float32", width=1, segment=4, pipelined=False)


class Quadratic(Neuron):
    """v' = v + q v + r v v + x, whose slope is 1 + q + 2 r v."""

    states = ("v",)

    def __init__(self) -> None:
        super().__init__()
        self.add_parameter("q", 0.5)
        self.add_parameter("r", 0.25)

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        v = state.v
        v = v + p.q * v + p.r * v * v + inputs.x
        return Named(v=v), v


def operations(neuron: Neuron) -> list[str]:
    return [line.op for line in bind(neuron).program.lines]


def test_equal_terms_of_a_gradient_meet() -> None:
    back = reverse(trace(Quadratic()))
    base = back.cotangents["x"]
    with_base = [line for line in back.lines if base in line.args]
    (product,) = with_base
    assert product.op == "*"
    assert back.cotangents["v"] == product.name
    assert len(back.lines) == 6  # the base, 1 + q + (2 r) v, and their product


def test_lines_that_change_nothing_are_left_out() -> None:
    assert len(operations(Izhikevich(u_reference=-65.0))) == len(operations(Izhikevich())) + 1
    assert len(operations(Izhikevich(u_decay=0.5))) == len(operations(Izhikevich())) + 1
    # One that learns may change.
    learning = Izhikevich(learnable=["u_reference", "u_decay"])
    assert len(operations(learning)) == len(operations(Izhikevich())) + 2


def test_a_number_set_later_gets_its_line_back() -> None:
    neuron = Izhikevich()
    before = len(neuron.bound().program.lines)
    neuron.u_decay = 0.5
    assert len(neuron.bound().program.lines) == before + 1


@pytest.mark.parametrize("name", ["Izhikevich", "Izhikevich float64", "ALIF"])
def test_what_is_left_equals_the_reference(check: Any, host: Any, cases: Any, name: str) -> None:
    for backend in (NumbaBackend(), host):
        check(backend, replace(cases[name], learnable=False))


def test_operands_that_are_numbers_have_no_array(check: Any, host: Any, cases: Any) -> None:
    # Text that took them for arrays would read address 0.
    for learnable in (True, False):
        check(host, replace(cases["LIF per neuron"], learnable=learnable))


def test_only_a_product_with_0_or_1_is_added_in_one_go() -> None:
    def fused(neuron: Neuron) -> int:
        return step_text(bind(neuron).program, VARIANT).count(" = fused(")

    assert fused(IF(v_reset=None, v_threshold=0.7)) >= 1  # v - s * threshold
    assert fused(LIF(v_reset=0.0)) == 0
    assert fused(ALIF(v_threshold=0.7)) == 0  # its last spikes are a state, which may hold anything
