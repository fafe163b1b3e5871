"""One model, two engines: a trained module as a network of neurons and synapses, and back.

Layers of neurons become populations, and what lies between them projections: linear maps and
convolutions with the batch norm that follows them, pooling, views, sums and products of spikes.
Those with learned delays (:mod:`spikesim.delays`) become projections whose synapses have delays of
whole steps.
Spikes pass from layer to layer within a step (delay 0); those of a
:class:`~spikesim.recurrent.Recurrent` layer come back in the next one. The network's steps are
those of the neurons, and constants of a step are the same to the bit; biases are constant currents.
In float64 both compute the same lines and differ only in how sums of inputs are rounded, not at all
where weights have few binary digits; :func:`first_difference` tells where a rounding decides.
"""

import copy
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from spikesim.backend import set_backend
from spikesim.errors import UserError
from spikesim.network.connect import Explicit
from spikesim.network.convert_compare import Difference, first_difference
from spikesim.network.convert_form import Layer, Term
from spikesim.network.convert_plan import Plan
from spikesim.network.convert_run import Converted, Feed
from spikesim.network.convert_trace import INPUT, trace
from spikesim.network.device import chosen
from spikesim.network.distributed import processes
from spikesim.network.memory import check_memory
from spikesim.network.network import Network
from spikesim.network.population import Population
from spikesim.network.projection import Projection

__all__ = ["Converted", "Difference", "Plan", "first_difference", "plan", "to_network"]


def plan(
    module: nn.Module, example: Tensor, *, inputs: Literal["spikes", "currents"] = "spikes"
) -> Plan:
    """What :func:`to_network` would build; print it for the numbers of neurons, synapses, bytes.

    Args:
        module: takes ``[T, B, ...]`` and returns ``[T, B, ...]``; it is read in evaluation mode.
        example: an input, ``T`` >= 2; only its shape matters. A few steps suffice, unless the
            module asks for a number of them.
        inputs: see :func:`to_network`.

    Raises:
        UserError: a part of the module that cannot be neurons and synapses, named with its path.
    """
    if inputs not in ("spikes", "currents"):
        raise UserError(f"inputs must be 'spikes' or 'currents', got {inputs!r}")
    if example.dim() < 2 or example.shape[0] < 2:
        raise UserError(f"example is {list(example.shape)}; give [T, B, ...] with 2 steps or more")
    own = copy.deepcopy(module).cpu().eval().requires_grad_(False)
    spikes = inputs == "spikes"
    shape = tuple(example.shape[2:])
    watched = copy.deepcopy(own).double()
    set_backend(watched, "torch")  # zeros through a few steps are not worth compiling kernels
    layers = trace(watched, example.shape[0], shape, spikes=spikes)
    return Plan(own, layers, spikes)


