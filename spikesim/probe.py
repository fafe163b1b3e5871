"""Look inside a model while it runs: firing rates, spike rasters, membrane traces.

Nothing here changes the run: hooks read, they are removed whatever happens, and traces are
computed afterwards from the inputs that were seen. Shapes: ``T`` steps, ``B`` batch, ``N`` chosen
neurons; time first.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikesim.errors import UserError, nearest
from spikesim.neuron import Neuron

Hook = Callable[[str, nn.Module, tuple[Any, ...], Any], None]
"""Called as ``hook(name, module, inputs, output)`` after a module ran."""


@dataclass(frozen=True)
class LayerRecord:
    """What one layer of neurons did.

    Attributes:
        rate: mean output per neuron and step over the whole batch (spikes: a fraction in [0, 1]).
        rate_per_step: the same for each step, ``[T]``.
        raster: output of the chosen neurons of one sample, ``[T, N]``.
        neurons: flat index of each chosen neuron in a step ``[...]`` of the layer, ``[N]``.
        shape: shape ``[...]`` of one sample's step.
        traces: state variable, or ``"output"`` -> ``[T, n]`` after each step, of the traced
            neurons.
        traced: flat index of each traced neuron, ``[n]``.
        threshold: parameter ``v_threshold`` of each traced neuron, ``[n]``, the base of one that
            adapts; ``None`` if there is no such parameter or nothing is traced.
    """

    rate: float
    rate_per_step: Tensor
    raster: Tensor
    neurons: Tensor
    shape: tuple[int, ...]
    traces: Mapping[str, Tensor]
    traced: Tensor
    threshold: Tensor | None


@dataclass(frozen=True)
class Recording:
    """The output of a run and one record per layer of neurons, in the order they ran."""

    output: Tensor
    layers: Mapping[str, LayerRecord]

    @property
    def rates(self) -> dict[str, float]:
        """Layer name -> firing rate."""
        return {name: layer.rate for name, layer in self.layers.items()}


@contextmanager
def watch(
    model: nn.Module, hook: Hook, select: Callable[[nn.Module], bool] | None = None
) -> Iterator[None]:
    """Call ``hook`` after every selected module (default: every neuron) while inside."""
    handles = []

    def attach(name: str, module: nn.Module) -> None:
        handles.append(
            module.register_forward_hook(
                lambda _, inputs, output: hook(name, module, inputs, output)
            )
        )

    try:
        for name, module in model.named_modules():
            if isinstance(module, Neuron) if select is None else select(module):
                attach(name, module)
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards each module is in its own mode again."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in before.items():
            module.training = training


def record(
    model: nn.Module,
    x: Tensor,
    *,
    neurons: int = 64,
    traces: int | Mapping[str, Sequence[int]] = 0,
    sample: int = 0,
    seed: int = 0,
) -> Recording:
    """Run ``model(x)`` in evaluation mode and record each layer of neurons.

    Args:
        model: any module that holds :class:`~spikesim.neuron.Neuron` modules.
        x: input ``[T, B, ...]``.
        neurons: neurons per layer in the raster, drawn with ``seed`` and sorted; all if fewer.
        traces: neurons per layer whose state is traced (those whose rate in the sample is nearest
            to 1/2), or layer name -> flat indices.
        sample: which of the ``B`` samples rasters and traces show.
        seed: of the draw of ``neurons``.

    A module called again in one run is listed again, as ``name#2``.

    Raises:
        UserError: no such sample, layer or neuron.

    >>> from spikesim.neurons.lif import LIF
    >>> recording = record(nn.Sequential(LIF()), torch.full((4, 1, 1), 1.5), traces=1)
    >>> recording.layers["0"].rate
    0.5
    >>> recording.layers["0"].traces["v"].flatten().tolist()
    [0.75, 0.0, 0.75, 0.0]
    """
    if not 0 <= sample < x.shape[1]:
        raise UserError(f"sample {sample} is not in the batch of {x.shape[1]} ([T, B, ...])")
    seen: dict[str, tuple[Neuron, dict[str, Tensor], Tensor, Tensor]] = {}

    def keep(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        assert isinstance(module, Neuron)
        again = sum(known.split("#")[0] == name for known in seen)
        x, *norm = inputs  # with a norm, the neuron sees norm(x)
        given = {module.inputs[0]: x} if isinstance(x, Tensor) else x
        # A slice alone would keep the whole batch in memory.
        one = {key: value[:, sample : sample + 1].clone() for key, value in given.items()}
        if norm:
            one[module.inputs[0]] = norm[0](one[module.inputs[0]])
        rate_T = output.double().flatten(1).mean(1).cpu()
        seen[f"{name}#{again + 1}" if again else name] = (module, one, output[:, sample], rate_T)

    with evaluating(model), watch(model, keep):
        output = model(x)
        named = {} if isinstance(traces, int) else traces
        for name in named:
            if name not in seen:
                raise UserError(f"no layer {name!r} of neurons ran{nearest(name, list(seen))}")
        generator = torch.Generator().manual_seed(seed)
        layers = {}
        for name, (neuron, one, spikes, rate_T) in seen.items():
            flat = spikes.flatten(1).cpu()  # [T, N of the layer]
            chosen = torch.randperm(flat.shape[1], generator=generator)[:neurons].sort().values
            if isinstance(traces, int):
                # Neurons that never or always fire show little: prefer every other step.
                surplus = (flat != 0).double().mean(0) - 0.5
                traced = surplus.abs().sort(stable=True).indices[:traces]
            else:
                traced = torch.tensor(named.get(name, ()), dtype=torch.long)
                if len(traced) and not 0 <= int(traced.min()) <= int(traced.max()) < flat.shape[1]:
                    raise UserError(
                        f"layer {name!r} has neurons 0 to {flat.shape[1] - 1}, "
                        f"asked for {traced.tolist()}"
                    )
            layers[name] = LayerRecord(
                rate=float(rate_T.mean()),
                rate_per_step=rate_T,
                raster=flat[:, chosen],
                neurons=chosen,
                shape=tuple(spikes.shape[1:]),
                traces=_traces(neuron, one, traced) if len(traced) else {},
                traced=traced,
                threshold=_threshold(neuron, one, traced) if len(traced) else None,
            )
    return Recording(output, layers)


def _traces(neuron: Neuron, one: dict[str, Tensor], traced: Tensor) -> dict[str, Tensor]:
    states = neuron.trace(one)
    return {name: states[name].flatten(1).cpu()[:, traced] for name in states}


def _threshold(neuron: Neuron, one: dict[str, Tensor], traced: Tensor) -> Tensor | None:
    step = one[neuron.inputs[0]][0]  # [1, ...]
    threshold = neuron.values(step).get("v_threshold")
    if threshold is None:
        return None
    filled = torch.as_tensor(threshold, dtype=torch.float32).detach().cpu()
    return filled.expand(step.shape).flatten()[traced]
