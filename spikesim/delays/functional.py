r"""A linear map whose synapses pass on late: the delays are numbers that learn.

.. math:: y_j[t] = \sum_i \sum_{n=0}^{N} k_{ji}[n]\, x_i[t - n], \qquad
          k_{ji}[n] = w_{ji} \frac{g(n - d_{ji})}{\sum_m g(m - d_{ji})}

A synapse's weight lies as a bump :math:`g` of a width around its delay :math:`d`, from 0 to the
largest delay :math:`N`, so that the delay has a gradient; rounded, all of it lies in one step. What
a bump has beyond 0 or :math:`N` is not lost: a kernel sums to its weight.

Legend: ``T`` steps, ``B`` batch, ``D = max_delay + 1`` steps that a kernel spans, ``K`` bumps of a
synapse. Delays and widths are in steps.

Reference: Hammouamri, Khalfaoui-Hassani and Masquelier (2024), Learning delays in spiking neural
networks using dilated convolutions with learnable spacings, ICLR. Their position is
``P = max_delay / 2 - delay``; they add 1e-7 to the sum that divides.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from spikesim.kernels import delay as kernels
from spikesim.kernels.backends import BackendName, serving
from spikesim.kernels.delay_taps import BUMPS, Shape


def bumps(
    delay: Tensor, width: Tensor, *, max_delay: int, shape: Shape = "gauss", rounded: bool = False
) -> Tensor:
    """How a weight lies over the delays, from the largest: ``[...]`` -> ``[..., D]``, summing to 1.

    Args:
        delay: from 0 to ``max_delay``.
        width: >= 0, one for all or broadcasting against ``delay``; not read where rounded.
        max_delay: the largest delay.
        shape: ``"gauss"``, of standard deviation ``width + 0.27``, or ``"triangle"``, which
            reaches 0 at a distance of ``width + 1``.
        rounded: all of it at the nearest whole delay.
    """
    # As a convolution takes them: through a flip, inductor of torch 2.13 gives wrong gradients.
    steps = torch.arange(max_delay, -1, -1, device=delay.device, dtype=delay.dtype)
    if rounded:
        return (steps == delay.round().clamp(0, max_delay)[..., None]).to(delay.dtype)
    g = BUMPS[shape].height(steps - delay[..., None], width[..., None])
    return g / g.sum(-1, keepdim=True)


def delayed(
    x: Tensor,
    weight: Tensor,
    delay: Tensor,
    width: Tensor,
    *,
    max_delay: int,
    shape: Shape = "gauss",
    rounded: bool = False,
    backend: BackendName = "auto",
    widest: float | None = None,
) -> Tensor:
    """The map of the module's head; steps before the first and after the last are zero and lost.

    Args:
        x: ``[T, B, in]``.
        weight: ``[out, in]`` or ``[out, in, K]``, whose bumps add up.
        delay: as ``weight``, or with 1 in place of ``out`` (one delay per input, or axon) or of
            ``in`` (one per output, or dendrite), which costs much less.
        width, max_delay, shape, rounded: see :func:`bumps`.
        backend: kernels of ``"numba"`` and ``"cupy"`` take time for each spike and each step of a
            bump above 1e-3 of its peak, ``"torch"`` for each step and delay; ``"auto"`` takes what
            costs least.
        widest: no width is larger; by default it is looked up, for which a GPU is waited.

    Shape: -> ``[T, B, out]``.

    >>> x = torch.zeros(5, 1, 1)
    >>> x[1] = 1.0
    >>> y = delayed(x, torch.ones(1, 1), torch.tensor([[2.2]]), torch.tensor(0.0), max_delay=4,
    ...             rounded=True)
    >>> y.flatten().tolist()
    [0.0, 0.0, 0.0, 1.0, 0.0]
    """
    outputs, inputs = weight.shape[:2]
    is_shared = delay.shape[:2] != (outputs, inputs)
    if serving(backend, x.device.type) != "torch" and not (is_shared and backend == "auto"):
        return kernels.delayed(
            x,
            weight,
            delay,
            width,
            max_delay=max_delay,
            shape=shape,
            rounded=rounded,
            widest=widest,
        )
    g = bumps(delay, width, max_delay=max_delay, shape=shape, rounded=rounded)
    if weight.dim() == 2:
        weight, g = weight[..., None], g[..., None, :]  # [out, in, K], [., ., K, D]
    if g.shape[0] < outputs:
        return F.linear(convolve(x, g[0].flatten(0, 1)[:, None], inputs), weight.flatten(1))
    if g.shape[1] < inputs:
        return convolve(F.linear(x, weight.mT.flatten(0, 1)), g[:, 0], outputs)
    return convolve(x, (weight[..., None] * g).sum(2))


def convolve(x: Tensor, kernel: Tensor, groups: int = 1) -> Tensor:
    """``x [T, B, C]`` with ``kernel [O, C / groups, D]``, latest delay first."""
    x = F.pad(x.permute(1, 2, 0), (kernel.shape[-1] - 1, 0))  # [B, C, D - 1 + T]
    return F.conv1d(x, kernel, groups=groups).permute(2, 0, 1)
