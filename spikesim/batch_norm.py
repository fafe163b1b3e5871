r"""Batch norm in front of a neuron, as one operator whose normalised values are never stored.

.. math::
    z = (x - \mu)\, a + b, \quad a = w / \sqrt{\sigma^2 + \epsilon}, \qquad s = \mathrm{SN}(z)

with the mean :math:`\mu` and variance :math:`\sigma^2` of each channel. One pass over ``x`` takes
the statistics, a second one normalises and runs the neuron. Backward recomputes ``z`` from ``x``;
with :math:`g = ds/dz` it is

.. math::
    dx = a \big(g - \overline{g} - (x - \mu)\, \overline{g (x - \mu)} / (\sigma^2 + \epsilon)\big),
    \qquad dw = \sum g (x - \mu) / \sqrt{\sigma^2 + \epsilon}, \quad db = \sum g:

one pass of the neuron that leaves :math:`a g` in the buffer of :math:`dx` and takes both sums on
its way, and one that adds the rest in place.

Shape legend: ``T`` steps, ``B`` batch, ``C`` channels; a sequence is ``[T, B, C, ...]``.
``real`` is float32, or float64 for float64 input.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spikesim.errors import UserError
from spikesim.kernels import normed, operator
from spikesim.kernels.batch_norm import Running, add_statistics_gradient, statistics
from spikesim.kernels.sequence import dense, same_layout
from spikesim.neuron import Neuron
from spikesim.types import Named, Number


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that a neuron can take over; parameters and buffers of ``nn.BatchNorm*d``.

    In a :class:`~spikesim.layers.SpikingSequential` the neuron that follows normalises its own
    input with :meth:`normalisation`. Called by itself it gives the same values, rounded to the
    input's dtype. Any number of trailing axes, also none. A part that is run again for its
    gradient (activation checkpointing) moves the running statistics once.

    Shape: ``[B, C, ...]`` -> the same.

    Raises:
        UserError: another number of channels, or a single value per channel in training.

    Reference: Ioffe and Szegedy (2015), *Batch normalization*.

    >>> norm = BatchNorm(2)
    >>> norm(torch.tensor([[1.0, 5.0], [3.0, 5.0]])).round().tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """

    synchronised = False
    """Whether batch statistics are taken over all processes; all of them must then run it."""

    def forward(self, input: Tensor) -> Tensor:
        """The normalised values, in the input's dtype."""
        sequence = input[None]  # [1, B, C, ...]
        return self.normalisation(sequence)(sequence)[0].to(input.dtype)

    def normalisation(self, x: Tensor) -> "Normalisation":
        """What is done to a sequence ``[T, B, C, ...]``; in training, running statistics follow."""
        self._check(x)
        if not self.takes_batch:
            assert self.running_mean is not None
            assert self.running_var is not None
            real = torch.promote_types(x.dtype, torch.float32)
            inverse = torch.rsqrt(self.running_var.to(real) + self.eps)
            return Normalisation(self.running_mean.to(real), inverse, self.weight, self.bias)
        shared = self.synchronised and self.training
        count: Number = x.numel() // self.num_features
        with torch.no_grad():
            mean, variance, inverse = statistics(x.detach(), self.eps)
            if shared:
                mean, variance, count = _over_processes(mean, variance, count)
                inverse = torch.rsqrt(variance + self.eps)
            if self.training and not _is_recomputing():
                self._follow(mean, variance * (count / (count - 1)))
        return Normalisation(mean, inverse, self.weight, self.bias, count, shared)

    def run(self, neuron: Neuron, x: Tensor, after: operator.After | None = None) -> Tensor:
        """The neuron's output on the normalised sequence, in the dtype of ``x``.

        What is to be done ``after`` needs a backend other than torch.
        """
        self._check(x)
        how = normed.plan(neuron, x) if self._is_joined(neuron, x) else None
        if how is None:
            return self.normalisation(x).run(neuron, x, after)
        running = None
        if self.training and self.running_mean is not None and not _is_recomputing():
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            running = Running(
                self.running_mean, self.running_var, self.num_batches_tracked, self.momentum
            )
        return normed.run(how, x, self.weight, self.bias, self.eps, running, after)

    def _is_joined(self, neuron: Neuron, x: Tensor) -> bool:
        """Whether one autograd function of CUDA kernels does all of it."""
        if not self.takes_batch or self.synchronised or torch.compiler.is_compiling():
            return False
        arrays = [a for a in (self.weight, self.bias, self.running_mean) if a is not None]
        real = torch.promote_types(x.dtype, torch.float32)
        wants = x.requires_grad or any(a.requires_grad for a in arrays)
        fits = all(a.dtype == real and a.device == x.device for a in arrays)
        return wants and fits and torch.is_grad_enabled() and neuron.serving(x.device) == "cupy"

    @property
    def takes_batch(self) -> bool:
        """Whether it normalises by the statistics of its input."""
        return self.training or self.running_mean is None or self.running_var is None

    def _check(self, x: Tensor) -> None:
        if x.dim() < 3 or x.shape[2] != self.num_features or not x.is_floating_point():
            raise UserError(
                f"batch norm of {self.num_features} channels takes floating point [T, B, "
                f"{self.num_features}, ...], got {x.dtype} {list(x.shape)}"
            )
        is_shared = self.synchronised and self.training
        if self.takes_batch and not is_shared and x.numel() < 2 * self.num_features:
            raise UserError(
                "batch statistics need more than 1 value per channel in training, got "
                f"{list(x.shape)}; use a larger batch, or evaluation mode"
            )

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        for running, new in ((self.running_mean, mean), (self.running_var, variance)):
            # A tensor: reading the counter on the host would wait for the device.
            share = self.num_batches_tracked.to(running.dtype).reciprocal()
            running.lerp_(new.to(running.dtype), share if self.momentum is None else self.momentum)

    def follow_bias(self, bias: Tensor) -> None:
        """Move the running mean by a bias ``[C]`` that was left out of what was normalised last.

        Statistics of a batch take away what all values of a channel have in common.
        """
        if not self.training or self.running_mean is None or _is_recomputing():
            return
        with torch.no_grad():
            if self.momentum is not None:
                self.running_mean.add_(bias, alpha=self.momentum)
            else:
                assert self.num_batches_tracked is not None
                self.running_mean.add_(bias / self.num_batches_tracked)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of trailing axes."""

    def extra_repr(self) -> str:
        """As torch's, and whether statistics are shared."""
        text: str = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{text}, synchronised=True" if self.synchronised else text


