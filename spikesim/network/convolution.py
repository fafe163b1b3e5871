"""Convolution as a connection rule: local synapses that share the entries of one kernel."""

from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.network.given import whole
from spikesim.network.rule import LARGEST, Rule
from spikesim.network.synapses import Synapses

__all__ = ["Convolution"]

Axis: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
Sizes: TypeAlias = int | tuple[int, ...]


@dataclass(frozen=True)
class Convolution(Rule):
    r"""Source and target are images of channels; the synapses are those of a convolution.

    As ``torch.nn.functional.conv1d``, ``conv2d`` or ``conv3d``, with zeros as padding: target
    ``(o, y, x)`` is reached by sources ``(c, y s + i d - p, x s + j d - p)`` with the weight
    ``kernel[o, c, i, j]``. The kernel, ``[channels, C // groups, *kernel_size]``, is passed as the
    weight of the projection (or as its delay); each synapse holds the index of its entry.

    Args:
        shape: of the source population, ``(C, L)``, ``(C, H, W)`` or ``(C, D, H, W)``.
        channels: of the target population.
        kernel_size: a whole number, or one an axis; so are ``stride``, ``padding`` (zeros on both
            sides) and ``dilation``.
        groups: source and target channels fall into as many groups that see only each other.

    >>> rule = Convolution(shape=(1, 3, 3), channels=1, kernel_size=2)
    >>> rule.target_shape
    (1, 2, 2)
    >>> synapses = rule.build(9, 4)
    >>> synapses.to_scipy([[1.0, 2.0], [3.0, 4.0]]).toarray()[4].tolist()  # the middle pixel
    [4.0, 3.0, 2.0, 1.0]
    """

    shape: tuple[int, ...]
    channels: int
    kernel_size: Sizes
    stride: Sizes = 1
    padding: Sizes = 0
    dilation: Sizes = 1
    groups: int = 1

    def __post_init__(self) -> None:
        if np.ndim(self.shape) != 1 or not 2 <= len(self.shape) <= 4:
            raise UserError(f"shape must be (C, L), (C, H, W) or (C, D, H, W), got {self.shape}")
        for size in self.shape:
            whole("an entry of shape", size, 1)
        for name, least in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            sizes = self._sizes(name)
            for size in sizes:
                whole(name, size, least)
            if len(sizes) != len(self.shape) - 1:
                raise UserError(
                    f"{name} must be one number or one for each of the {len(self.shape) - 1} axes, "
                    f"got {getattr(self, name)}"
                )
        whole("channels", self.channels, 1)
        whole("groups", self.groups, 1)
        if self.shape[0] % self.groups or self.channels % self.groups:
            raise UserError(
                f"{self.groups} groups do not divide {self.shape[0]} source channels and "
                f"{self.channels} target channels"
            )
        if min(self.target_shape) < 1:
            raise UserError(
                f"a kernel of {self._sizes('kernel_size')} does not fit into {self.shape[1:]}; "
                "enlarge the padding"
            )

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of the target population, ``(channels, ...)``."""
        spans = zip(
            self.shape[1:],
            *(self._sizes(name) for name in ("kernel_size", "stride", "padding", "dilation")),
            strict=True,
        )
        return self.channels, *((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in spans)

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """Shape of the weights, ``(channels, C // groups, ...)``."""
        return self.channels, self.shape[0] // self.groups, *self._sizes("kernel_size")

    def expected(self, n_pre: int, n_post: int, *, same: bool = False) -> int:
        """Exactly what will be built."""
        return prod(axis[1].size for axis in self._axes())

    _bytes_each = 8

    def check(self, n_pre: int, n_post: int, same: bool) -> None:
        """Refuse populations that do not have the sizes of the shapes."""
        sizes = (("source", n_pre, self.shape), ("target", n_post, self.target_shape))
        for name, size, shape in sizes:
            if size != prod(shape):
                raise UserError(
                    f"the {name} has {size} neurons, the convolution {prod(shape)}, {shape}"
                )

    def _build(self, n_pre: int, n_post: int, same: bool, seed: int, threads: int) -> Synapses:
        from spikesim.kernels.convolve_numba import convolve

        axes = self._axes()
        degree = np.ones(1, np.int64)
        for start, _, _ in axes:
            degree = np.multiply.outer(degree, np.diff(start)).reshape(-1)
        indptr = np.concatenate(([0], np.cumsum(degree)))
        entries = prod(self.kernel_shape)
        target = np.empty(indptr[-1], np.int32)
        kind: type[np.signedinteger[Any]] = np.int32 if entries <= LARGEST else np.int64
        index = np.empty(target.size, kind)
        convolve(*axes, target, index)
        return Synapses(indptr, target, n_post, index, entries)

    def _sizes(self, name: str) -> tuple[int, ...]:
        value: Sizes = getattr(self, name)
        axes = len(self.shape) - 1
        return (value,) * axes if isinstance(value, int | np.integer | str) else tuple(value)

    def _axes(self) -> list[Axis]:
        """The channels and three spatial axes, of which the first may have one position only."""
        result, kernel = self.target_shape[1:], self.kernel_shape[2:]
        missing = 3 - len(result)
        single = np.array([0, 1]), np.zeros(1, np.int64), np.zeros(1, np.int64)
        spatial = []
        for i, (n, m, k) in enumerate(zip(self.shape[1:], result, kernel, strict=True)):
            taps, outputs = np.meshgrid(np.arange(k), np.arange(m), indexing="ij")
            steps = (self._sizes(name)[i] for name in ("stride", "padding", "dilation"))
            stride, padding, dilation = steps
            source = outputs * stride + taps * dilation - padding
            inside = (source >= 0) & (source < n)
            strides = prod(result[i + 1 :]), prod(kernel[i + 1 :])
            spatial.append(_axis(n, source[inside], outputs[inside], taps[inside], strides))
        c_in, c_out = self.shape[0], self.channels
        c, o = np.meshgrid(np.arange(c_in), np.arange(c_out), indexing="ij")
        here = c // (c_in // self.groups) == o // (c_out // self.groups)
        c, o = c[here], o[here]
        entry = o * (c_in // self.groups) + c % (c_in // self.groups)
        channel = _axis(c_in, c, o, entry, (prod(result), prod(kernel)))
        return [channel, *[single] * missing, *spatial]


def _axis(
    size: int,
    source: NDArray[np.int64],
    output: NDArray[np.int64],
    tap: NDArray[np.int64],
    strides: tuple[int, int],
) -> Axis:
    order = np.lexsort((output, source))
    start = np.concatenate(([0], np.cumsum(np.bincount(source, minlength=size))))
    return start, output[order] * strides[0], tap[order] * strides[1]
