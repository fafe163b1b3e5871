"""What counting costs beside the forward pass, and the joules of a training step.

    python benchmarks/energy.py --out benchmarks/results/energy_h200.json
    python benchmarks/energy.py --device cpu --quick

``tally``: the kernel that counts what enters a layer, in GB/s read, beside ``copy_``.

``overhead``: Spikformer 2-256 and the spike-driven Transformer 2-256, T = 16, B = 16, frames of
2 x 128 x 128, channels last, in evaluation mode: a batch alone, and a batch counted by
``spikesim.energy.count``. Both are run eagerly and as one CUDA graph. A counted batch is what a
further batch adds: of ``count`` on some batches the time of ``count`` on the fewest is taken off,
which holds the capture and all that is read from the device at the end. In one more run a wait for
the device inside of a batch is an error (``torch.cuda.set_sync_debug_mode``).

``step``: joules of a training step of Spikformer 2-256 as ``training_step.py`` runs it, by the
GPU's total energy counter (NVML), in windows of 3.5 s, with the power of the idle device taken off;
and the same step of SpikingJelly's modules, in the same run. It is what the simulation costs on
this GPU, and says nothing of a neuromorphic chip.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import product
from typing import Any

import keep
import measure
import tables_energy
import torch
from keep import OURS
from measure import Run, dtype_name
from step_choices import DTYPES, FUSED, NODE, PEER, PRECISION, WIDE, Choice
from step_sides import CHANNELS, CLASSES, Step, Task, synthetic_events
from torch import Tensor, nn

from spikesim import models
from spikesim.energy import count
from spikesim.energy.measure import measure as joules_of
from spikesim.energy.meters import NVML
from spikesim.energy.tally import tally
from spikesim.errors import UserError
from spikesim.models.spikformer import SpikformerSizes
from spikesim.train.device import channels_last

BAR = 1.5
"""A counted batch over the batch alone."""
MODELS = ("spikformer", "sdt")
FURTHER, REPLAYED = 8, 32
"""Batches more, run one by one and replayed."""
SECONDS, REPEATS = 3.5, 2
"""Of windows in which joules are read."""
STEPS = [
    Choice(OURS, FUSED, "float32", "NHWC", graph=True),
    Choice(PEER, NODE, "float32", "NHWC", graph=True),
    Choice(OURS, FUSED, "bfloat16", "NHWC", graph=True),
    Choice(PEER, PRECISION, "bfloat16", "NHWC", graph=True),
    Choice(PEER, WIDE, "bfloat16", "NHWC", graph=True),
]
"""Ours, and what was fastest of the peer's among those that compile nothing."""


def main() -> None:
    options = measure.parser(__doc__)
    options.add_argument("--only", default="", choices=("", "tally", "overhead", "step"))
    given = options.parse_args()
    run = measure.begin(given)
    task = Task(SpikformerSizes())
    if run.quick:
        task = Task(SpikformerSizes(dim=16, depth=1, heads=2), steps=2, batch=2, size=32)
    report = measure.record("energy", run, given.out)
    report["task"] = {"steps": task.steps, "batch": task.batch, "size": task.size}
    report |= {"bar": BAR, "copy": measure.copy_bandwidth(run)}
    parts: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
        "tally": partial(tallies, run),
        "overhead": partial(overheads, task, run),
        "step": partial(steps, task, run),
    }
    for name, rows in parts.items():
        if given.only in ("", name):
            report[name] = []
            for row in rows():
                report[name].append(row)
                keep.save(report, given.out)
    measure.finish(report, given.out, tables_energy.energy)


def tallies(run: Run) -> Iterator[dict[str, Any]]:
    """The kernel alone, on maps of a first layer and on rows of a linear one."""
    shapes = ((16, 16, 32, 128, 128), (16, 1024, 1000)) if not run.quick else ((2, 2, 3, 5, 5),)
    for shape in shapes:
        for dtype in (torch.float32, torch.bfloat16, torch.uint8):
            for what in ("spikes", "counts"):
                x = torch.randint(0, 2 if what == "spikes" else 4, shape, device=run.device)
                x = x.to(dtype)
                fan_out = torch.ones(shape[2:], dtype=torch.float64, device=run.device)
                found = measure.times(partial(tally, x, fan_out, shape[0]), run)
                rate = x.nbytes / statistics.median(found) / 1e6
                yield {
                    "shape": list(shape),
                    "dtype": dtype_name(dtype),
                    "values": what,
                    "ms": measure.summary(found),
                    "gb_per_s": round(rate, 1),
                }


def overheads(task: Task, run: Run) -> Iterator[dict[str, Any]]:
    """A batch alone and counted."""
    pairs = zip(MODELS, DTYPES, strict=True) if run.quick else product(MODELS, DTYPES)
    for name, dtype in pairs:
        measure.free(run)
        yield {"model": name, "dtype": dtype} | overhead(name, dtype, task, run)


