r"""Joules that this machine spends on a call, by the counters of its GPU and processors.

.. math:: E = \frac{1}{n} \Bigl( E_\mathrm{busy} - \frac{t_\mathrm{busy}}{t_\mathrm{idle}}
              E_\mathrm{idle} \Bigr)

with :math:`n` calls in a window, and an equal window before it in which nothing is called. This is
the cost of the simulation on this machine. It says nothing of a neuromorphic chip.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

import torch

from spikesim.energy.meters import Meter, available
from spikesim.energy.units import joule
from spikesim.errors import UserError

SHORTEST = 3.0
"""Seconds: counters are updated some ten times a second, and clocks change within one."""
READ_EVERY = 1.0
"""Seconds, so that no counter begins anew unseen."""


@dataclass(frozen=True)
class Measured:
    """What one meter saw.

    Attributes:
        meter: what it meters.
        joules: of a call, without idle; mean over the repeats.
        low, high: the least and the most of a repeat.
        idle_watts: without any call.
        busy_watts: with calls.
    """

    meter: str
    joules: float
    low: float
    high: float
    idle_watts: float
    busy_watts: float


@dataclass(frozen=True)
class Measurement:
    """Energy of a call on this machine: of the simulation, not of a chip.

    Attributes:
        meters: what each meter saw.
        missing: what could not be metered, and why.
        seconds: of a call; 0 without any meter, as nothing was called then.
        calls: in all windows.
    """

    meters: tuple[Measured, ...]
    missing: Mapping[str, str]
    seconds: float
    calls: int

    def lines(self) -> list[str]:
        """For people."""
        said = [
            f"measured, {one.meter}: {joule(one.joules)} a call ({joule(one.low)} to "
            f"{joule(one.high)}), {one.busy_watts:.3g} W less {one.idle_watts:.3g} W idle"
            for one in self.meters
        ]
        said += [f"not measured, {what}: {why}" for what, why in self.missing.items()]
        if self.meters:
            said.append(
                f"{self.calls} calls of {self.seconds:.4g} s; this is what the simulation costs on "
                "this machine, not what a chip would need"
            )
        return said


def measure(
    function: Callable[[], object],
    *,
    device: torch.device | str = "cpu",
    seconds: float = SHORTEST,
    repeats: int = 3,
    meters: Sequence[Meter] | None = None,
) -> Measurement:
    """Call a function again and again, and read what the machine spent.

    Args:
        function: what is measured; called once before, to compile what it needs.
        device: whose meters are read; those of the processors always are.
        seconds: of each window, >= 3.
        repeats: pairs of an idle and a busy window.
        meters: in place of those that are found.

    Raises:
        UserError: a window that is too short, or no repeat.
    """
    if not seconds >= SHORTEST:
        raise UserError(f"seconds must be >= {SHORTEST:g}, or counters are too coarse; {seconds=}")
    if repeats < 1:
        raise UserError(f"repeats must be >= 1, got {repeats}")
    where = torch.device(device)
    found, missing = available(where) if meters is None else (list(meters), {})
    if not found:
        return Measurement((), missing, 0.0, 0)
    _call(function, where)
    idle, busy, times, calls = [], [], [], []
    for _ in range(repeats):
        spent, lasted, _ = _window(found, seconds, lambda: time.sleep(0.1))
        idle.append([one / lasted for one in spent])
        spent, lasted, count = _window(found, seconds, lambda: _call(function, where))
        busy.append(spent)
        times.append(lasted)
        calls.append(count)
    seen = []
    for n, meter in enumerate(found):
        each = [
            (spent[n] - watts[n] * lasted) / count
            for spent, watts, lasted, count in zip(busy, idle, times, calls, strict=True)
        ]
        idle_watts = mean(watts[n] for watts in idle)
        busy_watts = sum(spent[n] for spent in busy) / sum(times)
        seen.append(Measured(meter.name, mean(each), min(each), max(each), idle_watts, busy_watts))
    return Measurement(tuple(seen), missing, sum(times) / sum(calls), sum(calls))


def _call(function: Callable[[], object], device: torch.device) -> None:
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _window(
    meters: Sequence[Meter], seconds: float, act: Callable[[], object]
) -> tuple[list[float], float, int]:
    """Joules of each meter, seconds and calls of a window."""
    first = [meter.joules() for meter in meters]
    start = read = now = time.perf_counter()
    count = 0
    while now - start < seconds:
        act()
        count += 1
        now = time.perf_counter()
        if now - read >= READ_EVERY:
            read = now
            for meter in meters:
                meter.joules()
    return (
        [meter.joules() - was for meter, was in zip(meters, first, strict=True)],
        now - start,
        count,
    )
