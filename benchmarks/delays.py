"""A layer of synapses with delays, beside dense convolutions over time.

    python benchmarks/delays.py --out benchmarks/results/delays_h200.json
    python benchmarks/delays.py --device cpu --out benchmarks/results/delays_cpu.json

512 inputs to 512 outputs over 300 steps, 5 % of the inputs spikes, for delays up to 30 and up to
250 steps: forward with rounded delays, as in evaluation, and forward + backward to the input,
weights and delays with a Gaussian of standard deviation 0.5, and of a fifth of the delays, where
we take a dense convolution, too. The dense routes make the kernel anew in each call, as they must
while weights learn: the published package (``pip install dcls``) where it is installed, and a plain
expression that has its input in the layout it likes. Each side in every precision; bfloat16 is that
of inputs and outputs. Memory is what a call needs at its peak beyond what it is given.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import keep
import measure
import torch
from measure import Run
from tables_delays import delays
from torch import Tensor
from torch.nn import functional as F

from spikesim.kernels.delay import delayed
from spikesim.kernels.delay_taps import NARROWEST

DENSITY = 0.05
PRECISIONS = ("float32", "TF32", "bfloat16")


@dataclass(frozen=True)
class Task:
    """What is done: ``span`` delays from 0 on, bumps of a width, or rounded."""

    span: int
    deviation: float | None
    T: int = 300
    B: int = 128
    inputs: int = 512
    outputs: int = 512

    @property
    def name(self) -> str:
        """As printed."""
        how = "forward, rounded"
        if self.deviation is not None:
            how = f"forward + backward, deviation {self.deviation:g}"
        sizes = f"{self.inputs} to {self.outputs}, T {self.T}, B {self.B}"
        return f"{how}, {self.span} delays, {sizes}"


def tasks(run: Run) -> list[Task]:
    """All of them; on a CPU fewer samples, as dense routes take minutes for a step."""
    size = {} if run.on_gpu else {"B": 4}
    if run.quick:
        size = {"T": 20, "B": 2, "inputs": 9, "outputs": 8}
    spans = (13, 25) if run.quick else (31, 251)
    return [Task(span, width, **size) for span in spans for width in (None, 0.5, span / 5)]


@dataclass
class Arrays:
    """The same numbers for all sides."""

    x: Tensor
    weight: Tensor
    delay: Tensor
    grad: Tensor

    @classmethod
    def of(cls, task: Task, run: Run) -> "Arrays":
        """Drawn anew from the same seed."""
        torch.manual_seed(0)
        x = torch.rand(task.T, task.B, task.inputs, device=run.device) < DENSITY
        pairs = task.outputs, task.inputs
        weight = torch.randn(*pairs, device=run.device) / task.inputs**0.5
        delay = torch.rand(*pairs, device=run.device) * (task.span - 1)
        grad = torch.randn(task.T, task.B, task.outputs, device=run.device)
        return cls(x.float(), weight, delay, grad)


Made: TypeAlias = tuple[Callable[[], Tensor], list[Tensor], Tensor]
"""A forward pass, what has a gradient, and the gradient of the result."""


def ours(task: Task, arrays: Arrays, dtype: torch.dtype) -> Made:
    """Taps that are not nothing, events that are there."""
    x, weight, delay = arrays.x.to(dtype), arrays.weight.clone(), arrays.delay.clone()
    width = (task.deviation or NARROWEST) - NARROWEST

    def forward() -> Tensor:
        is_rounded = task.deviation is None
        return delayed(x, weight, delay, width, max_delay=task.span - 1, rounded=is_rounded)

    return forward, [x, weight, delay], arrays.grad.to(dtype)


def plain(task: Task, arrays: Arrays, dtype: torch.dtype) -> Made:
    """The kernel as published, by broadcasting; a rounded one by a scatter."""
    x = arrays.x.permute(1, 2, 0).to(dtype).contiguous()
    weight, delay = arrays.weight.clone(), arrays.delay.clone()
    # From the largest delay to none, as a convolution of torch's wants it.
    steps = torch.arange(task.span - 1, -1, -1, device=x.device)

    def forward() -> Tensor:
        if task.deviation is None:
            place = (task.span - 1 - delay.round()).long()[..., None]
            kernel = weight.new_zeros(*weight.shape, task.span)
            kernel.scatter_(-1, place, weight[..., None])
        else:
            g = torch.exp(-0.5 * ((steps - delay[..., None]) / task.deviation) ** 2)
            kernel = g / (g.sum(-1, keepdim=True) + 1e-7) * weight[..., None]
        return F.conv1d(F.pad(x, (task.span - 1, 0)), kernel.to(dtype))

    return forward, [x, weight, delay], arrays.grad.permute(1, 2, 0).to(dtype).contiguous()


def package(task: Task, arrays: Arrays, dtype: torch.dtype) -> Made:
    """``Dcls1d``, whose position counts from the middle, the other way."""
    from DCLS.construct.modules import Dcls1d

    version = "max" if task.deviation is None else "gauss"
    layer = Dcls1d(
        task.inputs, task.outputs, kernel_count=1, dilated_kernel_size=task.span, bias=False,
        version=version,
    ).to(arrays.x.device)  # fmt: skip
    with torch.no_grad():
        layer.weight.copy_(arrays.weight[..., None])
        position = task.span // 2 - arrays.delay
        layer.P.copy_((position.round() if task.deviation is None else position)[None, ..., None])
        # Its deviation adds 0.27 to this, its triangle 1.
        layer.SIG.fill_(0.0 if task.deviation is None else task.deviation - NARROWEST)
    layer.SIG.requires_grad_(False)
    x = arrays.x.permute(1, 2, 0).to(dtype).contiguous()

    def forward() -> Tensor:
        late = F.pad(x, (task.span - 1, 0))
        with torch.autocast(x.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            y: Tensor = layer(late)
        return y

    return forward, [x, layer.weight, layer.P], arrays.grad.permute(1, 2, 0).to(dtype).contiguous()


SIDES = {
    keep.OURS: ours,
    "torch, dense": plain,
    "DCLS, dense": package,
}


def timed(
    side: Callable[..., Made], task: Task, precision: str, arrays: Arrays, run: Run
) -> dict[str, Any]:
    """Milliseconds, and memory."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "TF32"
    torch.backends.cudnn.allow_tf32 = precision == "TF32"
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    forward, learned, grad = side(task, arrays, dtype)

    def work() -> None:
        if task.deviation is None:
            with torch.no_grad():
                forward()
        else:
            torch.autograd.grad(forward(), learned, grad)

    for array in learned:
        array.requires_grad_()
    figures: dict[str, Any] = {"ms": measure.summary(measure.times(work, run))}
    if run.on_gpu:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        run.wait()
        figures["extra_mib"] = (torch.cuda.max_memory_allocated() - before) / measure.MIB
    return figures


