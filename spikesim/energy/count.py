"""Count what a model does on data."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from spikesim.energy.fan_out import dense
from spikesim.energy.footprint import footprint, weight_bits
from spikesim.energy.layer import Counts, LayerCounts
from spikesim.energy.ledger import Line
from spikesim.energy.neurons import fresh, is_neuron
from spikesim.energy.replay import Batches
from spikesim.energy.rules import Costs, checked
from spikesim.energy.steps import Layout, Timing
from spikesim.energy.units import several
from spikesim.energy.watch import Watcher
from spikesim.errors import UserError, nearest
from spikesim.probe import evaluating

if TYPE_CHECKING:
    from spikesim.network import Network

Data: TypeAlias = Tensor | Iterable[Any]
"""One batch ``[T, B, ...]``, or batches of it, alone or as the first of a tuple."""

MERGED = ("elementwise", "pool", "norm")
"""Kinds of which a module has one line."""


def count(
    model: "nn.Module | Network",
    data: Data | float,
    *,
    forward: Callable[[Any, Tensor], Any] | None = None,
    reset: Callable[[Any], object] | None = None,
    layout: Layout = "TB",
    steps: int | None = None,
    fold_batch_norm: bool = True,
    costs: Costs | Iterable[tuple[type[nn.Module], Any]] = (),
    each_call: bool = False,
    cuda_graph: bool = False,
) -> Counts:
    """Run a model in evaluation mode and count all that it does.

    Any torch model will do: every operation of torch is seen, in modules or outside of them, and
    neurons of spikesim, SpikingJelly, snnTorch and Norse are known. The model, its mode and its
    states are afterwards as before. Nothing waits for a GPU until all batches have run.

    Args:
        model: any module; or a network of :mod:`spikesim.network`, see
            :func:`~spikesim.energy.network.count_network`.
        data: a batch ``[T, B, ...]``, or an iterable of batches, each alone or with targets; of a
            network, the time to run it for, ms.
        forward: how a batch is run, where ``model(x)`` is not it: ``forward(model, x)``.
        reset: called with the model before each batch. Neurons that keep a state are reset anyway.
        layout: of the batches: ``"TB"`` time first, ``"BT"`` samples first, ``"B"`` without time.
        steps: ``T``, where the model itself repeats what it is given.
        fold_batch_norm: whether batch norm disappears in its neighbour, else it costs a
            multiplication and an addition a value.
        costs: module types and their rules for this call, as for
            :func:`~spikesim.energy.register`.
        each_call: decide as NeuroBench does: a call accumulates if all that entered it was -1, 0
            or 1. Otherwise a layer does if all that ever entered it was 0 or 1.
        cuda_graph: from the second batch of a shape on, replay model and counting as one CUDA
            graph: the same counts, in a fraction of the time where launches take most of it. What
            products give is looked at for NaN in the first batch of a shape, what enters layers in
            all.

    Returns:
        Means per sample, summed over its steps. An operation that is neither known nor free is in
        ``uncovered``.

    Raises:
        UserError: no data, data of another shape, or a layer that gives NaN, which is named.
        BackendError: ``cuda_graph`` for a model that is on no GPU, or cannot be captured.

    >>> counts = count(nn.Linear(3, 2, bias=False), torch.tensor([1.0, 0.0, 1.0]).expand(4, 1, 3))
    >>> counts.total("macs"), counts.total("effective_acs"), counts.layers[0].spikes_per_step
    (24.0, 16.0, (2.0, 2.0, 2.0, 2.0))
    """
    if not isinstance(model, nn.Module):
        own = forward, reset, steps, layout != "TB", not fold_batch_norm, costs, each_call
        if any(own) or cuda_graph:
            raise UserError("a network takes a time in ms and no options of torch models")
        return _of_network(model, data)
    if isinstance(data, int | float):
        raise UserError(f"a model is counted on batches [T, B, ...], got {data!r}")
    if layout not in get_args(Layout):
        raise UserError(f"no layout {layout!r} of data{nearest(layout, get_args(Layout))}")
    if steps is not None and not (isinstance(steps, Integral) and steps >= 1):
        raise UserError(f"steps must be a whole number >= 1, got {steps!r}")
    if not (forward is None or callable(forward)) or not (reset is None or callable(reset)):
        raise UserError("forward and reset must be functions: forward(model, x), reset(model)")
    if not isinstance(data, Iterable):
        raise UserError(f"data is a batch or batches [T, B, ...], got {data!r}")
    _check_there(model)
    watcher = Watcher(model, checked(costs), fold_batch_norm=fold_batch_norm, each_call=each_call)
    batches = Batches(watcher, partial(run_model, model, forward), cuda_graph=cuda_graph)
    samples, found, is_first = 0, steps or 0, True
    given: list[Tensor] = []
    with evaluating(model), fresh(model) as first_state:

        def run(part: Tensor, steps: int) -> None:
            first_state()
            if reset is not None:
                reset(model)
            size = part.shape[layout.index("B")]
            batches.count(part, Timing(steps, size, layout, part.dim(), {steps}))

        for batch in [data] if isinstance(data, Tensor) else data:
            x = _batch(batch, layout)
            T = x.shape[layout.index("T")] if "T" in layout else 1
            if steps is None and found not in (0, T):
                raise UserError(f"batches have {found} and {T} steps; give one T in [T, B, ...]")
            found, B = steps or T, x.shape[layout.index("B")]
            x = _as_the_model(x, model)
            if x.is_floating_point():
                given.append(dense(x).isnan().any())
            # Where both lengths are equal, nothing tells which dimension is time.
            is_ambiguous = layout == "BT" and B == T > 1
            for part in torch.split(x, B - 1) if is_ambiguous else (x,):
                once = partial(run, part, found)
                if is_first:
                    _find_states(once, model, watcher)
                else:
                    once()
                is_first = False
            samples += B
    if not samples:
        raise UserError("no batch to measure energy on; give at least one [T, B, ...]")
    batches.finish()
    _check_numbers(model, given)
    layers = [*_layers(watcher, samples, found, each_call=each_call), *_unused(model, watcher)]
    return Counts(
        layers=tuple(layers),
        samples=samples,
        steps=found,
        uncovered=tuple(_uncovered(watcher)),
        notes=tuple(_notes(layers)),
        parameters=sum(p.numel() for p in model.parameters()),
        footprint=footprint(model),
    )


def _of_network(network: Any, ms: Any) -> Counts:
    from spikesim.energy.network import count_network  # models need no simulator
    from spikesim.network import Network

    if not isinstance(network, Network):
        raise UserError(
            f"what is counted is a torch.nn.Module or a spikesim.network.Network, got "
            f"{type(network).__name__}"
        )
    if not isinstance(ms, Real):
        raise UserError(f"a network is counted over a time in ms, got {type(ms).__name__}")
    return count_network(network, float(ms))


def run_model(model: nn.Module, forward: Callable[[Any, Tensor], Any] | None, x: Tensor) -> None:
    """One batch; where operations were called is looked for no further out than here."""
    _ = model(x) if forward is None else forward(model, x)


def _find_states(run: Callable[[], None], model: nn.Module, watcher: Watcher) -> None:
    """Run the first batch, and again where it shows that buffers hold states."""
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
    run()
    if watcher.found_states():
        for buffer, value in kept:
            buffer.copy_(value)
        run()


def _batch(batch: Any, layout: Layout) -> Tensor:
    x = batch[0] if isinstance(batch, list | tuple) and batch else batch
    if not isinstance(x, Tensor):
        raise UserError(
            f"a batch is a tensor, or a tuple that begins with one, got {type(x).__name__}; give a "
            "list of batches"
        )
    if x.dim() < 2 or x.dim() < len(layout) or not x.numel():
        named = ", ".join(layout)
        raise UserError(f"a batch is {list(x.shape)}; expected [{named}, ...] that is not empty")
    return x


def _as_the_model(x: Tensor, model: nn.Module) -> Tensor:
    """On the model's device, and in its precision unless it is made of whole numbers."""
    weight = next(model.parameters(), None)
    if weight is None:
        return x
    is_real = x.is_floating_point() or x.dtype in (torch.bool, torch.uint8)
    return x.to(weight) if is_real and weight.is_floating_point() else x.to(weight.device)


