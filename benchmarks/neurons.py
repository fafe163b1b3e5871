"""Speed of one layer of neurons, forward and backward, against the copy bandwidth and the peers.

    python benchmarks/neurons.py --out benchmarks/results/neurons_h200.json
    python benchmarks/neurons.py --device cpu --out benchmarks/results/neurons_cpu.json

On a GPU: layers of ``[T, N]`` with 512 MiB of input, whose time is set beside the least traffic:
forward reads ``x`` and writes ``s``; forward and backward read ``x``, write ``s``, read ``x`` and
``ds``, write ``dx``; all in the input's dtype. Then one layer of 4,096 neurons, where launching is
what counts, eager and in a CUDA graph. On the CPU: ``[32, 64, 1024]`` on 2 threads.

Sides that need no compiler are measured first, for all rows, then the others; what is not reached
within ``--minutes`` says so. Prints JSON; ``python benchmarks/tables.py`` makes the README of it.
"""

import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import measure
import sides
import sides_spikingjelly
import tables
import torch
from measure import MIB, Run
from side import Layer, Side
from torch import Tensor

FORWARD, BOTH = "forward", "forward + backward"
F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16
COMPILE_LIMIT_S = 45
"""A compilation that must take longer, by the time of a shorter sequence, is not started."""


@dataclass(frozen=True)
class Row:
    """One thing that is measured for all sides.

    Args:
        model: the neuron.
        what: forward alone, or with backward.
        dtype: of input, spikes and gradients.
        shape: of the input, time first.
        bar: the fraction of the copy bandwidth to reach, or for ``clock`` the milliseconds.
        clock: ``"device"``: between two events; ``"eager"``: wall clock with launches; ``"graph"``:
            the same, replayed from a CUDA graph.
        compiled: whether ``torch.compile`` takes part.
    """

    model: str
    what: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    bar: float | None = None
    clock: Literal["device", "eager", "graph"] = "device"
    compiled: bool = True

    @property
    def name(self) -> str:
        """As printed."""
        clock = "" if self.clock == "device" else f", {self.clock}"
        return f"{self.model} {self.what} {str(self.dtype)[6:]} {list(self.shape)}{clock}"

    @property
    def input_bytes(self) -> int:
        """Of ``x``."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize

    @property
    def traffic(self) -> int:
        """The bytes that must be read and written."""
        return (2 if self.what == FORWARD else 5) * self.input_bytes


def rows(run: Run) -> list[Row]:
    """What is measured on this device."""
    if not run.on_gpu:
        shape: tuple[int, ...] = (3, 2, 17) if run.quick else (32, 64, 1024)
        found = [Row(model, BOTH, F32, shape) for model in ("LIF", "custom (QIF)")]
        if run.quick:
            found += [
                Row("LIF", FORWARD, F32, shape, 0.88),
                Row("LIF", BOTH, BF16, shape, 0.12, "eager", compiled=False),
            ]
        return found

    def filled(steps: int, dtype: torch.dtype) -> tuple[int, int]:
        size = 64 * MIB if run.quick else 512 * MIB
        return steps, size // (steps * dtype.itemsize)

    found = []
    for model in ("LIF", "custom (QIF)"):
        for steps in (4, 16, 128):
            compiled = model == "LIF" or steps == 16
            found.append(Row(model, FORWARD, F32, filled(steps, F32), 0.88, compiled=compiled))
            for dtype, bar in ((F32, 0.88), (BF16, 0.85), (F16, 0.85)):
                compiled = dtype == F32 or (dtype == BF16 and model == "LIF")
                shape = filled(steps, dtype)
                found.append(Row(model, BOTH, dtype, shape, bar, compiled=compiled))
    for model in ("PLIF", "ALIF", "CUBALIF", "Izhikevich"):
        found.append(Row(model, BOTH, F32, filled(16, F32), 0.65))
        found.append(Row(model, BOTH, BF16, filled(16, BF16), 0.65, compiled=False))
    for dtype, bar in ((F32, 0.65), (BF16, 0.5)):
        found.append(Row("LIF", BOTH, dtype, (1024, 65536), bar))
    found.append(Row("LIF", BOTH, F32, (16, 4096), 0.120, "eager"))
    found.append(Row("LIF", BOTH, F32, (16, 4096), 0.020, "graph"))
    return found


class Bench:
    """One run over all rows and sides."""

    def __init__(self, run: Run, chosen: list[Row]) -> None:
        self.run, self.rows = run, chosen
        self.found: list[list[dict[str, Any]]] = [[] for _ in chosen]
        self.compiler = "eager" if run.quick else "inductor"
        self.compiling: dict[tuple[str, str, torch.dtype], tuple[int, float]] = {}

    def measure(self, rank: int, among: str = "") -> Iterator[None]:
        """The sides of one rank whose name matches ``among``; stops after each row."""
        for row, found in zip(self.rows, self.found, strict=True):
            for side in sides.sides_of(row.model, self.compiler):
                possible = row.dtype in side.dtypes and (self.run.on_gpu or not side.gpu_only)
                is_asked = re.search(among, f"{side.library} {side.variant}")
                if side.rank == rank and possible and is_asked:
                    start = time.perf_counter()
                    found.append(self.one(row, side))
                    seconds = time.perf_counter() - start
                    result = found[-1].get("ms", found[-1].get("status"))
                    what = f"{row.name}: {side.library} {side.variant}: {result} ({seconds:.1f} s)"
                    print(what, file=sys.stderr, flush=True)
            yield

    def entries(self, bandwidth: float) -> list[dict[str, Any]]:
        """All rows with what was measured so far; ``bandwidth`` in GB/s."""
        for side in (side for found in self.found for side in found if "gb_per_s" in side):
            side["fraction_of_copy"] = round(side["gb_per_s"] / bandwidth, 3)
        return [self.entry(row, found) for row, found in zip(self.rows, self.found, strict=True)]

    def one(self, row: Row, side: Side) -> dict[str, Any]:
        """One side of one row, or why it has no figure."""
        out: dict[str, Any] = {"library": side.library, "variant": side.variant, "note": side.note}
        why = self.not_now(row, side)
        if why is not None:
            return out | {"status": f"not measured: {why}"}
        try:
            return out | self.figures(row, side)
        except Exception as error:  # another library's failure is a result
            return out | {"status": measure.failure(error)}
        finally:
            measure.free(self.run)

    def not_now(self, row: Row, side: Side) -> str | None:
        """Why this is not even tried."""
        if self.run.spent:
            return "the time of this run was used up"
        if side.variant != "compile":
            return None
        if not row.compiled:
            return "not compiled in this row, to keep the run short"
        steps, seconds = self.compiling.get((row.model, row.what, row.dtype), (row.shape[0], 0.0))
        needed = seconds * row.shape[0] / steps
        if needed > COMPILE_LIMIT_S:
            return (
                f"compiling {steps} steps took {seconds:.0f} s, {row.shape[0]} take in proportion"
            )
        return None

    def figures(self, row: Row, side: Side) -> dict[str, Any]:
        """Time, traffic and firing rate."""
        run = self.run
        layer = side.make(run.device, row.dtype)
        work = self.work(row, layer, side.drive)
        start = time.perf_counter()
        rate = work().detach().mean(dtype=torch.float32).item()
        first = time.perf_counter() - start
        if side.variant == "compile":
            self.compiling[row.model, row.what, row.dtype] = (row.shape[0], first)
        if row.clock == "device":
            found = measure.times(work, run)
        else:
            called = measure.graph_of(work) if row.clock == "graph" else work
            inner = 2 if run.quick else {"eager": 50, "graph": 500}[row.clock]
            found = measure.times_of_small(called, run, inner)
        ms = measure.summary(found)
        return {
            "ms": ms,
            "gb_per_s": round(row.traffic / ms["median"] / 1e6, 1),
            "first_call_s": round(first, 2),
            "rate": round(rate, 4),
            "backend": sides.runs_on(layer, run.device),
        }

    def work(self, row: Row, layer: Layer, drive: tuple[float, float]) -> Callable[[], Tensor]:
        """One repetition, which returns the spikes."""
        generator = torch.Generator(self.run.device).manual_seed(0)
        x = torch.empty(row.shape, dtype=row.dtype, device=self.run.device)
        x.normal_(*drive, generator=generator)
        if row.what == FORWARD:
            return torch.no_grad()(lambda: layer(x))
        ds = torch.empty_like(x).normal_(generator=generator)
        x.requires_grad_()

        def both() -> Tensor:
            x.grad = None
            spikes = layer(x)
            spikes.backward(ds)
            return spikes

        return both

    def entry(self, row: Row, found: list[dict[str, Any]]) -> dict[str, Any]:
        """A row of the report, with the best peer and how much faster we are."""
        timed: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        for side in found:
            if "ms" in side:
                timed[side["library"] == "spikesim"].append(side)
        best = min(timed[False], key=lambda side: side["ms"]["median"], default=None)
        ratio = None
        if best and timed[True]:
            ratio = round(best["ms"]["median"] / timed[True][0]["ms"]["median"], 2)
        return {
            "row": row.name,
            "model": row.model,
            "what": row.what,
            "dtype": str(row.dtype)[6:],
            "shape": row.shape,
            "clock": row.clock,
            "bar": row.bar,
            "input_bytes": row.input_bytes,
            "traffic_bytes": row.traffic,
            "best_peer": best and f"{best['library']} {best['variant']}",
            "times_the_best_peer": ratio,
            "sides": found,
        }


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--only", default="", help="rows whose name matches this expression")
    parser.add_argument("--sides", default="", help="sides whose name matches this expression")
    parser.add_argument("--rank", type=int, default=2, help="0: no loops, 1: no torch.compile")
    options = parser.parse_args()
    run = measure.begin(options)
    report = measure.record("neurons", run)
    report["copy"] = [measure.copy_bandwidth(run)]
    report["spikingjelly_auto"] = peer_choice(run)
    chosen = [row for row in rows(run) if re.search(options.only, row.name)]
    bench = Bench(run, chosen)
    for rank in range(options.rank + 1):
        for _ in bench.measure(rank, options.sides):
            report["rows"] = bench.entries(max(copy["gb_per_s"] for copy in report["copy"]))
            measure.save(report, options.out)
        report["copy"].append(measure.copy_bandwidth(run))
        report["rows"] = bench.entries(max(copy["gb_per_s"] for copy in report["copy"]))
        measure.save(report, options.out)
    lines = tables.neurons_on_gpu if run.on_gpu else tables.neurons_on_cpu
    measure.finish(report, options.out, lines)


def peer_choice(run: Run) -> dict[str, Any]:
    """Which of its implementations SpikingJelly takes by itself."""
    try:
        return sides_spikingjelly.chosen(run.device)
    except Exception as error:
        return {"status": measure.failure(error)}


if __name__ == "__main__":
    main()
