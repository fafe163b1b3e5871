"""Speed of one layer of neurons, forward and backward, against the copy bandwidth and the peers.

    python benchmarks/neurons.py --out benchmarks/results/neurons_h200.json
    python benchmarks/neurons.py --device cpu --out benchmarks/results/neurons_cpu.json

On a GPU: layers of ``[T, N]`` with 512 MiB of input, 1 GiB for neurons of more arithmetic, whose
time is set beside the least traffic: forward reads ``x`` and writes ``s``; forward and backward
read ``x``, write ``s``, read ``x`` and ``ds``, write ``dx``; all in the input's dtype. Then one
layer of 4,096 neurons, where launching is what counts, eager and in a CUDA graph. On the CPU:
``[32, 64, 1024]`` on 2 threads.

Sides that need no compiler are measured first, for all rows, then the others. What is not reached
within ``--minutes`` says so, and the same command again goes on with it (``keep.py``): every run
measures ours anew, and a ratio is one of two figures of the same run. ``--rank``, ``--only`` and
``--sides`` choose a part. ``python benchmarks/tables.py`` makes the README of the JSON.
"""

import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import keep
import measure
import sides
import sides_spikingjelly
import tables_neurons
import torch
from measure import MIB, Run, dtype_name
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
        clock: ``"device"``: between two events; ``"eager"``: wall clock with launches;
            ``"eager, one thread"``: with autograd in the thread that calls it; ``"graph"``:
            replayed from a CUDA graph.
        compiled: whether ``torch.compile`` takes part.
    """

    model: str
    what: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    bar: float | None = None
    clock: Literal["device", "eager", "eager, one thread", "graph"] = "device"
    compiled: bool = True

    @property
    def name(self) -> str:
        """As printed."""
        clock = "" if self.clock == "device" else f", {self.clock}"
        return f"{self.model} {self.what} {dtype_name(self.dtype)} {list(self.shape)}{clock}"

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

    def filled(steps: int, dtype: torch.dtype, size: int = 512 * MIB) -> tuple[int, int]:
        return steps, (64 * MIB if run.quick else size) // (steps * dtype.itemsize)

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
        for dtype in (F32, BF16):
            shape = filled(16, dtype, 1024 * MIB)
            found.append(Row(model, BOTH, dtype, shape, 0.65, compiled=dtype == F32))
    for dtype, bar in ((F32, 0.65), (BF16, 0.5)):
        found.append(Row("LIF", BOTH, dtype, (1024, 65536), bar))
    found.append(Row("LIF", BOTH, F32, (16, 4096), 0.120, "eager"))
    found.append(Row("LIF", BOTH, F32, (16, 4096), 0.120, "eager, one thread"))
    found.append(Row("LIF", BOTH, F32, (16, 4096), 0.020, "graph"))
    return found


class Bench:
    """One run over all rows and sides; ``report`` holds what earlier ones found."""

    def __init__(self, run: Run, chosen: list[Row], report: dict[str, Any]) -> None:
        self.run, self.rows = run, chosen
        self.sides = {row: keep.sides_of(report, row.name) for row in chosen}
        self.ours: dict[Row, float] = {}
        self.fresh: list[dict[str, Any]] = []
        self.compiler = "eager" if run.quick else "inductor"

    def measure(self, rank: int, only: str = "", among: str = "") -> Iterator[None]:
        """The sides of one rank, for rows named like ``only``, of ours and of sides named like
        ``among``; stops after each figure.
        """
        for row in (row for row in self.rows if re.search(only, row.name)):
            for side in sides.sides_of(row.model, self.compiler):
                possible = row.dtype in side.dtypes and (self.run.on_gpu or not side.gpu_only)
                is_asked = side.library == keep.OURS or re.search(among, side.name)
                is_due = keep.is_due(self.sides[row], side.library, side.variant)
                if side.rank == rank and possible and is_asked and is_due:
                    self.add(row, side)
                    yield

    def add(self, row: Row, side: Side) -> None:
        """Measure one side of a row, and set it beside what we needed in this run."""
        start = time.perf_counter()
        entry = self.one(row, side)
        seconds = time.perf_counter() - start
        result = entry.get("ms", entry.get("status"))
        print(f"{row.name}: {side.name}: {result} ({seconds:.1f} s)", file=sys.stderr, flush=True)
        if "ms" in entry:
            self.fresh.append(entry)
            median = entry["ms"]["median"]
            if side.library == keep.OURS:
                self.ours[row] = median
            elif row in self.ours:
                entry["times_ours"] = round(median / self.ours[row], 4)
        keep.put(self.sides[row], entry)

    def entries(self, bandwidth: float) -> list[dict[str, Any]]:
        """All rows with a side; ``bandwidth`` is that of a copy in this run, in GB/s."""
        for side in self.fresh:
            side["fraction_of_copy"] = round(side["gb_per_s"] / bandwidth, 3)
        return [self.entry(row) for row in self.rows if self.sides[row]]

    def one(self, row: Row, side: Side) -> dict[str, Any]:
        """One side of one row, or why it has no figure."""
        out: dict[str, Any] = {"library": side.library, "variant": side.variant, "note": side.note}
        why = self.not_now(row, side)
        if why is not None:
            return out | {"status": f"not measured: {why}"}
        measure.free(self.run)
        try:
            return out | self.figures(row, side)
        except Exception as error:  # another library's failure is a result
            return out | {"status": measure.failure(error)}

    def not_now(self, row: Row, side: Side) -> str | None:
        """Why this is not even tried."""
        if self.run.spent:
            return "the time of this run was used up"
        if side.variant != "compile":
            return None
        if not row.compiled:
            return "not compiled in this row, to keep the run short"
        steps, seconds = self.compiled(row)
        if seconds * row.shape[0] > COMPILE_LIMIT_S * steps:
            return (
                f"compiling {steps} steps took {seconds:.0f} s, {row.shape[0]} take in proportion"
            )
        return None

    def compiled(self, row: Row) -> tuple[int, float]:
        """The longest sequence of this kind that was compiled, and the seconds it took."""
        known = [(1, 0.0)]
        for other, found in self.sides.items():
            if (other.model, other.what, other.dtype) == (row.model, row.what, row.dtype):
                compiled = [s for s in found if s["variant"] == "compile" and "ms" in s]
                known += [(other.shape[0], side["first_call_s"]) for side in compiled]
        return max(known)

    def figures(self, row: Row, side: Side) -> dict[str, Any]:
        """Time, traffic and firing rate."""
        run = self.run
        layer = side.make(run.device, row.dtype)
        work = self.work(row, layer, side.drive)
        start = time.perf_counter()
        rate = work().detach().mean(dtype=torch.float32).item()
        first = time.perf_counter() - start
        if row.clock == "device":
            found = measure.times(work, run)
        else:
            called = measure.graph_of(work) if row.clock == "graph" else work
            inner = 2 if run.quick else 500 if row.clock == "graph" else 50
            with torch.autograd.set_multithreading_enabled(row.clock != "eager, one thread"):
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

    def entry(self, row: Row) -> dict[str, Any]:
        """A row of the report, with the best peer and how much faster we are."""
        found = self.sides[row]
        peers = [side for side in found if "times_ours" in side]
        best = min(peers, key=lambda side: side["times_ours"], default=None)
        return {
            "row": row.name,
            "model": row.model,
            "what": row.what,
            "dtype": dtype_name(row.dtype),
            "shape": list(row.shape),
            "clock": row.clock,
            "bar": row.bar,
            "input_bytes": row.input_bytes,
            "traffic_bytes": row.traffic,
            "best_peer": best and f"{best['library']} {best['variant']}",
            "times_the_best_peer": best and best["times_ours"],
            "sides": found,
        }


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--only", default="", help="rows whose name matches this expression")
    parser.add_argument("--sides", default="", help="ours, and peers whose name matches this")
    parser.add_argument("--rank", type=int, default=2, help="0: no loops, 1: no torch.compile")
    options = parser.parse_args()
    run = measure.begin(options)
    report = measure.record("neurons", run, options.out)
    report["spikingjelly_auto"] = peer_choice(run)
    bench = Bench(run, rows(run), report)
    copies = [measure.copy_bandwidth(run)]
    earlier = report.get("copy", [])

    def save() -> None:
        report["copy"] = earlier + copies
        report["rows"] = bench.entries(max(copy["gb_per_s"] for copy in copies))
        keep.save(report, options.out)

    for rank in range(options.rank + 1):
        for _ in bench.measure(rank, options.only, options.sides):
            save()
        copies.append(measure.copy_bandwidth(run))
        save()
    lines = tables_neurons.neurons_on_gpu if run.on_gpu else tables_neurons.neurons_on_cpu
    measure.finish(report, options.out, lines)


def peer_choice(run: Run) -> dict[str, Any]:
    """Which of its implementations SpikingJelly takes by itself."""
    try:
        return sides_spikingjelly.chosen(run.device)
    except Exception as error:
        return {"status": measure.failure(error)}


if __name__ == "__main__":
    main()
