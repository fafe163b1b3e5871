"""Layers with delays as synapses, each with a delay of whole steps."""

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from spikesim.delays import DelayedConv1d, DelayedConv2d, DelayedLinear, DelayedRecurrent
from spikesim.delays.layer import Delayed
from spikesim.network.connect import Explicit
from spikesim.network.convert_form import Array, Form, Late, Map, Shape
from spikesim.network.convolution import Convolution


def late(form: Form, module: Delayed, taps: Any, name: str) -> Form:
    """What arrives of a form through a layer, which is in evaluation mode.

    Args:
        form: without a constant.
        module: whose weights and delays are read.
        taps: ``[n_in, n_out]``, sparse: 1 more than the place of a synapse's weight among those of
            one bump.
        name: of ``module.weight`` in the whole module.
    """
    values = module.weight.detach().double().numpy()
    delay = module.delay_steps().expand_as(module.weight).long().numpy().reshape(-1)
    pairs, (n_in, n_out) = taps.tocoo(), taps.shape
    entries = np.rint(pairs.data).astype(np.int64) - 1
    terms = []
    for bump in range(module.bumps):
        index = entries * module.bumps + bump
        for steps in np.unique(delay[index]):
            chosen = delay[index] == steps
            rule = Explicit(pairs.row[chosen], pairs.col[chosen])
            map_ = Late(rule, n_in, n_out, values, name, index=index[chosen])
            terms += [term.through(map_).later(int(steps)) for term in form.terms]
    return replace(form, terms=tuple(terms), constant=np.zeros(n_out), is_binary=False)


def taps_of_linear(module: DelayedLinear, shape: Shape) -> Any:
    """Of an input ``[..., in]``, whose other axes are places that share the layer."""
    from scipy.sparse import csr_array, identity, kron

    return csr_array(kron(identity(prod(shape[:-1])), _numbers(module.weight.shape[:2]).T))


def taps_of_recurrent(module: DelayedRecurrent) -> Any:
    """Of the layer's own spikes."""
    from scipy.sparse import csr_array

    return csr_array(_numbers(module.weight.shape).T)


def taps_of_convolution(module: DelayedConv1d | DelayedConv2d, shape: Shape) -> Any:
    """Of an input ``[C, ...]``."""
    window = module.kernel_size, module.stride, module.padding, module.dilation, module.groups
    rule = Convolution(shape, module.out_channels, *window)
    numbers = _numbers(rule.kernel_shape)
    return Map(rule, prod(shape), prod(rule.target_shape), numbers).matrix()


def _numbers(shape: Shape) -> Array:
    """1, 2, 3, ..., so that 0 stays for no synapse."""
    return np.arange(1.0, prod(shape) + 1.0).reshape(shape)