def to_network(
    module: nn.Module,
    example: Tensor,
    *,
    inputs: Literal["spikes", "currents"] = "spikes",
    largest: float | None = None,
    dtype: Literal["float32", "float64"] = "float64",
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
) -> Converted:
    """Convert a trained module; the result runs sequences and gives the spikes of each layer.

    Args:
        module: takes ``[T, B, ...]`` and returns ``[T, B, ...]``: neurons of one input, linear
            maps and convolutions, also with delays, batch norm, average pooling, max pooling of
            spikes, :class:`~spikesim.recurrent.Recurrent` layers, also with delays, views, sums and
            products of spikes, in any containers. It is copied, in evaluation mode.
        example: an input, ``T`` >= 2, as for :func:`plan`.
        inputs: ``"spikes"``: the input is 0 or 1 and becomes a population, ``"(input)"``, with
            synapses of its own. ``"currents"``: for counts and values; the first maps are
            applied to each step, and their result is a current into the first neurons.
        largest: with currents, the largest size of an input; by default that of ``example``.
        dtype: of states; weights are summed in whole quanta of 64 or 32 bits.
        seed: of stochastic neurons, whose draws are not those of the module.
        threads: that share the work.
        device: where the network runs, ``"cpu"`` or such as ``"cuda"``; inputs and outputs of
            :meth:`Converted.run` stay on the CPU.

    Raises:
        UserError: a part of the module that cannot be neurons and synapses, named with its path; a
            network that does not fit into memory.
        BackendError: a device that cannot serve.

    >>> import torch
    >>> from spikesim.neurons import LIF
    >>> module = nn.Sequential(nn.Linear(3, 2), LIF())
    >>> x = (torch.rand(8, 1, 3) < 0.5).double()
    >>> converted = to_network(module, x)
    >>> bool((converted.run(x) == module.double()(x)).all())
    True
    """
    chosen(device, processes())  # before the module is followed, which takes a while
    found = plan(module, example, inputs=inputs)
    if inputs == "currents":
        largest = float(example.abs().max()) if largest is None else largest
        if not 0 < largest < np.inf:
            raise UserError(f"largest must be > 0 and finite, got {largest}; give that of inputs")
    elif largest is not None:
        raise UserError("largest= belongs to inputs='currents'; spikes are 0 or 1")
    check_memory(found.bytes(8 if dtype == "float64" else 4), "the neurons and synapses")
    network = Network(
        found.layers[0].neuron.dt, seed=seed, dtype=dtype, threads=threads, device=device
    )
    populations = {
        layer.name: network.population(layer.neuron, layer.shape, name=layer.name)
        for layer in found.populations
    }
    synapses = [
        pair for layer in found.populations for pair in _connected(network, layer, populations)
    ]
    feeds = [_feed(network, layer, populations[layer.name], largest) for layer in found.populations]
    used = [feed for feed in feeds if feed is not None]
    return Converted(found.module, network, found.layers, populations, synapses, used, largest)


def _connected(
    network: Network, layer: Layer, populations: dict[str, Population]
) -> Iterator[tuple[Term, Projection]]:
    """Connect all that reaches a layer, and add its constant."""
    post = populations[layer.name]
    receptor = post.receptors[0]
    late: dict[str, list[Term]] = {}
    for term in layer.terms():
        if term.source.name not in populations:
            continue
        if term.is_late:
            late.setdefault(term.source.name, []).append(term)
            continue
        rule, weight = term.wiring()
        pre, ms = populations[term.source.name], term.delay * network.dt
        made = network.connect(pre, post, rule, weight=weight, delay=ms, receptor=receptor)
        yield term, made
    for name, terms in late.items():
        # One projection, whose synapses have their own delays.
        maps = [term.matrix().tocoo() for term in terms]
        pairs = Explicit(*(np.concatenate([getattr(m, at) for m in maps]) for at in ("row", "col")))
        made = network.connect(
            populations[name],
            post,
            pairs,
            weight=np.concatenate([m.data for m in maps]),
            delay=np.repeat([t.delay for t in terms], [m.nnz for m in maps]) * network.dt,
            receptor=receptor,
        )
        yield from ((term, made) for term in terms)
    if layer.constant.any():
        network.current(post, layer.constant, receptor=receptor)


def _feed(network: Network, layer: Layer, post: Population, largest: float | None) -> Feed | None:
    """Let a layer have what the input brings to it from outside, if anything."""
    if layer.name == INPUT:
        feed, most = Feed(post.size, network.dt), 1.0
    else:
        matrices: dict[int, Any] = {}
        for term in layer.terms():
            if term.source.name == INPUT:
                matrix = term.matrix()
                matrices[term.delay] = matrices.get(term.delay, 0 * matrix) + matrix
        if largest is None or not matrices:
            return None
        feed = Feed(post.size, network.dt, matrices)
        sizes = sum(abs(matrix).sum(0) for matrix in matrices.values())
        most = float(sizes.max() * largest) * (1.0 + 1e-9)  # sums are rounded
    network.current(post, feed, receptor=post.receptors[0], largest=most)
    return feed