def overhead(name: str, dtype: str, task: Task, run: Run) -> dict[str, Any]:
    """The figures of one model."""
    model = model_of(name, task, run)
    x = channels_last(synthetic_events(task, run.device)[0])
    context = partial(context_of, dtype, run)

    def forward(module: nn.Module, x: Tensor) -> Tensor:
        with context():
            out: Tensor = module(x)
            return out

    def alone() -> None:
        with torch.no_grad():
            forward(model, x)

    found: dict[str, Any] = {"forward": measure.summary(measure.times(alone, run))}
    found["counted"] = further(model, x, forward, run, cuda_graph=False)
    if run.on_gpu:
        with torch.no_grad():
            replay = measure.graph_of(alone)
        found["forward_graph"] = measure.summary(measure.times(replay, run))
        del replay
        found["counted_graph"] = further(model, x, forward, run, cuda_graph=True)
        found["waits"] = waits(model, x, forward)
    for counted, of in (("counted", "forward"), ("counted_graph", "forward_graph")):
        if counted in found:
            ratio = found[counted]["median"] / found[of]["median"]
            found[f"{counted}_over_{of}"] = round(ratio, 3)
    if run.on_gpu:
        ratio = found["counted_graph"]["median"] / found["forward"]["median"]
        found["counted_graph_over_forward"] = round(ratio, 3)
    return found


def model_of(name: str, task: Task, run: Run) -> nn.Module:
    """With batch norm that has seen some data, as after training."""
    torch.manual_seed(0)
    model = models.create(
        name,
        num_classes=CLASSES,
        steps=task.steps,
        in_channels=CHANNELS,
        image_size=task.size,
        preset="tiny" if run.quick else "cifar10dvs",
    ).to(run.device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.no_grad():
        model(channels_last(synthetic_events(task, run.device)[0]))
    return model.eval()


def context_of(dtype: str, run: Run) -> AbstractContextManager[Any]:
    """bfloat16 is autocast."""
    half = dtype == "bfloat16"
    return torch.autocast(run.device.type, torch.bfloat16) if half else nullcontext()


Forward = Callable[[nn.Module, Tensor], Tensor]


def further(
    model: nn.Module, x: Tensor, forward: Forward, run: Run, *, cuda_graph: bool
) -> dict[str, Any]:
    """Milliseconds that one batch more adds to counting."""
    fewest, more = (2, REPLAYED) if cuda_graph else (1, FURTHER)
    more = 1 if run.quick else more

    def seconds(batches: int) -> float:
        run.wait()
        start = time.perf_counter()
        count(model, [x] * batches, forward=forward, cuda_graph=cuda_graph)
        return time.perf_counter() - start

    seconds(fewest)
    repeats = run.repeats if run.quick else 7
    pairs = [(seconds(fewest), seconds(fewest + more)) for _ in range(repeats)]
    return measure.summary([1e3 * (b - a) / more for a, b in pairs])


def waits(model: nn.Module, x: Tensor, forward: Forward) -> str:
    """Whether anything waits for the device between the first batch and the last one's end."""

    def batches() -> Iterator[Tensor]:
        yield x
        torch.cuda.set_sync_debug_mode("error")
        yield x
        yield x
        torch.cuda.set_sync_debug_mode("default")

    try:
        count(model, batches(), forward=forward)
    except RuntimeError as error:
        return f"waits: {measure.failure(error)}"
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return "none"


def steps(task: Task, run: Run) -> Iterator[dict[str, Any]]:
    """Joules of a training step, of both libraries in turn."""
    try:
        meter = NVML(run.device)
    except UserError as error:
        yield {"status": f"not measured: {error}"}
        return
    for choice in STEPS:
        measure.free(run)
        row = {"library": choice.library, "dtype": choice.dtype, "how": choice.how}
        try:
            yield row | step_energy(choice, task, run, meter)
        except Exception as error:  # another library's failure is a result
            yield row | {"status": measure.failure(error)}


def step_energy(choice: Choice, task: Task, run: Run, meter: NVML) -> dict[str, Any]:
    """One choice."""
    step = Step(choice, task, run)
    for _ in range(run.warmup):
        step()
    work = measure.graph_of(step) if choice.graph else step
    found = joules_of(work, device=run.device, seconds=SECONDS, repeats=REPEATS, meters=[meter])
    (seen,) = found.meters
    return {
        "calls": found.calls,
        "seconds_per_call": round(found.seconds, 6),
        "joules_per_call_above_idle": round(seen.joules, 5),
        "joules_per_sample_above_idle": round(seen.joules / task.batch, 6),
        "watts": round(seen.busy_watts, 1),
        "idle_watts": round(seen.idle_watts, 1),
    }


if __name__ == "__main__":
    main()
