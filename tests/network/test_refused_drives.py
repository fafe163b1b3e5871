"""Drives, given spikes and probes that cannot be: one line names the value and what was wanted."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spikesim.errors import UserError
from spikesim.network import Uniform

EVENT = [("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "i2")]
CASES: dict[str, tuple[Callable[[Any], object], str]] = {
    "negative rate": (lambda b: b.net.poisson(b.cells, -1.0, 1.0), ">= 0 Hz, got -1"),
    "rate of NaN": (lambda b: b.net.poisson(b.cells, math.nan, 1.0), "must be finite, got nan"),
    "NaN among rates": (
        lambda b: b.net.poisson(b.cells, [1.0] * 5 + [math.nan], 1.0),
        r"poisson -> cells\[5\] must be finite, got nan",
    ),
    "rate in words": (lambda b: b.net.poisson(b.cells, "10", 1.0), "must be numbers .*, got '10'"),
    "drawn rates": (
        lambda b: b.net.poisson(b.cells, Uniform(0.0, 1.0), 1.0),
        r"must be numbers of one shape, got Uniform\(low=0.0, high=1.0\)",
    ),
    "rates of another number": (
        lambda b: b.net.poisson(b.cells, [1.0, 2.0], 1.0),
        r"gives shape \[2\]; give one value or one for each of the 6 neurons",
    ),
    "huge rate": (lambda b: b.net.poisson(b.cells, 1e12, 1.0), "spikes in a step"),
    "infinite weight": (lambda b: b.net.poisson(b.cells, 1.0, math.inf), "weight .* finite"),
    "weight in words": (lambda b: b.net.poisson(b.cells, 1.0, "1"), "a finite number, got '1'"),
    "a weight each": (lambda b: b.net.poisson(b.cells, 1.0, np.ones(6)), "weight .* got array"),
    "a weight that float32 cannot hold": (
        lambda b: (b.net.poisson(b.cells, 1.0, 1e300), b.net.run(1.0)),
        "what may arrive in a step reaches .*, more than float32 holds",
    ),
    "onto given spikes": (
        lambda b: b.net.poisson(b.given, 1.0, 1.0),
        "given is given; only a population can receive",
    ),
    "a population's name": (lambda b: b.net.noise("cells", 0.0, 1.0), "what population"),
    "unbounded function": (
        lambda b: b.net.current(b.cells, lambda ms: ms),
        "is a function of time: pass .* largest=",
    ),
    "a bound in words": (
        lambda b: b.net.current(b.cells, lambda ms: ms, largest="1"),
        "largest of current -> cells must be a finite number, got '1'",
    ),
    "a bound of NaN": (lambda b: b.net.current(b.cells, lambda ms: ms, largest=np.nan), "nan"),
    "a function that is never asked": (
        lambda b: b.net.current(b.cells, lambda ms: ms, largest=1.0, every=0.0),
        "every must be at least one step, dt = 0.1 ms, got 0.0 ms",
    ),
    "a constant asked again": (
        lambda b: b.net.current(b.cells, 1.0, every=1.0),
        "is constant: every= and largest= are of functions",
    ),
    "function above its bound": (
        lambda b: (b.net.current(b.cells, lambda ms: 10 * ms, largest=1.0), b.net.run(1.0)),
        "reaches 2 at 0.2 ms, above largest=1",
    ),
    "function that gives NaN": (
        lambda b: (b.net.current(b.cells, lambda ms: math.nan, largest=1.0), b.net.run(1.0)),
        "must be finite at 0 ms, got nan",
    ),
    "function that gives words": (
        lambda b: (b.net.current(b.cells, lambda ms: "a", largest=1.0), b.net.run(1.0)),
        "must be numbers of one shape at 0 ms, got 'a'",
    ),
    "function of negative rates": (
        lambda b: (b.net.poisson(b.cells, lambda ms: -5.0, 1.0, largest=1.0), b.net.run(1.0)),
        ">= 0 Hz, got -5 at 0 ms",
    ),
    "a current that float32 cannot hold": (
        lambda b: (b.net.current(b.cells, [0.0] * 5 + [1e39]), b.net.run(1.0)),
        "cells, receptor 'current', neuron 5: what may arrive .* use dtype='float64'",
    ),
    "noise that float32 cannot hold": (
        lambda b: (b.net.noise(b.cells, 0.0, 1e38), b.net.run(1.0)),
        "reaches 5.8e.38, more than float32 holds",
    ),
    "negative noise": (lambda b: b.net.noise(b.cells, 0.0, -1.0), "std of .* >= 0, got -1"),
    "a modulator of none": (lambda b: b.net.modulator(1.0, tau="1"), "tau of .* got '1'"),
    "spikes before the start": (lambda b: b.net.spikes([-1.0], [0], 1), ">= 0 ms, got -1"),
    "spikes that never come": (
        lambda b: b.net.spikes([1.0, 1e300], [0, 0], 1, name="late"),
        r"times of late reach 1e\+300 ms, more than 2\*\*62 steps of dt = 0.1 ms",
    ),
    "spikes in words": (lambda b: b.net.spikes(["now"], [0], 1), "must be numbers"),
    "senders out of range": (lambda b: b.net.spikes([1.0], [3], 3), "neuron 3 is not in"),
    "a sender short": (lambda b: b.net.spikes([1.0, 2.0], [0], 1), "2 times and 1 senders"),
    "senders of no spikes": (lambda b: b.net.spikes([], [0], 1), "0 times and 1 senders"),
    "events without fields": (
        lambda b: b.net.events(np.zeros(3), (3, 3, 2)),
        "events must be an array with the fields t, x, y and p, got None",
    ),
    "a sensor of two sizes": (
        lambda b: b.net.events(np.zeros(1, EVENT), (3, 3)),
        r"sensor_size must be \(W, H, P\), got \(3, 3\)",
    ),
    "a sensor of a fraction": (
        lambda b: b.net.events(np.zeros(1, EVENT), (3, 2.5, 2)),
        "each entry of sensor_size must be a whole number >= 1, got 2.5",
    ),
    "events outside": (
        lambda b: b.net.events(np.array([(0, 3, 0, 0)], EVENT), (3, 3, 2)),
        "events lie outside of a sensor",
    ),
    "a membrane's spikes probed": (lambda b: b.net.probe(b.reader, "spikes"), "no spikes"),
    "unknown probe": (lambda b: b.net.probe(b.cells, "w"), "cells has no 'w' to probe"),
    "probe of nothing": (lambda b: b.net.probe(b.cells, None), "cells has no None to probe"),
    "probe out of range": (
        lambda b: b.net.probe(b.cells, "v", neurons=[0, 6]),
        "neuron 6 is not in cells, which has 0 to 5",
    ),
    "probe of fractions": (lambda b: b.net.probe(b.cells, "v", neurons=[0.5]), "whole numbers"),
    "probe of a mask": (
        lambda b: b.net.probe(b.cells, "v", neurons=np.ones(6, bool)),
        r"whole numbers, such as np.flatnonzero\(mask\), got",
    ),
    "probe between steps": (lambda b: b.net.probe(b.cells, "v", every=0.15), "multiple of dt"),
    "probe in words": (lambda b: b.net.probe(b.cells, "v", every="1"), "a finite number, got '1'"),
    "probe of never": (lambda b: b.net.probe(b.cells, "v", every=1e300), r"at most 2\*\*62 steps"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_named_in_one_line(name: str, bench: Any) -> None:
    call, message = CASES[name]
    with pytest.raises(UserError, match=message) as caught:
        call(bench)
    assert "\n" not in str(caught.value)


def test_a_neuron_named_twice_counts_once_in_a_rate(bench: Any) -> None:
    bench.net.current(bench.delta, 1e6, receptor="delta")  # a spike each step
    probe = bench.net.probe(bench.delta, "spikes", neurons=[1, 1])
    rate = bench.net.probe(bench.delta, "rate", neurons=[1, 1], every=0.1)
    bench.net.run(0.1)
    assert len(probe) == 1
    assert probe.rate == pytest.approx(1e4)
    assert rate.values.tolist() == [pytest.approx(1e4)]
