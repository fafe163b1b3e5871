"""Networks, populations, runs and states that cannot be: one line names the value and the wish."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spikesim.errors import UserError
from spikesim.network import AllToAll, Ensemble, LogNormal, Network, cases, sweep
from spikesim.neurons import LIF, Izhikevich, LIFDelta, LIFExp

CASES: dict[str, tuple[Callable[[Any], object], str]] = {
    "dt of zero": (lambda b: Network(dt=0.0), "dt must be > 0 ms"),
    "dt in words": (lambda b: Network(dt="0.1"), "dt must be > 0 ms and finite, got '0.1'"),  # type: ignore[arg-type]
    "dt of none": (lambda b: Network(dt=None), "dt must be > 0 ms and finite, got None"),  # type: ignore[arg-type]
    "dt below all times": (lambda b: Network(dt=1e-320), "from 1e-9 to 1e9, got 1e-320"),
    "half precision": (lambda b: Network(dtype="float16"), "float32"),  # type: ignore[arg-type]
    "no threads": (lambda b: Network(threads=0), "threads must be a whole number from 1 to 1024"),
    "threads of truth": (lambda b: Network(threads=True), "whole number .* got True"),
    "negative seed": (lambda b: Network(seed=-1), "seed must be"),
    "half a seed": (lambda b: Network(seed=0.5), "seed must be a whole number .*, got 0.5"),  # type: ignore[arg-type]
    "a device of none": (lambda b: Network(device="tpu"), "device must be 'cpu', 'cuda'"),
    "name taken": (lambda b: b.net.population(LIFDelta(), 1, name="cells"), "'cells' is taken"),
    "a number as name": (lambda b: b.net.population(LIFDelta(), 1, name=3), "3 is empty or no"),
    "no neurons": (lambda b: b.net.population(LIFDelta(), 0), "a whole number >= 1, got 0"),
    "half a neuron": (lambda b: b.net.population(LIFDelta(), 2.5), "whole number >= 1, got 2.5"),
    "no size": (lambda b: b.net.population(LIFDelta(), None), "whole number >= 1, got None"),
    "an empty shape": (lambda b: b.net.population(LIFDelta(), ()), r"number >= 1, got \(\)"),
    "too many neurons": (lambda b: b.net.population(LIFDelta(), 2**40), "at most 2..31 - 1"),
    "no model": (lambda b: b.net.population(LIFDelta, 3), "needs a neuron"),
    "unknown state": (
        lambda b: b.net.population(Izhikevich(), 3, initial={"w": 0.0}),
        "has no state 'w'",
    ),
    "initial values of no state": (
        lambda b: b.net.population(Izhikevich(), 3, initial=[-60.0]),
        r"initial of Izhikevich must be such as \{'v': -60.0\}, got \[-60.0\]",
    ),
    "initial values of another number": (
        lambda b: b.net.population(Izhikevich(), 3, name="three", initial={"v": np.zeros(4)}),
        r"initial v of three: .*\[4\] does not fit 3 neurons",
    ),
    "NaN initial values": (
        lambda b: b.net.population(Izhikevich(), 3, initial={"v": [0.0, math.nan, 0.0]}),
        "initial v of Izhikevich: .*finite",
    ),
    "initial values that float32 cannot hold": (
        lambda b: b.net.population(Izhikevich(), 3, initial={"v": LogNormal(200.0, 1.0)}),
        "initial v of Izhikevich: value reaches .*, more than float32 holds",
    ),
    "tau below dt": (
        lambda b: Network(dt=3.0).population(LIF(tau=2.0), 3),
        "tau of LIF must be >= dt = 3.0",
    ),
    "parameters of another number": (
        lambda b: b.net.population(LIFDelta(tau_m=np.full(3, 10.0)), 4),  # type: ignore[arg-type]
        r"tau_m has shape \[3\]",
    ),
    "parameters that float32 cannot hold": (
        lambda b: b.net.population(LIFDelta(e_l=np.full(3, 1e300)), 3),  # type: ignore[arg-type]
        "of LIFDelta reaches 1e.300, more than float32 holds",
    ),
    "NaN parameter": (lambda b: LIFDelta(tau_m=math.nan), "tau_m must be > 0, got nan"),
    "NaN among parameters": (
        lambda b: LIFDelta(tau_m=np.array([10.0, math.nan])),  # type: ignore[arg-type]
        r"tau_m must be > 0, got \[10. nan\]",
    ),
    "infinite parameter": (lambda b: LIFExp(e_l=math.inf), "e_l must be any finite number"),
    "run between steps": (lambda b: b.net.run(0.05), "run must be .* got 0.05 ms"),
    "run backwards": (lambda b: b.net.run(-1.0), "not negative, got -1.0 ms"),
    "run for ever": (lambda b: b.net.run(math.inf), "run must be a finite number, got inf"),
    "run in words": (lambda b: b.net.run("1 s"), "run must be a finite number, got '1 s'"),
    "run for longer than steps count": (lambda b: b.net.run(1e300), r"at most 2\*\*62 steps"),
    "nothing to plot": (lambda b: b.net.plot(), "add net.probe"),
    "a time not recorded": (
        lambda b: (b.net.probe(b.cells, "v"), b.net.run(1.0), b.net.plot(5.0, 9.0)),
        "nothing to plot between 5.0 and 9.0 ms, now is 1.0 ms",
    ),
    "a plot in words": (
        lambda b: (b.net.probe(b.cells, "v"), b.net.run(1.0), b.net.plot("now")),
        "first must be a finite number, got 'now'",
    ),
    "no ensemble": (lambda b: Ensemble([]), "an ensemble needs networks, got"),
    "an ensemble of numbers": (lambda b: Ensemble([1, 2]), r"needs networks, got \[1, 2\]"),  # type: ignore[list-item]
    "a sweep of numbers": (lambda b: sweep(print, [1]), "cases such as {'seed': 1}, got 1"),  # type: ignore[list-item]
    "a case of one value": (lambda b: cases(g=3.0), "g must be a list of values, got 3.0"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_named_in_one_line(name: str, bench: Any) -> None:
    call, message = CASES[name]
    with pytest.raises(UserError, match=message) as caught:
        call(bench)
    assert "\n" not in str(caught.value)


def test_nothing_can_be_added_after_the_first_run(bench: Any) -> None:
    bench.net.run(0.1)
    for call in (
        lambda: bench.net.population(LIFDelta(), 1),
        lambda: bench.wire(),
        lambda: bench.net.poisson(bench.cells, 1.0, 1.0),
        lambda: bench.net.current(bench.cells, 1.0),
        lambda: bench.net.noise(bench.cells, 1.0, 1.0),
        lambda: bench.net.spikes([1.0], [0], 1),
    ):
        with pytest.raises(UserError, match="the network has run"):
            call()


def made(size: int, weight: float) -> Network:
    net = Network()
    cells = net.population(LIFExp(), size, name="cells")
    net.connect(cells, cells, AllToAll(), weight=weight)
    return net


def test_a_state_of_another_network_is_refused() -> None:
    state = made(4, 1.0).state_dict()
    with pytest.raises(UserError, match=r"'cells.v' is float32 \[4\], here float32 \[5\]"):
        made(5, 1.0).load_state_dict(state)
    with pytest.raises(UserError, match=r"'cells.excitatory.quantum' is"):
        made(4, 3.0).load_state_dict(state)
    with pytest.raises(
        UserError, match=r"it lacks 'cells.inhibitory.quantum', .*unknown 'cells.excitatory.q"
    ):
        made(4, -1.0).load_state_dict(state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cells.v": None}, "it lacks 'cells.v'$"),
        ({"more": np.zeros(1)}, "it has the unknown 'more'$"),
        ({"cells.v": np.zeros(4)}, r"'cells.v' is float64 \[4\], here float32 \[4\]"),
        ({"dt": np.array(1.0)}, "of another network: its dt is 1.0, here 0.1$"),
        ({"seed": np.array(7)}, "of another network: its seed is 7, here 0$"),
        ({"step": np.array(1.5)}, "the step of this state must be a whole number .*, got 1.5"),
        ({"step": np.array(-1)}, "whole number from 0 to .*, got -1"),
        ({"step": np.array([1, 2])}, r"got array\(\[1, 2\]\)"),
    ],
)
def test_what_is_wrong_with_a_state_is_named_and_nothing_is_changed(
    change: dict[str, Any], message: str
) -> None:
    net = made(4, 1.0)
    net.run(1.0)
    before = net.state_dict()
    same = {key: before[key] for key in ("dt", "seed", "cells.excitatory.quantum")}
    state = {key: np.zeros_like(value) for key, value in before.items()} | same | change
    with pytest.raises(UserError, match=message):
        net.load_state_dict({key: value for key, value in state.items() if value is not None})
    after = net.state_dict()
    assert after.keys() == before.keys()
    for key, value in before.items():
        np.testing.assert_array_equal(after[key], value)


@pytest.mark.parametrize("given", [None, [1], "state.npz"])
def test_what_is_no_state_is_refused(given: Any) -> None:
    with pytest.raises(UserError, match=r"a state is what state_dict\(\) returned, got"):
        made(4, 1.0).load_state_dict(given)


def test_a_network_is_of_one_ensemble() -> None:
    nets = [made(4, 1.0), made(4, 2.0)]
    first, second = Ensemble(iter(nets)), Ensemble(nets)
    first.run(1.0)
    with pytest.raises(UserError, match="was run alone or by another one"):
        second.run(1.0)
