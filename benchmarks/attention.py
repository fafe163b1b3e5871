"""Products of spikes: both orders, every precision, and the mask-and-add without its product.

    python benchmarks/attention.py --out benchmarks/results/attention_h200.json
    python benchmarks/attention.py --device cpu --quick

Per size, dtype and memory layout: spiking self-attention in the order that ``SSA`` chooses and in
the other one, forward and forward + backward, beside the plain expression ``(Q K^T) V s`` with
torch's matmul; spike-driven self-attention beside its plain torch expression, with the memory of
each. ``one_head`` decides whether 8-bit products are worth having: torch multiplies int8
(``_int_mm``) and fp8 (``_scaled_mm``) one pair of matrices at a time, so a call per head is timed
inside a CUDA graph, without its launch, against a head's share of the batched bfloat16 product.
"""

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from typing import Any

import keep
import measure
import torch
from measure import Run, dtype_name
from torch import Tensor, nn

from spikesim.attention import SDSA, SSA

HEADS_IN_A_GRAPH = 32


@dataclass(frozen=True)
class Size:
    """One attention: steps, batch, heads, tokens, channels a head."""

    what: str
    T: int
    B: int
    h: int
    N: int
    d: int

    @property
    def heads(self) -> int:
        """Products a call."""
        return self.T * self.B * self.h


SIZES = (
    Size("Spikformer 2-256 on DVS recordings", 16, 16, 16, 64, 16),
    Size("spike-driven transformer 2-256", 16, 16, 8, 256, 32),
    Size("Spikformer 8-512 on ImageNet", 4, 32, 8, 196, 64),
    Size("few tokens", 16, 16, 8, 16, 64),
)
QUICK = (Size("tiny", 2, 2, 2, 16, 8), Size("tiny, few tokens", 2, 2, 2, 8, 16))


class Forced(SSA):
    """The order that is not chosen."""

    @staticmethod
    def tokens_first(tokens: int, channels: int) -> bool:
        """The opposite of what is cheaper."""
        return not SSA.tokens_first(tokens, channels)


def plain_ssa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As published."""
    return (q @ k.transpose(-1, -2)) @ v * 0.125


def plain_sdsa(neuron: nn.Module, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As published."""
    gated: Tensor = q * neuron((k * v).sum(-2, keepdim=True))
    return gated


def spikes(size: Size, dtype: torch.dtype, layout: str, device: torch.device) -> list[Tensor]:
    """Queries, keys and values as heads of maps, a fifth of them ones."""
    made = []
    for _ in range(3):
        ones = torch.rand(size.T, size.B, size.h, size.N, size.d, device=device) < 0.2
        order = (-1, -2) if layout == "NCHW" else (2, 3)
        x = ones.to(dtype).transpose(*order).contiguous().transpose(*order)
        made.append(x.requires_grad_())
    return made


def timed(work: Callable[..., Tensor], parts: list[Tensor], run: Run) -> dict[str, Any]:
    """Forward, forward + backward, and the memory above inputs and gradients."""
    with torch.no_grad():
        out = work(*parts)
        forward = measure.times(lambda: work(*parts), run)
    grad = torch.randn_like(out)

    def both() -> None:
        torch.autograd.grad(work(*parts), parts, grad)

    figures = {
        "forward_ms": measure.summary(forward),
        "forward_backward_ms": measure.summary(measure.times(both, run)),
    }
    if run.on_gpu:
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        both()
        torch.cuda.synchronize()
        figures["extra_mib"] = (torch.cuda.max_memory_allocated() - before) / measure.MIB
    return figures


def one_size(size: Size, dtype: torch.dtype, layout: str, run: Run) -> dict[str, Any]:
    """Everything at one size, dtype and layout."""
    parts = spikes(size, dtype, layout, run.device)
    sdsa = SDSA().to(run.device)
    sides: dict[str, Callable[..., Tensor]] = {
        "SSA": SSA(0.125),
        "SSA, other order": Forced(0.125),
        "SSA, plain torch": plain_ssa,
        "SDSA": sdsa,
        "SDSA, plain torch": partial(plain_sdsa, sdsa.neuron),
    }
    found: dict[str, Any] = {}
    for name, work in sides.items():
        try:
            found[name] = timed(work, parts, run)
        except (RuntimeError, NotImplementedError) as error:
            found[name] = measure.failure(error)
    q, k, v = (x.detach().double() for x in parts)
    with torch.no_grad():
        exact = torch.equal(sides["SSA"](*parts).double(), plain_ssa(q, k, v))
    return {
        "size": asdict(size) | {"tokens_first": SSA.tokens_first(size.N, size.d)},
        "dtype": dtype_name(dtype),
        "layout": layout,
        "sides": found,
        "exact": exact,
    }