@dataclass(frozen=True)
class Normalisation:
    """What batch norm does to one sequence ``[T, B, C, ...]``; arrays are ``[C]``.

    Attributes:
        mean: real.
        inverse: one over the standard deviation, real.
        weight: factor, or ``None`` for 1.
        bias: summand, or ``None`` for 0.
        count: values per channel that ``mean`` and ``inverse`` were taken from, over all
            processes; ``None`` where they are fixed, and no gradient flows through them.
        shared: whether they were taken over all processes.
    """

    mean: Tensor
    inverse: Tensor
    weight: Tensor | None = None
    bias: Tensor | None = None
    count: Number | None = None
    shared: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """``z = (x - mean) * scale + shift``, real, with its gradient."""
        x, p = self._affine(x, "torch")
        return (x.to(self.mean.dtype) - p.bn_mean) * p.bn_scale + p.bn_shift

    def run(self, neuron: Neuron, x: Tensor, after: operator.After | None = None) -> Tensor:
        """The neuron's output on the normalised sequence, in the dtype of ``x``.

        What is to be done ``after`` needs a backend other than torch.
        """
        backend = neuron.serving(x.device)
        if backend == "torch":
            return neuron.run(self(x))[0].to(x.dtype)
        x, arrays = self._affine(x, backend)
        sequence = Named({neuron.inputs[0]: x})
        return operator.run(neuron, backend, sequence, None, extra=arrays, after=after).output

    def _affine(self, x: Tensor, backend: str) -> tuple[Tensor, Named]:
        """The sequence, made dense, and what is done to it, shaped to broadcast against a step.

        In backward, the gradient of the sequence that is given back also gets what flows through
        the statistics.
        """
        (x, *_), _ = dense([x])
        if self.count is None:
            scale, shift = _scale_and_shift(self)
        else:
            # A compiler cannot follow the alias of x; it adds both gradients in one pass anyway.
            how = None if torch.compiler.is_compiling() else backend
            scale, shift, *alias = _Statistics.apply(  # type: ignore[no-untyped-call]
                x, self.weight, self.bias, self.mean, self.inverse, self.count, self.shared, how
            )
            x = alias[0] if alias else x
        arrays = {"bn_mean": self.mean, "bn_scale": scale, "bn_shift": shift}
        return x, Named({name: _per_step(array, x) for name, array in arrays.items()})