def _check_there(model: nn.Module) -> None:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise UserError(f"{name} of the model has no size yet; run the model once before")
        if tensor.is_meta:
            raise UserError(f"{name} of the model is on device 'meta', which holds no numbers")


def _check_numbers(model: nn.Module, given: list[Tensor]) -> None:
    for n, is_nan in enumerate(given):
        if bool(is_nan):
            raise UserError(f"batch {n} of the data has values that are not a number (NaN)")
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_floating_point() and bool(dense(tensor).isnan().any()):
            raise UserError(f"{name} of the model has values that are not a number (NaN)")


def _layers(watcher: Watcher, samples: int, steps: int, *, each_call: bool) -> list[LayerCounts]:
    merged: dict[Any, Line] = {}
    for (module, kind, site, weight), line in watcher.lines.items():
        key = (module, kind, kind if kind in MERGED and not line.cost.part else site, weight)
        if key in merged:
            merged[key].merge(line)
        else:
            merged[key] = line
    alone = [module for module, *_ in merged]
    taken, layers = dict[str, int](), []
    for (module, kind, _, weight), line in merged.items():
        if kind in MERGED and not line.cost.part:
            line.text = kind
        name = line.name(alone.count(module) == 1)
        taken[name] = taken.get(name, 0) + 1
        name = name if taken[name] == 1 else f"{name} #{taken[name]}"
        counts = line.counts(name, samples, steps, each_call=each_call)
        owner = weight.rpartition(".")[0] if weight else module
        bits = weight_bits(watcher.modules.get(owner, watcher.modules[module]))
        layers.append(replace(counts, weight_bits=bits) if counts.is_weighted else counts)
    return layers


