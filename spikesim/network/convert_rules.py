"""Layers of torch as linear maps of one step: what each module does to a form.

Shapes are those of a step of one sample: ``[N]``, ``[C, L]``, ``[C, H, W]``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from spikesim.attention import SDSA, SSA
from spikesim.conv import int_padding
from spikesim.delays import DelayedConv1d, DelayedConv2d, DelayedLinear
from spikesim.errors import UserError
from spikesim.network.connect import AllToAll, Explicit
from spikesim.network.convert_delays import late, taps_of_convolution, taps_of_linear
from spikesim.network.convert_form import Array, Form, Map, Shape, chosen
from spikesim.network.convolution import Convolution


@dataclass(frozen=True)
class Call:
    """A module that is called on ``form`` of ``shape``, and gives a step of shape ``out``."""

    form: Form
    shape: Shape
    out: Shape
    name_of: Callable[[Tensor], str]
    """The name of a parameter in the whole module."""
    fires_at: Callable[[Form, Shape, float], Form]
    """New neurons without memory, which fire where a form reaches a value."""


Rule: TypeAlias = Callable[[Any, Call], Form]


def linear(module: nn.Linear, call: Call) -> Form:
    """A linear map of the last axis; other axes are places that share it."""
    n_in, n_out = module.in_features, module.out_features
    places = prod(call.shape[:-1])
    weight = _array(module.weight)
    bias = None if module.bias is None else np.tile(_array(module.bias), places)
    name = call.name_of(module.weight)
    if places == 1:
        return call.form.through(Map(AllToAll(), n_in, n_out, weight, name), bias)
    shared = Convolution((n_in, places), n_out, 1)
    sizes = places * n_in, places * n_out
    channels_first = np.arange(sizes[0]).reshape(places, n_in).T.reshape(-1)
    channels_last = np.arange(sizes[1]).reshape(n_out, places).T.reshape(-1)
    form = chosen(call.form, channels_first).through(Map(shared, *sizes, weight[..., None], name))
    form = chosen(form, channels_last)
    return form if bias is None else form.plus(bias)


def convolution(module: _ConvNd, call: Call) -> Form:
    """A convolution of a map."""
    padding = int_padding(module)
    if padding is None:
        raise UserError("only zeros as padding, the same on both sides, can become synapses")
    window = (module.kernel_size, module.stride, padding, module.dilation, module.groups)
    rule = Convolution(call.shape, module.out_channels, *window)
    sizes = prod(call.shape), prod(call.out)
    name = call.name_of(module.weight)
    bias = None if module.bias is None else _each(_array(module.bias), call.out)
    return call.form.through(Map(rule, *sizes, _array(module.weight), name), bias)


def delayed(module: DelayedLinear | DelayedConv1d | DelayedConv2d, call: Call) -> Form:
    """A linear map or a convolution, in which each synapse has a whole delay."""
    if module.lengthen:
        raise UserError("lengthen=True makes more steps of its input; a network has one time")
    if call.form.constant.any():
        raise UserError("what is added before it, in each step, would come late at first")
    if isinstance(module, DelayedLinear):
        taps = taps_of_linear(module, call.shape)
    else:
        taps = taps_of_convolution(module, call.shape)
    form = late(call.form, module, taps, call.name_of(module.weight))
    if module.bias is None:
        return form
    bias = _array(module.bias)
    if isinstance(module, DelayedLinear):
        return form.plus(np.tile(bias, prod(call.shape[:-1])))
    return form.plus(_each(bias, call.out))


def batch_norm(module: Any, call: Call) -> Form:
    """Batch norm in evaluation mode: ``(x - mean) * scale + bias`` of each channel."""
    if module.running_mean is None or module.running_var is None:
        raise UserError(
            "it normalises by the statistics of its input; track_running_stats=True keeps fixed "
            "ones, which can become weights"
        )
    scale = (module.running_var + module.eps).rsqrt()
    scale = scale if module.weight is None else module.weight * scale
    mean, scales = _array(module.running_mean), _array(scale)
    form = call.form.plus(-_each(mean, call.out)).scaled(_each(scales, call.out), scales)
    return form if module.bias is None else form.plus(_each(_array(module.bias), call.out))


def average(module: Any, call: Call) -> Form:
    """Average pooling, as a convolution of each channel with itself."""
    rule = _window(module, call)
    taps = prod(rule.kernel_shape[2:])
    divisor = getattr(module, "divisor_override", None) or taps
    values = np.full(rule.kernel_shape, 1.0 / divisor)
    sizes = prod(call.shape), prod(call.out)
    if np.any(module.padding) and not module.count_include_pad:
        synapses = rule.build(*sizes)
        weights = synapses.to_scipy(1.0 / synapses.in_degree[synapses.target])
        return call.form.through(Map(Explicit.from_scipy(weights), *sizes, weights.data))
    return call.form.through(Map(rule, *sizes, values))


def adaptive_average(module: Any, call: Call) -> Form:
    """Means over windows that divide each axis as evenly as can be."""
    from scipy.sparse import csr_array, identity, kron

    axes = [identity(call.shape[0])]
    for n, m in zip(call.shape[1:], call.out[1:], strict=True):
        axis = np.zeros((n, m))
        for i in range(m):
            window = slice(i * n // m, -(-(i + 1) * n // m))
            axis[window, i] = 1.0 / (window.stop - window.start)
        axes.append(csr_array(axis))
    matrix = csr_array(reduce(kron, axes))
    return call.form.through(
        Map(Explicit.from_scipy(matrix), prod(call.shape), prod(call.out), matrix.data)
    )


def maximum(module: Any, call: Call) -> Form:
    """The maximum of spikes: neurons that fire where any of a window does."""
    if not call.form.is_binary:
        raise UserError("the maximum of values other than spikes; pool after the neurons")
    if getattr(module, "return_indices", False):
        raise UserError("indices of maxima are no spikes; leave return_indices out")
    rule = _window(module, call)
    any_of = Map(rule, prod(call.shape), prod(call.out), np.ones(rule.kernel_shape))
    return call.fires_at(call.form.through(any_of), call.out, 0.5)


def same(module: nn.Module, call: Call) -> Form:
    """Nothing, in evaluation mode."""
    return call.form


RULES: tuple[tuple[tuple[type[nn.Module], ...], Rule, bool], ...] = (
    ((nn.Linear,), linear, False),
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), convolution, True),
    ((DelayedLinear, DelayedConv1d, DelayedConv2d), delayed, False),
    ((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm), batch_norm, True),
    ((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), average, True),
    (
        (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
        adaptive_average,
        True,
    ),
    ((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), maximum, True),
    ((nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), same, False),
)
"""Module types, what they do, and whether their input is ``[T * B, ...]``."""

ATTENTION = (
    "products of values cannot be synapses, whose weights are fixed; models of convolutions, "
    "linear maps and neurons can be converted"
)
CURES: tuple[tuple[tuple[type[nn.Module], ...], str], ...] = (
    ((SSA, SDSA, nn.MultiheadAttention), ATTENTION),
    (
        (nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d),
        "it normalises by each input; BatchNorm, whose statistics are fixed, becomes weights",
    ),
)
"""Module types that cannot be converted, and what would work."""


def _window(module: Any, call: Call) -> Convolution:
    """A pooling's windows, each channel by itself."""
    if getattr(module, "ceil_mode", False):
        raise UserError("ceil_mode has windows beyond the border; pad instead")
    channels = call.shape[0]
    stride = module.kernel_size if module.stride is None else module.stride
    how = (module.kernel_size, stride, module.padding, getattr(module, "dilation", 1))
    return Convolution(call.shape, channels, *how, groups=channels)


def _array(values: Tensor) -> Array:
    return values.detach().cpu().double().numpy()


def _each(channels: Array, shape: Shape) -> Array:
    """A value of each channel for each neuron of ``[C, ...]``."""
    return np.repeat(channels, prod(shape[1:]))
