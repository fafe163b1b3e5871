"""Memory that one layer of neurons needs beyond its input, its output and their gradients.

    python benchmarks/memory.py --out benchmarks/results/memory_h200.json

On a GPU, for ``[T, N]`` with 256 MiB of input, in bytes asked of torch's allocator and not yet
given back, in the second forward and backward:

- ``saved``: after forward, with its graph alive, beyond ``x``, the layer's parameters and ``s``;
- ``extra``: at any moment of forward and backward, beyond ``x``, ``s``, ``ds``, ``dx`` and the
  parameters with their gradients.

On the CPU torch counts no memory; ``saved`` is then what autograd is given to save beyond ``x`` and
``s``, and ``extra`` is missing.
"""

from dataclasses import dataclass
from typing import Any

import keep
import measure
import sides
import tables_memory
import torch
from measure import MIB, Run, dtype_name
from side import Layer, Side
from torch import Tensor

F32, BF16 = torch.float32, torch.bfloat16


@dataclass(frozen=True)
class Row:
    """One layer."""

    model: str
    dtype: torch.dtype
    shape: tuple[int, int]

    @property
    def name(self) -> str:
        """Of the row in the report."""
        return f"{self.model} {dtype_name(self.dtype)} {list(self.shape)}"

    @property
    def input_bytes(self) -> int:
        """Of ``x``; as many for ``s``, ``ds`` and ``dx``."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize

    @property
    def bar(self) -> float:
        """The bound on ``extra`` per state variable, as a fraction of the input."""
        if self.shape[0] <= 16:
            return 0.0
        return 1 / 16 if self.dtype == F32 else 1 / 8


def rows(run: Run) -> list[Row]:
    """What is measured."""
    if not run.on_gpu:
        return [Row("LIF", F32, (3, 40)), Row("LIF", BF16, (33, 40)), Row("ALIF", F32, (4, 40))]
    cases = [
        ("LIF", (F32, BF16), (4, 16, 128, 1024)),
        ("custom (QIF)", (F32, BF16), (16, 128)),
        *((model, (F32,), (16, 128)) for model in ("PLIF", "ALIF", "CUBALIF", "Izhikevich")),
    ]
    return [
        Row(model, dtype, (steps, 256 * MIB // (steps * dtype.itemsize)))
        for model, dtypes, lengths in cases
        for dtype in dtypes
        for steps in lengths
    ]


def figures(row: Row, side: Side, run: Run) -> dict[str, Any]:
    """What one side needs."""
    layer = side.make(run.device, row.dtype)
    x = torch.empty(row.shape, dtype=row.dtype, device=run.device).normal_(*side.drive)
    ds = torch.randn_like(x)
    x.requires_grad_()
    if not run.on_gpu:
        return {"saved_bytes": saved_by_autograd(layer, x), "extra_bytes": None}
    # The first call compiles, makes libraries allocate for themselves, and the parameters' .grad.
    layer(x).backward(ds)
    x.grad = None
    run.wait()
    before = requested("current")
    torch.cuda.reset_peak_memory_stats()
    spikes = layer(x)
    saved = requested("current") - before - row.input_bytes
    spikes.backward(ds)
    run.wait()
    peak = requested("peak") - before
    return {
        "saved_bytes": saved,
        "extra_bytes": peak - 2 * row.input_bytes,
        "backend": sides.runs_on(layer, run.device),
    }


def requested(which: str) -> int:
    """Bytes asked of torch's allocator and not given back; it rounds up what it hands out."""
    return int(torch.cuda.memory_stats()[f"requested_bytes.all.{which}"])


def saved_by_autograd(layer: Layer, x: Tensor) -> int:
    """Bytes of the distinct arrays that autograd saves, other than ``x`` and the spikes."""
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        spikes = layer(x)
    known = {tensor.untyped_storage().data_ptr() for tensor in (x, spikes)}
    return sum(size for place, size in saved.items() if place not in known)


def one(row: Row, side: Side, run: Run) -> dict[str, Any]:
    """One side of one row, or why it has no figure."""
    out: dict[str, Any] = {"library": side.library, "variant": side.variant, "note": side.note}
    if run.spent:
        return out | {"status": "not measured: the time of this run was used up"}
    if side.variant == "compile" and row.shape[0] > 16:
        return out | {"status": "not measured: compiled up to 16 steps, to keep the run short"}
    measure.free(run)
    try:
        found = figures(row, side, run)
    except Exception as error:  # another library's failure is a result
        return out | {"status": measure.failure(error)}
    for name in ("saved", "extra"):
        size = found[f"{name}_bytes"]
        found[f"{name}_over_input"] = None if size is None else round(size / row.input_bytes, 4)
    return out | found


def entry(row: Row, found: list[dict[str, Any]]) -> dict[str, Any]:
    """A row of the report; ``found`` are its sides, or will be."""
    states = sides.state_variables(row.model)
    return {
        "row": row.name,
        "model": row.model,
        "dtype": dtype_name(row.dtype),
        "shape": list(row.shape),
        "input_bytes": row.input_bytes,
        "state_variables": states,
        "bar_over_input": round(states * row.bar, 4),
        "sides": found,
    }


def complete(row: Row, found: list[dict[str, Any]], run: Run) -> None:
    """Measure the sides that no earlier run found."""
    compiler = "eager" if run.quick else "inductor"
    for side in sorted(sides.sides_of(row.model, compiler), key=lambda side: side.rank):
        possible = row.dtype in side.dtypes and (run.on_gpu or not side.gpu_only)
        if possible and keep.is_due(found, side.library, side.variant):
            keep.put(found, one(row, side, run))


def main() -> None:
    options = measure.parser(__doc__).parse_args()
    run = measure.begin(options)
    report = measure.record("memory", run, options.out)
    report["rows"] = [entry(row, keep.sides_of(report, row.name)) for row in rows(run)]
    for row, found in zip(rows(run), report["rows"], strict=True):
        complete(row, found["sides"], run)
        keep.save(report, options.out)
    measure.finish(report, options.out, tables_memory.memory)


if __name__ == "__main__":
    main()