def same(task: Task, arrays: Arrays) -> float:
    """The largest difference of our result and the dense one, of the largest result."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    with torch.no_grad():
        got = ours(task, arrays, torch.float32)[0]()
        expected = plain(task, arrays, torch.float32)[0]().permute(2, 0, 1)
    return float((got - expected).abs().max() / expected.abs().max())


def one_task(task: Task, run: Run) -> dict[str, Any]:
    """All sides and precisions."""
    arrays, found = Arrays.of(task, run), []
    precisions = PRECISIONS if run.on_gpu else PRECISIONS[:1]
    for library, side in SIDES.items():
        for precision in precisions:
            entry: dict[str, Any] = {"library": library, "variant": precision}
            measure.free(run)
            try:
                entry |= timed(side, task, precision, arrays, run)
            except (RuntimeError, ImportError) as error:
                entry["status"] = measure.failure(error)
            found.append(entry)
    return {"row": task.name, "difference": same(task, arrays), "sides": found}


def main() -> None:
    options = measure.parser(__doc__).parse_args()
    run = measure.begin(options)
    report = measure.record("delays", run, options.out)
    rows = report.setdefault("rows", [])
    for task in tasks(run):
        if all(row["row"] != task.name for row in rows) and not run.spent:
            rows.append(one_task(task, run))
            keep.save(report, options.out)
    measure.finish(report, options.out, delays)


if __name__ == "__main__":
    main()
