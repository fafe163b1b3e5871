"""The way back: a module's weights from the synapses that they became."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
from torch import Tensor, nn

from spikesim.errors import UserError
from spikesim.network.convert_form import Array, Term
from spikesim.network.projection import Projection


def put_weights(module: nn.Module, synapses: Iterable[tuple[Term, Projection]]) -> None:
    """Write the weights of a network's synapses into the parameters that they stand for.

    A weight that no synapse stands for (at a border, or behind a batch norm of scale 0) stays.

    Raises:
        UserError: synapses that share one weight of a convolution have come to differ; a synapse
            that several weights add up to; several of one delay between the same two neurons.
    """
    parameters: Mapping[str, Any] = dict(module.named_parameters())
    found: dict[str, list[tuple[Array, ...]]] = {}
    for term, projection in synapses:
        names = [map_.parameter for map_ in term.maps if map_.parameter is not None]
        if len(names) > 1:
            raise UserError(
                f"{' and '.join(names)} became one projection, {projection.name!r}, whose weights "
                "are products that cannot be taken apart"
            )
        for name in names:
            found.setdefault(name, []).append(_entries(term, projection, name))
    for name, parts in found.items():
        entry, value, error = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        _write(parameters[name], name, entry.astype(np.int64), value, error)


def _entries(term: Term, projection: Projection, name: str) -> tuple[Array, ...]:
    """Of each synapse the entry of the parameter, the value it stands for, and its rounding.

    Synapses are linear in the parameter: with ones in its place they are their factors, and with
    ``1, 2, 3, ...`` the factors times the numbers of their entries.
    """
    shape = next(map_.values.shape for map_ in term.maps if map_.parameter is not None)
    ones = np.ones(shape)
    factor = _sorted(_with(term, ones).matrix())
    numbered = _sorted(_with(term, np.cumsum(ones).reshape(shape)).matrix())
    if _paths(term) > 1:
        raise UserError(f"synapses of {projection.name!r} are sums of several entries of {name}")
    n_post = projection.post.size
    pre = np.repeat(np.arange(factor.shape[0]), np.diff(factor.indptr))
    wanted = pre * n_post + factor.indices
    table = projection.table()
    if term.is_late:
        # Of synapses with several delays, those of this one.
        own = np.rint(table["delay"] / projection.dt) == term.delay
        table = {key: values[own] for key, values in table.items()}
    pairs = table["pre"].astype(np.int64) * n_post + table["post"]
    if np.isin(wanted, pairs[1:][np.diff(pairs) == 0]).any():
        raise UserError(
            f"two synapses of {projection.name!r} between the same neurons have the same delay, so "
            f"that those of {name} cannot be told apart"
        )
    place = np.minimum(np.searchsorted(pairs, wanted), max(pairs.size - 1, 0))
    # Pairs whose weight was 0 became no synapse.
    weight = np.where(pairs[place] == wanted, table["weight"][place], 0.0)
    entry = np.rint(numbered.data / factor.data) - 1
    return entry, weight / factor.data, projection.quantum / np.abs(factor.data)


def _write(parameter: Tensor, name: str, entry: Any, value: Array, error: Array) -> None:
    flat = parameter.detach().double().reshape(-1).numpy().copy()
    flat[entry] = value
    off = np.abs(flat[entry] - value) > error
    if off.any():
        at = np.unravel_index(int(entry[off][0]), parameter.shape)
        raise UserError(
            f"synapses that share {name}{[int(i) for i in at]} have come to differ, "
            f"{value[off][0]:g} and {flat[entry][off][0]:g}; it is one weight in the module"
        )
    parameter.data.copy_(parameter.new_tensor(flat).view(parameter.shape))


def _with(term: Term, values: Array) -> Term:
    maps = (m if m.parameter is None else replace(m, values=values) for m in term.maps)
    return replace(term, maps=tuple(maps))


def _paths(term: Term) -> int:
    """The largest number of ways from one neuron to another."""
    patterns = [map_.matrix() for map_ in term.maps]
    for pattern in patterns:
        pattern.data[:] = 1.0
    return int(reduce(lambda a, b: a @ b, patterns).max())


def _sorted(matrix: Any) -> Any:
    """Without zeros, targets ascending in each row."""
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix
