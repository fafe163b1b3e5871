"""What the benchmarks share: timing, copy bandwidth, memory, and the record of a run.

A figure is the median of at least 20 repetitions after warm-up, of fewer where a call takes longer
than half a second: the JSON gives the number. On a GPU repetitions follow one another without a
pause, each between two CUDA events: inputs are far larger than the L2 cache, so each repetition
finds nothing of the one before, and pays for writing back what that one left.
"""

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import keep
import machine
import torch

MIB = 2**20
SLOW_S, SLOW_TOTAL_S, FEWEST = 0.5, 10.0, 3
"""A slower call is repeated less often: for this long in all, and no fewer times than this."""


@dataclass(frozen=True)
class Run:
    """How everything in one run is measured; the same for all sides."""

    device: torch.device
    repeats: int
    warmup: int
    quick: bool
    tf32: bool
    deadline: float

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    @property
    def spent(self) -> bool:
        """Whether the time for this run is used up."""
        return time.monotonic() > self.deadline

    def wait(self) -> None:
        """Until the device has done all it was given."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    options = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    options.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    options.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    options.add_argument("--minutes", type=float, default=7.0, help="what starts later is left out")
    options.add_argument("--repeats", type=int, default=20)
    options.add_argument("--no-tf32", action="store_true", help="for all sides")
    options.add_argument("--threads", type=int, default=2, help="on the CPU, for all sides")
    options.add_argument("--out", type=Path, help="keep the JSON here, and print tables")
    return options


def begin(options: argparse.Namespace) -> Run:
    """Set the process up as the options say."""
    device = torch.device(options.device)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise SystemExit("no CUDA device here; --device cpu measures the CPU")
        device = torch.device("cuda", torch.cuda.current_device())
    else:
        use_threads(options.threads)
    tf32 = not options.no_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    return Run(
        device=device,
        repeats=2 if options.quick else max(20, options.repeats),
        warmup=1 if options.quick else 3,
        quick=options.quick,
        tf32=tf32,
        deadline=time.monotonic() + 60 * options.minutes,
    )


def use_threads(count: int) -> None:
    """Hold torch and numba to ``count`` threads."""
    try:
        import numba
    except ImportError:
        pass
    else:
        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    # Last: numba starts its threads, and those of OpenMP, which torch counts too.
    torch.set_num_threads(count)


def times(work: Callable[[], object], run: Run) -> list[float]:
    """Milliseconds of each repetition, one after the other."""
    repeats = warm_up(work, run)
    if not run.on_gpu:
        return [1e3 * seconds_of(work, run) for _ in range(repeats)]
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    marks[0].record()
    for mark in marks[1:]:
        work()
        mark.record()
    run.wait()
    return [start.elapsed_time(end) for start, end in pairwise(marks)]


def warm_up(work: Callable[[], object], run: Run) -> int:
    """Make ``work`` warm; how often to repeat it from then on."""
    before = 0.0
    for _ in range(run.warmup):
        last = seconds_of(work, run)
        # A slow call may have compiled something; two are slow.
        if min(before, last) > SLOW_S:
            return min(run.repeats, max(FEWEST, int(SLOW_TOTAL_S / last)))
        before = last
    return run.repeats


def seconds_of(work: Callable[[], object], run: Run) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    work()
    run.wait()
    return time.perf_counter() - start


def times_of_small(work: Callable[[], object], run: Run, inner: int) -> list[float]:
    """Wall-clock milliseconds of one call, launches included: means over ``inner`` calls each."""
    for _ in range(run.warmup):
        work()
    found = []
    for _ in range(run.repeats):
        run.wait()
        start = time.perf_counter()
        for _ in range(inner):
            work()
        run.wait()
        found.append(1e3 * (time.perf_counter() - start) / inner)
    return found


def graph_of(work: Callable[[], object]) -> Callable[[], None]:
    """``work`` captured in a CUDA graph; the call replays it."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    replay: Callable[[], None] = graph.replay
    return replay


def summary(found: list[float]) -> dict[str, Any]:
    """Median and spread, in ms."""
    return {
        "median": round(statistics.median(found), 6),
        "min": round(min(found), 6),
        "max": round(max(found), 6),
        "repeats": len(found),
    }


def copy_bandwidth(run: Run) -> dict[str, Any]:
    """``copy_`` of 1 GiB: bytes read and written over the median time."""
    size = MIB if run.quick else 1024 * MIB
    source = torch.randn(size // 4, device=run.device)
    target = torch.empty_like(source)
    found = times(lambda: target.copy_(source), run)
    rate = 2 * size / statistics.median(found) / 1e6
    return {"bytes_copied": size, "ms": summary(found), "gb_per_s": round(rate, 1)}


def dtype_name(dtype: torch.dtype) -> str:
    """``"float32"`` and so on."""
    return str(dtype).removeprefix("torch.")


def failure(error: BaseException) -> str:
    """Why a side has no figure, in one line."""
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("spikesim"):
        return f"not installed: {(error.name or '').partition('.')[0]}"
    if isinstance(error, torch.OutOfMemoryError):
        return "failed: needs more memory than this GPU has"
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"failed: {type(error).__name__}: {lines[0][:200] if lines else ''}"


def free(run: Run) -> None:
    """Give all unused memory back, and the room that matrix products keep for each stream.

    Called before a side, outside of what catches its failure: where the last one broke the device,
    the run ends here, rather than noting the same failure for all that follow.
    """
    gc.collect()
    run.wait()
    if run.on_gpu:
        torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.empty_cache()


def record(name: str, run: Run, out: Path | None) -> dict[str, Any]:
    """The head of a benchmark's JSON, with what ``out`` holds of earlier runs."""
    head = {
        "benchmark": name,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "device": run.device.type,
        "quick": run.quick,
        "machine": machine.describe(run.device),
        "versions": machine.versions(),
        "settings": {"tf32": run.tf32, "repeats": run.repeats, "warmup": run.warmup},
    }
    return keep.resume(head, out)


def finish(report: dict[str, Any], out: Path | None, lines: Callable[..., list[str]]) -> None:
    """Print the JSON, or where it goes to a file, its tables."""
    keep.save(report, out)
    print(json.dumps(report, indent=1) if out is None else "\n".join(lines(report)))