class _Statistics(torch.autograd.Function):
    """Scale and shift as functions of the sequence, whose statistics they are made of.

    Their gradients are the two sums that the gradient of the statistics needs. With a backend, an
    alias of the sequence is given back too: what is computed from it sends its gradient here,
    and the gradient of the statistics is added to that in place.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        inverse: Tensor,
        count: Number,
        shared: bool,
        backend: str | None,
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x, weight, bias, mean, inverse)
        ctx.count, ctx.shared, ctx.backend = count, shared, backend
        scale_and_shift = _scale_and_shift(Normalisation(mean, inverse, weight, bias))
        return scale_and_shift if backend is None else (*scale_and_shift, x.view_as(x))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, inverse = ctx.saved_tensors
        centred, plain, *through = grads  # sums of g * (x - mean) and of g; perhaps scale * g
        dx: Tensor | None = None
        d_weight = None if weight is None else (centred * inverse).to(weight.dtype)
        d_bias = None if bias is None else plain.to(bias.dtype)
        if ctx.needs_input_grad[0]:
            if ctx.shared:
                sums = torch.stack([centred, plain])
                dist.all_reduce(sums)
                centred, plain = sums
            scale, _ = _scale_and_shift(Normalisation(mean, inverse, weight))
            factor = -scale / ctx.count
            slope, offset = factor * inverse.square() * centred, factor * plain
            if ctx.backend is None:
                mean, slope, offset = (_per_step(a, x) for a in (mean, slope, offset))
                dx = (offset + slope * (x - mean)).to(x.dtype)
            else:
                # In place: nothing else has seen this gradient yet.
                dx = same_layout(through[0], x)
                add_statistics_gradient(dx, x, mean, slope, offset, backend=ctx.backend)
        return dx, d_weight, d_bias, None, None, None, None, None


def _per_step(values_C: Tensor, x: Tensor) -> Tensor:
    """Shaped to broadcast against a step of ``x`` ``[T, B, C, ...]``."""
    return values_C.view(-1, *[1] * (x.dim() - 3))


def _scale_and_shift(norm: Normalisation) -> tuple[Tensor, Tensor]:
    weight, bias, real = norm.weight, norm.bias, norm.mean.dtype
    scale = norm.inverse if weight is None else weight.to(real) * norm.inverse
    return scale, torch.zeros_like(norm.mean) if bias is None else bias.to(real)


def _over_processes(mean: Tensor, variance: Tensor, count: Number) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance and count of the values of all processes, whose counts may differ."""
    mine = torch.stack([mean, variance, torch.full_like(mean, float(count))]).double()
    every = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(every, mine)
    means, variances, counts = torch.stack(every).unbind(1)  # [processes, C]
    total = counts.sum(0)
    whole = (counts * means).sum(0) / total
    # Deviations from the common mean: sum(x^2) - n mean^2 cancels where the mean is large.
    spread = (counts * (variances + (means - whole).square())).sum(0) / total
    return whole.to(mean.dtype), spread.to(mean.dtype), total.to(mean.dtype)


def _is_recomputing() -> bool:
    """Whether this forward pass runs inside a backward pass, as activation checkpointing does."""
    if torch.compiler.is_compiling():
        return False  # the compiled forward pass is never traced again
    return bool(torch._C._current_graph_task_id() != -1)
