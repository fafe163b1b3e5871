"""The ways to run the training step that the libraries choose from, the decisive ones first."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from keep import OURS
from measure import Run

PEER = "SpikingJelly"
FUSED, PACKED, REFERENCE = "fused kernels", "fused kernels, packed spikes", "torch reference"
NODE, WIDE, PRECISION = "LIFNode", "float32 membrane", "precision API"
DTYPES = ("float32", "bfloat16")
LAYOUTS = ("NHWC", "NCHW")
WAYS = {
    (OURS, "float32"): (FUSED,),
    (PEER, "float32"): (NODE, PRECISION),
    (OURS, "bfloat16"): (FUSED,),
    (PEER, "bfloat16"): (WIDE, PRECISION, NODE),
}
"""How a library may run its neurons in one dtype."""


@dataclass(frozen=True)
class Choice:
    """One way to run the step.

    Args:
        library: whose network.
        neurons: how it runs its neurons.
        dtype: ``"bfloat16"`` is autocast.
        layout: of maps in memory, ``"NHWC"`` or ``"NCHW"``.
        graph: whether the whole step is one CUDA graph.
        compiled: whether ``torch.compile`` works around the kernels.
        trainer: whether our trainer runs it, which also counts right answers and takes norms.
    """

    library: str
    neurons: str
    dtype: str
    layout: str
    graph: bool = False
    compiled: bool = False
    trainer: bool = False

    @property
    def how(self) -> str:
        """In words."""
        words = [self.neurons, self.layout]
        words += ["torch.compile"] * self.compiled + ["CUDA graph"] * self.graph
        return ", ".join(words + ["by the trainer"] * self.trainer)

    @property
    def name(self) -> str:
        """With whose it is."""
        return f"{self.library} {self.dtype}: {self.how}"

    @property
    def as_released(self) -> bool:
        """Whether the peer offers this: neither our graph around it nor our own membrane."""
        return self.library == PEER and self.neurons != WIDE and not self.graph


def yardsticks(dtypes: Sequence[str], run: Run) -> list[Choice]:
    """Ours, which every run measures, for its ratios."""
    return [
        Choice(OURS, FUSED, dtype, layout, graph=run.on_gpu)
        for dtype in dtypes
        for layout in LAYOUTS
    ]


def plan(dtypes: Sequence[str], layout: Callable[[str, str], str], run: Run) -> Iterator[Choice]:
    """All choices. ``layout(library, dtype)`` is the faster one so far.

    A graph tells layouts and neurons apart, since an eager step waits for its launches: graphs
    come first. What compiles for long comes last.
    """
    graphs = (True, False) if run.on_gpu else (False,)
    sides = [(library, dtype) for dtype in dtypes for library in (OURS, PEER)]
    for graph in graphs:
        for library, dtype in sides:
            for way in WAYS[library, dtype]:
                for lies in LAYOUTS:
                    yield Choice(library, way, dtype, lies, graph)
    for dtype in dtypes:
        best = Choice(OURS, FUSED, dtype, layout(OURS, dtype), run.on_gpu)
        yield replace(best, neurons=PACKED)
        yield replace(best, trainer=True)
    compiled = [(PEER, "float32")] if run.quick else sides
    for library, dtype in (side for side in sides if side in compiled):
        for way in WAYS[library, dtype]:
            for graph in graphs:
                yield Choice(library, way, dtype, layout(library, dtype), graph, compiled=True)
    for dtype in dtypes:
        yield Choice(OURS, REFERENCE, dtype, layout(OURS, dtype))