def one_head(size: Size, run: Run) -> dict[str, Any]:
    """Milliseconds of the larger product of one head in 8 bits, beside bfloat16's share."""
    inner, outer = max(size.N, size.d), min(size.N, size.d)
    a, b = (torch.rand(HEADS_IN_A_GRAPH, *s, device=run.device) < 0.2
            for s in ((outer, inner), (inner, outer)))  # fmt: skip
    batched_a, batched_b = a.bfloat16(), b.bfloat16()
    one = torch.ones((), device=run.device)
    ways: dict[str, Callable[[], object]] = {
        "bfloat16, batched": lambda: torch.bmm(batched_a, batched_b),
        "int8, a call per head": partial(_each, torch._int_mm, a.to(torch.int8), b.to(torch.int8)),
        "fp8, a call per head": partial(
            _each,
            lambda x, y: torch._scaled_mm(x, y, one, one, out_dtype=torch.bfloat16),
            a.to(torch.float8_e4m3fn),
            # fp8 wants its second factor column by column
            b.mT.contiguous().to(torch.float8_e4m3fn).mT,
        ),
        "to int8": lambda: (batched_a.to(torch.int8), batched_b.to(torch.int8)),
    }
    found: dict[str, Any] = {}
    for name, work in ways.items():
        try:
            ms = measure.times(measure.graph_of(work), run)
            found[name] = statistics.median(ms) / HEADS_IN_A_GRAPH
        except (RuntimeError, NotImplementedError, ValueError) as error:
            found[name] = measure.failure(error)
    eight = [found[name] for name in ("int8, a call per head", "fp8, a call per head")]
    times = [ms for ms in eight if isinstance(ms, float)]
    wins = bool(times) and min(times) < found["bfloat16, batched"]
    return {"size": asdict(size), "ms_per_head": found, "eight_bits_win": wins}


def _each(work: Callable[[Tensor, Tensor], object], a: Tensor, b: Tensor) -> None:
    for left, right in zip(a, b, strict=True):
        work(left, right)


def lines(report: dict[str, Any]) -> list[str]:
    """The report in a few columns: forward + backward, ms."""
    out = []
    for row in report["runs"]:
        ms = {
            name: f"{side['forward_backward_ms']['median']:.3f}" if isinstance(side, dict) else "-"
            for name, side in row["sides"].items()
        }
        place = f"{row['size']['what']}, {row['dtype']}, {row['layout']}"
        figures = ", ".join(f"{name} {value}" for name, value in ms.items())
        out.append(f"{place}: {figures}; exact: {row['exact']}")
    heads = report["one_head"]
    return out + [f"{row['size']['what']}: 8 bits win: {row['eight_bits_win']}" for row in heads]


def main() -> None:
    options = measure.parser(__doc__).parse_args()
    run = measure.begin(options)
    report = measure.record("attention", run, options.out)
    rows, of_heads = (report.setdefault(name, []) for name in ("runs", "one_head"))
    runs = {(row["size"]["what"], row["dtype"], row["layout"]) for row in rows}
    heads = {row["size"]["what"] for row in of_heads}
    report["left_out"] = []
    dtypes = (torch.float32, torch.bfloat16, torch.float16) if run.on_gpu else (torch.float32,)
    for size in QUICK if run.quick else SIZES:
        for dtype, layout in product(dtypes, ("NCHW", "NHWC")):
            place = size.what, dtype_name(dtype), layout
            if place in runs:
                continue
            if run.spent:
                report["left_out"].append(", ".join(place))
            else:
                measure.free(run)
                rows.append(one_size(size, dtype, layout, run))
            keep.save(report, options.out)
        if run.on_gpu and not run.spent and size.what not in heads:
            of_heads.append(one_head(size, run))
            keep.save(report, options.out)
    measure.finish(report, options.out, lines)


if __name__ == "__main__":
    main()
