"""Synapses that release at random.

Shape legend: ``T`` steps, ``B`` batch; time first.
"""

from collections.abc import Collection
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spikesim.constraint import Fraction, Positive
from spikesim.errors import UserError
from spikesim.kernels import release as kernel
from spikesim.parameters import Parameters
from spikesim.random import Placed
from spikesim.types import Number

Gradient = Literal["straight_through", "expected"]


class StochasticLinear(Placed, Parameters):
    r"""A linear map of spikes whose synapses release at random, each for itself, in each step.

    .. math::
        y_j = b_j + \sum_i w_{ji} \, \phi_{ji} \, Q_{ji} \, x_i, \qquad
        \phi_{ji} \sim \mathrm{Bernoulli}(s_{ji}), \quad
        Q_{ji} \sim q \, \mathrm{Uniform}(1 - a, 1 + a)

    Args:
        in_features, out_features: senders and receivers.
        bias: whether there is :math:`b`.
        release: probability :math:`s` that a spike releases: one number, ``[in]`` per sender, or
            ``[out, in]`` per synapse.
        amplitude: mean size :math:`q` of a release, shapes as ``release``, > 0.
        spread: :math:`a`, one number in [0, 1]; 0 makes all releases equal, 1 has them uniform from
            0 on.
        gradient: ``"straight_through"``: of the draws as they were, that of :math:`\phi` passed to
            :math:`s`; ``"expected"``: of the mean, :math:`w s q x`, which has less noise, costs
            products of matrices alone, and leaves ``spread`` without one.
        learnable: names among ``release``, ``amplitude`` and ``spread`` to train.

    Shape: ``[T, B, in]`` -> ``[T, B, out]``. Draws are keyed by :func:`spikesim.random.place`; the
    map draws in training and in evaluation alike.

    Raises:
        UserError: a parameter or an input out of its range or of another shape.

    Reference: W. B. Levy & R. A. Baxter (2002), *Energy-efficient neuronal computation via quantal
    synaptic failures*, J. Neurosci. 22, 4746-4755.

    >>> from spikesim.random import place
    >>> synapses = StochasticLinear(4, 1, bias=False, release=0.25)
    >>> _ = nn.init.ones_(synapses.weight)
    >>> place(synapses, seed=1)
    >>> synapses(torch.ones(8, 1, 4)).flatten().int().tolist()
    [1, 2, 0, 1, 0, 0, 1, 2]
    """

    stochastic: ClassVar[bool] = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        release: Number = 0.5,
        amplitude: Number = 1.0,
        spread: Number = 0.0,
        gradient: Gradient = "straight_through",
        learnable: Collection[str] = (),
    ) -> None:
        super().__init__(learnable)
        if gradient not in ("straight_through", "expected"):
            raise UserError(f"gradient must be 'straight_through' or 'expected', got {gradient!r}")
        if gradient == "expected" and "spread" in self.learnable:
            raise UserError(
                "the expected release does not depend on spread; it cannot be learnable"
            )
        self.in_features, self.out_features, self.gradient = in_features, out_features, gradient
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.add_parameter("release", release, Fraction())
        self.add_parameter("amplitude", amplitude, Positive())
        self.add_parameter("spread", spread, Fraction())
        self._check_shapes()
        self.check_learnable()
        self._begin()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights and biases as those of ``nn.Linear``: uniform, up to ``1 / sqrt(in)``."""
        bound = self.in_features**-0.5 if self.in_features else 0.0
        for values in (self.weight, self.bias):
            if values is not None:
                nn.init.uniform_(values, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, in]`` -> ``[T, B, out]``."""
        if x.dim() != 3 or x.shape[-1] != self.in_features:
            raise UserError(f"input must be [T, B, {self.in_features}], got {list(x.shape)}")
        weight = self._of("weight") * self._of("amplitude")
        stream = self.stream(x)
        out = _Release.apply(  # type: ignore[no-untyped-call]
            *(x.to(weight.dtype), weight, self._of("release").expand_as(weight)),
            *(self._of("spread"), stream, self.gradient == "expected"),
        )
        return cast(Tensor, out if self.bias is None else out + self.bias).to(x.dtype)

    def _of(self, name: str) -> Tensor:
        """A parameter as an array that broadcasts against the weight; half precision is storage."""
        value: Number = getattr(self, name)
        dtype = torch.promote_types(self.weight.dtype, torch.float32)
        return torch.as_tensor(value, dtype=dtype, device=self.weight.device)

    def _check_shapes(self) -> None:
        shape = list(self.weight.shape)
        for name in ("release", "amplitude", "spread"):
            known = [[]] if name == "spread" else [[], shape[1:], shape]
            given = list(torch.as_tensor(getattr(self, name)).shape)
            if given not in known:
                wish = " or ".join(str(sizes) if sizes else "one number" for sizes in known)
                raise UserError(f"{name} must be {wish}, got shape {given}")

    def extra_repr(self) -> str:
        """Sizes, parameters and the kind of gradient, for ``print(model)``."""
        return f"{self.in_features}, {self.out_features}, {super().extra_repr()}, {self.gradient}"


class _Release(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        release: Tensor,
        spread: Tensor,
        stream: Any,
        is_expected: bool,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, release, spread)
        ctx.stream, ctx.is_expected = stream, is_expected
        return kernel.forward(x, kernel.Synapses(weight, release, spread, stream))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, release, spread = ctx.saved_tensors
        if ctx.is_expected:
            of_both = torch.einsum("tbo,tbi->oi", grad, x)
            of_x = grad @ (weight * release) if ctx.needs_input_grad[0] else None
            return of_x, release * of_both, weight * of_both, None, None, None
        to = kernel.Synapses(weight, release, spread, ctx.stream)
        found = kernel.backward(x, grad, to, wants_x=ctx.needs_input_grad[0])
        return found.x, found.weight, found.release, found.spread, None, None