def _unused(model: nn.Module, watcher: Watcher) -> list[LayerCounts]:
    """Layers that did not run, and whose weights no other module used."""
    lines = watcher.lines.values()
    ran = {line.module for line in lines}
    ran |= {watcher.origins.owner(line.cost.weight) or "" for line in lines}
    ran |= {weight.rpartition(".")[0] for *_, weight in watcher.lines}
    cells = {line.module for line in lines if line.cost.kind == "neuron"}
    linear = (nn.Linear, nn.Bilinear, nn.RNNBase, nn.RNNCellBase)
    kinds = ((linear, "linear"), (nn.modules.conv._ConvNd, "conv"))
    found = []
    for name, module in model.named_modules():
        kind = next((kind for known, kind in kinds if isinstance(module, known)), "")
        kind = "neuron" if is_neuron(module) else kind
        # A recurrent layer runs its neuron by itself.
        is_cell = kind == "neuron" and name.rpartition(".")[0] in cells
        if kind and name not in ran and not is_cell:
            found.append(LayerCounts(name=name, kind=kind, note="not used in this run"))
    return found


def _uncovered(watcher: Watcher) -> list[str]:
    return [
        f"{name or 'model'} ({type(watcher.modules[name]).__name__}): {operation}, "
        f"{several(calls, 'call')}; spikesim.energy.register tells its cost"
        for (name, operation), calls in watcher.uncovered.items()
    ]


def _notes(layers: list[LayerCounts]) -> list[str]:
    notes = []
    if not any(layer.kind == "neuron" and layer.rate is not None for layer in layers):
        notes.append("no spiking neurons ran: operations are those of a network without spikes")
    return notes
